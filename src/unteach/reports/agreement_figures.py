"""Figures of agreement: with the run's judge by language, and discrepancies by cell (paper A, Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from unteach.metrics.agreement import Agreement, Estimate
from unteach.metrics.rated import Findings, RatedSample
from unteach.reports.paper_a.heatmaps import broken
from unteach.reports.style import INK, LINE, MARKERS, MUTED, SERIES, bare, new_figure, titled
from unteach.reports.tables import language_name, language_place


def p_words(found: Agreement) -> str:
    """The test in words."""
    return "no test" if found.p is None else "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"


def are_grades(findings: Findings) -> bool:
    """Whether labels are grades."""
    return not findings.errors


def figures(samples: Sequence[RatedSample]) -> dict[str, Figure]:
    """By file name: agreement by language, and discrepancies by cell where cells have two sides (paper A, Fig. 7)."""
    made: dict[str, Figure] = {}
    for sample in samples:
        findings = sample.findings
        name = f"{findings.about.metric}_{findings.about.sample[:6]}"
        made[f"agreement_{name}"] = agreement_figure(findings)
        if len(findings.about.by) == 2:
            made[f"discrepancies_{name}"] = discrepancy_figure(findings)
    return made


def agreement_figure(findings: Findings) -> Figure:
    """Share of agreement, kappa and difference with the run's judge: one line a language, one mark a rater."""
    ours = [found for found in findings.agreements if found.first == findings.about.judge]
    raters = list(dict.fromkeys(found.second for found in ours))
    codes = sorted(dict.fromkeys(found.language for found in ours), key=language_place)
    figure = new_figure(9.2, 1.5 + len(codes) * (0.14 + 0.11 * len(raters)))
    # A part of its own: title and legend of one and the same figure would be put on top of each other.
    part = figure.subfigures(1, 1, squeeze=False)[0, 0]
    panels = part.subplots(1, 3, squeeze=False)[0]
    whats = ("share", "kappa", "difference")
    for axes, what in zip(panels, whats, strict=True):
        for number, rater in enumerate(raters):
            for line, code in enumerate(codes):
                (found,) = (one for one in ours if one.second == rater and one.language == code)
                y = line + 0.7 / len(raters) * (number - (len(raters) - 1) / 2)
                scale = 1.0 if what == "kappa" or (are_grades(findings) and what == "difference") else 100.0
                _mark(axes, getattr(found, what), y, scale, number)
        _axis(axes, what, codes, findings)
    panels[0].set_yticks(range(len(codes)), [language_name(code, short=True) for code in codes])
    if len(raters) > 1:
        looks = [(SERIES[at % len(SERIES)], MARKERS[at % len(MARKERS)]) for at in range(len(raters))]
        marks = [Line2D([], [], color=colour, marker=marker, linewidth=1.3, markersize=5) for colour, marker in looks]
        part.legend(
            marks,
            raters,
            loc="outside upper left",
            ncols=min(len(raters), 6),
            fontsize=8,
            frameon=False,
            labelcolor=INK,
        )
    n = sorted({found.n for found in ours if found.language is not None})
    counts = f"{n[0]}–{n[-1]}" if len(n) > 1 else str(n[0])
    words = f"Judge {findings.about.judge} against {', '.join(raters)}; n = {counts} a language"
    tests = "; ".join(f"{one.second}: {p_words(one)}" for one in ours if one.language is None)
    titled(
        figure, f"Agreement with the judge, {findings.about.metric}",
        broken(f"{words}; lines: 95 % interval; ×: not defined. Over all languages, {tests}", 9.2, 7.5),
    )  # fmt: skip
    return figure


def discrepancy_figure(findings: Findings) -> Figure:
    """Discrepancies between judge and reference in each cell, as paper A's Fig. 7 counts them."""
    cells = {found.cell: found for found in findings.cells}
    names, heads = (sorted({cell[side] for cell in cells}, key=_cell_place) for side in (0, 1))
    shown = [(head or "none").replace(" ", "\n") for head in heads]
    cell = max(0.55, 0.09 * max(len(line) for head in shown for line in head.split("\n")))
    width = max(2.2 + cell * len(heads), 5.2)
    figure = new_figure(width, 1.5 + 0.4 * len(names) + 0.12 * max(head.count("\n") for head in shown))
    axes = figure.subplots()
    for y, name in enumerate(names):
        for x, head in enumerate(heads):
            one = cells.get((name, head))
            if one is None or one.n == 0:
                axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#f2f4f7", hatch="////", edgecolor=LINE, linewidth=0))
                continue
            alpha = 0.65 * one.discrepancies / one.n  # cells may hold different numbers of answers
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=SERIES[1], alpha=alpha, linewidth=0))
            axes.text(x + 0.5, y + 0.42, str(one.discrepancies), ha="center", va="center", fontsize=9, color=INK)
            axes.text(x + 0.5, y + 0.76, f"of {one.n}", ha="center", va="center", fontsize=5.8, color=INK)
    axes.set_xlim(0, len(heads))
    axes.set_ylim(len(names), 0)
    axes.set_xticks([x + 0.5 for x in range(len(heads))], shown)
    axes.set_yticks(
        [y + 0.5 for y in range(len(names))], [language_name(name, short=True) if name else "none" for name in names]
    )
    axes.xaxis.tick_top()
    bare(axes)
    down, across = findings.about.by
    note = f"Lines: {down}; columns: {across}; colour: share. {findings.about.judge} against {findings.reference}"
    title = f"Answers on which judge and rater differ, {findings.about.metric}"
    titled(figure, broken(title, width, 11), broken(note, width, 7.5))
    return figure


def _mark(axes: Axes, found: Estimate, y: float, scale: float, number: int) -> None:
    colour, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
    if found.value is None:
        axes.plot([0], [y], linestyle="", marker="x", color=MUTED, markersize=4)
        return
    if found.low is not None and found.high is not None:
        axes.plot([scale * found.low, scale * found.high], [y, y], color=colour, lw=1.3, alpha=0.7)
    axes.plot([scale * found.value], [y], linestyle="", marker=marker, color=colour, markersize=5)


def _axis(axes: Axes, what: str, codes: Sequence[str | None], findings: Findings) -> None:
    axes.set_ylim(len(codes) - 0.4, -0.6)
    axes.set_yticks(range(len(codes)), [""] * len(codes))
    grades = are_grades(findings)
    if what == "share":
        axes.set_title("grades at most 1 apart (%)" if grades else "same label (%)", fontsize=9, color=INK)
        axes.set_xlim(-4, 104)
    elif what == "kappa":
        axes.set_title("Cohen's kappa" + (", quadratic weights" if grades else ""), fontsize=9, color=INK)
        axes.set_xlim(-1.05, 1.05)
        axes.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "0.5", "1"])
    else:
        axes.set_title("rater − judge (grades)" if grades else "rater − judge (points)", fontsize=9, color=INK)
    if what != "share":
        axes.axvline(0, color=INK, lw=0.9, zorder=1)
    if None in codes and len(codes) > 1:
        axes.axhline(codes.index(None) + 0.5, color=MUTED, lw=0.9)
    bare(axes, grid="x")


def _cell_place(name: str) -> tuple[int, str]:
    return language_place(name or None)
