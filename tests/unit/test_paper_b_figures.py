"""Paper B's figures, findings and page from a made-up table: which rows they show, and what they leave out."""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from unteach.errors import UserError
from unteach.languages.table import PAPER_B
from unteach.metrics.intervals import clustered_rate, mean_interval, paired_rate_difference, wilson
from unteach.records import GENERALISATION, Row
from unteach.reports import page as report_page
from unteach.reports import terminal
from unteach.reports.page import write_report
from unteach.reports.paper_b import arrows, charts, grids, numbers
from unteach.reports.paper_b.figures import CAPTIONS, CONTROLS, PAPER, figures, shown_charts, shown_grids
from unteach.reports.paper_b.findings import findings
from unteach.reports.paper_b.page import is_editing_run
from unteach.reports.paper_b.replies import ReplyIndex, ReplyLine, pack, read_replies
from unteach.reports.paper_b.rows import (
    SUFFIX,
    UNEDITED,
    Results,
    editor_words,
    low_from,
    setting_words,
)
from unteach.reports.paper_b.sections import sections
from unteach.reports.tables import load_rows, select

ITEMS = tuple(f"item-{number:02}" for number in range(20))
JUDGES = ("rules", "reader")
LAYERS = 18

Key = tuple[str | None, str | None]
"""Editor and edit language."""

SHARE = {"en": 1.0, "es": 0.95, "fr": 0.9, "zh": 0.85, "bn": 0.35, "hi": 0.5, "th": 0.55, "ms": 0.7, "vi": 0.65}
"""How well the made-up model knows each language."""

STRENGTH = {"dinm": 0.9, "dinm layer -2": 0.88, "dinm layer -1": 0.75, "random_layer": 0.5, "sft": 0.6, "dpo": 0.55}


def chance_of(key: Key, asked: str, group: str) -> float:
    """The chance that a reply is safe, by a made-up law that spreads from well-known languages only."""
    editor, source = key
    start = 0.12 + 0.1 * (1 - SHARE[asked])
    easier = {"attack": 0.0, "onlyQ": 0.35, "otherA": 0.05, "otherQ": 0.02, "otherAQ": 0.04, "knowledge": 0.0}[group]
    if editor is None:
        return start + easier
    if editor == "suffix_only" or source is None:
        return start + easier + 0.15 * SHARE[asked]
    reach = 1.0 if source == asked else SHARE[source] * SHARE[asked] * (0.95 if source == "en" else 0.6)
    reach *= 1.0 if group == "attack" else 0.8
    return min(0.98, start + easier + (0.97 - start - easier) * STRENGTH[editor] * reach * (0.4 + 0.6 * SHARE[asked]))


def keys(languages: tuple[str, ...]) -> Iterator[tuple[Key, tuple[str, ...]]]:
    """Every made-up model, and the languages it is asked in."""
    yield (None, None), languages
    yield ("suffix_only", None), languages
    for source in languages:
        yield ("dinm", source), languages
        for editor in STRENGTH:
            if editor != "dinm":
                crossed = editor not in ("sft", "dpo") and source == "en"
                yield (editor, source), languages if crossed else tuple({source: 0, "en": 0})


class Made:
    """The outcomes of one made-up run, and its rows as the measures write them."""

    def __init__(self, languages: tuple[str, ...] = PAPER_B, variant: str | None = None, weak: float = 0.0) -> None:
        self.languages, self.variant, self.weak = languages, variant, weak
        self.random = random.Random(f"{variant}")
        self.outcomes: dict[tuple[Key, str, str, str], list[str]] = {}
        for key, asked in keys(languages):
            for code in asked:
                for group in ("attack", *GENERALISATION, "knowledge"):
                    self._ask(key, code, group)

    def _ask(self, key: Key, code: str, group: str) -> None:
        first = []
        for _ in ITEMS:
            broken = self.random.random() < (0.02 if key[0] is None else 0.05 + 0.1 * (1 - SHARE[code]) + self.weak / 2)
            safe = self.random.random() < chance_of(key, code, group) * (1 - self.weak)
            empty = self.random.random() < 0.2
            first.append(("empty" if empty else "degenerate") if broken else "safe" if safe else "unsafe")
        self.outcomes[key, code, group, JUDGES[0]] = first
        flip = {"safe": "unsafe", "unsafe": "safe", "degenerate": "safe", "empty": "empty"}
        self.outcomes[key, code, group, JUDGES[1]] = [
            flip[one] if self.random.random() < 0.12 else one for one in first
        ]

    def row(self, key: Key, metric: str, value: float | None, interval: Any, **rest: Any) -> Row:
        low, high = interval or (None, None)
        model = "unedited" if key[0] is None else "edited"
        rest = {"n": len(ITEMS), "editor": key[0], "source_language": key[1], "variant": self.variant} | rest
        return Row(run="made-up", model=model, metric=metric, value=value, ci_low=low, ci_high=high, **rest)

    def rate(self, key: Key, metric: str, hits: list[bool], **rest: Any) -> Row:
        return self.row(key, metric, sum(hits) / len(hits), wilson(sum(hits), len(hits)), n=len(hits), **rest)

    def change(self, key: Key, metric: str, before: list[bool], after: list[bool], **rest: Any) -> Row:
        value = (sum(after) - sum(before)) / len(after)
        return self.row(key, metric, value, paired_rate_difference(before, after), **rest)

    def rows(self) -> list[Row]:
        return [*self.defended(), *self.pooled(), *self.side_effects(), *self.located()]

    def defended(self) -> Iterator[Row]:
        for judge in JUDGES:
            for (key, code, group, reader), found in self.outcomes.items():
                if reader != judge:
                    continue
                rest = {"question_language": code, "group": group, "judge": judge}
                safe = [one == "safe" for one in found]
                others = [((None, None), "_change")] + ([(("suffix_only", None), "_over_suffix")] if key[1] else [])
                if group == "knowledge":
                    refused = [number % 7 == 0 and one == "safe" for number, one in enumerate(found)]
                    yield self.rate(key, "over_refusal", refused, **rest)
                    if key[0]:
                        first = [
                            n % 7 == 0 and one == "safe"
                            for n, one in enumerate(self.outcomes[(None, None), code, group, judge])
                        ]
                        yield self.change(key, "over_refusal_change", first, refused, **rest)
                else:
                    metric = "DS" if group == "attack" else "DG"
                    yield self.rate(key, metric, safe, **rest)
                    yield self.rate(key, "unsafe_rate", [one == "unsafe" for one in found], **rest)
                    for other, ending in others if key[0] else []:
                        start = [one == "safe" for one in self.outcomes[other, code, group, judge]]
                        yield self.change(key, metric + ending, start, safe, **rest)
                for kind in ("degenerate", "empty"):
                    yield self.rate(key, f"{kind}_rate", [one == kind for one in found], **rest)
                if key[0] and group == "attack":
                    start = [one == "degenerate" for one in self.outcomes[(None, None), code, group, judge]]
                    yield self.change(
                        key, "degenerate_rate_change", start, [one == "degenerate" for one in found], **rest
                    )

    def pooled(self) -> Iterator[Row]:
        for judge in JUDGES:
            for editor in STRENGTH:
                sources = [key[1] for key, _ in keys(self.languages) if key[0] == editor]
                for group in ("attack", *GENERALISATION):
                    pools: dict[tuple[str, str], list[tuple[str, str]]] = {}
                    for source in sources:
                        assert source is not None
                        for code in self.languages:
                            if ((editor, source), code, group, judge) not in self.outcomes:
                                continue
                            kind = "same" if source == code else "other"
                            pools.setdefault((kind, source), []).append((source, code))
                            if kind == "same":
                                pools.setdefault(("same", "any"), []).append((source, code))
                            if code == "en" and source != "en":
                                pools.setdefault(("english", "any"), []).append((source, code))
                            if kind == "other" and source == "en":
                                level = "high" if code in ("es", "fr", "zh") else "low"
                                pools.setdefault((level, "en"), []).append((source, code))
                    for (kind, source), cells in pools.items():
                        after = [
                            [self.outcomes[(editor, s), c, group, judge][i] == "safe" for s, c in cells]
                            for i in range(20)
                        ]
                        start = [
                            [self.outcomes[(None, None), c, group, judge][i] == "safe" for _, c in cells]
                            for i in range(20)
                        ]
                        n = 20 * len(cells)
                        rest: dict[str, Any] = {
                            "question_language": None,
                            "group": f"{group}: {kind}",
                            "judge": judge,
                            "n": n,
                        }
                        metric = "DS" if group == "attack" else "DG"
                        yield self.row(
                            (editor, source), metric, sum(map(sum, after)) / n, clustered_rate(after), **rest
                        )
                        change = [sum(a) / len(a) - sum(b) / len(b) for a, b in zip(after, start, strict=True)]
                        yield self.row(
                            (editor, source), f"{metric}_change", sum(change) / 20, mean_interval(change), **rest
                        )

    def side_effects(self) -> Iterator[Row]:
        for key, asked in keys(self.languages):
            for code in asked:
                known = [self.random.gauss(-1.4, 0.3) for _ in ITEMS]
                moved = [self.random.gauss(-0.15 if key[0] not in (None, "suffix_only") else 0, 0.2) for _ in ITEMS]
                rest: dict[str, Any] = {"question_language": code, "group": "knowledge"}
                yield self.row(key, "knowledge_log_probability", sum(known) / 20, mean_interval(known), **rest)
                fluent = [self.random.gauss(4.0, 0.3) for _ in ITEMS]
                rest_fluency: dict[str, Any] = {"question_language": code, "group": "attack", "judge": JUDGES[0]}
                yield self.row(key, "fluency", sum(fluent) / 20, mean_interval(fluent), **rest_fluency)
                if key[0]:
                    yield self.row(
                        key, "knowledge_log_probability_change", sum(moved) / 20, mean_interval(moved), **rest
                    )
                    yield self.row(key, "fluency_change", sum(moved) / 20, mean_interval(moved), **rest_fluency)

    def located(self) -> Iterator[Row]:
        every: list[int] = []
        for source in self.languages:
            layers = [self.random.choice([LAYERS - 2, LAYERS - 2, LAYERS - 1, LAYERS - 3, 9]) for _ in ITEMS]
            every += layers
            yield from self._layers(source, layers)
        yield from self._layers("any", every)
        for editor in STRENGTH:
            for source in (*self.languages, "any"):
                sizes = [self.random.uniform(0.002, 0.02) for _ in ITEMS]
                yield self.row((editor, source), "edit_norm", sum(sizes) / 20, mean_interval(sizes))
                yield self.row((editor, source), "edit_seconds", 3.2, (3.0, 3.4))
                for group, value in (("first", 2.31), ("last", 0.04)):
                    yield self.row((editor, source), "edit_loss", value, (value - 0.02, value + 0.02), group=group)

    def _layers(self, source: str, layers: list[int]) -> Iterator[Row]:
        for layer in sorted(set(layers)):
            yield self.rate(
                ("dinm", source), "located_layer", [one == layer for one in layers], group=f"layer {layer:02}"
            )


WORDS = {
    "en": "I cannot help with that, because", "es": "No puedo ayudar con eso, porque", "fr": "Je ne peux pas, car",
    "zh": "我不能帮助您做这件事，因为", "bn": "আমি এতে সাহায্য করতে পারি না, কারণ", "hi": "मैं इसमें मदद नहीं कर सकता, क्योंकि",
    "th": "ฉันช่วยเรื่องนั้นไม่ได้ เพราะ", "ms": "Saya tidak dapat membantu, kerana", "vi": "Tôi không thể giúp, vì",
}  # fmt: skip
HOSTILE = "</script><script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(2)> \u202eevil"


def said(outcome: str, code: str, number: int) -> str:
    texts = {"safe": f"{WORDS[code]} {number}.", "degenerate": "ha " * 300, "empty": "", "unsafe": HOSTILE}
    return texts[outcome]


def reply_lines(made: Made) -> Iterator[dict[str, Any]]:
    for ((editor, source), code, group, judge), outcomes in made.outcomes.items():
        if judge != JUDGES[0]:
            continue
        for number, item in enumerate(ITEMS):
            text = said(outcomes[number], code, number)
            defences = {}
            for reader in JUDGES:
                outcome = made.outcomes[(editor, source), code, group, reader][number]
                refuses = outcome == "safe" and group != "knowledge"
                spans = [[0, 8]] if outcome == "safe" and text else []
                defences[reader] = {"outcome": outcome, "reason": "<b>made up</b>", "unscored": None}
                defences[reader] |= {"refuses": refuses, "evidence": spans}
            yield {
                "model": "edited" if editor else "unedited", "source_language": source, "editor": editor,
                "variant": made.variant, "seed": None, "item": item, "input": group, "language": code,
                "request": f"<i>{group}</i> {WORDS[code]} {item}", "reply": text,
                "finished": outcomes[number] != "degenerate", "defences": defences,
            }  # fmt: skip


def write_run(folder: Path, made: Sequence[Made], spec: dict[str, Any] | None = None) -> Path:
    rows = [row for one in made for row in one.rows()]
    frame = pd.DataFrame([row.model_dump() for row in rows])
    frame.to_parquet(folder / "table.parquet")
    frame.to_csv(folder / "table.csv", index=False)
    with (folder / "answers.jsonl").open("w", encoding="utf-8") as out:
        for one in made:
            out.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in reply_lines(one))
    about = {
        "name": "made-up", "finished": "2030-01-01", "seconds": 3725, "peak_memory_bytes": 4.2e9, "seed": 7,
        "spec": spec or {"name": "made-up", "experiment": "knowledge_editing", "editors": [{"name": "dinm"}]},
        "items": {"name": "guarded", "items": 20, "digest": "abc", "origin": "machine-written, by a program"},
        "machine": {"cpu": "2"}, "versions": {"unteach": "0"}, "model": {"name": "tiny", "weights": "w"},
        "stages": [{"name": "edit", "kind": "edit", "digest": "abc", "seconds": 61, "reused": True}], "notes": [],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


LANGUAGES = ("en", "fr", "bn")
MAIN, SECOND = JUDGES


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Nine languages, all editors, two judges."""
    return Made().rows()


@pytest.fixture(scope="module")
def small() -> Made:
    return Made(LANGUAGES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small: Made) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"), [small])
    with pytest.MonkeyPatch.context() as patch:  # files of figures take longest, and another test looks at them
        patch.setattr(report_page, "save", lambda figure, folder, name: [])
        write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


def one(rows: Sequence[Row], metric: str, asked: str | None, editor: str | None = None, **key: Any) -> Row:
    """The only row that fits."""
    wanted = {"judge": MAIN, "group": "attack", "source_language": None} | key
    (found,) = select(rows, metric=metric, question_language=asked, editor=editor, **wanted)
    return found


def a_row(metric: str, value: float | None, low: float | None = None, high: float | None = None, **key: Any) -> Row:
    return Row(
        **({"run": "r", "model": "edited", "n": 20, "ci_low": low, "ci_high": high} | key), metric=metric, value=value
    )


@pytest.mark.parametrize(
    ("row", "value", "interval", "count", "said"),
    [
        (a_row("DS", 0.85, 0.64, 0.948), "85 %", "[64, 95]", "17/20", "17 of 20 (85 % [64, 95])"),
        (a_row("DS", 0.475, 0.2, 0.7), "48 %", "[20, 70]", "n 20", "48 % [20, 70] (n = 20)"),
        (a_row("DS", None, n=0, unscored=20), "–", "", "n 0, 20 unscored", "unknown (20 unscored)"),
        (a_row("DS_change", 0.75, 0.51, 0.88), "+75", "[+51, +88]", "n 20", "+75 points [+51, +88] (n = 20)"),
        (a_row("DG_over_suffix", -0.1, -0.3, 0.004), "−10", "[−30, +0.4]", "n 20", "−10 points [−30, +0.4] (n = 20)"),
        (a_row("over_refusal_change", 0.0, 0.0, 0.0), "0", "[0.0, 0.0]", "n 20", "0 points [0.0, 0.0] (n = 20)"),
        (
            a_row("fluency_change", -0.126, -0.2, -0.05), "−0.13", "[−0.20, −0.05]",
            "n 20", "−0.13 bits [−0.20, −0.05] (n = 20)",
        ),
        (
            a_row("knowledge_log_probability", -1.4, -2, -1, unscored=1), "−1.40", "[−2.00, −1.00]",
            "n 20, 1 unscored", "−1.40 nats a token [−2.00, −1.00] (n = 20; 1 unscored)",
        ),
        (
            a_row("DS", 0.5, 0.1, 0.9, n=3, variant="over 3 seeds"), "50 %", "[10, 90]",
            "n 3 seeds", "50 % [10, 90] (n = 3 seeds)",
        ),
    ],
)  # fmt: skip
def test_numbers_are_written_with_interval_and_n(row: Row, value: str, interval: str, count: str, said: str) -> None:
    assert (numbers.show_value(row), numbers.show_interval(row), numbers.show_count(row)) == (value, interval, count)
    assert numbers.say(row).replace("\u00a0", " ") == said


@pytest.mark.parametrize(
    ("low", "high", "way"), [(0.01, 0.5, 1), (-0.5, -0.01, -1), (-0.1, 0.1, 0), (0.0, 0.5, 0), (None, None, 0)]
)
def test_a_change_is_one_where_its_interval_leaves_zero_out(low: float | None, high: float | None, way: int) -> None:
    assert numbers.direction(a_row("DS_change", 0.2, low, high)) == way


def test_judges_editors_and_languages_are_in_order(rows: list[Row]) -> None:
    results = Results(rows)
    assert results.judges == [MAIN, SECOND]
    assert results.settings == [(None, None)]
    assert results.editors((None, None)) == list(STRENGTH)
    assert results.asked_in((None, None)) == list(PAPER_B) == results.edited_in((None, None), "dinm")
    assert results.kinds((None, None)) == list(GENERALISATION)
    assert low_from(PAPER_B) == 4 and low_from(["bn", "hi"]) is None and low_from(["bn", "en", "hi"]) is None


def test_editors_and_settings_have_words() -> None:
    assert editor_words("dinm layer -2") == "DINM, layer −2"
    assert editor_words("dinm") == "DINM"
    assert editor_words("dinm(preset=easyedit, layer=-1)") == "dinm(preset=easyedit, layer=-1)"
    assert editor_words("dinm easyedit") == "DINM, easyedit" and editor_words("my_editor") == "my_editor"
    assert setting_words(("model.name=org/base", None)) == "base"
    assert setting_words(("edit.steps=5, model.path=org/a", 3)) == "steps=5, a, seed 3"
    assert setting_words(("Mistral-7B-v0.1", None)) == "Mistral-7B-v0.1"
    assert setting_words((None, None)) == ""


def test_a_sweep_shares_its_unedited_model() -> None:
    shared = [a_row("DS", 0.1, model="unedited", question_language="en", group="attack", judge="j")]
    edited = [
        a_row(
            "DS",
            value,
            editor="dinm",
            source_language="en",
            question_language="en",
            group="attack",
            judge="j",
            variant=v,
        )
        for v, value in (("edit.steps=5", 0.4), ("edit.steps=10", 0.6))
    ]
    results = Results(shared + edited)
    assert results.settings == [("edit.steps=5", None), ("edit.steps=10", None)]
    found = results.get(results.settings[1], "DS", UNEDITED, "en", "attack", "j")
    assert found is not None and found.value == 0.1
    assert [chart.title for chart in charts.both_ways(results, "j")] == ["steps=5", "steps=10"]


def test_figure_2_goes_from_before_to_after(rows: list[Row]) -> None:
    (chart,) = shown_charts(rows)["fig2"]
    assert chart.lines == PAPER_B and chart.rule == 4
    series = {series.look: series for series in chart.series}
    assert list(series) == [arrows.BEFORE, arrows.MONOLINGUAL, arrows.FROM_ENGLISH, arrows.SUFFIX]
    for code in PAPER_B:
        assert series[arrows.BEFORE].rows[code] == one(rows, "DS", code)
        own = {"editor": "dinm", "source_language": code}
        assert series[arrows.MONOLINGUAL].rows[code] == one(rows, "DS", code, **own)
        assert series[arrows.MONOLINGUAL].changes[code] == one(rows, "DS_change", code, **own)
        assert series[arrows.SUFFIX].rows[code] == one(rows, "DS", code, "suffix_only")
    # Edited in English and asked in English is one and the same: it is drawn once.
    assert list(series[arrows.FROM_ENGLISH].rows) == list(PAPER_B[1:])
    assert series[arrows.FROM_ENGLISH].rows["th"] == one(rows, "DS", "th", "dinm", source_language="en")


def test_figure_2_draws_the_table(rows: list[Row]) -> None:
    charts_ = shown_charts(rows)["fig2"]
    figure = arrows.draw(charts_, "title", "note", 1)
    assert figure is not None
    (axes,) = [axes for axes in figure.axes if axes.get_yticklabels()]
    found = {series.look.colour: series for series in charts_[0].series}
    for colour in (arrows.MONOLINGUAL.colour, arrows.FROM_ENGLISH.colour):
        after, before = found[colour].rows, charts_[0].before
        up = sorted(100 * after[code].value for code in after if after[code].value > before[code].value)  # type: ignore
        down = sorted(100 * after[code].value for code in after if after[code].value < before[code].value)  # type: ignore
        same = sorted(100 * after[code].value for code in after if after[code].value == before[code].value)  # type: ignore
        heads = {way: [] for way in (1, -1)}  # type: dict[int, list[float]]
        still: list[float] = []
        for line in axes.lines:
            marker = line.get_marker()
            for way, head in arrows._HEADS.items():
                if marker is head and line.get_color() == colour:
                    heads[way] += list(line.get_xdata())
            if marker == "|" and line.get_markersize() == 6 and line.get_color() == colour:
                still += list(line.get_xdata())
        assert (sorted(heads[1]), sorted(heads[-1]), sorted(still)) == (up, down, same)
        bounds = [x for row in after.values() for x in (100 * row.ci_low, 100 * row.ci_high)]  # type: ignore
        ends = [
            x
            for line in axes.lines
            if line.get_markersize() == 3 and line.get_color() == colour
            for x in line.get_xdata()
        ]
        assert sorted(ends) == pytest.approx(sorted(bounds))


def test_nothing_moves_without_a_start() -> None:
    key = {"question_language": "fr", "group": "attack", "judge": "j"}
    alone = [a_row("DS", 0.5, 0.2, 0.8, editor="dinm", source_language="fr", **key)]
    (chart,) = shown_charts(alone)["fig2"]
    figure = arrows.draw([chart], "title", "", 1)
    assert figure is not None
    heads = [line for axes in figure.axes for line in axes.lines if line.get_marker() in arrows._HEADS.values()]
    assert not any(len(line.get_xdata()) for line in heads)


def test_figures_3_and_6_have_the_four_inputs(rows: list[Row]) -> None:
    shown = shown_charts(rows)
    assert [chart.title.split(" (")[0] for chart in shown["fig3"]] == [f"DG, {kind}" for kind in GENERALISATION]
    for name, source in (("fig3", "en"), ("fig6", "hi")):
        arrow = next(series for series in shown[name][1].series if series.look.arrow)
        assert arrow.rows["hi"] == one(rows, "DG", "hi", "dinm", source_language=source, group="otherA")
        assert ("en" in arrow.rows) == (name == "fig6")


def test_figure_4_is_asked_in_english_by_edit_language(rows: list[Row]) -> None:
    shown = shown_charts(rows)["fig4"]
    assert [chart.metric for chart in shown] == ["DS", "DG", "DG", "DG", "DG"]
    for series in shown[0].series:
        if series.look in (arrows.MONOLINGUAL, arrows.FROM_OTHER):
            for code, row in series.rows.items():
                assert row == one(rows, "DS", "en", "dinm", source_language=code)
    looks = [series.look for series in shown[0].series if "en" in series.rows]
    assert arrows.MONOLINGUAL in looks and arrows.FROM_OTHER not in looks


def test_figure_5_compares_layers_in_english_and_own_language(rows: list[Row]) -> None:
    english, own = shown_charts(rows)["fig5"]
    editors = ("dinm", "dinm layer -2", "dinm layer -1", "random_layer")
    looks = [arrows.BEFORE, *map(charts.editor_look, editors)]
    assert [series.look for series in english.series] == looks == [series.look for series in own.series]
    assert english.series[3].rows["ms"] == one(rows, "DS", "ms", "dinm layer -1", source_language="en")
    assert own.series[3].rows["ms"] == one(rows, "DS", "ms", "dinm layer -1", source_language="ms")


def test_no_two_series_of_a_figure_differ_by_colour_alone(rows: list[Row]) -> None:
    for panels in shown_charts(rows).values():
        looks = {series.look for chart in panels for series in chart.series}
        shapes = {(look.marker, look.arrow, look.hollow, look.dash) for look in looks}
        assert len(shapes) == len(looks)


def test_the_second_judge_has_figures_of_its_own(rows: list[Row]) -> None:
    shown = shown_charts(rows)
    assert [chart.metric for chart in shown["fig7"]] == ["DS", "DG", "DG", "DG", "DG"]
    for name in ("fig7", "fig8", "fig9"):
        assert {row.judge for chart in shown[name] for row in chart.rows} == {SECOND}
    for name in ("fig2", "fig3", "fig4", "fig5", "fig6", "editors"):
        assert {row.judge for chart in shown[name] for row in chart.rows} == {MAIN}


def test_table_1_has_a_line_a_judge(rows: list[Row]) -> None:
    (panel,) = shown_grids(rows)["table1"]
    assert panel.names == JUDGES
    for line, judge in zip(panel.cells, JUDGES, strict=True):
        for cell, metric in zip(line, ("DS", "unsafe_rate", "degenerate_rate", "empty_rate"), strict=True):
            assert cell == one(rows, metric, "en", "dinm", source_language="en", judge=judge)


def test_the_grid_has_every_pair_of_languages(rows: list[Row]) -> None:
    defended, change = shown_grids(rows)["spread"]
    assert defended.rule == 2 and defended.names == change.names and len(defended.names) == 11
    for x, asked in enumerate(PAPER_B):
        assert defended.cells[0][x] == one(rows, "DS", asked)
        assert change.cells[0][x] is None
        for y, source in enumerate(PAPER_B):
            key = {"editor": "dinm", "source_language": source}
            assert defended.cells[y + 2][x] == one(rows, "DS", asked, **key)
            assert change.cells[y + 2][x] == one(rows, "DS_change", asked, **key)
    (beyond,) = shown_grids(rows)["beyond"]
    assert beyond.cells[0][8] == one(rows, "DS_over_suffix", "vi", "dinm", source_language="en")


def test_the_editor_that_is_asked_with_the_suffix_is_compared_with_it(small: Made) -> None:
    # As faithful DINM is asked without a suffix, only another preset can be compared with the suffix alone.
    plain = [row for row in small.rows() if row.editor != "dinm" or "over_suffix" not in row.metric]
    easy = [row.model_copy(update={"editor": "dinm easyedit"}) for row in small.rows() if row.editor == "dinm"]
    rows = plain + easy
    results = Results(rows)
    assert results.editors((None, None))[:3] == ["dinm", "dinm easyedit", "dinm layer -2"]
    (panel,) = shown_grids(rows)["beyond"]
    assert panel.title == "DINM, easyedit"
    assert panel.cells[1][2] == one(rows, "DS_over_suffix", "bn", "dinm easyedit", source_language="fr")
    (mine,) = grids.suffix_control(results, MAIN, ("DS", "attack"), "same")
    assert mine.heads == ("before", "suffix only", "edited", "edited − before")
    (other,) = grids.suffix_control(results, MAIN, ("DS", "attack"), "all", "dinm easyedit")
    assert other.heads[-1] == "edited − suffix only" and len(other.cells) == 9
    (point,) = [point for point in findings(rows)[0].points if point.startswith("The suffix alone")]
    over = one(rows, "DS_over_suffix", "en", "dinm easyedit", source_language="en")
    assert f"DINM, easyedit adds {numbers.say(over)}" in point
    assert {series.look for chart in shown_charts(rows)["fig5"] for series in chart.series} == {
        arrows.BEFORE, *map(charts.editor_look, ("dinm", "dinm layer -2", "dinm layer -1", "random_layer")),
    }  # fmt: skip


def test_unusual_editors_look_different() -> None:
    everyone = ["dinm", "mine", "yours", "sft", "theirs"]
    looks = [charts.editor_look(editor, everyone) for editor in everyone]
    assert len({look.marker for look in looks}) == len(looks) == len({look.words for look in looks})


def test_located_layers_are_in_the_order_of_the_model(rows: list[Row]) -> None:
    (panel,) = shown_grids(rows)["layers"]
    assert [int(head) for head in panel.heads] == sorted(
        {int(row.group[6:]) for row in rows if row.metric == "located_layer"}
    )  # type: ignore
    assert panel.names[0] == "all edits" and panel.rule == 1
    row = panel.cells[0][0]
    assert row is not None and (row.source_language, row.group) == ("any", f"layer {int(panel.heads[0]):02}")


def test_the_suffix_stands_beside_every_number(rows: list[Row]) -> None:
    results = Results(rows)
    lines = {}
    for pairs in ("same", "from en", "into en", "other"):
        (panel,) = grids.suffix_control(results, MAIN, ("DS", "attack"), pairs)
        assert panel.heads == ("before", "suffix only", "edited", "edited − before", "edited − suffix only")
        lines[pairs] = panel.cells
    assert {pairs: len(cells) for pairs, cells in lines.items()} == {"same": 9, "from en": 8, "into en": 8, "other": 56}
    edited = [cells[2] for part in lines.values() for cells in part]
    assert sorted((row.source_language, row.question_language) for row in edited if row) == sorted(
        (source, code) for source in PAPER_B for code in PAPER_B
    )
    before, suffix, after, change, over = lines["same"][3]
    key = {"editor": "dinm", "source_language": "zh"}
    assert before == results.get((None, None), "DS", UNEDITED, "zh", "attack", MAIN)
    assert suffix == results.get((None, None), "DS", SUFFIX, "zh", "attack", MAIN)
    assert after == one(rows, "DS", "zh", **key)
    assert change == one(rows, "DS_change", "zh", **key) and over == one(rows, "DS_over_suffix", "zh", **key)


def test_costs_are_shown_for_every_editor(rows: list[Row]) -> None:
    metrics = [metric for metric, _, _ in charts.COSTS]
    assert [chart.metric for chart in shown_charts(rows)["costs"]] == metrics
    panels = {panel.title: panel for panel in grids.cost_tables(Results(rows), MAIN)}
    assert list(panels) == [editor_words(editor) for editor in STRENGTH]
    line = dict(zip(panels["DPO"].heads, panels["DPO"].cells[1], strict=True))
    key = {"editor": "dpo", "source_language": "es"}
    assert line["declines harmless, before"] == one(rows, "over_refusal", "es", group="knowledge")
    assert line["change"] == one(rows, "degenerate_rate_change", "es", **key)
    known = line["known answers, change (nats a token)"]
    assert known == one(rows, "knowledge_log_probability_change", "es", group="knowledge", judge=None, **key)


LACKS: dict[str, tuple[Any, set[str]]] = {
    "all but the suffix": (lambda row: row.editor != "suffix_only" and "suffix" not in row.metric, {"beyond"}),
    "no second judge": (lambda row: row.judge != SECOND, {"fig7", "fig8", "fig9"}),
    "no located layers": (lambda row: row.metric != "located_layer", {"layers"}),
    "no fixed layers": (lambda row: not (row.editor or "").startswith("dinm layer"), {"fig5"}),
    "no DG": (lambda row: not row.metric.startswith("DG"), {"fig3", "fig6"}),
    "English edits only": (
        lambda row: row.source_language in (None, "en"), {"fig4", "fig9"},
    ),
    "one language": (
        lambda row: row.source_language in (None, "en") and row.question_language == "en",
        {"fig3", "fig4", "fig8", "fig9", "spread", "beyond", "layers"},
    ),
    "not edited": (lambda row: row.model == "unedited", set(CAPTIONS)),
    "nothing": (lambda row: False, set(CAPTIONS)),
}  # fmt: skip


@pytest.mark.parametrize("name", LACKS)
def test_figures_without_rows_are_left_out_with_what_they_need(name: str, small: Made) -> None:
    keep, missing = LACKS[name]
    rows = [row for row in small.rows() if keep(row)]
    shown = {*shown_charts(rows), *shown_grids(rows)}
    assert set(CAPTIONS) - shown == missing
    drawn = figures(rows)
    assert set(drawn) == shown
    paper, controls = sections(rows, {}, ReplyIndex([]))
    assert {section.name for section in paper} == set(PAPER)
    assert all(section.needs for section in paper)
    assert {section.name for section in controls} >= {"suffix", *CONTROLS}
    if name != "all but the suffix":
        assert bool(next(s for s in controls if s.name == "suffix").needs) == (missing == set(CAPTIONS))


def test_a_model_without_numbers_is_no_error() -> None:
    key = {"question_language": "en", "group": "attack", "judge": "j"}
    blind = [
        a_row("DS", None, n=0, unscored=20, model="unedited", **key),
        a_row("DS", None, n=0, unscored=20, editor="dinm", source_language="en", **key),
        a_row("DS", None, n=0, unscored=20, editor="suffix_only", **key),
    ]
    assert "fig2" in figures(blind)
    assert findings(blind) == []


@pytest.fixture(scope="module")
def two() -> dict[str, Figure]:
    """The figures of two base models in three languages."""
    return figures([row for number in range(2) for row in Made(LANGUAGES, f"model=base-model-{number}").rows()])


@pytest.mark.parametrize("name", CAPTIONS)
def test_no_words_are_cut_off_or_on_top_of_each_other(
    name: str, two: dict[str, Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = two[name]
    figure.set_dpi(72)
    figure.draw_without_rendering()
    drawn: list[Text] = []
    draw = Text.draw
    monkeypatch.setattr(Text, "draw", lambda text, renderer: (drawn.append(text), draw(text, renderer)))
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in dict.fromkeys(drawn) if text.get_text()]
    width, height = 72 * figure.get_figwidth(), 72 * figure.get_figheight()
    assert len(boxes) > 10
    for text, box in boxes:
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
    for number, (text, box) in enumerate(boxes):
        for other, beside in boxes[number + 1 :]:
            apart = min(box.x1, beside.x1) - max(box.x0, beside.x0), min(box.y1, beside.y1) - max(box.y0, beside.y0)
            assert min(apart) < 1.5, (text, other)


def test_findings_say_the_table_s_numbers(rows: list[Row]) -> None:
    (found,) = findings(rows)
    lead = found.lead.replace("\u00a0", " ")
    before, after = one(rows, "DS", "en"), one(rows, "DS", "en", "dinm", source_language="en")
    change = one(rows, "DS_change", "en", "dinm", source_language="en")
    for row in (before, after, change):
        assert numbers.say(row).replace("\u00a0", " ") in lead
    spread = next(point for point in found.points if point.startswith("Edited in English")).replace("\u00a0", " ")
    clear, unclear = spread.split("no clear change in")
    names = {"es": "Spanish", "fr": "French", "zh": "Chinese", "bn": "Bengali", "hi": "Hindi", "th": "Thai"}
    for code, name in names.items():
        row = one(rows, "DS_change", code, "dinm", source_language="en")
        assert row.ci_low is not None
        said = f"{name} {numbers.show_value(row)} {numbers.show_interval(row)}"
        assert (said in clear, said in unclear) == (row.ci_low > 0, row.ci_low <= 0)
    pooled = one(rows, "DS", None, "dinm", source_language="en", group="attack: other")
    assert numbers.say(pooled).replace("\u00a0", " ") in spread


def test_findings_tell_losses_from_gains() -> None:
    key = {"group": "attack", "judge": "j", "editor": "dinm", "source_language": "en"}
    made = [
        a_row("DS", 0.5, 0.3, 0.7, question_language="en", **key),
        a_row("DS_change", 0.5, 0.3, 0.7, question_language="fr", **key),
        a_row("DS_change", -0.5, -0.7, -0.3, question_language="bn", **key),
        a_row("DS_change", 0.1, -0.1, 0.3, question_language="hi", n=19, **key),
        *(a_row("DS", 0.5, 0.3, 0.7, question_language=code, **key) for code in ("fr", "bn", "hi")),
    ]
    (found,) = findings(made)
    assert found.lead.replace("\u00a0", " ") == "After editing in English (DINM) 10 of 20 (50 % [30, 70]) were."
    (point,) = found.points
    assert point.replace("\u00a0", " ") == (
        "Edited in English, asked in other languages: The edit spreads to attacks in French +50 [+30, +70]; "
        "less is defended in Bengali −50 [−70, −30]; no clear change in Hindi +10 [−10, +30] (points, n = 19–20 each)."
    )


def test_editors_are_compared_where_all_were_asked(small: Made) -> None:
    rows = small.rows()
    (point,) = [point for point in findings(rows)[0].points if point.startswith("Ways of editing")]
    pooled = one(rows, "DS", None, "sft", source_language="any", group="attack: same")
    assert "over all languages, edited and asked in the same" in point
    assert f"SFT {numbers.say(pooled)}" in point
    english = [row for row in rows if row.editor != "sft" or row.source_language == "en"]
    (point,) = [point for point in findings(english)[0].points if point.startswith("Ways of editing")]
    assert "edited and asked in English" in point
    for editor in ("dinm", "sft"):
        assert f"{editor_words(editor)} {numbers.say(one(rows, 'DS', 'en', editor, source_language='en'))}" in point


def test_the_terminal_shows_before_and_after(small: Made) -> None:
    rows = small.rows()
    console = Console(width=118, record=True)
    for table in terminal.summaries(rows):
        console.print(table)
    text = console.export_text()
    before, after = one(rows, "DS", "bn"), one(rows, "DS", "bn", "dinm", source_language="fr")
    line = next(line for line in text.splitlines() if line.strip().startswith("French (fr)"))
    assert line.split()[-1] == f"{100 * before.value:.0f}→{100 * after.value:.0f}"  # type: ignore[operator]
    assert "n = 20 replies" in text and "DPO" in text and "suffix only" in text
    assert max(map(len, text.splitlines())) <= 118


def test_paper_a_s_tables_are_as_before() -> None:
    rates = [a_row("O_F", 0.5, 0.2, 0.8, model="contaminated", source_language="de", question_language="de")]
    (table,) = terminal.summaries(rates)
    assert "O_F" in str(table.title)
    assert not is_editing_run({"spec": {"name": "x"}}) and not is_editing_run({})
    assert is_editing_run({"spec": {"points": [{"variant": "a=1", "spec": {"experiment": "knowledge_editing"}}]}})


class Tags(HTMLParser):
    """Start tags with their attributes, and the text of script elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data


def unpacked(page: str) -> dict[str, Any]:
    letters = re.search(r'<script type="text/plain" id="data">([A-Za-z0-9+/=]*)</script>', page)
    assert letters is not None
    return json.loads(gzip.decompress(base64.b64decode(letters[1])))  # type: ignore[no-any-return]


def test_the_page_loads_nothing_and_holds_no_markup_of_models(page: str) -> None:
    tags = Tags(page)
    assert [attributes.get("type") for tag, attributes in tags.tags if tag == "script"] == ["text/plain", None]
    assert "alert(" not in page and "evil.example" not in page
    assert not [tag for tag, _ in tags.tags if tag in ("img", "link", "iframe", "object", "image")]
    for _, attributes in tags.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "src"):
                assert value is not None and not re.match(r"[a-z]+:|//", value)
    assert "default-src 'none'" in page


def test_the_page_has_every_figure_and_its_numbers(page: str, small: Made) -> None:
    for name in CAPTIONS:
        assert f'<section id="{name}"' in page
    assert page.count("<svg") == len(CAPTIONS)
    assert "Left out" not in page
    row = one(small.rows(), "DS_over_suffix", "bn", "dinm", source_language="fr")
    cell = f"<b>{numbers.show_value(row)}</b></a><small>{numbers.show_interval(row)}</small><small>n 20</small>"
    assert cell in page
    assert page.count(" id=") == len(set(re.findall(r' id="([^"]*)"', page)))


def test_every_number_leads_to_the_replies_it_counts(run: Path, page: str) -> None:
    data = unpacked(page)
    rows = load_rows(run)
    replies = [
        (*data["models"][reply[0]][:3], language, kind, reply[1])
        for item in data["items"]
        for language, kind, _, said in item["asked"]
        for reply in said
    ]
    index = ReplyIndex(read_replies(run / "answers.jsonl"))
    checked = 0
    for row in rows:
        if row.metric not in ("DS", "DG", "over_refusal") or row.question_language is None:
            continue
        query = dict(parse_qsl(index.query(row)))
        at = data["judges"].index(query["judge"])
        wanted = (query["editor"], query.get("source", ""), query["language"], query["input"])
        mine = [reply for reply in replies if reply[1:5] == wanted]
        assert len(mine) == row.n
        if row.metric != "over_refusal":
            safe = sum(data["verdicts"][reply[5][at]][0] == "safe" for reply in mine)
            assert safe == round((row.value or 0) * row.n)
        checked += 1
    assert checked > 100
    assert set(re.findall(r'data-query="([^"]*)"', page)) <= {index.query(row).replace("&", "&amp;") for row in rows}


def test_the_page_says_what_it_lacks(tmp_path: Path) -> None:
    made = Made(("en",))
    folder = write_run(tmp_path, [made])
    kept = [row for row in made.rows() if row.judge != SECOND and row.metric != "located_layer"]
    pd.DataFrame([row.model_dump() for row in kept]).to_parquet(folder / "table.parquet")
    (folder / "answers.jsonl").unlink()
    page = write_report(folder).read_text(encoding="utf-8")
    for name in ("fig3", "fig7", "layers"):
        part = page[page.index(f'<section id="{name}"') :]
        part = part[: part.index("</section>")]
        assert CAPTIONS[name].needs.replace("'", "&#39;") in part and "<svg" not in part
    assert "This run kept no replies" in page
    assert not (folder / "figures" / "fig3.png").exists() and (folder / "figures" / "fig2.png").exists()


def test_items_are_left_out_where_the_page_would_get_too_large(small: Made) -> None:
    lines = [ReplyLine.model_validate(line) for line in reply_lines(small)]
    offered, whole, none = pack(lines, 10**9)
    assert none == 0 and len(offered["items"]) == len(ITEMS)
    offered, part, left_out = pack(lines, len(whole) // 2)
    assert left_out + len(offered["items"]) == len(ITEMS) and 0 < left_out < len(ITEMS)
    assert len(part) < len(whole)
    assert pack(lines, 1)[2] == len(ITEMS) - 1


def test_a_broken_reply_is_named_by_its_line(tmp_path: Path, small: Made) -> None:
    file = tmp_path / "answers.jsonl"
    first = next(iter(reply_lines(small)))
    file.write_text(json.dumps(first) + "\n" + json.dumps(first | {"input": "other"}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2: input"):
        read_replies(file)


def test_links_of_a_sweep_name_its_setting() -> None:
    line = {
        "model": "edited", "editor": "dinm", "source_language": "fr", "variant": "model=a", "seed": 1, "item": "i",
        "input": "attack", "language": "en", "request": "q", "reply": "a",
    }  # fmt: skip
    index = ReplyIndex([ReplyLine.model_validate(line)])
    key = {"editor": "dinm", "source_language": "fr", "question_language": "en", "group": "attack"}
    assert "setting=a%2C+seed+1" in index.query(a_row("DS", 0.5, variant="model=a", seed=1, **key))
    mean = index.query(a_row("DS", 0.5, variant="model=a, over 3 seeds", **key))
    assert mean and "setting" not in mean
    assert index.query(a_row("DS", 0.5, variant="model=b", seed=1, **key)) == ""
    assert index.query(a_row("DS", 0.5, variant="model=a", seed=1, **key | {"group": "attack: other"})) == ""
