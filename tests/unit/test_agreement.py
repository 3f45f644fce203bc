"""Agreement of two raters: against published examples, naive versions, and properties."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unteach.metrics.agreement import (
    SCALES,
    Pair,
    agreement,
    difference,
    effective_n,
    graded_kappa,
    kappa,
    limits,
    sign_test,
    table_draws,
    weighted_mean,
    weighted_rate,
)
from unteach.metrics.intervals import mean_interval, paired_rate_difference, wilson
from unteach.metrics.rated import About, JudgedAnswer, Rater, SampleItem, evaluate, tidy

LABELS = st.sampled_from(["yes", "no"])
OUTCOMES = st.sampled_from(["safe", "unsafe", "other"])
GRADES = st.integers(1, 10).map(float)


def table(both: int, first: int, second: int, neither: int) -> list[Pair]:
    counts = {("yes", "yes"): both, ("yes", "no"): first, ("no", "yes"): second, ("no", "no"): neither}
    return [Pair(*labels) for labels, count in counts.items() for _ in range(count)]


def naive_kappa(pairs: list[Pair]) -> Fraction | None:
    labels = sorted({p.first for p in pairs} | {p.second for p in pairs}, key=str)
    total = sum(Fraction(p.weight) for p in pairs)

    def share(of) -> Fraction:
        return sum((Fraction(p.weight) for p in pairs if of(p)), Fraction(0)) / total

    observed = share(lambda p: p.first == p.second)
    expected = sum(share(lambda p: p.first == one) * share(lambda p: p.second == one) for one in labels)  # noqa: B023
    return None if expected == 1 else (observed - expected) / (1 - expected)


def test_kappa_of_a_worked_example() -> None:
    # 50 proposals, both yes 20, both no 15: p_o 0.7, p_e 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa 0.4
    found = kappa(table(20, 5, 10, 15))
    assert found.value == pytest.approx(0.4)
    assert found.n == 50 and found.low is not None and found.high is not None
    # the large-sample formula's interval is 0.4 +- 1.96 * 0.127
    assert found.low == pytest.approx(0.15, abs=0.04) and found.high == pytest.approx(0.65, abs=0.04)


@pytest.mark.parametrize(("same", "value"), [((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593)])
def test_kappa_of_tables_with_the_same_agreement(same: tuple[int, int, int, int], value: float) -> None:
    found = kappa(table(*same))  # 60 of 100 agree in both; chance agreement differs
    assert found.value == pytest.approx(value, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(OUTCOMES, OUTCOMES, st.sampled_from([1.0, 2.0, 5.0])), min_size=1, max_size=25))
def test_kappa_is_that_of_a_naive_version_symmetric_and_bounded(rows) -> None:
    pairs = [Pair(*row) for row in rows]
    found, turned = kappa(pairs), kappa([Pair(p.second, p.first, p.weight) for p in pairs])
    constant = len({p.first for p in pairs}) == len({p.second for p in pairs}) == 1
    assert (found.value is None) == constant
    if constant:
        assert "one label throughout" in found.reason
        return
    assert found.value == pytest.approx(float(naive_kappa(pairs) or 0), abs=1e-12)
    assert turned.value == pytest.approx(found.value, abs=1e-12)
    assert found.low is not None and found.high is not None
    assert -1 <= found.low <= found.value <= found.high <= 1


@settings(max_examples=40, deadline=None)
@given(st.lists(LABELS, min_size=1, max_size=30), st.lists(GRADES, min_size=1, max_size=30))
def test_equal_labels_give_one_unless_constant(labels, grades) -> None:
    for found, said in (
        (kappa([Pair(one, one) for one in labels]), labels),
        (graded_kappa([Pair(one, one) for one in grades]), grades),
    ):
        assert found.value == (None if len(set(said)) == 1 else pytest.approx(1.0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(GRADES, GRADES), min_size=1, max_size=25))
def test_graded_kappa_is_cohens_with_quadratic_weights(rows) -> None:
    pairs = [Pair(*row) for row in rows]
    found, n = graded_kappa(pairs), len(pairs)
    x, y = [p.first for p in pairs], [p.second for p in pairs]
    if len(set(x)) == len(set(y)) == 1:
        assert found.value is None
        return
    # Cohen 1968: 1 - sum w_ij o_ij / sum w_ij e_ij over all pairs of grades, w_ij = (i - j)^2
    seen = sum((a - b) ** 2 for a, b in rows) / n
    by_chance = sum((a - b) ** 2 for a in x for b in y) / n**2
    assert found.value == pytest.approx(1 - seen / by_chance, abs=1e-9)
    assert -1 - 1e-9 <= found.value <= 1 + 1e-9
    assert graded_kappa([Pair(b, a) for a, b in rows]).value == pytest.approx(found.value, abs=1e-9)


def test_no_errors_seen_still_leaves_an_interval() -> None:
    found = kappa(table(5, 0, 0, 5))
    assert found.value == 1 and found.high == 1
    assert found.low is not None and 0.3 < found.low < 0.7
    grades = graded_kappa([Pair(3.0, 3.0), Pair(7.0, 7.0)])
    assert grades.value == 1 and grades.low is None and "no interval" in grades.reason


def test_both_constant_is_undefined_even_if_they_disagree() -> None:
    assert kappa(table(0, 10, 0, 0)).value is None
    assert graded_kappa([Pair(2.0, 9.0)] * 4).value is None
    assert kappa([]).reason == "no answer is labelled by both"
    assert kappa(table(3, 3, 0, 0)).value == pytest.approx(0)  # one of them is constant: no more than chance


def test_table_draws_are_the_dirichlet_posterior_and_seeded() -> None:
    pairs = table(3, 1, 0, 6)
    drawn = table_draws(pairs, 7, labels=("yes", "no"))
    shares = drawn / drawn.sum((1, 2), keepdims=True)
    counts = np.array([[3, 1], [0, 6]]) + 0.5
    assert shares.mean(0) == pytest.approx(counts / counts.sum(), abs=0.01)
    a = counts / counts.sum()
    assert shares.var(0) == pytest.approx(a * (1 - a) / (counts.sum() + 1), rel=0.15)
    assert (table_draws(pairs, 7) == table_draws(pairs, 7)).all()
    assert limits(np.arange(1001)) == pytest.approx((25, 975))


def test_equal_weights_are_no_weights() -> None:
    hits, weights = [True] * 7 + [False] * 3, [66.0] * 10
    found = weighted_rate(hits, weights)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, *(wilson(7, 10) or ())))
    values = [1.0, 4.0, 2.0, 8.0]
    mean = weighted_mean(values, [3.0] * 4)
    assert (mean.low, mean.high) == pytest.approx(mean_interval(values))
    assert effective_n([2.0] * 5) == pytest.approx(5) and effective_n([1, 1, 1, 1, 96]) < 1.1
    assert weighted_mean([5.0], [1.0]).low is None


def test_difference_is_newcombes_with_equal_weights() -> None:
    pairs = table(6, 1, 3, 10)
    first, second = (
        [label == "yes" for label in side] for side in zip(*((p.first, p.second) for p in pairs), strict=True)
    )
    found = difference(pairs, SCALES["O_F"])
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == paired_rate_difference(first, second)
    heavier = [Pair(p.first, p.second, 10.0 if p.first == p.second else 1.0) for p in pairs]
    assert difference(heavier, SCALES["O_F"]).value == pytest.approx(2 / 164)


@pytest.mark.parametrize("differ", [8, 12])
def test_limits_of_a_weighted_difference_are_possible_and_apart(differ) -> None:
    pairs = [Pair("yes", "no" if at < differ else "yes", weight=1 + at % 2) for at in range(12)]
    found = difference(pairs, SCALES["O_F"])
    assert found.value == pytest.approx(-differ / 12)
    assert found.low is not None and found.high is not None
    assert -1 <= found.low <= found.value < found.high < -0.2  # Student's t gives -1.00 to -0.33, and no width at -1


def test_mcnemar_is_the_binomial_test() -> None:
    for b, c in ((0, 0), (1, 0), (5, 0), (6, 0), (9, 2), (4, 4)):
        tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
        assert sign_test(b, c) == pytest.approx(min(1.0, 2 * tail))
    assert sign_test(5, 0) > 0.05 > sign_test(6, 0)


def test_agreement_counts_both_ways_and_grades_by_one() -> None:
    found = agreement(table(6, 1, 3, 10), SCALES["O_F"], ("judge", "anna"), "de", 2, balanced=False)
    assert (found.n, found.unlabelled, found.discrepancies, found.first_only, found.second_only) == (20, 2, 4, 1, 3)
    assert found.p == pytest.approx(0.625)
    assert ("no", "yes", 3) in found.confusion
    graded = [Pair(5.5, 5.0), Pair(7.0, 6.0), Pair(2.0, 4.0), Pair(9.0, 9.0)]
    found = agreement(graded, SCALES["Q_R"], ("judge", "anna"), None, 0, balanced=False)
    assert (found.discrepancies, found.first_only, found.second_only) == (1, 2, 1)
    assert found.share.value == 0.75 and found.difference.value == pytest.approx(0.125)
    safety = [Pair("other", "degenerate"), Pair("safe", "unsafe")]
    found = agreement(safety, SCALES["DS"], ("a", "b"), None, 0, balanced=True)
    assert (found.discrepancies, found.first_only) == (2, 1) and found.p is None and "balanced" in found.p_reason


def about(population: dict[str, int], metric: str = "O_F", balance: str = "none") -> About:
    return About(
        sample="s", run="r", metric=metric, judge="judge", by=("language",), balance=balance, population=population
    )


def test_a_sample_balanced_by_verdicts_is_weighted_back() -> None:
    # 100 answers: the judge says yes to 10 of them. Five of each are drawn; the person finds one wrong yes and one
    # wrong no, so of the run 10 * 4/5 + 90 * 1/5 = 26 are yes, and 10/5 + 90/5 = 20 are discrepancies.
    items = [
        SampleItem(id=f"{v}{n}", language="en", cell=("en",), stratum=v, verdict=v)
        for v in ("yes", "no")
        for n in range(5)
    ]
    truth = {item.id: item.verdict for item in items} | {"yes0": "no", "no0": "yes"}
    found = evaluate(
        about({"yes": 10, "no": 90}, balance="verdicts"), items, {"anna": Rater(kind="person", labels=truth)}, []
    )
    assert found.agreements[0].share.value == pytest.approx(0.8)
    assert {r.rater: r.estimate.value for r in found.rates if r.language is None} == pytest.approx(
        {"judge": 0.1, "anna": 0.26}
    )
    assert found.errors[0].sensitivity.value == pytest.approx(8 / 26)
    assert found.errors[0].specificity.value == pytest.approx(72 / 74)
    assert found.agreements[0].p is None


def test_majority_ties_and_missing_labels() -> None:
    items = [SampleItem(id=str(n), language="en", cell=("en",), stratum="en", verdict="yes") for n in range(4)]
    raters = {
        "anna": Rater(kind="person", labels={"0": "yes", "1": "no", "2": "yes"}),
        "ben": Rater(kind="person", labels={"0": "yes", "1": "no", "2": "no", "3": "no"}),
        "bot": Rater(kind="judge", labels={"0": "no"}),
    }
    found = evaluate(about({"en": 4}), items, raters, [])
    assert found.reference == "majority of anna, ben"
    assert (found.cells[0].n, found.cells[0].discrepancies) == (3, 2)  # answer 2 is a tie
    assert found.labelled == {"judge": 4, "anna": 3, "ben": 4, "bot": 1}
    pair = next(a for a in found.agreements if (a.first, a.second, a.language) == ("anna", "ben", None))
    assert (pair.n, pair.unlabelled, pair.discrepancies) == (3, 1, 1)
    assert evaluate(about({"en": 4}), items, {"bot": raters["bot"]}, []).reference == "bot"
    none = next(a for a in evaluate(about({"en": 4}), items, {"x": Rater(kind="person", labels={})}, []).agreements)
    assert none.n == 0 and none.share.value is None and none.kappa.value is None and none.p is None


def test_grades_of_several_persons_are_averaged() -> None:
    items = [SampleItem(id=str(n), language="en", cell=("en",), stratum="en", verdict=float(n)) for n in range(2, 8)]
    raters = {
        name: Rater(kind="person", labels={item.id: float(item.verdict) + shift for item in items})
        for name, shift in (("anna", 1.0), ("ben", 2.0))
    }
    judged = [JudgedAnswer(f"i{n}", "m", "en", 4.0 + n % 3) for n in range(9)]
    found = evaluate(about({"en": 9}, "Q_R"), items, raters, judged)
    whole = next(c for c in found.corrected if c.model is None and c.language is None)
    assert whole.judged.value == pytest.approx(5) and whole.corrected.value == pytest.approx(6.5)
    assert found.reference == "mean of anna, ben" and not found.errors
    assert {line["number"] for line in tidy(found)} >= {"agreement", "kappa", "difference", "p", "judged", "corrected"}
