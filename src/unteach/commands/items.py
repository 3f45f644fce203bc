"""``unteach items``: build a set of safety items, or see what one has."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from unteach.terminal import bars, console, errors, quiet_libraries

if TYPE_CHECKING:
    from unteach.corpora.build_items import Translation
    from unteach.corpora.safety import ItemSet

app = typer.Typer(no_args_is_help=True, help="Build a set of safety items, or see what one has.")


@app.command("build")
def build_items(
    source: Annotated[str, typer.Argument(help="A SafeEdit file, unteach's own items, or a data set's id on the hub.")],
    to: Annotated[Path, typer.Option(help="The file to write, ending in .json.")],
    split: Annotated[str | None, typer.Option(help="Which split of a data set on the hub; test if left out.")] = None,
    first: Annotated[int | None, typer.Option("--items", help="Only the first so many items, by id.")] = None,
    sample: Annotated[int | None, typer.Option(help="Only so many items, drawn at random.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of --sample; 0 if left out.")] = None,
    ids: Annotated[str, typer.Option(help="Only these items, by id, with commas.")] = "",
    languages: Annotated[str, typer.Option(help="Only these languages, with commas; all there are if left out.")] = "",
    translations: Annotated[
        list[Path], typer.Option(help="A file of ready translations (docs/items.md). Can be repeated.")
    ] = [],  # noqa: B006
    translator: Annotated[
        Path | None, typer.Option(help="A translator (YAML), for texts that are missing in --languages.")
    ] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Write what there is, even if texts are missing.")] = False,
) -> None:
    """Choose items and languages, add translations, ready or by a translator, and write them as unteach's items."""
    from unteach.corpora import build_items as builder
    from unteach.corpora.safe_edit import write_items

    builder.check_target(to, [Path(source), *translations])
    every, found = builder.read_source(source, split)
    console.print("\n".join(found), highlight=False, markup=False, soft_wrap=True)
    chosen = builder.choose(every, first, sample, seed, builder.listed(ids))
    given = builder.read_translations(translations)
    if translator is not None:
        builder.build(every, given, chosen=chosen, partial=True)  # what does not fit is told before any work
        given = [*given, *_translate(chosen, given, builder.listed(languages), translator, to)]
    built = builder.build(every, given, chosen=chosen, languages=builder.listed(languages), partial=partial)
    to.parent.mkdir(parents=True, exist_ok=True)
    write_items(built.items, to)
    for note in built.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    _print_items(built.items, str(to))


def _translate(
    chosen: ItemSet, given: list[tuple[str, Translation]], languages: list[str], translator: Path, to: Path
) -> list[tuple[str, Translation]]:
    """What is missing, translated; kept beside ``to`` whatever becomes of the set."""
    from unteach.makers.translate_items import fill, read_translator, save

    with quiet_libraries(), bars(errors) as progress:
        filled = fill(chosen, given, languages, read_translator(translator), progress)
    for note in filled.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    console.print(f"translations   {save(filled, to)}", highlight=False, markup=False, soft_wrap=True)
    return list(filled.translations)


@app.command("show")
def show_items(
    path: Annotated[str | None, typer.Argument(help="Items of either format; the embedded ones if left out.")] = None,
) -> None:
    """Show which texts a set has: items by language and field, where they come from, and whether they are reviewed."""
    from unteach.corpora.build_items import read_source
    from unteach.corpora.safety import load_items

    _print_items(read_source(path)[0] if path else load_items(), path or "guarded")


def _print_items(items: ItemSet, name: str) -> None:
    from unteach.reports.items import fields_table, origins_table

    wide = Console(width=max(console.width, 118))  # numbers cut short would be of no use
    wide.print(fields_table(items, name))
    wide.print(origins_table(items))
