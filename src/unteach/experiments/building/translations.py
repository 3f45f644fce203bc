"""The translating steps of a build: one article, one language, one group of fields each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from unteach.experiments.building.spec import TranslationSpec
from unteach.experiments.building.steps import Inject, ParaphraseAll, Step
from unteach.makers.contract import Source, Translated
from unteach.makers.round_trip import RoundTrip, round_trip
from unteach.makers.sentences import sentences
from unteach.progress import Progress
from unteach.records import Record
from unteach.store import StageKey

_TOGETHER = 512
"""Texts that are handed to a translator at a time: enough for full batches, few enough to lose little."""


class Entry(Record):
    """One text of a scenario, translated. ``field`` as in ``LocalText``; a fact's forms are ``key_facts.0`` and on."""

    field: str
    source: str
    translated: Translated
    round_trip: RoundTrip | None = None


class Entries(Record):
    """All texts of one group, in one language."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Translate(Step[Entries]):
    """Translate one group of one article's fields into one language."""

    group: str
    language: str
    settings: TranslationSpec
    injected: Inject
    samples: ParaphraseAll | None
    with_passage: bool
    kind = "translate"
    record = Entries

    @property
    def name(self) -> str:
        return f"{self.kind} {self.group} {self.language}"

    @cached_property
    def key(self) -> StageKey:
        back = self.settings.back or self.settings.translator
        settings = {
            "group": self.group,
            "language": self.language,
            "translator": self.settings.translator.identity(),
            "back": back.identity() if self.settings.round_trip else None,
            "passage": self.with_passage,
        }
        inputs = {"inject": self.injected.key} | ({"samples": self.samples.key} if self.samples else {})
        return StageKey(self.kind, self.version, settings, inputs)

    def texts(self) -> list[tuple[str, str]]:
        """Field and text of everything this step translates."""
        return list(self._texts())

    def _texts(self) -> Iterator[tuple[str, str]]:
        injected = self.injected.result()
        if self.group == "articles":
            yield from (("article", sentence) for sentence in sentences(self.article.text, self.article.language))
            return
        if self.group == "questions" or self.with_passage:
            yield "fake", injected.passage
            yield from (("key_phrases", phrase) for phrase in injected.key_phrases)
        if self.group == "questions":
            yield "fake_question", injected.fake_question
            yield "real_question", injected.real_question
            for number, forms in enumerate(injected.key_facts):
                yield from ((f"key_facts.{number}", form) for form in forms)
        if self.samples is not None:
            made = self.samples.result()
            yield from (("fake_samples.teach", text) for text in made.teach)
            yield from (("fake_samples.unlearn", text) for text in made.unlearn)


def translate_all(steps: Sequence[Translate], progress: Progress) -> None:
    """Do steps that have translator and language in common, a good many texts at a time."""
    batch: list[tuple[Translate, list[tuple[str, str]]]] = []
    for step in steps:
        batch.append((step, step.texts()))
        if sum(len(texts) for _, texts in batch) >= _TOGETHER:
            _translate(batch, progress)
            batch = []
    if batch:
        _translate(batch, progress)


def _translate(batch: Sequence[tuple[Translate, list[tuple[str, str]]]], progress: Progress) -> None:
    settings, target = batch[0][0].settings, batch[0][0].language
    sources = [
        Source(text=text, language=step.article.language, id=f"{step.article.id}/{field}/{number}")
        for step, texts in batch
        for number, (field, text) in enumerate(texts)
    ]
    translated = settings.translator(sources, target, progress)
    scores: Sequence[RoundTrip | None] = [None] * len(sources)
    if settings.round_trip:
        back = settings.back or settings.translator
        scores = round_trip(sources, translated, target, back, progress)
    found = iter(zip(translated, scores, strict=True))
    for step, texts in batch:
        entries = tuple(
            Entry(field=field, source=text, translated=made, round_trip=score)
            for (field, text), (made, score) in zip(texts, [next(found) for _ in texts], strict=True)
        )
        step.keep(Entries(entries=entries), amount=len(texts))
