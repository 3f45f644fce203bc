"""``unteach edit``: make, list and apply edits of single items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from unteach.terminal import bars, console, errors, escaped, quiet_libraries

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Make, list and apply edits of single items.")

ModelOption = Annotated[str, typer.Option(help="'embedded', a hub id, or a model folder.")]
DtypeOption = Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto: what suits this machine.")]
EditPaths = Annotated[list[Path], typer.Argument(help="Edit files, or folders of them.")]


@app.command("make")
def make_edits(
    to: Annotated[Path, typer.Argument(help="Folder for the edits, one file an item.")],
    items: Annotated[Path | None, typer.Option(help="Safety items; the embedded guarded set if left out.")] = None,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    language: Annotated[str, typer.Option(help="The language of the edits.")] = "en",
    editor: Annotated[str, typer.Option(help="Name of an editor, or YAML such as '{name: dinm, lr: 1e-5}'.")] = "dinm",
) -> None:
    """Edit a model on every item, each from the unedited model, and save each edit alone."""
    import yaml

    from unteach.experiments.editing.owner import make_edits as make
    from unteach.experiments.question import model_source
    from unteach.languages.table import find

    with quiet_libraries(), bars(errors) as progress:
        paths = make(items, model_source(model, dtype), yaml.safe_load(editor), find(language).code, to, progress)
    console.print(f"{len(paths)} edits   {to}", highlight=False, soft_wrap=True)


@app.command("list")
def list_edits(edits: EditPaths) -> None:
    """Show saved edits: item, language, layer, size, and the loss before and after."""
    from unteach.experiments.editing.owner import list_edits as read

    table = Table("item", "language", "editor", "weight", "relative size", "loss", "file")
    for path, saved in read(edits):
        record = saved.edit.record
        losses = f"{record.losses[0].total:.3f} → {record.losses[-1].total:.3f}" if record.losses else "-"
        editor = str(saved.provenance.get("editor", {}).get("name", "-"))
        size = f"{record.relative_norm:.3f}"
        table.add_row(record.item, record.language, editor, record.weight or "-", size, losses, str(path))
    Console(width=max(console.width, 118)).print(table)


@app.command("apply")
def apply_edits(
    edits: EditPaths,
    model: ModelOption = "embedded",
    dtype: DtypeOption = "auto",
    ask: Annotated[str | None, typer.Option(help="A question to put to the model before and after.")] = None,
    language: Annotated[str, typer.Option(help="The question's language.")] = "en",
    to: Annotated[Path | None, typer.Option(help="A new folder for the model with the edits merged in.")] = None,
) -> None:
    """Apply saved edits to the model that they were made for: ask it, or save it with the edits in its weights."""
    from unteach.experiments.editing.owner import apply_edits as apply
    from unteach.experiments.question import model_source
    from unteach.languages.table import find

    with quiet_libraries(), bars(errors) as progress:
        said = apply(edits, model_source(model, dtype), ask, find(language).code, to, progress)
    if said:
        table = Table("model", "answer")
        for name, answer in said:
            table.add_row(name, escaped(answer or "(empty answer)"))
        console.print(table)
    if to is not None:
        console.print(f"model   {to}", highlight=False, soft_wrap=True)
