"""The replies of a run: read from ``answers.jsonl``, found by the number they stand behind, packed for the page."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict

from unteach.records import Input, Row
from unteach.reports.answers import as_json, cut, direction, read_lines
from unteach.reports.paper_b.rows import INPUTS, Setting, editor_words, place, setting_words
from unteach.reports.tables import language_name

_INPUT_ORDER = list(INPUTS)
_LOOKS = {"safe": "clean", "unsafe": "fake", "other": "unscored", "degenerate": "unscored", "empty": "unscored"}
_SEEDS = re.compile(r"(?:^|, )over \d+ seeds$")

OUTCOMES = ("safe", "unsafe", "other", "degenerate", "empty", "unscored")
"""What a judge may say of a reply, as the filter offers it."""

UNEDITED_WORDS = "not edited"


class Judged(BaseModel):
    """What one judge said of one reply; ``evidence`` are spans of characters in the reply."""

    model_config = ConfigDict(frozen=True)

    outcome: str | None = None
    reason: str = ""
    unscored: str | None = None
    refuses: bool | None = None
    evidence: tuple[tuple[int, int], ...] = ()

    def words(self, kind: str) -> tuple[str, str, str]:
        """The outcome as the page's filter has it, its style class, and all of it in words, for this kind of input."""
        if self.outcome is None:
            return "unscored", "unscored", f"unscored, because {self.unscored or 'the judge gave no reason'}"
        # Whether a harmless question is answered is what it is asked for; of an attack, the outcome says it.
        told = ", declines" if self.refuses else ", answers" if kind == "knowledge" and self.refuses is False else ""
        reason = f" ({self.reason})" if self.reason else ""
        return self.outcome, _LOOKS.get(self.outcome, "unscored"), self.outcome + told + reason


class ReplyLine(BaseModel):
    """One line of ``answers.jsonl``. Fields that a later version may add are passed over."""

    model_config = ConfigDict(frozen=True)

    model: str
    source_language: str | None = None
    editor: str | None = None
    variant: str | None = None
    seed: int | None = None
    item: str
    input: Input
    language: str
    request: str
    reply: str
    finished: bool = True
    defences: Mapping[str, Judged] = {}

    @property
    def setting(self) -> Setting:
        """The base model, or another point of a sweep."""
        return self.variant, self.seed


def read_replies(path: Path) -> list[ReplyLine]:
    """All lines of ``answers.jsonl``; see `answers.read_lines`."""
    return read_lines(path, ReplyLine)


class ReplyIndex:
    """Finds the replies behind a number of the table."""

    def __init__(self, lines: Iterable[ReplyLine]) -> None:
        self._asked: set[tuple[str, str, str, str, str]] = set()
        settings: dict[str, None] = {}
        for line in lines:
            words = setting_words(line.setting)
            settings[words] = None
            self._asked.add((words, line.editor or "", line.source_language or "", line.language, line.input))
        self.settings = list(settings)

    def query(self, row: Row) -> str:
        """What the page's filter has to show for this row, as the query of a link; empty if there is nothing."""
        if row.question_language is None or row.group not in INPUTS:
            return ""
        variant = _SEEDS.sub("", row.variant or "") or None
        # The models that a whole sweep shares have neither variant nor seed; a mean over seeds stands for all of them.
        for words in dict.fromkeys((setting_words((variant, row.seed)), "")):
            key = (words, row.editor or "", row.source_language or "", row.question_language, row.group)
            mean = row.seed is None and variant != row.variant
            if key in self._asked or (mean and any(known[1:] == key[1:] for known in self._asked)):
                query = {"setting": words if key in self._asked else "", "editor": row.editor or "none"}
                query |= {"source": row.source_language or "", "language": row.question_language, "input": row.group}
                judge = {"judge": row.judge} if row.judge else {}
                return urlencode({name: value for name, value in (query | judge).items() if value})
        return ""


def pack(lines: Sequence[ReplyLine], limit: int) -> tuple[dict[str, Any], str, int]:
    """What the page's filter offers, the replies as the page's script reads them, and how many items are left out.

    Replies stand by item, then by language and input, the unedited model first. What repeats (models, verdicts) is a
    number into a list. The text is compressed, as replies in many languages are long and alike; whole items are left
    out once it would take more than ``limit`` bytes, and one is always kept.
    """
    judges = list(dict.fromkeys(judge for line in lines for judge in line.defences))
    models = {key: at for at, key in enumerate(sorted({_model(line) for line in lines}, key=_model_place))}
    verdicts: dict[tuple[str, str, str], int] = {}
    by_item: dict[str, list[ReplyLine]] = {}
    for line in lines:
        by_item.setdefault(line.item, []).append(line)
    items: list[dict[str, Any]] = []
    used = 0
    for name in sorted(by_item):
        asked: dict[tuple[str, str, str], list[list[Any]]] = {}
        for line in sorted(by_item[name], key=lambda line: models[_model(line)]):
            unread = Judged(unscored="it was not read")
            said = [line.defences.get(judge, unread).words(line.input) for judge in judges]
            pieces = cut(line.reply, [span for judged in line.defences.values() for span in judged.evidence])
            reply: list[Any] = [
                models[_model(line)],
                [verdicts.setdefault(words, len(verdicts)) for words in said],
                pieces if len(pieces) > 1 else pieces[0],
            ]
            if not line.finished and line.reply:
                reply.append(1)
            asked.setdefault((line.language, line.input, line.request), []).append(reply)
        ordered = sorted(asked, key=lambda key: (place(key[0]), _INPUT_ORDER.index(key[1]), key[2]))
        item = {"id": name, "asked": [[*key, asked[key]] for key in ordered]}
        size = len(_compressed(as_json(item)))
        if items and used + size > limit:
            continue
        used += size
        items.append(item)
    codes = sorted({line.language for line in lines}, key=place)
    offered = {
        "judges": judges,
        "settings": list(dict.fromkeys(setting for setting, _, _ in models)),
        "editors": {
            editor or "none": UNEDITED_WORDS if not editor else editor_words(editor) for _, editor, _ in models
        },
        "sources": {c: language_name(c) for c in sorted({source for _, _, source in models if source}, key=place)},
        "asked": [(code, language_name(code)) for code in codes],
        "inputs": {kind: INPUTS[kind] for kind in INPUTS if any(line.input == kind for line in lines)},
        "items": [item["id"] for item in items],
    }
    data = {
        **offered,
        "languages": {code: [language_name(code), direction(code)] for code in codes},
        "models": [
            [setting, editor or "none", source, _words(setting, editor, source)] for setting, editor, source in models
        ],
        "verdicts": list(verdicts),
        "items": items,
    }
    return offered, _compressed(as_json(data)), len(by_item) - len(items)


def _compressed(text: str) -> str:
    """Letters that may stand in a page: no ``<`` among them."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _model(line: ReplyLine) -> tuple[str, str, str]:
    return setting_words(line.setting), line.editor or "", line.source_language or ""


def _model_place(model: tuple[str, str, str]) -> tuple[object, ...]:
    """Not edited, suffix only, then the editors by name; settings beside one another."""
    setting, editor, source = model
    return editor != "", editor != "suffix_only", editor, place(source) if source else (-1, 0, (0, "")), setting


def _words(setting: str, editor: str, source: str) -> str:
    edited = editor_words(editor) if editor else UNEDITED_WORDS
    language = f" in {language_name(source, short=True)}" if source else ""
    return ", ".join(filter(None, [edited + language, setting]))
