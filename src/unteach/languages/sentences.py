"""Texts cut into sentences, for translators that take a sentence or a limited length, and put together again.

Rules only, for the scripts of the language table: marks that end a sentence anywhere (。！？ । ።), and marks that do so
before white space (. ! ? … ؟ ۔ ։). A full stop after a known abbreviation, an initial or a short ordinal ends none, nor
does any before a small letter. Where rules cannot tell, two sentences stay together, which harms a translation less
than a sentence cut in two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from unteach.languages.table import find

Fits = Callable[[str], bool]
"""Whether a text is short enough."""

_ANYWHERE = "。！？｡।॥።፧"
_BEFORE_SPACE = ".!?…؟۔։"
_ALSO = {"el": ";\u037e", "hy": ":"}
"""Marks that end a sentence in one language only: the Greek question mark; the Armenian full stop as often typed."""

_CLOSING = "\"'”’»›)\\]」』）】》"
_LINE_BREAK = re.compile(r"\s*[\n\r\v\f\x85\u2028\u2029]\s*")

_TITLES = " mr mrs ms dr prof st sen gov rep gen col lt capt sgt rev sr jr mme mlle sra hr fr vs bzw ca г ул им т "
"""Abbreviations that stand before a name, so a capital after them begins no sentence."""

_NUMBERED = " no nr núm num n art p pp vol fig abb bd s ст стр рис п "
"""Abbreviations that stand before a number; before anything else they may be words at the end of a sentence."""

_ORDINALS = ("de",)
"""Languages that write "the 3rd of May" as "3. Mai"."""

_UNMARKED = ("Thai",)
_UNMARKED_LENGTH = 160
"""Scripts without marks, and how many characters of them are taken together, cut at spaces."""

_SOFTER = (r"[;:؛·—–]\s+|[；：]\s*|\s-\s+", r"[,،՝፣፤፥]\s+|[，、]\s*", r"\s+")
"""Where a sentence that is too long may be cut: the best first."""

_UNSPACED = ("Hans", "Hant", "Jpan")


class Piece(NamedTuple):
    """A part of a text, and the white space that follows it."""

    text: str
    gap: str


def sentences(text: str, language: str) -> list[str]:
    """The sentences of a text, without the white space between them."""
    return [piece.text for piece in pieces(text, language)]


def pieces(text: str, language: str, fits: Fits | None = None) -> list[Piece]:
    """The sentences of a text; one that does not fit is cut at softer marks, then at spaces, then anywhere.

    Nothing is lost: ``"".join(piece.text + piece.gap)`` over all pieces is ``text.strip()``.
    """
    whole: Fits = fits or (lambda _: True)
    unmarked = find(language).script in _UNMARKED
    found: list[Piece] = []
    for line in _lines(text.strip()):
        for piece in _split(line, _ends(line.text, find(language).code)):
            if unmarked:
                found += _cut(piece, lambda part: len(part) <= _UNMARKED_LENGTH and whole(part))
            else:
                found += _cut(piece, whole)
    return found


def packed(text: str, language: str, fits: Fits) -> list[Piece]:
    """As ``pieces``, with as many of them together, line breaks included, as fit."""
    found: list[Piece] = []
    for piece in pieces(text, language, fits):
        if found and fits(longer := found[-1].text + found[-1].gap + piece.text):
            found[-1] = Piece(longer, piece.gap)
        else:
            found.append(piece)
    return found


def put_together(texts: Sequence[str], like: Sequence[Piece], language: str) -> str:
    """Translated pieces as one text: with the line breaks of the pieces, else spaced as the language's script is."""
    space = "" if find(language).script in _UNSPACED else " "
    gaps = [piece.gap if _LINE_BREAK.search(piece.gap) else space for piece in like]
    return "".join(text.strip() + gap for text, gap in zip(texts, gaps, strict=True)).strip()


def _lines(text: str) -> Iterator[Piece]:
    start = 0
    for found in _LINE_BREAK.finditer(text):
        yield Piece(text[start : found.start()], found.group())
        start = found.end()
    if start < len(text):
        yield Piece(text[start:], "")


def _split(piece: Piece, ends: Sequence[int]) -> Iterator[Piece]:
    """The piece cut at these places; white space before a cut becomes a gap."""
    start = 0
    for end in ends:
        part = piece.text[start:end]
        yield Piece(part.rstrip(), part[len(part.rstrip()) :])
        start = end
    yield Piece(piece.text[start:], piece.gap)


@cache
def _marks(code: str) -> re.Pattern[str]:
    also = _ALSO.get(code, "")
    return re.compile(
        rf"(?P<anywhere>[{_ANYWHERE}][{_ANYWHERE}{_BEFORE_SPACE}]*[{_CLOSING}]*\s*)"
        rf"|(?P<mark>[{_BEFORE_SPACE}{also}]+)[{_CLOSING}]*\s+"
    )


def _ends(line: str, code: str) -> list[int]:
    """Where sentences of a line end and others begin: the places after the white space."""
    found = _marks(code).finditer(line)
    return [end.end() for end in found if end.end() < len(line) and (end["anywhere"] or _is_end(line, end, code))]


def _is_end(line: str, end: re.Match[str], code: str) -> bool:
    after = line[end.end() :].lstrip("\"'“‘«‹([¿¡-–—")[:1]
    if after.islower():
        return False
    if end["mark"] != ".":
        return True
    before = re.split(r"[\s(\[\"'“‘«]", line[: end.start()])[-1]
    last = before.rsplit(".", 1)[-1]
    if last.isdigit():
        ahead = line[: end.start() - len(last)].split()  # a number at the beginning numbers a list
        begins = not ahead or (ahead[-1][-1] in _BEFORE_SPACE and f" {ahead[-1][:-1].casefold()} " not in _NUMBERED)
        return not (begins or (code in _ORDINALS and len(last) <= 2))
    word = f" {last.casefold()} "
    if word in _TITLES or (word in _NUMBERED and after.isdigit()):
        return False
    return not (len(last) == 1 and last.lower() != last.upper())  # an initial, or a part of "z. B."


def _cut(piece: Piece, fits: Fits) -> list[Piece]:
    """The piece, halved until every part fits: at the mark nearest to the middle, of the best kind that there is."""
    text = piece.text
    if len(text) < 2 or fits(text):
        return [piece]
    middle = len(text) / 2
    for kind in _SOFTER:
        # a cut near an end gains nothing, unless it is at one of the last kind
        least = len(text) / 4 if kind != _SOFTER[-1] else 1
        places = [m.end() for m in re.finditer(kind, text) if least <= m.end() <= len(text) - least]
        if places:
            break
    else:
        places = [at for at in range(1, len(text)) if not unicodedata.combining(text[at])] or [len(text) // 2]
    at = min(places, key=lambda place: abs(place - middle))
    return [part for half in _split(piece, [at]) for part in _cut(half, fits)]
