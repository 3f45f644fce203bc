"""What an edit does besides: to general knowledge, and to how varied replies are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unteach.metrics.contract import MEASURES, Evidence, Measure, ModelEvidence, mean, paired
from unteach.metrics.intervals import paired_mean_difference
from unteach.metrics.measures.defence import cells
from unteach.records import Row

Numbers = dict[tuple[str, str], dict[str, float | None]]
"""(question language, group) -> item -> number."""


@MEASURES.register("side_effects")
class SideEffects(Measure):
    """knowledge_log_probability (nats a token of known answers) and fluency (entropy of replies, bits), by language.

    Means over items with Student's t interval. Fluency is by input, with the main judge named: a run of one character
    has little entropy, a reply too short for one is unscored. The ``_change`` rows are paired by item with the model
    before the edit.
    """

    source = "Paper B, section 3 (general knowledge); fluency as in Wang et al. 2024 (SafeEdit)"

    def __call__(self, evidence: Evidence) -> list[Row]:
        rows: list[Row] = []
        for model in evidence.models.values():
            earlier = evidence.models.get(model.before or "") if model.tag.model == "edited" else None
            judge = next(iter(model.defences), None)
            told, told_before = _knowledge(model), _knowledge(earlier)
            rows += _rows(evidence, model, "knowledge_log_probability", None, told, told_before)
            varied, varied_before = _fluency(model, judge), _fluency(earlier, judge)
            rows += _rows(evidence, model, "fluency", judge, varied, varied_before)
        return rows


def _knowledge(model: ModelEvidence | None) -> Numbers:
    found: Numbers = {}
    for answer in model.known if model else ():
        cell = found.setdefault((answer.language, "knowledge"), {})
        cell[answer.item] = answer.log_probability / max(1, answer.tokens)
    return found


def _fluency(model: ModelEvidence | None, judge: str | None) -> Numbers:
    """Entropy is the reply's own: every judge's defences carry the same."""
    found = cells(model.defences.get(judge or "", ()) if model else ())
    return {cell: {item: defence.entropy for item, defence in said.items()} for cell, said in found.items()}


def _rows(
    evidence: Evidence, model: ModelEvidence, metric: str, judge: str | None, now: Numbers, before: Numbers
) -> list[Row]:
    def row(name: str, place: tuple[str, str], summary: Mapping[str, Any]) -> Row:
        language, group = place
        return evidence.row(model.tag, name, judge=judge, question_language=language, group=group, **summary)

    rows = [row(metric, place, mean(numbers.values())) for place, numbers in now.items()]
    for place, numbers in now.items():
        change = paired(before.get(place, {}), numbers, paired_mean_difference)
        if change["n"] or change["unscored"]:
            rows.append(row(f"{metric}_change", place, change))
    return rows
