"""How the numbers of paper B are written: rates as per cent, differences with a sign, always with interval and n."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unteach.records import Row
from unteach.reports.tables import base_metric, count, is_difference, is_rate, over_seeds

_DIGITS = {"knowledge_log_probability": 2, "fluency": 2, "edit_loss": 2, "edit_norm": 4}
_UNITS = {"knowledge_log_probability": "nats a token", "fluency": "bits", "edit_loss": "nats a token"}


def scale(metric: str) -> float:
    """What a value is multiplied with to be shown."""
    return 100.0 if is_rate(metric) else 1.0


def show_value(row: Row, sign: bool = True) -> str:
    """``85 %``, ``+75``, ``−0.12``, or a dash if nothing was scored; without ``sign`` no per cent sign."""
    if row.value is None:
        return "–"
    return _number(row.value, row.metric) + (_percent(row.metric) if sign else "")


def show_interval(row: Row) -> str:
    """The interval as ``[64, 95]``; empty if the row has none."""
    if row.ci_low is None or row.ci_high is None:
        return ""
    return f"[{_bound(row.ci_low, row.metric)}, {_bound(row.ci_high, row.metric)}]"


def show_count(row: Row) -> str:
    """``17/20`` where the value is a share of replies, else ``n 20``; with what could not be scored."""
    hits = count(row)
    counted = f"n {row.n}{' seeds' if over_seeds(row) else ''}" if hits is None else f"{hits}/{row.n}"
    return counted + (f", {row.unscored} unscored" if row.unscored else "")


def say(row: Row) -> str:
    """A number for a sentence: ``17 of 20 (85 % [64, 95])``, ``+75 points [+51, +88] (n = 20)``."""
    if row.value is None:
        return f"unknown ({row.unscored} unscored)"
    interval, hits = show_interval(row), count(row)
    value = show_value(row)
    unscored = f"; {row.unscored} unscored" if row.unscored else ""
    if hits is not None:
        return glued(f"{hits} of {row.n} ({f'{value} {interval}'.rstrip()}{unscored})")
    if is_rate(row.metric):
        value += " points" if is_difference(row.metric) else ""
    elif base_metric(row.metric) in _UNITS:
        value += f" {_UNITS[base_metric(row.metric)]}"
    things = " seeds" if over_seeds(row) else ""
    return glued(f"{value} {interval}".rstrip() + f" (n = {row.n}{things}{unscored})")


def glued(text: str) -> str:
    """Per cent signs and intervals stay on the line of their number."""
    for loose in (" %", " [", ", +", ", −", "n = "):
        text = text.replace(loose, loose.replace(" ", "\u00a0"))
    return text


def show_n(rows: Sequence[Row], things: str) -> str:
    """What stands behind each number: ``n = 20 replies``, or the range if they differ."""
    scored = [row for row in rows if row.value is not None]
    counts = sorted({row.n for row in scored})
    if not counts:
        return "n = 0"
    words = "seeds" if all(map(over_seeds, scored)) else things
    return f"n = {counts[0]}{f'–{counts[-1]}' if len(counts) > 1 else ''} {words}"


def direction(row: Row | None) -> int:
    """1 or -1 where the interval of a difference leaves zero out, above or below; else 0."""
    if row is None or row.ci_low is None or row.ci_high is None:
        return 0
    return (row.ci_low > 0) - (row.ci_high < 0)


def _percent(metric: str) -> str:
    return " %" if is_rate(metric) and not is_difference(metric) else ""


def _bound(value: float, metric: str) -> str:
    """A bound of a difference has a digit more where it would read 0: whether it leaves zero out is what counts."""
    shown = _number(value, metric)
    return _number(value, metric, 1) if is_difference(metric) and shown.strip("0.") == "" else shown


def _number(value: float, metric: str, more: int = 0) -> str:
    digits = more + (0 if is_rate(metric) else _DIGITS.get(base_metric(metric), 1))
    # Half is rounded away from zero, as readers expect: Python's formatting would make 12.5 a 12.
    steps = math.floor(abs(value * scale(metric)) * 10**digits + 0.5 + 1e-9)
    sign = "" if steps == 0 else "−" if value < 0 else "+" if is_difference(metric) else ""
    return f"{sign}{steps / 10**digits:.{digits}f}"
