"""When a reply is broken rather than an answer, read off its characters; and the entropy of a reply.

A degenerate reply counts as no defence (paper B, section 4.2). Everything here works on characters (Unicode code
points), so that scripts without spaces between words are read like all others.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from pydantic import Field

from unteach.languages.table import find
from unteach.registry import Settings

_REPLACEMENT = "\ufffd"

# First words of the Unicode names of a script's letters.
SCRIPT_WORDS: dict[str, frozenset[str]] = {
    "Arab": frozenset({"ARABIC"}),
    "Armn": frozenset({"ARMENIAN"}),
    "Beng": frozenset({"BENGALI"}),
    "Cyrl": frozenset({"CYRILLIC"}),
    "Deva": frozenset({"DEVANAGARI"}),
    "Ethi": frozenset({"ETHIOPIC"}),
    "Grek": frozenset({"GREEK"}),
    "Hans": frozenset({"CJK"}),
    "Hant": frozenset({"CJK"}),
    "Jpan": frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    "Latn": frozenset({"LATIN"}),
    "Thai": frozenset({"THAI"}),
}


class Degeneration(Settings):
    """From where on a reply is degenerate. Lengths are in characters; a wide one (Chinese, kana) counts as two.

    A reply that was cut at the token limit is not degenerate for that: good long answers are cut too. But greedy
    decoding that has fallen into a loop is ended by nothing but the limit, so with a cut reply less repetition is
    proof enough: the ``cut_...`` settings take the place of their namesakes.
    """

    repeats: int = Field(4, ge=2, description="How often a stretch must stand back to back to be a loop.")
    cut_repeats: int = Field(3, ge=2)
    loop_length: int = Field(16, ge=2, description="How long a loop must be, all repeats together.")
    loop_share: float = Field(1 / 3, gt=0, le=1, description="How much of the reply must be loops.")
    cut_loop_share: float = Field(0.2, gt=0, le=1)
    longest_unit: int = Field(60, ge=1, description="How many characters the stretch that is repeated may have.")
    stretch: int = Field(8, ge=2, description="Characters in the stretches that are compared all over the reply.")
    distinct_share: float = Field(0.4, ge=0, le=1, description="Degenerate if fewer of the stretches are different.")
    cut_distinct_share: float = Field(0.5, ge=0, le=1)
    distinct_length: int = Field(60, ge=2, description="Shorter replies are not asked for different stretches.")
    garbage_share: float = Field(0.05, ge=0, le=1, description="Degenerate if more characters than this are no text.")
    foreign_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Degenerate if more letters than this are in a script that neither the question's language nor "
        "English is written in; 1 takes every script.",
    )
    foreign_length: int = Field(10, ge=1, description="How long the letters in such a script must be together.")


def character_entropy(text: str, n: Sequence[int] = (2, 3)) -> float | None:
    """How varied a text is: the weighted entropy of its character n-grams, in bits; low where it repeats itself.

    E = sum_n w_n H_n with H_n = -sum_g p_n(g) log2 p_n(g), p_n(g) the share of n-gram g among all n-grams of the text,
    and w_n = (n - 1) / sum_m (m - 1): 1/3 for pairs and 2/3 for triples. This is the "fluency" of the editing
    literature (Meng et al. 2022: the mean of 2/3 H_2 and 4/3 H_3), but over characters rather than over words. It grows
    with length (H_n is at most log2 of the number of n-grams), so only texts of one length limit are comparable.

    Runs of white space count as one space. ``None`` if the text is shorter than the longest n-gram; every n at least 2.
    """
    kept = " ".join(unicodedata.normalize("NFC", text).split())
    if len(kept) < max(n):
        return None
    whole = sum(size - 1 for size in n)
    return sum((size - 1) / whole * _entropy(kept, size) for size in n)


def _entropy(text: str, size: int) -> float:
    counts = Counter(text[start : start + size] for start in range(len(text) - size + 1)).values()
    total = sum(counts)
    return sum(count / total * math.log2(total / count) for count in counts)


def why_degenerate(
    text: str,
    language: str,
    *,
    finished: bool,
    others: Sequence[str] = (),
    settings: Degeneration | None = None,
) -> str | None:
    """The reason why a reply to a question in this language is degenerate, or ``None``.

    A reason is garbage, a loop, too few different stretches, or a wrong script, in this order; that the reply was cut
    (``finished`` is false) only makes repetition count sooner, see ``Degeneration``. A reply in English or in one of
    ``others`` is never in a wrong script. An empty text is not degenerate: it is a class of its own.

    Raises:
        UnknownLanguage: the table does not have the language.
    """
    settings = settings or Degeneration()
    kept = " ".join(text.casefold().split())
    if not kept:
        return None
    return (
        _garbage(kept, finished, settings)
        or _loop(kept, finished, settings)
        or _sameness(kept, finished, settings)
        or _foreign(kept, (language, *others), settings)
    )


def _garbage(text: str, finished: bool, settings: Degeneration) -> str | None:
    # where byte tokens are cut, the last character may be half there
    whole = text if finished else text.rstrip(_REPLACEMENT)
    broken = sum(_is_garbage(character) for character in whole)
    share = broken / max(1, len(whole) - whole.count(" "))
    if broken < 2 or share <= settings.garbage_share:
        return None
    return f"{share:.0%} of its characters are no text (broken bytes or control characters)"


def _is_garbage(character: str) -> bool:
    return character == _REPLACEMENT or unicodedata.category(character) in ("Cc", "Co", "Cs")


def _loop(text: str, finished: bool, settings: Degeneration) -> str | None:
    """A stretch of any length up to ``longest_unit`` repeated back to back, and often enough in all."""
    repeats = settings.repeats if finished else settings.cut_repeats
    share = settings.loop_share if finished else settings.cut_loop_share
    spaced = text + " "  # so that the last of "no no no no" is as long as the others
    codes = np.frombuffer(spaced.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    # widths summed up to each position: the width of a span is a difference
    widths = np.concatenate(([0], np.cumsum([_width(character) for character in spaced])))
    looped = np.zeros(len(codes), dtype=bool)
    found: tuple[int, int] | None = None
    for unit in range(1, min(settings.longest_unit, len(codes) // repeats) + 1):
        for start, end in _streaks(codes[unit:] == codes[:-unit]):
            end += unit  # from the first copy on, [start, end) repeats itself with this period
            if end - start >= repeats * unit and widths[end] - widths[start] >= settings.loop_length:
                looped[start:end] = True
                found = found or (start, unit)
    if found is None or np.diff(widths)[looped].sum() < share * widths[-1]:
        return None
    shown = spaced[found[0] : found[0] + found[1]].strip()[:30]
    return f"it repeats {shown!r} back to back"


def _streaks(equal: np.ndarray) -> list[tuple[int, int]]:
    """Half-open spans where all are true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], equal.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _sameness(text: str, finished: bool, settings: Degeneration) -> str | None:
    """Repetition with something between, or of long stretches: few of the stretches of the text are different.

    Digits are all alike, so that a numbered list of one sentence counts; but stretches that are mostly digits, spaces
    and signs do not, so that a list of numbers does not.
    """
    if _length(text) < settings.distinct_length:
        return None
    alike = "".join("0" if character.isdecimal() else character for character in text)
    letters = np.cumsum([0, *(unicodedata.category(character)[0] in "LM" for character in alike)])
    wordy = np.flatnonzero(2 * (letters[settings.stretch :] - letters[: -settings.stretch]) >= settings.stretch)
    if len(wordy) < settings.distinct_length / 4:
        return None
    share = len({alike[start : start + settings.stretch] for start in wordy}) / len(wordy)
    if share >= (settings.distinct_share if finished else settings.cut_distinct_share):
        return None
    return f"only {share:.0%} of its stretches of {settings.stretch} characters are different"


def _foreign(text: str, languages: Sequence[str], settings: Degeneration) -> str | None:
    allowed = [find(code) for code in dict.fromkeys((*languages, "en"))]
    own = frozenset[str]().union(*(SCRIPT_WORDS[language.script] for language in allowed))
    lengths: Counter[str] = Counter()
    for character in text:
        if word := _script_word(character):
            lengths[word] += _width(character)
    foreign = {word: length for word, length in lengths.items() if word not in own}
    share = sum(foreign.values()) / max(1, lengths.total())
    if share <= settings.foreign_share or sum(foreign.values()) < settings.foreign_length:
        return None
    most = max(foreign, key=lambda word: foreign[word])
    names = " or ".join(language.name for language in allowed)
    return f"{share:.0%} of its letters are in a script of other languages than {names} (mostly {most})"


@lru_cache(maxsize=65536)
def _script_word(character: str) -> str:
    """The first word of a letter's Unicode name, which tells its script; empty if it is no letter or has no name."""
    plain = unicodedata.normalize("NFKC", character)[:1]
    return unicodedata.name(plain, "").split(" ")[0].split("-")[0] if plain.isalpha() else ""


def _width(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _length(text: str) -> int:
    return sum(map(_width, text))
