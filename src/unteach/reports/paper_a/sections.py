"""Paper A's part of the page: each figure with what it shows, and its grids as tables that lead to the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from unteach.metrics.rated import read_rated
from unteach.records import Row
from unteach.reports.agreement import about_words, page_tables
from unteach.reports.agreement_figures import figures as agreement_figures
from unteach.reports.answers import AnswerIndex
from unteach.reports.grids import Grid, cell
from unteach.reports.paper_a.figures import CAPTIONS, paper_panels
from unteach.reports.paper_a.panels import Panel
from unteach.reports.style import inline_svg

AGREEMENT = {
    "agreement": "Agreement of people or second judges with the judge",
    "discrepancies": "Answers on which the judge and the reference differ",
}


@dataclass(frozen=True)
class Section:
    """One figure of the page. ``name`` is its file name and anchor, ``inches`` its width on paper."""

    name: str
    title: str
    words: str
    picture: Markup
    inches: float
    grids: tuple[Grid, ...]

    @property
    def linked(self) -> bool:
        """Whether some number leads to answers."""
        return any(cell.query for grid in self.grids for _, cells in grid.lines for cell in cells)


def sections(rows: Sequence[Row], drawn: Mapping[str, Figure], answers: AnswerIndex) -> list[Section]:
    """The figures that were drawn, in the paper's order."""
    grids = paper_panels(rows)
    for name in CAPTIONS:
        if name in drawn:
            drawn[name].suptitle("")  # the page has it as a heading
    return [
        Section(
            name,
            plain(caption.title),
            caption.words.replace(" %", "\u00a0%"),
            Markup(inline_svg(drawn[name], f"a{number}")),
            drawn[name].get_figwidth(),
            tuple(as_grid(panel, answers) for panel in grids.get(name, [])),
        )
        for number, (name, caption) in enumerate(CAPTIONS.items())
        if name in drawn
    ]


def agreement_sections(run: Path) -> list[Section]:
    """The samples that people or second judges labelled, as paper A's Fig. 7, with all numbers; none without any."""
    made: list[Section] = []
    for sample in read_rated(run):
        words, numbers = about_words(sample.findings), page_tables(sample.findings)
        for name, figure in agreement_figures([sample]).items():
            figure.suptitle("")  # the page has it as a heading
            what, metric = name.split("_", 1)
            title = f"{AGREEMENT[what]}, {', sample '.join(metric.rsplit('_', 1))}"
            picture = Markup(inline_svg(figure, f"g{len(made)}"))
            made.append(Section(name, title, words, picture, figure.get_figwidth(), numbers))
            numbers = ()  # of both figures, under the first
    return made


def as_grid(panel: Panel, answers: AnswerIndex) -> Grid:
    """A grid of a figure as a table of the page."""
    lines = zip(panel.names, panel.cells, strict=True)
    return Grid(
        plain(panel.title),
        " \\ ".join(panel.corner),
        tuple(plain(head) for head in panel.heads),
        tuple((plain(name), tuple(cell(row, answers) for row in line)) for name, line in lines),
        panel.rule,
    )


def plain(text: str) -> str:
    """A figure's text without line breaks and formula signs."""
    for sign, word in (("\n", " "), ("\\mathbf", ""), ("$", ""), ("{", ""), ("}", "")):
        text = text.replace(sign, word)
    return text
