"""Which rows the arrows and dots show: figures 2 to 9, the editors compared, and what an edit costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unteach.reports import fonts
from unteach.reports.paper_b.arrows import BEFORE, FROM_ENGLISH, FROM_OTHER, MONOLINGUAL, SUFFIX, Chart, Look, Series
from unteach.reports.paper_b.rows import SUFFIX as SUFFIX_MODEL
from unteach.reports.paper_b.rows import (
    SUFFIX_ONLY,
    UNEDITED,
    Model,
    Results,
    Setting,
    editor_words,
    is_fixed_layer,
    low_from,
    place,
    setting_words,
)
from unteach.reports.style import SERIES

Asked = Callable[[str], tuple[Model, str] | None]
"""For a line of a panel (a language): which model is asked, and in which language; ``None`` for an empty place."""

Measured = tuple[str, str]
"""A metric and the input it is about: ``("DG", "onlyQ")``."""

ATTACK: Measured = ("DS", "attack")

_KINDS = {"onlyQ": "question alone", "otherA": "other attack", "otherQ": "other question", "otherAQ": "both other"}

_EDITOR_LOOKS = {
    SUFFIX_ONLY: (SERIES[0], "D"),
    "dinm": (SERIES[1], "o"),
    "dinm layer -2": (SERIES[4], "s"),
    "dinm layer -1": (SERIES[5], "^"),
    "random_layer": (SERIES[7], "X"),
    "sft": (SERIES[3], "v"),
    "dpo": (SERIES[6], "P"),
}
_OTHER_LOOKS = ((SERIES[2], "<"), (SERIES[9], ">"), (SERIES[8], "h"), (SERIES[2], "*"))


def asked_unedited(code: str) -> tuple[Model, str]:
    """The model before editing."""
    return UNEDITED, code


def asked_with_suffix(code: str) -> tuple[Model, str]:
    """The unedited model asked as edited ones are."""
    return SUFFIX_MODEL, code


def monolingual(editor: str | None) -> Asked:
    """Edited and asked in the same language."""
    return lambda code: (Model(editor, code), code)


def from_english(editor: str | None, also_english: bool = False) -> Asked:
    """Edited in English, asked in another language."""
    return lambda code: (Model(editor, "en"), code) if also_english or code != "en" else None


def own_language(results: Results, judge: str | None, attack: bool = False) -> list[Chart]:
    """Edited and asked in the same language: DG as figure 6, with DS before it as figure 7."""
    return _change_charts(results, judge, (attack, True), lambda editor: [(MONOLINGUAL, monolingual(editor))])


def both_ways(results: Results, judge: str | None) -> list[Chart]:
    """Figure 2: edited in the question's language, and in English."""
    return _change_charts(
        results,
        judge,
        (True, False),
        lambda editor: [(MONOLINGUAL, monolingual(editor)), (FROM_ENGLISH, from_english(editor))],
    )


def across_languages(results: Results, judge: str | None, attack: bool = False) -> list[Chart]:
    """Edited in English, asked in the other languages: DG as figure 3, with DS before it as figure 8."""
    return _change_charts(
        results, judge, (attack, True), lambda editor: [(FROM_ENGLISH, from_english(editor))], ("en",)
    )


def into_english(results: Results, judge: str | None) -> list[Chart]:
    """Figures 4 and 9: edited in another language, asked in English; the English edit stands above for comparison."""
    charts = []
    for setting in results.settings:
        editor = results.main_editor(setting)
        codes = results.edited_in(setting, editor)
        for metric, group in [ATTACK, *(("DG", kind) for kind in results.kinds(setting))]:
            looks: list[tuple[Look, Asked]] = [
                (BEFORE, lambda code: (UNEDITED, "en")),
                (MONOLINGUAL, lambda code: (Model(editor, "en"), "en") if code == "en" else None),  # noqa: B023
                (FROM_OTHER, lambda code: (Model(editor, code), "en") if code != "en" else None),  # noqa: B023
                (SUFFIX, lambda code: (SUFFIX_MODEL, "en")),
            ]
            made = [_series(results, setting, look, (metric, group), judge, codes, of) for look, of in looks]
            chart = _chart(results, setting, (metric, group), codes, made, "edited in")
            if any(series.look == FROM_OTHER and series.rows for series in made):
                charts.append(chart)
    return charts


def layers(results: Results, judge: str | None) -> list[Chart]:
    """Figure 5: the located layer against fixed ones and one drawn by chance."""
    charts = []
    for setting in results.settings:
        located, editors = results.main_editor(setting), results.editors(setting)
        fixed = [name for name in editors if is_fixed_layer(name)]
        names = [name for name in editors if name in (located, *fixed, "random_layer")]
        for words, asked in (("edited in English", from_english), ("edited in the question's language", monolingual)):
            codes = results.asked_in(setting)
            made = [_series(results, setting, BEFORE, ATTACK, judge, codes, asked_unedited)]
            for name in names:
                of = from_english(name, also_english=True) if asked is from_english else monolingual(name)
                made.append(
                    _series(results, setting, editor_look(name, results.every_editor), ATTACK, judge, codes, of)
                )
            shown = [series for series in made if series.rows]
            if any(series.look == editor_look(name, results.every_editor) for series in shown for name in fixed):
                title = "\n".join(filter(None, [setting_words(setting), words]))
                charts.append(_chart(results, setting, ATTACK, codes, shown, title=title))
    return charts


def editors(results: Results, judge: str | None) -> list[Chart]:
    """Every way of editing, asked in the language of the edit; layers fixed by number are figure 5's."""
    charts = []
    for setting in results.settings:
        names = [name for name in results.editors(setting) if not is_fixed_layer(name)]
        codes = results.asked_in(setting)
        made = [
            _series(results, setting, BEFORE, ATTACK, judge, codes, asked_unedited),
            _series(results, setting, SUFFIX, ATTACK, judge, codes, asked_with_suffix),
            *(
                _series(results, setting, editor_look(n, results.every_editor), ATTACK, judge, codes, monolingual(n))
                for n in names
            ),
        ]
        shown = [series for series in made if series.rows]
        if len(shown) > 2:
            charts.append(_chart(results, setting, ATTACK, codes, shown, title=setting_words(setting)))
    return charts


COSTS: tuple[tuple[str, str, str], ...] = (
    ("over_refusal", "knowledge", "declines a\nharmless question"),
    ("degenerate_rate", "attack", "degenerate reply\nto the attack"),
    ("empty_rate", "attack", "empty reply\nto the attack"),
    ("knowledge_log_probability_change", "knowledge", "known answers:\nchange (nats a token)"),
    ("fluency_change", "attack", "fluency of replies:\nchange (bits)"),
)
"""What an edit may cost: metric, input, and what it says in words."""


def costs(results: Results, judge: str | None) -> list[Chart]:
    """Side effects of each editor, asked in the language of the edit."""
    charts = []
    for setting in results.settings:
        # Layers fixed by number would crowd the picture; the page has their numbers.
        names = [name for name in results.editors(setting) if not is_fixed_layer(name)]
        codes = sorted({c for name in names for c in results.edited_in(setting, name)}, key=place)
        for metric, group, words in COSTS:
            made = [
                _series(results, setting, BEFORE, (metric, group), judge, codes, asked_unedited),
                _series(results, setting, SUFFIX, (metric, group), judge, codes, asked_with_suffix),
                *(
                    _series(
                        results,
                        setting,
                        editor_look(n, results.every_editor),
                        (metric, group),
                        judge,
                        codes,
                        monolingual(n),
                    )
                    for n in names
                ),
            ]
            shown = [series for series in made if series.rows]
            if any(series.look not in (BEFORE, SUFFIX) for series in shown):
                title = "\n".join(filter(None, [setting_words(setting), words]))
                charts.append(_chart(results, setting, (metric, group), codes, shown, "edited and asked in", title))
    return charts


def editor_look(editor: str, everyone: Sequence[str] = ()) -> Look:
    """The same colour and marker for an editor in every figure; unusual ones take theirs by their place in a run."""
    if editor == SUFFIX_ONLY:
        return SUFFIX
    unusual = [name for name in everyone if name not in _EDITOR_LOOKS]
    number = unusual.index(editor) if editor in unusual else 0
    known = _EDITOR_LOOKS.get(editor) or _OTHER_LOOKS[number % len(_OTHER_LOOKS)]
    words = f"{editor_words(editor)}, located layer" if editor == "dinm" else editor_words(editor)
    return Look(words, *known)


def _change_charts(
    results: Results,
    judge: str | None,
    parts: tuple[bool, bool],
    edits: Callable[[str | None], list[tuple[Look, Asked]]],
    without: tuple[str, ...] = (),
) -> list[Chart]:
    """Before, after each of the edits, and with the suffix alone; ``parts``: whether DS is shown, and DG."""
    charts = []
    for setting in results.settings:
        editor = results.main_editor(setting)
        codes = [code for code in results.asked_in(setting) if code not in without]
        kinds = [("DG", kind) for kind in results.kinds(setting)]
        for metric, group in [ATTACK] * parts[0] + kinds * parts[1]:
            arrows = [_series(results, setting, look, (metric, group), judge, codes, of) for look, of in edits(editor)]
            made = [
                _series(results, setting, BEFORE, (metric, group), judge, codes, asked_unedited),
                *arrows,
                _series(results, setting, SUFFIX, (metric, group), judge, codes, asked_with_suffix),
            ]
            if any(series.rows for series in arrows):
                # A title that all panels share would say nothing.
                title = setting_words(setting) if not parts[1] else None
                charts.append(
                    _chart(results, setting, (metric, group), codes, [s for s in made if s.rows], title=title)
                )
    return charts


def _series(
    results: Results,
    setting: Setting,
    look: Look,
    measured: Measured,
    judge: str | None,
    codes: Sequence[str],
    of: Asked,
) -> Series:
    metric, group = measured
    rows, changes = {}, {}
    for code in codes:
        found = of(code)
        if found is None:
            continue
        row = results.get(setting, metric, *found, group, judge)
        if row is not None:
            rows[code] = row
            change = results.get(setting, f"{metric}_change", *found, group, judge)
            if change is not None and look.arrow:
                changes[code] = change
    return Series(look, rows, changes)


def _chart(
    results: Results,
    setting: Setting,
    measured: Measured,
    codes: Sequence[str],
    series: Sequence[Series],
    corner: str = "asked in",
    title: str | None = None,
) -> Chart:
    metric, group = measured
    if title is None:
        title = "\n".join(filter(None, [setting_words(setting), _measured_words(metric, group)]))
    shown = tuple(code for code in codes if any(code in s.rows for s in series if s.look not in (BEFORE, SUFFIX)))
    names = tuple(fonts.label(code) for code in shown)
    return Chart(
        title, metric, corner, shown, names, tuple(s for s in series if s.rows), low_from(shown) if shown else None
    )


def _measured_words(metric: str, group: str) -> str:
    return f"DG, {group} ({_KINDS.get(group, group)})" if metric == "DG" else "DS (attack)"
