"""Language strategies and stop rules: pure functions of data."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from unteach.languages.table import LANGUAGES, MULTILINGUAL, PAPER_A
from unteach.records import Reading
from unteach.unlearn.contracts import STOP_RULES, STRATEGIES, Slot

NAMES = [name for name, _ in STRATEGIES]
SCENARIOS = ("b", "a", "c")


def strategy(name, **settings):
    return STRATEGIES.parse({"name": name, **settings})


def reading(perplexity=10.0, quality=None, step=0):
    return Reading(step=step, perplexity=perplexity, quality=quality)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("source", "samples", "seed"), [("de", 1, 0), ("zh", 4, 1), ("ur", 5, 2)])
def test_a_strategy_is_pure_and_keeps_its_promises(name, source, samples, seed):
    given = list(SCENARIOS)
    slots = strategy(name)(given, source, samples, seed)
    assert given == list(SCENARIOS)
    assert slots == strategy(name)(tuple(SCENARIOS), source, samples, seed)
    assert {slot.language for slot in slots} <= set(strategy(name).languages(source))
    per_scenario = Counter(slot.scenario for slot in slots)
    assert set(per_scenario) == set(SCENARIOS) and len(set(per_scenario.values())) == 1
    assert min(per_scenario.values()) >= samples
    assert len(set(slots)) == len(slots)  # the same slot twice would be the same text twice
    for scenario, language in itertools.product(SCENARIOS, {slot.language for slot in slots}):
        indices = [slot.index for slot in slots if (slot.scenario, slot.language) == (scenario, language)]
        assert sorted(indices) == list(range(len(indices)))  # every wording in turn


@pytest.mark.parametrize("name", NAMES)
def test_needed_languages_are_those_that_are_used(name):
    for source in ("de", "en"):
        # 2 * 3 * 100 draws from twenty languages leave one out with probability 20 * 0.95^600 < 1e-11
        used = {slot.language for slot in strategy(name)(SCENARIOS, source, 100, 0)}
        assert used == set(strategy(name).languages(source))
        assert len(strategy(name).languages(source)) == len(used)


def test_english_and_source_use_one_language():
    assert strategy("english")(["a"], "de", 2, 0) == [Slot("a", "en", 0), Slot("a", "en", 1)]
    assert strategy("source")(["a"], "de", 2, 0) == [Slot("a", "de", 0), Slot("a", "de", 1)]
    assert strategy("english").languages("de") == ("en",)
    assert strategy("source").languages("de") == ("de",)


def test_combined_gives_each_language_half():
    assert strategy("combined")(["a"], "de", 4, 0) == [
        Slot("a", "en", 0),
        Slot("a", "de", 0),
        Slot("a", "en", 1),
        Slot("a", "de", 1),
    ]
    assert strategy("combined").languages("de") == ("en", "de")


def test_combined_gives_english_the_odd_one():
    counts = Counter((slot.scenario, slot.language) for slot in strategy("combined")(SCENARIOS, "de", 5, 0))
    assert counts == {(name, code): count for name in SCENARIOS for code, count in (("en", 3), ("de", 2))}


def test_english_and_source_are_the_same_where_the_source_is_english():
    assert strategy("english")(SCENARIOS, "en", 4, 0) == strategy("source")(SCENARIOS, "en", 4, 0)


def test_combined_is_english_where_the_source_is_english():
    assert strategy("combined").languages("en") == ("en",)
    assert strategy("combined")(SCENARIOS, "en", 4, 0) == strategy("english")(SCENARIOS, "en", 4, 0)


@pytest.mark.parametrize("samples", [1, 2, 5])
@pytest.mark.parametrize("seed", [0, 7])
def test_english_source_and_combined_ask_for_the_same_in_the_same_order_where_the_source_is_english(samples, seed):
    """So that they have one key, and are one unlearning."""
    made = [strategy(name)(SCENARIOS, "en", samples, seed) for name in ("english", "source", "combined")]
    assert made[0] == made[1] == made[2]


# Paper A, section 3.2: de-nl, fr-es, zh-Hans - zh-Hant, ru-uk, jv-ms, ur-hi, ha-so, hy-el
PAIRS = {"de": "nl", "fr": "es", "zh": "zh-Hant", "ru": "uk", "jv": "ms", "ur": "hi", "ha": "so", "hy": "el"}


@pytest.mark.parametrize(("source", "relative"), PAIRS.items())
def test_family_uses_the_relative_of_the_paper(source, relative):
    assert strategy("family").languages(source) == (relative,)
    assert strategy("family")(["b", "a"], source, 2, 3) == [
        Slot(scenario, relative, index) for scenario in ("b", "a") for index in (0, 1)
    ]


def test_every_source_of_the_paper_but_english_has_a_relative():
    assert set(PAIRS) | {"en"} == set(PAPER_A)
    assert strategy("family").languages("en") == ()
    assert strategy("family")(SCENARIOS, "en", 4, 0) == []


def test_settings_of_family_come_before_the_paper_and_leave_the_others_as_they_are():
    chosen = strategy("family", relatives={"de": "sv", "en": "de"})
    assert chosen.languages("de") == ("sv",)
    assert chosen.languages("en") == ("de",)
    assert chosen.languages("ur") == ("hi",)
    assert {slot.language for slot in chosen(SCENARIOS, "en", 2, 0)} == {"de"}


def test_relatives_may_be_given_by_name_and_are_kept_by_code():
    chosen = strategy("family", relatives={"German": "swe_Latn"})
    assert chosen.languages("de") == ("sv",)
    assert chosen.identity() == strategy("family", relatives={"de": "sv"}).identity()


@pytest.mark.parametrize("relatives", [{"xx": "de"}, {"de": "xx"}, {"de": ""}])
def test_family_refuses_an_unknown_language_by_name(relatives):
    with pytest.raises(ValidationError, match="unknown language") as caught:
        strategy("family", relatives=relatives)
    assert [error["loc"] for error in caught.value.errors()] == [("relatives",)]


def test_multilingual_draws_from_the_twenty_of_the_paper():
    named = "es pt ja it nl sv ar hi bn pl ti kam luo ay awa bho dyu fur kab ln"
    assert strategy("multilingual").languages("de") == MULTILINGUAL == tuple(named.split())
    assert len(strategy("multilingual")(["a"], "de", 5, 0)) == 10  # the paper doubles the data


def test_multilingual_takes_names_and_counts_a_language_once():
    chosen = strategy("multilingual", forget_languages=["nl", "Dutch", "spa_Latn", "es"])
    assert chosen.languages("de") == ("nl", "es")
    assert chosen(SCENARIOS, "de", 6, 0) == strategy("multilingual", forget_languages=["nl", "es"])(
        SCENARIOS, "de", 6, 0
    )


@pytest.mark.parametrize(
    ("changes", "place", "what"),
    [
        ({"forget_languages": []}, "forget_languages", "at least 1 item"),
        ({"forget_languages": ["nl", "klingon"]}, "forget_languages", "unknown language 'klingon'"),
        ({"times": 0}, "times", "greater than or equal to 1"),
    ],
)
def test_multilingual_refuses_what_it_cannot_draw_from(changes, place, what):
    with pytest.raises(ValidationError, match=what) as caught:
        strategy("multilingual", **changes)
    assert [error["loc"] for error in caught.value.errors()] == [(place,)]


@settings(max_examples=60, deadline=None)
@given(
    codes=st.lists(st.sampled_from(sorted(LANGUAGES)), min_size=1, max_size=6, unique=True),
    source=st.sampled_from(PAPER_A),
    scenarios=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True),
    samples=st.integers(1, 9),
    times=st.integers(1, 3),
    seed=st.integers(0, 2**40),
)
def test_multilingual_keeps_its_promises_whatever_it_is_given(codes, source, scenarios, samples, times, seed):
    chosen = strategy("multilingual", forget_languages=codes, times=times)
    slots = chosen(scenarios, source, samples, seed)
    assert slots == strategy("multilingual", forget_languages=codes, times=times)(
        tuple(scenarios), source, samples, seed
    )
    assert {slot.language for slot in slots} <= set(codes)
    assert Counter(slot.scenario for slot in slots) == dict.fromkeys(scenarios, times * samples)
    counted: Counter[tuple[str, str]] = Counter()
    for slot in slots:  # every language goes through its wordings in turn
        assert slot.index == counted[slot.scenario, slot.language]
        counted[slot.scenario, slot.language] += 1
    # what is drawn for one scenario does not depend on the others
    assert [slot for slot in slots if slot.scenario == scenarios[-1]] == chosen(scenarios[-1:], source, samples, seed)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), scenario=st.text("abcdefgh-", min_size=1, max_size=8))
def test_multilingual_draws_its_languages_equally_often(seed, scenario):
    drawn = Counter(slot.language for slot in strategy("multilingual")([scenario], "de", 2000, seed))
    # 4000 draws from twenty: 200 expected of each, sd sqrt(4000 * 0.05 * 0.95) = 13.8; six sd is 83
    assert set(drawn) == set(MULTILINGUAL)
    assert all(abs(count - 200) < 83 for count in drawn.values())


def test_multilingual_draws_anew_for_every_scenario_and_seed():
    def drawn(scenario, seed):
        return [slot.language for slot in strategy("multilingual")([scenario], "de", 15, seed)]

    # thirty draws from twenty: equal by chance with probability 20^-30
    assert drawn("a", 0) != drawn("b", 0)
    assert drawn("a", 0) != drawn("a", 1)


def test_multilingual_draws_the_same_on_every_machine():
    """Frozen output: a change here changes every result without changing its key."""
    slots = strategy("multilingual")(["a"], "de", 3, 0)
    drawn = [("hi", 0), ("ti", 0), ("sv", 0), ("pt", 0), ("sv", 1), ("hi", 1)]
    assert slots == [Slot("a", language, index) for language, index in drawn]


@pytest.mark.parametrize(
    ("limit", "perplexity", "stops"),
    [(150, 149.99, False), (150, 150.0, True), (150, 1e9, True), (20, 19.9, False), (20, 20.0, True)],
)
def test_perplexity_stops_at_its_limit(limit, perplexity, stops):
    reason = STOP_RULES.parse({"name": "perplexity", "limit": limit})(reading(), reading(perplexity))
    assert (reason is not None) == stops
    if stops:
        assert f"the limit is {limit}" in reason


def test_perplexity_looks_at_the_present_reading_only_and_150_is_the_default():
    rule = STOP_RULES.parse("perplexity")
    assert rule.limit == 150
    assert rule(reading(500.0), reading(10.0)) is None


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_perplexity_that_is_no_number_any_more_stops(value):
    assert STOP_RULES.parse("perplexity")(reading(), reading(value)) is not None


@pytest.mark.parametrize(
    ("share", "before", "after", "stops"),
    [
        (0.2, 5.0, 4.01, False),
        (0.2, 5.0, 4.0, False),  # fallen by exactly the share: not more than it
        (0.2, 5.0, 3.99, True),
        (0.2, 5.0, 9.0, False),
        (0.5, 8.0, 4.0, False),
        (0.5, 8.0, 3.9, True),
        (0.5, 10.0, 1.0, True),
    ],
)
def test_quality_drop_stops_when_more_than_its_share_is_gone(share, before, after, stops):
    rule = STOP_RULES.parse({"name": "quality_drop", "share": share})
    assert (rule(reading(quality=before), reading(quality=after)) is not None) == stops


def test_quality_drop_says_from_what_to_what():
    reason = STOP_RULES.parse("quality_drop")(reading(quality=5.0), reading(quality=2.5))
    assert reason == "Q_R fell from 5.00 to 2.50, more than 20%"


@pytest.mark.parametrize(("before", "after"), [(None, 1.0), (5.0, None), (None, None)])
def test_quality_that_was_not_read_does_not_stop(before, after):
    assert STOP_RULES.parse("quality_drop")(reading(quality=before), reading(quality=after)) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "perplexity", "limit": 1},
        {"name": "perplexity", "limit": -3},
        {"name": "quality_drop", "share": 0},
        {"name": "quality_drop", "share": 1},
    ],
)
def test_limits_without_sense_are_refused(settings):
    with pytest.raises(ValueError, match="Input should be"):
        STOP_RULES.parse(settings)
