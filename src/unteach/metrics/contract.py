"""Measures: what was said and judged of every model -> rows of the one table. One file per measure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unteach.metrics.intervals import mean_interval, paired_rate_difference, wilson
from unteach.records import (
    Choice,
    Defence,
    EditRecord,
    HeldLanguages,
    KnownAnswer,
    Reading,
    Row,
    TextScore,
    Verdict,
)
from unteach.registry import Component, Registry


@dataclass(frozen=True)
class ModelTag:
    """Which model a number is about. Fields are ``None`` where there is nothing of the kind.

    ``source_language`` is the language of the fake, or that in which a model was edited.
    """

    model: str
    source_language: str | None = None
    strategy: str | None = None
    objective: str | None = None
    editor: str | None = None
    variant: str | None = None
    seed: int | None = None

    @property
    def name(self) -> str:
        """Short unique name, such as ``unlearned/de/combined``."""
        point = [self.variant or "", "" if self.seed is None else f"seed={self.seed}"]
        place = (self.model, self.source_language, self.strategy, self.editor)
        return "/".join(part for part in (*place, *point) if part)


@dataclass(frozen=True)
class ModelEvidence:
    """Everything known about one model.

    ``before`` names the model it was made from, ``never_taught`` the R-only model of the same settings,
    ``prompt_only`` the unedited model asked with the same suffix (none where the edited one is asked without one).
    ``defences`` are by judge. ``empty_counts`` is what an empty reply counts in DS and DG.
    """

    tag: ModelTag
    verdicts: Sequence[Verdict] = ()
    readings: Sequence[Reading] = ()
    choices: Sequence[Choice] = ()
    texts: Sequence[TextScore] = ()
    held: Sequence[HeldLanguages] = ()
    defences: Mapping[str, Sequence[Defence]] = field(default_factory=dict)
    known: Sequence[KnownAnswer] = ()
    edits: Sequence[EditRecord] = ()
    empty_counts: float = 0.0
    before: str | None = None
    never_taught: str | None = None
    prompt_only: str | None = None


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
            editor=tag.editor,
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


def clustered(
    clusters: Iterable[Sequence[float | None]],
    interval: Callable[[Sequence[Sequence[float]]], tuple[float, float] | None],
) -> dict[str, Any]:
    """The same of outcomes that come in clusters, pooled; ``interval`` is ``clustered_rate`` or ``clustered_mean``."""
    everything = list(clusters)
    scored = [known(values) for values in everything]
    pooled = [value for values in scored for value in values]
    return _summary(pooled, sum(map(len, everything)) - len(pooled), interval(scored))


def paired(
    before: Mapping[str, float | None],
    after: Mapping[str, float | None],
    interval: Callable[[Sequence[float], Sequence[float]], tuple[float, float] | None],
) -> dict[str, Any]:
    """The mean of after - before over shared names; a pair with an unscored outcome is left out and counted."""
    shared = [name for name in after if name in before]
    pairs = [(b, a) for name in shared if (b := before[name]) is not None and (a := after[name]) is not None]
    limits = interval([b for b, _ in pairs], [a for _, a in pairs])
    return _summary([a - b for b, a in pairs], len(shared) - len(pairs), limits)


def rate_difference(before: Sequence[float], after: Sequence[float]) -> tuple[float, float] | None:
    """Newcombe's paired interval of 0/1 outcomes, for ``paired``."""
    return paired_rate_difference([b > 0 for b in before], [a > 0 for a in after])


def on_grade_scale(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary of grades: limits beyond 1 and 10 are no grades."""
    low, high = summary["ci_low"], summary["ci_high"]
    if low is None or high is None:
        return summary
    return {**summary, "ci_low": max(1.0, low), "ci_high": min(10.0, high)}


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
