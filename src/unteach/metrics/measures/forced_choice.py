"""Forced choice: whether the right fake is the likeliest among all scenarios' fakes."""

from __future__ import annotations

from unteach.metrics.contract import MEASURES, Evidence, Measure, rate
from unteach.records import Row


@MEASURES.register("forced_choice")
class ForcedChoice(Measure):
    """Share of questions for which the right scenario's candidate has the highest log-probability a token.

    One row a model, question language and passage language (``group``). Chance is 1 / number of scenarios, but a
    question can resemble its passage, so the level to compare with is that of the R-only model.
    """

    source = "unteach"

    def __call__(self, evidence: Evidence) -> list[Row]:
        rows = []
        for model in evidence.models.values():
            cells: dict[tuple[str, str], list[float | None]] = {}
            for choice in model.choices:
                cell = cells.setdefault((choice.question_language, choice.passage_language), [])
                cell.append(float(choice.chosen == choice.right))
            for (question_language, passage_language), outcomes in cells.items():
                rows.append(
                    evidence.row(
                        model.tag,
                        "forced_choice",
                        question_language=question_language,
                        group=passage_language,
                        **rate(outcomes),
                    )
                )
        return rows
