"""`unteach agreement` as a user calls it, and what a spreadsheet leaves of a sample."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from typer.testing import CliRunner

from unteach.cli import app


def call(*arguments: object) -> str:
    """The command's output; its error, if it fails."""
    result = CliRunner().invoke(app, ["agreement", *map(str, arguments)], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def fill(sample: Path, to: Path, labels: dict[str, str], delimiter: str = ",", encoding: str = "utf-8-sig") -> None:
    """What a spreadsheet does: other delimiter, no byte-order mark, rows in another order, a column more."""
    with sample.open(encoding="utf-8-sig", newline="") as source:
        rows = list(csv.DictReader(source))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, [*rows[0], "note"], delimiter=delimiter)
    writer.writeheader()
    for row in reversed(rows):
        text = {name: cell.replace("\r\n", "\n").replace("\n", "\r\n") for name, cell in row.items()}
        writer.writerow(text | {"label": labels.get(row["id"], ""), "comment": "'=1+1", "note": "x"})
    to.write_text(out.getvalue(), encoding=encoding, newline="")
