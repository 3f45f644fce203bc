"""What unlearning changed (dot and whisker), and how it went from checkpoint to checkpoint (curves with bands)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from unteach.records import Row
from unteach.reports import tables
from unteach.reports.style import DASHES, INK, LINE, MARKERS, MUTED, SERIES, bare, new_figure, titled
from unteach.reports.tables import Variant, language_name, stop_thresholds


def change_figure(rows: Sequence[Row], source: str | None = None) -> Figure | None:
    """O_F after minus before, in percentage points: one row a question language, one colour a model.

    Unlearned models are compared with the contaminated one, the contaminated one with R only. ``source`` keeps one
    source language. ``None`` if the table has no changes.
    """
    rows = [row for row in tables.final(rows, "O_F_change") if row.question_language and row.value is not None]
    rows = [row for row in rows if source is None or row.source_language == source]
    if not rows:
        return None
    codes, models = tables.languages(rows), tables.variants(rows)
    figure = new_figure(7.2, 1.5 + len(codes) * max(0.34, 0.13 * len(models) + 0.12))
    axes = figure.subplots()
    step = 0.76 / len(models)
    for place, model in enumerate(models):
        mine = [row for row in rows if Variant.of(row) == model]
        heights = [codes.index(row.question_language or "") + step * (place - (len(models) - 1) / 2) for row in mine]
        colour = MUTED if model.model == "contaminated" else SERIES[(place - 1) % len(SERIES)]
        for height, row in zip(heights, mine, strict=True):
            if row.ci_low is not None and row.ci_high is not None:
                axes.plot([100 * row.ci_low, 100 * row.ci_high], [height] * 2, color=colour, lw=1.4, zorder=2)
        values = [100 * (row.value or 0.0) for row in mine]
        against = "R only" if model.model == "contaminated" else "contaminated"
        # White-filled dots set teaching apart from unlearning, also without colour.
        axes.plot(
            values, heights, ls="none", marker=MARKERS[place % len(MARKERS)], ms=5, color=colour, mew=1.3, zorder=3,
            mfc="white" if model.model == "contaminated" else colour, label=f"{model.kind} minus {against}",
        )  # fmt: skip
    for border in range(1, len(codes)):
        axes.axhline(border - 0.5, color=LINE, lw=0.5)
    axes.axvline(0, color=INK, lw=1)
    axes.set_ylim(len(codes) - 0.5, -0.5)
    axes.set_xlim(-104, 104)
    axes.set_yticks(range(len(codes)), [language_name(code) for code in codes])
    axes.set_xlabel("change of $O_F$ (percentage points)", fontsize=8, color=INK)
    axes.set_ylabel("question language", fontsize=8, color=INK)
    bare(axes, grid="x")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=7.5, frameon=False, ncols=2, labelcolor=INK)
    taught = f", fakes in {language_name(source)}" if source else ""
    titled(
        figure,
        f"Change of fake information occurrence, $\\mathbf{{O_F}}${taught}",
        f"{tables.show_n(rows, 'pairs')}; 95 % paired interval",
    )
    return figure


def curve_figure(rows: Sequence[Row], source: str | None = None, spec: Any = None) -> Figure | None:
    """O_F by question language, mean Q_R, and perplexity over unlearning steps: one column a strategy.

    Limits of the stop rules in ``spec`` are drawn as dashed lines. ``None`` if the table has no checkpoints.
    """
    rows = [row for row in rows if row.checkpoint is not None and row.value is not None and row.group is None]
    rows = [row for row in rows if source is None or row.source_language == source]
    metrics = [name for name in ("O_F", "Q_R", "perplexity") if tables.select(rows, metric=name)]
    if not metrics:
        return None
    models, codes = tables.variants(rows), tables.languages(rows)
    looks = {code: place for place, code in enumerate(codes)}
    figure = new_figure(max(2.8 + 2.3 * len(models), 5.6), 1.2 + 1.7 * len(metrics))
    grid = figure.subplots(len(metrics), len(models), squeeze=False, sharex="col", sharey="row")
    limits = stop_thresholds(spec)
    for x, model in enumerate(models):
        for y, metric in enumerate(metrics):
            axes = grid[y][x]
            _lines(axes, [row for row in rows if row.metric == metric and Variant.of(row) == model], looks)
            _frame(axes, metric)
            if metric in ("Q_R", "perplexity"):
                _limit(axes, metric, rows, model, limits)
        grid[0][x].set_title(model.kind, fontsize=9, color=INK)
        grid[-1][x].set_xlabel("unlearning step", fontsize=8, color=INK)
    names = {"O_F": "$O_F$ (%)", "Q_R": "$Q_R$ (1–10)", "perplexity": "perplexity (log)"}
    for y, metric in enumerate(metrics):
        grid[y][0].set_ylabel(names[metric], fontsize=8, color=INK)
    _legend(figure, [axes for line in grid for axes in line])
    asked = [row for row in rows if row.metric != "perplexity"]
    texts = [row for row in rows if row.metric == "perplexity"]
    counts = f"{tables.show_n(asked, 'answers')} a point, bands: 95 % interval" if asked else ""
    labels = f"perplexity: {tables.show_n(texts, 'texts')}" if texts else ""
    taught = f", fakes in {language_name(source)}" if source else ""
    titled(figure, f"While unlearning{taught}", "; ".join(part for part in (counts, labels) if part))
    return figure


def _lines(axes: Axes, rows: Sequence[Row], looks: dict[str, int]) -> None:
    for code in dict.fromkeys(row.question_language for row in rows):
        mine = sorted((row for row in rows if row.question_language == code), key=lambda row: row.checkpoint or 0)
        place = looks.get(code or "", 0)
        colour = INK if code is None else SERIES[place % len(SERIES)]
        shown = [100.0 if tables.is_rate(row.metric) else 1.0 for row in mine]
        axes.plot(
            [row.checkpoint or 0 for row in mine],
            [factor * (row.value or 0.0) for factor, row in zip(shown, mine, strict=True)],
            color=colour, lw=1.5, ls=DASHES[place % len(DASHES)] if code else "-", marker=MARKERS[place % len(MARKERS)],
            ms=3.2, label=language_name(code) if code else "all together", clip_on=False, zorder=3,
        )  # fmt: skip
        bands = [
            (row.checkpoint or 0, factor * row.ci_low, factor * row.ci_high)
            for factor, row in zip(shown, mine, strict=True)
            if row.ci_low is not None and row.ci_high is not None
        ]
        if bands:
            steps, low, high = zip(*bands, strict=True)
            axes.fill_between(steps, low, high, color=colour, alpha=0.1, linewidth=0)


def _frame(axes: Axes, metric: str) -> None:
    bare(axes, grid="y")
    axes.tick_params(labelsize=7.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if metric == "O_F":
        axes.set_ylim(0, 100)
    elif metric == "Q_R":
        axes.set_ylim(1, 10)
        axes.yaxis.set_major_locator(FixedLocator([1, 4, 7, 10]))
    else:
        # Perplexity runs away exponentially once unlearning breaks the model.
        axes.set_yscale("log")
        axes.margins(y=0.15)
        axes.yaxis.set_major_locator(FixedLocator([1, 3, 10, 30, 100, 300, 1000, 10_000, 100_000, 1_000_000]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_minor_locator(NullLocator())


def _limit(axes: Axes, metric: str, rows: Sequence[Row], model: Variant, limits: dict[str, float]) -> None:
    """A dashed line where the stop rule ends unlearning."""
    if metric == "perplexity":
        height, words = limits.get("perplexity"), f"stop at {limits.get('perplexity', 0):g}"
    else:
        overall = [row for row in rows if row.metric == "Q_R" and Variant.of(row) == model]
        asked = {row.question_language for row in overall}
        # the rule reads the mean over all real questions; asked in one language, that language's mean is it
        language = None if None in asked or len(asked) != 1 else asked.pop()
        overall = [row for row in overall if row.question_language == language and row.value is not None]
        start = min(overall, key=lambda row: row.checkpoint or 0, default=None)
        share = limits.get("quality_drop")
        height = None if start is None or share is None else (1 - share) * (start.value or 0.0)
        words = f"stop below ({share or 0:.0%} drop)"
    if height is not None:
        axes.axhline(height, color="#b02a37", lw=1, ls=(0, (4, 3)), zorder=2)
        axes.annotate(
            words, (0, height), xycoords=("axes fraction", "data"), xytext=(2, 2), textcoords="offset points",
            fontsize=6.5, color="#b02a37",
        )  # fmt: skip


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    """One entry a language, whichever panels it occurs in."""
    entries = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        list(entries.values()), list(entries), loc="outside right upper", fontsize=7.5, frameon=False,
        title="question language", title_fontsize=7.5, labelcolor=INK, alignment="left",
    )  # fmt: skip
