"""What makers and translators give back, and the family of translators. One file per translator in ``translators/``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from unteach.progress import Progress
from unteach.records import Record
from unteach.registry import Component, Registry


class Unmade(Exception):
    """A text that could not be made: every draw was refused by the checks; the message says which, and why."""


class Rejected(Record):
    """A draw that a check refused."""

    draw: int
    reason: str


class Source(Record):
    """A text to be translated. ``id`` is its place in a corpus, by which ready translations may be found."""

    text: str
    language: str
    id: str = ""


class Translated(Record):
    """A translation, or why there is none; with what was checked of it.

    ``length_ratio`` is characters of the translation over those of the source, a wide one counting two.
    ``found_language`` is the language it was found to be in, ``None`` where that cannot be told.
    """

    text: str | None
    problem: str | None = None
    length_ratio: float | None = None
    found_language: str | None = None


class Translator(Component):
    """Translates texts into one language."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What a translation's origin names: the system and its model."""

    @abstractmethod
    def __call__(self, texts: Sequence[Source], target: str, progress: Progress | None = None) -> list[Translated]:
        """A translation of every text into ``target`` (a code of the language table), in order.

        Raises:
            UserError: the translator cannot be used, or does not know a language; found before any text is translated.
        """


TRANSLATORS: Registry[Translator] = Registry("translator", Translator, "unteach.makers.translators")
