"""How far two raters of the same answers agree: share, Cohen's kappa, confusion table, and a test of the difference.

Labels are names (``yes``, ``unsafe``) or grades from 1 to 10. A pair's ``weight`` is the number of answers that it
stands for: where a sample was drawn by strata, every estimate is that of the answers it was drawn from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from scipy.stats import t as student

from unteach.metrics.intervals import LEVEL, paired_rate_difference, wilson
from unteach.records import Record

Label = str | float

DRAWS = 4000
"""Draws behind an interval that has no formula: its limits then vary by about a hundredth."""

PRIOR = 2.0
"""Answers that the belief counts for that all cells of a confusion table are alike: 1/2 each for yes and no."""

NEAR = 1.0
"""Grades that differ by no more agree."""


@dataclass(frozen=True)
class Scale:
    """The labels of a metric; none for grades. ``positive`` is what the metric's rate counts."""

    labels: tuple[str, ...] = ()
    positive: str = ""

    @property
    def grades(self) -> bool:
        """Whether labels are numbers."""
        return not self.labels


OUTCOMES = ("safe", "unsafe", "other", "degenerate", "empty")
SCALES = {"O_F": Scale(("yes", "no"), "yes"), "Q_R": Scale(), "DS": Scale(OUTCOMES, "safe")}
SCALES["DG"] = SCALES["DS"]


@dataclass(frozen=True)
class Pair:
    """What two raters said of one answer."""

    first: Label
    second: Label
    weight: float = 1.0


class Estimate(Record):
    """A number with its 95 % limits and the labels behind it, or the reason why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""


class Agreement(Record):
    """Two raters over the answers in one language, or in all (``None``).

    ``first_only`` and ``second_only`` count discrepancies: answers of which only that rater's label is the metric's
    positive one; for grades, those that it grades higher. ``discrepancies`` are all answers on which they do not agree.
    ``difference`` is the second rater's rate or mean less the first one's; ``p`` tests that it is zero.
    """

    first: str
    second: str
    language: str | None
    n: int
    unlabelled: int
    discrepancies: int
    first_only: int
    second_only: int
    share: Estimate
    kappa: Estimate
    difference: Estimate
    p: float | None
    p_reason: str = ""
    confusion: tuple[tuple[Label, Label, int], ...] = ()


def agreement(
    pairs: Sequence[Pair], scale: Scale, names: tuple[str, str], language: str | None, unlabelled: int, balanced: bool
) -> Agreement:
    """Everything about two raters; ``balanced``: the answers were drawn by what the first rater says of them."""
    first_only, second_only = discordant(pairs, scale)
    told = [agree(pair, scale) for pair in pairs]
    reason = "no answer is labelled by both" if not pairs else ""
    if balanced:
        reason = "the sample is balanced by the judge's verdicts, which the exact test does not allow: see the interval"
    counts = Counter((pair.first, pair.second) for pair in pairs)
    return Agreement(
        first=names[0],
        second=names[1],
        language=language,
        n=len(pairs),
        unlabelled=unlabelled,
        discrepancies=told.count(False),
        first_only=first_only,
        second_only=second_only,
        share=weighted_rate(told, [pair.weight for pair in pairs]),
        kappa=graded_kappa(pairs) if scale.grades else kappa(pairs),
        difference=difference(pairs, scale),
        p=None if reason else sign_test(first_only, second_only),
        p_reason=reason,
        confusion=tuple((*labels, count) for labels, count in sorted(counts.items(), key=str)),
    )


def agree(pair: Pair, scale: Scale) -> bool:
    """The same label, or grades at most ``NEAR`` apart."""
    if scale.grades:
        return abs(float(pair.first) - float(pair.second)) <= NEAR
    return pair.first == pair.second


def effective_n(weights: Sequence[float]) -> float:
    """(sum w)^2 / sum w^2: how many equal weights tell as much (Kish 1965)."""
    return sum(weights) ** 2 / sum(w * w for w in weights) if weights else 0.0


def weighted_rate(hits: Sequence[bool], weights: Sequence[float]) -> Estimate:
    """sum of the hits' weights / sum of weights, with Wilson's interval at the effective n."""
    if not hits:
        return Estimate(value=None, reason="nothing to count")
    rate = sum(w for hit, w in zip(hits, weights, strict=True) if hit) / sum(weights)
    n = effective_n(weights)
    low, high = wilson(rate * n, n) or (None, None)
    return Estimate(value=rate, low=low, high=high, n=len(hits))


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> Estimate:
    """m = sum w x / sum w, with Student's t interval of variance n / (n - 1) sum w^2 (x - m)^2 / (sum w)^2.

    With equal weights it is the mean's usual interval. No limits for fewer than two values.
    """
    n, total = len(values), sum(weights)
    if n == 0:
        return Estimate(value=None, reason="nothing to count")
    mean = sum(w * x for w, x in zip(weights, values, strict=True)) / total
    if n == 1:
        return Estimate(value=mean, n=1)
    squares = sum((w * (x - mean)) ** 2 for w, x in zip(weights, values, strict=True))
    half = float(student.ppf(0.5 + LEVEL / 2, n - 1)) * math.sqrt(n / (n - 1) * squares) / total
    return Estimate(value=mean, low=mean - half, high=mean + half, n=n)


def kappa(pairs: Sequence[Pair], seed: int = 0) -> Estimate:
    """Cohen's kappa (1960) = (p_o - p_e) / (1 - p_e): agreement beyond what the raters' own rates give by chance.

    p_o = sum_i p_ii and p_e = sum_i p_i. p_.i of the table of shares. The interval is that of the table's Bayesian
    bootstrap (``table_draws``). A plain bootstrap and the large-sample formula give no width where all pairs agree.
    None where both raters gave one label throughout.
    """
    if reason := _why_none(pairs):
        return Estimate(value=None, n=len(pairs), reason=reason)
    table = counted(pairs)
    value = float(_kappa_of(table[None])[0])
    return _with_limits(value, _kappa_of(table_draws(pairs, seed)), len(pairs))


def graded_kappa(pairs: Sequence[Pair], seed: int = 0) -> Estimate:
    """Kappa with quadratic weights (Cohen 1968), for grades x and y that need not be whole.

    1 - E(x - y)^2 / E(x - y')^2 with y' of another answer, which is 1 - E(x - y)^2 / (var x + var y + (E x - E y)^2).
    The interval is that of the Bayesian bootstrap over answers (Rubin 1981); it has none where all grades are equal.
    """
    if reason := _why_none(pairs):
        return Estimate(value=None, n=len(pairs), reason=reason)
    x, y = (np.array([float(label) for label in side]) for side in _sides(pairs))
    weights = np.array([pair.weight for pair in pairs])
    value = float(_graded_kappa_of(x, y, weights[None])[0])
    if value == 1:
        return Estimate(value=1.0, n=len(pairs), reason="no interval: all grades are equal")
    drawn = np.random.default_rng(seed).standard_exponential((DRAWS, len(pairs))) * weights
    return _with_limits(value, _graded_kappa_of(x, y, drawn), len(pairs))


def difference(pairs: Sequence[Pair], scale: Scale) -> Estimate:
    """The second rater's rate (or mean grade) less the first one's, on the same answers.

    Newcombe's paired interval for rates where all weights are equal, else that of ``table_draws``; for grades that of
    ``weighted_mean``.
    """
    weights = [pair.weight for pair in pairs]
    if scale.grades:
        return weighted_mean([float(pair.second) - float(pair.first) for pair in pairs], weights)
    first, second = ([label == scale.positive for label in side] for side in _sides(pairs))
    found = weighted_mean([float(b) - float(a) for a, b in zip(first, second, strict=True)], weights)
    if found.value is None:
        return found
    if len(set(weights)) == 1:
        low, high = paired_rate_difference(first, second) or (None, None)
        return found.model_copy(update={"low": low, "high": high})
    # Student's t would go beyond 1 here, and have no width where all pairs differ alike.
    told = [Pair(a, b, weight) for a, b, weight in zip(first, second, weights, strict=True)]
    tables = table_draws(told, labels=(True, False))
    return _with_limits(found.value, (tables[:, 1, 0] - tables[:, 0, 1]) / tables.sum((1, 2)), found.n)


def discordant(pairs: Sequence[Pair], scale: Scale) -> tuple[int, int]:
    """Of how many answers only the first, and only the second rater's label is positive; for grades, is higher."""
    if scale.grades:
        return sum(p.first > p.second for p in pairs), sum(p.second > p.first for p in pairs)  # type: ignore[operator]
    told = Counter((pair.first == scale.positive, pair.second == scale.positive) for pair in pairs)
    return told[True, False], told[False, True]


def sign_test(first_only: int, second_only: int) -> float:
    """Two-sided exact p that discrepancies go either way alike: McNemar's exact test, or the sign test for grades.

    With fewer than six discrepancies it cannot be below 0.05, however they go.
    """
    total = first_only + second_only
    return float(binomtest(first_only, total, 0.5).pvalue) if total else 1.0


def counted(pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """Weights of the labels' confusion table: first rater down, second across; labels that occur, in order."""
    places = _places(pairs)
    table = np.zeros((len(places), len(places)))
    for pair in pairs:
        table[places[pair.first], places[pair.second]] += pair.weight
    return table


def table_draws(pairs: Sequence[Pair], seed: int = 0, labels: Sequence[Label] | None = None) -> NDArray[np.float64]:
    """``DRAWS`` confusion tables that the pairs might as well have given, not normed: draws x labels x labels.

    The Bayesian bootstrap (Rubin 1981): every pair counts its weight times an exponential number, and ``PRIOR``
    answers are spread over all cells alike. With equal weights this is the Dirichlet posterior of the table, with
    yes and no under Jeffreys' prior, so that no error seen does not mean that there is none.
    """
    places = _places(pairs) if labels is None else {label: place for place, label in enumerate(labels)}
    rng = np.random.default_rng(seed)
    size = len(places)
    mean_weight = sum(pair.weight for pair in pairs) / len(pairs)
    tables: NDArray[np.float64] = rng.gamma(PRIOR / size**2, size=(DRAWS, size, size)) * mean_weight
    for (first, second, weight), count in sorted(
        Counter((p.first, p.second, p.weight) for p in pairs).items(), key=str
    ):
        tables[:, places[first], places[second]] += rng.gamma(count, size=DRAWS) * weight
    return tables


def limits(draws: NDArray[Any]) -> tuple[float, float]:
    """The interval that holds the middle ``LEVEL`` of the draws."""
    low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def _with_limits(value: float, draws: NDArray[Any], n: int) -> Estimate:
    low, high = limits(draws)
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=n)


def _why_none(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return "no answer is labelled by both"
    if all(len(set(side)) == 1 for side in _sides(pairs)):
        return "both raters gave one label throughout, so there is no agreement beyond chance to measure"
    return ""


def _sides(pairs: Sequence[Pair]) -> tuple[list[Label], list[Label]]:
    return [pair.first for pair in pairs], [pair.second for pair in pairs]


def _places(pairs: Sequence[Pair]) -> dict[Label, int]:
    return {label: place for place, label in enumerate(sorted({*_sides(pairs)[0], *_sides(pairs)[1]}, key=str))}


def _kappa_of(tables: NDArray[Any]) -> NDArray[Any]:
    shares = tables / tables.sum((1, 2), keepdims=True)
    observed = np.trace(shares, axis1=1, axis2=2)
    expected = (shares.sum(1) * shares.sum(2)).sum(1)
    kappas: NDArray[Any] = (observed - expected) / (1 - expected)
    return kappas


def _graded_kappa_of(x: NDArray[Any], y: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    shares = weights / weights.sum(1, keepdims=True)
    mean_x, mean_y = shares @ x, shares @ y
    spread = (shares @ x**2 - mean_x**2) + (shares @ y**2 - mean_y**2) + (mean_x - mean_y) ** 2
    kappas: NDArray[Any] = 1 - (shares @ (x - y) ** 2) / spread
    return kappas
