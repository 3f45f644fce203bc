"""Judges: answers to verdicts. One file per judge in ``judges/``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator

from unteach.corpora.schema import Scenario
from unteach.progress import Progress
from unteach.records import Answer, Verdict
from unteach.registry import Component, Registry


class Judge(Component):
    """Reads answers against the scenarios that they are about."""

    def check(self) -> None:
        """Whether it can judge, as far as can be told beforehand; a ``UserError`` if it cannot."""

    def for_planning(self) -> Judge:
        """What to plan with: itself, or a stand-in that cannot judge where what it needs is not at hand."""
        return self

    @abstractmethod
    def __call__(self, pairs: Iterable[tuple[Answer, Scenario]], progress: Progress | None = None) -> Iterator[Verdict]:
        """A verdict for every pair, in order, as they come: however many there are, few are held at a time.

        O_F for a question on the fake part, Q_R on the real part; or "unscored, because ...".

        Raises:
            UserError: the judge cannot go on; verdicts that were given stand.
        """


def no_verdict(answer: Answer, scenario: Scenario) -> Verdict:
    """The verdict on an answer before it is judged: neither a value, nor a reason unless the question was not asked."""
    question = answer.question
    return Verdict(
        scenario=scenario.id,
        part=question.part,
        language=question.language,
        metric="O_F" if question.part == "fake" else "Q_R",
        value=None,
        unscored=answer.unasked,
    )


JUDGES: Registry[Judge] = Registry("judge", Judge, "unteach.judge.judges")
