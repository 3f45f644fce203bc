"""Claims of paper B in words: rates as per cent, groups and edits by name; which paper's claims a run is held to."""

from __future__ import annotations

import json

import pytest

from unteach.errors import UserError
from unteach.metrics.claims import Claim
from unteach.metrics.decide import answer
from unteach.metrics.intervals import wilson
from unteach.metrics.table import write_table
from unteach.records import Row
from unteach.reports import claims as reports
from unteach.reports.claims import check_claims, claims_file, sections, sentence, threshold, where
from unteach.reports.tables import base_metric, count, is_difference, is_rate, show_interval, show_value

EDITED = {"metric": "DS", "model": "edited", "editor": "dinm", "source_language": "en"}
RATES = (
    *("DS", "DG", "unsafe_rate", "other_rate", "degenerate_rate", "empty_rate", "refusal_rate", "over_refusal"),
    "located_layer",
)


def share(hits: int, n: int, **columns) -> Row:
    low, high = wilson(hits, n)
    key = {"run": "r", "judge": "guarded", "group": "attack", **EDITED} | columns
    return Row(**key, n=n, value=hits / n, ci_low=low, ci_high=high)


def change(value: float, half: float, **columns) -> Row:
    key = {"run": "r", "judge": "guarded", "group": "attack", **EDITED, "metric": "DS_change"} | columns
    return Row(**key, n=20, value=value, ci_low=value - half, ci_high=value + half)


def claim(**test) -> Claim:
    words = {"id": "c", "paper": "B", "section": "5", "says": "Something.", "why": "The number."}
    return Claim.model_validate(words | {"test": test})


# --- numbers ---


@pytest.mark.parametrize("metric", RATES)
def test_rates_of_paper_b_are_rates_and_so_are_their_differences(metric):
    assert is_rate(metric) and not is_difference(metric)
    for ending in ("_change", "_over_suffix"):
        assert is_rate(metric + ending) and is_difference(metric + ending) and base_metric(metric + ending) == metric
    row = share(17, 20, metric=metric)
    # Wilson 17/20: centre (.85 + .0960365) / 1.192073 = .793607, half 1.644159 * sqrt(.006375 + .0024009) = .154026
    assert (show_value(row), show_interval(row), count(row)) == ("85 %", "64–95", 17)


def test_differences_have_a_sign_and_no_count():
    row = change(0.75, 0.2, metric="DS_over_suffix")
    assert (show_value(row), show_interval(row), count(row)) == ("+75", "+55 to +95", None)


def test_other_measures_are_no_rates():
    for metric in ("knowledge_log_probability", "fluency_change", "edit_norm", "perplexity", "Q_R"):
        assert not is_rate(metric)
    # half a point for an empty reply: the value is no count of replies
    assert count(share(10, 20).model_copy(update={"value": 10.5 / 20})) is None


@pytest.mark.parametrize(
    ("metric", "test", "words"),
    [
        ("DS", {"at_least": 0.838}, "at least 83.8 %"),
        ("DG_change", {"at_most": 0.10}, "at most +10 points"),
        ("DS_over_suffix", {"at_least": 0}, "at least 0 points"),
        ("located_layer", {"at_least": 0.9}, "at least 90 %"),
        ("degenerate_rate_change", {"at_least": -0.10}, "at least −10 points"),
        ("knowledge_log_probability_change", {"at_least": -0.10}, "at least −0.10"),
    ],
)
def test_bounds_in_words(metric, test, words):
    assert threshold(claim(rows={"metric": metric}, **test)) == words


# --- places ---


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"group": "attack: same"}, "the attack it was edited on, asked in the language of the edit"),
        ({"group": "onlyQ: other"}, "the question alone, asked in other languages than that of the edit"),
        ({"group": "attack: high"}, "the attack it was edited on, asked in other high-resource languages"),
        ({"group": "attack: english"}, "the attack it was edited on, asked in English"),
        ({"question_language": "es", "group": "otherA"}, "asked in Spanish (es), another attack, same question"),
        ({"group": "knowledge"}, "a harmless question"),
        ({"group": "layer 17"}, "layer 17"),
        ({"source_language": "bn"}, "edited in Bengali (bn)"),
        ({"editor": "sft"}, "SFT"),
        ({"editor": "dinm layer -1"}, "DINM, layer −1"),
        ({"judge": "guarded"}, "judge guarded"),
        ({}, ""),
    ],
)
def test_places_of_edits_in_words(place, words):
    assert where(place, edited=True) == words


def test_places_of_taught_fakes_are_called_as_before():
    place = {"source_language": "de", "strategy": "combined", "group": "other low"}
    assert where(place) == "taught in German (de), after combined, asked in other low-resource languages"


# --- sentences ---


def test_one_unnamed_part_needs_no_name():
    attack = EDITED | {"group": "attack", "question_language": "en"}
    found = answer([share(17, 20, question_language="en")], claim(rows=attack, each={"variant": None}, at_least=0.5))
    assert len(found.parts) == 1
    assert sentence(found) == ("DS 85\u00a0% (95\u00a0% interval 64 to 94.8\u00a0%, n = 20); claimed: at least 50 %.")
    assert sections([found])[0]["parts"][0]["where"] == ""


def test_one_named_part_is_named():
    attack = EDITED | {"group": "attack", "question_language": "en"}
    row = share(17, 20, question_language="en", variant="model=a")
    found = answer([row], claim(rows=attack, each={"variant": None}, at_least=0.5))
    assert "n = 20) (model=a); claimed: at least 50 %." in sentence(found)


def test_the_deciding_part_of_several_is_named_as_an_edit():
    rows = [share(18, 20, source_language=code, question_language="en") for code in ("fr", "zh")]
    rows[1] = share(1, 20, source_language="zh", question_language="en")
    wanted = {name: value for name, value in EDITED.items() if name != "source_language"}
    test = claim(rows=wanted | {"group": "attack", "question_language": "en"}, each="source_language", at_least=0.5)
    said = sentence(answer(rows, test))
    assert "1 supported, 1 contradicted; the farthest from it (edited in Chinese (Simplified) (zh)): DS 5" in said
    assert "()" not in said


def test_pools_say_that_they_are_of_edits():
    rows = [change(0.5, 0.1, source_language=code, question_language=code) for code in ("fr", "bn")]
    rows += [change(0.5, 0.1, source_language="any", group="attack: same")]
    wanted = {"metric": "DS_change", "model": "edited", "source_language": "any"}
    alone = answer(rows, claim(rows=wanted | {"group": "attack: same"}, at_least=0))
    assert sentence(alone).endswith("claimed: at least 0 points. Pooled over edits in fr, bn.")
    grouped = answer(rows, claim(rows=wanted, each={"group": ["attack: same", "attack: other"]}, at_least=0))
    assert grouped.verdict == "not tested"
    said = sentence(grouped)
    assert "(the attack it was edited on, asked in the language of the edit): DS_change +50 points" in said
    assert "1 of the 2 numbers needed are there" in said


# --- whose claims ---


def about(tmp_path, content: object):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_run_is_held_to_the_paper_that_it_is_about(tmp_path):
    assert claims_file(tmp_path) == reports.PAPER_A
    editing = {"experiment": "knowledge_editing"}
    for spec, paper in (
        ({"sources": ["de"]}, reports.PAPER_A),
        (editing, reports.PAPER_B),
        ({"sweep": "x", "points": [{"variant": "a", "spec": editing}]}, reports.PAPER_B),
        ({"sweep": "x", "points": [{"variant": "a", "spec": {}}]}, reports.PAPER_A),
    ):
        assert claims_file(about(tmp_path, {"name": "r", "spec": spec})) == paper
    with pytest.raises(UserError, match=r"run\.json is not JSON"):
        claims_file(about(tmp_path, "{"))


def test_a_file_that_is_named_counts_whatever_the_run_is_about(tmp_path, monkeypatch):
    write_table([share(17, 20, question_language="en")], about(tmp_path, {"spec": {"experiment": "knowledge_editing"}}))
    rows = "{metric: DS, question_language: en, group: attack}"
    text = "- {id: %s, paper: B, section: '5', says: So., why: So., test: {rows: " + rows + ", at_least: 0.5}}"
    for name in ("named", "of-the-paper"):
        (tmp_path / f"{name}.yaml").write_text(text % name, encoding="utf-8")
    monkeypatch.setattr(reports, "PAPER_B", tmp_path / "of-the-paper.yaml")
    for file, expected in ((None, "of-the-paper"), (tmp_path / "named.yaml", "named")):
        (found,), _ = check_claims(tmp_path, file)
        assert (found.claim.id, found.verdict) == (expected, "supported")
