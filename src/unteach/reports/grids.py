"""The grids of the page: rows of the table as coloured cells with number, interval and n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unteach.languages.table import LANGUAGES
from unteach.records import Row
from unteach.reports import tables
from unteach.reports.answers import AnswerIndex
from unteach.reports.finding import say
from unteach.reports.style import SCALES, colours
from unteach.reports.tables import Metric, Variant, language_name


@dataclass(frozen=True)
class Cell:
    """One number of a grid. ``style`` colours it, ``look`` is its class, ``title`` says all of it in words.

    ``query`` is what the page's filter has to show to see the answers that were counted; empty if there are none.
    """

    value: str
    interval: str
    n: str
    title: str
    style: str = ""
    look: str = ""
    query: str = ""


@dataclass(frozen=True)
class Grid:
    """A table of cells with its heads; each line starts with its name. Above line ``rule`` there is a rule."""

    title: str
    corner: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Cell, ...]], ...]
    rule: int | None = None


def metric_grids(rows: Sequence[Row], metric: Metric, answers: AnswerIndex) -> list[Grid]:
    """Question languages against models; against source languages, one grid a kind of model, if there are several."""
    rows = tables.final(rows, metric)
    if not rows:
        return []
    models = tables.variants(rows)
    if len(tables.sources(rows)) < 2:
        return [_grid("", "questions in", [model.kind for model in models], rows, models, answers)]
    grids = []
    for kind in tables.kinds(models):
        panel = [model for model in models if model.kind == kind]
        heads = [language_name(model.source_language) if model.source_language else "no fakes" for model in panel]
        grids.append(_grid(kind, "questions in \\ fakes in", heads, rows, panel, answers))
    return grids


def change_grids(rows: Sequence[Row], metric: Metric, answers: AnswerIndex) -> list[Grid]:
    """What teaching and unlearning changed, with paired intervals; one grid a source language."""
    rows = tables.final(rows, f"{metric}_change")
    grids = []
    for source in tables.sources(rows):
        models = [model for model in tables.variants(rows) if model.source_language == source]
        heads = [f"{model.kind} − {'R only' if model.model == 'contaminated' else 'contaminated'}" for model in models]
        grids.append(_grid(f"fakes in {language_name(source)}", "questions in", heads, rows, models, answers))
    return grids


def choice_grids(rows: Sequence[Row]) -> list[Grid]:
    """Forced choice: question language against passage language, one grid a model."""
    rows = [row for row in tables.select(rows, metric="forced_choice", checkpoint=None) if row.group]
    grids = []
    for model in tables.variants(rows):
        mine = [row for row in rows if Variant.of(row) == model]
        passages = sorted({row.group for row in mine if row.group}, key=tables.language_place)
        index = {(row.question_language, row.group): row for row in mine}
        lines = tuple(
            (language_name(code), tuple(cell(index.get((code, passage))) for passage in passages))
            for code in tables.languages(mine)
        )
        heads = tuple(language_name(passage, short=True) for passage in passages)
        grids.append(Grid(model.label, "questions in \\ passages in", heads, lines))
    return grids


def _grid(
    title: str,
    corner: str,
    heads: Sequence[str],
    rows: Sequence[Row],
    models: Sequence[Variant],
    answers: AnswerIndex,
) -> Grid:
    codes: list[str | None] = [*tables.languages(rows)]
    if any(row.question_language is None for row in rows):
        codes.append(None)
    lines = tuple(
        (language_name(code), tuple(cell(tables.cell(rows, model, code), answers) for model in models))
        for code in codes
    )
    return Grid(title, corner, tuple(heads), lines)


def cell(row: Row | None, answers: AnswerIndex | None = None) -> Cell:
    """One number with all that belongs to it, and the way to the answers behind it."""
    if row is None:
        return Cell("–", "", "", "not asked", look="none")
    asked = f"questions in {language_name(row.question_language)}" if row.question_language else "all languages"
    passage = ""
    if row.group:
        passage = f", passages in {language_name(row.group)}" if row.group in LANGUAGES else f", {row.group}"
    title = f"{row.metric}, {Variant.of(row).label}, {asked}{passage}: {say(row)}"
    query = answers.query(row) if answers else ""
    if row.value is None:
        return Cell("–", "", f"{row.unscored} unscored", title, look="none", query=query)
    hits = tables.count(row)
    seeds = " seeds" if tables.over_seeds(row) else ""
    counted = f"n {row.n}{seeds}" if hits is None else f"{hits}/{row.n}"
    n = counted + (f", {row.unscored} unscored" if row.unscored else "")
    interval = tables.show_interval(row)
    if row.metric in SCALES:
        background, ink = colours(row.metric, row.value)
        look = f"background:{background};color:{ink}"
        return Cell(tables.show_value(row), interval, n, title, style=look, query=query)
    return Cell(tables.show_value(row), interval, n, title, look=_direction(row), query=query)


def _direction(row: Row) -> str:
    """Whether the paired interval leaves zero out, and on which side."""
    if row.ci_low is None or row.ci_high is None or row.ci_low <= 0 <= row.ci_high:
        return "same"
    return "less" if row.ci_high < 0 else "more"
