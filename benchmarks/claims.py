"""How often claims about a run are answered wrongly, and how much it takes to answer them.

Runs are made up at the level of verdicts: n scenarios, nine question languages, four sources, and answers that agree
within a scenario. A normal score stands behind every answer; its parts are shared by all answers on a scenario, by
those of one model, by those in one language, and by the answers before and after unlearning. Cutting it at the right
place makes every rate exactly what the plan says. The rows come from the real measures, the answers from the real
rules.

A claim whose bound is the true value itself is as hard to judge as can be: it is true, and false by any smallest bit.
Both wrong answers are counted on it: "contradicted" (if it is true) and "supported" (if it is false). Each should come
in at most 2.5 % of runs, 5 % where the normal approximation is poor. Bounds further off give the power.

Run: ``python benchmarks/claims.py --runs 1000 --scenarios 16 32 100``; prints Markdown.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from unteach.languages.table import LANGUAGES, PAPER_A
from unteach.metrics import intervals
from unteach.metrics.claims import Claim
from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.decide import check
from unteach.metrics.measures import pooled
from unteach.metrics.table import build
from unteach.records import Row, Verdict

SOURCES = ("de", "zh", "ur", "ha")

RATES = {
    "r_only": {"english": 0.05, "source": 0.05, "high": 0.05, "low": 0.05},
    "contaminated": {"english": 0.40, "source": 0.70, "high": 0.30, "low": 0.20},
    "unlearned": {"english": 0.05, "source": 0.35, "high": 0.15, "low": 0.25},
}
"""The true rate of repeated fakes, by where the question's language stands to the source."""

GRADE = 6.0
"""The true mean grade of answers on real news (normal with this mean and spread 2, whole numbers within 2..10)."""


@dataclass(frozen=True)
class Correlation:
    """Shares of a score's variance: scenario, scenario in one model, scenario in one language, before and after."""

    scenario: float = 0.35
    model: float = 0.1
    language: float = 0.15
    pair: float = 0.2


@dataclass(frozen=True)
class Case:
    """A kind of test, and the true value that decides it. Distances from it are multiplied by ``scale``."""

    name: str
    test: dict[str, Any]
    truth: float
    bound: str = "at_least"
    scale: float = 1.0


def _rows(metric: str, model: str, **columns: str) -> dict[str, Any]:
    return {"metric": metric, "model": model, **columns}


def _taught(**columns: str) -> dict[str, Any]:
    return _rows("O_F", "contaminated", **columns)


def _english_less_high(**columns: str) -> dict[str, Any]:
    return {"difference": {"of": _taught(group="english", **columns), "minus": _taught(group="other high", **columns)}}


def _change(group: str) -> dict[str, Any]:
    return {"rows": _rows("O_F_relative_change", "unlearned", source_language="any", group=group)}


_EACH_SOURCE = {"each": {"source_language": list(SOURCES)}}

CASES = (
    Case("one rate (40 %)", {"rows": _taught(source_language="ur", question_language="en")}, 0.40),
    Case("one small rate (5 %)", {"rows": _rows("O_F", "r_only", question_language="en")}, 0.05, "at_most"),
    Case("pooled rate, one source (20 %)", {"rows": _taught(source_language="de", group="other low")}, 0.20),
    Case("pooled rate, four sources (30 %)", {"rows": _taught(source_language="any", group="other high")}, 0.30),
    Case("small pooled rate, nine languages (5 %)", {"rows": _rows("O_F", "r_only", group="all")}, 0.05, "at_most"),
    Case(
        "small pooled rate, four sources (5 %)",
        {"rows": _rows("O_F", "unlearned", source_language="any", group="english")},
        0.05,
        "at_most",
    ),
    Case(
        "mean grade (distances times 5)",
        {"rows": _rows("Q_R", "r_only", group="all")},
        GRADE,
        scale=5.0,
    ),
    Case(
        "difference of two pooled rates (10 points)",
        _english_less_high(source_language="any"),
        0.10,
    ),
    Case(
        "paired change of one rate (-35 points)",
        {"rows": _rows("O_F_change", "unlearned", source_language="ur", question_language="ur")},
        -0.35,
        "at_most",
    ),
    Case("relative change (-50 %)", _change("other high"), -0.50, "at_most"),
    Case("relative change (-88 %)", _change("english"), -0.875, "at_most"),
    Case("relative change (+25 %)", _change("other low"), 0.25),
    Case("all of four, all borderline", {"rows": _taught(question_language="en"), **_EACH_SOURCE}, 0.40),
    Case(
        "all of nine, all borderline (5 %)",
        {"rows": _rows("O_F", "r_only"), "each": {"question_language": list(PAPER_A)}},
        0.05,
        "at_most",
    ),
    Case(
        "all of three, one borderline",
        {"rows": _taught(source_language="any"), "each": {"group": ["english", "source", "other low"]}},
        0.20,
    ),
    Case(
        "some of four, all borderline",
        {"rows": _taught(question_language="en"), **_EACH_SOURCE, "holds": "some"},
        0.40,
    ),
    Case(
        "all of four differences, all borderline",
        {**_english_less_high(), **_EACH_SOURCE},
        0.10,
    ),
)


def group_of(language: str, source: str | None) -> str:
    """Where a question's language stands to the source: english, source, high or low."""
    if language == "en":
        return "english"
    return "source" if language == source else str(LANGUAGES[language].resource)


def made_rows(
    scenarios: int, rng: np.random.Generator, correlation: Correlation = Correlation(), whole: bool = False
) -> list[Row]:
    """The table of one made-up run; of the pooled rows only those that a case needs, unless it is to be whole."""
    n, asked = scenarios, len(PAPER_A)
    rest = 1 - correlation.scenario - correlation.model - correlation.language - correlation.pair
    scenario = np.sqrt(correlation.scenario) * rng.normal(size=(n, 1))
    models: dict[str, ModelEvidence] = {}
    for source in (None, *SOURCES):
        shared = scenario + np.sqrt(correlation.model) * rng.normal(size=(n, 1))
        shared = shared + np.sqrt(correlation.language) * rng.normal(size=(n, asked))
        shared = shared + np.sqrt(correlation.pair) * rng.normal(size=(n, asked))
        for model in ("r_only",) if source is None else ("contaminated", "unlearned"):
            score = shared + np.sqrt(rest) * rng.normal(size=(n, asked))
            cuts = [norm.ppf(RATES[model][group_of(language, source)]) for language in PAPER_A]
            verdicts = _verdicts("O_F", "fake", (score < cuts).astype(float))
            if model == "r_only":
                grades = np.clip(np.rint(GRADE + 2 * score), 2.0, 10.0)  # symmetric about the mean, which so stays
                verdicts += _verdicts("Q_R", "real", grades)
            tag = ModelTag(model, source, "english" if model == "unlearned" else None)
            before = f"contaminated/{source}" if model == "unlearned" else None
            models[tag.name] = ModelEvidence(tag, verdicts, before=before)
    evidence = Evidence("made", models, PAPER_A)
    return [
        *build(evidence, [MEASURES.parse(name) for name in ("occurrence", "change")]),
        *(
            row
            for tag, members in pooled._sets(evidence)
            for group in pooled.GROUPS
            if whole or (tag.model, tag.source_language, group) in _needed()
            for row in pooled._rows(evidence, tag, members, group)
        ),
    ]


@functools.cache
def _needed() -> set[tuple[Any, ...]]:
    """(model, source, group) of the pooled rows that the cases ask for; all others would take most of the time."""
    found = set()
    for claim in claims((0.0,)):
        each = {column: values or () for column, values in claim.test.each.items()}
        for values in itertools.product(*each.values()):
            for side in claim.test.sides:
                wanted = {**dict(zip(each, values, strict=True)), **side}
                found.add((wanted["model"], wanted.get("source_language"), wanted.get("group")))
    return found


def _verdicts(metric: str, part: str, values: np.ndarray[Any, Any]) -> list[Verdict]:
    return [
        _verdict(metric, part, f"s{number}", language, value)
        for number, line in enumerate(values.tolist())
        for language, value in zip(PAPER_A, line, strict=True)
    ]


@functools.cache
def _verdict(metric: str, part: str, scenario: str, language: str, value: float) -> Verdict:
    """Few differ, and a benchmark needs millions of them."""
    return Verdict.model_validate(
        {"scenario": scenario, "part": part, "language": language, "metric": metric, "value": value}
    )


def claims(offsets: tuple[float, ...]) -> list[Claim]:
    """Every case with its bound at the true value and at the given distances on the true side of it."""
    made = []
    for place, case in enumerate(CASES):
        for offset in offsets:
            away = case.scale * (-offset if case.bound == "at_least" else offset)
            test = {**case.test, case.bound: case.truth + away}
            made.append(
                Claim.model_validate(
                    {
                        "id": f"{place}-{offset:g}".replace(".", "-"),
                        "paper": "none",
                        "section": case.name,
                        "says": f"off by {offset:g}",
                        "why": "planted",
                        "test": test,
                    }
                )
            )
    return made


def simulate(
    scenarios: int, runs: int, seed: int, offsets: tuple[float, ...] = (0.0,), correlation: Correlation = Correlation()
) -> dict[tuple[str, str], Counter[str]]:
    """How often each claim got which answer: (case, "off by X") -> counts."""
    rng = np.random.default_rng([seed, scenarios])
    planted = claims(offsets)
    counts: dict[tuple[str, str], Counter[str]] = {(claim.section, claim.says): Counter() for claim in planted}
    for _ in range(runs):
        for answer in check(made_rows(scenarios, rng, correlation), planted):
            counts[answer.claim.section, answer.claim.says][answer.verdict] += 1
    return counts


def interval_misses(
    clusters: int, size: int, rate: float, later: float, runs: int, seed: int, correlation: float
) -> dict[str, tuple[float, float]]:
    """Share of samples in which an interval lies wholly above and wholly below the truth, by kind of interval."""
    rng = np.random.default_rng([seed, clusters, size])
    misses = {name: [0, 0] for name in ("clustered_rate", "without shrinkage", "clustered_ratio")}
    for _ in range(runs):
        scenario = np.sqrt(correlation) * rng.normal(size=(clusters, 1))
        scores = [scenario + np.sqrt(1 - correlation) * rng.normal(size=(clusters, size)) for _ in range(2)]
        before, after = ((s < norm.ppf(p)).astype(float).tolist() for s, p in zip(scores, (rate, later), strict=True))
        found = {"clustered_rate": (intervals.clustered_rate(before), rate)}
        with patched_prior(0):
            found["without shrinkage"] = (intervals.clustered_rate(before), rate)
        found["clustered_ratio"] = (intervals.clustered_ratio(before, after), later / rate)
        for name, (limits, truth) in found.items():
            if limits is not None:
                misses[name][0] += limits[0] > truth
                misses[name][1] += limits[1] < truth
    return {name: (above / runs, below / runs) for name, (above, below) in misses.items()}


@contextmanager
def patched_prior(value: int) -> Iterator[None]:
    kept = intervals._PRIOR
    intervals._PRIOR = value
    try:
        yield
    finally:
        intervals._PRIOR = kept


def print_claims(options: argparse.Namespace) -> None:
    offsets = (0.0, *options.offsets)
    correlation = Correlation(scenario=options.scenario)
    found = {n: simulate(n, options.runs, options.seed, offsets, correlation) for n in options.scenarios}
    head = "| claim | " + " | ".join(f"n = {n}" for n in options.scenarios) + " |\n|---|" + "---|" * len(found)
    print(f"Wrong answers to borderline claims, % of {options.runs} runs: contradicted / supported\n\n{head}")
    for case in CASES:
        cells = []
        for count in (found[n][case.name, "off by 0"] for n in options.scenarios):
            wrong = (100 * count[verdict] / options.runs for verdict in ("contradicted", "supported"))
            cells.append(" / ".join(f"{share:.1f}" for share in wrong))
        print(f"| {case.name} | " + " | ".join(cells) + " |")
    for offset in options.offsets:
        print(f"\nSupported, % of {options.runs} runs, where the truth keeps the bound by {offset:g}\n\n{head}")
        for case in CASES:
            counts = [found[n][case.name, f"off by {offset:g}"]["supported"] for n in options.scenarios]
            print(f"| {case.name} | " + " | ".join(f"{100 * count / options.runs:.0f}" for count in counts) + " |")


def print_intervals(options: argparse.Namespace) -> None:
    print(f"\nIntervals that lie above / below the truth, % of {options.runs} samples (2.5 / 2.5 is right)\n")
    print("| clusters x answers, rate before -> after | rate | rate, without shrinkage | ratio after / before |")
    print("|---|---|---|---|")
    for clusters, size in ((16, 4), (16, 36), (100, 4)):
        for rate, later in ((0.05, 0.05), (0.2, 0.4), (0.4, 0.02), (0.5, 0.25)):
            found = interval_misses(clusters, size, rate, later, options.runs, options.seed, correlation=0.6)
            order = ("clustered_rate", "without shrinkage", "clustered_ratio")
            cells = [" / ".join(f"{100 * share:.1f}" for share in found[name]) for name in order]
            print(f"| {clusters} x {size}, {rate:g} -> {later:g} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--scenarios", type=int, nargs="*", default=[16, 32, 100])
    parser.add_argument("--offsets", type=float, nargs="+", default=[0.1, 0.2])
    parser.add_argument("--scenario", type=float, default=Correlation.scenario, help="Variance that scenarios share.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.scenarios:
        print_claims(options)
    print_intervals(options)


if __name__ == "__main__":
    main()
