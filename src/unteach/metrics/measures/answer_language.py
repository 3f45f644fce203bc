"""In which languages a model answers (paper A, Table 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from unteach.languages.table import LANGUAGES
from unteach.metrics.contract import MEASURES, Evidence, Measure, ModelEvidence, ModelTag, clustered
from unteach.metrics.intervals import clustered_rate
from unteach.records import HeldLanguages, Row


@MEASURES.register("answer_language")
class AnswerLanguage(Measure):
    """Share of answers that hold English, the question's language, and the language of the fake data.

    An answer can hold several, so shares do not add to one; one whose language cannot be told is unscored. Rows have
    the group ``R/high/english``: part asked about (R, F), resource level of the question's language, language held.
    Questions in English are left out. Intervals are Wilson's with scenarios as clusters.
    """

    source = "Paper A, section 3.3 (Table 1)"

    def __call__(self, evidence: Evidence) -> list[Row]:
        return [
            row
            for tag, members in _sets(evidence)
            for language in (None, *evidence.languages)
            for row in _rows(evidence, tag, members, language)
        ]


def _sets(evidence: Evidence) -> Iterator[tuple[ModelTag, list[ModelEvidence]]]:
    taught = [model for model in evidence.models.values() if model.tag.model == "contaminated"]
    pooled: dict[ModelTag, list[ModelEvidence]] = {}
    for model in taught:
        yield model.tag, [model]
        pooled.setdefault(replace(model.tag, source_language="any"), []).append(model)
    yield from pooled.items()


def _rows(evidence: Evidence, tag: ModelTag, members: Sequence[ModelEvidence], language: str | None) -> Iterator[Row]:
    for part, letter in (("real", "R"), ("fake", "F")):
        for level in ("high", "low"):
            for which in ("english", "question", "fake"):
                clusters: dict[str, list[float | None]] = {}
                for model in members:
                    for answer in model.held:
                        if answer.part == part and _counts(answer, language, level, evidence.languages):
                            hit = _holds(answer, which, model.tag.source_language)
                            clusters.setdefault(answer.scenario, []).append(hit)
                if clusters:
                    group = f"{letter}/{level}/{which}"
                    summary = clustered(clusters.values(), clustered_rate)
                    yield evidence.row(tag, "answer_language", question_language=language, group=group, **summary)


def _counts(answer: HeldLanguages, language: str | None, level: str, asked: Sequence[str]) -> bool:
    if answer.language == "en" or answer.language not in asked:
        return False
    return LANGUAGES[answer.language].resource == level and language in (None, answer.language)


def _holds(answer: HeldLanguages, which: str, source: str | None) -> float | None:
    if answer.held is None:
        return None
    wanted = {"english": "en", "question": answer.language, "fake": source}[which]
    return float(wanted in answer.held)
