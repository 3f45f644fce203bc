"""How likely models find texts, by language: perplexity, bits per character, and what changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from unteach.metrics.contract import MEASURES, Evidence, Measure, ModelEvidence, mean
from unteach.records import Row, TextScore

Cells = dict[tuple[str, str], dict[str, TextScore]]
"""(kind of text, language) -> item -> score."""


@MEASURES.register("texts")
class Texts(Measure):
    """Perplexity, bits per character and mean log-probability of texts, by kind (``group``) and language.

    With L = sum of log p over a text's tokens: log_probability = L / tokens (nats), perplexity = exp(-mean of it),
    bits_per_character = -L / (characters ln 2), which compares across scripts and tokenisers. Kinds are "real" (the
    true articles), "fake" (the fake passages) and "untouched" (texts of no training: what must not change). The
    ``_change`` rows are paired by text with the model it was made from.
    """

    source = "Paper A, appendix C; unteach"

    def __call__(self, evidence: Evidence) -> list[Row]:
        rows: list[Row] = []
        for model in evidence.models.values():
            cells = text_cells(model)
            for (kind, language), scores in cells.items():
                place: dict[str, Any] = {"group": kind, "question_language": language}
                likely = mean(log_probability(score) for score in scores.values())
                rows.append(evidence.row(model.tag, "perplexity", **place, **_perplexity(likely)))
                rows.append(evidence.row(model.tag, "log_probability", **place, **likely))
                bits = mean(bits_per_character(score) for score in scores.values())
                rows.append(evidence.row(model.tag, "bits_per_character", **place, **bits))
            if model.before:
                earlier = text_cells(evidence.models[model.before])
                for metric, value in (("log_probability", log_probability), ("bits_per_character", bits_per_character)):
                    rows += paired_rows(evidence, model, f"{metric}_change", value, earlier, cells)
        return rows


def log_probability(score: TextScore) -> float:
    """Mean log-probability a token, nats."""
    return score.log_probability / max(1, score.tokens)


def bits_per_character(score: TextScore) -> float:
    """-log2 p a character."""
    return -score.log_probability / (math.log(2) * max(1, score.characters))


def text_cells(model: ModelEvidence) -> Cells:
    """A model's scores by kind, language and item."""
    cells: Cells = {}
    for score in model.texts:
        cells.setdefault((score.kind, score.language), {})[score.item] = score
    return cells


def paired_rows(
    evidence: Evidence,
    model: ModelEvidence,
    metric: str,
    value: Callable[[TextScore], float],
    earlier: Cells,
    now: Cells,
) -> Iterator[Row]:
    """Mean difference now - earlier over the same texts, with Student's t interval, by kind and language."""
    for (kind, language), scores in now.items():
        before = earlier.get((kind, language), {})
        summary = mean(value(score) - value(before[item]) for item, score in scores.items() if item in before)
        if summary["n"]:
            yield evidence.row(model.tag, metric, group=kind, question_language=language, **summary)


def _perplexity(likely: dict[str, Any]) -> dict[str, Any]:
    """The interval is Student's t on the log scale."""

    def exp(nats: float | None) -> float | None:
        return None if nats is None else math.exp(min(-nats, 700.0))

    return {
        **likely,
        "value": exp(likely["value"]),
        "ci_low": exp(likely["ci_high"]),
        "ci_high": exp(likely["ci_low"]),
    }
