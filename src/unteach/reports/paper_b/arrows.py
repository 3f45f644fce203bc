"""Arrows from before to after, and dots, with intervals: one line a language, one panel a metric or base model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator

from unteach.records import Row
from unteach.reports.paper_a.heatmaps import broken
from unteach.reports.paper_b.numbers import scale, show_n
from unteach.reports.style import INK, LINE, MUTED, SERIES, bare, new_figure, titled
from unteach.reports.tables import is_difference, is_rate

BOLD = 13.0
"""What a title's letters are reckoned as, in points, to break its lines: bold ones are wider."""

_HEADS = {1: Path([(0, 0), (-1, 0.55), (-1, -0.55), (0, 0)]), -1: Path([(0, 0), (1, 0.55), (1, -0.55), (0, 0)])}
"""Arrow heads with their tip on the value, pointing to more and to less."""


@dataclass(frozen=True)
class Look:
    """How a series looks. Arrows start at the value before; two never differ by colour alone."""

    words: str
    colour: str
    marker: str = "o"
    arrow: bool = False
    hollow: bool = False
    dash: str = "-"


BEFORE = Look("before editing", MUTED, "o", hollow=True)
MONOLINGUAL = Look("edited in the question's language", SERIES[1], arrow=True)
FROM_ENGLISH = Look("edited in English", SERIES[2], arrow=True, hollow=True, dash="--")
FROM_OTHER = Look("edited in another language", SERIES[2], arrow=True, hollow=True, dash="--")
SUFFIX = Look("suffix only, no edit", SERIES[0], "D")


@dataclass(frozen=True)
class Series:
    """The rows of one series by line, and their paired change where the table has it."""

    look: Look
    rows: Mapping[str, Row]
    changes: Mapping[str, Row] = field(default_factory=dict)


@dataclass(frozen=True)
class Chart:
    """One panel. ``lines`` are keys of rows (languages), ``names`` what stands beside them, ``corner`` what they are.

    ``rule`` is the number of the line that a rule sets off from those above.
    """

    title: str
    metric: str
    corner: str
    lines: tuple[str, ...]
    names: tuple[str, ...]
    series: tuple[Series, ...]
    rule: int | None = None

    @property
    def rows(self) -> Iterator[Row]:
        """All rows whose values are drawn."""
        return (row for series in self.series for row in series.rows.values())

    @property
    def crowd(self) -> int:
        """The most points that one line has."""
        return max(sum(line in series.rows for series in self.series) for line in self.lines)

    @property
    def before(self) -> Mapping[str, Row]:
        """Where the arrows start."""
        return next((series.rows for series in self.series if series.look == BEFORE), {})


def draw(charts: Sequence[Chart], title: str, note: str, across: int, things: str = "replies") -> Figure | None:
    """Panels side by side, ``across`` a line, with one legend; ``None`` without panels."""
    if not charts:
        return None
    across = min(across, len(charts))
    down = -(-len(charts) // across)
    tall = [max(_height(chart) for chart in charts[at : at + across]) for at in range(0, len(charts), across)]
    names = max(len(name) for chart in charts for name in chart.names) * 0.075
    wide = max(names + across * (2.6 if across < 4 else 2.0) + 0.3, 6.4)
    looks = list(dict.fromkeys(series.look for chart in charts for series in chart.series))
    columns = max(1, min(len(looks), int(wide // 2.3)))
    figure = new_figure(wide, sum(tall) + 0.62 * down + 0.75 + 0.19 * -(-len(looks) // columns))
    # A part of its own: title and legend of one and the same figure would be put on top of each other.
    part = figure.subfigures(1, 1, squeeze=False)[0, 0]
    grid = part.subplots(down, across, squeeze=False, height_ratios=tall)
    for number in range(down * across):
        axes = grid[number // across][number % across]
        if number >= len(charts):
            axes.set_visible(False)
            continue
        same = number % across > 0 and charts[number].names == charts[number - 1].names
        _panel(axes, charts[number], named=not same)
        if number % across == 0:
            axes.set_ylabel(charts[number].corner, fontsize=8, color=INK)
    part.legend(
        [_sample(look) for look in looks], [look.words for look in looks], loc="outside upper left", ncols=columns,
        fontsize=8, frameon=False, labelcolor=INK, handlelength=2.6, columnspacing=1.6,
    )  # fmt: skip
    counted = show_n([row for chart in charts for row in chart.rows], things)
    words = f"{note} {counted} a point; thin lines: 95 % interval".strip()
    titled(figure, broken(title, wide, BOLD), broken(words, wide, 7.5))
    return figure


def _height(chart: Chart) -> float:
    return len(chart.lines) * (0.16 + 0.125 * chart.crowd)


def _panel(axes: Axes, chart: Chart, named: bool) -> None:
    gap = 0.78 / chart.crowd
    points: dict[Look, list[_Point]] = {}
    for line, key in enumerate(chart.lines):
        shown = [(series.look, series.rows[key]) for series in chart.series if key in series.rows]
        for number, (look, row) in enumerate(shown):
            height = line + gap * (number - (len(shown) - 1) / 2)
            start = chart.before.get(key) if look.arrow else None
            if row.value is not None:
                begin = None if start is None or start.value is None else scale(row.metric) * start.value
                points.setdefault(look, []).append(_Point(row, height, begin))
    for look, mine in points.items():
        _intervals(axes, look, mine, 0.3 * gap if look.arrow else 0.0)
        (_arrows if look.arrow else _dots)(axes, look, mine)
    for border in range(1, len(chart.lines)):
        strong = border == chart.rule
        axes.axhline(border - 0.5, color=MUTED if strong else LINE, lw=1.0 if strong else 0.5, zorder=0)
    axes.set_ylim(len(chart.lines) - 0.5, -0.5)
    axes.set_yticks(range(len(chart.lines)), list(chart.names) if named else [""] * len(chart.lines))
    axes.set_title(chart.title, fontsize=9, color=INK)
    _x_axis(axes, chart)
    bare(axes, grid="x")


def _x_axis(axes: Axes, chart: Chart) -> None:
    """DS and DG from 0 to 100 %, whatever the values are, rare things to 25 or 50 %; differences with a line at 0."""
    ends = [
        scale(row.metric) * end
        for row in chart.rows
        for end in (row.value, row.ci_low, row.ci_high)
        if end is not None
    ]  # fmt: skip
    if is_rate(chart.metric) and not is_difference(chart.metric):
        top = (
            100 if chart.metric in ("DS", "DG") else next((end for end in (25, 50) if max(ends, default=0) <= end), 100)
        )
        steps = range(0, top + 1, {100: 25, 50: 10, 25: 5}[top])
        axes.set_xlim(-0.04 * top, 1.04 * top)
        axes.set_xticks(list(steps), [str(step) for step in steps[:-1]] + [f"{top} %"])
        return
    if is_difference(chart.metric):
        ends.append(0.0)
        axes.axvline(0, color=INK, lw=0.9, zorder=1)
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = 0.06 * (high - low) or 0.5
    axes.set_xlim(low - room, high + room)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, chart.metric)))


def _tick(value: float, metric: str) -> str:
    sign = "+" if is_difference(metric) and value > 0 else ""
    return f"{sign}{round(value, 9) + 0:g}".replace("-", "−")


@dataclass(frozen=True)
class _Point:
    """A value at its height in a panel, and where its arrow begins."""

    row: Row
    height: float
    begin: float | None

    @property
    def value(self) -> float:
        return scale(self.row.metric) * (self.row.value or 0.0)

    @property
    def moved(self) -> int:
        """Whether the arrow points to more (1) or to less (-1); 0 where there is nothing to point at."""
        if self.begin is None or abs(self.value - self.begin) < 1e-9:
            return 0
        return 1 if self.value > self.begin else -1


def _intervals(axes: Axes, look: Look, points: Sequence[_Point], beneath: float) -> None:
    """Thin lines with ends; those of arrows lie a little beneath them, so that both are seen."""
    low, high, heights = [], [], []
    for point in points:
        row = point.row
        if row.ci_low is not None and row.ci_high is not None:
            low.append(scale(row.metric) * row.ci_low)
            high.append(scale(row.metric) * row.ci_high)
            heights.append(point.height + beneath)
    axes.hlines(heights, low, high, color=look.colour, lw=0.8, zorder=2)
    axes.plot(low + high, heights * 2, ls="none", color=look.colour, marker="|", ms=3, mew=0.8, zorder=2)


def _dots(axes: Axes, look: Look, points: Sequence[_Point]) -> None:
    axes.plot(
        [point.value for point in points], [point.height for point in points], ls="none", marker=look.marker, ms=4.2,
        color=look.colour, mfc="white" if look.hollow else look.colour, mew=1.1, zorder=4,
    )  # fmt: skip


def _arrows(axes: Axes, look: Look, points: Sequence[_Point]) -> None:
    """Shaft and head; where nothing moved, or nobody knows from where, an upright line."""
    still = [point for point in points if not point.moved]
    axes.plot(
        [point.value for point in still], [point.height for point in still], ls="none", marker="|", ms=6,
        color=look.colour, mew=2.2, zorder=3,
    )  # fmt: skip
    going = [point for point in points if point.begin is not None and point.moved]
    begins, heights = [point.begin or 0.0 for point in going], [point.height for point in going]
    axes.hlines(heights, begins, [point.value for point in going], color=look.colour, lw=1.5, ls=look.dash, zorder=3)
    axes.plot(begins, heights, ls="none", marker="|", ms=4, color=look.colour, mew=1.2, zorder=3)
    for way, head in _HEADS.items():
        ends = [point for point in going if point.moved == way]
        axes.plot(
            [point.value for point in ends], [point.height for point in ends], ls="none", marker=head, ms=7,
            color=look.colour, mfc="white" if look.hollow else look.colour, mew=1.0, zorder=4,
        )  # fmt: skip


def _sample(look: Look) -> Line2D:
    """What the legend shows of a series."""
    return Line2D(
        [], [], color=look.colour, ls=look.dash if look.arrow else "none", lw=1.5, ms=6 if look.arrow else 4.5,
        marker=_HEADS[1] if look.arrow else look.marker, mfc="white" if look.hollow else look.colour, mew=1.1,
    )  # fmt: skip
