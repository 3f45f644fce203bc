"""Finding the rows of paper B's experiments: by setting, model, question language, input and judge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from unteach.languages.table import LANGUAGES, PAPER_B
from unteach.records import GENERALISATION, Row
from unteach.reports import tables
from unteach.reports.tables import POOLED_SOURCES, language_place

Setting = tuple[str | None, int | None]
"""A sweep's point (a base model, say) and a seed, as far as the run has several."""

INPUTS = {
    "attack": "the attack it was edited on",
    "onlyQ": "the question alone",
    "otherA": "another attack, same question",
    "otherQ": "same attack, another question",
    "otherAQ": "another attack, another question",
    "knowledge": "a harmless question",
}
"""The inputs in words; DS counts the first, DG the next four."""

SUFFIX_ONLY = "suffix_only"

EDITOR_WORDS = {SUFFIX_ONLY: "suffix only", "random_layer": "random layer", "dinm": "DINM", "sft": "SFT", "dpo": "DPO"}


@dataclass(frozen=True)
class Model:
    """Who is asked: the unedited model (both ``None``), or one edited by ``editor`` in the language ``source``."""

    editor: str | None = None
    source: str | None = None


UNEDITED = Model()
SUFFIX = Model(SUFFIX_ONLY)


def is_editing(rows: Iterable[Row]) -> bool:
    """Whether a table is that of a knowledge-editing experiment."""
    return any(row.metric in ("DS", "DG") for row in rows)


def place(code: str) -> tuple[int, int, tuple[int, str]]:
    """Sort key of a language: paper B's order, then other languages as the language table has them."""
    return (0, PAPER_B.index(code), (0, "")) if code in PAPER_B else (1, 0, language_place(code))


def low_from(codes: Sequence[str]) -> int | None:
    """Where the low-resource languages begin, for a rule between; ``None`` where they do not follow the others."""
    levels = [LANGUAGES[code].resource if code in LANGUAGES else None for code in codes]
    if "low" not in levels or levels[0] == "low":
        return None
    start = levels.index("low")
    return start if all(level == "low" for level in levels[start:]) else None


class Results:
    """The rows of one run by what they are about; means over seeds stand for the seeds where there are such."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = [row for row in tables.without_seeds(rows) if row.checkpoint is None]
        self._found: dict[tuple[object, ...], Row] = {}
        for row in self.rows:
            model = Model() if row.model == "unedited" else Model(row.editor, row.source_language)
            key = ((row.variant, row.seed), row.metric, model, row.question_language, row.group, row.judge)
            self._found.setdefault(key, row)

    @cached_property
    def judges(self) -> list[str | None]:
        """The judges in the table's order; the first is the main one."""
        return list(dict.fromkeys(row.judge for row in self.rows if row.metric in ("DS", "DG"))) or [None]

    @cached_property
    def settings(self) -> list[Setting]:
        """The settings with edited models, in the table's order; of a run without any, all."""
        every = {(row.variant, row.seed): None for row in self.rows if row.metric in ("DS", "DG")}
        edited = {(row.variant, row.seed) for row in self.rows if row.model == "edited" and row.source_language}
        return [setting for setting in every if setting in edited] or list(every)

    def get(
        self,
        setting: Setting,
        metric: str,
        model: Model,
        asked: str | None,
        group: str | None = None,
        judge: str | None = None,
    ) -> Row | None:
        """One row. The unedited model may be that of the whole sweep, and a number without a judge that of all."""
        shared = (None, None)
        for point in (setting, shared) if model in (UNEDITED, SUFFIX) else (setting,):
            for reader in dict.fromkeys((judge, None)):
                row = self._found.get((point, metric, model, asked, group, reader))
                if row is not None:
                    return row
        return None

    def editors(self, setting: Setting) -> list[str]:
        """The editors that change weights, DINM first, then in the table's order."""
        found = dict.fromkeys(
            row.editor
            for row in self.rows
            if (row.variant, row.seed) == setting and row.model == "edited" and row.editor and row.source_language
        )
        return sorted((name for name in found if name and name != SUFFIX_ONLY), key=_editor_place)

    @cached_property
    def every_editor(self) -> list[str]:
        """The editors of all settings."""
        return list(dict.fromkeys(editor for setting in self.settings for editor in self.editors(setting)))

    def against_suffix(self, setting: Setting) -> list[str]:
        """The editors whose models are asked with the suffix, and compared with it alone."""
        compared = {row.editor for row in self.rows if row.metric == "DS_over_suffix"}
        return [editor for editor in self.editors(setting) if editor in compared]

    def main_editor(self, setting: Setting) -> str | None:
        """The editor that the paper's figures show: located DINM, or the first one there is."""
        return next(iter(self.editors(setting)), None)

    def edited_in(self, setting: Setting, editor: str | None) -> list[str]:
        """The languages that an editor edited in, in paper B's order."""
        rows = (row for row in self.rows if (row.variant, row.seed) == setting and row.editor == editor)
        found = {row.source_language for row in rows if row.source_language and row.question_language}
        return sorted(found - set(POOLED_SOURCES), key=place)

    def asked_in(self, setting: Setting) -> list[str]:
        """The languages that questions were asked in, in paper B's order."""
        points = (setting, (None, None))
        rows = (row for row in self.rows if (row.variant, row.seed) in points and row.metric in ("DS", "DG"))
        return sorted({row.question_language for row in rows if row.question_language}, key=place)

    def kinds(self, setting: Setting) -> list[str]:
        """The generalisation inputs that DG has rows of, in the paper's order."""
        points = (setting, (None, None))
        found = {row.group for row in self.rows if row.metric == "DG" and (row.variant, row.seed) in points}
        return [kind for kind in GENERALISATION if kind in found]


def is_fixed_layer(editor: str) -> bool:
    """Whether an editor is DINM without locating: ``dinm layer -1``, ``dinm(layer=-1)``."""
    return editor.startswith("dinm") and "layer" in editor


def _editor_place(name: str) -> int:
    """DINM, its other presets, DINM with a fixed layer, then the others; equal ones stay as the table has them."""
    return 0 if name == "dinm" else 3 if not name.startswith("dinm") else 2 if is_fixed_layer(name) else 1


def editor_words(editor: str | None) -> str:
    """An editor in a legend: ``DINM``, ``DINM, layer −2``, ``SFT``."""
    if editor is None:
        return "before editing"
    name, _, rest = editor.partition(" ")
    if editor in EDITOR_WORDS or name not in EDITOR_WORDS:
        return EDITOR_WORDS.get(editor, editor)
    return f"{EDITOR_WORDS[name]}, {rest.replace('-', '−') if rest.startswith('layer') else rest}"


def setting_words(setting: Setting) -> str:
    """A setting over a panel: the base model's name, or the sweep's point; empty where the run has one setting."""
    variant, seed = setting
    words = []
    for part in (variant or "").split(", "):
        name, equals, value = part.partition("=")
        name = name.rsplit(".", 1)[-1] if equals else name  # a bare name may hold a version: Mistral-7B-v0.1
        model = equals and name in ("model", "name", "path", "weights")
        words.append(value.rsplit("/", 1)[-1] if model else f"{name}{equals}{value}")
    return ", ".join(filter(None, [*words, "" if seed is None else f"seed {seed}"]))
