"""The paraphrasing steps of a build: all samples of one article, for teaching and for unlearning."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from unteach.corpora.schema import Paraphrases
from unteach.endpoints.service import Ask
from unteach.experiments.building.spec import Counts
from unteach.experiments.building.steps import AskingStep, Inject
from unteach.makers.contract import Rejected, Unmade
from unteach.makers.paraphrase import Paraphrase, ParaphraseTask, paraphrase
from unteach.makers.text_checks import near_copies
from unteach.records import Record
from unteach.store import StageKey


class SampleSet(Record):
    """Paraphrases of one text, and why some that were wanted are not among them."""

    teach: tuple[str, ...]
    unlearn: tuple[str, ...]
    rejected: tuple[Rejected, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParaphraseAll(AskingStep[SampleSet]):
    """The paraphrases that are wanted of an article, or of the article with the false passage in it."""

    injected: Inject
    fake: bool
    before: Paraphrases
    """Those that a given scenario has; so many fewer are made."""
    kind = "paraphrase"
    maker = "paraphrase"
    record = SampleSet

    @property
    def family(self) -> str:
        return f"{self.kind} {'fake' if self.fake else 'real'}"

    @property
    def wanted(self) -> Counts:
        """How many are to be made."""
        counts = self.spec.paraphrase.fake if self.fake else self.spec.paraphrase.real
        return Counts(
            teach=max(0, counts.teach - len(self.before.teach)),
            unlearn=max(0, counts.unlearn - len(self.before.unlearn)),
        )

    @property
    def calls(self) -> int:
        return self.wanted.teach + self.wanted.unlearn

    @cached_property
    def key(self) -> StageKey:
        settings = {
            "fake": self.fake,
            "counts": self.wanted.identity(),
            "before": self.before.model_dump(mode="json"),
            "paraphrase": self.spec.paraphrase.settings.identity(),
        }
        return self._key(settings, inject=self.injected.key)

    def all_there_are(self) -> Paraphrases:
        """The finished step's samples, after those that were there before."""
        made = self.result()
        return Paraphrases(teach=(*self.before.teach, *made.teach), unlearn=(*self.before.unlearn, *made.unlearn))

    async def make(self, ask: Ask) -> SampleSet:
        found: dict[int, Paraphrase] = {}
        missing: dict[int, str] = {}
        refused: list[Rejected] = []
        wanted = list(range(self.calls))
        numbers = {place: place for place in wanted}  # a place that is asked again takes a style not used yet
        for _ in range(self.spec.paraphrase.settings.attempts):
            outcomes = await asyncio.gather(*(self._one(ask, numbers[place]) for place in wanted))
            for place, outcome in zip(wanted, outcomes, strict=True):
                if isinstance(outcome, Paraphrase):
                    found[place] = outcome
                else:
                    missing[place] = str(outcome)
            wanted = self._repeated(found)
            for place in wanted:
                numbers[place] = max(numbers.values()) + 1
                missing[place] = f"sample {place}: every try was nearly the same as another sample"
                refused += [*found.pop(place).rejected, Rejected(draw=0, reason="nearly the same as another sample")]
            if not wanted:
                break
        kept = sorted(found)
        texts = tuple(found[place].text for place in kept)
        teach = for_teaching(len(texts), self.wanted)
        return SampleSet(
            teach=texts[:teach],
            unlearn=texts[teach:],
            rejected=(*refused, *(each for place in kept for each in found[place].rejected)),
            missing=tuple(missing[place] for place in range(self.calls) if place not in found),
        )

    def _repeated(self, found: Mapping[int, Paraphrase]) -> list[int]:
        """The places of samples that are near copies of one that stays."""
        there = (*self.before.teach, *self.before.unlearn)
        places = sorted(found)
        again: set[int] = set()
        for earlier, later in near_copies([*there, *(found[place].text for place in places)]):
            if earlier not in again and later >= len(there):
                again.add(later)
        return [places[index - len(there)] for index in sorted(again)]

    async def _one(self, ask: Ask, number: int) -> Paraphrase | Unmade:
        injected = self.injected.result()
        task = ParaphraseTask(
            text=injected.fake_article if self.fake else self.article.text,
            language=self.article.language,
            number=number,
            key_facts=injected.key_facts,
            key_phrases=injected.key_phrases,
            fake=self.fake,
        )
        try:
            return await paraphrase(ask, task, self.spec.paraphrase.settings)
        except Unmade as problem:
            return problem


def for_teaching(made: int, wanted: Counts) -> int:
    """How many of the samples that could be made are for teaching: their share of what was wanted, rounded.

    Those that are missing are so missing for both uses alike; but each use has one if it can, teaching first.
    """
    if not (made and wanted.teach and wanted.unlearn):
        return made if wanted.teach else 0
    share = round(made * wanted.teach / (wanted.teach + wanted.unlearn))
    return min(max(share, 1), max(made - 1, 1))
