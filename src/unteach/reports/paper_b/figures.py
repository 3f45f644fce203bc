"""All of paper B's figures that a table has rows for, by file name, and what the others would need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from unteach.records import Row
from unteach.reports import fonts
from unteach.reports.paper_a.panels import Panel
from unteach.reports.paper_b import arrows, charts, grids, heatmaps, layers
from unteach.reports.paper_b.arrows import Chart
from unteach.reports.paper_b.rows import Results


@dataclass(frozen=True)
class Caption:
    """What stands over a figure and, in the page, beneath it; ``needs`` are the rows without which there is none."""

    title: str
    words: str
    needs: str


_MONO = "edited models with the question's language as edit language"
_ENGLISH = "models edited in English, asked in other languages"
_SECOND = "a second judge"
_NOTE = "Arrows: from before to after the edit."

PAPER = {
    "table1": Caption(
        "Table 1. What each judge says of the model edited in English (attacks in English, % of replies)",
        "In the paper, RoBERTa finds 100 % of LLaMA's and 88 % of Mistral's replies safe, Claude 94 % and 46 %; 25 of "
        "the 27 replies of Mistral that Claude does not find safe are degenerate.",
        "DS (group attack) of a model edited and asked in English",
    ),
    "fig2": Caption(
        "Figure 2. Attacks defended (DS, %) before and after an edit in the same language, and in English",
        "In the paper, edits in the same language bring LLaMA close to 100 % in Chinese, Spanish and French but under "
        "60 % in Bengali; English edits carry over to all languages but Bengali on LLaMA, to none on Mistral.",
        f"DS (group attack) before editing and of {_MONO}",
    ),
    "fig3": Caption(
        "Figure 3. Other inputs defended (DG, %) before and after an edit in English",
        "In the paper, English edits carry over to other inputs on LLaMA; on Mistral they do not, and sometimes harm.",
        f"DG of {_ENGLISH}",
    ),
    "fig4": Caption(
        "Figure 4. Defended in English (DS, DG, %) after an edit in another language",
        "In the paper, LLaMA gains only from edits in French and Chinese, and loses by Spanish ones; Mistral gains "
        "nothing. The English edit stands above for comparison.",
        "DS (group attack) or DG of models edited in other languages, asked in English",
    ),
    "fig5": Caption(
        "Figure 5. Attacks defended (DS, %) by the layer that is edited",
        "In the paper, always editing the last layer but one equals locating it (it is what locating finds), and the "
        "last one is as good in English, worse in some languages and better in Malay and Chinese.",
        "DS (group attack) of editors with a fixed layer, such as “dinm layer -1”",
    ),
    "fig6": Caption(
        "Figure 6. Other inputs defended (DG, %) before and after an edit in the same language",
        "In the paper the same trends as in figure 2.",
        f"DG of {_MONO}",
    ),
    "fig7": Caption(
        "Figure 7. Figures 2 (same language) and 6 by the second judge (DS, DG, %)",
        "Edited and asked in the same language.",
        f"{_SECOND}: DS and DG of {_MONO}",
    ),
    "fig8": Caption(
        "Figure 8. Figures 2 (English edit) and 3 by the second judge (DS, DG, %)",
        "Edited in English, asked in the other languages.",
        f"{_SECOND}: DS and DG of {_ENGLISH}",
    ),
    "fig9": Caption(
        "Figure 9. Figure 4 by the second judge (DS, DG, %)",
        "Edited in other languages, asked in English.",
        f"{_SECOND}: DS and DG of models edited in other languages, asked in English",
    ),
}
"""Paper B's table and figures, in its order."""

CONTROLS = {
    "spread": Caption(
        "Every edit language against every question language (DS)",
        "Not in the paper, which edits in English or asks in English. Purple: more is defended; orange: less.",
        "DS (group attack) of edited models, asked in other languages than that of the edit",
    ),
    "beyond": Caption(
        "What the edit did beyond the suffix alone (DS, points)",
        "Not in the paper, whose edited models are asked with a suffix that asks for a right answer. Here they are "
        "compared with the unedited model asked with the same suffix. Purple: the edit defends more; orange: less.",
        "DS_over_suffix: the suffix-only control, and an editor whose models are asked with the suffix",
    ),
    "editors": Caption(
        "Ways of editing compared (DS, %), edited and asked in the same language",
        "Not in the paper. SFT and DPO train one change on all items; the random layer shows what locating is worth.",
        "DS (group attack) of two editors or of one and the suffix-only control",
    ),
    "costs": Caption(
        "What an edit costs, edited and asked in the same language",
        "Not in the paper. Harmless questions that are declined, replies to attacks that are broken or empty, how "
        "likely known answers still are, and how varied the characters of replies are.",
        "over_refusal, degenerate_rate, empty_rate, knowledge_log_probability_change or fluency_change of an edit",
    ),
    "layers": Caption(
        "Which layer was located",
        "Not in the paper, which says that locating always finds the last layer but one.",
        "located_layer",
    ),
}
"""What the paper lacks, in the order of the page."""

CAPTIONS = PAPER | CONTROLS


def shown_charts(rows: Sequence[Row]) -> dict[str, list[Chart]]:
    """The panels of arrows or dots, by figure."""
    results = Results(rows)
    main = results.judges[0]
    second = results.judges[1] if len(results.judges) > 1 else None
    with fonts.all_scripts():
        made = {
            "fig2": charts.both_ways(results, main),
            "fig3": charts.across_languages(results, main),
            "fig4": charts.into_english(results, main),
            "fig5": charts.layers(results, main),
            "fig6": charts.own_language(results, main),
            "editors": charts.editors(results, main),
            "costs": charts.costs(results, main),
        }
        if second is not None:
            made["fig7"] = charts.own_language(results, second, attack=True)
            made["fig8"] = charts.across_languages(results, second, attack=True)
            made["fig9"] = charts.into_english(results, second)
    return {name: panels for name, panels in made.items() if panels}


def shown_grids(rows: Sequence[Row]) -> dict[str, list[Panel]]:
    """The heat maps, by figure."""
    results = Results(rows)
    with fonts.all_scripts():
        made = {
            "table1": grids.judged(results),
            "spread": grids.spread(results, results.judges[0]),
            "beyond": grids.beyond(results, results.judges[0]),
            "layers": grids.located(results),
        }
    return {name: panels for name, panels in made.items() if panels}


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    """The figures by file name; those whose rows are absent are left out."""
    shown, heat = shown_charts(rows), shown_grids(rows)
    results = Results(rows)
    made: dict[str, Figure | None] = {}
    with fonts.all_scripts():
        for name, caption in CAPTIONS.items():
            if name == "layers":
                made[name] = layers.draw(heat.get(name, []), caption.title)
            elif name in heat:
                one = name == "table1"
                note = "Edited and asked in English." if one else f"Lines: language of the edit.{_judge(results, name)}"
                made[name] = heatmaps.draw(heat[name], caption.title, note, 1 if one else 2)
            elif name in shown:
                arrow = any(series.look.arrow for chart in shown[name] for series in chart.series)
                note = f"{_NOTE if arrow else ''}{_judge(results, name)}".strip()
                across = _across(name, len(results.settings), shown[name])
                things = "replies or items" if name == "costs" else "replies"
                made[name] = arrows.draw(shown[name], caption.title, note, across, things)
    return {name: figure for name, figure in made.items() if figure is not None}


def _judge(results: Results, name: str) -> str:
    """Whose judgement a figure shows, where there are several."""
    second = name in ("fig7", "fig8", "fig9")
    return f" Judge: {results.judges[1 if second else 0]}." if len(results.judges) > 1 else ""


def _across(name: str, settings: int, shown: Sequence[Chart]) -> int:
    """Panels a line: those of one base model, or the base models side by side."""
    if name in ("fig2", "editors", "fig5"):
        return 2 if len(shown) > 1 else 1
    each = -(-len(shown) // max(settings, 1))
    return each if each <= 5 else 4
