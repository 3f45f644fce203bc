"""Deciding claims: supported, contradicted, underpowered, or not tested and why.

A number supports a claim if its whole 95 % interval keeps the bounds, and contradicts it if the whole interval breaks
one; it errs in either way in at most 2.5 % of samples. A claim over several parts (``each``) that must all hold is

- supported if every part is, each at its own level: the whole then errs no more often than one part (the
  intersection-union test; Berger 1982), so nothing is corrected;
- contradicted if one part is at the level that Bonferroni's correction over the parts asks for. A table has limits at
  one level only; ``intervals.simultaneous`` tells how others are got from them (exactly for rates, else wider);
- not tested if a part that is needed has no number and no other part contradicts the claim.

``holds: some`` is the mirror image: one part at the corrected level supports, all parts together contradict. Nothing
corrects for the number of claims in a file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from unteach.languages.table import LANGUAGES
from unteach.metrics.claims import COLUMNS, SOURCE_SETS, Cell, Claim, Selector, Test
from unteach.metrics.intervals import difference_of_estimates, simultaneous
from unteach.metrics.shares import SHARES
from unteach.records import Row

Verdict = Literal["supported", "contradicted", "underpowered", "not tested"]
Limits = tuple[float, float]

_EMPTY = ("checkpoint", "question_language", "group", "seed")
_OVER_SEEDS = r"over \d+ seeds$"


@dataclass(frozen=True)
class Part:
    """One number of a claim: the only one, or that of one value of ``each`` (``where``, column -> value)."""

    verdict: Verdict
    where: Mapping[str, Cell]
    rows: tuple[Row, ...] = ()
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Answer:
    """What a table says about a claim. ``deciding`` is the part that the verdict hangs on, if any has a number."""

    claim: Claim
    verdict: Verdict
    parts: tuple[Part, ...]
    deciding: Part | None = None
    reason: str = ""
    sources: tuple[str, ...] = ()
    """The source languages behind a row that pools several: a run may have fewer than a paper."""


def check(rows: Iterable[Row], claims: Iterable[Claim]) -> list[Answer]:
    """An answer to every claim, in their order."""
    by_metric: dict[str, list[Row]] = {}
    main = None
    for row in rows:
        main = main or row.judge
        by_metric.setdefault(row.metric, []).append(row)
    return [_answer(by_metric, claim, main) for claim in claims]


def answer(rows: Iterable[Row], claim: Claim) -> Answer:
    """What the rows say about one claim."""
    return check(rows, [claim])[0]


def _answer(by_metric: Mapping[str, Sequence[Row]], claim: Claim, main: str | None) -> Answer:
    test = claim.test
    found = [_heard(by_metric.get(str(side["metric"]), []), side, test, main) for side in test.sides]
    # Most rows are sorted out once for all parts; if none is left, all of them tell better what is absent.
    pools = [[row for row in rows if _fits(row, side)] or rows for rows, side in zip(found, test.sides, strict=True)]
    decided = _decide(claim, tuple(_part(test, pools, where) for where in _places(test, pools)))
    return replace(decided, sources=_pooled(found[0], decided.deciding)) if decided.deciding else decided


def _heard(rows: Sequence[Row], side: Selector, test: Test, main: str | None) -> Sequence[Row]:
    """Rows of the main judge (the first in the table) and of none, if the claim leaves the judge out; else all."""
    return rows if "judge" in side or "judge" in test.each else [row for row in rows if row.judge in (None, main)]


def _pooled(rows: Iterable[Row], part: Part) -> tuple[str, ...]:
    """The source languages that are pooled in a part's rows, in the table's order; none if they pool nothing."""
    names = {row.source_language for row in part.rows} & set(SOURCE_SETS)
    kinds = {(row.model, row.strategy, row.editor) for row in part.rows}
    found = dict.fromkeys(row.source_language for row in rows if (row.model, row.strategy, row.editor) in kinds)
    if any((row.group or "").endswith(": english") for row in part.rows):
        found.pop("en", None)  # pooled edits asked in English are those of the other languages
    return tuple(code for code in found if code in LANGUAGES and any(_belongs(code, name) for name in names if name))


def _belongs(source: str, name: str) -> bool:
    return name == "any" or (source != "en" and name in ("not en", LANGUAGES[source].resource))


def choose(rows: Iterable[Row], wanted: Selector) -> Row | str:
    """The one row that fits, or why there is none.

    ``checkpoint``, ``question_language``, ``group``, ``seed`` and ``variant`` are empty where they are left out, so
    that a selector means the finished model and no part of a grid; other columns left out may have any value, of which
    ``check`` has kept the main judge. ``checkpoint: half`` is the reading nearest to the middle of unlearning. Where a
    run has several seeds, the row over its seeds is taken.
    """
    chosen, said = list(rows), []
    columns = {**dict.fromkeys(_EMPTY), **wanted}
    for column in sorted(columns.keys() - {"variant"}, key=_order):
        value = columns[column]
        if value == "half" and column == "checkpoint":
            value = _half(chosen)
        chosen = [row for row in chosen if _like(getattr(row, column), value)]
        said += [f"{column} {value}"] if value is not None or column in wanted else []
        if not chosen:
            return f"the table has no row with {', '.join(said)}"
    variants = _variants(wanted)
    chosen = next((found for variant in variants if (found := _of_variant(chosen, variant))), [])
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        names = " or ".join(str(variant or "empty") for variant in variants)
        return f"the table has no row with {', '.join(said)}, variant {names}"
    differ = [column for column in COLUMNS if len({getattr(row, column) for row in chosen}) > 1]
    return f"{len(chosen)} rows fit; they differ in {', '.join(differ) or 'nothing but their numbers'}"


def _order(column: str) -> tuple[bool, int]:
    """The table's order, with the checkpoint last: which one is meant depends on the model."""
    return column == "checkpoint", COLUMNS.index(column)


def _half(rows: Sequence[Row]) -> int | None:
    """The reading nearest to half of the last one's step, neither the first state nor the last."""
    steps = sorted({row.checkpoint for row in rows if row.checkpoint is not None})
    between = [step for step in steps if 0 < step < steps[-1]]
    return min(between, key=lambda step: abs(step - steps[-1] / 2), default=-1)


def _variants(wanted: Selector) -> tuple[Cell, ...]:
    """The variants that may be meant, in order."""
    variant = wanted.get("variant")
    return variant if isinstance(variant, tuple) else (variant,)


def _like(value: Cell, wanted: object) -> bool:
    """Whether a value is the wanted one, or like it in any case of letters if that has a ``*``."""
    if isinstance(value, str) and isinstance(wanted, str) and "*" in wanted:
        return fnmatchcase(value.casefold(), wanted.casefold())
    return value == wanted


def _of_variant(rows: Sequence[Row], variant: Cell) -> list[Row]:
    exact = [row for row in rows if _like(row.variant, variant)]
    over = re.compile((re.escape(f"{variant}, ") if variant else "") + _OVER_SEEDS)
    return exact or [row for row in rows if over.match(row.variant or "")]


def _fits(row: Row, selector: Selector) -> bool:
    """Whether a row has the values of a selector, those of the columns that need all rows to be judged apart."""
    apart = ("variant", "checkpoint")
    return all(_like(getattr(row, name), value) for name, value in selector.items() if name not in apart)


def _places(test: Test, pools: Sequence[Sequence[Row]]) -> Iterator[dict[str, Cell]]:
    """Every combination of the values of ``each``; one empty place without it.

    Among the variants that a table has is the empty one, of a run that sweeps nothing: it needs no naming.
    """
    listed = {column: values for column, values in test.each.items() if values is not None}
    varying = [column for column in test.each if column not in listed]
    seen: list[tuple[Cell, ...]] = [()]
    if varying:
        side = next(place for place, side in enumerate(test.sides) if not any(c in side for c in varying))
        fixed = {**dict.fromkeys(_EMPTY), **test.sides[side]}
        empty = [column for column in _EMPTY if fixed[column] is None and column not in test.each]
        found = [row for row in pools[side] if _fits(row, dict.fromkeys(empty) | dict(test.sides[side]))]
        values = dict.fromkeys(tuple(getattr(row, column) for column in varying) for row in found)
        pools_or_none = {None, *SOURCE_SETS}
        seen = [
            each
            for each in values
            if not any(v in pools_or_none for column, v in zip(varying, each, strict=True) if column != "variant")
        ]
    for open_values in seen:
        for given in itertools.product(*listed.values()):
            place = dict(zip(varying, open_values, strict=True)) | dict(zip(listed, given, strict=True))
            yield {column: place[column] for column in test.each if column != "variant" or place[column] is not None}


def _part(test: Test, pools: Sequence[Sequence[Row]], where: dict[str, Cell]) -> Part:
    found = []
    for side, pool in zip(test.sides, pools, strict=True):
        row = choose(pool, {**where, **side})
        reason = row if isinstance(row, str) else _unusable(row)
        if isinstance(row, str) or reason:
            return Part("not tested", where, reason=reason)
        found.append(row)
    value, (low, high) = _estimate(found, 1)
    return Part(
        _verdict((low, high), test.bounds), where, tuple(found), value, low, high, n=min(row.n for row in found)
    )


def _unusable(row: Row) -> str:
    if row.n == 0:
        return f"nothing could be scored ({row.unscored} unscored)"
    if row.value is None:
        return f"{row.metric} has no value here (n = {row.n})"
    if row.ci_low is None or row.ci_high is None:
        return f"there is no interval (n = {row.n})"
    if row.ci_low == row.ci_high:
        return f"the {row.n} values are all the same, so nothing tells how far off they may be"
    return ""


def _estimate(rows: Sequence[Row], statements: int) -> tuple[float, Limits]:
    """Value and limits of a row, or of the difference of two, that hold together for so many statements."""
    numbers = []
    for row in rows:
        if row.value is None or row.ci_low is None or row.ci_high is None:
            raise ValueError("a row without a number has no estimate")
        rate = row.metric in SHARES and not re.search(_OVER_SEEDS, row.variant or "")
        numbers.append((row.value, simultaneous(row.value, (row.ci_low, row.ci_high), row.n, statements, rate)))
    if len(numbers) == 1:
        return numbers[0]
    (first, first_limits), (second, second_limits) = numbers
    return first - second, difference_of_estimates(first, first_limits, second, second_limits)


def _verdict(limits: Limits, bounds: Limits) -> Verdict:
    (low, high), (least, most) = limits, bounds
    if least <= low and high <= most:
        return "supported"
    return "contradicted" if high < least or low > most else "underpowered"


def _decide(claim: Claim, parts: tuple[Part, ...]) -> Answer:
    test = claim.test
    tested = [part for part in parts if part.value is not None]
    untested = [part for part in parts if part.value is None]
    missing = _missing(test, len(parts), untested)
    if not tested:
        return Answer(claim, "not tested", parts, reason=missing or "the table has no such rows")
    one, every = ("contradicted", "supported") if test.holds == "all" else ("supported", "contradicted")

    def margin(part: Part) -> float:
        """How far the value keeps the bounds; negative if it breaks one."""
        return min((part.value or 0.0) - test.bounds[0], test.bounds[1] - (part.value or 0.0))

    weakest_first = sorted(tested, key=margin, reverse=test.holds == "some")
    decisive = [p for p in weakest_first if _verdict(_estimate(p.rows, len(tested))[1], test.bounds) == one]
    if decisive:
        return Answer(claim, _as_verdict(one), parts, decisive[0])
    weakest = weakest_first[0]
    if missing:
        return Answer(claim, "not tested", parts, weakest, missing)
    if all(part.verdict == every for part in tested):
        return Answer(claim, _as_verdict(every), parts, weakest)
    alone = sum(part.verdict == one for part in tested)
    corrected = f"{alone} alone would be {one}, but not with {len(tested)} looked at together" if alone else ""
    return Answer(claim, "underpowered", parts, weakest, corrected)


def _as_verdict(word: str) -> Verdict:
    return "supported" if word == "supported" else "contradicted"


def _missing(test: Test, wanted: int, untested: Sequence[Part]) -> str:
    """Why too few parts have a number; empty if there are enough."""
    needed = wanted if test.fewest is None else test.fewest
    if wanted - len(untested) >= needed:
        return ""
    if wanted == 1 and untested:
        return untested[0].reason
    there = f"{wanted - len(untested)} of the {needed} numbers needed are there"
    if not untested:
        return there
    more = f" (and {len(untested) - 1} more)" if len(untested) > 1 else ""
    return f"{there}: {untested[0].reason}{more}"
