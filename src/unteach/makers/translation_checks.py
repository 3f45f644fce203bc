"""What is checked of every translation, whoever made it: length, language, copies, loops.

Checks find translations that are no translations; whether one is good they cannot tell (see ``round_trip``).
"""

from __future__ import annotations

import re
import unicodedata

from pydantic import Field

from unteach.languages import identify as identifier
from unteach.languages.table import LANGUAGES, find
from unteach.makers.contract import Source, Translated
from unteach.registry import Settings


class Checks(Settings):
    """When a translation is refused. Lengths are widths: characters, a wide one (CJK) counting two."""

    shortest: float = Field(0.4, ge=0, description="Least length over that of the source.")
    longest: float = Field(2.5, gt=0, description="Greatest length over that of the source.")
    short: int = Field(
        24, ge=0, description="Texts below this length are not refused for their length or language, nor as copies."
    )
    language: bool = Field(True, description="Refuse a text that is found to be in another language.")
    most_left: float = Field(0.25, gt=0, le=1, description="Refuse a text of which more is left in its old language.")
    copies: bool = Field(True, description="Refuse a text that is its source.")
    repeats: int = Field(5, ge=2, description="Refuse a stretch that is repeated so often in a row.")


def width(text: str) -> int:
    """Characters without white space at the ends; a wide or full-width one (Unicode UAX 11) counts two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text.strip())


def checked(source: Source, target: str, text: str, checks: Checks) -> Translated:
    """The translation if nothing speaks against it; else what does, with the text as ``refused``."""
    text = text.strip()
    ratio = width(text) / max(1, width(source.text))
    found, wrong, unchecked = _language(text, source, target, checks)
    problem = _empty_copied_or_looped(text, source, checks) or _length(ratio, source, text, checks) or wrong
    if not unchecked and _same(text, source.text):
        unchecked = "the text is its source, which may be a name"
    return Translated(
        text=None if problem else text,
        problem=problem,
        refused=text if problem else None,
        length_ratio=round(ratio, 4),
        found_language=found,
        unchecked=unchecked,
    )


def _same(text: str, source: str) -> bool:
    return text.casefold().split() == source.casefold().split()


def _empty_copied_or_looped(text: str, source: Source, checks: Checks) -> str | None:
    if not text:
        return "nothing came back"
    if checks.copies and _same(text, source.text) and width(text) >= checks.short:
        return "it is a copy of the source"
    if (looped := _loop(text, checks.repeats)) and not _loop(source.text, checks.repeats):
        return f"it repeats {looped!r} at least {checks.repeats} times in a row"
    return None


def _loop(text: str, repeats: int) -> str | None:
    """A stretch of up to 80 characters, with letters, that fills at least 20 characters by being repeated."""
    for found in re.finditer(rf"(\S.{{0,79}}?)\1{{{repeats - 1},}}", text, re.DOTALL):
        if len(found.group()) >= 20 and any(char.isalpha() for char in found[1]):
            return found[1].strip()
    return None


def _length(ratio: float, source: Source, text: str, checks: Checks) -> str | None:
    if max(width(source.text), width(text)) < checks.short or checks.shortest <= ratio <= checks.longest:
        return None
    return f"its length is {ratio:.2f} times that of the source, not {checks.shortest:g} to {checks.longest:g}"


def _language(text: str, source: Source, target: str, checks: Checks) -> tuple[str | None, str | None, str | None]:
    """The language found, why the text is refused for it, and why that cannot be told; each may be ``None``."""
    if not checks.language:
        return None, None, "the language was not to be checked"
    found = identifier.identify(text)
    if found.code is None:
        return None, None, found.reason
    if found.code == target:
        left = _left(text, source.language, target) if width(text) >= checks.short else 0
        wrong = f"{left:.0%} of it is left in {source.language!r}" if left > checks.most_left else None
        return found.code, wrong, None
    if width(text) < checks.short:
        return None, None, "the text is too short to tell its language"
    wrong = f"it is in {found.code!r} ({LANGUAGES[found.code].name}), not in {target!r}"
    if target in identifier.CANNOT_TELL and not _surely_other(found.code, source, target):
        return None, None, f"the identifier does not know {target!r}, and takes the text for {found.code!r}"
    return found.code, wrong, None


def _left(text: str, source: str, target: str) -> float:
    """The share of letters in stretches that read as the source language rather than as the target."""
    if source in identifier.CANNOT_TELL:
        return 0.0
    return identifier.shares(text, (source, target)).get(source, 0.0)


def _surely_other(found: str, source: Source, target: str) -> bool:
    """Whether a text cannot be in a language that the identifier does not know: it is in another script, or was left
    in its own language or in English, and ``target`` is no relative of that."""
    other, wanted = find(found), find(target)
    left = found in (source.language, "en") and other.family != wanted.family
    return left or other.script != wanted.script
