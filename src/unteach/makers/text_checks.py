"""What can be checked of a made text in any language: phrases, sharing, copies, language, questions.

Texts are compared folded, and by runs of characters: there are no words to count in Chinese, Japanese or Thai.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Final

from unteach.languages import identify as identifier
from unteach.languages.sentences import sentences
from unteach.languages.table import find
from unteach.languages.text import Folded, find_phrases
from unteach.languages.text import fold as fold_text

NEAR: Final = 0.8
"""Two texts that share more than this of their long runs are near copies of each other."""

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff]")
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SHORT_RUN: Final = (4, 2)
_LONG_RUN: Final = (20, 6)
_FEWEST_LETTERS: Final = 12


class Bad(Exception):
    """A reply that a check refuses. The reason is in words of ours alone: the model is told it with the next draw."""


@lru_cache(maxsize=1024)
def _folded(text: str) -> Folded:
    return fold_text(text)


def fold(text: str) -> str:
    """The text for comparison, as judges compare: case, width, accents, digits of any script, invisible characters and
    runs of white space make no difference (``languages.text.normalise``)."""
    return _folded(text).folded.strip()


def stands_in(phrase: str, text: str) -> bool:
    """Whether a text has a phrase: what a judge would find in an answer, a check finds here."""
    return bool(find_phrases(_folded(text), (phrase,)))


def any_stands_in(phrases: Iterable[str], text: str) -> bool:
    """Whether a text has at least one of the phrases."""
    return any(stands_in(phrase, text) for phrase in phrases)


def bare(text: str) -> str:
    """The folded text's letters and numbers alone."""
    return "".join(char for char in fold(text) if unicodedata.category(char)[0] in "LMN")


def _length(text: str, lengths: tuple[int, int]) -> int:
    """How long runs are in a text like this: the second length where it is mostly Chinese or Japanese."""
    return lengths[2 * len(_DENSE.findall(text)) > sum(map(str.isalpha, text))]


def _runs(text: str, length: int) -> frozenset[str]:
    """All runs of so many characters of a folded text; a shorter text is one."""
    folded = fold(text)
    return frozenset(folded[at : at + length] for at in range(max(1, len(folded) - length + 1)) if folded)


def supported(text: str, by: str) -> float:
    """Share (0 to 1) of the text's runs of 4 characters (2 in Chinese and Japanese) that ``by`` has too."""
    length = min(_length(text, _SHORT_RUN), max(1, len(fold(text))))  # a name of three letters is there or is not
    runs = _runs(text, length)
    return len(runs & _runs(by, length)) / max(1, len(runs))


def copied(a: str, b: str) -> float:
    """Share (0 to 1) of the runs of 20 characters (6 in Chinese and Japanese) of the one that the other has too: the
    larger of both ways, so that neither an excerpt nor an addition hides a copy."""
    length = _length(a, _LONG_RUN)
    return _alike(_runs(a, length), _runs(b, length))


def _alike(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / max(1, min(len(a), len(b)))


def near_copy(a: str, b: str, most: float = NEAR) -> bool:
    """Whether two samples are the same but for little; see ``copied``."""
    return copied(a, b) > most


def near_copies(texts: Sequence[str], most: float = NEAR) -> list[tuple[int, int]]:
    """The places of all pairs of near copies among samples, the earlier first."""
    runs = [_runs(text, _length(texts[0], _LONG_RUN)) for text in texts]
    return [(i, j) for i, j in combinations(range(len(texts)), 2) if _alike(runs[i], runs[j]) > most]


def repeated(text: str) -> float:
    """Share (0 to 1) of the text's runs of 20 characters (6 in Chinese and Japanese) that it had before."""
    length = _length(text, _LONG_RUN)
    return 1 - len(_runs(text, length)) / max(1, len(fold(text)) - length + 1)


def check_language(text: str, language: str, least: float, what: str) -> None:
    """At least this share of a text's letters is in sentences that read as the language.

    Of a language that the identifier cannot tell only the script is checked, of a text with fewer than 12 letters
    nothing.

    Raises:
        Bad: it is in another language, or mixed with one.
    """
    letters = sum(map(str.isalpha, text))
    if letters < _FEWEST_LETTERS:
        return
    if language in identifier.CANNOT_TELL:
        found = identifier.identify(text).code
        right = found is None or find(found).script == find(language).script
    else:
        read = (s for s in sentences(text, language) if identifier.identify(s, (language,), context=text).code)
        right = sum(char.isalpha() for sentence in read for char in sentence) >= least * letters
    if not right:
        raise Bad(f"{what} was not wholly in {find(language).name}")


def is_question(text: str, language: str) -> bool:
    """Whether a text ends as a question: with the mark of its script, as far as its script has one.

    Armenian puts its mark on a word inside the question; Thai needs none, and Japanese none after "ka".
    """
    script, end = find(language).script, fold(text).rstrip(" !\"'»“”’)]」』")
    if not any(map(str.isalpha, end)):
        return False
    if script == "Thai":
        return True
    if script == "Armn" and "՞" in end:
        return True
    if script == "Jpan" and end.rstrip("。").endswith("か"):
        return True
    return end.endswith(("?", "؟", "፧", ";") if script in ("Grek", "Ethi") else ("?", "؟"))
