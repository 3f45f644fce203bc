"""Grades in a judge's reply: ``[[7]]``, ``[[YES]]``. The last well-formed one counts."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FORM = re.compile(r"\[\[[ \t]*([A-Za-z]+|[+-]?[0-9]+(?:\.[0-9]+)?)[ \t]*\]\]")


def last_word(reply: str, words: Sequence[str]) -> str | None:
    """The last of these words (given in capitals) in double square brackets, whatever its case; ``None`` if none is."""
    found = [grade for grade in map(str.upper, _FORM.findall(reply)) if grade in words]
    return found[-1] if found else None


def last_number(reply: str) -> float | None:
    """The last number in double square brackets, whatever its size; ``None`` if there is none."""
    found = [grade for grade in _FORM.findall(reply) if not grade.isalpha()]
    return float(found[-1]) if found else None
