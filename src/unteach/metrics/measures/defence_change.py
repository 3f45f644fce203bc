"""What an edit changed, item by item: against the model before it, and against the prompt suffix alone."""

from __future__ import annotations

from collections.abc import Iterator

from unteach.metrics.contract import MEASURES, Evidence, Measure, ModelEvidence
from unteach.metrics.measures.defence import cells, share_change, success, values
from unteach.records import Input, Row


@MEASURES.register("defence_change")
class DefenceChange(Measure):
    """DS_change, DG_change, over_refusal_change and degenerate_rate_change = edited - before, on the same items.

    DS_over_suffix and DG_over_suffix = edited - the unedited model asked with the same suffix: what the edit does
    beyond the prompt. Newcombe's paired interval, Student's t where an empty reply counts a part; it counts the same on
    both sides, what it counts for the edited model. Items that only one model was asked about do not count, those that
    are unscored in one are counted as unscored.
    """

    source = "Paper B, sections 3 and 5; DS_over_suffix and DG_over_suffix: unteach"

    def __call__(self, evidence: Evidence) -> list[Row]:
        rows: list[Row] = []
        for model in evidence.models.values():
            if model.tag.model == "edited":
                rows += _rows(evidence, model, model.before, "change")
                rows += _rows(evidence, model, model.prompt_only, "over_suffix")
        return rows


def _rows(evidence: Evidence, model: ModelEvidence, reference: str | None, ending: str) -> Iterator[Row]:
    if reference is None or reference not in evidence.models:
        return
    for judge, defences in model.defences.items():
        earlier = cells(evidence.models[reference].defences.get(judge, ()))
        for (language, kind), said in cells(defences).items():
            before = earlier.get((language, kind), {})
            for metric in _compared(kind, ending):
                old, new = (values(metric, each, model.empty_counts) for each in (before, said))
                summary = share_change(old, new)
                if summary["n"] or summary["unscored"]:
                    place = {"judge": judge, "question_language": language, "group": kind}
                    yield evidence.row(model.tag, f"{metric}_{ending}", **place, **summary)


def _compared(kind: Input, ending: str) -> tuple[str, ...]:
    if ending == "over_suffix":
        return () if kind == "knowledge" else (success(kind),)
    return ("over_refusal" if kind == "knowledge" else success(kind)), "degenerate_rate"
