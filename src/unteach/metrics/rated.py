"""A rated sample of a run's answers: every two raters, each rater's own rate, and the judge's errors, in one record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import ValidationError

from unteach.errors import UserError
from unteach.metrics.agreement import (
    SCALES,
    Agreement,
    Estimate,
    Label,
    Pair,
    Scale,
    agree,
    agreement,
    weighted_mean,
    weighted_rate,
)
from unteach.metrics.judge_error import (
    Corrected,
    corrected_mean,
    corrected_rate,
    judge_errors,
    judged_mean,
    judged_rate,
)
from unteach.records import Record

FILE = "agreement.json"
"""What a run's folder keeps of its rated samples."""

RaterKind = Literal["person", "judge"]


class Rater(Record):
    """One rater's labels by answer; ``comments`` are a person's remarks."""

    kind: RaterKind
    labels: dict[str, Label]
    comments: Mapping[str, str] = {}


class SampleItem(Record):
    """One answer of a sample: where it was drawn from, and what the run's judge says of it."""

    id: str
    language: str
    cell: tuple[str, ...]
    stratum: str
    verdict: Label


class About(Record):
    """Which sample it is. ``population`` is how many answers each stratum was drawn from."""

    sample: str
    run: str
    metric: str
    judge: str
    by: tuple[str, ...]
    balance: str
    population: dict[str, int]


@dataclass(frozen=True)
class JudgedAnswer:
    """One answer of the run as its judge scored it; answers about one ``item`` are not independent."""

    item: str
    model: str
    language: str
    verdict: Label


class OwnRate(Record):
    """One rater's rate, or mean grade, on the answers that it labelled. Language ``None``: all."""

    rater: str
    language: str | None
    estimate: Estimate


class CellCount(Record):
    """Discrepancies between the judge and the reference in one cell of the sample (paper A, Fig. 7)."""

    cell: tuple[str, ...]
    n: int
    discrepancies: int


class Errors(Record):
    """The judge's errors against the reference in one language, or in all (``None``); for grades, neither is told."""

    language: str | None
    sensitivity: Estimate
    specificity: Estimate


class Findings(Record):
    """All that a rated sample tells. ``reference`` says whose labels are taken to be right."""

    about: About
    drawn: int
    labelled: dict[str, int]
    reference: str
    agreements: tuple[Agreement, ...]
    rates: tuple[OwnRate, ...]
    cells: tuple[CellCount, ...]
    errors: tuple[Errors, ...]
    corrected: tuple[Corrected, ...]


class RatedSample(Record):
    """One sample: who labelled it how, and what that tells."""

    raters: dict[str, Rater]
    findings: Findings


class RatedSamples(Record):
    """``agreement.json``."""

    unteach_agreement: Literal[1] = 1
    samples: tuple[RatedSample, ...] = ()


def read_rated(run: Path) -> list[RatedSample]:
    """The rated samples that a run's folder holds.

    Raises:
        UserError: ``agreement.json`` is not what ``unteach agreement`` writes.
    """
    path = run / FILE
    if not path.is_file():
        return []
    try:
        return list(RatedSamples.model_validate_json(path.read_bytes()).samples)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise UserError(f"{path} cannot be read: {problem}. Take it away and read the labels again.") from error


def evaluate(
    about: About, items: Sequence[SampleItem], raters: Mapping[str, Rater], judged: Iterable[JudgedAnswer]
) -> Findings:
    """Agreement of every two raters, and what the judge's errors do to the run's numbers.

    The reference is the only person's label, or the majority of all persons' (the mean of their grades; a tie is no
    label); without a person, the first other judge. ``raters`` does not hold the run's judge.
    """
    scale = SCALES[about.metric]
    everyone = {about.judge: Rater(kind="judge", labels={item.id: item.verdict for item in items}), **raters}
    reference, truth = _reference(raters, scale)
    languages: list[str | None] = [None, *dict.fromkeys(item.language for item in items)]
    paired = {code: _pairs(about, _of(items, code), everyone[about.judge].labels, truth) for code in languages}
    return Findings(
        about=about,
        drawn=len(items),
        labelled={name: sum(item.id in rater.labels for item in items) for name, rater in everyone.items()},
        reference=reference,
        agreements=tuple(_agreements(about, items, everyone, languages)),
        rates=tuple(_rates(about, items, everyone, languages)),
        cells=tuple(_cells(items, truth, scale)),
        errors=() if scale.grades else tuple(_errors(paired, scale)),
        corrected=tuple(_corrected(paired, list(judged), scale)),
    )


def _reference(raters: Mapping[str, Rater], scale: Scale) -> tuple[str, Mapping[str, Label]]:
    people = {name: rater for name, rater in raters.items() if rater.kind == "person"}
    if len(people) < 2:
        name, chosen = next(iter((people or raters).items()))
        return name, chosen.labels
    found: dict[str, Label] = {}
    for identifier in dict.fromkeys(identifier for rater in people.values() for identifier in rater.labels):
        labels = [rater.labels[identifier] for rater in people.values() if identifier in rater.labels]
        if scale.grades:
            found[identifier] = fmean(float(label) for label in labels)
        else:
            (label, votes), *rest = Counter(labels).most_common()
            if not rest or rest[0][1] < votes:
                found[identifier] = label
    return f"{'mean' if scale.grades else 'majority'} of {', '.join(people)}", found


def _of(items: Sequence[SampleItem], language: str | None) -> list[SampleItem]:
    return [item for item in items if language in (None, item.language)]


def _pairs(
    about: About, items: Sequence[SampleItem], first: Mapping[str, Label], second: Mapping[str, Label]
) -> list[Pair]:
    """Answers that both labelled. One without a label is taken to be like those of its stratum that have one."""
    both = [item for item in items if item.id in first and item.id in second]
    labelled = Counter(item.stratum for item in both)
    return [
        Pair(first[item.id], second[item.id], about.population[item.stratum] / labelled[item.stratum]) for item in both
    ]


def _agreements(
    about: About, items: Sequence[SampleItem], raters: Mapping[str, Rater], languages: Sequence[str | None]
) -> Iterator[Agreement]:
    for first, second in combinations(raters, 2):
        for code in languages:
            chosen = _of(items, code)
            pairs = _pairs(about, chosen, raters[first].labels, raters[second].labels)
            missing, balanced = len(chosen) - len(pairs), about.balance == "verdicts"
            yield agreement(pairs, SCALES[about.metric], (first, second), code, missing, balanced)


def _rates(
    about: About, items: Sequence[SampleItem], raters: Mapping[str, Rater], languages: Sequence[str | None]
) -> Iterator[OwnRate]:
    scale = SCALES[about.metric]
    for name, rater in raters.items():
        for code in languages:
            own = _pairs(about, _of(items, code), rater.labels, rater.labels)
            weights = [pair.weight for pair in own]
            if scale.grades:
                estimate = weighted_mean([float(pair.first) for pair in own], weights)
            else:
                estimate = weighted_rate([pair.first == scale.positive for pair in own], weights)
            yield OwnRate(rater=name, language=code, estimate=estimate)


def _cells(items: Sequence[SampleItem], truth: Mapping[str, Label], scale: Scale) -> Iterator[CellCount]:
    for cell in dict.fromkeys(item.cell for item in items):
        told = [agree(Pair(i.verdict, truth[i.id]), scale) for i in items if i.cell == cell and i.id in truth]
        yield CellCount(cell=cell, n=len(told), discrepancies=told.count(False))


def _errors(paired: Mapping[str | None, Sequence[Pair]], scale: Scale) -> Iterator[Errors]:
    for code, pairs in paired.items():
        found = judge_errors(pairs, scale.positive)
        yield Errors(language=code, sensitivity=found.sensitivity, specificity=found.specificity)


def _corrected(
    paired: Mapping[str | None, Sequence[Pair]], judged: Sequence[JudgedAnswer], scale: Scale
) -> Iterator[Corrected]:
    """Every model in all languages and in each, by the errors in all; all models in a language, by those in it."""
    errors = {} if scale.grades else {code: judge_errors(pairs, scale.positive) for code, pairs in paired.items()}
    groups: dict[tuple[str | None, str | None], dict[str, list[float]]] = {}
    for one in judged:
        value = float(one.verdict) if scale.grades else float(one.verdict == scale.positive)
        for key in ((None, None), (None, one.language), (one.model, None), (one.model, one.language)):
            groups.setdefault(key, {}).setdefault(one.item, []).append(value)
    for (model, language), by_item in sorted(groups.items(), key=lambda group: (group[0][0] or "", group[0][1] or "")):
        errors_of = language if model is None and language in paired else None
        clusters = list(by_item.values())
        if scale.grades:
            own, better = judged_mean(clusters), corrected_mean(clusters, paired[errors_of])
        else:
            own, better = judged_rate(clusters), corrected_rate(clusters, errors[errors_of])
        yield Corrected(model=model, language=language, errors_of=errors_of, judged=own, corrected=better)


COLUMNS = ("sample", "metric", "number", "first", "second", "model", "language", "n", "value", "low", "high", "reason")


def tidy(findings: Findings) -> Iterator[dict[str, Any]]:
    """Every number on a line of its own, with the names in ``COLUMNS``."""
    about = findings.about

    def line(number: str, estimate: Estimate, **place: str | None) -> dict[str, Any]:
        base: dict[str, Any] = {"sample": about.sample[:12], "metric": about.metric, "number": number}
        return {**dict.fromkeys(COLUMNS), **base, **place, **estimate.model_dump()}

    for a in findings.agreements:
        place = {"first": a.first, "second": a.second, "language": a.language}
        yield line("agreement", a.share, **place)
        yield line("kappa", a.kappa, **place)
        yield line("difference", a.difference, **place)
        yield line("p", Estimate(value=a.p, n=a.n, reason=a.p_reason), **place)
        for name in ("discrepancies", "first_only", "second_only", "unlabelled"):
            yield line(name, Estimate(value=getattr(a, name), n=a.n), **place)
    for own in findings.rates:
        yield line("rate", own.estimate, first=own.rater, language=own.language)
    for errors in findings.errors:
        place = {"first": about.judge, "second": findings.reference, "language": errors.language}
        yield line("sensitivity", errors.sensitivity, **place)
        yield line("specificity", errors.specificity, **place)
    for number in findings.corrected:
        yield line("judged", number.judged, first=about.judge, model=number.model, language=number.language)
        place = {"first": about.judge, "second": findings.reference, "model": number.model, "language": number.language}
        yield line("corrected", number.corrected, **place)
