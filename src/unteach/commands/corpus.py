"""``unteach corpus``: bring texts in, check a corpus, and look at its scenarios."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from unteach.commands.build_corpus import build_corpus
from unteach.terminal import bars, console, errors

if TYPE_CHECKING:
    from unteach.corpora.load import Corpus
    from unteach.corpora.schema import Scenario

app = typer.Typer(no_args_is_help=True, help="Make a corpus, bring texts in, check them, and look at them.")
app.command("build")(build_corpus)

Languages = Annotated[str, typer.Option(help="Only these languages, with commas; all there are if left out.")]


@app.command("import")
def import_texts(
    source: Annotated[str, typer.Argument(help="A folder of texts, a file, or a data set's id on the hub.")],
    to: Annotated[Path, typer.Option(help="The file to write, ending in .jsonl.")],
    split: Annotated[str | None, typer.Option(help="Which split of a data set on the hub.")] = None,
    text: Annotated[str | None, typer.Option(help="The column that holds the article.")] = None,
    title: Annotated[str | None, typer.Option(help="The column that holds its title.")] = None,
    id_: Annotated[str | None, typer.Option("--id", help="The column that tells which rows belong together.")] = None,
    statement: Annotated[str | None, typer.Option(help="The column that holds a false statement.")] = None,
    column: Annotated[
        list[str], typer.Option(help="The column of any field, for example key_phrases=keyword. Can be repeated.")
    ] = [],  # noqa: B006
    language: Annotated[str, typer.Option(help="The language of rows that name none.")] = "en",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many rows or files.")] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows that cannot be used.")] = False,
) -> None:
    """Bring articles in for `corpus build`, or scenarios where rows have fakes, questions and key phrases."""
    from unteach.corpora.import_texts import check_target, import_corpus
    from unteach.errors import UserError

    check_target(to, source)
    named = {"text": text, "title": title, "id": id_, "statement": statement}
    columns = {ours: theirs for ours, theirs in named.items() if theirs is not None}
    for pair in column:
        ours, equals, theirs = pair.partition("=")
        if not equals:
            raise UserError(f"--column {pair}: write the field, =, and the column, as in key_phrases=keyword.")
        columns[ours.strip()] = theirs.strip()
    found = import_corpus(source, split=split, columns=columns, language=language, limit=limit, skip_bad=skip_bad)
    found.write(to)
    for note in found.notes:
        _say(note)
    _say(f"{len(found.items)} {found.kind}   {to}")


@app.command("check")
def check(
    path: Annotated[Path | None, typer.Argument(help="A corpus; the embedded one if left out.")] = None,
    languages: Languages = "",
    every: Annotated[bool, typer.Option("--all", help="List every finding, not only the first of each kind.")] = False,
    json: Annotated[Path | None, typer.Option(help="Also write everything to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with code 1 if there is anything to look at.")] = False,
) -> None:
    """Report what a corpus lacks, what is in the wrong language, and what else in it is suspicious."""
    from unteach.corpora.check import check_corpus
    from unteach.corpora.load import load_corpus
    from unteach.reports import corpus as tables
    from unteach.store import write_atomically

    with bars(errors) as progress:
        checked = check_corpus(load_corpus(path), _listed(languages), progress)
    wide = _wide()
    wide.print(tables.overview_table(checked))
    if checked.scores:
        wide.print(tables.scores_table(checked))
    wide.print(tables.kinds_table(checked))
    if checked.findings:
        wide.print(tables.findings_table(checked, None if every else 5))
    _say(f"{len(checked.findings)} findings in {checked.scenarios} scenarios, {len(checked.languages)} languages")
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json, checked.model_dump_json(indent=1) + "\n")
        _say(f"written {json}")
    if strict and checked.findings:
        raise typer.Exit(1)


@app.command("show")
def show(
    scenario: Annotated[str | None, typer.Argument(help="A scenario's id; without one, the ids are listed.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="A corpus; the embedded one if left out.")] = None,
    languages: Languages = "",
    field: Annotated[list[str], typer.Option(help="Only this field, such as fake or article. Can be repeated.")] = [],  # noqa: B006
) -> None:
    """Print a scenario in all its languages side by side, with origins and scores; or list the scenarios."""
    from unteach.corpora.load import load_corpus
    from unteach.reports import corpus as tables

    loaded, wide = load_corpus(corpus), _wide()
    if scenario is None:
        wide.print(tables.ids_table(loaded, _there(loaded, loaded, languages)))
        return
    if scenario not in loaded.by_id:
        raise _unknown("scenario", scenario, loaded.by_id)
    chosen = loaded.by_id[scenario]
    codes = _there(loaded, [chosen], languages)
    wide.print(tables.origins_table(chosen, codes))
    for table in tables.side_by_side(chosen, codes, _fields(field), wide.width):
        wide.print(table)


def _there(corpus: Corpus, scenarios: Iterable[Scenario], languages: str) -> list[str]:
    """The languages that are asked for and there, in the table's order."""
    from unteach.errors import UserError
    from unteach.languages.table import LANGUAGES, find

    has = [code for code in LANGUAGES if any(code in scenario.texts for scenario in scenarios)]
    wanted = [find(name).code for name in _listed(languages)]
    if lacking := [code for code in wanted if code not in has]:
        raise UserError(f"{corpus.name!r} has no text in {', '.join(lacking)} here; it has {', '.join(has)}.")
    return wanted or has


def _fields(names: list[str]) -> list[str]:
    """The fields of these names; ``real_samples`` and ``fake_samples`` are two each."""
    from unteach.corpora.places import FIELDS

    chosen = []
    for name in (part for names_here in names for part in _listed(names_here)):
        found = [field for field in FIELDS if field == name or field.startswith(f"{name}.")]
        if not found:
            raise _unknown("field", name, FIELDS)
        chosen += found
    return chosen or list(FIELDS)


def _unknown(what: str, name: str, known: Iterable[str]) -> Exception:
    from unteach.errors import UserError
    from unteach.registry import nearest

    return UserError(f"there is no {what} {name!r}. {nearest(name, known)}")


def _listed(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


def _wide() -> Console:
    return Console(width=max(console.width, 118))  # texts cut short would be of no use


def _say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
