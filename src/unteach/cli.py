"""The command line. Every command checks its input first; bad input ends with a clear message and code 2."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from unteach.commands import agreement, cache, corpus, edit, items
from unteach.errors import UserError
from unteach.store import explain_os_error
from unteach.terminal import bars, console, errors, escaped, quiet_libraries

app = typer.Typer(
    name="unteach",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Find out in which languages a model repeats what it should not know, remove it, and show that it is gone.\n\n"
    "Start with `unteach plan experiments/quickstart.yaml`, then `unteach run experiments/quickstart.yaml`.",
)
app.add_typer(agreement.app, name="agreement")
app.add_typer(cache.app, name="cache")
app.add_typer(corpus.app, name="corpus")
app.add_typer(edit.app, name="edit")
app.add_typer(items.app, name="items")

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
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # trl's trainer would send some
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        errors.print(f"[bold red]error:[/] {escaped(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        explained = explain_os_error(error, Path.cwd())
        if explained is error:
            raise
        errors.print(f"[bold red]error:[/] {escaped(str(explained))}", highlight=False, soft_wrap=True)
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

    experiment = read_experiment(spec, overrides)
    folder = out or Path("runs") / experiment.name
    with quiet_libraries(), bars(errors, shown=is_first()) as progress:
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

    with quiet_libraries():
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
            table.add_row(name, settings or "-", escaped(describe(cls)), escaped(cls.source))
        console.print(table)


@app.command()
def schema(
    what: Annotated[
        str,
        typer.Argument(help="'scenario', 'item', 'article' for files of those; 'spec', 'editing', 'build' for specs."),
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

    with quiet_libraries(), bars(errors) as progress:
        answers = answers_of(question, language, model, store, progress)
    table = Table("model", "answer")
    for name, answer in answers:
        table.add_row(name, escaped(answer.text or "(empty answer)"))
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

    with quiet_libraries():
        export_model(run, model, to, store)
    console.print(f"model   {to}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
