"""Figures 3 (right) and 5 (left): what unlearning changes from checkpoint to checkpoint, by group of languages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from unteach.records import Row
from unteach.reports import fonts, tables
from unteach.reports.paper_a.heatmaps import broken
from unteach.reports.paper_a.rows import GROUPS, strategies
from unteach.reports.style import DASHES, INK, MARKERS, MUTED, SERIES, bare, new_figure, titled

_METRIC = "O_F_relative_change"


def curve_rows(rows: Iterable[Row]) -> list[Row]:
    """Readings during unlearning, over pooled question languages: the relative change, and the rate for its start."""
    rows = [row for row in rows if row.checkpoint is not None and row.model == "unlearned" and row.group in GROUPS]
    return [row for row in rows if row.metric in (_METRIC, "O_F")] if any(row.metric == _METRIC for row in rows) else []


def pools(rows: Iterable[Row]) -> list[str]:
    """Which models are shown: as in the paper those not taught in English and those taught in English.

    Without both, all sources together; without pooled sources, each alone.
    """
    found = {row.source_language for row in rows if row.source_language}
    paper: list[str] = [source for source in ("not en", "en") if source in found]
    if "not en" in paper:
        return paper
    return ["any"] if "any" in found and len(found) > 2 else sorted(found - {"any"}, key=tables.language_place)


def pool_words(source: str) -> str:
    """A pool of source languages in words."""
    pooled = {"not en": "fakes not in English", "any": "fakes in any language"}
    return pooled.get(source) or f"fakes in {fonts.label(source)}"


def draw(rows: Sequence[Row], title: str) -> Figure | None:
    """One column a strategy, one line a pool of source languages; ``None`` without readings."""
    rows = curve_rows(rows)
    shown = [(name, source) for name in strategies(rows) for source in pools(rows)]
    names = list(dict.fromkeys(name for name, _ in shown))
    if not names:
        return None
    figure = new_figure(max(1.2 + 2.3 * len(names), 9.4), 1.6 + 2.1 * len(pools(rows)))
    # A part of its own: title and legend of one and the same figure would be put on top of each other.
    panels = figure.subfigures(1, 1, squeeze=False)[0, 0]
    place(panels, rows, names)
    handles = legend_entries(panels.axes)
    panels.legend(
        list(handles.values()), list(handles), loc="outside upper left", ncols=4, fontsize=8, frameon=False,
        labelcolor=INK, handlelength=3.2,
    )  # fmt: skip
    titled(figure, title, broken(note(rows), figure.get_figwidth(), 7.5))
    return figure


def note(rows: Sequence[Row]) -> str:
    """What the points count, and what the bands are."""
    scored = [row for row in rows if row.metric == _METRIC and row.value is not None]
    return (
        f"{tables.show_n(scored, 'answers')} a point; bands: 95 % interval, cut off at the panel's edge; 0: unchanged"
    )


def place(figure: Figure | SubFigure, rows: Sequence[Row], names: Sequence[str]) -> None:
    """Draw the panels of these strategies into a figure or a part of one."""
    sources = pools(rows)
    grid = figure.subplots(len(sources), len(names), squeeze=False, sharex="col", sharey="row")
    for y, source in enumerate(sources):
        line = [row for row in rows if row.source_language == source and row.strategy in names]
        for x, name in enumerate(names):
            axes = grid[y][x]
            _panel(axes, [row for row in line if row.strategy == name])
            bare(axes, grid="y")
            axes.axhline(0, color=INK, lw=0.9, zorder=1)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value)))
            if y == 0:
                axes.set_title(f"unlearned: {name}", fontsize=9, color=INK)
            if y == len(sources) - 1:
                axes.set_xlabel("unlearning step", fontsize=8, color=INK)
        grid[y][0].set_ylim(-106, _top(line))
        grid[y][0].set_ylabel(f"{pool_words(source)}\nchange of $O_F$ (%)", fontsize=8, color=INK)


def _signed(value: float) -> str:
    return f"{value:+.0f}".replace("-", "−") if value else "0"


def _top(rows: Sequence[Row]) -> float:
    """Room for the highest line; bands may be many times higher and are cut off."""
    values = [row.value for row in rows if row.metric == _METRIC and row.value is not None]
    return max([40.0, *(115 * value + 10 for value in values)])


def _panel(axes: Axes, rows: Sequence[Row]) -> None:
    silent: dict[str, list[str]] = {}
    for number, (group, words) in enumerate(GROUPS.items()):
        if group == "source" and all(row.source_language == "en" for row in rows):
            continue  # the same as "in English"
        mine = [row for row in rows if (row.metric, row.group) == (_METRIC, group)]
        mine.sort(key=lambda row: row.checkpoint or 0)
        drawn = [row for row in mine if row.value is not None]
        if mine and not drawn:
            # What is not repeated before cannot become more or less by a share of itself.
            start = [row.value for row in rows if (row.metric, row.group, row.checkpoint) == ("O_F", group, 0)]
            why = "nothing repeated before" if start == [0] else "no value"
            silent.setdefault(why, []).append(words.removeprefix("in ").removesuffix(" languages"))
        if not drawn:
            continue
        colour = SERIES[number]
        axes.plot(
            [row.checkpoint or 0 for row in drawn], [100 * (row.value or 0.0) for row in drawn], color=colour, lw=1.7,
            ls=DASHES[number], marker=MARKERS[number], ms=4, label=f"asked {words}", zorder=3,
        )  # fmt: skip
        bands = [row for row in drawn if row.ci_low is not None and row.ci_high is not None]
        axes.fill_between(
            [row.checkpoint or 0 for row in bands], [100 * (row.ci_low or 0.0) for row in bands],
            [100 * (row.ci_high or 0.0) for row in bands], color=colour, alpha=0.1, linewidth=0,
        )  # fmt: skip
    if not rows:
        axes.text(0.5, 0.5, "not in this run", transform=axes.transAxes, ha="center", fontsize=7, color=MUTED)
    if silent:
        reasons = [f"{why}, asked in\n{', '.join(groups)}" for why, groups in silent.items()]
        axes.text(
            0.98, 0.98, "\n".join(reasons), transform=axes.transAxes, ha="right", va="top", fontsize=5.8, color=MUTED,
            zorder=4,
        )  # fmt: skip


def legend_entries(panels: Sequence[Axes]) -> dict[str, Artist]:
    """One entry a series, whichever panels it has points in."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, line)
    order = [f"asked {words}" for words in GROUPS.values()]
    return {label: found[label] for label in order if label in found}
