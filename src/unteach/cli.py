"""The command line. Every command checks its input first; bad input ends with a clear message and code 2."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from unteach.errors import UserError
from unteach.store import explain_os_error

if TYPE_CHECKING:
    from unteach.corpora.safety import ItemSet

app = typer.Typer(
    name="unteach",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Find out in which languages a model repeats what it should not know, remove it, and show that it is gone.\n\n"
    "Start with `unteach plan experiments/quickstart.yaml`, then `unteach run experiments/quickstart.yaml`.",
)
edit = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Make, list and apply edits of single items."
)
app.add_typer(edit, name="edit")
console = Console()
errors = Console(stderr=True)

SpecPath = Annotated[Path, typer.Argument(help="A spec (YAML), for example experiments/quickstart.yaml.")]
Overrides = Annotated[
    list[str], typer.Option("--set", help="Change one field: path.to.field=value (YAML). Can be repeated.")
]
StorePath = Annotated[Path, typer.Option("--store", help="Where finished stages are kept and looked for.")]
DEFAULT_STORE = Path("runs/store")


def main() -> None:
    """Entry point: user errors become one message and exit code 2; Ctrl-C says how to go on."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        errors.print(f"[bold red]error:[/] {_escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        explained = explain_os_error(error, Path.cwd())
        if explained is error:
            raise
        errors.print(f"[bold red]error:[/] {_escaped(str(explained))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except typer._click.exceptions.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except typer.Exit as done:
        code = done.exit_code
    if code == 130:  # typer may also hand an interrupt over as a code
        errors.print("\nstopped. Every finished stage is kept: the same command goes on from there.", highlight=False)
    sys.exit(code if isinstance(code, int) else 0)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


@app.command()
def run(
    spec: SpecPath,
    overrides: Overrides = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option(help="Result folder; runs/NAME if left out.")] = None,
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Run an experiment: teach, unlearn, ask, judge, and write table and report. Goes on where it was stopped."""
    from unteach.experiments.kinds import read_experiment
    from unteach.models.processes import is_first
    from unteach.reports.page import write_report
    from unteach.reports.terminal import summaries
    from unteach.terminal import bars

    experiment = read_experiment(spec, overrides)
    folder = out or Path("runs") / experiment.name
    with _quiet_libraries(), bars(errors, shown=is_first()) as progress:
        rows = experiment.run(store, folder, progress)
        if not is_first():
            return
        with progress.task("writing the report", 1) as bar:
            page = write_report(folder)
            bar.advance()
    wide = Console(width=max(console.width, 118))  # numbers cut short would be of no use
    for table in summaries(rows):
        wide.print(table)
    console.print(f"table   {folder / 'table.csv'}\nreport  {page}", highlight=False, soft_wrap=True)


@app.command()
def plan(
    spec: SpecPath,
    overrides: Overrides = [],  # noqa: B006
    store: StorePath = DEFAULT_STORE,
    stages: Annotated[
        bool | None, typer.Option(help="Every stage, or one line a kind; every one up to 150 if left out.")
    ] = None,
) -> None:
    """Show every stage, what is already done, and what the rest will cost: here, or on the spec's accelerator.

    Starts nothing. With `model.architecture` and `corpus.planned` it needs neither weights nor corpus.
    """
    from unteach.experiments.kinds import read_experiment
    from unteach.experiments.run import free_bytes
    from unteach.experiments.show_plan import plan_lines, plan_table

    with _quiet_libraries():
        result = read_experiment(spec, overrides).estimate(store)
    every = stages if stages is not None else len(result.lines) <= 150
    console.print(plan_table(result, f"plan of {spec}", every))
    for line in plan_lines(result, free_bytes(store)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run's folder, for example runs/quickstart.")]) -> None:
    """Write a run's figures and page again from its table."""
    from unteach.reports.page import write_report

    if not (run / "run.json").is_file():
        raise UserError(f"{run} is not the folder of a finished run: it has no run.json. Finish it with `unteach run`.")
    console.print(f"report  {write_report(run)}", highlight=False, soft_wrap=True)


@app.command()
def claims(
    run: Annotated[Path, typer.Argument(help="A run's folder, for example runs/every-language-counts-mini.")],
    file: Annotated[
        Path | None, typer.Argument(help="The claims, as YAML; those of the paper that the run is about if left out.")
    ] = None,
) -> None:
    """Test a paper's claims on a run's table: supported, contradicted, underpowered or not tested, with the numbers.

    The answers are also written to `claims.md` in the run's folder.
    """
    from unteach.reports.claims import answers_table, check_claims

    answers, text = check_claims(run, file)
    console.print(answers_table(answers))
    (run / "claims.md").write_text(text, encoding="utf-8")
    console.print(f"claims  {run / 'claims.md'}", highlight=False, soft_wrap=True)


@app.command()
def languages() -> None:
    """List the languages: codes, names, script, family, and their part in the two papers."""
    from unteach.languages.identify import CANNOT_TELL
    from unteach.languages.phrases import has_labels
    from unteach.languages.table import LANGUAGES, MULTILINGUAL, PAPER_A, PAPER_B, RELATIVES

    groups = {"A": PAPER_A, "B": PAPER_B, "relative": RELATIVES, "20": MULTILINGUAL}
    table = Table("code", "FLORES", "name", "own name", "script", "dir", "family", "level", "papers", "asked", "told")
    for language in LANGUAGES.values():
        table.add_row(
            language.code,
            language.flores,
            language.name,
            language.own_name,
            language.script,
            "rtl" if language.right_to_left else "ltr",
            language.family,
            language.resource or "-",
            ", ".join(name for name, codes in groups.items() if language.code in codes),
            "yes" if has_labels(language.code) else "no",
            "no" if language.code in CANNOT_TELL else "yes",
        )
    Console(width=max(console.width, 118)).print(table)  # names cut short would be of no use
    console.print(
        "papers: A and B are the question languages of the two papers, relative and 20 the unlearning languages of "
        "paper A.\nasked: unteach has the words to ask in it. told: answers in it can be recognised."
    )


@app.command()
def components() -> None:
    """List every registered part: what it does, its settings with their defaults, and where it comes from."""
    from unteach.experiments.families import FAMILIES
    from unteach.registry import describe

    for registry in FAMILIES:
        table = Table("name", "settings", "what it does", "source", title=f"{registry.family}s", title_justify="left")
        for name, cls in registry:
            settings = "\n".join(
                f"{key}: {field.default if not field.is_required() else 'required'}"
                for key, field in cls.model_fields.items()
            )
            table.add_row(name, settings or "-", _escaped(describe(cls)), _escaped(cls.source))
        console.print(table)


@app.command()
def schema(
    what: Annotated[
        str,
        typer.Argument(help="'scenario' or 'item' for files of those; 'spec' or 'editing' for the two kinds of specs."),
    ] = "scenario",
) -> None:
    """Print the JSON Schema of a corpus file or a spec, for use in an editor."""
    from unteach.experiments.families import json_schema

    console.print_json(json.dumps(json_schema(what), ensure_ascii=False))


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question, in the language you name.")],
    model: Annotated[
        str, typer.Option(help="'embedded', a hub id, a model folder, or a run's folder: then all its models answer.")
    ] = "embedded",
    language: Annotated[str, typer.Option(help="The question's language (code or name).")] = "en",
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Put one question to a base model, or to a run's models before and after, side by side."""
    from unteach.experiments.question import answers_of
    from unteach.terminal import bars

    with _quiet_libraries(), bars(errors) as progress:
        answers = answers_of(question, language, model, store, progress)
    table = Table("model", "answer")
    for name, answer in answers:
        table.add_row(name, _escaped(answer.text or "(empty answer)"))
    console.print(table)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run's folder, for example runs/quickstart.")],
    model: Annotated[str, typer.Argument(help="One of its models, for example unlearned/de/combined.")],
    to: Annotated[Path, typer.Argument(help="A new folder for the merged model.")],
    store: StorePath = DEFAULT_STORE,
) -> None:
    """Save one model of a run, its adapters merged, as a Hugging Face folder."""
    from unteach.experiments.question import export_model

    with _quiet_libraries():
        export_model(run, model, to, store)
    console.print(f"model   {to}", highlight=False, soft_wrap=True)


ModelOption = Annotated[str, typer.Option(help="'embedded', a hub id, or a model folder.")]
DtypeOption = Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto: what suits this machine.")]
EditPaths = Annotated[list[Path], typer.Argument(help="Edit files, or folders of them.")]


@edit.command("make")
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
    from unteach.terminal import bars

    with _quiet_libraries(), bars(errors) as progress:
        paths = make(items, model_source(model, dtype), yaml.safe_load(editor), find(language).code, to, progress)
    console.print(f"{len(paths)} edits   {to}", highlight=False, soft_wrap=True)


@edit.command("list")
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


@edit.command("apply")
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
    from unteach.terminal import bars

    with _quiet_libraries(), bars(errors) as progress:
        said = apply(edits, model_source(model, dtype), ask, find(language).code, to, progress)
    if said:
        table = Table("model", "answer")
        for name, answer in said:
            table.add_row(name, _escaped(answer or "(empty answer)"))
        console.print(table)
    if to is not None:
        console.print(f"model   {to}", highlight=False, soft_wrap=True)


items_app = typer.Typer(no_args_is_help=True, help="Build a set of safety items, or see what one has.")
app.add_typer(items_app, name="items")


@items_app.command("build")
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
    partial: Annotated[bool, typer.Option("--partial", help="Write what there is, even if texts are missing.")] = False,
) -> None:
    """Choose items and languages, add ready translations, and write them as unteach's items."""
    from unteach.corpora import build_items as builder
    from unteach.corpora.safe_edit import write_items

    builder.check_target(to, [Path(source), *translations])
    every, found = builder.read_source(source, split)
    console.print("\n".join(found), highlight=False, markup=False, soft_wrap=True)
    chosen = builder.choose(every, first, sample, seed, builder.listed(ids))
    given = builder.read_translations(translations)
    built = builder.build(every, given, chosen=chosen, languages=builder.listed(languages), partial=partial)
    to.parent.mkdir(parents=True, exist_ok=True)
    write_items(built.items, to)
    for note in built.notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    _print_items(built.items, str(to))


@items_app.command("show")
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


@contextlib.contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep libraries' bars and notices from breaking ours; errors still come through."""
    import warnings

    import transformers

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


if __name__ == "__main__":
    main()
