"""The answers of a run: read from ``answers.jsonl``, found by the number they stand behind, packed for the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, ValidationError

from unteach.errors import UserError
from unteach.languages.table import LANGUAGES
from unteach.records import Part, Row
from unteach.reports.tables import Variant, base_metric, is_difference, language_name, language_place, model_place


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
    variant: str | None = None
    seed: int | None = None
    scenario: str
    part: Part
    language: str
    question: str
    answer: str
    finished: bool = True
    answer_language: str | None = None
    verdict: Judged | None = None

    @property
    def tag(self) -> Variant:
        """The model that gave the answer."""
        return Variant(
            self.model, self.source_language or None, self.strategy or None, self.objective, self.editor,
            self.variant, self.seed,
        )  # fmt: skip

    @property
    def words(self) -> tuple[str, str]:
        """Style class and words of the verdict."""
        judged = self.verdict
        if judged is None:
            return "unscored", "not judged"
        if judged.value is None:
            return "unscored", f"unscored, because {judged.unscored or 'the judge gave no reason'}"
        if judged.metric == "O_F":
            return ("fake", "repeats the fake") if judged.value > 0.5 else ("clean", "does not repeat the fake")
        return "grade", f"grade {judged.value:.1f} of 10"

    @property
    def remark(self) -> str:
        """What else a reader should know about the answer."""
        told = self.answer_language
        other = [f"answered in {language_name(told)}"] if told and told != self.language else []
        return "; ".join(other + ([] if self.finished or not self.answer else ["cut at the token limit"]))


L = TypeVar("L", bound=BaseModel)


def read_answers(path: Path) -> list[AnswerLine]:
    """All lines of ``answers.jsonl``; see `read_lines`."""
    return read_lines(path, AnswerLine)


def read_lines(path: Path, kind: type[L]) -> list[L]:
    """All lines of a file of JSON lines of one kind.

    Raises:
        UserError: a line is not of that kind; the message has its number.
    """
    lines: list[L] = []
    with path.open(encoding="utf-8") as source:
        for number, text in enumerate(source, 1):
            try:
                lines.append(kind.model_validate_json(text))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"])
                raise UserError(f"{path}, line {number}: {where}: {first['msg']}") from error
    return lines


def cut(text: str, spans: Iterable[tuple[int, int]]) -> list[str]:
    """Cut ``text`` at the spans: plain, marked, plain, ... in turn.

    Overlapping spans are joined, and what lies outside the text is left out. The page's script counts letters
    differently from Python, so it gets pieces and no places.
    """
    joined: list[tuple[int, int]] = []
    for start, end in sorted((max(0, start), min(len(text), end)) for start, end in spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        elif end > start:
            joined.append((start, end))
    pieces, done = [], 0
    for start, end in joined:
        pieces += [text[done:start], text[start:end]]
        done = end
    return [*pieces, text[done:]] if done < len(text) or not pieces else pieces


class AnswerIndex:
    """Finds the answers behind a number of the table."""

    def __init__(self, lines: Iterable[AnswerLine]) -> None:
        asked: dict[Variant, set[tuple[str, str]]] = {}
        for line in lines:
            asked.setdefault(line.tag, set()).add((line.language, line.part))
        self.models = sorted(asked, key=model_place)
        self._asked: dict[str, set[tuple[str, str]]] = {}
        for model, questions in asked.items():
            self._asked.setdefault(model.label, set()).update(questions)
        self.groups = self._over_seeds()
        """Names of means over seeds -> the models of the single seeds."""
        for name, members in self.groups.items():
            self._asked[name] = set().union(*(self._asked[member] for member in members))

    @property
    def labels(self) -> list[str]:
        """The models' names in the order of the grids."""
        return list(dict.fromkeys(model.label for model in self.models))

    def query(self, row: Row) -> str:
        """What the page's filter has to show for this row, as the query of a link; empty if there is nothing.

        A difference between two models shows both, side by side.
        """
        part = {"O_F": "fake", "Q_R": "real"}.get(base_metric(row.metric))
        if part is None or row.checkpoint is not None or row.question_language is None:
            return ""
        model = Variant.of(row)
        if (row.question_language, part) not in self._asked.get(model.label, ()):
            return ""
        query = {"model": model.label, "language": row.question_language, "part": part}
        if is_difference(row.metric):
            never = row.metric.endswith("_to_oracle") or row.model == "contaminated"
            other = Variant("r_only") if never else Variant("contaminated", row.source_language)
            # Models that a whole sweep shares have neither variant nor seed.
            same = replace(other, variant=row.variant, seed=row.seed).label
            beside = next((label for label in (same, other.label) if label in self._asked), None)
            query |= {"beside": beside} if beside else {}
        return urlencode(query)

    def _over_seeds(self) -> dict[str, list[str]]:
        groups: dict[Variant, list[str]] = {}
        for model in self.models:
            if model.seed is not None:
                groups.setdefault(replace(model, seed=None), []).append(model.label)
        return {
            replace(
                model, variant=", ".join([*filter(None, [model.variant]), f"over {len(labels)} seeds"])
            ).label: labels
            for model, labels in groups.items()
        }


def pack(lines: Sequence[AnswerLine], index: AnswerIndex, limit: int) -> tuple[dict[str, Any], int]:
    """The answers as the page's script reads them, and how many scenarios are left out.

    Answers stand by scenario, then by language and question, models in the order of the grids. What repeats (names of
    models, verdicts, remarks) is a number into a list. Whole scenarios are left out once the answers would take
    more than ``limit`` bytes; one is always kept.
    """
    by_scenario: dict[str, list[AnswerLine]] = {}
    for line in lines:
        by_scenario.setdefault(line.scenario, []).append(line)
    models = {label: number for number, label in enumerate(index.labels)}
    verdicts: dict[tuple[str, str], int] = {}
    remarks: dict[str, int] = {"": 0}
    scenarios: list[dict[str, Any]] = []
    used = 0
    for name in sorted(by_scenario):
        questions: dict[tuple[str, str, str], list[list[Any]]] = {}
        for line in sorted(by_scenario[name], key=lambda line: model_place(line.tag)):
            pieces = cut(line.answer, line.verdict.evidence if line.verdict else ())
            told = line.answer_language or line.language
            packed: list[Any] = [
                models[line.tag.label],
                verdicts.setdefault(line.words, len(verdicts)),
                pieces if len(pieces) > 1 else pieces[0],
                remarks.setdefault(line.remark, len(remarks)),
                0 if told == line.language else told,
            ]
            while packed[-1] == 0 and len(packed) > 3:
                packed.pop()
            questions.setdefault((line.language, line.part, line.question), []).append(packed)
        ordered = sorted(questions, key=lambda key: (language_place(key[0]), key[1], key[2]))
        scenario = {"id": name, "questions": [[*key, questions[key]] for key in ordered]}
        size = len(as_json(scenario).encode())
        if scenarios and used + size > limit:
            continue
        used += size
        scenarios.append(scenario)
    codes = sorted({line.language for line in lines}, key=language_place)
    data = {
        "models": list(models),
        "groups": index.groups,
        "languages": {code: [language_name(code), direction(code)] for code in codes},
        "verdicts": list(verdicts),
        "remarks": list(remarks),
        "scenarios": scenarios,
    }
    return data, len(by_scenario) - len(scenarios)


def direction(code: str) -> str:
    """``rtl`` or ``ltr``; left to the text itself where the language is unknown."""
    known = LANGUAGES.get(code)
    return "auto" if known is None else "rtl" if known.right_to_left else "ltr"


def as_json(data: Any) -> str:
    """JSON that may stand in a page's script element: no ``<`` can end the element or open a comment."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
