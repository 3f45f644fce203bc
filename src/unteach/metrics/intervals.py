"""Intervals for rates, means and paired differences. All are two-sided with confidence ``LEVEL``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev

from scipy.stats import t as student

LEVEL = 0.95
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)


def wilson(successes: float, n: int) -> tuple[float, float] | None:
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
