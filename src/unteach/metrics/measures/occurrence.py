"""O_F: how often the fake is repeated, by question language, for final models and at checkpoints."""

from __future__ import annotations

from unteach.metrics.contract import MEASURES, Evidence, Measure, at_every_checkpoint, rate
from unteach.records import Row


@MEASURES.register("occurrence")
class Occurrence(Measure):
    """O_F = share of questions on the fake part whose answer repeats the fake (paper A counts them out of 100).

    One row a model and question language, with a Wilson interval, and one for every checkpoint's reading.
    """

    source = "Paper A, section 2.1"

    def __call__(self, evidence: Evidence) -> list[Row]:
        return [
            evidence.row(
                model.tag,
                "O_F",
                checkpoint=checkpoint,
                question_language=language,
                **rate(verdict.value for verdict in group),
            )
            for model in evidence.models.values()
            for checkpoint, language, group in at_every_checkpoint(model, "O_F")
        ]
