"""Perplexity on retain texts at unlearning checkpoints."""

from __future__ import annotations

from unteach.metrics.contract import MEASURES, Evidence, Measure
from unteach.records import Row


@MEASURES.register("perplexity")
class Perplexity(Measure):
    """exp(mean NLL a token) on retain texts at every checkpoint; the interval is over texts, on the log scale."""

    source = "Paper A, appendix C"

    def __call__(self, evidence: Evidence) -> list[Row]:
        return [
            evidence.row(
                model.tag,
                "perplexity",
                checkpoint=reading.step,
                n=reading.perplexity_texts,
                value=reading.perplexity,
                ci_low=reading.perplexity_low,
                ci_high=reading.perplexity_high,
            )
            for model in evidence.models.values()
            for reading in model.readings
        ]
