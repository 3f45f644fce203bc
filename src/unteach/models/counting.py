"""Counting tokens without the tokeniser: UTF-8 bytes divided by how many of them a token has in the text's script."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

BYTES_PER_TOKEN = {
    "English": 4.5, "Latn": 3.0, "Cyrl": 5.2, "Grek": 4.4, "Armn": 1.14, "Arab": 2.6, "Hans": 3.1, "Jpan": 3.8,
    "Deva": 4.9, "Beng": 2.2, "Ethi": 1.06, "Thai": 7.9,
}  # fmt: skip
"""LLaMA 3's tokeniser on the embedded corpus, by script; English apart from other languages in Latin letters.

Within Latin letters it is 2.5 (Hausa) to 3.6 (Spanish); Arab is Urdu (Arabic: 4.4). Ethi and Thai are from a few words.
Armenian has almost a token a byte. Gemma 3's tokeniser: 4.6 in English, 2.9 (Hausa) to 9.8 (Bengali) elsewhere.
"""

_LETTERS = {
    "Grek": "\u0370-\u03ff",
    "Cyrl": "\u0400-\u052f",
    "Armn": "\u0531-\u058f",
    "Arab": "\u0600-\u077f",
    "Deva": "\u0900-\u097f",
    "Beng": "\u0980-\u09ff",
    "Thai": "\u0e00-\u0e7f",
    "Ethi": "\u1200-\u139f",
    "Jpan": "\u3041-\u30ff",
    "Hans": "\u4e00-\u9fff",
}
_OTHER_LETTER = re.compile(f"[{''.join(_LETTERS.values())}]")
_SCRIPTS = {script: re.compile(f"[{letters}]") for script, letters in _LETTERS.items()}
_ENGLISH = re.compile(r"\b(?:[Tt]he|and|[Ww]hat)\b")
_BEGINNING = 400


def script_of(text: str) -> str:
    """A key of ``BYTES_PER_TOKEN``: the script of the first letter that is not Latin, else English or ``Latn``.

    Only the beginning of the text is looked at. English is told by its commonest words.
    """
    text = text[:_BEGINNING]
    found = None if text.isascii() else _OTHER_LETTER.search(text)
    if found is None:
        return "English" if _ENGLISH.search(text) else "Latn"
    script = next(name for name, letters in _SCRIPTS.items() if letters.match(found[0]))
    return "Jpan" if script == "Hans" and _SCRIPTS["Jpan"].search(text) else script


class ByBytes:
    """Takes the place of a tokeniser where only the number of tokens is wanted.

    Called with texts as a tokeniser is, it gives ``input_ids`` of the right length, whose values mean nothing.
    """

    chat_template: str | None = None
    bos_token: str | None = None
    eos_token: str | None = None

    def __call__(self, text: str | Sequence[str], **_: Any) -> dict[str, Any]:
        if isinstance(text, str):
            return {"input_ids": range(self.count(text))}
        return {"input_ids": [range(self.count(item)) for item in text]}

    def count(self, text: str) -> int:
        """1 (the beginning-of-text mark) + bytes / bytes a token, rounded up."""
        return 1 + math.ceil(len(text.encode()) / BYTES_PER_TOKEN[script_of(text)])

    def apply_chat_template(self, messages: Sequence[dict[str, str]], **_: Any) -> str:
        """The messages' texts; what a template adds is a few tokens."""
        return "\n".join(message["content"] for message in messages)


class Counting:
    """A tokeniser that remembers how many tokens each text has, for counting alone: many stages share their texts.

    ``longest`` is the longest text since it was last set to 0.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, int] = {}
        self.longest = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, text: str | Sequence[str], **_: Any) -> dict[str, Any]:
        texts = [text] if isinstance(text, str) else list(text)
        new = [item for item in dict.fromkeys(texts) if item not in self._known]
        if new:
            self._known |= zip(new, map(len, self._tokenizer(new)["input_ids"]), strict=True)
        counts = [self._known[item] for item in texts]
        self.longest = max(self.longest, *counts, 0)
        return {"input_ids": range(counts[0]) if isinstance(text, str) else [range(count) for count in counts]}
