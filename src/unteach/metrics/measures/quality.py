"""Q_R: how good answers on real news are, by question language, for final models and at checkpoints."""

from __future__ import annotations

from unteach.metrics.contract import MEASURES, Evidence, Measure, at_every_checkpoint, mean, on_grade_scale
from unteach.records import Row


@MEASURES.register("quality")
class Quality(Measure):
    """Q_R = mean grade (1 to 10) of answers on the real part, with Student's t interval cut to the scale."""

    source = "Paper A, section 2.1"

    def __call__(self, evidence: Evidence) -> list[Row]:
        return [
            evidence.row(
                model.tag,
                "Q_R",
                checkpoint=checkpoint,
                question_language=language,
                **on_grade_scale(mean(verdict.value for verdict in group)),
            )
            for model in evidence.models.values()
            for checkpoint, language, group in at_every_checkpoint(model, "Q_R")
        ]
