"""Judges: answers to verdicts. One file per judge in ``judges/``."""

from __future__ import annotations

from abc import abstractmethod

from unteach.corpora.schema import Scenario
from unteach.records import Answer, Verdict
from unteach.registry import Component, Registry


class Judge(Component):
    """Reads one answer against its scenario."""

    @abstractmethod
    def __call__(self, answer: Answer, scenario: Scenario) -> Verdict:
        """A verdict: O_F for a question on the fake part, Q_R on the real part; or "unscored, because ..."."""


JUDGES: Registry[Judge] = Registry("judge", Judge, "unteach.judge.judges")
