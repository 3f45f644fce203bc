"""Rates and changes pooled over question languages and over source languages: the series of the paper's figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from unteach.languages.table import LANGUAGES
from unteach.metrics.contract import MEASURES, Evidence, Measure, ModelEvidence, ModelTag, clustered, on_grade_scale
from unteach.metrics.intervals import clustered_mean, clustered_rate, clustered_ratio, paired_rate_difference
from unteach.records import Row, Verdict

GROUPS = ("english", "source", "other high", "other low", "all")
"""Question languages relative to a model: English, the fake's own, the others by resource level, all together."""

SOURCE_SETS = ("any", "not en", "high", "low")
"""Models pooled by the language of their fake: all, all but English, high-resource without English, low-resource."""

Answers = dict[tuple[str, str], Verdict]
"""(question language, scenario) -> verdict."""


@MEASURES.register("pooled")
class Pooled(Measure):
    """O_F, Q_R and the change of O_F pooled over groups of question languages and sets of sources.

    O_F_change = after - before; O_F_relative_change = (after - before) / before, which has no value where nothing was
    there before. Answers on one scenario are one cluster, in whatever language and of whatever model: rates carry a
    Wilson interval at the effective n, means and changes Student's t over scenarios (Newcombe's paired interval over
    scenarios where no answer changed, or all did), the relative change the interval of a ratio of two clustered rates.
    A model that was stopped stays, at later checkpoints, as it was kept.
    """

    source = "Paper A, sections 2.2 and 3.2 (Figs. 2, 3 and 5)"

    def __call__(self, evidence: Evidence) -> list[Row]:
        rows: list[Row] = []
        for tag, members in _sets(evidence):
            for group in GROUPS:
                rows += _rows(evidence, tag, members, group)
        return rows


def _sets(evidence: Evidence) -> Iterator[tuple[ModelTag, list[ModelEvidence]]]:
    """Every pooled model: its tag, with the source set in place of a language, and the models in it."""
    kinds: dict[ModelTag, list[ModelEvidence]] = {}
    for model in evidence.models.values():
        kinds.setdefault(replace(model.tag, source_language=None), []).append(model)
    for kind, models in kinds.items():
        if kind.model == "r_only":
            yield kind, models
            continue
        for model in models:
            yield model.tag, [model]
        for name in SOURCE_SETS:
            members = [model for model in models if belongs(model.tag.source_language, name)]
            if members:
                yield replace(kind, source_language=name), members


def belongs(source: str | None, name: str) -> bool:
    """Whether a source language is in a set of sources: ``any``, ``not en``, ``high`` or ``low`` (both without en)."""
    level = LANGUAGES[source].resource if source in LANGUAGES else None
    return name == "any" or (source != "en" and (name == "not en" or level == name))


def in_group(language: str, source: str | None, group: str) -> bool:
    """Whether questions in a language belong to a group, for a model with fakes in ``source``."""
    if group == "all":
        return True
    if group in ("english", "source"):
        return language == ("en" if group == "english" else source)
    level = LANGUAGES[language].resource if language in LANGUAGES else None
    return language not in ("en", source) and group == f"other {level}"


def _rows(evidence: Evidence, tag: ModelTag, members: Sequence[ModelEvidence], group: str) -> Iterator[Row]:
    final = [_select(evidence, model, model.verdicts, group) for model in members]
    for metric in ("O_F", "Q_R"):
        clusters = _clusters([_values(answers, metric) for answers in final])
        if clusters:
            yield evidence.row(tag, metric, group=group, **_level(metric, clusters))
    if tag.model != "unlearned":
        return
    earlier = [evidence.models[model.before].verdicts if model.before else () for model in members]
    before = [_select(evidence, model, said, group) for model, said in zip(members, earlier, strict=True)]
    yield from _changes(evidence, tag, group, None, before, final)
    for step in sorted({reading.step for model in members for reading in model.readings}):
        now = [_at(evidence, model, step, group, answers) for model, answers in zip(members, final, strict=True)]
        if all(answers is not None for answers in now):
            answers = [answers or {} for answers in now]
            clusters = _clusters([_values(each, "O_F") for each in answers])
            if clusters:
                yield evidence.row(tag, "O_F", checkpoint=step, group=group, **_level("O_F", clusters))
                yield from _changes(evidence, tag, group, step, before, answers)


def _select(evidence: Evidence, model: ModelEvidence, verdicts: Sequence[Verdict], group: str) -> Answers:
    """Verdicts in the run's question languages that belong to the group."""
    return {
        (f"{verdict.metric} {verdict.language}", verdict.scenario): verdict
        for verdict in verdicts
        if verdict.language in evidence.languages and in_group(verdict.language, model.tag.source_language, group)
    }


def _at(evidence: Evidence, model: ModelEvidence, step: int, group: str, final: Answers) -> Answers | None:
    """The model's answers at a step, its final ones where it had ended before; ``None`` where not all were asked."""
    reading = next((reading for reading in model.readings if reading.step == step), None)
    if reading is None:
        return final if model.readings and step > model.readings[-1].step else None
    found = _select(evidence, model, reading.verdicts, group)
    return found if _values(final, "O_F").keys() <= found.keys() else None


def _values(answers: Answers, metric: str) -> dict[tuple[str, str], float | None]:
    return {key: verdict.value for key, verdict in answers.items() if verdict.metric == metric}


def _clusters(models: Sequence[Mapping[tuple[str, str], float | None]]) -> dict[str, list[float | None]]:
    """Values by scenario, over models and languages."""
    found: dict[str, list[float | None]] = {}
    for values in models:
        for (_, scenario), value in values.items():
            found.setdefault(scenario, []).append(value)
    return found


def _level(metric: str, clusters: Mapping[str, Sequence[float | None]]) -> dict[str, Any]:
    if metric == "O_F":
        return clustered(clusters.values(), clustered_rate)
    return on_grade_scale(clustered(clusters.values(), clustered_mean))


def _changes(
    evidence: Evidence,
    tag: ModelTag,
    group: str,
    checkpoint: int | None,
    before: Sequence[Answers],
    after: Sequence[Answers],
) -> Iterator[Row]:
    """O_F_change and O_F_relative_change, question by question."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    unscored = 0
    for old, new in zip(before, after, strict=True):
        start = _values(old, "O_F")
        for key, now in _values(new, "O_F").items():
            was = start.get(key)
            if was is None or now is None:
                unscored += 1
                continue
            pairs.setdefault(key[1], []).append((was, now))
    if not pairs:
        return
    earlier = [was for each in pairs.values() for was, _ in each]
    n, rate = len(earlier), sum(earlier) / len(earlier)
    value = sum(now - was for each in pairs.values() for was, now in each) / n
    low, high = change_interval(list(pairs.values())) or (None, None)
    place: dict[str, Any] = {"checkpoint": checkpoint, "group": group}
    yield evidence.row(tag, "O_F_change", **place, n=n, unscored=unscored, value=value, ci_low=low, ci_high=high)
    ratio = clustered_ratio(*([[pair[at] for pair in cluster] for cluster in pairs.values()] for at in (0, 1)))
    low, high = (None, None) if ratio is None else (ratio[0] - 1, ratio[1] - 1)
    relative = value / rate if rate else None
    yield evidence.row(
        tag, "O_F_relative_change", **place, n=n, unscored=unscored, value=relative, ci_low=low, ci_high=high
    )


def change_interval(clusters: Sequence[Sequence[tuple[float, float]]]) -> tuple[float, float] | None:
    """Student's t over scenarios; where all differ equally it has no width, and Newcombe's paired interval stands in.

    It is then taken over scenarios ("repeated in some answer", before and after), so it is on the wide side.
    """
    differences = [[now - was for was, now in cluster] for cluster in clusters]
    if len({difference for each in differences for difference in each}) > 1:
        return clustered_mean(differences)
    before, after = ([any(pair[at] > 0 for pair in cluster) for cluster in clusters] for at in (0, 1))
    return paired_rate_difference(before, after)
