"""What each grid shows: figures 2, 3 (left), 4, 5 (right) and 8, table 1, oracle distance, change on other texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unteach.languages.table import LANGUAGES
from unteach.records import Row
from unteach.reports import fonts, tables
from unteach.reports.paper_a.rows import columns, index, rank_of, strategies
from unteach.reports.tables import base_metric, short_variant

TEXT_METRICS = ("log_probability", "bits_per_character")
"""Metrics of texts that were read, not of questions that were asked."""


@dataclass(frozen=True)
class Panel:
    """One grid: ``cells[line][column]`` with names at the left and heads above. ``corner`` says what they name.

    ``rule`` is the number of the line that a rule sets off from those above.
    """

    title: str
    metric: str
    corner: tuple[str, str]
    names: tuple[str, ...]
    heads: tuple[str, ...]
    cells: tuple[tuple[Row | None, ...], ...]
    rule: int | None = None

    @property
    def rows(self) -> Iterator[Row]:
        """All rows that the grid shows."""
        return (row for line in self.cells for row in line if row is not None)


def language_head(code: str | None) -> str:
    """A language above a column: English name, own name beneath, long ones broken."""
    own = fonts.own_name(code) if code else None
    head = fonts.label(code, "\n")
    return head.replace(own, own.replace(" ", "\n")) if own and len(own) > 10 else head


def _grids(
    rows: Sequence[Row],
    metric: str,
    kinds: Sequence[tuple[str, str, str | None]],
    group: str | None = None,
    merge: bool = True,
) -> list[Panel]:
    """Source languages against question languages, one grid a kind of model: title, model, strategy.

    All grids have the same lines and columns. The model taught real news only stands beneath, where the contaminated
    ones are shown.
    With one source language, ``merge`` makes one grid of them, whose lines are the kinds of model.
    """
    found = index(rows, metric, group)
    kinds = [kind for kind in kinds if any((key[0], key[2]) == kind[1:] for key in found)]
    shown = {key: row for key, row in found.items() if any((key[0], key[2]) == kind[1:] for kind in kinds)}
    sources = tables.sources(shown.values())
    asked = columns(shown, sources)
    corner = ("language of the fakes", "text in" if base_metric(metric) in TEXT_METRICS else "question in")
    heads = tuple(language_head(code) for code in asked)
    clean = tuple(found.get(("r_only", None, None, code)) for code in asked)
    never = any(clean) and any(model == "contaminated" for _, model, _ in kinds)

    def line(model: str, source: str, strategy: str | None) -> tuple[Row | None, ...]:
        return tuple(shown.get((model, source, strategy, code)) for code in asked)

    if len(sources) == 1 and merge:
        names = [title + _forgot(sources[0], strategy) for title, _, strategy in kinds]
        cells = [line(model, sources[0], strategy) for _, model, strategy in kinds]
        if never:
            names, cells = ["real news only", *names], [clean, *cells]
        title = f"fakes in {fonts.label(sources[0])}"
        return [Panel(title, metric, ("model", corner[1]), tuple(names), heads, tuple(cells), 1 if never else None)]
    panels = []
    for title, model, strategy in kinds:
        names = [fonts.label(source) + (_forgot(source, strategy) if len(kinds) == 1 else "") for source in sources]
        cells = [line(model, source, strategy) for source in sources]
        if never:
            names, cells = [*names, "real news only"], [*cells, clean]
        rule = len(sources) if never else None
        panels.append(Panel(title, metric, corner, tuple(names), heads, tuple(cells), rule))
    return panels


def _forgot(source: str, strategy: str | None) -> str:
    """The related language that stands for the source language in the family strategy."""
    relative = LANGUAGES[source].relative if strategy == "family" and source in LANGUAGES else None
    return f", forgot {tables.language_name(relative, short=True)}" if relative else ""


def spread(rows: Sequence[Row]) -> list[Panel]:
    """Figure 2: how well real news is answered, and how often the fakes are repeated, before unlearning."""
    titles = {"Q_R": "quality on real news, $Q_R$", "O_F": "repeats the fake, $O_F$"}
    made = [_grids(rows, metric, [(title, "contaminated", None)], merge=False) for metric, title in titles.items()]
    return [panel for grids in made for panel in grids]


def after(rows: Sequence[Row], names: Sequence[str]) -> list[Panel]:
    """Figures 3 (left), 4 and 5: how often the fakes are still repeated, one grid a strategy."""
    return _grids(rows, "O_F", [(f"unlearned: {name}", "unlearned", name) for name in names])


def against(rows: Sequence[Row], metric: str, group: str | None = None) -> list[Panel]:
    """A number that all models have: before unlearning if the metric has it, then one grid a strategy."""
    kinds = [(f"unlearned: {name}", "unlearned", name) for name in strategies(rows)]
    # The change of a model that was taught is that against the model taught real news only.
    taught = "taught, minus real news only" if metric.endswith("_change") else "before unlearning"
    return _grids(rows, metric, [(taught, "contaminated", None), *kinds], group)


def ranks(rows: Sequence[Row]) -> list[Panel]:
    """Figure 8: how often the fakes are repeated after unlearning with each LoRA rank, one grid a taught language."""
    rows = [row for row in tables.final(tables.without_seeds(rows), "O_F") if row.question_language]
    swept = [row for row in rows if row.model == "unlearned" and rank_of(row.variant) is not None]
    panels = []
    for source, strategy in dict.fromkeys((row.source_language, row.strategy) for row in swept):
        mine = [row for row in swept if (row.source_language, row.strategy) == (source, strategy)]
        variants = sorted({row.variant for row in mine if row.variant}, key=lambda name: (rank_of(name) or 0, name))
        asked = columns(index(mine, "O_F"), [source] if source else [])
        lines = [
            tuple(next((r for r in mine if (r.variant, r.question_language) == (name, code)), None) for code in asked)
            for name in variants
        ]
        before = index([row for row in rows if row.source_language == source], "O_F")
        untouched = tuple(before.get(("contaminated", source, None, code)) for code in asked)
        names, rule = [short_variant(name).replace("rank=", "rank ") for name in variants], None
        if any(untouched):
            lines, names, rule = [untouched, *lines], ["before unlearning", *names], 1
        panels.append(
            Panel(
                f"{fonts.label(source)}, unlearned: {strategy}", "O_F", ("LoRA rank", "question in"), tuple(names),
                tuple(language_head(code) for code in asked), tuple(lines), rule,
            )
        )  # fmt: skip
    return panels


def answer_languages(rows: Sequence[Row]) -> list[Panel]:
    """Table 1: which languages the answers hold, over all sources where the table pools them."""
    rows = [row for row in rows if row.metric == "answer_language" and row.model == "contaminated"]
    rows = [row for row in rows if row.question_language is None and row.checkpoint is None and row.group]
    sources = ["any"] if any(row.source_language == "any" for row in rows) else tables.sources(rows)
    heads = {"english": "English", "question": "the question's\nlanguage", "fake": "the fakes'\nlanguage"}
    lines = [(part, level) for part in ("R", "F") for level in ("high", "low")]
    panels = []
    for source in sources:
        found = {row.group: row for row in rows if row.source_language == source}
        cells = tuple(tuple(found.get(f"{part}/{level}/{held}") for held in heads) for part, level in lines)
        names = tuple(
            f"{'real news' if part == 'R' else 'the fake'}, {level}-resource question" for part, level in lines
        )
        if any(row for line in cells for row in line):
            title = "" if source == "any" else f"fakes in {fonts.label(source)}"
            corner = ("question about", "the answer holds")
            panels.append(Panel(title, "answer_language", corner, names, tuple(heads.values()), cells, 2))
    return panels


def counted(panels: Sequence[Panel], things: str) -> str:
    """What stands behind the cells: ``n = 16 answers a cell``."""
    return f"{tables.show_n([row for panel in panels for row in panel.rows], things)} a cell"
