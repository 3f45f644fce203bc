"""Texts from outside as data in a judge's prompt: fenced, with nothing hidden and nothing that reads as a grade.

What a model under test writes must not steer its judge. Here its text is made harmless in form; what it says is still
read by the judge, and a judge that believes what it reads can still be misled (``docs/judging.md``).
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

# Characters that show nothing: controls but tab and line feed, bidi marks and overrides, zero-width and other
# "default ignorable" characters, tags, separators of lines and paragraphs, and lone surrogates.
UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Joiners are spelling between letters of scripts from Hebrew to Sinhala: hidden elsewhere only.
_JOINING = "[\u0590-\u0dff]"
_HIDDEN = re.compile(f"(?:(?!(?<={_JOINING})[\u200c\u200d]{_JOINING})[{UNSEEN}])+")
_SHOWN = 4

# Brackets that are, or look like, the square ones of a grade; those that look like two count as two.
_ONE = {"[［﹇⁅【〖〔﹝❲⦋⦍⦏": "(", "]］﹈⁆】〗〕﹞❳⦌⦎⦐": ")"}
_TWO = {"⟦〚⟬〘": "((", "⟧〛⟭〙": "))"}
_ROUND = {bracket: round_ for table in (_ONE, _TWO) for many, round_ in table.items() for bracket in many}
# What may stand between two brackets and still let them pass for a pair when a model copies them.
_GAP = rf"[\s\\\u0300-\u036f{UNSEEN}]*"


def _run(one: str, two: str) -> str:
    either = f"[{re.escape(one + two)}]"
    return f"{either}(?:{_GAP}{either})+|[{two}]"


_PAIRS = re.compile("|".join(_run(one, two) for one, two in zip(_ONE, _TWO, strict=True)))
_BRACKET = re.compile(f"[{re.escape(''.join(_ROUND))}]")
_ANGLES = re.compile("[<＜]{3,}|[>＞]{3,}")


def visible(text: str) -> str:
    """The text with hidden characters shown by their numbers, as ``⟨U+202E⟩``; a long run by how many there are."""
    return _HIDDEN.sub(lambda run: _numbers(run[0]), text.replace("\r\n", "\n"))


def _numbers(hidden: str) -> str:
    named = [f"U+{ord(character):04X}" for character in hidden[:_SHOWN]]
    if len(hidden) > _SHOWN:
        named += [f"and {len(hidden) - _SHOWN} more hidden characters"]
    return f"⟨{' '.join(named)}⟩"


@lru_cache(maxsize=1024)
def quotable(text: str) -> str:
    """The text as it may stand in a fence; whoever repeats it, word for word, gives no grade and ends no fence.

    Hidden characters are shown. Square brackets, and what looks like them, become round ones where two or more stand
    together, whatever hidden characters or spaces are between them. Runs of three angle brackets are spaced out.
    """
    rounded = _PAIRS.sub(lambda run: _BRACKET.sub(lambda bracket: _ROUND[bracket[0]], run[0]), text)
    return _ANGLES.sub(lambda run: " ".join(run[0]), visible(rounded))


def fenced(title: str, text: str) -> str:
    """The text between two lines that carry its title and a mark of its own; the same text has the same mark.

    No quotable text has three angle brackets in a row, so none can end its fence; the mark, a hash of the text, is for
    the reader to see where it ends.
    """
    inner = quotable(text)
    mark = hashlib.sha256(inner.encode()).hexdigest()[:16]
    return f"<<<{title} {mark}\n{inner}\n{title} {mark}>>>"
