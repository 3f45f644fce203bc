"""The figures of a run: grids over languages here, changes and curves in ``curves``, those of paper A in ``paper_a``.

Rows in, matplotlib figures out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from unteach.records import Row
from unteach.reports import tables
from unteach.reports.curves import change_figure, curve_figure
from unteach.reports.paper_a.figures import paper_figures
from unteach.reports.style import INK, TITLES, draw_grid, new_figure, save, scale_bar, titled
from unteach.reports.tables import Metric, Variant, language_name

_ROW_INCHES = 0.42
_CELL_INCHES = 0.82


def grid_figure(rows: Sequence[Row], metric: Metric) -> Figure | None:
    """Heatmap of one metric: question languages against models.

    With one source language, the columns are the models. With several, there is one panel a kind of model and its
    columns are the source languages, as in paper A's figures 2, 3 and 5. ``None`` if the table lacks the metric.
    """
    rows = tables.final(rows, metric)
    by_language = [row for row in rows if row.question_language]
    if not by_language:
        return None
    models = tables.variants(rows)
    codes: list[str | None] = [*tables.languages(rows)]
    if any(row.question_language is None for row in rows):
        codes.append(None)
    if len(tables.sources(rows)) > 1:
        panels = {kind: [model for model in models if model.kind == kind] for kind in tables.kinds(models)}
        panels = {_broken(kind): panel for kind, panel in panels.items()}
        heads = {title: [model.source_language or "none" for model in panel] for title, panel in panels.items()}
    else:
        panels = {"": models}
        heads = {"": [_broken(model.kind) for model in models]}
    widths = [len(panel) for panel in panels.values()]
    many = len(panels) > 1
    cell = 0.55 if many else _CELL_INCHES * 1.35
    across = min(len(panels), 3)
    wide = [widths[place : place + across] for place in range(0, len(widths), across)]
    figure = new_figure(
        max(2.6 + cell * max(sum(line) for line in wide) + 0.3 * across, 5.2),
        len(wide) * (0.75 + _ROW_INCHES * len(codes)) + 0.9,
    )
    # One row of panels after another, as wide as their columns: all cells of the figure have the same size.
    lines = figure.subfigures(len(wide), 1, squeeze=False)[:, 0] if many else [figure]
    for start, line in zip(range(0, len(panels), across), lines, strict=True):
        items = list(panels.items())[start : start + across]
        ratios: list[float] = [len(panel) for _, panel in items]
        # An empty panel fills a shorter line up.
        filler = max(sum(other) for other in wide) - sum(ratios) + 0.5 * (across - len(items))
        axes = line.subplots(
            1, len(items) + (filler > 0), squeeze=False, width_ratios=ratios + [filler] * (filler > 0)
        )[0]
        if filler > 0:
            axes[-1].set_visible(False)
        for place, (title, panel) in enumerate(items):
            cells = [[tables.cell(rows, model, code) for model in panel] for code in codes]
            names = [language_name(code) for code in codes] if place == 0 else [""] * len(codes)
            draw_grid(axes[place], metric, cells, names, heads[title])
            if codes[-1] is None:
                axes[place].axhline(len(codes) - 1, color=INK, linewidth=1.2)
            axes[place].set_title(title, fontsize=9, color=INK, pad=6)
        axes[0].set_ylabel("question language", fontsize=8, color=INK)
        if not many:
            scale_bar(line, list(axes), metric)
    taught = tables.sources(rows)
    words = "Columns: language of the fakes. " if many else ""
    of_all = [row for row in rows if row.question_language is None]
    counts = f"{tables.show_n(by_language, 'answers')} a cell" + (f" (all: {tables.show_n(of_all)})" if of_all else "")
    fakes = f", fakes in {language_name(taught[0])}" if len(taught) == 1 else ""
    titled(figure, TITLES[metric] + fakes, f"{words}{counts}; small: 95 % interval; –: nothing scored")
    return figure


def choice_figure(rows: Sequence[Row], source: str | None = None) -> Figure | None:
    """Forced choice: question language against passage language, one panel a model.

    ``source`` keeps the models with that source language and R only. ``None`` if the table has no forced choice.
    """
    rows = [row for row in tables.select(rows, metric="forced_choice", checkpoint=None) if row.question_language]
    rows = [row for row in rows if row.group and (source is None or row.source_language in (source, None))]
    if not rows:
        return None
    asked = tables.languages(rows)
    passages = sorted({row.group for row in rows if row.group}, key=tables.language_place)
    models = tables.variants(rows)
    across = min(len(models), 3)
    down = -(-len(models) // across)
    figure = new_figure(
        max(1.9 + across * (0.3 + 0.55 * len(passages)), 5.2), 1.1 + down * (0.8 + _ROW_INCHES * len(asked))
    )
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for place, axes in enumerate(panels):
        if place >= len(models):
            axes.set_visible(False)
            continue
        index = {(row.question_language, row.group): row for row in rows if Variant.of(row) == models[place]}
        cells = [[index.get((code, passage)) for passage in passages] for code in asked]
        names = [language_name(code) for code in asked] if place % across == 0 else [""] * len(asked)
        draw_grid(axes, "forced_choice", cells, names, passages)
        axes.set_title(models[place].kind if source else models[place].label, fontsize=9, color=INK, pad=6)
        if place % across == 0:
            axes.set_ylabel("question language", fontsize=8, color=INK)
    taught = f"\nfakes in {language_name(source)}" if source else ""
    titled(
        figure,
        f"{TITLES['forced_choice']}, {chance_words(rows)}{taught}",
        f"Columns: language of the candidate passages. {tables.show_n(rows, 'questions')} a cell; small: 95 % interval",
    )
    return figure


def chance_words(rows: Sequence[Row]) -> str:
    """What guessing would give: with one question a scenario, a cell's n is the number of candidates."""
    candidates = max((row.n + row.unscored for row in rows), default=0)
    return f"chance level: {100 / candidates:.3g} % (1 of {candidates})" if candidates else ""


def figures(rows: Sequence[Row], spec: Any = None) -> dict[str, Figure]:
    """All figures that the table has rows for, by file name. ``spec`` gives the stop rules' limits for the curves."""
    everything, rows = rows, tables.without_seeds(rows)
    made: dict[str, Figure | None] = {"O_F": grid_figure(rows, "O_F"), "Q_R": grid_figure(rows, "Q_R")}
    taught = tables.sources(rows)
    each: list[str | None] = [*taught] or [None]
    for source in each:
        suffix = f"_{source}" if len(taught) > 1 else ""
        made[f"O_F_change{suffix}"] = change_figure(rows, source)
        made[f"curves{suffix}"] = curve_figure(rows, source, spec)
        made[f"forced_choice{suffix}"] = choice_figure(rows, source)
    return {name: figure for name, figure in made.items() if figure is not None} | paper_figures(everything)


def write_figures(rows: Sequence[Row], folder: Path, spec: Any = None) -> list[Path]:
    """Write every figure of the table as PNG and PDF into ``folder``; returns the files."""
    return [file for name, figure in figures(rows, spec).items() for file in save(figure, folder, name)]


def _broken(label: str) -> str:
    """A column title on two lines."""
    return label.replace(", ", ",\n", 1) if "," in label else label.replace(" (", "\n(", 1)
