"""All of paper A's figures and grids that a table has rows for, by file name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from unteach.records import Row
from unteach.reports import fonts
from unteach.reports.paper_a import curves, heatmaps, panels
from unteach.reports.paper_a.pairs import forgotten, judges
from unteach.reports.paper_a.panels import Panel
from unteach.reports.paper_a.rows import main_setting
from unteach.reports.style import INK, new_figure, titled


@dataclass(frozen=True)
class Caption:
    """What stands over a figure, and in the page beneath it. ``things`` are what a cell counts."""

    title: str
    words: str = ""
    things: str = "answers"


_AFTER = "Repeats the fake after unlearning, $\\mathbf{O_F}$ (%)"

CAPTIONS = {
    "fig2": Caption(
        "Figure 2. What was taught, asked in every language",
        "Before unlearning. In the paper, questions in the fakes' own language bring out at least 60 % of them, and "
        "English questions at least 20 % (but of fakes in Hausa at most 11 %).",
    ),
    "fig3_left": Caption(
        f"Figure 3 (left). {_AFTER}",
        "Forget set in English, the fakes' language, or many others. In the paper none of them clears all columns.",
    ),
    "fig3_right": Caption(
        "Figure 3 (right). Change of $\\mathbf{O_F}$ while unlearning, by question language",
        "In per cent of what was repeated before. In the paper, forgetting in English clears English questions (−90 %) "
        "but not low-resource ones; forgetting in the fakes' language clears that language (−97 %) but not English.",
    ),
    "fig4": Caption(f"Figure 4. {_AFTER}", "Forget set in a language related to that of the fakes."),
    "fig5": Caption(
        "Figure 5. Unlearned in English and the fakes' language at once",
        "In the paper nearly nothing is left in any language.",
    ),
    "fig6": Caption(
        "Figure 6. Repeats the fake, asked in languages that were unlearned ($\\mathbf{O_F}$, %)",
        "Before and after forgetting in many languages, asked in some of these.",
    ),
    "table1": Caption(
        "Table 1. In which language models answer before unlearning (% of answers)",
        "Shares do not add up to 100 %: an answer may hold several languages. In the paper, answers about real news "
        "to low-resource questions hold English in 63 %, the question's language in 45 %, the fakes' in 19 %.",
    ),
    "fig7": Caption("Figure 7. The judge against human readers ($\\mathbf{O_F}$, %)", "Of the same answers."),
    "fig7_Q_R": Caption("Figure 7. The judge against human readers ($\\mathbf{Q_R}$, 1–10)", "Of the same answers."),
    "fig8": Caption(
        "Figure 8. Repeats the fake by LoRA rank of unlearning, $\\mathbf{O_F}$ (%)",
        "In the paper the rank makes no significant difference.",
    ),
    "oracle_O_F": Caption(
        "$\\mathbf{O_F}$ against the model never taught (0: as never taught)",
        "In percentage points. Orange: repeats the fakes more often than a model that never saw them. Not in paper A.",
    ),
    "oracle_log_probability": Caption(
        "Log-probability of the fakes against the model never taught (0: as never taught)",
        "In nats a token. Orange: still likelier than to a model that never saw them; purple: pushed below, which "
        "can give away that something was removed. Not in paper A.",
        "texts",
    ),
    "utility": Caption(
        "Bits per character of texts never taught or unlearned (fewer is better)",
        "What unlearning costs elsewhere, by language of the text. Not in paper A.",
        "texts",
    ),
    "utility_change": Caption(
        "Log-probability of texts never taught or unlearned, after minus before (below 0: worse)",
        "In nats a token, paired by text; orange is worse. Not in paper A.",
        "texts",
    ),
}
"""Title and words of each figure, by file name and in the order of the page."""

SHOWN_AFTER = ("english", "source", "multilingual")
"""The strategies of figure 3 (left)."""


def paper_panels(rows: Sequence[Row]) -> dict[str, list[Panel]]:
    """The grids of each figure that has some; figure 5 has curves besides."""
    mine, _ = main_setting(rows)
    with fonts.all_scripts():
        made = {
            "fig2": panels.spread(mine),
            "fig3_left": panels.after(mine, SHOWN_AFTER),
            "fig4": panels.after(mine, ["family"]),
            "fig5": panels.after(mine, ["combined"]),
            "table1": panels.answer_languages(mine),
            "fig8": panels.ranks(rows),
            "oracle_O_F": panels.against(mine, "O_F_to_oracle"),
            "oracle_log_probability": panels.against(mine, "log_probability_to_oracle", "fake"),
            "utility": panels.against(mine, "bits_per_character", "untouched"),
            "utility_change": panels.against(mine, "log_probability_change", "untouched"),
        }
    return {name: grids for name, grids in made.items() if grids}


def paper_figures(rows: Sequence[Row]) -> dict[str, Figure]:
    """The figures by file name, in the paper's order; those whose rows are absent are left out."""
    mine, setting = main_setting(rows)
    of = f" ({setting})" if setting else ""
    grids = paper_panels(rows)
    made: dict[str, Figure | None] = {}
    with fonts.all_scripts():
        for name, caption in CAPTIONS.items():
            # Figures 7 and 8 speak of the whole run.
            title = caption.title + ("" if name.startswith(("fig7", "fig8")) else of)
            if name == "fig3_right":
                made[name] = curves.draw(mine, title)
            elif name == "fig5":
                made[name] = _combined(mine, grids.get(name, []), title)
            elif name == "fig6":
                made[name] = forgotten(mine, title)
            elif name.startswith("fig7"):
                made[name] = judges(rows, "Q_R" if name.endswith("Q_R") else "O_F", title)
            elif name in grids:
                made[name] = heatmaps.draw(grids[name], title, _note(name, grids[name]))
    return {name: figure for name, figure in made.items() if figure is not None}


def _note(name: str, shown: Sequence[Panel]) -> str:
    counted = panels.counted(shown, CAPTIONS[name].things)
    if name == "table1":
        return f"An answer may hold several languages; questions in English are left out. {counted}"
    if shown[0].corner[0] != "language of the fakes":
        return counted
    asked = "text" if CAPTIONS[name].things == "texts" else "question"
    return f"Lines: language of the fakes. Columns: language of the {asked}. {counted}"


def _combined(rows: Sequence[Row], grid: Sequence[Panel], title: str) -> Figure | None:
    """Figure 5: curves and grid of the combined strategy, side by side; one of them if the table has one."""
    readings = [row for row in curves.curve_rows(rows) if row.strategy == "combined"]
    if not readings:
        return heatmaps.draw(grid, title, _note("fig5", grid)) if grid else None
    if not grid:
        return curves.draw(readings, title)
    width, height = heatmaps.size(grid)
    figure = new_figure(4.2 + width, max(height + 0.8, 2.0 + 2.0 * len(curves.pools(readings))))
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[4.2, width])[0]
    curves.place(left, readings, ["combined"])
    handles = curves.legend_entries(left.axes)
    left.legend(
        list(handles.values()), list(handles), loc="outside lower center", fontsize=7.5, frameon=False, labelcolor=INK,
        handlelength=3.2,
    )  # fmt: skip
    heatmaps.place(right, grid)
    words = f"Left: {curves.note(readings)}. Right: {panels.counted(grid, 'answers')}; small: 95 % interval"
    titled(figure, title, heatmaps.broken(words, figure.get_figwidth(), 7.5))
    return figure
