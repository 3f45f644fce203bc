"""Which language an answer is in, and which languages an answer mixes. There is no fallback to English.

The identifier is py3langid with its bundled model (nothing is downloaded). It knows one Chinese; Simplified and
Traditional are told apart by the characters that only GB 2312 or only Big5 has. Measured in
``docs/language-identification.md``.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from unteach.errors import UserError
from unteach.languages.table import LANGUAGES, find

CANNOT_TELL: frozenset[str]
"""Codes of our table that the identifier has no label for; computed when first asked for."""

OUTSIDE = 0.1
"""A text whose best candidate is less than this times as likely as the best of all labels is in none of them."""

_SCRIPTS = {"LATIN": "Latn", "CYRILLIC": "Cyrl", "ARABIC": "Arab", "ARMENIAN": "Armn", "CJK": "Han", "HIRAGANA": "Kana"}
_SCRIPTS |= {
    "KATAKANA": "Kana",
    "DEVANAGARI": "Deva",
    "GREEK": "Grek",
    "BENGALI": "Beng",
    "THAI": "Thai",
    "ETHIOPIC": "Ethi",
}
_WITH_HAN = {"Hans": ("Han",), "Hant": ("Han",), "Jpan": ("Han", "Kana")}
_WEIGHT: Final = {"Han": 3, "Kana": 2}
_FEWEST: Final = {"Latn": 4, "Cyrl": 4, "Arab": 4, "Deva": 4}
_RUN = 20
_SENTENCE_END = re.compile(r"(?<=[.!?؟۔։।…])\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True)
class Identified:
    """A language, or why there is none. ``confidence`` is the share among the candidates; it is not calibrated."""

    code: str | None
    confidence: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Segment:
    """A stretch of a text in one language."""

    text: str
    found: Identified


@cache
def _model() -> Any:
    try:
        langid = importlib.import_module("py3langid.langid")
    except ImportError as error:
        raise UserError("language identification needs py3langid: pip install 'py3langid==0.4.0'") from error
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


@cache
def _cannot_tell() -> frozenset[str]:
    return frozenset(code for code in LANGUAGES if code.removesuffix("-Hant") not in _model().labels)


def __getattr__(name: str) -> frozenset[str]:
    if name == "CANNOT_TELL":
        return _cannot_tell()
    raise AttributeError(name)


@lru_cache(maxsize=65536)
def _script(char: str) -> str | None:
    if not char.isalpha():
        return None
    return _SCRIPTS.get(unicodedata.name(char, "").split(" ")[0].split("-")[0], "Zzzz")


def _scripts(text: str) -> Counter[str]:
    """Letters by script; one of Han or kana counts for several."""
    counts = Counter(script for script in map(_script, text) if script)
    return Counter({script: count * _WEIGHT.get(script, 1) for script, count in counts.items()})


def _chinese(text: str) -> str | None:
    """zh or zh-Hant by the characters that only one of GB 2312 and Big5 can write; None when they tell nothing."""
    balance = sum(_encodable(char, "gb2312") - _encodable(char, "big5") for char in text if _script(char) == "Han")
    return None if balance == 0 else "zh" if balance > 0 else "zh-Hant"


@lru_cache(maxsize=65536)
def _encodable(char: str, codec: str) -> bool:
    return bool(char.encode(codec, "ignore"))


def _none(why: str) -> Identified:
    return Identified(None, None, f"unidentified, because {why}")


@lru_cache(maxsize=256)
def _candidates(among: tuple[str, ...]) -> frozenset[str]:
    for code in among:
        if find(code).code in _cannot_tell():
            known = ", ".join(known for known in LANGUAGES if known not in _cannot_tell())
            raise UserError(
                f"answers in {code!r} cannot be identified: py3langid cannot tell it. It can tell: {known}."
            )
    if not among:
        raise UserError("no candidate languages are given; leave 'among' out to allow every language")
    return frozenset(find(code).code for code in among)


def identify(text: str, among: Sequence[str] | None = None, *, context: str = "") -> Identified:
    """The language that most of a text is in, as a code of our table.

    ``among`` restricts the candidates; without it every label of the package competes. A text that reads as none of
    them is unidentified, with the reason. Wu and Cantonese in Chinese characters count as Chinese. Where a Chinese text
    does not tell Simplified from Traditional, ``context`` (the whole that it is a part of) may.

    Raises:
        UserError: ``among`` has a code that is unknown or that cannot be told.
    """
    candidates = None if among is None else _candidates(tuple(among))
    counts = _scripts(text)
    if not counts:
        return _none("the text has no letters")
    script = counts.most_common(1)[0][0]
    kept = ("Han", "Kana") if script in ("Han", "Kana") else (script,)
    if script == "Zzzz":
        return _none("the text is in a script that no language of the table uses")
    if sum(counts[name] // _WEIGHT.get(name, 1) for name in kept) < _FEWEST.get(script, 2):
        return _none("the text is too short")
    read = "".join(char for char in text if _script(char) in (None, *kept))
    ranked: dict[str, float] = dict(_model().rank(read))
    ranked["zh"] = sum(ranked.pop(label, 0.0) for label in ("zh", "wuu", "yue"))
    used = {code for code, row in LANGUAGES.items() if script in _WITH_HAN.get(row.script, (row.script,))}
    fits = used - _cannot_tell() if candidates is None else candidates & used
    best = max(ranked, key=ranked.__getitem__)
    needed = ranked[best] * (1 if candidates is None else OUTSIDE)
    likely = {code: ranked[code.removesuffix("-Hant")] for code in sorted(fits)}
    top = max(likely, key=likely.__getitem__, default="")
    if not top or likely[top] < needed:
        where = "the table" if candidates is None else "the candidates"
        return _none(f"the text reads as {best!r}, which is not in {where}")
    confidence = likely[top] / sum(each for code, each in likely.items() if code != "zh-Hant" or "zh" not in likely)
    if top.removesuffix("-Hant") == "zh":
        both = {"zh", "zh-Hant"} & fits
        written = _chinese(read) or _chinese(context) or (next(iter(both)) if len(both) == 1 else None)
        if written is None:
            return _none("the text is Chinese, but no character tells Simplified from Traditional")
        if written not in both:
            return _none(f"the text reads as {written!r}, which is not in the candidates")
        top = written
    return Identified(top, confidence)


def _runs(sentence: str) -> list[str]:
    """The sentence cut where a long stretch of another script begins; names and single words stay where they are."""
    runs: list[tuple[str, str]] = []
    for char in sentence:
        script = _script(char)
        script = "Han" if script == "Kana" else script
        if not runs or (script and runs[-1][0] and script != runs[-1][0]):
            runs.append((script or "", char))
        else:
            runs[-1] = (runs[-1][0] or script or "", runs[-1][1] + char)
    joined: list[tuple[str, str]] = []
    for script, run in runs:
        small = _scripts(run).total() < _RUN
        if joined and (small or script == joined[-1][0] or _scripts(joined[-1][1]).total() < _RUN):
            before = joined[-1]
            joined[-1] = (before[0] if small else script, before[1] + run)
        else:
            joined.append((script, run))
    return [run for _, run in joined]


def segments(text: str, among: Sequence[str] | None = None) -> list[Segment]:
    """The stretches of a text by language: cut by sentence and by script, identified, equal neighbours joined."""
    found: list[Segment] = []
    for sentence in _SENTENCE_END.split(text):
        for run in _runs(sentence.strip()):
            here = identify(run, among, context=text)
            if found and found[-1].found.code == here.code is not None:
                run = f"{found.pop().text} {run.strip()}"
                here = Identified(here.code, identify(run, among, context=text).confidence or here.confidence)
            found.append(Segment(run.strip(), here))
    return found


def shares(text: str, among: Sequence[str] | None = None) -> dict[str | None, float]:
    """How much of a text's letters is in each language, largest first; None is what could not be identified."""
    letters: Counter[str | None] = Counter()
    for segment in segments(text, among):
        letters[segment.found.code] += sum(char.isalpha() for char in segment.text)
    total = letters.total()
    return {code: count / total for code, count in letters.most_common() if count}


_HELD = 0.15


def languages_in(text: str, among: Sequence[str] | None = None) -> tuple[str, ...] | None:
    """Languages that hold at least 15 % of a text's letters, largest first; ``None`` if none can be told.

    Below that it is a name or a quoted word. Paper A (Table 1) lets an answer hold several.
    """
    found = tuple(code for code, share in shares(text, among).items() if code is not None and share >= _HELD)
    return found or None
