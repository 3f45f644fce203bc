"""Fonts for languages' own names: which installed fonts have the letters, and which of them a PDF can hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal
from matplotlib.text import Text

from unteach.languages.table import LANGUAGES
from unteach.reports.tables import language_name

_FIRST = "DejaVu Sans"
"""Comes with matplotlib, so a label without other scripts looks the same on every machine."""

_OTHERS = (
    "Noto Sans", "Noto Sans Arabic", "Noto Sans Armenian", "Noto Sans Bengali", "Noto Sans Devanagari",
    "Noto Sans Ethiopic", "Noto Sans Thai", "Noto Sans SC", "Noto Sans TC", "Noto Sans JP", "Noto Sans CJK SC",
    "Noto Sans CJK TC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "Droid Sans Fallback", "Abyssinica SIL",
    "Arial Unicode MS", "PingFang SC", "Hiragino Sans", "Geeza Pro", "Kefa", "Thonburi",
    "Microsoft YaHei", "Yu Gothic", "Nirmala UI", "Ebrima", "Leelawadee UI",
)  # fmt: skip
"""Looked for in this order: free fonts of Linux, then those of macOS and Windows."""

_NEEDS_SHAPING = frozenset({"Arab", "Hebr", "Deva", "Beng", "Thai"})
"""Scripts whose letters join, stack or run from right to left: matplotlib draws them rightly from 3.11 on."""


@cache
def families() -> tuple[str, ...]:
    """The installed ones of the fonts above, best first: matplotlib takes each letter from the first that has it."""
    installed = set(font_manager.fontManager.get_font_names())
    return (_FIRST, *(name for name in _OTHERS if name in installed))


@contextmanager
def all_scripts() -> Iterator[None]:
    """Text that is made or drawn in this scope may hold letters of any script that the machine has a font for."""
    with matplotlib.rc_context({"font.family": list(families())}):
        yield


@cache
def own_name(code: str) -> str | None:
    """The language's own name if it can be drawn here and differs from the English one, else ``None``."""
    language = LANGUAGES.get(code)
    if language is None or language.own_name.casefold() == language_name(code, short=True).split(" (")[0].casefold():
        return None
    if language.script in _NEEDS_SHAPING and matplotlib.__version_info__ < (3, 11):
        return None
    return language.own_name if all(_font_of(letter) for letter in language.own_name) else None


def label(code: str | None, joint: str = " ") -> str:
    """English and own name of a language, ``Urdu اردو``; the English one alone where no font has the letters."""
    if code is None or code not in LANGUAGES:
        return language_name(code)
    own, plain = own_name(code), language_name(code, short=True).split(" (")[0]
    if own is None:  # simplified and traditional Chinese differ in their codes only
        return plain if plain == LANGUAGES[code].name else f"{plain}{joint}({code})"
    return f"{plain}{joint}{own}"


def outline_for_pdf(figure: Figure) -> None:
    """Turn text into outlines where its font would make a PDF that some viewers refuse.

    matplotlib embeds fonts with PostScript outlines (most Chinese and Japanese ones) as if they were TrueType:
    https://github.com/matplotlib/matplotlib/issues/20870. All other text stays text.
    """
    for text in figure.findobj(Text):
        if isinstance(text, Text) and any(_font_of(letter) == "outlines" for letter in text.get_text()):
            text.set_path_effects([Normal()])


@cache
def _font_of(letter: str) -> str | None:
    """``embeddable`` or ``outlines`` by the font that the letter comes from; ``None`` if none has it."""
    if letter.isspace():
        return "embeddable"
    for family in families():
        font = font_manager.get_font(font_manager.findfont(family))
        if font.get_char_index(ord(letter)):
            # Version 0.5 of this table belongs to PostScript outlines, 1.0 to TrueType's.
            table = font.get_sfnt_table("maxp")
            return "embeddable" if table is None or table["version"][0] >= 1 else "outlines"
    return None
