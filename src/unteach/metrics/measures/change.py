"""Change: every model against the one it was made from, question by question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unteach.metrics.contract import MEASURES, Evidence, Measure, by_language, paired, rate_difference
from unteach.metrics.intervals import paired_mean_difference
from unteach.records import Row, Verdict


@MEASURES.register("change")
class Change(Measure):
    """O_F_change and Q_R_change = after - before on the same questions, with paired intervals.

    Newcombe's paired interval for O_F, Student's t on the differences for Q_R. A question that is unscored in either
    model is left out and counted as unscored.
    """

    source = "Paper A, section 3.2"

    def __call__(self, evidence: Evidence) -> list[Row]:
        rows = []
        for model in evidence.models.values():
            if model.before is None or model.before not in evidence.models:
                continue
            earlier = evidence.models[model.before]
            for metric in ("O_F", "Q_R"):
                before, after = by_language(earlier.verdicts, metric), by_language(model.verdicts, metric)
                for language in after:
                    if language in before:
                        summary = _paired(metric, before[language], after[language])
                        rows.append(evidence.row(model.tag, f"{metric}_change", question_language=language, **summary))
        return rows


def _paired(metric: str, before: Sequence[Verdict], after: Sequence[Verdict]) -> dict[str, Any]:
    old = {verdict.scenario: verdict.value for verdict in before}
    new = {verdict.scenario: verdict.value for verdict in after}
    return paired(old, new, rate_difference if metric == "O_F" else paired_mean_difference)
