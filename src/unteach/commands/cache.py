"""``unteach cache``: the kept replies of text services, what they cost, and an export of them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from rich.console import Console

from unteach.errors import UserError
from unteach.terminal import console, errors

if TYPE_CHECKING:
    from unteach.endpoints.replies import Replies

app = typer.Typer(help="See what replies of text services are kept and what they cost; write them as JSON lines.")

RepliesPath = Annotated[
    Path | None, typer.Option("--replies", help="The file of replies; $UNTEACH_REPLIES or the user's if left out.")
]


@app.callback(invoke_without_command=True)
def cache(context: typer.Context, replies: RepliesPath = None) -> None:
    """See what replies of text services are kept and what they cost; write them as JSON lines."""
    if context.invoked_subcommand is None:
        show(replies)
    elif replies is not None:
        raise UserError(f"write --replies after {context.invoked_subcommand}, not before it.")


@app.command()
def show(replies: RepliesPath = None) -> None:
    """Show how many replies are kept of every endpoint, their tokens and money, and what counts against budgets."""
    from unteach.reports.replies import purses_table, replies_table

    kept = _existing(replies)
    if kept is None:
        return
    console.print(f"replies  {kept.path}", highlight=False, markup=False, soft_wrap=True)
    wide = Console(width=max(console.width, 118))  # numbers cut short would be of no use
    wide.print(replies_table(kept.totals()))
    wide.print(purses_table(kept.purses()))


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help="The file to write, ending in .jsonl; - for the standard output.")],
    replies: RepliesPath = None,
) -> None:
    """Write every reply with its request as JSON lines, oldest first."""
    if str(to) != "-" and to.suffix != ".jsonl":
        raise UserError(f"{to}: an export is written as JSON lines; name a file that ends in .jsonl, or -.")
    kept = _existing(replies)
    if kept is None:
        return
    if str(to) == "-":
        _write(kept.export(), sys.stdout)
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    with _whole(to) as out:
        number = _write(kept.export(), out)
    console.print(f"{number:,} replies  {to}", highlight=False, markup=False, soft_wrap=True)


def _existing(path: Path | None) -> Replies | None:
    """The kept replies; none, said on standard error, where there is no file yet. Looking makes none."""
    from unteach.endpoints.replies import Replies

    kept = Replies(path)
    if not kept.path.is_file():
        errors.print(f"no replies are kept yet: there is no {kept.path}", highlight=False, markup=False, soft_wrap=True)
        return None
    return kept


def _write(entries: Iterable[dict[str, Any]], out: TextIO) -> int:
    number = 0
    for number, entry in enumerate(entries, start=1):  # noqa: B007
        out.write(json.dumps(entry, ensure_ascii=False) + "\n")
    return number


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A file to write that takes its name when it is whole; one that is stopped midway leaves what was there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8") as out:
            yield out
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
