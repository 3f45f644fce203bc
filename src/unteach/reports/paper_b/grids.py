"""Which rows the heat maps and tables show: judges, edit against question language, located layers, controls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from unteach.records import Row
from unteach.reports import fonts
from unteach.reports.paper_a.panels import Panel, language_head
from unteach.reports.paper_b.arrows import BEFORE, Chart
from unteach.reports.paper_b.charts import COSTS, Measured
from unteach.reports.paper_b.rows import (
    SUFFIX,
    UNEDITED,
    Model,
    Results,
    Setting,
    editor_words,
    place,
    setting_words,
)

_JUDGED = {
    "DS": "defended\n(DS)",
    "unsafe_rate": "unsafe",
    "other_rate": "neither",
    "degenerate_rate": "degenerate",
    "empty_rate": "empty",
}

Line = tuple[str, tuple[Row | None, ...]]


def judged(results: Results) -> list[Panel]:
    """Table 1: replies of the model edited in English to English attacks, by judge."""
    lines: list[Line] = []
    for setting in results.settings:
        model = Model(results.main_editor(setting), "en")
        for judge in results.judges:
            found = tuple(results.get(setting, metric, model, "en", "attack", judge) for metric in _JUDGED)
            if found[0] is not None:
                lines.append((", ".join(filter(None, [setting_words(setting), judge or "judge"])), found))
    return _panels("", "DS", ("judge", "share of replies"), tuple(_JUDGED.values()), lines)


def spread(results: Results, judge: str | None, editor: str | None = None) -> list[Panel]:
    """Edit language against question language: DS, and its change; before and with the suffix alone above."""
    made = []
    for setting in results.settings:
        asked, sources, name = _pairs(results, setting, editor)
        if editor is not None:  # one asked in its own language and in English alone has no grid to show
            sources = [code for code in sources if sum(_asked(results, setting, Model(name, code), asked, judge)) > 2]
        models = [("before editing", UNEDITED), ("suffix only", SUFFIX)]
        models = [(words, model) for words, model in models if _any(results, setting, "DS", model, asked, judge)]
        rule = len(models) or None
        models += [(fonts.label(source), Model(name, source)) for source in sources]
        for metric, words in (("DS", "defended, DS (%)"), ("DS_change", "after minus before (points)")):
            # Both grids have the same lines, so that they can be read across.
            made += _spread(results, setting, judge, metric, words, asked, models, rule)
    return made


def beyond(results: Results, judge: str | None) -> list[Panel]:
    """Edit language against question language: DS of the edited model minus that of the suffix alone.

    Of the first editor whose models are asked with the suffix: DINM as its authors describe it does without.
    """
    made = []
    for setting in results.settings:
        for editor in results.against_suffix(setting)[:1]:
            asked, sources, name = _pairs(results, setting, editor)
            models = [(fonts.label(source), Model(name, source)) for source in sources]
            made += _spread(results, setting, judge, "DS_over_suffix", editor_words(editor), asked, models, None)
    return made


def _pairs(results: Results, setting: Setting, editor: str | None) -> tuple[list[str], list[str], str | None]:
    name = editor or results.main_editor(setting)
    asked, sources = results.asked_in(setting), results.edited_in(setting, name)
    crossed = any(
        source != code and results.get(setting, "DS", Model(name, source), code, "attack", judge)
        for judge in results.judges
        for source in sources
        for code in asked
    )
    return (asked, sources, name) if crossed else ([], [], name)


def _asked(results: Results, setting: Setting, model: Model, asked: Sequence[str], judge: str | None) -> Iterator[bool]:
    return (results.get(setting, "DS", model, code, "attack", judge) is not None for code in asked)


def _any(
    results: Results, setting: Setting, metric: str, model: Model, asked: Sequence[str], judge: str | None
) -> bool:
    return any(results.get(setting, metric, model, code, "attack", judge) for code in asked)


def _spread(
    results: Results,
    setting: Setting,
    judge: str | None,
    metric: str,
    words: str,
    asked: Sequence[str],
    models: Sequence[tuple[str, Model]],
    rule: int | None,
) -> list[Panel]:
    if not any(_any(results, setting, metric, model, asked, judge) for _, model in models[rule or 0 :]):
        return []
    lines: list[Line] = [
        (name, tuple(results.get(setting, metric, model, code, "attack", judge) for code in asked))
        for name, model in models
    ]
    title = ", ".join(filter(None, [setting_words(setting), words]))
    return _panels(title, metric, ("edited in", "asked in"), tuple(language_head(code) for code in asked), lines, rule)


def located(results: Results) -> list[Panel]:
    """Which layer was located how often, over all edits and by edit language."""
    made = []
    for setting in results.settings:
        rows = [row for row in results.rows if (row.variant, row.seed) == setting and row.metric == "located_layer"]
        rows = [row for row in rows if row.editor == results.main_editor(setting) or row.editor is None]
        if not rows:
            continue
        groups = sorted({row.group or "" for row in rows if row.value}, key=layer_number)
        found = {(row.source_language, row.group): row for row in rows}
        sources = sorted(
            {row.source_language for row in rows if row.source_language and row.source_language != "any"}, key=place
        )
        lines: list[Line] = [
            (
                "all edits" if source == "any" else fonts.label(source),
                tuple(found.get((source, group)) for group in groups),
            )
            for source in ("any", *sources)
            if any((source, group) in found for group in groups)
        ]
        heads = tuple(str(layer_number(group)) for group in groups)
        rule = 1 if len(lines) > 1 and lines[0][0] == "all edits" else None
        made += _panels(setting_words(setting), "located_layer", ("edited in", "layer, from 0"), heads, lines, rule)
    return made


def layer_number(group: str) -> int:
    """17 for ``layer 17``."""
    found = re.search(r"\d+", group)
    return int(found[0]) if found else -1


_CONTROL = ("before", "suffix only", "edited", "edited − before", "edited − suffix only")


def suffix_control(
    results: Results, judge: str | None, measured: Measured, pairs: str, other: str | None = None
) -> list[Panel]:
    """The unedited model asked with the suffix of the edited one, beside every number of the edited one.

    ``pairs``: "same" (edited and asked in one language), "from en", "into en", "other" (all further pairs), or "all".
    ``other`` names another editor than the main one.
    """
    metric, group = measured
    made = []
    for setting in results.settings:
        editor = other or results.main_editor(setting)
        lines: list[Line] = []
        for source in results.edited_in(setting, editor):
            for code in results.asked_in(setting):
                if not _wanted(pairs, source, code):
                    continue
                model = Model(editor, source)
                cells = (
                    results.get(setting, metric, UNEDITED, code, group, judge),
                    results.get(setting, metric, SUFFIX, code, group, judge),
                    results.get(setting, metric, model, code, group, judge),
                    results.get(setting, f"{metric}_change", model, code, group, judge),
                    results.get(setting, f"{metric}_over_suffix", model, code, group, judge),
                )
                if cells[2] is not None:
                    plain = {"same": code, "from en": code, "into en": source}.get(pairs)
                    name = fonts.label(plain) if plain else f"{fonts.label(source)} → {fonts.label(code)}"
                    lines.append((name, cells))
        corner = {"same": "edited and asked in", "from en": "asked in", "into en": "edited in"}.get(
            pairs, "edited → asked"
        )
        made += _panels(setting_words(setting), metric, (corner, ""), _CONTROL, lines)
    return made


def _wanted(pairs: str, source: str, code: str) -> bool:
    kind = "same" if source == code else "from en" if source == "en" else "into en" if code == "en" else "other"
    return pairs in (kind, "all")


def cost_tables(results: Results, judge: str | None) -> list[Panel]:
    """Side effects in numbers, editor by editor, asked in the language of the edit; of the main one also in English."""
    heads, columns = [], []
    for metric, group, _ in COSTS:
        base = metric.removesuffix("_change")
        short = {"over_refusal": "declines harmless", "degenerate_rate": "degenerate", "empty_rate": "empty"}.get(base)
        if short:
            heads += [f"{short}, before", "after"]
            columns += [(base, group, True), (base, group, False)]
            if base != "empty_rate":
                heads, columns = [*heads, "change"], [*columns, (f"{base}_change", group, False)]
        else:
            heads.append({"fluency": "fluency, change (bits)"}.get(base, "known answers, change (nats a token)"))
            columns.append((metric, group, False))
    made = []
    for setting in results.settings:
        main = results.main_editor(setting)
        for editor in results.editors(setting):
            lines: list[Line] = []
            for source in results.edited_in(setting, editor):
                for code in dict.fromkeys((source, "en") if editor == main else (source,)):
                    cells = tuple(
                        results.get(setting, metric, UNEDITED if first else Model(editor, source), code, group, judge)
                        for metric, group, first in columns
                    )
                    if any(cell for cell, (_, _, first) in zip(cells, columns, strict=True) if not first):
                        lines.append((f"{fonts.label(source)} → {fonts.label(code)}", cells))
            title = ", ".join(filter(None, [editor_words(editor), setting_words(setting)]))
            made += _panels(title, "over_refusal", ("edited → asked", ""), tuple(heads), lines)
    return made


def effort(results: Results, pooled: bool) -> list[Panel]:
    """What the edits themselves were: loss at the first and the last step, size of the change, seconds.

    ``pooled``: over all edit languages, else by edit language.
    """
    columns = [("edit_loss", "first"), ("edit_loss", "last"), ("edit_norm", None), ("edit_seconds", None)]
    heads = ("loss, first step", "loss, last step", "size of the change", "seconds an edit")
    made = []
    for setting in results.settings:
        lines: list[Line] = []
        for editor in results.editors(setting):
            for source in ("any",) if pooled else results.edited_in(setting, editor):
                cells = tuple(
                    results.get(setting, metric, Model(editor, source), None, group) for metric, group in columns
                )
                if any(cells):
                    name = editor_words(editor) if pooled else f"{editor_words(editor)}, {fonts.label(source)}"
                    lines.append((name, cells))
        made += _panels(
            setting_words(setting), "edit_loss", ("editor" if pooled else "editor, edited in", ""), heads, lines
        )
    return made


def chart_table(chart: Chart) -> Panel:
    """A panel of arrows or dots in numbers: a column a series, and the paired change beside arrows."""
    heads: list[str] = []
    columns: list[list[Row | None]] = []
    for series in chart.series:
        heads.append("before" if series.look == BEFORE else series.look.words)
        columns.append([series.rows.get(line) for line in chart.lines])
        if series.changes:
            heads.append("change")
            columns.append([series.changes.get(line) for line in chart.lines])
    cells = tuple(tuple(column[number] for column in columns) for number in range(len(chart.lines)))
    return Panel(chart.title, chart.metric, (chart.corner, ""), chart.names, tuple(heads), cells, chart.rule)


def _panels(
    title: str,
    metric: str,
    corner: tuple[str, str],
    heads: tuple[str, ...],
    lines: Sequence[Line],
    rule: int | None = None,
) -> list[Panel]:
    """The grid, without columns that nothing stands in; none if nothing is left."""
    kept = [x for x in range(len(heads)) if any(cells[x] for _, cells in lines)]
    if not kept:
        return []
    cells = tuple(tuple(line[x] for x in kept) for _, line in lines)
    names = tuple(name for name, _ in lines)
    return [Panel(title, metric, corner, names, tuple(heads[x] for x in kept), cells, rule)]
