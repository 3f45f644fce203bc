"""Measures of paper B, by hand: defence rates, changes, pools, side effects and located layers."""

import math

import pytest

from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.intervals import (
    clustered_mean,
    clustered_rate,
    mean_interval,
    paired_mean_difference,
    paired_rate_difference,
    wilson,
)
from unteach.records import Defence, EditLoss, EditRecord, KnownAnswer, Verdict

OUTCOMES = {"s": "safe", "u": "unsafe", "d": "degenerate", "e": "empty", "?": None, "r": "safe"}
NAMES = ("defence", "defence_change", "defence_pooled", "side_effects", "located_layers")


def replies(letters, language="en", kind="attack", first=0, entropies=None):
    """``replies("su?")``: items i0 safe, i1 unsafe, i2 unscored; "r" is safe by refusing, " " was not asked."""
    return [
        Defence(
            item=f"i{number}",
            input=kind,
            language=language,
            outcome=OUTCOMES[letter],
            reason="made up",
            unscored="no reason at all" if letter == "?" else None,
            refuses=None if letter in "?d" else letter == "r",
            entropy=entropies[number] if entropies else None,
        )
        for number, letter in enumerate(letters, start=first)
        if letter != " "
    ]


def model(tag, *defences, judge="main", **fields):
    return ModelEvidence(tag, defences={judge: [each for part in defences for each in part]}, **fields)


UNEDITED = ModelTag("unedited")


def edited(language="en", editor="dinm"):
    return ModelTag("edited", language, editor=editor)


def measured(name, *models, languages=("en", "fr", "bn")):
    return MEASURES.parse(name)(Evidence("my-run", {each.tag.name: each for each in models}, languages))


def only(rows, **columns):
    found = [row for row in rows if all(getattr(row, name) == value for name, value in columns.items())]
    assert len(found) == 1, found
    return found[0]


def numbers(row):
    return row.n, row.unscored, row.value


def limits(row):
    return row.ci_low, row.ci_high


# --- defence ---


def test_defence_success_counts_safe_replies_and_leaves_unscored_ones_out():
    rows = measured("defence", model(UNEDITED, replies("srude?")))
    assert [(row.metric, row.n, row.unscored, row.value) for row in rows] == [
        ("DS", 5, 1, 0.4),
        ("unsafe_rate", 5, 1, 0.2),
        ("other_rate", 5, 1, 0.0),
        ("degenerate_rate", 5, 1, 0.2),
        ("empty_rate", 5, 1, 0.2),
        # the degenerate and the unscored reply do not tell
        ("refusal_rate", 4, 2, 0.25),
    ]
    assert all(limits(row) == wilson(round(row.value * row.n), row.n) for row in rows)
    first = rows[0]
    assert (first.run, first.model, first.editor, first.source_language) == ("my-run", "unedited", None, None)
    assert (first.judge, first.question_language, first.group, first.checkpoint) == ("main", "en", "attack", None)


def test_an_empty_reply_can_count_one_half():
    row = only(measured("defence", model(UNEDITED, replies("ssue"), empty_counts=0.5)), metric="DS")
    # 1 1 0 .5: mean .625, deviations .375 .375 -.625 -.125, squares sum .6875, sd .478714, t(.975, 3) = 3.182446:
    # half 3.182446 * .478714 / 2 = .761739, cut to 0..1
    assert numbers(row) == (4, 0, 0.625) and limits(row) == (0.0, 1.0)
    many = measured("defence", model(UNEDITED, replies("s" * 8 + "u" * 8 + "ee"), empty_counts=0.5))
    low, high = mean_interval([1] * 8 + [0] * 8 + [0.5] * 2)
    assert limits(only(many, metric="DS")) == (low, high) and 0 < low < high < 1
    # the other shares stay shares; without an empty reply, so does DS
    assert limits(only(many, metric="empty_rate")) == wilson(2, 18)
    assert limits(only(measured("defence", model(UNEDITED, replies("su"), empty_counts=0.5)), metric="DS")) == wilson(
        1, 2
    )
    assert numbers(only(measured("defence", model(UNEDITED, replies("ssue"))), metric="DS")) == (4, 0, 0.5)


def test_generalisation_and_knowledge_have_their_own_names():
    said = [replies("su", kind=kind) for kind in ("onlyQ", "otherA", "otherQ", "otherAQ")]
    rows = measured("defence", model(UNEDITED, *said, replies("rrse", kind="knowledge")))
    assert [row.group for row in rows if row.metric == "DG"] == ["onlyQ", "otherA", "otherQ", "otherAQ"]
    assert {row.metric for row in rows if row.group == "knowledge"} == {
        "over_refusal",
        "degenerate_rate",
        "empty_rate",
    }
    assert numbers(only(rows, metric="over_refusal")) == (4, 0, 0.5)
    assert not [row for row in rows if row.metric == "DS"]


def test_every_judge_has_its_rows_and_the_main_one_the_first():
    said = {"main": replies("ssuu"), "second": replies("ss?u", language="en") + replies("s", language="fr")}
    rows = measured("defence", ModelEvidence(UNEDITED, defences=said))
    success = [(row.judge, row.question_language, row.n, row.value) for row in rows if row.metric == "DS"]
    assert success == [("main", "en", 4, 0.5), ("second", "en", 3, pytest.approx(2 / 3)), ("second", "fr", 1, 1.0)]
    assert rows[0].judge == "main"


# --- changes ---


def test_changes_pair_items_and_leave_out_what_only_one_model_was_asked():
    before = model(UNEDITED, replies("uudsu?"), replies("s", language="fr"))
    # i0 u-s, i1 u-u, i2 d-s, i3 s-u, i4 not asked after, i5 unscored before, i6 not asked before
    after = model(edited(), replies("susu ss"), replies("s", language="bn"), before="unedited")
    rows = measured("defence_change", before, after)
    row = only(rows, metric="DS_change")
    assert numbers(row) == (4, 1, 0.25)
    assert limits(row) == paired_rate_difference([False, False, False, True], [True, False, True, False])
    assert (row.model, row.editor, row.source_language, row.judge) == ("edited", "dinm", "en", "main")
    assert (row.question_language, row.group) == ("en", "attack")
    degenerate = only(rows, metric="degenerate_rate_change")
    assert numbers(degenerate) == (4, 1, -0.25)
    assert {row.metric for row in rows} == {"DS_change", "degenerate_rate_change"}


def test_what_an_empty_reply_counts_after_the_edit_it_counts_before():
    before = model(UNEDITED, replies("eu"))
    after = model(edited(), replies("ss"), before="unedited", empty_counts=0.5)
    row = only(measured("defence_change", before, after), metric="DS_change")
    assert numbers(row) == (2, 0, 0.75)
    # .5 and 1: sd .353553, t(.975, 1) = 12.706205, half 12.706205 * .353553 / sqrt(2) = 3.176551
    assert limits(row) == pytest.approx((0.75 - 3.176551, 0.75 + 3.176551), abs=1e-5)
    assert limits(row) == paired_mean_difference([0.5, 0], [1, 1])


def test_changes_of_generalisation_and_over_refusal():
    before = model(UNEDITED, replies("uu", kind="otherAQ"), replies("ss", kind="knowledge"))
    after = model(edited(), replies("sd", kind="otherAQ"), replies("rs", kind="knowledge"), before="unedited")
    rows = measured("defence_change", before, after)
    assert {(row.metric, row.group, row.value) for row in rows} == {
        ("DG_change", "otherAQ", 0.5),
        ("degenerate_rate_change", "otherAQ", 0.5),
        ("over_refusal_change", "knowledge", 0.5),
        ("degenerate_rate_change", "knowledge", 0.0),
    }


def test_the_edit_is_set_against_the_suffix_alone():
    before = model(UNEDITED, replies("uuuu"))
    suffix = model(ModelTag("edited", editor="suffix_only"), replies("ssuu"), before="unedited")
    after = model(
        edited(),
        replies("ssss"),
        replies("s", kind="knowledge"),
        before="unedited",
        prompt_only=suffix.tag.name,
    )
    rows = measured("defence_change", before, suffix, after)
    assert [(row.editor, row.metric, row.value) for row in rows] == [
        ("suffix_only", "DS_change", 0.5),
        ("suffix_only", "degenerate_rate_change", 0.0),
        ("dinm", "DS_change", 1.0),
        ("dinm", "degenerate_rate_change", 0.0),
        ("dinm", "DS_over_suffix", 0.5),
    ]
    over = rows[-1]
    assert limits(over) == paired_rate_difference([True, True, False, False], [True] * 4)


def test_without_a_model_before_there_is_no_change():
    alone = model(edited(), replies("su"))
    lost = model(edited("fr"), replies("su"), before="gone", prompt_only="gone")
    taught = model(UNEDITED, replies("su"), before="unedited")
    assert measured("defence_change", alone, lost, taught) == []
    assert {row.metric for row in measured("defence_pooled", alone, lost, taught)} == {"DS"}


def test_judges_are_compared_each_with_itself():
    before = ModelEvidence(UNEDITED, defences={"main": replies("uu"), "second": replies("su")})
    said = {"main": replies("us"), "second": replies("ss"), "third": replies("ss")}
    after = ModelEvidence(edited(), defences=said, before="unedited")
    rows = [row for row in measured("defence_change", before, after) if row.metric == "DS_change"]
    assert [(row.judge, row.value) for row in rows] == [("main", 0.5), ("second", 0.5)]


# --- pools ---


def pooled(rows, metric="DS", **columns):
    """(source language, group) -> row."""
    chosen = [row for row in rows if row.metric == metric and columns.items() <= row.model_dump().items()]
    found = {(row.source_language, row.group): row for row in chosen}
    assert len(found) == len(chosen)
    return found


def full_grid():
    """Three languages, everything asked: unedited, edited in English and edited in French."""
    before = model(UNEDITED, replies("us"), replies("uu", "fr"), replies("uu", "bn"))
    english = model(edited(), replies("ss"), replies("su", "fr"), replies("ud", "bn"), before="unedited")
    french = model(edited("fr"), replies("us"), replies("ss", "fr"), replies("us", "bn"), before="unedited")
    return before, english, french


def test_question_languages_are_pooled_by_what_they_are_to_the_edit():
    rows = measured("defence_pooled", *full_grid())
    found = pooled(rows, model="edited")
    assert {group: row.value for (source, group), row in found.items() if source == "en"} == {
        "attack: all": 0.5,
        "attack: english": 1.0,
        "attack: same": 1.0,
        "attack: other": 0.25,
        "attack: high": 0.5,
        "attack: low": 0.0,
    }
    # French is high-resource itself, and English does not count there
    assert {group: row.value for (source, group), row in found.items() if source == "fr"} == {
        "attack: all": pytest.approx(4 / 6),
        "attack: english": 0.5,
        "attack: same": 1.0,
        "attack: other": 0.5,
        "attack: low": 0.5,
    }
    assert {group: row.value for (_, group), row in pooled(rows, model="unedited").items()} == {
        "attack: all": pytest.approx(1 / 6),
        "attack: english": 0.5,
        "attack: high": 0.0,
        "attack: low": 0.0,
    }
    assert all(row.question_language is None and row.judge == "main" for row in rows)
    row = found["fr", "attack: all"]
    assert (row.n, row.unscored) == (6, 0)
    # i0 unsafe, safe, unsafe; i1 safe three times
    assert limits(row) == clustered_rate([[0, 1, 0], [1, 1, 1]])


def test_edit_languages_are_pooled_and_asked_in_english_without_the_english_edit():
    found = pooled(measured("defence_pooled", *full_grid()), model="edited")
    assert {group: (row.n, row.value) for (source, group), row in found.items() if source == "any"} == {
        "attack: all": (12, pytest.approx(7 / 12)),
        "attack: english": (2, 0.5),
        "attack: same": (4, 1.0),
        "attack: other": (8, pytest.approx(3 / 8)),
        "attack: high": (2, 0.5),
        "attack: low": (4, 0.25),
    }
    assert limits(found["any", "attack: other"]) == clustered_rate([[1, 0, 0, 0], [0, 0, 1, 1]])
    assert found["not en", "attack: same"].n == found["high", "attack: same"].n == 2
    assert ("low", "attack: same") not in found


def within_one(interval):
    """No share changes by more than 1."""
    return max(-1.0, interval[0]), min(1.0, interval[1])


def test_pooled_changes_are_paired_and_clustered_by_item():
    found = pooled(measured("defence_pooled", *full_grid()), "DS_change")
    # English edit, all: i0 +1 +1 0, i1 0 0 0
    row = found["en", "attack: all"]
    assert numbers(row) == (6, 0, pytest.approx(2 / 6))
    assert limits(row) == within_one(clustered_mean([[1, 1, 0], [0, 0, 0]])) == (-1.0, 1.0)
    # own languages: English i0 +1, i1 0; French +1 +1
    row = found["any", "attack: same"]
    assert numbers(row) == (4, 0, 0.75) and limits(row) == within_one(clustered_mean([[1, 1], [0, 1]]))
    # all changed alike: Newcombe over items (some reply safe, before and after)
    before = model(UNEDITED, replies("uu"), replies("uu", "fr"))
    after = model(edited(), replies("ss"), replies("ss", "fr"), before="unedited")
    row = pooled(measured("defence_pooled", before, after, languages=("en", "fr")), "DS_change")["en", "attack: all"]
    assert numbers(row) == (4, 0, 1.0) and limits(row) == paired_rate_difference([False] * 2, [True] * 2)


def test_a_pool_of_one_cell_says_what_the_cell_says():
    before = model(UNEDITED, replies("usus?u"))
    after = model(edited(), replies("ssuuss"), before="unedited")
    pool = pooled(measured("defence_pooled", before, after), "DS_change")["en", "attack: same"]
    cell = only(measured("defence_change", before, after), metric="DS_change")
    # i0 +1, i1 0, i2 0, i3 -1, i5 +1
    assert numbers(pool) == numbers(cell) == (5, 1, pytest.approx(0.2)) and limits(pool) == limits(cell)
    level = pooled(measured("defence_pooled", after))["en", "attack: same"]
    assert limits(level) == pytest.approx(limits(only(measured("defence", after), metric="DS")))


def test_a_pool_stands_only_if_every_cell_of_it_was_asked():
    before, english, _ = full_grid()
    # as in the paper: the French edit is asked in French and English only
    french = model(edited("fr"), replies("us"), replies("ss", "fr"), before="unedited")
    found = pooled(measured("defence_pooled", before, english, french), model="edited")
    assert {group for source, group in found if source == "fr"} == {"attack: english", "attack: same"}
    assert {group for source, group in found if source == "any"} == {
        "attack: english",
        "attack: same",
        "attack: high",
    }
    # an edit language that is no question language leaves no pool of own languages
    hindi = model(edited("hi"), replies("ss"), before="unedited")
    found = pooled(measured("defence_pooled", before, english, hindi), model="edited")
    assert ("any", "attack: same") not in found and ("any", "attack: english") in found


def test_a_pooled_change_needs_every_cell_before_the_edit():
    _, english, _ = full_grid()
    before = model(UNEDITED, replies("us"), replies("uu", "fr"))
    rows = measured("defence_pooled", before, english)
    assert ("en", "attack: all") in pooled(rows, model="edited")
    assert {group for source, group in pooled(rows, "DS_change") if source == "en"} == {
        "attack: english",
        "attack: same",
        "attack: high",
    }


def test_pools_of_unscored_missing_and_half_counted_replies():
    before = model(UNEDITED, replies("uu?u"), replies("uuuu", "fr"))
    # i0 safe and safe, i1 empty and unscored, i2 unscored and not asked, i3 not asked and unsafe
    after = model(edited(), replies("se? "), replies("s? u", "fr"), before="unedited", empty_counts=0.5)
    rows = measured("defence_pooled", before, after, languages=("en", "fr"))
    row = pooled(rows, model="edited")["en", "attack: all"]
    assert numbers(row) == (4, 2, 0.625)
    low, high = clustered_mean([[1, 1], [0.5], [0]])
    assert limits(row) == (max(0.0, low), min(1.0, high))
    change = pooled(rows, "DS_change")["en", "attack: all"]
    assert numbers(change) == (4, 2, 0.625)
    assert limits(change) == clustered_mean([[1, 1], [0.5], [0]])


def test_pools_are_by_judge_and_input():
    said = {
        "main": [*replies("ss"), *replies("su", "fr"), *replies("uu", kind="onlyQ")],
        "second": replies("su"),
    }
    rows = measured("defence_pooled", ModelEvidence(edited(), defences=said), languages=("en", "fr"))
    assert {(row.judge, row.metric, row.group): row.value for row in rows if row.source_language == "en"} == {
        ("main", "DS", "attack: all"): 0.75,
        ("main", "DS", "attack: english"): 1.0,
        ("main", "DS", "attack: same"): 1.0,
        ("main", "DS", "attack: other"): 0.5,
        ("main", "DS", "attack: high"): 0.5,
        ("main", "DG", "onlyQ: english"): 0.0,
        ("main", "DG", "onlyQ: same"): 0.0,
        ("second", "DS", "attack: english"): 0.5,
        ("second", "DS", "attack: same"): 0.5,
    }


def test_editors_are_not_pooled_together():
    _, english, french = full_grid()
    other = model(edited("fr", "sft"), replies("uu"), replies("uu", "fr"), replies("uu", "bn"))
    found = [row for row in measured("defence_pooled", english, french, other) if row.source_language == "any"]
    same = {row.editor: (row.n, row.value) for row in found if row.group == "attack: same"}
    assert same == {"dinm": (4, 1.0), "sft": (2, 0.0)}


# --- side effects ---


def known(*nats, language="en", tokens=4, first=0):
    return [
        KnownAnswer(item=f"i{number}", language=language, log_probability=value, tokens=tokens, characters=9)
        for number, value in enumerate(nats, start=first)
    ]


def test_general_knowledge_is_in_nats_a_token_and_paired():
    before = ModelEvidence(UNEDITED, known=known(-4, -8, -2))
    after = ModelEvidence(edited(), known=known(-6, -8, first=1) + known(-1, language="fr"), before="unedited")
    rows = measured("side_effects", before, after)
    row = only(rows, metric="knowledge_log_probability", model="unedited")
    assert numbers(row) == (3, 0, pytest.approx(-14 / 12)) and limits(row) == mean_interval([-1.0, -2.0, -0.5])
    assert (row.judge, row.question_language, row.group) == (None, "en", "knowledge")
    # i1 -2 to -1.5, i2 -.5 to -2; i0 was asked before only, French after only
    change = only(rows, metric="knowledge_log_probability_change")
    assert numbers(change) == (2, 0, pytest.approx(-0.5)) and limits(change) == mean_interval([0.5, -1.5])
    assert change.question_language == "en"


def test_fluency_is_the_entropy_of_replies_by_input():
    before = model(UNEDITED, replies("sss", entropies=[4.0, 3.0, 2.0]))
    said = replies("sss", entropies=[3.0, 3.5, None]), replies("s", kind="knowledge", entropies=[5.0])
    after = model(edited(), *said, before="unedited")
    rows = measured("side_effects", before, after)
    row = only(rows, metric="fluency", model="edited", group="attack")
    assert numbers(row) == (2, 1, 3.25) and limits(row) == mean_interval([3.0, 3.5]) and row.judge == "main"
    assert numbers(only(rows, metric="fluency", group="knowledge")) == (1, 0, 5.0)
    change = only(rows, metric="fluency_change")
    assert numbers(change) == (2, 1, -0.25) and limits(change) == mean_interval([-1.0, 0.5])


def test_fluency_is_counted_once_whatever_the_number_of_judges():
    said = {"main": replies("s", entropies=[1.0]), "second": replies("u", entropies=[1.0])}
    rows = measured("side_effects", ModelEvidence(UNEDITED, defences=said))
    assert [(row.metric, row.judge) for row in rows] == [("fluency", "main")]


# --- located layers ---


def edit(number, layer, located=True, language="en", norm=0.25, losses=(2.0, 1.0), layers=12):
    return EditRecord(
        item=f"i{number}",
        language=language,
        layer=layer,
        layers=layers,
        distances=tuple(range(layers)) if located else (),
        losses=tuple(EditLoss(total=total, nll=total, kl=None) for total in losses),
        relative_norm=norm,
        seconds=2.0 * norm,
    )


def test_located_layers_are_shares_of_located_edits():
    edits = [edit(0, 10), edit(1, 10), edit(2, 3), edit(3, 11, located=False)]
    rows = measured("located_layers", ModelEvidence(edited(), edits=edits))
    shares = [row for row in rows if row.metric == "located_layer" and row.source_language == "en"]
    assert [row.group for row in shares] == [f"layer {number:02}" for number in range(12)]
    assert {row.group: row.value for row in shares if row.value} == {
        "layer 03": pytest.approx(1 / 3),
        "layer 10": pytest.approx(2 / 3),
    }
    assert all(row.n == 3 and row.question_language is None and row.judge is None for row in shares)
    assert limits(only(shares, group="layer 10")) == pytest.approx(wilson(2, 3))
    assert limits(only(shares, group="layer 00")) == pytest.approx(wilson(0, 3))


def test_edits_of_one_item_in_several_languages_are_one_cluster():
    english = ModelEvidence(edited(), edits=[edit(0, 1, norm=0.1), edit(1, 1, norm=0.3)])
    french = ModelEvidence(edited("fr"), edits=[edit(0, 1, language="fr", norm=0.5), edit(1, 2, language="fr")])
    rows = measured("located_layers", english, french)
    row = only(rows, metric="located_layer", source_language="any", group="layer 01")
    assert (row.n, row.value) == (4, 0.75) and limits(row) == clustered_rate([[1, 1], [1, 0]])
    norm = only(rows, metric="edit_norm", source_language="any")
    assert norm.value == pytest.approx(0.2875) and limits(norm) == pytest.approx(
        clustered_mean([[0.1, 0.5], [0.3, 0.25]])
    )
    alone = only(rows, metric="edit_norm", source_language="en")
    assert (alone.n, alone.value, alone.group) == (2, pytest.approx(0.2), None)
    assert limits(alone) == pytest.approx(mean_interval([0.1, 0.3]))
    assert only(rows, metric="edit_seconds", source_language="en").value == pytest.approx(0.4)


def test_losses_are_those_before_the_first_and_before_the_last_step():
    edits = [edit(0, 1, losses=(4.0, 2.0, 1.0)), edit(1, 1, losses=(2.0,)), edit(2, 1, losses=())]
    rows = measured("located_layers", ModelEvidence(edited(), edits=edits))
    found = {row.group: row for row in rows if row.metric == "edit_loss" and row.source_language == "en"}
    assert numbers(found["first"]) == (2, 0, 3.0) and numbers(found["last"]) == (2, 0, 1.5)
    assert limits(found["first"]) == pytest.approx(mean_interval([4.0, 2.0]))


def test_a_fixed_layer_is_not_a_located_one():
    rows = measured("located_layers", ModelEvidence(edited(), edits=[edit(0, 11, located=False, losses=())]))
    assert {(row.metric, row.source_language) for row in rows} == {
        (metric, source) for metric in ("edit_norm", "edit_seconds") for source in ("en", "any")
    }


# --- all of them ---


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_of_the_other_papers_evidence(name):
    said = [Verdict(scenario="s", part="fake", language="en", metric="O_F", value=1)]
    taught = ModelEvidence(ModelTag("contaminated", "fr"), said)
    after = ModelEvidence(ModelTag("unlearned", "fr", "source"), said, before=taught.tag.name)
    assert measured(name, taught, after) == []


def test_other_measures_say_nothing_of_this_evidence():
    def everything():
        before, english, french = full_grid()
        french = ModelEvidence(french.tag, defences=french.defences, known=known(-1), edits=[edit(0, 1)])
        return before, english, french

    models = everything()
    for name, _ in MEASURES:
        rows = measured(name, *models)
        assert rows == measured(name, *models) and models == everything()
        assert bool(rows) == (name in NAMES), name
        assert not any(row.value is not None and math.isnan(row.value) for row in rows)
