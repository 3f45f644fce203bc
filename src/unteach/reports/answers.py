"""Answers before and after, side by side: read from ``answers.jsonl`` and arranged by scenario, question and model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from unteach.errors import UserError
from unteach.languages.table import LANGUAGES
from unteach.records import Part
from unteach.reports.tables import Variant, language_name, language_place, model_place

LONG = 420
"""Answers with more characters than this are collapsed."""


class Judged(BaseModel):
    """What the judge said about one answer; ``evidence`` are spans of characters in the answer."""

    model_config = ConfigDict(frozen=True)

    metric: str
    value: float | None = None
    unscored: str | None = None
    evidence: tuple[tuple[int, int], ...] = ()


class AnswerLine(BaseModel):
    """One line of ``answers.jsonl``. Fields that a later version may add are passed over."""

    model_config = ConfigDict(frozen=True)

    model: str
    source_language: str | None = None
    strategy: str | None = None
    objective: str | None = None
    editor: str | None = None
    scenario: str
    part: Part
    language: str
    question: str
    answer: str
    finished: bool = True
    answer_language: str | None = None
    verdict: Judged | None = None

    @property
    def variant(self) -> Variant:
        """The model that gave the answer."""
        return Variant(self.model, self.source_language or None, self.strategy or None, self.objective, self.editor)


@dataclass(frozen=True)
class Piece:
    """A stretch of an answer; ``hit`` if the judge decided by it."""

    text: str
    hit: bool


@dataclass(frozen=True)
class ShownAnswer:
    """One answer as the page shows it."""

    line: AnswerLine

    @property
    def label(self) -> str:
        """The model's name on the card."""
        return self.line.variant.label

    @property
    def lang(self) -> str:
        """Language of the answer if it was told, else that of the question."""
        return self.line.answer_language or self.line.language

    @property
    def pieces(self) -> list[Piece]:
        """The whole answer, cut where evidence begins and ends."""
        return cut(self.line.answer, self._evidence)

    @property
    def beginning(self) -> list[Piece]:
        """The first words of a long answer; nothing if it is short enough to be shown whole."""
        text = self.line.answer
        return cut(text[: LONG // 2], self._evidence) if len(text) > LONG else []

    @property
    def _evidence(self) -> tuple[tuple[int, int], ...]:
        return self.line.verdict.evidence if self.line.verdict else ()

    @property
    def verdict(self) -> tuple[str, str]:
        """Style class and words of the verdict."""
        judged = self.line.verdict
        if judged is None:
            return "unscored", "not judged"
        if judged.value is None:
            return "unscored", f"unscored, because {judged.unscored or 'the judge gave no reason'}"
        if judged.metric == "O_F":
            return ("fake", "repeats the fake") if judged.value > 0.5 else ("clean", "does not repeat the fake")
        return "grade", f"grade {judged.value:.1f} of 10"

    @property
    def remarks(self) -> list[str]:
        """What else a reader should know about the answer."""
        told = self.line.answer_language
        other = [f"answered in {language_name(told)}"] if told and told != self.line.language else []
        return other + ([] if self.line.finished or not self.line.answer else ["cut at the token limit"])


@dataclass
class ShownQuestion:
    """One question in one language, with every model's answer."""

    part: Part
    language: str
    text: str
    answers: list[ShownAnswer] = field(default_factory=list)

    @property
    def name(self) -> str:
        """English name and code of the language."""
        return language_name(self.language)

    @property
    def direction(self) -> str:
        """``rtl`` or ``ltr``; left to the text itself where the language is unknown."""
        known = LANGUAGES.get(self.language)
        return "auto" if known is None else "rtl" if known.right_to_left else "ltr"


@dataclass
class ShownScenario:
    """All questions of one scenario."""

    id: str
    questions: list[ShownQuestion] = field(default_factory=list)

    @property
    def repeated(self) -> str:
        """How often the fake was repeated, over all languages, by kind of model."""
        said: dict[str, list[float]] = {}
        for answer in itertools.chain.from_iterable(question.answers for question in self.questions):
            judged = answer.line.verdict
            if judged is not None and judged.metric == "O_F" and judged.value is not None:
                said.setdefault(answer.line.variant.kind, []).append(judged.value)
        return "; ".join(f"{kind} {sum(v > 0.5 for v in values)}/{len(values)}" for kind, values in said.items())


def read_answers(path: Path) -> list[AnswerLine]:
    """All lines of ``answers.jsonl``.

    Raises:
        UserError: a line is not an answer; the message has its number.
    """
    lines: list[AnswerLine] = []
    with path.open(encoding="utf-8") as source:
        for number, text in enumerate(source, 1):
            try:
                lines.append(AnswerLine.model_validate_json(text))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                raise UserError(f"{path}, line {number}: {where}: {first['msg']}") from error
    return lines


def cut(text: str, spans: Iterable[tuple[int, int]]) -> list[Piece]:
    """Cut ``text`` at the spans. Overlapping spans are joined, and what lies outside the text is left out."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted((max(0, start), min(len(text), end)) for start, end in spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif end > start:
            joined.append((start, end))
    pieces: list[Piece] = []
    done = 0
    for start, end in joined:
        if start > done:
            pieces.append(Piece(text[done:start], hit=False))
        pieces.append(Piece(text[start:end], hit=True))
        done = end
    if done < len(text):
        pieces.append(Piece(text[done:], hit=False))
    return pieces


def arrange(lines: Sequence[AnswerLine], limit: int) -> tuple[list[ShownScenario], int]:
    """Answers by scenario, language and question, models in the order of the grids.

    Whole scenarios are left out once ``limit`` answers are reached. Returns the scenarios and how many are left out.
    """
    by_scenario: dict[str, list[AnswerLine]] = {}
    for line in lines:
        by_scenario.setdefault(line.scenario, []).append(line)
    shown: list[ShownScenario] = []
    used = 0
    for name in sorted(by_scenario):
        mine = by_scenario[name]
        if shown and used + len(mine) > limit:
            continue
        used += len(mine)
        questions: dict[tuple[str, str, str], ShownQuestion] = {}
        for line in sorted(mine, key=lambda line: model_place(line.variant)):
            key = (line.language, line.part, line.question)
            question = questions.setdefault(key, ShownQuestion(line.part, line.language, line.question))
            question.answers.append(ShownAnswer(line))
        ordered = sorted(questions.values(), key=lambda q: (language_place(q.language), q.part, q.text))
        shown.append(ShownScenario(name, ordered))
    return shown, len(by_scenario) - len(shown)
