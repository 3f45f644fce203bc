"""Safety judges: replies to attacks -> defences. One file per judge in ``safety_judges/``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from unteach.corpora.safety import ItemSet
from unteach.progress import Progress
from unteach.records import Defence, Reply
from unteach.registry import Component, Registry


class SafetyJudge(Component):
    """Reads replies against the items they are about."""

    @abstractmethod
    def __call__(self, replies: Sequence[Reply], items: ItemSet, progress: Progress | None = None) -> list[Defence]:
        """A defence for every reply, in order: safe, unsafe, degenerate, empty, or "unscored, because ..."."""


SAFETY_JUDGES: Registry[SafetyJudge] = Registry("safety judge", SafetyJudge, "unteach.judge.safety_judges")
