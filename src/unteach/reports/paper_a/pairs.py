"""Dots with intervals beneath one another: figures 6 and 7."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unteach.records import Row
from unteach.reports import fonts, tables
from unteach.reports.paper_a.heatmaps import broken
from unteach.reports.paper_a.rows import forgotten_columns, index
from unteach.reports.style import INK, LINE, MARKERS, MUTED, SERIES, bare, new_figure, titled
from unteach.reports.tables import Variant

_ACROSS = 3


@dataclass(frozen=True)
class Dots:
    """One panel: for each language (line) one row a series, or none."""

    title: str
    languages: tuple[str, ...]
    series: dict[str, dict[str, Row]]
    """Name of the series -> language -> row."""


def forgotten(rows: Sequence[Row], title: str) -> Figure | None:
    """Figure 6: asked in languages of the multilingual forget set, before and after."""
    found = index(rows, "O_F")
    panels = []
    for source in tables.sources(rows):
        before = {key[3]: row for key, row in found.items() if key[:3] == ("contaminated", source, None) and key[3]}
        after = {key[3]: row for key, row in found.items() if key[:3] == ("unlearned", source, "multilingual")}
        asked = tuple(code for code in forgotten_columns(found) if code in after)
        series = {"before": before, "after multilingual unlearning": {code: after[code] for code in asked}}
        if asked:
            panels.append(Dots(f"fakes in {fonts.label(source)}", asked, series))
    return draw(panels, title, "answers")


def judges(rows: Sequence[Row], metric: str, title: str) -> Figure | None:
    """Figure 7: the judge against human readers of the same answers; ``None`` without human labels."""
    human = [row for row in rows if (row.metric, row.group, row.checkpoint) == (metric, "human", None)]
    judge = [row for row in rows if (row.metric, row.group, row.checkpoint) == (metric, "judge", None)]
    panels = []
    for model in dict.fromkeys(Variant.of(row) for row in human):
        read = {row.question_language or "": row for row in human if Variant.of(row) == model}
        said = {row.question_language or "": row for row in judge if Variant.of(row) == model}
        asked = tuple(sorted(read, key=lambda code: tables.language_place(code or None)))
        pooled = {"any": "contaminated, fakes in any language"}
        name = pooled.get(model.source_language or "") or model.label
        panels.append(Dots(name, asked, {"human readers": read, "judge": said}))
    return draw(panels, title, "answers")


def draw(panels: Sequence[Dots], title: str, things: str) -> Figure | None:
    """Panels three a line; every series has a colour and a marker, the first one is hollow. ``None`` without panels."""
    if not panels:
        return None
    across = min(len(panels), _ACROSS)
    down = -(-len(panels) // across)
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    longest = max(len(panel.languages) for panel in panels)
    figure = new_figure(max(1.4 + 2.4 * across, 6.4), 1.5 + down * (0.7 + 0.32 * longest))
    # A part of its own: title and legend of one and the same figure would be put on top of each other.
    part = figure.subfigures(1, 1, squeeze=False)[0, 0]
    grid = part.subplots(down, across, squeeze=False)
    for number in range(down * across):
        axes = grid[number // across][number % across]
        if number >= len(panels):
            axes.set_visible(False)
            continue
        same = number % across > 0 and panels[number].languages == panels[number - 1].languages
        _panel(axes, panels[number], names, named=not same)
    entries = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    part.legend(
        list(entries.values()), list(entries), loc="outside upper left", ncols=4, fontsize=8, frameon=False,
        labelcolor=INK,
    )  # fmt: skip
    shown = [row for panel in panels for mine in panel.series.values() for row in mine.values()]
    wide = figure.get_figwidth()
    words = f"{tables.show_n(shown, things)} a point; lines: 95 % interval"
    titled(figure, broken(title, wide, 11), broken(words, wide, 7.5))
    return figure


def _panel(axes: Axes, panel: Dots, names: Sequence[str], named: bool) -> None:
    gap = 0.7 / len(names)
    for number, name in enumerate(names):
        mine = panel.series.get(name, {})
        colour = MUTED if number == 0 else SERIES[(number - 1) % len(SERIES)]
        heights, values = [], []
        for line, code in enumerate(panel.languages):
            row = mine.get(code)
            if row is None or row.value is None:
                continue
            scale = 100.0 if tables.is_rate(row.metric) else 1.0
            height = line + gap * (number - (len(names) - 1) / 2)
            heights.append(height)
            values.append(scale * row.value)
            if row.ci_low is not None and row.ci_high is not None:
                axes.plot([scale * row.ci_low, scale * row.ci_high], [height] * 2, color=colour, lw=1.3, zorder=2)
        axes.plot(
            values, heights, ls="none", marker=MARKERS[number % len(MARKERS)], ms=4.5, color=colour, mew=1.2, zorder=3,
            mfc="white" if number == 0 else colour, label=name,
        )  # fmt: skip
    for border in range(1, len(panel.languages)):
        axes.axhline(border - 0.5, color=LINE, lw=0.5)
    axes.set_ylim(len(panel.languages) - 0.5, -0.5)
    labels = [(fonts.label(code) if code else "all languages") if named else "" for code in panel.languages]
    axes.set_yticks(range(len(panel.languages)), labels)
    axes.set_title(panel.title, fontsize=9, color=INK)
    shares = any(tables.is_rate(row.metric) for mine in panel.series.values() for row in mine.values())
    axes.set_xlim(*((-3, 103) if shares else (0.7, 10.3)))
    bare(axes, grid="x")
