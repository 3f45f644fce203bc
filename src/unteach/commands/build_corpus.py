"""``unteach corpus build``: make a corpus of paper A from articles."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from unteach.terminal import bars, console, errors, escaped, quiet_libraries

if TYPE_CHECKING:
    from unteach.experiments.building.parts import Build
    from unteach.experiments.building.run import Built, Lack

_SHOWN = 20
"""So many reasons of refusals are printed; the file beside the corpus has all."""


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

    chosen = [*overrides, *([f"to={json.dumps(str(to))}"] if to else [])]
    with quiet_libraries(), bars(errors) as progress:
        prepared = prepare(read_build_spec(spec, chosen), store)
        for note in prepared.notes:
            _say(note)
        _print_plan(prepared)
        if plan:
            return
        started = time.time()
        built = build(prepared, progress)
    target = prepared.spec.target
    beside = write(built, prepared, target, time.time() - started)
    _print_built(built, len(prepared.articles))
    if built.scenarios:
        _say(f"corpus  {target}")
    else:
        _say("no scenario could be made, so no corpus is written")
    _say(f"report  {beside}")
    if not built.scenarios or (built.lacks and not partial):
        raise typer.Exit(1)


def _print_plan(prepared: Build) -> None:
    amounts = prepared.amounts()
    table = Table(title=f"{prepared.spec.name}: {len(prepared.articles)} articles", title_justify="left")
    table.add_column("step", no_wrap=True)
    for name in ("in all", "still to do"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("by", overflow="fold")
    for amount in amounts:
        table.add_row(amount.step, f"{amount.every:,} {amount.unit}", f"{amount.left:,}", escaped(amount.by))
    _wide().print(table)
    if any(amount.left for amount in amounts):
        _say("Prompts as if no text were refused. A translation is of an article's texts of a kind, into one language.")
    else:
        _say("Everything is made already; only the corpus is put together.")


def _print_built(built: Built, articles: int) -> None:
    if built.rejected:
        table = Table("texts refused by the checks, and asked for again", "count")
        for reason, count in built.rejected.most_common(_SHOWN):
            table.add_row(escaped(reason), f"{count:,}")
        _wide().print(table)
    missing: dict[str, list[Lack]] = {}
    for lack in built.lacks:
        missing.setdefault(lack.what, []).append(lack)
    for what, lacks in missing.items():
        names = len({lack.article for lack in lacks})
        _say(f"missing: {what}, {len(lacks):,} in {names:,} articles; the first: {lacks[0].article}: {lacks[0].reason}")
    _say(f"{len(built.scenarios)} scenarios of {articles} articles")


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _wide() -> Console:
    return Console(width=max(console.width, 118))  # names cut short would be of no use
