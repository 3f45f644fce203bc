"""Reading a run's tidy table and picking rows from it. Figures and pages get their numbers from here only."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from unteach.errors import UserError
from unteach.languages.table import LANGUAGES
from unteach.metrics.shares import SHARES
from unteach.records import Row

Metric = Literal["O_F", "Q_R"]
"""The two metrics that have a figure and a grid of their own."""

POOLED_SOURCES = ("any", "not en", "high", "low")
"""What stands for a source language where a row pools the models of several; such a row speaks of no one model."""

_MODEL_ORDER = {"r_only": 0, "contaminated": 1, "unlearned": 2, "edited": 3}
_LANGUAGE_ORDER = {code: place for place, code in enumerate(LANGUAGES)}
_OVER_SEEDS = re.compile(r"(?:^|, )over (\d+) seeds$")
_TWO_DIGITS = ("log_probability", "bits_per_character")


@dataclass(frozen=True)
class Variant:
    """One trained model of a run: what it was taught, and how that was taken out again.

    ``variant`` is the point of a sweep (``unlearn.tuning.rank=8``), ``seed`` the seed where a run has several.
    """

    model: str
    source_language: str | None = None
    strategy: str | None = None
    objective: str | None = None
    editor: str | None = None
    variant: str | None = None
    seed: int | None = None

    @classmethod
    def of(cls, row: Row) -> Variant:
        """The model that a row speaks of."""
        return cls(row.model, row.source_language, row.strategy, row.objective, row.editor, row.variant, row.seed)

    @property
    def kind(self) -> str:
        """The model without its source language, in the words of the report: ``unlearned, combined, rank=8``."""
        seed = "" if self.seed is None else f"seed {self.seed}"
        method = [part for part in (self.strategy, self.editor, short_variant(self.variant), seed) if part]
        return ", ".join([{"r_only": "R only"}.get(self.model, self.model), *method])

    @property
    def label(self) -> str:
        """Short name in a report: ``contaminated (de)``."""
        return f"{self.kind} ({self.source_language})" if self.source_language else self.kind


def short_variant(variant: str | None) -> str:
    """A sweep's point without the paths of its settings: ``rank=8, over 3 seeds``."""
    parts = (part.partition("=") for part in (variant or "").split(", "))
    # without "=" a part is a point's own name, dots and all
    return ", ".join(f"{name.rsplit('.', 1)[-1] if equals else name}{equals}{value}" for name, equals, value in parts)


def over_seeds(row: Row) -> bool:
    """Whether the row is a mean over seeds; its ``n`` then counts seeds, not answers."""
    return row.seed is None and _OVER_SEEDS.search(row.variant or "") is not None


def without_seeds(rows: Sequence[Row]) -> list[Row]:
    """Leaves the single seeds out where the table has their mean."""
    return [row for row in rows if row.seed is None] if any(map(over_seeds, rows)) else list(rows)


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
    return int(value) if name in ("n", "unscored", "checkpoint", "seed") else value


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
    """The rows of one metric that describe finished models, one model a row and over all groups."""
    rows = select(rows, metric=metric, checkpoint=None, group=None)
    return [row for row in rows if row.source_language not in POOLED_SOURCES]


def variants(rows: Iterable[Row]) -> list[Variant]:
    """The models that the rows speak of: R only, contaminated, then unlearned, in the order of the table."""
    seen = dict.fromkeys(Variant.of(row) for row in rows if row.source_language not in POOLED_SOURCES)
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
    found = {row.source_language for row in rows if row.source_language} - set(POOLED_SOURCES)
    return sorted(found, key=language_place)


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
    """Whether values of this metric are shares, shown as per cent or percentage points."""
    return base_metric(metric) in SHARES


def is_difference(metric: str) -> bool:
    """Whether values of this metric compare two models and so carry a sign."""
    return base_metric(metric) != metric


def base_metric(metric: str) -> str:
    """What is compared: ``O_F`` for ``O_F_relative_change`` and ``O_F_to_oracle``, ``DS`` for ``DS_over_suffix``."""
    for ending in ("_relative_change", "_change", "_to_oracle", "_over_suffix"):
        metric = metric.removesuffix(ending)
    return metric


def count(row: Row) -> int | None:
    """How many of the ``n`` answers a rate counts, or ``None`` where the value is no share of ``n``."""
    if row.value is None or not is_rate(row.metric) or is_difference(row.metric) or over_seeds(row):
        return None
    hits = row.value * row.n
    return round(hits) if abs(hits - round(hits)) < 1e-6 else None


def unit(metric: str) -> str:
    """The sign behind a value: per cent for shares and relative changes, nothing for points, grades and nats."""
    return " %" if is_rate(metric) and (not is_difference(metric) or metric.endswith("_relative_change")) else ""


def show_value(row: Row) -> str:
    """The value as a report writes it: ``69 %``, ``7.4``, a signed difference, or a dash if nothing was scored."""
    return "–" if row.value is None else _number(row.value, row.metric) + unit(row.metric)


def show_interval(row: Row) -> str:
    """The interval without its brackets, ``44–86``; empty if the row has none."""
    if row.ci_low is None or row.ci_high is None:
        return ""
    # Negative bounds would run into an en dash.
    joint = " to " if is_difference(row.metric) or min(row.ci_low, row.ci_high) < 0 else "–"
    return _number(row.ci_low, row.metric) + joint + _number(row.ci_high, row.metric)


def _number(value: float, metric: str) -> str:
    scaled = 100 * value if is_rate(metric) else value
    digits = 0 if is_rate(metric) else 2 if base_metric(metric) in _TWO_DIGITS and abs(value) < 9.995 else 1
    # Half is rounded away from zero, as readers expect: Python's formatting would make 12.5 a 12 and 37.5 a 38.
    steps = math.floor(abs(scaled) * 10**digits + 0.5 + 1e-9)
    sign = "" if steps == 0 else "−" if scaled < 0 else "+" if is_difference(metric) else ""
    return f"{sign}{steps / 10**digits:.{digits}f}"


def show_n(rows: Sequence[Row], things: str = "") -> str:
    """What stands behind each number: ``n = 16 answers``, the range if they differ, ``seeds`` for means over seeds."""
    scored = [row for row in rows if row.value is not None]
    counts = sorted({row.n for row in scored})
    if not counts:
        return "n = 0"
    words = "seeds" if all(map(over_seeds, scored)) else things
    return f"n = {counts[0]}{f'–{counts[-1]}' if len(counts) > 1 else ''} {words}".rstrip()


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
