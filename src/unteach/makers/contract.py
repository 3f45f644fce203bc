"""What makers and translators give back, and the family of translators. One file per translator in ``translators/``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

from unteach.languages.table import find
from unteach.progress import NoProgress, Progress
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

    ``text`` is ``None`` exactly where there is a ``problem``; ``refused`` is then what the checks refused, for people
    to look at and never to be used. ``length_ratio`` is the width of the translation over that of the source
    (characters, a wide one counting two). ``found_language`` is the language it was found to be in; where that cannot
    be told, or a check could not be made, ``unchecked`` says why.
    """

    text: str | None
    problem: str | None = None
    refused: str | None = None
    length_ratio: float | None = None
    found_language: str | None = None
    unchecked: str | None = None


class Translator(Component):
    """Translates texts into one language."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What a translation's origin names: the system and its model."""

    def check(self, sources: Iterable[str], target: str) -> None:
        """Find out, before any text is translated, whether texts in these languages can be translated into ``target``.

        Raises:
            UserError: a language that the table or the translator does not know, or a missing key, model or file.
        """
        for code in (*sources, target):
            find(code)

    def __call__(self, texts: Sequence[Source], target: str, progress: Progress | None = None) -> list[Translated]:
        """A translation of every text into ``target`` (a code of the language table), in order.

        Texts may be in several languages. One that has no letters, or is in ``target`` already, is given back as it is.

        Raises:
            UserError: as ``check``; or a service has no reply, or its budget is reached (what it did reply is kept).
        """
        target = find(target).code
        sources = [text.model_copy(update={"language": find(text.language).code}) for text in texts]
        self.check({source.language for source in sources}, target)
        work = [source for source in sources if _is_work(source, target)]
        done = iter(self._translate(work, target, progress or NoProgress()) if work else ())
        return [next(done) if _is_work(source, target) else Translated(text=source.text) for source in sources]

    @abstractmethod
    def _translate(self, texts: Sequence[Source], target: str, progress: Progress) -> list[Translated]:
        """The translations of texts that need one, in order; languages are codes of the table and were checked."""

    def release(self) -> None:
        """Give back what is held in memory (a model); the next call loads it again."""


def _is_work(source: Source, target: str) -> bool:
    return source.language != target and any(char.isalpha() for char in source.text)


TRANSLATORS: Registry[Translator] = Registry("translator", Translator, "unteach.makers.translators")
"""One file per translator."""
