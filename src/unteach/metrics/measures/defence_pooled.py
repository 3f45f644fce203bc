"""DS, DG and their changes pooled over question languages, and over the languages in which a model was edited."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from unteach.metrics.contract import MEASURES, Evidence, Measure, ModelTag, clustered, rate_difference
from unteach.metrics.intervals import clustered_mean
from unteach.metrics.measures.defence import Cells, cells, clustered_share, success, values, whole
from unteach.metrics.measures.pooled import SOURCE_SETS, belongs, change_interval, in_group
from unteach.records import GENERALISATION, Input, Row

GROUPS = {
    "all": "all",
    "english": "english",
    "same": "source",
    "high": "other high",
    "low": "other low",
}
"""Question languages relative to the edit, and what ``pooled.in_group`` calls them: all; English; that of the edit; the
high- and the low-resource ones without English and that of the edit. "other" are all but that of the edit."""

Said = Mapping[str, Mapping[str, Cells]]
"""Model -> judge -> its cells."""


@MEASURES.register("defence_pooled")
class DefencePooled(Measure):
    """DS, DG, DS_change and DG_change pooled; ``group`` is "attack: same", "onlyQ: high" and so on.

    Sources "any", "not en", "high" and "low" pool the edit languages of one editor; asked in English they leave the
    English edit out. A pool stands only if every one of its cells (edit language, question language) was asked, before
    the edit too for a change. Replies on one item are one cluster: Wilson interval at the effective n for shares,
    Student's t over items for changes and where an empty reply counts a part (Newcombe's paired interval for changes
    of one reply an item, and over items where all replies changed alike).
    """

    source = "Paper B, section 5 (Figs. 2 to 4)"

    def __call__(self, evidence: Evidence) -> list[Row]:
        said = {name: {judge: cells(each) for judge, each in m.defences.items()} for name, m in evidence.models.items()}
        return [
            row
            for tag, members in _sets(evidence)
            for judge in dict.fromkeys(judge for name in members for judge in said[name])
            for kind in ("attack", *GENERALISATION)
            for group in (*GROUPS, "other")
            for row in _rows(evidence, said, tag, members, judge, kind, group)
        ]


def _sets(evidence: Evidence) -> Iterator[tuple[ModelTag, list[str]]]:
    """Every pooled model: its tag, with the source set in place of a language, and the names of the models in it."""
    kinds: dict[ModelTag, list[str]] = {}
    for name, model in evidence.models.items():
        yield model.tag, [name]
        if model.tag.source_language is not None:
            kinds.setdefault(replace(model.tag, source_language=None), []).append(name)
    for kind, names in kinds.items():
        for pool in SOURCE_SETS:
            members = [name for name in names if belongs(evidence.models[name].tag.source_language, pool)]
            if members:
                yield replace(kind, source_language=pool), members


def _asked(language: str, edited_in: str | None, group: str, alone: bool) -> bool:
    """Whether a question language belongs to a group, for a model edited in ``edited_in``."""
    if group == "other":
        return edited_in not in (None, language)
    if group == "english" and edited_in == "en" and not alone:
        return False
    return in_group(language, edited_in, GROUPS[group])


def _rows(
    evidence: Evidence, said: Said, tag: ModelTag, members: Sequence[str], judge: str, kind: Input, group: str
) -> Iterator[Row]:
    alone = tag.source_language not in SOURCE_SETS
    models = [evidence.models[name] for name in members]
    metric = success(kind)
    if group == "same" and any(model.tag.source_language not in evidence.languages for model in models):
        return
    now: list[dict[str, float | None]] = []
    before: list[dict[str, float | None]] = []
    for name, model in zip(members, models, strict=True):
        earlier = said.get(model.before or "", {}).get(judge, {})
        for language in evidence.languages:
            if _asked(language, model.tag.source_language, group, alone):
                cell = (language, kind)
                now.append(values(metric, said[name].get(judge, {}).get(cell, {}), model.empty_counts))
                before.append(values(metric, earlier.get(cell, {}), model.empty_counts))
    if not now or not all(now):
        return
    place = {"judge": judge, "group": f"{kind}: {group}"}
    clusters: dict[str, list[float | None]] = {}
    for item, value in ((item, value) for cell in now for item, value in cell.items()):
        clusters.setdefault(item, []).append(value)
    yield evidence.row(tag, metric, **place, **clustered_share(clusters.values()))
    if tag.model == "edited" and all(before):
        change = _change(before, now)
        if change["n"] or change["unscored"]:
            yield evidence.row(tag, f"{metric}_change", **place, **change)


def _change(before: Sequence[Mapping[str, float | None]], now: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    """after - before over the items that both models were asked about, cell by cell."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    differences: dict[str, list[float | None]] = {}
    for old, new in zip(before, now, strict=True):
        for item in (item for item in new if item in old):
            was, value = old[item], new[item]
            cluster = differences.setdefault(item, [])
            if was is None or value is None:
                cluster.append(None)
                continue
            cluster.append(value - was)
            pairs.setdefault(item, []).append((was, value))
    if not whole(value for each in pairs.values() for pair in each for value in pair):
        return clustered(differences.values(), clustered_mean)
    alone = [each[0] for each in pairs.values() if len(each) == 1]
    if len(alone) == len(pairs):  # one reply an item: the same number as in ``defence_change``
        return clustered(differences.values(), lambda _: rate_difference(*([p[at] for p in alone] for at in (0, 1))))
    return clustered(differences.values(), lambda _: _within_one(change_interval(list(pairs.values()))))


def _within_one(limits: tuple[float, float] | None) -> tuple[float, float] | None:
    """No share changes by more than 1."""
    return None if limits is None else (max(-1.0, limits[0]), min(1.0, limits[1]))
