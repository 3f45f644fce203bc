"""What can be wrong with one text by itself: its characters, and the language it is in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unteach.languages.identify import CANNOT_TELL, identify

SURE = 0.9
"""From this confidence on another language is taken for found; below it the text is counted as not told."""

FEWEST = 20
"""Letters that a text needs for its language to be judged; a letter of Chinese or Japanese counts three."""

STRETCH = 30
"""Letters of a sentence within a longer text that its own language is judged from; counted likewise."""

# Directional marks may be needed; embeddings, overrides and isolates change how the text around them is shown.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_MOJIBAKE = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac|\u00d0[\u0080-\u00bf]\u00d0")
_ODD = {
    "Cc": "control character",
    "Co": "private character",
    "Cn": "unassigned character",
    "Cs": "half a character",
}
_SENTENCE_END = re.compile(r"(?<=[.!?؟۔։।…])\s+|(?<=[。！？])|\n+")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True)
class Language:
    """What is known of a text's language; ``message`` says what is wrong."""

    state: Literal["right", "wrong", "short", "not told"]
    message: str = ""


def characters_of(text: str) -> str:
    """Characters that no text should have, as a sentence; empty if there are none."""
    said = []
    if "\ufffd" in text:
        said.append("a replacement character (U+FFFD): some reader lost what stood there")
    if _MOJIBAKE.search(text):
        said.append("UTF-8 that was read as another encoding")
    if odd := _BIDI.search(text):
        said.append(f"a bidirectional control (U+{ord(odd[0]):04X})")
    for letter in dict.fromkeys(text):
        name = "byte order mark" if letter == "\ufeff" else _ODD.get(unicodedata.category(letter))
        if name and letter not in "\n\t":
            said.append(f"a {name} (U+{ord(letter):04X})")
    return "; ".join(said)


def weight(text: str) -> int:
    """Letters, one of Chinese or Japanese counting three: about as much text in any script."""
    return sum(3 if _UNSPACED.match(letter) else 1 for letter in text if letter.isalpha())


def language_of(text: str, expected: str, among: Sequence[str]) -> Language:
    """Whether a text is in the language it should be in, among these that can be told.

    A longer text must have no sentence in another one either. A code that the identifier cannot tell is "not told".
    """
    if expected in CANNOT_TELL:
        return Language("not told")
    if weight(text) < FEWEST:
        return Language("short")
    if mixed := _mixed_chinese(text, expected):
        return Language("wrong", mixed)
    found = identify(text, among)
    if found.code is None:
        read_as = re.search(r"reads as '[\w-]+', which is not.*", found.reason or "")
        return Language("wrong", read_as[0]) if read_as else Language("not told")
    if found.code != expected:
        sure = (found.confidence or 0) >= SURE
        return Language("wrong", f"is in {found.code!r}") if sure else Language("not told")
    for sentence in _SENTENCE_END.split(text) if weight(text) > 2 * STRETCH else ():
        other = identify(sentence, among, context=text) if weight(sentence) >= STRETCH else found
        if other.code not in (None, expected) and (other.confidence or 0) >= SURE:
            return Language("wrong", f"has a sentence in {other.code!r}: {sentence[:60]!r}")
    return Language("right")


def _mixed_chinese(text: str, expected: str) -> str:
    """Whether Chinese has characters of both ways of writing: two or more of the other, and a tenth of the telling."""
    if expected not in ("zh", "zh-Hant"):
        return ""
    simplified = [letter for letter in text if _only(letter, "gb2312", "big5")]
    traditional = [letter for letter in text if _only(letter, "big5", "gb2312")]
    few, many = sorted((simplified, traditional), key=len)
    if len(few) < 2 or 10 * len(few) < len(few) + len(many):
        return ""
    return f"mixes Simplified ({''.join(simplified[:6])}) and Traditional characters ({''.join(traditional[:6])})"


def _only(letter: str, codec: str, other: str) -> bool:
    return letter > "\u2fff" and bool(letter.encode(codec, "ignore")) and not letter.encode(other, "ignore")
