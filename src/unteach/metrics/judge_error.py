"""What a judge's errors do to a rate or a mean grade: the judged number beside the one corrected by a sample.

Raters of the sample are taken to be right. Pairs have the judge first and the raters' label second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unteach.metrics.agreement import (
    DRAWS,
    Estimate,
    Label,
    Pair,
    Scale,
    difference,
    limits,
    table_draws,
    weighted_rate,
)
from unteach.metrics.intervals import LEVEL, clustered_mean, clustered_rate, difference_of_estimates, mean_interval
from unteach.records import Record


class Corrected(Record):
    """One number of the run, as judged and as corrected. ``None`` stands for all models, or all languages.

    ``errors_of`` is the language whose sample the judge's errors were read from.
    """

    model: str | None
    language: str | None
    errors_of: str | None
    judged: Estimate
    corrected: Estimate


@dataclass(frozen=True)
class JudgeErrors:
    """Sensitivity and specificity of a judge, with draws of both where they can be told."""

    sensitivity: Estimate
    specificity: Estimate
    draws: tuple[NDArray[np.float64], NDArray[np.float64]] | None

    @property
    def reason(self) -> str:
        """Why no rate can be corrected by them; empty if one can."""
        for name, estimate in (("positives", self.sensitivity), ("negatives", self.specificity)):
            if estimate.value is None:
                return f"the sample has no {name}, so the judge's errors on them are not known"
        if (self.sensitivity.value or 0) + (self.specificity.value or 0) <= 1:
            return "sensitivity + specificity is 1 or less: the judge tells no more than chance"
        return ""


def judge_errors(pairs: Sequence[Pair], positive: Label, seed: int = 0) -> JudgeErrors:
    """Sensitivity = share of true positives that the judge calls positive; specificity = the same of negatives.

    Wilson intervals at the effective n.
    """
    told = [Pair(pair.first == positive, pair.second == positive, pair.weight) for pair in pairs]
    right = {truth: [pair for pair in told if pair.second is truth] for truth in (True, False)}
    sensitivity, specificity = (
        weighted_rate([pair.first is truth for pair in chosen], [pair.weight for pair in chosen])
        for truth, chosen in right.items()
    )
    if sensitivity.value is None or specificity.value is None:
        return JudgeErrors(sensitivity, specificity, None)
    tables = table_draws(told, seed, labels=(True, False))
    called = tables[:, 0, 0] / tables[:, :, 0].sum(1), tables[:, 1, 1] / tables[:, :, 1].sum(1)
    return JudgeErrors(sensitivity, specificity, called)


def rogan_gladen(judged: float, sensitivity: float, specificity: float) -> float | None:
    """The rate behind a judged one: (p + spec - 1) / (sens + spec - 1), cut to 0..1 (Rogan and Gladen 1978).

    None where sens + spec is 1 or less.
    """
    tells = sensitivity + specificity - 1
    return min(1.0, max(0.0, (judged + specificity - 1) / tells)) if tells > 1e-12 else None


def judged_rate(clusters: Sequence[Sequence[float]]) -> Estimate:
    """The judge's own rate on 0/1 outcomes by item: Wilson's interval, by item where an item has several."""
    return _pooled(clusters, clustered_rate(clusters))


def corrected_rate(clusters: Sequence[Sequence[float]], errors: JudgeErrors, seed: int = 0) -> Estimate:
    """The rate of 0/1 outcomes by item, corrected; n is that of the sample behind it.

    The interval holds the middle 95 % of ``DRAWS`` corrected rates, each of one draw of the judge's errors and one of
    the judged rate (the Bayesian bootstrap over the sample and over the items). It is 0 to 1 where more than
    2.5 % of the draws have a judge that tells no more than chance: such a sample says nothing.
    """
    n = errors.sensitivity.n + errors.specificity.n
    judged = judged_rate(clusters)
    reason = judged.reason or errors.reason
    if reason or errors.draws is None:
        return Estimate(value=None, n=n, reason=reason)
    value = rogan_gladen(judged.value or 0.0, errors.sensitivity.value or 0.0, errors.specificity.value or 0.0)
    if value is None:
        return Estimate(value=None, n=n, reason=errors.reason)
    sensitivity, specificity = errors.draws
    tells = sensitivity + specificity - 1
    low, high = 0.0, 1.0
    if (tells <= 0).mean() <= (1 - LEVEL) / 2:
        rates = (rate_draws(clusters, seed) + specificity - 1)[tells > 0] / tells[tells > 0]
        low, high = limits(np.clip(rates, 0, 1))
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=n)


def rate_draws(clusters: Sequence[Sequence[float]], seed: int = 0) -> NDArray[np.float64]:
    """``DRAWS`` rates that the items might as well have given: each item counts an exponential number.

    Half an item of hits and half an item of misses are added: with one outcome an item this is the Beta posterior
    under Jeffreys' prior.
    """
    rng = np.random.default_rng([seed, 1])
    sizes = np.array([len(cluster) for cluster in clusters if len(cluster)], dtype=float)
    hits = np.array([sum(cluster) for cluster in clusters if len(cluster)], dtype=float)
    counts = rng.standard_exponential((DRAWS, len(sizes)))
    ends = rng.gamma(0.5, size=(DRAWS, 2)) * sizes.mean()
    rates: NDArray[np.float64] = (counts @ hits + ends[:, 0]) / (counts @ sizes + ends.sum(1))
    return rates


def judged_mean(clusters: Sequence[Sequence[float]]) -> Estimate:
    """The judge's mean grade, with Student's t interval, by item where an item has several."""
    single = all(len(cluster) <= 1 for cluster in clusters)
    flat = [value for cluster in clusters for value in cluster]
    return _pooled(clusters, mean_interval(flat) if single else clustered_mean(clusters))


def corrected_mean(clusters: Sequence[Sequence[float]], pairs: Sequence[Pair]) -> Estimate:
    """The mean grade plus the mean of raters' less judge's grades, cut to 1..10.

    The interval is by square and add from that of the mean and the paired one of the difference.
    """
    judged, bias = judged_mean(clusters), difference(pairs, Scale())
    if judged.value is None or bias.value is None:
        return Estimate(value=None, n=bias.n, reason=judged.reason or bias.reason)
    value = _cut(judged.value + bias.value)
    if judged.low is None or judged.high is None or bias.low is None or bias.high is None:
        return Estimate(value=value, n=bias.n, reason="no interval: too few grades")
    low, high = difference_of_estimates(judged.value, (judged.low, judged.high), -bias.value, (-bias.high, -bias.low))
    return Estimate(value=value, low=_cut(low), high=_cut(high), n=bias.n)


def _cut(grade: float) -> float:
    return min(10.0, max(1.0, grade))


def _pooled(clusters: Sequence[Sequence[float]], interval: tuple[float, float] | None) -> Estimate:
    n = sum(map(len, clusters))
    if n == 0:
        return Estimate(value=None, reason="nothing was scored")
    low, high = interval or (None, None)
    return Estimate(value=sum(map(sum, clusters)) / n, low=low, high=high, n=n)
