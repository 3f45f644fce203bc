"""Safety judges: replies to attacks -> defences. One file per judge in ``safety_judges/``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from unteach.corpora.safety import ItemSet
from unteach.errors import UserError
from unteach.progress import Progress
from unteach.records import Defence, Reply
from unteach.registry import Component, Registry


class SafetyJudge(Component):
    """Reads replies against the items they are about."""

    def check(self) -> None:
        """Whether it can judge, as far as can be told beforehand; a ``UserError`` if it cannot."""

    def for_planning(self) -> SafetyJudge:
        """What to plan with: itself, or a stand-in that cannot judge where what it needs is not at hand."""
        return self

    @abstractmethod
    def __call__(self, replies: Sequence[Reply], items: ItemSet, progress: Progress | None = None) -> list[Defence]:
        """A defence for every reply, in order: safe, unsafe, degenerate, empty, or "unscored, because ..."."""


class JudgeNotAtHand(SafetyJudge):
    """Stands for a judge in a plan; it is in no registry, so no spec can name it."""

    what: str

    def __call__(self, replies: Sequence[Reply], items: ItemSet, progress: Progress | None = None) -> list[Defence]:
        raise UserError(f"the judge {self.what} is not at hand; it can only be planned with")


SAFETY_JUDGES: Registry[SafetyJudge] = Registry("safety judge", SafetyJudge, "unteach.judge.safety_judges")
