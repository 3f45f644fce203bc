"""Rates corrected for a judge's errors: by hand, by simulation, and where they cannot be told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unteach.metrics.agreement import Pair, limits
from unteach.metrics.intervals import clustered_rate, wilson
from unteach.metrics.judge_error import (
    corrected_mean,
    corrected_rate,
    judge_errors,
    judged_mean,
    judged_rate,
    rate_draws,
    rogan_gladen,
)


def pairs(hits: int, misses: int, alarms: int, clear: int) -> list[Pair]:
    """Judge first, truth second."""
    counts = {("yes", "yes"): hits, ("no", "yes"): misses, ("yes", "no"): alarms, ("no", "no"): clear}
    return [Pair(*labels) for labels, count in counts.items() for _ in range(count)]


def answers(hits: int, n: int) -> list[list[float]]:
    return [[float(place < hits)] for place in range(n)]


def test_rogan_gladen_by_hand() -> None:
    # a prevalence of 0.3 seen with sensitivity 0.9 and specificity 0.8: 0.27 + 0.14 = 0.41
    assert rogan_gladen(0.41, 0.9, 0.8) == pytest.approx(0.3)
    assert rogan_gladen(0.1, 0.9, 0.8) == 0 and rogan_gladen(0.95, 0.9, 0.8) == 1
    assert rogan_gladen(0.4, 0.5, 0.5) is None and rogan_gladen(0.4, 0.2, 0.3) is None


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_rogan_gladen_undoes_what_errors_do(rate: float, sensitivity: float, specificity: float) -> None:
    if sensitivity + specificity > 1.01:
        seen = rate * sensitivity + (1 - rate) * (1 - specificity)
        assert rogan_gladen(seen, sensitivity, specificity) == pytest.approx(rate, abs=1e-9)


def test_errors_are_shares_of_true_positives_and_negatives() -> None:
    found = judge_errors(pairs(18, 2, 5, 25), "yes")
    assert (found.sensitivity.value, found.specificity.value) == pytest.approx((0.9, 25 / 30))
    assert (found.sensitivity.low, found.sensitivity.high) == pytest.approx(wilson(18, 20))
    assert found.draws is not None and found.reason == ""
    assert found.draws[0].mean() == pytest.approx(18.5 / 21, abs=0.01)  # Beta(18.5, 2.5)
    assert found.draws[1].mean() == pytest.approx(25.5 / 31, abs=0.01)


def test_corrected_rate_and_its_interval() -> None:
    found = corrected_rate(answers(41, 100), judge_errors(pairs(90, 10, 40, 160), "yes"))
    assert found.value == pytest.approx(0.3) and found.n == 300
    assert found.low is not None and found.high is not None
    # delta method: sd^2 = [p q / 100 + pi^2 se (1 - se) / 100 + (1 - pi)^2 sp (1 - sp) / 200] / 0.7^2
    spread = np.sqrt(0.41 * 0.59 / 100 + 0.09 * 0.09 / 100 + 0.49 * 0.16 / 200) / 0.7
    assert (found.low, found.high) == pytest.approx((0.3 - 1.96 * spread, 0.3 + 1.96 * spread), abs=0.02)
    assert found == corrected_rate(answers(41, 100), judge_errors(pairs(90, 10, 40, 160), "yes"))


def test_no_errors_seen_in_a_small_sample_is_not_certainty() -> None:
    errors = judge_errors(pairs(5, 0, 0, 5), "yes")
    found, judged = corrected_rate(answers(50, 100), errors), judged_rate(answers(50, 100))
    assert found.value == judged.value == 0.5
    assert found.low is not None and judged.low is not None and found.low < judged.low - 0.05


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (pairs(0, 0, 1, 9), "no positives"),
        (pairs(9, 1, 0, 0), "no negatives"),
        (pairs(5, 5, 5, 5), "no more than chance"),
        (pairs(1, 9, 5, 5), "no more than chance"),
        ([], "no positives"),
    ],
)
def test_what_cannot_be_corrected_says_why(sample: list[Pair], reason: str) -> None:
    found = corrected_rate(answers(3, 10), judge_errors(sample, "yes"))
    assert found.value is None and found.low is None and reason in found.reason


def test_a_judge_that_may_be_no_better_than_chance_leaves_all_open() -> None:
    found = corrected_rate(answers(50, 100), judge_errors(pairs(3, 2, 2, 3), "yes"))
    assert (found.value, found.low, found.high) == (pytest.approx(0.5), 0, 1)


def test_rates_by_item() -> None:
    clusters = [[1.0, 1.0, 1.0]] * 6 + [[0.0, 0.0, 0.0]] * 14
    found = judged_rate(clusters)
    assert (found.low, found.high) == pytest.approx(clustered_rate(clusters)) and found.n == 60
    single, several = rate_draws(answers(18, 60)), rate_draws(clusters)
    assert several.std() > 1.5 * single.std()  # answers about one item are alike
    low, high = limits(rate_draws(answers(0, 20)))
    assert low < 0.001 and 0.08 < high < 0.16  # Beta(1/2, 20.5): 0.117
    assert judged_rate([]).reason == "nothing was scored"


def test_corrected_mean() -> None:
    graded = [Pair(float(g), float(g) - 2 + d) for g, d in zip((5, 6, 7, 8), (-0.5, 0.5, 0.5, -0.5), strict=True)]
    clusters = [[6.0], [7.0], [8.0], [9.0]]
    found, judged = corrected_mean(clusters, graded), judged_mean(clusters)
    assert judged.value == 7.5 and found.value == pytest.approx(5.5)
    assert judged.low is not None and judged.high is not None and found.low is not None and found.high is not None
    assert found.high - found.low > judged.high - judged.low
    assert corrected_mean([[2.0]], [Pair(9.0, 1.0)]).value == 1  # no grade is below 1
    assert corrected_mean(clusters, []).value is None and corrected_mean([], graded).value is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 30), st.integers(1, 12), st.integers(0, 5), st.integers(0, 5), st.integers(1, 12))
def test_corrected_rates_are_rates_with_their_interval(positives, hits, misses, alarms, clear) -> None:
    found = corrected_rate(answers(positives, 30), judge_errors(pairs(hits, misses, alarms, clear), "yes"))
    if found.value is not None:
        assert found.low is not None and found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1
