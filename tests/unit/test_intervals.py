"""Intervals against published values, hand arithmetic and simulation."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from unteach.metrics.intervals import (
    clustered_mean,
    clustered_rate,
    clustered_ratio,
    difference_of_estimates,
    mean_interval,
    paired_mean_difference,
    paired_rate_difference,
    simultaneous,
    wilson,
)


def pairs(both, only_before, only_after, neither):
    """Paired outcomes with these counts, as (before, after)."""
    before = [True] * both + [True] * only_before + [False] * only_after + [False] * neither
    after = [True] * both + [False] * only_before + [True] * only_after + [False] * neither
    return before, after


def test_wilson_against_arithmetic():
    # 47/50: p = .94, z^2 = 3.841459, 1 + z^2/50 = 1.0768292
    # centre = (.94 + .0384146) / 1.0768292 = .9086071
    # half = 1.959964 / 1.0768292 * sqrt(.94 * .06 / 50 + 3.841459 / 10000) = 1.8201252 * .0388904 = .0707854
    assert wilson(47, 50) == pytest.approx((0.837822, 0.979392), abs=2e-5)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3 (score without continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_the_published_table(successes, n, low, high):
    assert wilson(successes, n) == pytest.approx((low, high), abs=6e-5)


def test_wilson_at_the_ends():
    # 0/10: high = z^2/n / (1 + z^2/n) = .3841459 / 1.3841459 = .2775328
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((0.7224672, 1.0), abs=1e-6)
    assert wilson(0, 10)[0] >= 0 and wilson(10, 10)[1] <= 1


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_solves_the_score_equation_and_is_symmetric(case):
    successes, n = case
    low, high = wilson(successes, n)
    p = successes / n
    assert 0 <= low <= p + 1e-12 and p - 1e-12 <= high <= 1
    for limit in (low, high):  # (p - limit)^2 = z^2 limit (1 - limit) / n
        assert (p - limit) ** 2 == pytest.approx(3.8414588207 * limit * (1 - limit) / n, abs=1e-9)
    assert wilson(n - successes, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_narrows_with_more_questions():
    widths = [high - low for low, high in (wilson(n // 2, n) for n in (4, 16, 64, 256))]
    assert widths == sorted(widths, reverse=True) and widths[0] > 2 * widths[2]


def test_nothing_known_gives_no_interval():
    assert wilson(0, 0) is None
    assert mean_interval([]) is None
    assert mean_interval([3.0]) is None
    assert paired_rate_difference([], []) is None
    assert paired_mean_difference([], []) is None
    assert paired_mean_difference([1.0], [2.0]) is None


def test_mean_interval_by_hand():
    # 1, 2, 3, 4, 5: mean 3, sd sqrt(2.5) = 1.5811388, t(.975, 4) = 2.7764451; half = 2.7764451 * .7071068 = 1.9632432
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((1.0367568, 4.9632432), abs=1e-6)
    # 1, 10: mean 5.5, sd 6.3639610, se 4.5, t(.975, 1) = 12.7062047; half = 57.1779213
    assert mean_interval([1, 10]) == pytest.approx((-51.6779213, 62.6779213), abs=1e-5)
    assert mean_interval([4.0, 4.0, 4.0]) == (4.0, 4.0)


def test_paired_means_take_the_difference_question_by_question():
    # after - before = -2, 0, -1: mean -1, sd 1, t(.975, 2) = 4.3026527; half = 4.3026527 / sqrt 3 = 2.4841377
    assert paired_mean_difference([5, 5, 9], [3, 5, 8]) == pytest.approx((-3.4841377, 1.4841377), abs=1e-6)
    assert paired_mean_difference([1, 5, 9], [2, 6, 10]) == (1.0, 1.0)


def test_paired_rates_by_hand():
    # 10 questions: both 2, only before 5, only after 1, neither 2; pb = .7, pa = .3, d = -.4
    # Wilson 7/10: z^2/n = .3841459, scale 1.3841459, centre (.7 + .1920729) / 1.3841459 = .6444935,
    #   half = 1.9599640 / 1.3841459 * sqrt(.021 + .0096036) = 1.4160097 * .1749388 = .2477151 -> (.3967784, .8922086)
    # Wilson 3/10 by symmetry (.1077914, .6032216)
    # phi: 2 * 2 - 1 * 5 = -1, not positive; / sqrt(7 * 3 * 3 * 7) = 21 -> -.0476190
    # lower: pa - la = .1922086, ub - pb = .1922086
    #   sqrt(.0369441 * 2 + 2 * .0476190 * .0369441) = sqrt(.0774068) = .2782207 -> -.6782207
    # upper: ua - pa = .3032216, pb - lb = .3032216
    #   sqrt(.0919433 * 2 + .0952381 * .0919433) = sqrt(.1926431) = .4389113 -> .0389113
    assert paired_rate_difference(*pairs(2, 5, 1, 2)) == pytest.approx((-0.6782207, 0.0389113), abs=1e-6)


def test_positive_association_is_shrunk_by_half_the_questions():
    # 20 questions: both 6, only before 2, only after 4, neither 8; pb = .4, pa = .5, d = .1
    # phi: 6 * 8 - 4 * 2 = 40, less 20 / 2 = 30; / sqrt(10 * 10 * 8 * 12) = 97.9795897 -> .3061862
    # z^2/n = .1920729, scale 1.1920729, z / scale = 1.6441645
    # Wilson 8/20: centre (.4 + .0960365) / 1.1920729 = .4161125,
    #   half = 1.6441645 * sqrt(.012 + .0024009) = 1.6441645 * .1200038 = .1973060 -> (.2188065, .6134185)
    # Wilson 10/20: half = 1.6441645 * sqrt(.0125 + .0024009) = 1.6441645 * .1220693 = .2007020 -> (.2992980, .7007020)
    # lower: pa - la = .2007020, ub - pb = .2134185
    #   sqrt(.0402813 + .0455475 - 2 * .3061862 * .0428335) = sqrt(.0595987) = .2441284 -> -.1441284
    # upper: ua - pa = .2007020, pb - lb = .1811935
    #   sqrt(.0402813 + .0328311 - .6123724 * .0363659) = sqrt(.0508429) = .2254837 -> .3254837
    assert paired_rate_difference(*pairs(6, 2, 4, 8)) == pytest.approx((-0.1441284, 0.3254837), abs=1e-6)


def test_small_positive_association_counts_as_none():
    # 3 * 3 - 2 * 2 = 5 <= 10 / 2, so phi = 0; pb = pa = .5, Wilson 5/10 = (.2365931, .7634069)
    # both sides: sqrt(2) * .2634069 = .3725136
    assert paired_rate_difference(*pairs(3, 2, 2, 3)) == pytest.approx((-0.3725136, 0.3725136), abs=1e-6)


def test_paired_rates_without_any_variation():
    # 10/10 before and 0/10 after: d = -1; phi = 0; lower bounded at -1, upper -1 + sqrt(2) * .2775328 = -.6075094
    assert paired_rate_difference(*pairs(0, 10, 0, 0)) == pytest.approx((-1.0, -0.6075094), abs=1e-6)
    # nothing before or after: sides .2775328 each, the other side 0
    assert paired_rate_difference(*pairs(0, 0, 0, 10)) == pytest.approx((-0.2775328, 0.2775328), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_paired_rates_are_antisymmetric_and_hold_the_difference(outcomes):
    before, after = [b for b, _ in outcomes], [a for _, a in outcomes]
    low, high = paired_rate_difference(before, after)
    difference = (sum(after) - sum(before)) / len(outcomes)
    assert -1 <= low <= difference + 1e-12 and difference - 1e-12 <= high <= 1
    assert paired_rate_difference(after, before) == pytest.approx((-high, -low), abs=1e-12)
    shuffled = random.Random(0).sample(outcomes, len(outcomes))
    assert paired_rate_difference(*map(list, zip(*shuffled, strict=True))) == pytest.approx((low, high), abs=1e-12)


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        paired_rate_difference([True, False], [True])
    with pytest.raises(ValueError, match="shorter"):
        paired_mean_difference([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("rate", "n"), [(0.05, 50), (0.3, 16), (0.5, 100), (0.94, 50)])
def test_wilson_covers_about_95_percent(rate, n):
    """Exact coverage: binomial weights of the outcomes whose interval holds the true rate."""
    weights = [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)]
    limits = [wilson(k, n) for k in range(n + 1)]
    coverage = sum(w for w, (low, high) in zip(weights, limits, strict=True) if low <= rate <= high)
    assert 0.91 < coverage < 0.985


@pytest.mark.parametrize(
    "chances", [(0.2, 0.4, 0.1, 0.3), (0.5, 0.3, 0.02, 0.18), (0.3, 0.1, 0.1, 0.5), (0.02, 0.03, 0.25, 0.7)]
)
def test_paired_rates_cover_about_95_percent(chances):
    """2000 simulated runs of 40 questions: the standard error of the coverage is .005."""
    rng = random.Random(1)
    true = chances[2] - chances[1]
    covered = 0
    for _ in range(2000):
        kinds = rng.choices(range(4), chances, k=40)
        low, high = paired_rate_difference([kind in (0, 1) for kind in kinds], [kind in (0, 2) for kind in kinds])
        covered += low <= true <= high
    assert 0.93 < covered / 2000 < 0.99


def test_mean_interval_covers_95_percent_of_normal_samples():
    """2000 simulated samples of 8: the standard error of the coverage is .005; six of them are .03."""
    rng = random.Random(2)
    limits = [mean_interval([rng.gauss(5, 2) for _ in range(8)]) for _ in range(2000)]
    covered = sum(low <= 5 <= high for low, high in limits) / 2000
    assert 0.935 < covered < 0.965


def test_clustered_rates_by_hand():
    # hits 2, 0, 1 of 2 each: p = .5, residuals 1, -1, 0; deff = (3/2 * 2 / 36) / (.25 / 6) = 2, the cluster size, so
    # n / deff = 3 whatever the shrinking
    assert clustered_rate([[1, 1], [0, 0], [1, 0]]) == pytest.approx(wilson(1.5, 3), abs=1e-12)
    # hits 1, 1, 0, 2 of 2: residuals 0, 0, -1, 1; deff = (4/3 * 2 / 64) / (.25 / 8) = 4/3; 3 clusters hold a hit and
    # 3 a miss, so (3 * 4/3 + 2 * 2) / 5 = 1.6 and n = 5: z^2/n = .7682918, scale 1.7682918,
    # half = 1.9599640 / 1.7682918 * sqrt(.05 + .0384146) = 1.1083940 * .2973459 = .3295764
    assert clustered_rate([[1, 0], [1, 0], [0, 0], [1, 1]]) == pytest.approx((0.1704236, 0.8295764), abs=1e-6)
    # sizes 1 and 3, hits 1 and 1: residuals .5 and -.5; deff = (2 * .5 / 16) / (.25 / 4) = 1; hits in 2, misses in 1
    # clusters: (1 * 1 + 2 * 2) / 3 = 5/3 and n = 2.4
    assert clustered_rate([[1], [1, 0, 0], []]) == pytest.approx(wilson(1.2, 2.4), abs=1e-12)


def test_clusters_that_never_vary_count_as_one_answer_each():
    assert clustered_rate([[0] * 5] * 4) == wilson(0, 4)
    assert clustered_rate([[1] * 5] * 4) == wilson(4, 4)
    assert clustered_rate([[1, 0]]) == wilson(0.5, 1)
    assert clustered_rate([]) is None and clustered_rate([[], []]) is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=20))
def test_clustered_rates_lie_between_all_answers_and_all_clusters_counting(groups):
    hits, n, k = sum(map(sum, groups)), sum(map(len, groups)), len(groups)
    low, high = clustered_rate(groups)
    narrow, wide = wilson(hits, n), wilson(hits * k / n, k)
    assert wide[0] - 1e-9 <= low <= narrow[0] + 1e-9 and narrow[1] - 1e-9 <= high <= wide[1] + 1e-9
    assert clustered_rate([[hit] for group in groups for hit in group]) == pytest.approx(narrow, abs=1e-12)


def test_clustered_means_by_hand():
    # 1, 2 and 3: mean 2, residuals 3 - 4 = -1 and 3 - 2 = 1; se = sqrt(2 * 2 / 9) = 2/3; t(.975, 1) = 12.7062047
    assert clustered_mean([[1, 2], [3], []]) == pytest.approx((2 - 8.4708031, 2 + 8.4708031), abs=1e-6)
    assert clustered_mean([[1, 2, 3]]) is None and clustered_mean([]) is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=12))
def test_clusters_of_one_size_have_the_interval_of_their_means(groups):
    means = [(a + b) / 2 for a, b in groups]
    assert clustered_mean(groups) == pytest.approx(mean_interval(means), abs=1e-8)
    assert clustered_mean([[mean] for mean in means]) == pytest.approx(mean_interval(means), abs=1e-8)


def test_clustered_ratios_by_hand():
    # 3/4 before, 0/4 after, clusters of one. Wilson 0/4 = (0, .4898908); 3/4: z^2/n = .9603647, scale 1.9603647,
    # centre (.75 + .4801824) / scale = .6275274, half = .9997956 * sqrt(.046875 + .0600228) = .3268854, low .3006420
    # nothing after, so r = 0: high = .4898908 / sqrt(.75^2 - (.75 - .3006420)^2) = .4898908 / .6004806 = .8158312
    assert clustered_ratio([[1], [1], [1], [0]], [[0]] * 4) == pytest.approx((0.0, 0.8158312), abs=1e-6)
    assert clustered_ratio([[0], [0]], [[1], [0]]) is None
    assert clustered_ratio([], []) is None
    # a cluster without answers on one side counts on neither
    assert clustered_ratio([[1], [0], [1]], [[1], [1], []]) == clustered_ratio([[1], [0]], [[1], [1]])


def test_a_ratio_is_known_better_where_answers_stay_the_same():
    before = [[1, 1], [0, 0], [1, 0], [1, 1], [0, 0], [0, 1]] * 4
    same, other = clustered_ratio(before, before), clustered_ratio(before, before[1:] + before[:1])
    assert same[0] < 1 < same[1] and same[1] - same[0] < 0.7 * (other[1] - other[0])


def clustered_outcomes(rng, clusters, size, chance, shared):
    """Answers that agree within a cluster: with chance ``shared`` all are drawn as one."""
    made = []
    for _ in range(clusters):
        one = rng.random() < chance
        made.append([one if rng.random() < shared else rng.random() < chance for _ in range(size)])
    return made


@pytest.mark.parametrize(("clusters", "size", "chance"), [(16, 9, 0.05), (16, 9, 0.3), (60, 4, 0.2)])
def test_clustered_rates_miss_the_truth_seldom(clusters, size, chance):
    """1200 samples: .025 has a standard error of .0045. Wilson over all answers misses in more than 10 % a side."""
    rng = random.Random(3)
    above = below = plain = 0
    for _ in range(1200):
        groups = clustered_outcomes(rng, clusters, size, chance, 0.7)
        low, high = clustered_rate(groups)
        above, below = above + (low > chance), below + (high < chance)
        limits = wilson(sum(map(sum, groups)), clusters * size)
        plain += not limits[0] <= chance <= limits[1]
    assert above / 1200 < 0.045 and below / 1200 < 0.045
    assert plain > 3 * (above + below)


@pytest.mark.parametrize(("before", "after"), [(0.4, 0.05), (0.25, 0.5), (0.5, 0.5)])
def test_clustered_ratios_miss_the_truth_seldom(before, after):
    rng = random.Random(4)
    above = below = 0
    for _ in range(1000):
        old = clustered_outcomes(rng, 30, 4, before, 0.6)
        keep = after / before if after <= before else 1.0
        gain = (after - before) / (1 - before) if after > before else 0.0
        new = [[(hit and rng.random() < keep) or (not hit and rng.random() < gain) for hit in group] for group in old]
        low, high = clustered_ratio(old, new)
        above, below = above + (low > after / before), below + (high < after / before)
    assert above / 1000 < 0.045 and below / 1000 < 0.045


def test_differences_of_estimates_by_hand():
    # .6 (.4 to .75) less .3 (.2 to .5): .3 - sqrt(.2^2 + .2^2) = .0171573; .3 + sqrt(.15^2 + .1^2) = .4802776
    assert difference_of_estimates(0.6, (0.4, 0.75), 0.3, (0.2, 0.5)) == pytest.approx((0.0171573, 0.4802776), abs=1e-6)
    # Newcombe 1998, Statistics in Medicine 17:873-890, table II, method 10: 56/70 - 48/80
    limits = difference_of_estimates(0.8, wilson(56, 70), 0.6, wilson(48, 80))
    assert limits == pytest.approx((0.0524, 0.3339), abs=6e-5)


def test_limits_of_rates_tell_exact_ones_at_any_other_level():
    def up_to(hits, chance):  # of 20
        return sum(math.comb(20, k) * chance**k * (1 - chance) ** (20 - k) for k in range(hits + 1))

    # Clopper's and Pearson's limits of 3/20: those at which 3 or more, and 3 or fewer, have chance .025 / 5
    low, high = simultaneous(0.15, wilson(3, 20), 20, 5, rate=True)
    assert 1 - up_to(2, low) == pytest.approx(0.005, abs=1e-9)
    assert up_to(3, high) == pytest.approx(0.005, abs=1e-9)
    # 0/10: (1 - high)^10 = .005, high = 1 - exp(ln(.005) / 10) = 1 - exp(-.5298317)
    assert simultaneous(0.0, wilson(0, 10), 10, 5, rate=True) == pytest.approx((0.0, 0.4112960), abs=1e-6)
    assert simultaneous(1.0, wilson(10, 10), 10, 5, rate=True) == pytest.approx((0.5887040, 1.0), abs=1e-6)
    # at an effective n of 7.5 it is that n which counts
    assert simultaneous(0.4, wilson(3, 7.5), 30, 1, rate=True) == wilson(3, 7.5)
    assert simultaneous(0.4, wilson(3, 7.5), 30, 4, rate=True) == simultaneous(0.4, wilson(3, 7.5), 8, 4, rate=True)


def test_other_limits_are_stretched_enough():
    # 2 statements: normal quantiles 2.2414027 / 1.9599640 = 1.1435938, squared 1.3078068
    assert simultaneous(1.0, (0.0, 3.0), 50, 2) == pytest.approx((1 - 1.3078068, 1 + 2 * 1.3078068), abs=1e-6)
    # n = 3: Student's t(.9875, 2) / t(.975, 2) = 6.2053468 / 4.3026527 = 1.4422142
    assert simultaneous(0.0, (-1.0, 1.0), 3, 2) == pytest.approx((-1.4422142, 1.4422142), abs=1e-6)
    # limits that no Wilson interval has are stretched, even for a rate
    assert simultaneous(0.3, (0.2, 0.4), 50, 2, rate=True) == simultaneous(0.3, (0.2, 0.4), 50, 2)
    assert simultaneous(0.0, (-0.2, 0.2), 50, 2, rate=True) == simultaneous(0.0, (-0.2, 0.2), 50, 2)
    for statements in (2, 9, 80):
        stricter = 1 - 0.025 / statements
        for freedom in (5, 15, 99):
            exact = student.ppf(stricter, freedom)
            low, high = simultaneous(
                0.0, (-student.ppf(0.975, freedom), student.ppf(0.975, freedom)), 10**6, statements
            )
            assert high >= exact and low <= -exact
