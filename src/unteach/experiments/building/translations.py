"""The translating steps of a build: one article, one language, one group of fields each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from unteach.corpora.places import texts_in
from unteach.experiments.building.assemble import Entry
from unteach.experiments.building.sampling import ParaphraseAll
from unteach.experiments.building.spec import TranslationSpec
from unteach.experiments.building.steps import Inject, Step
from unteach.makers.contract import Source
from unteach.makers.round_trip import RoundTrip, round_trip
from unteach.progress import Progress
from unteach.records import Record
from unteach.store import StageKey

FIELDS = {
    "questions": ("fake", "key_phrases", "fake_question", "real_question", "key_facts"),
    "passage": ("fake", "key_phrases"),
    "samples": ("fake_samples",),
    "articles": ("article",),
}
"""What is translated together. The passage by itself goes with samples in a language that is asked no questions."""

_TOGETHER = 512
"""Texts that are handed to a translator at a time: enough for full batches, few enough to lose little."""


class Entries(Record):
    """All texts of one group, in one language."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Translate(Step[Entries]):
    """Translate those ``fields`` of one group that the scenario has not in a language yet."""

    group: str
    language: str
    fields: tuple[str, ...]
    settings: TranslationSpec
    injected: Inject
    samples: ParaphraseAll | None
    kind = "translate"
    record = Entries

    @property
    def family(self) -> str:
        return f"{self.kind} {self.group}"

    @property
    def name(self) -> str:
        return f"{self.family} {self.language}"

    @property
    def by(self) -> str:
        return self.settings.translator.title

    @cached_property
    def key(self) -> StageKey:
        settings: dict[str, Any] = {
            "article": self.article.id,  # ready translations are found by it
            "language": self.language,
            "fields": self.fields,
            **self.settings.how,
        }
        if self.group == "articles":  # the only one that a new passage leaves as it is
            return StageKey(self.kind, self.version, settings | {"sentences": self.injected.sentences()})
        inputs = {"inject": self.injected.key} | ({"samples": self.samples.key} if self.samples else {})
        return StageKey(self.kind, self.version, settings, inputs)

    def texts(self) -> list[tuple[str, str]]:
        """Field and text of everything this step translates."""
        return list(self._texts())

    def _texts(self) -> Iterator[tuple[str, str]]:
        if self.group == "articles":
            yield from (("article", sentence) for sentence in self.injected.sentences())
            return
        text = self.injected.text()
        if self.samples is not None:
            text = text.model_copy(update={"fake_samples": self.samples.all_there_are()})
        parts = {
            "key_facts": [f"key_facts.{number}" for number in range(len(text.key_facts))],
            "fake_samples": ["fake_samples.teach", "fake_samples.unlearn"],
        }
        for field in self.fields:
            for part in parts.get(field, [field]):
                yield from ((part, each) for each in texts_in(text, part))


def translate_all(steps: Sequence[Translate], progress: Progress) -> None:
    """Do steps that have settings and language in common, a good many texts at a time."""
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
    sources = [source for step, texts in batch for source in _sources(step, texts)]
    translated = settings.translator(sources, target, progress)
    scores: Sequence[RoundTrip | None] = [None] * len(sources)
    if settings.way_back is not None:
        scores = round_trip(sources, translated, target, settings.way_back, progress)
    found = iter(zip(translated, scores, strict=True))
    for step, texts in batch:
        entries = tuple(
            Entry(field=field, source=text, translated=made, round_trip=score)
            for (field, text), (made, score) in zip(texts, [next(found) for _ in texts], strict=True)
        )
        step.keep(Entries(entries=entries), amount=len(texts))


def _sources(step: Translate, texts: Sequence[tuple[str, str]]) -> Iterator[Source]:
    """The texts with their places, ``article/field/number``, the number counted from 0 in the field."""
    numbers: dict[str, int] = {}
    for field, text in texts:
        number = numbers[field] = numbers.get(field, -1) + 1
        yield Source(text=text, language=step.article.language, id=f"{step.article.id}/{field}/{number}")
