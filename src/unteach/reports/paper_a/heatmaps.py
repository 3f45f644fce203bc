"""Grids as figures: heatmaps side by side with cells of one size."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure, SubFigure

from unteach.reports import tables
from unteach.reports.paper_a.panels import Panel
from unteach.reports.style import INK, TITLES, draw_grid, new_figure, scale_bar, titled

_CELL = 0.4
"""Height of a cell, inches."""

_NAMES = 1.35
"""Least room for the names at the left, inches."""


def draw(panels: Sequence[Panel], title: str, note: str, bar: bool = True) -> Figure | None:
    """Grids side by side, three a line, all cells alike, the colour scale of each metric beneath its grids."""
    if not panels:
        return None
    width, height = size(panels)
    figure = new_figure(max(width, 5.6), height + 0.75)
    place(figure, panels, bar)
    hatched = any(cell is None or cell.value is None for panel in panels for line in panel.cells for cell in line)
    words = f"{note}; small: 95 % interval" + ("; –: not asked, or nothing scored" if hatched else "")
    # A long note would be cut off at the edge of a narrow figure.
    titled(figure, broken(title, width, 11), broken(words, width, 7.5))
    return figure


def size(panels: Sequence[Panel]) -> tuple[float, float]:
    """Inches that the grids take, names and heads included."""
    across = _across(panels)
    cells = max(sum(len(panel.heads) for panel in panels[at : at + across]) for at in range(0, len(panels), across))
    tall = [max(len(panel.names) for panel in panels[at : at + across]) for at in range(0, len(panels), across)]
    room = max(max(len(name) for panel in panels for name in panel.names) * 0.075, _NAMES)
    cell = _cell_width(panels)
    return room + cell * cells + 0.2 * across, sum(_CELL * lines + 0.95 for lines in tall) + 0.55


def place(figure: Figure | SubFigure, panels: Sequence[Panel], bar: bool = True) -> None:
    """Draw the grids into a figure or a part of one."""
    across = _across(panels)
    down = -(-len(panels) // across)
    ratios = [max(len(panel.heads) for panel in panels[at::across]) for at in range(across)]
    tall = [max(len(panel.names) for panel in panels[at : at + across]) for at in range(0, len(panels), across)]
    grid = figure.subplots(down, across, squeeze=False, width_ratios=ratios, height_ratios=tall)
    for number in range(down * across):
        axes = grid[number // across][number % across]
        if number >= len(panels):
            axes.set_visible(False)
            continue
        panel = panels[number]
        first = number % across == 0
        # Grids in one line share the names where they are the same.
        shared = not first and panel.names == panels[number - 1].names
        names = [""] * len(panel.names) if shared else list(panel.names)
        draw_grid(axes, panel.metric, panel.cells, names, panel.heads)
        axes.tick_params(axis="x", labelsize=6.6)
        if panel.rule is not None:
            axes.axhline(panel.rule, color=INK, linewidth=1.2)
        if panel.title:
            axes.set_title(panel.title, fontsize=9, color=INK, pad=6)
        if first:
            axes.set_ylabel(panel.corner[0], fontsize=8, color=INK)
    if bar:
        for metric in dict.fromkeys(panel.metric for panel in panels):
            mine = [grid[at // across][at % across] for at, panel in enumerate(panels) if panel.metric == metric]
            scale_bar(figure, mine, metric, TITLES[metric])


def _across(panels: Sequence[Panel]) -> int:
    """Grids a line: fewer where cells are wide."""
    return min(len(panels), 3 if _cell_width(panels) <= 0.5 else 2)


def _cell_width(panels: Sequence[Panel]) -> float:
    """Intervals of differences (``−0.20 to +0.10``) need more room than those of rates."""
    longest = max((len(tables.show_interval(row)) for panel in panels for row in panel.rows), default=0)
    return 0.5 if longest <= 9 else 0.6 if longest <= 11 else 0.68


def broken(text: str, width: float, points: float) -> str:
    """Break a line where it would leave a figure of this width (inches)."""
    room, lines, line = int(width * 72 / (points * 0.52)), [], ""
    for word in text.replace("n = ", "n\u00a0=\u00a0").split(" "):
        if line and len(line) + len(word) >= room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])
