"""The file that people fill in: a CSV that spreadsheets open and run nothing of, read back as they leave it."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from unteach.errors import UserError
from unteach.metrics.agreement import Label, Scale

COLUMNS = ("id", "language", "question", "answer", "look for", "label", "comment")

CELL = 30_000
"""Letters of a cell; spreadsheets cut at 32,767."""

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
"""What makes a spreadsheet run or change a cell; and the apostrophe, put before these, so that it can be undone."""

_KEPT = "\n\t\u200c\u200d"
"""Controls that belong into text: line breaks, and the joiners of Indic and Arabic scripts."""

_YES = {"yes": "yes", "y": "yes", "true": "yes", "1": "yes", "no": "no", "n": "no", "false": "no", "0": "no"}


def shown(text: str) -> str:
    """Text as people see it: controls and marks that turn the direction are written out, such as ``[U+202E]``."""
    text = text.replace("\r\n", "\n")
    made = "".join(f"[U+{ord(sign):04X}]" if _hidden(sign) else sign for sign in text)
    return made if len(made) <= CELL else f"{made[:CELL]} [... {len(made) - CELL} more characters]"


def _hidden(sign: str) -> bool:
    return sign not in _KEPT and unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def write_sheet(path: Path, rows: Iterable[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> None:
    """Write rows as CSV in UTF-8 with a byte-order mark, every cell quoted and guarded."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([guarded(row.get(name, "")) for name in columns])
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(out.getvalue(), encoding="utf-8-sig", newline="")
    partial.replace(path)


def guarded(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_STARTS) else cell


def unguarded(cell: str) -> str:
    """What was guarded."""
    return cell[1:] if cell.startswith("'") else cell


def read_sheet(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Row number, as spreadsheets count, and cells by column, of every row that is not empty.

    The delimiter may be a comma, semicolon or tab, and the byte-order mark may be gone. Column names are told apart
    neither by case nor by blanks.

    Raises:
        UserError: there is no such file, it is not UTF-8 or UTF-16, or it lacks a column.
    """
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"there is no file {path}") from None
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8. Save it again as “CSV UTF-8”.") from None
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    csv.field_size_limit(max(csv.field_size_limit(), 10_000_000))
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file: {error}. Save it again as “CSV UTF-8”.") from None
    names = [_name(cell) for cell in rows[0]] if rows else []
    if missing := [name for name in ("id", "question", "label") if name not in names]:
        raise UserError(f"{path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; put it back")
    for number, row in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in row):
            cells = dict(zip(names, row, strict=False))
            yield number, {name: unguarded(cells.get(name, "")) for name in names}


def same_text(first: str, second: str) -> bool:
    """Whether texts are equal but for blanks, line breaks and a guard, which spreadsheets change."""
    return re.sub(r"\s+", "", first).lstrip("'") == re.sub(r"\s+", "", second).lstrip("'")


def read_label(cell: str, scale: Scale) -> Label | None:
    """A label as people write it; ``None`` for an empty cell or a question mark.

    Raises:
        ValueError: it is none of the scale's labels; the message says which there are.
    """
    word = unicodedata.normalize("NFKC", cell).strip().casefold()
    if word in ("", "?"):
        return None
    if scale.grades:
        number = word.replace(",", ".")
        if re.fullmatch(r"\d{1,2}(\.\d+)?", number) and 1 <= float(number) <= 10:
            return float(number)
        raise ValueError("a grade from 1 to 10")
    whole = re.sub(r"^([01])[.,]0+$", r"\1", word)  # a spreadsheet may write 1 as 1.0
    found = _YES.get(whole) if "yes" in scale.labels else word
    if found in scale.labels:
        return found
    raise ValueError("yes or no" if "yes" in scale.labels else ", ".join(scale.labels))


def _name(cell: str) -> str:
    return " ".join(unguarded(cell.strip()).casefold().split())
