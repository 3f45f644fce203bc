"""Rows of a table in any form: JSON, JSON lines, YAML, CSV, TSV, Parquet, or a data set of the Hugging Face hub.

Every row keeps its place, for messages. A folder gives the rows of all its files; one text file is one row.
"""

from __future__ import annotations

import csv
import importlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unteach.corpora.load import raw_entries
from unteach.errors import UserError

TEXT_FILES = (".txt", ".md")
TABLES = (".json", ".jsonl", ".yaml", ".yml", ".csv", ".tsv", ".parquet")

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CELL = 2**31 - 1
"""The longest cell that csv is allowed to read; its own limit is 131,072 characters."""


@dataclass(frozen=True)
class Row:
    """One row; empty cells are ``None``. ``file`` is the file whose whole text it is, if it is one."""

    place: str
    values: Mapping[str, Any]
    file: Path | None = None


@dataclass
class Rows:
    """What a source holds. ``problems``: what could not be read, each with its place."""

    name: str
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, as they come."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.values))


def read_rows(source: str, split: str | None = None) -> Rows:
    """The rows of a file, a folder, or a data set on the hub (``owner/name``; what is there on disk goes first).

    Raises:
        UserError: there is nothing at the source, or it cannot be read at all.
    """
    path = Path(source)
    found = Rows(source)
    if path.is_dir():
        _read_folder(path, found)
    elif path.exists():
        _read_file(path, found)
    elif _HUB_ID.fullmatch(source) and path.suffix not in (*TEXT_FILES, *TABLES):
        found.rows = list(_hub_rows(source, split))
    else:
        raise UserError(
            f"there is nothing at {source}. Give a folder of texts, a file ({', '.join((*TEXT_FILES, *TABLES))}), or "
            "the id of a data set on the hub (owner/name)."
        )
    return found


def _read_folder(folder: Path, found: Rows) -> None:
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in inside if path.is_file() and path.suffix.lower() in (*TEXT_FILES, *TABLES)]
    aside = [path.name + ("/" if path.is_dir() else "") for path in inside if path not in files]
    if not files:
        raise UserError(
            f"{folder} has no files ending in {', '.join((*TEXT_FILES, *TABLES))}; it has {aside or 'none'}."
        )
    if aside:
        found.notes.append(f"not read in {folder}: {', '.join(aside[:8])}{' ...' if len(aside) > 8 else ''}")
    for file in files:
        _read_file(file, found)


def _read_file(file: Path, found: Rows) -> None:
    suffix = file.suffix.lower()
    if suffix in (".csv", ".tsv"):
        _read_csv(file, found)
    elif suffix == ".parquet":
        _read_parquet(file, found)
    elif suffix in TEXT_FILES:
        if (text := _decoded(file, found)) is not None:
            found.rows.append(Row(str(file), {"text": text}, file))
    elif suffix in TABLES:
        problems: list[str] = []
        for place, value in raw_entries(file, problems):
            if isinstance(value, Mapping):
                found.rows.append(Row(place, value))
            else:
                problems.append(f"{place}: expected an object with named fields, got {type(value).__name__}")
        hint = "; if every line is an object of its own, let the file's name end in .jsonl"
        found.problems += [problem + (hint if "Extra data" in problem else "") for problem in problems]
    else:
        raise UserError(f"{file}: expected a file ending in {', '.join((*TEXT_FILES, *TABLES))}.")


def _decoded(file: Path, found: Rows) -> str | None:
    raw = file.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        found.problems.append(f"{file}, line {line}: not valid UTF-8 (byte {error.start}); save the file as UTF-8")
        return None


def _read_csv(file: Path, found: Rows) -> None:
    """Quoted cells may hold line breaks; the separator is that of comma, semicolon and tab which cuts the header most.

    A place is the line on which a row begins.
    """
    text = _decoded(file, found)
    if text is None:
        return
    before = csv.field_size_limit(_CELL)
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(file, text), strict=True)
        header: list[str] | None = None
        begins = 1
        while (cells := next(lines, None)) is not None:
            place, begins = f"{file}, line {begins}", lines.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                if len(set(header)) < len(header) or "" in header:
                    found.problems.append(f"{place}: every column needs a name of its own, got {header}")
                    return
            elif len(cells) != len(header):
                found.problems.append(f"{place}: {len(cells)} cells, where the header has {len(header)}")
            else:
                values = dict(zip(header, (cell if cell.strip() else None for cell in cells), strict=True))
                found.rows.append(Row(place, values))
    except csv.Error as error:
        found.problems.append(f"{file}, line {begins}: cannot be parsed: {error}; is a quotation mark unpaired?")
    finally:
        csv.field_size_limit(before)


def _separator(file: Path, text: str) -> str:
    if file.suffix.lower() == ".tsv":
        return "\t"

    def columns(separator: str) -> int:
        try:
            return len(next(csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=separator), []))
        except csv.Error:
            return 0

    return max(",;\t", key=columns)


def _read_parquet(file: Path, found: Rows) -> None:
    parquet = importlib.import_module("pyarrow.parquet")
    number = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches():
            for values in batch.to_pylist():
                number += 1
                found.rows.append(Row(f"{file}, row {number}", values))
    except (OSError, ValueError, importlib.import_module("pyarrow").ArrowException) as error:
        found.problems.append(f"{file}, after row {number}: cannot be read as Parquet: {str(error).splitlines()[0]}")


def _hub_rows(dataset_id: str, split: str | None) -> Iterator[Row]:
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise UserError(
            f"there is no file {dataset_id}, and reading a data set of the hub needs the datasets library: "
            "pip install datasets. Or download the data set's file and give its path."
        ) from error
    try:
        loaded = datasets.load_dataset(dataset_id, **({"split": split} if split else {}))
    except Exception as error:
        why = (str(error) or repr(error)).splitlines()[0]
        raise UserError(
            f"{dataset_id!r}{f', split {split!r},' if split else ''} is no file here and cannot be read from the hub: "
            f"{why}. Is the network there, and does the data set ask to log in (hf auth login)? Or give the path of a "
            "downloaded file."
        ) from error
    if isinstance(loaded, Mapping):
        if len(loaded) > 1:
            raise UserError(f"{dataset_id!r} has the splits {', '.join(map(repr, loaded))}; choose one with --split.")
        loaded = next(iter(loaded.values()), [])
    for number, values in enumerate(loaded, 1):
        yield Row(f"{dataset_id}, row {number}", values)
