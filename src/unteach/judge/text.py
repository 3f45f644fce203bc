"""Finding phrases in answers, whatever their case, width, accents or script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

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
        "‑": "-",
        "–": "-",
    }
)


def normalise(text: str) -> tuple[str, list[int]]:
    """Text folded for comparison, and for each of its characters the index in the original it came from.

    Compatibility forms and width (NFKC), case, accents of Latin, Greek and Cyrillic letters, apostrophes, dashes,
    Arabic letter variants and vowel points, and invisible formatting characters no longer make a difference; every
    run of white space is one space.
    """
    folded: list[str] = []
    origin: list[int] = []
    for index, character in enumerate(text):
        for part in unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", character).casefold()):
            piece = part.translate(_FOLD)
            category = unicodedata.category(part)
            if category == "Cf" or _is_droppable_mark(part, folded):
                continue
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


def find_phrases(text: str, phrases: Iterable[str]) -> list[tuple[int, int]]:
    """Spans of ``text`` (half-open, in its own characters) where a phrase stands, in order, without overlap.

    In spaced scripts a phrase must begin and end at a word boundary ("40" is not in "1940"); in unspaced ones
    (Chinese, Japanese, Thai, Lao, Burmese, Khmer) it may stand anywhere.
    """
    folded, origin = normalise(text)
    spans: list[tuple[int, int]] = []
    for phrase in phrases:
        wanted = normalise(phrase)[0].strip()
        if not wanted:
            continue
        pattern = _boundary(wanted[0], before=True) + re.escape(wanted) + _boundary(wanted[-1], before=False)
        spans += [(origin[match.start()], origin[match.end() - 1] + 1) for match in re.finditer(pattern, folded)]
    return _without_overlap(sorted(spans, key=lambda span: (span[0], -span[1])))


def _boundary(edge: str, *, before: bool) -> str:
    if _UNSPACED.match(edge) or not (edge.isalnum() or unicodedata.category(edge).startswith("M")):
        return ""
    if edge.isdigit():  # 3 is not in 13, 3.5 or 1,300; "3." at the end of a sentence is
        return r"(?<![\d])(?<!\d[.,])" if before else r"(?!\d)(?![.,]\d)"
    return r"(?<!\w)" if before else r"(?!\w)"


def _without_overlap(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for span in spans:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return kept
