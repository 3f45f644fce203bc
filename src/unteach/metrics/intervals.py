"""Intervals for rates, means and paired differences, of independent or clustered values.

All are two-sided with confidence ``LEVEL``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from scipy.stats import t as student

LEVEL = 0.95
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)


def wilson(successes: float, n: float) -> tuple[float, float] | None:
    """Wilson score interval of a rate (Wilson 1927); ``None`` for n = 0.

    centre = (p + z^2 / 2n) / (1 + z^2 / n);  half = z / (1 + z^2 / n) sqrt(p (1 - p) / n + z^2 / 4n^2)
    """
    if n == 0:
        return None
    p = successes / n
    scale = 1 + _Z**2 / n
    centre = (p + _Z**2 / (2 * n)) / scale
    half = _Z / scale * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
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
    clusters of m_i outcomes and y_i hits, n = sum m_i and p = sum y_i / n, the Wilson interval of p at n / deff, where
    deff = [k / (k - 1) sum (y_i - m_i p)^2 / n^2] / [p (1 - p) / n]  (Kish 1965; Rao and Scott 1992)
    is kept within 1 and the mean cluster size. The latter stands in where the data say nothing: one cluster, p = 0, 1.
    """
    clusters = [group for group in groups if len(group)]
    k, n = len(clusters), sum(len(group) for group in clusters)
    if n == 0:
        return None
    hits = sum(sum(group) for group in clusters)
    p, effect = hits / n, n / k
    if k > 1 and 0 < p < 1:
        effect = min(max(1.0, _ratio_variance(clusters, p) / (p * (1 - p) / n)), effect)
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


def _ratio_variance(clusters: Sequence[Sequence[float]], ratio: float) -> float:
    """Variance of a pooled mean between two or more clusters."""
    k, n = len(clusters), sum(len(group) for group in clusters)
    squares = sum((sum(group) - len(group) * ratio) ** 2 for group in clusters)
    return k / (k - 1) * squares / n**2
