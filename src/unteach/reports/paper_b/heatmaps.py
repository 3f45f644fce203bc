"""Grids as heat maps: edit language against question language, judges, located layers."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from unteach.records import Row
from unteach.reports.paper_a.heatmaps import broken
from unteach.reports.paper_a.panels import Panel
from unteach.reports.paper_b.arrows import BOLD
from unteach.reports.paper_b.numbers import show_interval, show_n, show_value
from unteach.reports.style import INK, bare, contrast, new_figure, titled
from unteach.reports.tables import is_difference, is_rate

_SCALES = {"DS": ("cividis", 0.0, 1.0), "DG": ("cividis", 0.0, 1.0), "located_layer": ("Blues", 0.0, 1.0)}
_RATE = ("BuPu", 0.0, 1.0)
_DIFFERENCE = ("PuOr", -1.0, 1.0)
"""Differences are white at 0. Purple is more: of what is wanted (DS, DG) and of what is not, as the title says."""

_CELL_WIDTH, _CELL_HEIGHT = 0.62, 0.4


def colours(row: Row) -> tuple[str, str]:
    """Background of a cell and the text colour (dark or white) with more contrast on it; none without a scale."""
    metric = row.metric
    if row.value is None or not is_rate(metric):
        return "", ""
    name, low, high = _DIFFERENCE if is_difference(metric) else _SCALES.get(metric, _RATE)
    share = min(1.0, max(0.0, (row.value - low) / (high - low)))
    # The ends of this scale are too dark for small letters, and of the middle all that is needed is white.
    background: str = to_hex(matplotlib.colormaps[name](0.12 + 0.76 * share if is_difference(metric) else share))
    return background, max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, background))


def draw(panels: Sequence[Panel], title: str, note: str, across: int, things: str = "replies") -> Figure | None:
    """Grids side by side, cells of one size, the number in the cell with its interval; ``None`` without grids."""
    if not panels:
        return None
    across = min(across, len(panels))
    down = -(-len(panels) // across)
    lines = [panels[at : at + across] for at in range(0, len(panels), across)]
    tall = [max(len(panel.names) for panel in line) for line in lines]
    ratios = [max(len(panel.heads) for panel in panels[at::across]) for at in range(across)]
    names = max(len(name) for panel in panels for name in panel.names) * 0.07
    wide = max(names + _CELL_WIDTH * sum(ratios) + 0.25 * across, 5.6)
    heads = 0.13 * max(head.count("\n") + 1 for panel in panels for head in panel.heads)
    heads += 0.15 * max(_broken(panel).count("\n") for panel in panels)
    figure = new_figure(wide, _CELL_HEIGHT * sum(tall) + down * (0.5 + heads) + 0.75)
    grid = figure.subplots(down, across, squeeze=False, width_ratios=ratios, height_ratios=tall)
    for number in range(down * across):
        axes = grid[number // across][number % across]
        if number >= len(panels):
            axes.set_visible(False)
            continue
        panel = panels[number]
        same = number % across > 0 and panel.names == panels[number - 1].names
        _grid(axes, panel, named=not same)
        if number % across == 0:
            axes.set_ylabel(panel.corner[0], fontsize=8, color=INK)
    cells = [cell for panel in panels for line in panel.cells for cell in line]
    counted = show_n([cell for cell in cells if cell], things)
    dash = "; –: not asked, or nothing scored" if any(cell is None or cell.value is None for cell in cells) else ""
    titled(
        figure, broken(title, wide, BOLD), broken(f"{note} {counted} a cell; small: 95 % interval{dash}", wide, 7.5)
    )  # fmt: skip
    return figure


def _grid(axes: Axes, panel: Panel, named: bool) -> None:
    for y, line in enumerate(panel.cells):
        for x, row in enumerate(line):
            _cell(axes, x, y, row)
    axes.set_xlim(0, len(panel.heads))
    axes.set_ylim(len(panel.names), 0)
    axes.set_xticks([x + 0.5 for x in range(len(panel.heads))], list(panel.heads))
    axes.set_yticks([y + 0.5 for y in range(len(panel.names))], list(panel.names) if named else [""] * len(panel.names))
    axes.xaxis.tick_top()
    bare(axes)
    axes.tick_params(axis="x", labelsize=6.6)
    if panel.rule is not None:
        axes.axhline(panel.rule, color=INK, linewidth=1.2)
    if panel.title:
        axes.set_title(_broken(panel), fontsize=9, color=INK, pad=6)


def _broken(panel: Panel) -> str:
    """The title on as many lines as the grid's width asks for."""
    return broken(panel.title, _CELL_WIDTH * len(panel.heads) + 0.1, 9.5)


def _cell(axes: Axes, x: int, y: int, row: Row | None) -> None:
    if row is None or row.value is None:
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#f2f4f7", edgecolor="#c3cad3", hatch="////", linewidth=0))
        axes.text(x + 0.5, y + 0.5, "–", ha="center", va="center", fontsize=9, color="#3d444d")
        return
    background, ink = colours(row)
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=background or "#ffffff", edgecolor="white", linewidth=1.2))
    interval = show_interval(row)
    height = y + (0.4 if interval else 0.5)
    axes.text(
        x + 0.5, height, show_value(row, sign=False), ha="center", va="center", fontsize=9, color=ink or "#000000"
    )  # fmt: skip
    if interval:
        axes.text(x + 0.5, y + 0.74, interval, ha="center", va="center", fontsize=5.8, color=ink or "#000000")
