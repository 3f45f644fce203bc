"""``unteach agreement``: have people or a second judge label a sample of a run's answers, and see what it tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from unteach.errors import UserError
from unteach.terminal import bars, console, errors, quiet_libraries

if TYPE_CHECKING:
    from unteach.experiments.agreement.draw import Key
    from unteach.experiments.agreement.scored import FinishedRun
    from unteach.metrics.rated import Rater

app = typer.Typer(
    no_args_is_help=True, help="Have people or a second judge label a sample of a run's answers, and see what it tells."
)

RunPath = Annotated[Path, typer.Argument(help="A finished run's folder, for example runs/quickstart.")]


@app.command("draw")
def draw_sample(
    run: RunPath,
    to: Annotated[Path, typer.Option(help="The CSV to write, for people to fill in; its key is written beside it.")],
    each: Annotated[int, typer.Option(min=1, help="Answers a cell; all of a cell that has fewer.")] = 10,
    by: Annotated[
        str, typer.Option(help="What makes a cell, with commas: language, model, source_language, editor, part, ...")
    ] = "language",
    metric: Annotated[str | None, typer.Option(help="O_F or Q_R; DS or DG. The first if left out.")] = None,
    judge: Annotated[str | None, typer.Option(help="Which of the run's judges; the first if left out.")] = None,
    where: Annotated[
        list[str], typer.Option(help="Only answers with this: model=contaminated, say. Can be repeated.")
    ] = [],  # noqa: B006
    balance: Annotated[
        Literal["none", "verdicts"],
        typer.Option(help="verdicts: as many of each of the judge's verdicts, weighted back when read."),
    ] = "none",
    seed: Annotated[int, typer.Option(help="Another seed draws another sample.")] = 0,
    hide_judge: Annotated[
        bool, typer.Option("--hide-judge/--show-judge", help="Whether the judge's verdict stays out of the CSV.")
    ] = True,
) -> None:
    """Draw a sample of scored answers: equal numbers a cell, shuffled, without the model and the judge's verdict."""
    from unteach.experiments.agreement.draw import Drawing, draw, write_key
    from unteach.experiments.agreement.hints import hints
    from unteach.experiments.agreement.scored import FinishedRun
    from unteach.experiments.agreement.sheet import COLUMNS, shown, write_sheet
    from unteach.languages.table import LANGUAGES

    finished = FinishedRun(run)
    chosen = finished.metric(metric)
    answers = finished.answers(chosen)
    if not answers:
        raise UserError(f"{run} has no answers that count for {chosen}")
    key_path = to.with_suffix(".key.json")
    for path in (to, key_path):
        if path.exists():
            raise UserError(f"{path} is already there, and may hold people's labels; give another file with --to")
    drawing = Drawing(
        metric=chosen,
        judge=judge or next(iter(answers[0].verdicts)),
        by=tuple(filter(None, by.replace(" ", "").split(","))),
        where=dict(_tag(one) for one in where),
        each=each,
        balance=balance,
        seed=seed,
    )
    key = draw(run.resolve().name, answers, drawing)
    told, found = hints(finished, chosen, answers), {answer.id: answer for answer in answers}
    to.parent.mkdir(parents=True, exist_ok=True)
    write_key(key, key_path)
    names = {code: f"{language.name} ({code})" for code, language in LANGUAGES.items()}
    rows = [
        {
            "id": item.id,
            "language": names.get(item.language, item.language),
            "question": item.question,
            "answer": item.answer,
            "look for": shown(told(found[item.id])),
            "judge": f"{item.verdict:g}" if isinstance(item.verdict, float) else item.verdict,
        }
        for item in key.items
    ]
    write_sheet(to, rows, COLUMNS if hide_judge else (*COLUMNS, "judge"))
    cells: dict[tuple[str, ...], int] = {}
    for item in key.items:
        cells[item.cell] = cells.get(item.cell, 0) + 1
    short = sum(count < each for count in cells.values())
    counted = f"{len(key.items)} answers for {chosen} from {len(cells)} cells, of {sum(key.population.values())} scored"
    _say(f"{counted}{f'; {short} cells have fewer than {each}' if short else ''}")
    _say(f"sample  {to}   fill in the column “label”; empty or ? where you cannot tell")
    _say(f"key     {key_path}   has the judge's verdicts: keep it from those who label")


@app.command("read")
def read_samples(
    run: RunPath,
    files: Annotated[list[Path], typer.Argument(help="Filled-in samples, one a person.")],
    name: Annotated[
        list[str], typer.Option(help="What the persons are called, in the order of the files; else as the files are.")
    ] = [],  # noqa: B006
    key: Annotated[
        Path | None, typer.Option(help="The sample's key; looked for beside the first file if left out.")
    ] = None,
) -> None:
    """Read labels back and report agreement, kappa and what the judge's errors do to the run's numbers."""
    from unteach.experiments.agreement.draw import read_key
    from unteach.experiments.agreement.rate import read_people
    from unteach.experiments.agreement.scored import FinishedRun

    if name and len(name) != len(files):
        raise UserError(f"{len(files)} files and {len(name)} names: give one --name for each file, or none")
    names = name or [path.stem for path in files]
    if twice := sorted({one for one in names if names.count(one) > 1}):
        raise UserError(f"two persons are called {', '.join(twice)}; tell them apart with --name")
    found = read_key(key or _key_beside(files[0]))
    raters = read_people(dict(zip(names, files, strict=True)), found)
    _report(FinishedRun(run), found, raters)


@app.command("judge")
def judge_sample(
    run: RunPath,
    key: Annotated[Path, typer.Argument(help="The sample's key, for example sample.key.json.")],
    judge: Annotated[str, typer.Option(help="A judge's name, or a YAML file with its name and settings.")],
    name: Annotated[str | None, typer.Option(help="What it is called here; its own name if left out.")] = None,
) -> None:
    """Have a second judge label the same sample, and report as for people."""
    from unteach.experiments.agreement.draw import read_key
    from unteach.experiments.agreement.rate import check_names, checked, read_judge, second_judge
    from unteach.experiments.agreement.scored import FinishedRun

    finished, found = FinishedRun(run), read_key(key)
    component = read_judge(judge, finished)
    called = name or component.registered_name
    check_names(checked(finished, found), found, [called])  # before anything is asked, and paid for
    with quiet_libraries(), bars(errors) as progress:
        rater = second_judge(finished, found, component, progress)
    _report(finished, found, {called: rater})


def _report(run: FinishedRun, key: Key, raters: Mapping[str, Rater]) -> None:
    from unteach.experiments.agreement.rate import add_raters
    from unteach.reports.agreement import terminal_tables, write_agreement

    findings = add_raters(run, key, raters)
    written = write_agreement(run.folder)
    wide = Console(width=max(console.width, 140))  # numbers cut short would be of no use
    for table in terminal_tables(findings):
        wide.print(table)
    for path in (run.folder / "agreement.json", run.folder / "agreement.csv", *written):
        _say(f"written {path}")
    _say(f"`unteach report {run.folder}` puts it on the page")


def _key_beside(file: Path) -> Path:
    own = file.with_suffix(".key.json")
    others: Sequence[Path] = sorted(file.parent.glob("*.key.json"))
    if own.exists() or len(others) != 1:
        return own
    return others[0]


def _tag(given: str) -> tuple[str, str]:
    tag, equals, value = given.partition("=")
    if not equals:
        raise UserError(f"--where {given!r}: write it as tag=value, for example model=contaminated")
    return tag.strip(), value.strip()


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
