"""Measures: what was said and judged of every model -> rows of the one table. One file per measure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unteach.metrics.intervals import mean_interval, wilson
from unteach.records import Choice, HeldLanguages, Reading, Row, TextScore, Verdict
from unteach.registry import Component, Registry


@dataclass(frozen=True)
class ModelTag:
    """Which model a number is about. ``source_language`` and ``strategy`` are ``None`` where there is none."""

    model: str
    source_language: str | None = None
    strategy: str | None = None
    objective: str | None = None
    variant: str | None = None
    seed: int | None = None

    @property
    def name(self) -> str:
        """Short unique name, such as ``unlearned/de/combined``."""
        point = [self.variant or "", "" if self.seed is None else f"seed={self.seed}"]
        return "/".join(part for part in (self.model, self.source_language, self.strategy, *point) if part)


@dataclass(frozen=True)
class ModelEvidence:
    """Everything known about one model.

    ``before`` names the model it was made from, ``never_taught`` the R-only model of the same settings.
    """

    tag: ModelTag
    verdicts: Sequence[Verdict] = ()
    readings: Sequence[Reading] = ()
    choices: Sequence[Choice] = ()
    texts: Sequence[TextScore] = ()
    held: Sequence[HeldLanguages] = ()
    before: str | None = None
    never_taught: str | None = None


@dataclass(frozen=True)
class Evidence:
    """One run's models by name, in the order in which reports show them, and its question languages."""

    run: str
    models: Mapping[str, ModelEvidence] = field(default_factory=dict)
    languages: Sequence[str] = ()

    def row(self, tag: ModelTag, metric: str, **values: Any) -> Row:
        """A row with the run and the model filled in."""
        return Row(
            run=self.run,
            metric=metric,
            model=tag.model,
            source_language=tag.source_language,
            strategy=tag.strategy,
            objective=tag.objective,
            variant=tag.variant,
            seed=tag.seed,
            **values,
        )


class Measure(Component):
    """Rows from evidence: a pure function."""

    @abstractmethod
    def __call__(self, evidence: Evidence) -> list[Row]:
        """The measure's rows for every model that has what it needs."""


MEASURES: Registry[Measure] = Registry("measure", Measure, "unteach.metrics.measures")


def rate(outcomes: Iterable[float | None]) -> dict[str, Any]:
    """``n``, ``unscored``, ``value`` and Wilson limits of 0/1 outcomes; ``None`` outcomes are unscored."""
    scored, unscored = _split(outcomes)
    return _summary(scored, unscored, wilson(sum(scored), len(scored)))


def mean(outcomes: Iterable[float | None]) -> dict[str, Any]:
    """``n``, ``unscored``, ``value`` and Student's t limits of a mean; ``None`` outcomes are unscored."""
    scored, unscored = _split(outcomes)
    return _summary(scored, unscored, mean_interval(scored))


def _split(outcomes: Iterable[float | None]) -> tuple[list[float], int]:
    everything = list(outcomes)
    scored = known(everything)
    return scored, len(everything) - len(scored)


def known(outcomes: Iterable[float | None]) -> list[float]:
    """The scored ones."""
    return [value for value in outcomes if value is not None]


def _summary(scored: list[float], unscored: int, limits: tuple[float, float] | None) -> dict[str, Any]:
    low, high = limits or (None, None)
    value = sum(scored) / len(scored) if scored else None
    return {"n": len(scored), "unscored": unscored, "value": value, "ci_low": low, "ci_high": high}


def by_language(verdicts: Iterable[Verdict], metric: str) -> dict[str, list[Verdict]]:
    """Verdicts of one metric by question language, in order of appearance."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.metric == metric:
            groups.setdefault(verdict.language, []).append(verdict)
    return groups


def at_every_checkpoint(model: ModelEvidence, metric: str) -> Iterator[tuple[int | None, str, list[Verdict]]]:
    """Verdicts of one metric by checkpoint (``None`` is the final model) and question language."""
    stages = [(None, model.verdicts), *((reading.step, reading.verdicts) for reading in model.readings)]
    for checkpoint, verdicts in stages:
        for language, group in by_language(verdicts, metric).items():
            yield checkpoint, language, group
