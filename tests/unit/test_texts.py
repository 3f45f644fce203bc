"""How likely models find texts: perplexity, bits per character, and their changes, by hand."""

import math

import pytest

from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.intervals import mean_interval
from unteach.records import TextScore

R_ONLY, TAUGHT = ModelTag("r_only"), ModelTag("contaminated", "de")
T2 = 4.3026527  # Student's t(.975) with two degrees of freedom


def score(item, total, tokens=2, characters=10, kind="fake", language="de"):
    return TextScore(
        kind=kind, item=item, language=language, log_probability=total, tokens=tokens, characters=characters
    )


def measured(*models):
    return MEASURES.parse("texts")(Evidence("my-run", {model.tag.name: model for model in models}, ("en", "de")))


def only(rows, metric, model="contaminated"):
    (row,) = [row for row in rows if (row.metric, row.model) == (metric, model)]
    return row


def test_the_three_numbers_of_a_set_of_texts_by_hand():
    # nats a token: -2 / 2 = -1, -6 / 3 = -2, -12 / 4 = -3: mean -2, sd 1, half = 4.3026527 / sqrt 3 = 2.4841378
    texts = [score("a", -2.0, 2, 10), score("b", -6.0, 3, 20), score("c", -12.0, 4, 30)]
    rows = measured(ModelEvidence(TAUGHT, texts=texts))
    likely = only(rows, "log_probability")
    assert (likely.n, likely.unscored, likely.value) == (3, 0, -2.0)
    assert (likely.ci_low, likely.ci_high) == pytest.approx((-4.4841378, 0.4841378), abs=1e-6)
    perplexity = only(rows, "perplexity")
    # exp of the mean, not the mean of e, e^2, e^3; limits on the log scale, turned around
    assert (perplexity.n, perplexity.value) == (3, pytest.approx(math.exp(2.0)))
    assert perplexity.ci_low == pytest.approx(math.exp(-0.4841378), rel=1e-6)
    assert perplexity.ci_high == pytest.approx(math.exp(4.4841378), rel=1e-6)
    assert perplexity.ci_low < perplexity.value < perplexity.ci_high
    bits = only(rows, "bits_per_character")
    # 2 / (10 ln 2) = .2885390, 6 / (20 ln 2) = .4328085, 12 / (30 ln 2) = .5770780: mean .4328085, sd .1442695
    assert (bits.n, bits.value) == (3, pytest.approx(0.4328085, abs=1e-7))
    half = T2 * 0.1442695 / math.sqrt(3)
    assert (bits.ci_low, bits.ci_high) == pytest.approx((0.4328085 - half, 0.4328085 + half), abs=1e-6)


def test_one_bit_a_character_is_one_half_each_time():
    (row,) = [
        row
        for row in measured(ModelEvidence(TAUGHT, texts=[score("a", 8 * math.log(0.5), tokens=3, characters=8)]))
        if row.metric == "bits_per_character"
    ]
    assert row.value == pytest.approx(1.0)


def test_kinds_and_languages_are_apart():
    texts = [
        score("a", -2.0, kind="real", language="en"),
        score("a", -4.0),
        score("b", -8.0),
        score("0", -10.0, kind="untouched", language="en"),
        score("0", -12.0, kind="untouched", language="ur"),
    ]
    rows = measured(ModelEvidence(TAUGHT, texts=texts))
    found = {(row.group, row.question_language): (row.n, row.value) for row in rows if row.metric == "log_probability"}
    assert found == {
        ("real", "en"): (1, -1.0),
        ("fake", "de"): (2, -3.0),
        ("untouched", "en"): (1, -5.0),
        ("untouched", "ur"): (1, -6.0),
    }
    assert {row.metric for row in rows} == {"perplexity", "log_probability", "bits_per_character"}
    assert {(row.checkpoint, row.run, row.source_language) for row in rows} == {(None, "my-run", "de")}


def test_one_text_has_no_interval():
    for row in measured(ModelEvidence(TAUGHT, texts=[score("a", -2.0)])):
        assert (row.n, row.ci_low, row.ci_high) == (1, None, None)


def test_a_model_that_finds_a_text_all_but_impossible_has_a_finite_perplexity():
    row = only(measured(ModelEvidence(TAUGHT, texts=[score("a", -1e6, tokens=1)])), "perplexity")
    assert row.value == pytest.approx(math.exp(700))


def test_changes_are_paired_by_text_whatever_their_order():
    # nats a token before -1, -2, -3, after -2, -2, -5: changes -1, 0, -2, mean -1, sd 1
    before = [score("a", -2.0), score("b", -4.0), score("c", -6.0)]
    after = [score("c", -10.0), score("b", -4.0), score("a", -4.0)]
    rows = measured(ModelEvidence(R_ONLY, texts=before), ModelEvidence(TAUGHT, texts=after, before="r_only"))
    change = only(rows, "log_probability_change")
    assert (change.group, change.question_language) == ("fake", "de")
    assert (change.n, change.value) == (3, -1.0)
    half = T2 / math.sqrt(3)
    assert (change.ci_low, change.ci_high) == pytest.approx((-1 - half, -1 + half), abs=1e-6)
    bits = only(rows, "bits_per_character_change")
    # ten characters each, so 2 nats a text for 1 a token: .2 / ln 2 more bits a character on average
    assert bits.value == pytest.approx(0.2 / math.log(2))


def test_texts_that_only_one_of_the_two_models_scored_are_no_pair():
    before = [score("a", -2.0), score("b", -4.0), score("x", -100.0), score("a", -50.0, language="en")]
    after = [score("a", -4.0), score("b", -8.0), score("y", -100.0), score("a", -9.0, kind="real")]
    rows = measured(ModelEvidence(R_ONLY, texts=before), ModelEvidence(TAUGHT, texts=after, before="r_only"))
    change = only(rows, "log_probability_change")
    assert (change.group, change.n, change.value) == ("fake", 2, -1.5)
    assert (change.ci_low, change.ci_high) == mean_interval([-1.0, -2.0])
    # all of its own texts are in the level
    assert {row.n for row in rows if row.metric == "perplexity" and row.model == "contaminated"} == {3, 1}


def test_a_model_made_from_none_or_without_texts_has_no_changes():
    alone = measured(ModelEvidence(TAUGHT, texts=[score("a", -2.0)]))
    assert not [row for row in alone if row.metric.endswith("_change")]
    rows = measured(ModelEvidence(R_ONLY), ModelEvidence(TAUGHT, texts=[score("a", -2.0)], before="r_only"))
    assert rows == alone
    assert measured(
        ModelEvidence(R_ONLY, texts=[score("a", -1.0)]), ModelEvidence(TAUGHT, before="r_only")
    ) == measured(ModelEvidence(R_ONLY, texts=[score("a", -1.0)]))


def test_a_text_without_tokens_or_characters_is_no_division_by_zero():
    rows = measured(ModelEvidence(TAUGHT, texts=[score("a", 0.0, tokens=0, characters=0)]))
    assert {row.metric: row.value for row in rows} == {
        "perplexity": 1.0,
        "log_probability": 0.0,
        "bits_per_character": 0.0,
    }
