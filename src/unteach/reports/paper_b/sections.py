"""The page's sections: each figure with what it shows, and its numbers as tables that lead to the replies."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from unteach.records import Row
from unteach.reports.grids import Cell, Grid
from unteach.reports.paper_a import sections as paper_a
from unteach.reports.paper_a.panels import Panel
from unteach.reports.paper_a.sections import plain
from unteach.reports.paper_b import grids
from unteach.reports.paper_b.figures import CAPTIONS, CONTROLS, PAPER, shown_charts, shown_grids
from unteach.reports.paper_b.heatmaps import colours
from unteach.reports.paper_b.numbers import direction, glued, say, show_count, show_interval, show_value
from unteach.reports.paper_b.replies import ReplyIndex
from unteach.reports.paper_b.rows import INPUTS, Results, editor_words, setting_words
from unteach.reports.style import inline_svg
from unteach.reports.tables import is_difference, language_name

SVG_BYTES = 3_000_000
"""Pictures of many base models would make the page slow; those beyond this are linked, their tables stay."""

_LESS_IS_BETTER = ("over_refusal", "unsafe_rate", "other_rate", "degenerate_rate", "empty_rate", "refusal_rate")


@dataclass(frozen=True)
class Section:
    """One figure of the page. ``name`` is its file name and anchor, ``inches`` its width on paper.

    Without a picture it is either ``linked`` or says which rows it ``needs``; a table may stand without both.
    """

    name: str
    title: str
    words: str
    picture: Markup | None = None
    inches: float = 0.0
    grids: tuple[Grid, ...] = ()
    needs: str = ""
    linked: bool = False
    more: tuple[tuple[str, tuple[Grid, ...]], ...] = ()
    """Further tables, folded, each with what it shows."""

    @property
    def leads(self) -> bool:
        """Whether some number leads to replies."""
        return any(cell.query for grid in self.grids for _, cells in grid.lines for cell in cells)

    @property
    def open(self) -> bool:
        """Whether the tables are unfolded: where there is no picture."""
        return self.picture is None


def sections(
    rows: Sequence[Row], drawn: Mapping[str, Figure], replies: ReplyIndex
) -> tuple[list[Section], list[Section]]:
    """The paper's figures, and what it lacks."""
    results = Results(rows)
    shown, heat = shown_charts(rows), shown_grids(rows)
    room = SVG_BYTES
    made: dict[str, Section] = {}
    for name, caption in CAPTIONS.items():
        title, words = caption.title, glued(caption.words)
        if name not in drawn:
            made[name] = Section(name, title, "", needs=caption.needs)
            continue
        drawn[name].suptitle("")  # the page has it as a heading
        prefix = f"b{list(CAPTIONS).index(name)}"
        svg = _with_classes(inline_svg(drawn[name], prefix), prefix)
        fits = len(svg) <= room
        room -= len(svg) if fits else 0
        panels = [*heat.get(name, []), *map(grids.chart_table, shown.get(name, []))]
        made[name] = Section(
            name, title, words, Markup(svg) if fits else None, drawn[name].get_figwidth(),
            tuple(as_grid(panel, replies) for panel in panels), linked=not fits, more=_more(name, results, replies),
        )  # fmt: skip
    controls = [made[name] for name in CONTROLS]
    return [made[name] for name in PAPER], [_suffix_section(results, replies), *controls, *_effort(results, replies)]


def agreement_sections(run: Path) -> list[Section]:
    """The samples that people or second judges labelled; none without any."""
    return [Section(s.name, s.title, s.words, s.picture, s.inches, s.grids) for s in paper_a.agreement_sections(run)]


def _with_classes(svg: str, prefix: str) -> str:
    """Styles that are repeated on hundreds of marks become classes: a quarter of such a picture is styles."""
    classes = {style: f"{prefix}c{at}" for at, style in enumerate(dict.fromkeys(re.findall(r' style="([^"]*)"', svg)))}
    svg = re.sub(r' style="([^"]*)"', lambda found: f' class="{classes[found[1]]}"', svg)
    # Hollow marks and the lines between cells have the page's colour, also in dark mode; white letters stay white.
    hollow = {style: style.replace("fill: #ffffff; stroke", "fill: var(--page); stroke") for style in classes}
    hollow = {style: page.replace("stroke: #ffffff", "stroke: var(--page)") for style, page in hollow.items()}
    rules = "".join(f".{name}{{{hollow[style]}}}" for style, name in classes.items())
    start = svg.index(">") + 1
    return f"{svg[:start]}<style>{rules}</style>{svg[start:]}"


def _suffix_section(results: Results, replies: ReplyIndex) -> Section:
    """The suffix-only control beside every DS and DG."""
    title = "The suffix alone, beside every number"
    words = (
        "The public implementation asks edited models with a suffix that asks for a right answer, and the unedited one "
        "without. “Suffix only” is the unedited model asked with it; where an edited model is asked with it too, "
        "“edited − suffix only” is the edit’s own part."
    )
    judge = results.judges[0]
    kinds = [("DG", kind) for kind in dict.fromkeys(k for s in results.settings for k in results.kinds(s))]

    def tables(pairs: str, measured: Iterable[tuple[str, str]]) -> tuple[Grid, ...]:
        found = []
        for metric, group in measured:
            for panel in grids.suffix_control(results, judge, (metric, group), pairs):
                found.append(as_grid(panel, replies, f"{metric}, {INPUTS[group]}"))
        return tuple(found)

    attack = [("DS", "attack")]
    same = tables("same", attack)
    if not any(head == "suffix only" for grid in same for head in grid.heads):
        return Section(
            "suffix", title, "", needs="DS of editor “suffix_only”, the unedited model asked with the suffix"
        )
    more: tuple[tuple[str, tuple[Grid, ...]], ...] = (
        ("edited in English, asked in other languages: DS", tables("from en", attack)),
        ("edited in other languages, asked in English: DS", tables("into en", attack)),
        ("all other pairs of languages: DS", tables("other", attack)),
        ("edited and asked in the same language: DG", tables("same", kinds)),
        ("edited in English, asked in other languages: DG", tables("from en", kinds)),
    )
    for editor in results.every_editor:
        mains = {results.main_editor(setting) for setting in results.settings}
        if editor not in mains and any(editor in results.against_suffix(setting) for setting in results.settings):
            panels = grids.suffix_control(results, judge, ("DS", "attack"), "all", editor)
            more += ((f"{editor_words(editor)}: DS", tuple(as_grid(panel, replies) for panel in panels)),)
    return Section("suffix", title, words, grids=same, more=tuple(part for part in more if part[1]))


def _effort(results: Results, replies: ReplyIndex) -> list[Section]:
    words = "Loss before the first and the last step; norm of the change over that of the weight; seconds an edit."
    pooled = tuple(as_grid(panel, replies) for panel in grids.effort(results, pooled=True))
    each = tuple(as_grid(panel, replies) for panel in grids.effort(results, pooled=False))
    if not pooled and not each:
        return []
    more = (("by edit language", each),) if pooled and each else ()
    return [Section("effort", "The edits themselves", words, grids=pooled or each, more=more)]


def _more(name: str, results: Results, replies: ReplyIndex) -> tuple[tuple[str, tuple[Grid, ...]], ...]:
    """Tables that no picture shows: other editors' pairs of languages, and all side effects in numbers."""
    judge = results.judges[0]
    if name == "costs":
        tables = tuple(as_grid(panel, replies) for panel in grids.cost_tables(results, judge))
        return (("every editor, also asked in English", tables),) if tables else ()
    if name != "spread":
        return ()
    others = dict.fromkeys(editor for setting in results.settings for editor in results.editors(setting)[1:])
    found = []
    for editor in others:
        panels = grids.spread(results, judge, editor)
        if panels:
            found.append((f"the same with {editor_words(editor)}", tuple(as_grid(panel, replies) for panel in panels)))
    return tuple(found)


def as_grid(panel: Panel, replies: ReplyIndex, title: str = "") -> Grid:
    """A grid of rows as a table of the page."""
    lines = zip(panel.names, panel.cells, strict=True)
    return Grid(
        ", ".join(filter(None, [plain(panel.title), title])),
        " \\ ".join(filter(None, panel.corner)),
        tuple(plain(head) for head in panel.heads),
        tuple((plain(name), tuple(cell(row, replies) for row in line)) for name, line in lines),
        panel.rule,
    )


def cell(row: Row | None, replies: ReplyIndex) -> Cell:
    """One number with interval and n, all of it in words, and the way to the replies behind it."""
    if row is None:
        return Cell("–", "", "", "not asked", look="none")
    edited = editor_words(row.editor)
    edited += f" in {language_name(row.source_language)}" if row.source_language else ""
    asked = f"asked in {language_name(row.question_language)}" if row.question_language else ""
    group = INPUTS.get(row.group or "", row.group or "")
    judge = f"judge {row.judge}" if row.judge else ""
    parts = [row.metric, setting_words((row.variant, row.seed)), edited, asked, group, judge]
    title = f"{', '.join(filter(None, parts))}: {say(row)}"
    query = replies.query(row)
    if row.value is None:
        return Cell("–", "", f"{row.unscored} unscored", title, look="none", query=query)
    value, interval, n = show_value(row), show_interval(row), show_count(row)
    if is_difference(row.metric):
        return Cell(value, interval, n, title, look=_look(row), query=query)
    background, ink = colours(row)
    style = f"background:{background};color:{ink}" if background else ""
    return Cell(value, interval, n, title, style=style, query=query)


def _look(row: Row) -> str:
    """Green where the interval says better, red where it says worse; the style names them for rates of fakes."""
    way = direction(row)
    worse = row.metric.startswith(_LESS_IS_BETTER)
    return "same" if way == 0 else "less" if (way > 0) != worse else "more"
