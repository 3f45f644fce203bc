"""Intervals for rates, means and paired differences, of independent or clustered values.

All are two-sided with confidence ``LEVEL``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from scipy.stats import beta
from scipy.stats import t as student

LEVEL = 0.95
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
_PRIOR = 2
"""How many clusters the belief counts for that all answers of a cluster agree."""


def wilson(successes: float, n: float) -> tuple[float, float] | None:
    """Wilson score interval of a rate (Wilson 1927); ``None`` for n = 0.

    centre = (p + z^2 / 2n) / (1 + z^2 / n);  half = z / (1 + z^2 / n) sqrt(p (1 - p) / n + z^2 / 4n^2)
    """
    if n == 0:
        return None
    return _wilson(successes / n, n, _Z)


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    scale = 1 + z**2 / n
    centre = (p + z**2 / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of a mean; ``None`` for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    half = float(student.ppf(0.5 + LEVEL / 2, n - 1)) * stdev(values) / math.sqrt(n)
    return fmean(values) - half, fmean(values) + half


def paired_rate_difference(before: Sequence[bool], after: Sequence[bool]) -> tuple[float, float] | None:
    """Interval of rate(after) - rate(before) on the same questions (Newcombe 1998, method 10); ``None`` for n = 0.

    With Wilson limits (l, u) of both rates and phi the correlation of the paired outcomes (its numerator shrunk by
    n / 2 when positive):
    lower = d - sqrt((pa - la)^2 - 2 phi (pa - la)(ub - pb) + (ub - pb)^2), and upper with the other limits.
    """
    n = len(before)
    both = sum(b and a for b, a in zip(before, after, strict=True))
    only_after, only_before = sum(after) - both, sum(before) - both
    neither = n - both - only_after - only_before
    limits_before, limits_after = wilson(sum(before), n), wilson(sum(after), n)
    if limits_before is None or limits_after is None:
        return None
    pb, pa = sum(before) / n, sum(after) / n
    phi = _phi(both, only_after, only_before, neither)
    down_after, up_after = pa - limits_after[0], limits_after[1] - pa
    down_before, up_before = pb - limits_before[0], limits_before[1] - pb
    lower = (pa - pb) - math.sqrt(max(0.0, down_after**2 - 2 * phi * down_after * up_before + up_before**2))
    upper = (pa - pb) + math.sqrt(max(0.0, up_after**2 - 2 * phi * up_after * down_before + down_before**2))
    return max(-1.0, lower), min(1.0, upper)


def _phi(both: int, only_after: int, only_before: int, neither: int) -> float:
    n = both + only_after + only_before + neither
    product = (both + only_after) * (only_before + neither) * (both + only_before) * (only_after + neither)
    if product == 0:
        return 0.0
    numerator: float = both * neither - only_after * only_before
    if numerator > 0:
        numerator = max(numerator - n / 2, 0.0)
    return numerator / math.sqrt(product)


def paired_mean_difference(before: Sequence[float], after: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of the mean of after - before on the same questions; ``None`` for fewer than two."""
    return mean_interval([a - b for b, a in zip(before, after, strict=True)])


def clustered_rate(groups: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Wilson interval of the pooled rate of 0/1 outcomes that come in clusters; ``None`` without outcomes.

    ``groups``: the outcomes by cluster (all answers about one scenario, say); empty clusters do not count. With k
    clusters of m_i outcomes and y_i hits, n = sum m_i and p = sum y_i / n, the Wilson interval of p at n / deff. The
    design effect (Kish 1965; Rao and Scott 1992)
    deff = [k / (k - 1) sum (y_i - m_i p)^2 / n^2] / [p (1 - p) / n], kept within 1 and the mean cluster size,
    is known badly where few clusters hold a hit, or few a miss. With h the smaller of these two numbers it is drawn
    towards the mean cluster size: (h deff + ``_PRIOR`` n / k) / (h + ``_PRIOR``), so that p = 0 and p = 1 count
    clusters. Without this the upper limit of a rate of 5 % lies below it in up to 13 % of samples
    (``benchmarks/claims.py``).
    """
    clusters = [group for group in groups if len(group)]
    k, n = len(clusters), sum(len(group) for group in clusters)
    if n == 0:
        return None
    hits = sum(sum(group) for group in clusters)
    p, size = hits / n, n / k
    effect = size
    if k > 1 and 0 < p < 1:
        seen = min(max(1.0, _ratio_variance(clusters, p) / (p * (1 - p) / n)), size)
        told = _telling(clusters)
        effect = (told * seen + _PRIOR * size) / (told + _PRIOR)
    return wilson(hits / effect, n / effect)


def clustered_mean(groups: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Student's t interval of the pooled mean of values that come in clusters; ``None`` for fewer than two clusters.

    ``groups``: the values by cluster; empty clusters do not count. The pooled mean is the ratio r = sum y_i / sum m_i
    of cluster totals to cluster sizes, with the linearised variance (Cochran 1977, section 6.3)
    k / (k - 1) sum (y_i - m_i r)^2 / (sum m_i)^2  and k - 1 degrees of freedom. With clusters of one value, or of one
    size, this is ``mean_interval`` of the values, or of the cluster means.
    """
    clusters = [group for group in groups if len(group)]
    k = len(clusters)
    if k < 2:
        return None
    mean = sum(sum(group) for group in clusters) / sum(len(group) for group in clusters)
    half = float(student.ppf(0.5 + LEVEL / 2, k - 1)) * math.sqrt(_ratio_variance(clusters, mean))
    return mean - half, mean + half


def clustered_ratio(before: Sequence[Sequence[float]], after: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """Interval of rate(after) / rate(before) of 0/1 outcomes that come in clusters; ``None`` if nothing was hit before.

    ``before`` and ``after``: the outcomes by cluster, the same clusters in the same order. With the ``clustered_rate``
    limits (l, u) of both rates p and r the correlation of their cluster residuals y_i - m_i p (0 if negative, and
    shrunk like the design effect where few clusters tell it), the limits are those ratios t at which the interval of
    p_after - t p_before by square and add ends at 0 (Donner and Zou 2012, with the correlation kept):
    (p_after - t p_before)^2 = A^2 + t^2 B^2 - 2 r t A B,
    the smaller root with A = p_after - l_after, B = u_before - p_before, the larger one with the other limits.
    """
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if len(b) and len(a)]
    olds, news = [b for b, _ in pairs], [a for _, a in pairs]
    limits_old, limits_new = clustered_rate(olds), clustered_rate(news)
    old, new = (sum(map(sum, groups)) / max(1, sum(map(len, groups))) for groups in (olds, news))
    if limits_old is None or limits_new is None or old == 0:
        return None
    r = _residual_correlation(olds, old, news, new)
    (low_old, high_old), (low_new, high_new) = limits_old, limits_new
    low_spread, high_spread = (new - low_new, high_old - old), (high_new - new, old - low_old)
    middle, root = _ratio_terms(new, old, *low_spread, r)
    low = (new**2 - low_spread[0] ** 2) / (middle + root) if middle + root > 0 else 0.0
    middle, root = _ratio_terms(new, old, *high_spread, r)
    return max(0.0, low), (middle + root) / (old**2 - high_spread[1] ** 2)


def _ratio_terms(new: float, old: float, a: float, b: float, r: float) -> tuple[float, float]:
    """Of t^2 (old^2 - b^2) - 2 t middle + new^2 - a^2 = 0: its middle, and the root in its solution."""
    middle = new * old - r * a * b
    return middle, math.sqrt(max(0.0, middle**2 - (old**2 - b**2) * (new**2 - a**2)))


def _residual_correlation(
    first: Sequence[Sequence[float]], p: float, second: Sequence[Sequence[float]], q: float
) -> float:
    x = [sum(group) - len(group) * p for group in first]
    y = [sum(group) - len(group) * q for group in second]
    product = math.sqrt(sum(a * a for a in x) * sum(b * b for b in y))
    if product == 0:
        return 0.0
    told = min(_telling(first), sum(sum(group) > 0 for group in second))
    return max(0.0, sum(a * b for a, b in zip(x, y, strict=True)) / product) * told / (told + _PRIOR)


def _telling(clusters: Sequence[Sequence[float]]) -> int:
    """How many clusters hold a hit, or a miss if that is fewer."""
    hit, missed = (sum(sum(g) > 0 for g in clusters), sum(sum(g) < len(g) for g in clusters))
    return min(hit, missed)


def _ratio_variance(clusters: Sequence[Sequence[float]], ratio: float) -> float:
    """Variance of a pooled mean between two or more clusters."""
    k, n = len(clusters), sum(len(group) for group in clusters)
    squares = sum((sum(group) - len(group) * ratio) ** 2 for group in clusters)
    return k / (k - 1) * squares / n**2


def difference_of_estimates(
    first: float, first_limits: tuple[float, float], second: float, second_limits: tuple[float, float]
) -> tuple[float, float]:
    """Limits of first - second from the limits of both (square and add: Newcombe 1998, Zou and Donner 2008).

    lower = d - sqrt((first - lower1)^2 + (upper2 - second)^2), and upper with the other limits. Right for independent
    estimates. Answers to the same questions are correlated positively: the interval is then wider than need be.
    """
    (low1, high1), (low2, high2) = first_limits, second_limits
    difference = first - second
    return (
        difference - math.hypot(first - low1, high2 - second),
        difference + math.hypot(high1 - first, second - low2),
    )


def simultaneous(
    value: float, limits: tuple[float, float], n: int, statements: int, rate: bool = False
) -> tuple[float, float]:
    """Limits that hold together for several statements (Bonferroni), from one statement's ``LEVEL`` limits alone.

    ``rate``: the limits are Wilson's. The score equation (p - limit)^2 = z^2 limit (1 - limit) / n then gives back
    the n (or effective n) that they were made with, and Clopper's and Pearson's limits of p at that n and the stricter
    level are taken: Wilson's err far more than they should at such levels. Other intervals do not tell how they grow,
    so both sides are stretched by the square of the ratio of normal quantiles, or by the ratio of Student's quantiles
    at n - 1 degrees of freedom if that is more. The square is how a score interval grows at a rate of 0, where it
    grows fastest; up to 80 statements it covers Student's t from five degrees of freedom on.
    """
    if statements <= 1:
        return limits
    level = 0.5 + LEVEL / 2
    stricter = 1 - (1 - level) / statements
    z = NormalDist().inv_cdf(stricter)
    size = _wilson_size(value, limits) if rate else None
    if size is not None:
        low, high = _clopper_pearson(value * size, size, 1 - stricter)
        return min(low, limits[0]), max(high, limits[1])
    stretch = (z / _Z) ** 2
    if n > 1:
        stretch = max(stretch, float(student.ppf(stricter, n - 1) / student.ppf(level, n - 1)))
    return value - stretch * (value - limits[0]), value + stretch * (limits[1] - value)


def _clopper_pearson(hits: float, n: float, tail: float) -> tuple[float, float]:
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits > 1e-9 else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if n - hits > 1e-9 else 1.0
    return low, high


def _wilson_size(p: float, limits: tuple[float, float]) -> float | None:
    """The n of a Wilson interval; ``None`` if the limits are not those of one."""
    away = [limit for limit in limits if abs(limit - p) > 1e-9]
    ends = sum(abs(p - end) < 1e-9 for end in (0, 1))  # at 0 and 1 one limit is the rate itself
    if not (-1e-9 < limits[0] <= p + 1e-9 and p - 1e-9 <= limits[1] < 1 + 1e-9) or len(away) != 2 - ends:
        return None
    sizes = [_Z**2 * limit * (1 - limit) / (p - limit) ** 2 for limit in away]
    return sizes[0] if 0 < max(sizes) <= min(sizes) * 1.001 else None
