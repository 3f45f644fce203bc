"""Finding phrases in texts, whatever their case, width, accents or script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

# Scripts written without spaces: there a phrase may begin and end anywhere.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff]")

# Latin, Greek and Cyrillic accents are often dropped in writing; in other scripts marks are vowels and stay.
_ACCENTED = ("LATIN", "GREEK", "CYRILLIC")

# Letters that people write in several ways and that NFKC keeps apart.
_FOLD = str.maketrans(
    {
        "ß": "ss",
        "ё": "е",
        "ı": "i",
        "ي": "ی",
        "ى": "ی",
        "ك": "ک",
        "ة": "ہ",
        "ه": "ہ",
        "’": "'",
        "‘": "'",
        "ʼ": "'",
        "‐": "-",
        "‒": "-",
        "−": "-",
        "–": "-",
    }
)


def normalise(text: str) -> tuple[str, list[int]]:
    """Text folded for comparison, and for each of its characters the index in the original it came from.

    Compatibility forms and width (NFKC), case, accents of Latin, Greek and Cyrillic letters, apostrophes, dashes,
    digits of any script, Arabic letter variants and vowel points, and invisible formatting characters no longer make
    a difference; every run of white space is one space.
    """
    folded: list[str] = []
    origin: list[int] = []
    for index, character in enumerate(text):
        for part in unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", character).casefold()):
            piece = part.translate(_FOLD)
            category = unicodedata.category(part)
            if category == "Cf" or part == "\u0640" or _is_droppable_mark(part, folded):
                continue
            if part.isdecimal():  # Arabic, Persian, Devanagari ... digits are the same numbers
                piece = str(unicodedata.decimal(part))
            if piece.isspace():
                if folded and folded[-1] == " ":
                    continue
                piece = " "
            for letter in piece:
                folded.append(letter)
                origin.append(index)
    return "".join(folded), origin


def _is_droppable_mark(mark: str, before: list[str]) -> bool:
    if unicodedata.category(mark) != "Mn":
        return False
    if "\u064b" <= mark <= "\u065f" or mark == "\u0670":  # Arabic vowel points, shadda and the like
        return True
    base = next((letter for letter in reversed(before) if unicodedata.category(letter) != "Mn"), "")
    return bool(base) and unicodedata.name(base, "").startswith(_ACCENTED)


@dataclass(frozen=True)
class Folded:
    """A text with its normal form, for several searches in one text; ``origin`` as ``normalise`` gives it."""

    text: str
    folded: str
    origin: list[int]


def fold(text: str) -> Folded:
    """Normalise a text once."""
    return Folded(text, *normalise(text))


def find_phrases(text: str | Folded, phrases: Iterable[str]) -> list[tuple[int, int]]:
    """Spans of ``text`` (half-open, in its own characters) where a phrase stands, in order, without overlap.

    In spaced scripts a phrase must begin and end at a word boundary ("40" is not in "1940"); in unspaced ones
    (Chinese, Japanese, Thai, Lao, Burmese, Khmer) it may stand anywhere.
    """
    ready = text if isinstance(text, Folded) else fold(text)
    text, folded, origin = ready.text, ready.folded, ready.origin
    spans = []
    for phrase in phrases:
        for start, end in _occurrences(folded, _folded_phrase(phrase)):
            last, next_letter = origin[end - 1] + 1, origin[end] if end < len(folded) else len(text)
            while last < next_letter and unicodedata.category(text[last]).startswith("M"):
                last += 1  # an accent that was folded away belongs to its letter
            spans.append((origin[start], last))
    return _without_overlap(sorted(spans, key=lambda span: (span[0], -span[1])))


def _occurrences(folded: str, wanted: str) -> Iterator[tuple[int, int]]:
    """Where a folded phrase stands in a folded text as whole words, overlapping ones included."""
    if not wanted or wanted not in folded:  # most are not, and compiling a pattern for each would take most of the time
        return
    first, last = wanted[0], wanted[-1]
    # 3 is not in 13, 3.5 or 1,300; "3." at the end of a sentence is
    before = r"(?<!\d)(?<!\d[.,])" if first.isdigit() else ""
    after = r"(?!\d)(?![.,]\d)" if last.isdigit() else ""
    pattern = re.compile(before + re.escape(wanted) + after)
    at = 0
    while match := pattern.search(folded, at):
        start, end = match.span()
        at = start + 1
        inside_before = _is_letter(first) and start > 0 and _continues(folded[start - 1])
        inside_after = _is_letter(last) and end < len(folded) and _continues(folded[end])
        if not inside_before and not inside_after:
            yield start, end


@lru_cache(maxsize=65536)
def _folded_phrase(phrase: str) -> str:
    return normalise(phrase)[0].strip()


def _continues(letter: str) -> bool:
    """Whether a word that this character touches goes on."""
    joined = letter == "_" or letter.isalnum() or unicodedata.category(letter).startswith("M")
    return joined and not _UNSPACED.match(letter)


def _is_letter(edge: str) -> bool:
    return _continues(edge) and edge != "_" and not edge.isdigit()


def _without_overlap(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for span in spans:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept
