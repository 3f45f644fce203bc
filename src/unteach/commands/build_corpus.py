"""``unteach corpus build``: make a corpus of paper A from articles."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from unteach.terminal import bars, console, errors, escaped, quiet_libraries

if TYPE_CHECKING:
    from unteach.experiments.building.run import Build, Built

_SHOWN = 20
"""So many things that are missing are printed; the file beside the corpus has all."""


def build_corpus(
    spec: Annotated[Path, typer.Argument(help="What to make and of what (YAML), see docs/building.md.")],
    overrides: Annotated[
        list[str], typer.Option("--set", help="Change one field: path.to.field=value (YAML). Can be repeated.")
    ] = [],  # noqa: B006
    store: Annotated[Path, typer.Option(help="Where finished steps are kept and looked for.")] = Path("runs/store"),
    to: Annotated[Path | None, typer.Option(help="The file to write (.jsonl) instead of the spec's.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what there is to do; nothing is asked.")] = False,
    partial: Annotated[bool, typer.Option("--partial", help="End with code 0 even if something is missing.")] = False,
) -> None:
    """Make a whole corpus from articles: fake passages, paraphrases, question-answer pairs, translations.

    Every finished step and every reply is kept, so a stopped build goes on where it was. What could not be made is
    listed, and the corpus is written without it; the exit code is then 1.
    """
    from unteach.experiments.building.run import build, prepare, write
    from unteach.experiments.building.spec import read_build_spec

    chosen = [*overrides, *([f"to={to}"] if to else [])]
    with quiet_libraries(), bars(errors) as progress:
        prepared = prepare(read_build_spec(spec, chosen), store)
        for note in prepared.notes:
            console.print(note, highlight=False, markup=False, soft_wrap=True)
        _print_plan(prepared)
        if plan:
            return
        started = time.time()
        built = build(prepared, progress)
    target = prepared.spec.target
    beside = write(built, prepared, target, time.time() - started)
    _print_built(built)
    console.print(f"corpus  {target}\nreport  {beside}", highlight=False, soft_wrap=True)
    if built.lacks and not partial:
        raise typer.Exit(1)


def _print_plan(prepared: Build) -> None:
    table = Table("step", "articles", "prompts or steps", "still to do", title=f"build of {prepared.spec.name}")
    for kind, (every, left) in prepared.calls().items():
        table.add_row(kind, str(len(prepared.articles)), f"{every:,}", f"{left:,}")
    console.print(table)


def _print_built(built: Built) -> None:
    if built.rejected:
        table = Table("draws refused by the checks (and asked for again)", "count")
        for reason, count in built.rejected.most_common(_SHOWN):
            table.add_row(escaped(reason), f"{count:,}")
        console.print(table)
    for lack in built.lacks[:_SHOWN]:
        line = f"missing: {lack.article}, {lack.what}: {lack.reason}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if len(built.lacks) > _SHOWN:
        console.print(f"and {len(built.lacks) - _SHOWN} more; the report has all", highlight=False)
    console.print(f"{len(built.scenarios)} scenarios", highlight=False)
