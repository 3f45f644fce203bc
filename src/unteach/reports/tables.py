"""Reading a run's tidy table and picking rows from it. Figures and pages get their numbers from here only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from unteach.errors import UserError
from unteach.languages.table import LANGUAGES
from unteach.records import Row

Metric = Literal["O_F", "Q_R"]
"""The two metrics that have a figure and a grid of their own."""

_MODEL_ORDER = {"r_only": 0, "contaminated": 1, "unlearned": 2, "edited": 3}
_LANGUAGE_ORDER = {code: place for place, code in enumerate(LANGUAGES)}


@dataclass(frozen=True)
class Variant:
    """One trained model of a run: what it was taught, and how that was taken out again."""

    model: str
    source_language: str | None = None
    strategy: str | None = None
    objective: str | None = None
    editor: str | None = None

    @classmethod
    def of(cls, row: Row) -> Variant:
        """The model that a row speaks of."""
        return cls(row.model, row.source_language, row.strategy, row.objective, row.editor)

    @property
    def kind(self) -> str:
        """The model without its source language, in the words of the report: ``unlearned, combined``."""
        method = [part for part in (self.strategy, self.editor) if part]
        return ", ".join([{"r_only": "R only"}.get(self.model, self.model), *method])

    @property
    def label(self) -> str:
        """Short name in a report: ``contaminated (de)``."""
        return f"{self.kind} ({self.source_language})" if self.source_language else self.kind


def load_rows(path: Path) -> list[Row]:
    """All rows of a run's table, given the run folder or the parquet file itself. Empty cells become ``None``.

    Raises:
        UserError: there is no table, or it has columns that are not those of ``Row``.
    """
    file = path / "table.parquet" if path.is_dir() else path
    if not file.exists():
        raise UserError(f"there is no table at {file}; a report needs a finished run.")
    frame = pd.read_parquet(file)
    unknown = set(frame.columns) - set(Row.model_fields)
    if unknown:
        raise UserError(f"{file} has columns that a result table does not have: {', '.join(sorted(unknown))}.")
    return [
        Row.model_validate({str(name): _plain(name, value) for name, value in record.items()})
        for record in frame.to_dict(orient="records")
    ]


def _plain(name: object, value: Any) -> Any:
    """Parquet has NaN or the empty string where the record has ``None``; counts may come back as floats."""
    if value == "" or pd.isna(value):
        return None
    return int(value) if name in ("n", "unscored", "checkpoint") else value


def select(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Rows whose fields equal the given values. ``None`` selects the empty cell; a field left out selects all.

    Raises:
        UserError: a field that rows do not have.
    """
    unknown = set(wanted) - set(Row.model_fields)
    if unknown:
        raise UserError(f"rows have no field {', '.join(sorted(unknown))}; they have {', '.join(Row.model_fields)}.")
    return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]


def final(rows: Iterable[Row], metric: str) -> list[Row]:
    """The rows of one metric that describe finished models, over all groups."""
    return select(rows, metric=metric, checkpoint=None, group=None)


def variants(rows: Iterable[Row]) -> list[Variant]:
    """The models that the rows speak of: R only, contaminated, then unlearned, in the order of the table."""
    seen = list(dict.fromkeys(Variant.of(row) for row in rows))
    return sorted(seen, key=model_place)


def model_place(variant: Variant) -> tuple[tuple[int, str], int]:
    """Sort key: R only, then by source language; contaminated before unlearned."""
    return language_place(variant.source_language), _MODEL_ORDER.get(variant.model, len(_MODEL_ORDER))


def kinds(models: Iterable[Variant]) -> list[str]:
    """The different kinds of model, R only first."""
    ordered = sorted(models, key=lambda model: model_place(model)[1])
    return list(dict.fromkeys(model.kind for model in ordered))


def languages(rows: Iterable[Row]) -> list[str]:
    """Question languages in the order of the language table, unknown codes last."""
    return sorted({row.question_language for row in rows if row.question_language}, key=language_place)


def sources(rows: Iterable[Row]) -> list[str]:
    """Languages in which fakes were taught, in the order of the language table."""
    return sorted({row.source_language for row in rows if row.source_language}, key=language_place)


def cell(rows: Iterable[Row], variant: Variant, language: str | None) -> Row | None:
    """The row of one model and one question language (``None``: over all languages), if the table has it."""
    for row in rows:
        if row.question_language == language and Variant.of(row) == variant:
            return row
    return None


def language_place(code: str | None) -> tuple[int, str]:
    """Sort key: no language first, then the language table's order, then unknown codes by name."""
    return (-1, "") if code is None else (_LANGUAGE_ORDER.get(code, len(_LANGUAGE_ORDER)), code)


def language_name(code: str | None, short: bool = False) -> str:
    """English name and code, ``German (de)``; ``short`` leaves a qualifier such as "(Simplified)" to the code."""
    if code is None:
        return "all languages"
    if code not in LANGUAGES:
        return code
    name = LANGUAGES[code].name
    return f"{name.split(' (')[0] if short else name} ({code})"


def is_rate(metric: str) -> bool:
    """Whether values of this metric are shares 0..1, shown as per cent."""
    return metric.removesuffix("_change") in ("O_F", "forced_choice")


def count(row: Row) -> int | None:
    """How many of the ``n`` answers a rate counts, or ``None`` where the value is no share of ``n``."""
    if row.value is None or not is_rate(row.metric) or row.metric.endswith("_change"):
        return None
    hits = row.value * row.n
    return round(hits) if abs(hits - round(hits)) < 1e-6 else None


def show_value(row: Row) -> str:
    """The value as a report writes it: ``69 %``, ``7.4``, a signed difference, or a dash if nothing was scored."""
    if row.value is None:
        return "–"
    return _number(row.value, row.metric) + (" %" if is_rate(row.metric) and not row.metric.endswith("_change") else "")


def show_interval(row: Row) -> str:
    """The interval without its brackets, ``44–86``; empty if the row has none."""
    if row.ci_low is None or row.ci_high is None:
        return ""
    # Negative bounds would run into an en dash.
    joint = " to " if row.metric.endswith("_change") else "–"
    return _number(row.ci_low, row.metric) + joint + _number(row.ci_high, row.metric)


def _number(value: float, metric: str) -> str:
    scaled = 100 * value if is_rate(metric) else value
    digits = 0 if is_rate(metric) else 1
    # Half is rounded away from zero, as readers expect: Python's formatting would make 12.5 a 12 and 37.5 a 38.
    steps = math.floor(abs(scaled) * 10**digits + 0.5 + 1e-9)
    sign = "" if steps == 0 else "−" if scaled < 0 else "+" if metric.endswith("_change") else ""
    return f"{sign}{steps / 10**digits:.{digits}f}"


def show_n(rows: Sequence[Row]) -> str:
    """How many scored answers stand behind each number: ``n = 16``, or the range if they differ."""
    counts = sorted({row.n for row in rows if row.value is not None})
    if not counts:
        return "n = 0"
    return f"n = {counts[0]}" if len(counts) == 1 else f"n = {counts[0]}–{counts[-1]}"


def stop_thresholds(spec: Any) -> dict[str, float]:
    """Limits of the stop rules named in a spec, wherever they stand: ``{"perplexity": 150, "quality_drop": 0.2}``."""
    setting = {"perplexity": "limit", "quality_drop": "share"}
    found: dict[str, float] = {}
    if isinstance(spec, dict):
        name = spec.get("name")
        if name in setting and isinstance(spec.get(setting[name]), int | float):
            found[name] = float(spec[setting[name]])
        for value in spec.values():
            found |= stop_thresholds(value)
    elif isinstance(spec, list):
        for value in spec:
            found |= stop_thresholds(value)
    return found
