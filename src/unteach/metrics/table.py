"""The one tidy table, as rows, CSV and Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from unteach.metrics.contract import Evidence, Measure
from unteach.metrics.seeds import over_seeds
from unteach.records import Row

COLUMNS = tuple(Row.model_fields)

_WHOLE = dict.fromkeys(("seed", "checkpoint"), "Int64") | dict.fromkeys(("n", "unscored"), "int64")
_TYPES = _WHOLE | dict.fromkeys(("value", "ci_low", "ci_high"), "float64")


def build(evidence: Evidence, measures: Iterable[Measure]) -> list[Row]:
    """All rows of all measures, and those over several seeds."""
    rows = [row for measure in measures for row in measure(evidence)]
    return rows + over_seeds(rows)


def write_table(rows: Sequence[Row], folder: Path) -> None:
    """Write ``table.csv`` and ``table.parquet``; a missing value is an empty field, a null."""
    frame = pd.DataFrame([row.model_dump() for row in rows], columns=list(COLUMNS))
    texts = {column: "string" for column in COLUMNS if column not in _TYPES}
    frame = frame.astype({**texts, **_TYPES})
    frame.to_csv(folder / "table.csv", index=False, float_format="%.6g")
    frame.to_parquet(folder / "table.parquet", index=False)
