"""The distance to the model that was never taught: forgetting is reaching it, not just silence."""

from __future__ import annotations

from collections.abc import Iterator

from unteach.metrics.contract import MEASURES, Evidence, Measure, ModelEvidence, paired, rate_difference
from unteach.metrics.measures.texts import log_probability, paired_rows, text_cells
from unteach.records import Row

Outcomes = dict[tuple[str, str | None], dict[str, bool | None]]
"""(question language, passage language) -> scenario -> hit, ``None`` where unscored."""


@MEASURES.register("oracle")
class Oracle(Measure):
    """A model minus the R-only model, which saw the same real news and no fake: 0 is "as if never taught".

    O_F_to_oracle and forced_choice_to_oracle are differences of rates on the same questions (Newcombe's paired
    interval), log_probability_to_oracle the mean difference in nats a token on the same fake passages (Student's t).
    """

    source = "unteach; the retrained model as reference is TOFU's and MUSE's"

    def __call__(self, evidence: Evidence) -> list[Row]:
        rows: list[Row] = []
        for model in evidence.models.values():
            if model.never_taught is None:
                continue
            oracle = evidence.models[model.never_taught]
            rows += _rates(evidence, model, "O_F_to_oracle", _repeated(oracle), _repeated(model))
            rows += _rates(evidence, model, "forced_choice_to_oracle", _chosen(oracle), _chosen(model))
            fakes = {cell: scores for cell, scores in text_cells(model).items() if cell[0] == "fake"}
            rows += paired_rows(
                evidence, model, "log_probability_to_oracle", log_probability, text_cells(oracle), fakes
            )
        return rows


def _repeated(model: ModelEvidence) -> Outcomes:
    found: Outcomes = {}
    for verdict in model.verdicts:
        if verdict.metric == "O_F":
            hit = None if verdict.value is None else verdict.value > 0
            found.setdefault((verdict.language, None), {})[verdict.scenario] = hit
    return found


def _chosen(model: ModelEvidence) -> Outcomes:
    found: Outcomes = {}
    for choice in model.choices:
        cell = found.setdefault((choice.question_language, choice.passage_language), {})
        cell[choice.right] = choice.chosen == choice.right
    return found


def _rates(evidence: Evidence, model: ModelEvidence, metric: str, oracle: Outcomes, mine: Outcomes) -> Iterator[Row]:
    for (language, passage), hits in mine.items():
        reference = oracle.get((language, passage), {})
        summary = paired(reference, hits, rate_difference)
        if summary["n"] or summary["unscored"]:
            yield evidence.row(model.tag, metric, question_language=language, group=passage, **summary)
