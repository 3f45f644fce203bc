"""The main result in the terminal: rates and grades by question language, one column a model."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from unteach.records import Row
from unteach.reports import tables
from unteach.reports.paper_b.rows import is_editing
from unteach.reports.paper_b.summary import summaries as paper_b_summaries
from unteach.reports.tables import Metric, language_name

WIDE = 4
"""With more models than this, the interval stands on a line of its own: five columns then fit into 110 signs."""


def summary(rows: Sequence[Row], metric: Metric = "O_F", source: str | None = None) -> Table:
    """Question languages against models: ``11/16 69 % [44-86]`` for O_F, ``7.1 [6.2-8.0] n 16`` for Q_R.

    ``source`` keeps the models with that source language, and R only.
    """
    chosen = tables.final(rows, metric)
    chosen = [row for row in chosen if source is None or row.source_language in (source, None)]
    models = tables.variants(chosen)
    taught = tables.sources(chosen)
    name = "O_F: repeats the fake" if metric == "O_F" else "Q_R: quality on real news, 1-10"
    fakes = f", fakes in {language_name(taught[0])}" if len(taught) == 1 else ""
    table = Table(title=f"{name}{fakes} [95 % interval]".replace("[", r"\["), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("questions in", no_wrap=True)
    for model in models:
        label = model.kind if len(taught) < 2 else model.label
        table.add_column(Text(label.replace(", ", ",\n").replace(" (", "\n(")), justify="right")
    codes: list[str | None] = [*tables.languages(chosen)]
    if any(row.question_language is None for row in chosen):
        codes.append(None)
    break_line = "\n" if len(models) > WIDE else " "
    for code in codes:
        cells = [_cell(tables.cell(chosen, model, code), break_line) for model in models]
        table.add_row(language_name(code, short=True), *cells, end_section=len(codes) > 1 and code == codes[-2])
    return table


def summaries(rows: Sequence[Row]) -> list[Table]:
    """Both tables (O_F, then Q_R) for each source language that the rows have; paper B's, if they are of its kind."""
    if is_editing(rows):
        return paper_b_summaries(rows)
    rows = tables.without_seeds(rows)
    taught: list[str | None] = [*tables.sources(rows)] or [None]
    metrics: tuple[Metric, ...] = ("O_F", "Q_R")
    return [summary(rows, metric, source) for source in taught for metric in metrics if tables.final(rows, metric)]


def _cell(row: Row | None, break_line: str) -> Text:
    """A text, not markup: square brackets are meant as such."""
    if row is None:
        return Text("-", style="dim")
    if row.value is None:
        return Text(f"unscored{break_line}({row.unscored})", style="dim")
    hits = tables.count(row)
    interval = tables.show_interval(row).replace("–", "-")
    value = tables.show_value(row)
    number = f"{hits}/{row.n} {value}" if hits is not None else value
    rest = [f"[{interval}]"] if interval else []
    rest += [] if hits is not None else [f"n {row.n}"]
    return Text(number + break_line + " ".join(rest))
