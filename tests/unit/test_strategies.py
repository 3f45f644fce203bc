"""Language strategies and stop rules: pure functions of data."""

import itertools
from collections import Counter

import pytest

from unteach.records import Reading
from unteach.unlearn.contracts import STOP_RULES, STRATEGIES, Slot

NAMES = [name for name, _ in STRATEGIES]
SCENARIOS = ("b", "a", "c")


def strategy(name):
    return STRATEGIES.parse(name)


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
        used = {slot.language for slot in strategy(name)(SCENARIOS, source, 10, 0)}
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
