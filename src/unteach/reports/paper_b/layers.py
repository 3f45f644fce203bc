"""Where edits were located: how often each layer, over all edits as bars, by edit language as a grid beneath."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from unteach.records import Row
from unteach.reports.paper_a.heatmaps import broken
from unteach.reports.paper_a.panels import Panel
from unteach.reports.paper_b.arrows import BOLD
from unteach.reports.paper_b.heatmaps import colours
from unteach.reports.paper_b.numbers import show_n, show_value
from unteach.reports.style import INK, SERIES, bare, new_figure, titled


def draw(panels: Sequence[Panel], title: str) -> Figure | None:
    """One column a base model: bars of all edits with their intervals, and the share by edit language beneath."""
    if not panels:
        return None
    ratios = [max(len(panel.heads), 3) for panel in panels]
    tall = max(len(panel.names) for panel in panels)
    names = max(len(name) for panel in panels for name in panel.names) * 0.075
    wide = max(names + 0.36 * sum(ratios) + 0.5 * len(panels), 6.4)
    figure = new_figure(wide, 2.6 + 0.25 * tall)
    grid = figure.subplots(2, len(panels), squeeze=False, width_ratios=ratios, height_ratios=[1.5, 0.25 * tall])
    every = [row for panel in panels for row in panel.cells[0] if row and panel.rule == 1]
    top = 50 if max((row.ci_high or row.value or 0.0 for row in every), default=1.0) <= 0.5 else 100
    for number, panel in enumerate(panels):
        pooled = [at for at, name in enumerate(panel.names) if at == 0 and panel.rule == 1]
        _bars(grid[0][number], panel.cells[0] if pooled else (), top, named=number == 0)
        _shares(grid[1][number], panel, len(pooled), named=number == 0 or panel.names != panels[number - 1].names)
        grid[0][number].set_title(panel.title, fontsize=9, color=INK)
    rows = [cell for panel in panels for line in panel.cells for cell in line if cell]
    counted = show_n(rows, "edits")
    note = f"Layers are counted from 0; those never located are left out. {counted} a line; bars: 95 % interval"
    titled(figure, broken(title, wide, BOLD), broken(note, wide, 7.5))
    return figure


def _bars(axes: Axes, cells: Sequence[Row | None], top: int, named: bool) -> None:
    if not any(cells):
        axes.set_visible(False)
        return
    for x, row in enumerate(cells):
        if row is None or row.value is None:
            continue
        axes.add_patch(Rectangle((x + 0.15, 0), 0.7, 100 * row.value, facecolor=SERIES[4], linewidth=0))
        if row.ci_low is not None and row.ci_high is not None:
            ends = [100 * row.ci_low, 100 * row.ci_high]
            axes.plot([x + 0.5] * 2, ends, color=INK, lw=0.9, marker="_", ms=4)
        end = 100 * max(row.value, row.ci_high or 0.0)
        axes.text(x + 0.5, end + 2, show_value(row, sign=False), ha="center", va="bottom", fontsize=7, color=INK)
    axes.set_xlim(0, len(cells))
    axes.set_ylim(0, 1.18 * top)
    axes.set_yticks([0, top // 2, top])
    axes.set_xticks([])
    bare(axes, grid="y")
    if named:
        axes.set_ylabel("all edits (%)", fontsize=8, color=INK)


def _shares(axes: Axes, panel: Panel, skipped: int, named: bool) -> None:
    for y, line in enumerate(panel.cells[skipped:]):
        for x, row in enumerate(line):
            if row is None or row.value is None or row.value == 0:
                axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#f2f4f7", edgecolor="white", linewidth=1.0))
                continue
            background, ink = colours(row)
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=background, edgecolor="white", linewidth=1.0))
            axes.text(
                x + 0.5, y + 0.5, show_value(row, sign=False), ha="center", va="center", fontsize=7.5, color=ink
            )  # fmt: skip
    names = panel.names[skipped:]
    axes.set_xlim(0, len(panel.heads))
    axes.set_ylim(max(len(names), 1), 0)
    axes.set_xticks([x + 0.5 for x in range(len(panel.heads))], list(panel.heads))
    axes.set_yticks([y + 0.5 for y in range(len(names))], list(names) if named else [""] * len(names))
    axes.set_xlabel("located layer", fontsize=8, color=INK)
    bare(axes)
    if named:
        axes.set_ylabel("edited in (%)", fontsize=8, color=INK)
