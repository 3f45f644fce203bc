"""Steps of a build: one article's part of the work each, kept in the store as soon as it is whole.

inject -> paraphrase (real, fake; teaching, unlearning)
inject -> qa
inject, paraphrase -> translate (a language and a group of fields)
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from unteach.corpora.articles import Article
from unteach.endpoints.contract import Endpoint
from unteach.endpoints.service import Ask
from unteach.experiments.building.spec import BuildSpec, Counts, Maker
from unteach.makers.contract import Rejected, Unmade
from unteach.makers.inject import Injected, inject
from unteach.makers.paraphrase import Paraphrase, ParaphraseTask, paraphrase
from unteach.makers.qa import Questioned, question_answers
from unteach.makers.text_checks import near_copies
from unteach.records import Record, write_records
from unteach.store import StageKey, Store

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Step(ABC, Generic[R]):
    """One article's part of one kind of work."""

    spec: BuildSpec
    store: Store
    article: Article
    kind: ClassVar[str]
    version: ClassVar[int] = 1
    record: ClassVar[type[Record]]

    @property
    @abstractmethod
    def key(self) -> StageKey:
        """What decides its result."""

    @property
    def name(self) -> str:
        """What it is, for people, among the steps of one article."""
        return self.kind

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        return self.store.is_done(self.key)

    @property
    def _file(self) -> Path:
        return self.store.folder(self.key) / "result.jsonl"

    def result(self) -> R:
        """The finished step's result."""
        (found,) = self.record.read(self._file)
        return found  # type: ignore[return-value]

    def keep(self, result: R, amount: int = 1) -> None:
        """Put the result into the store, unless another process was quicker."""
        with self.store.writing(self.key, amount=amount) as folder:
            if folder is not None:
                write_records(folder / "result.jsonl", [result])


@dataclass(frozen=True)
class AskingStep(Step[R]):
    """A step that a text model does."""

    maker: ClassVar[Maker]

    @property
    def endpoint(self) -> Endpoint:
        """What is asked."""
        return self.spec.endpoint_of(self.maker)

    @property
    @abstractmethod
    def calls(self) -> int:
        """Prompts, if no draw is refused."""

    @abstractmethod
    async def make(self, ask: Ask) -> R:
        """The result. Raises ``Unmade`` if the checks refuse every draw."""

    def _key(self, settings: Mapping[str, Any], **inputs: StageKey) -> StageKey:
        return StageKey(self.kind, self.version, {"endpoint": self.endpoint.identity(), **settings}, inputs)


@dataclass(frozen=True)
class Inject(AskingStep[Injected]):
    """Put a false passage into an article, with its key phrases, key facts and both questions."""

    kind = "inject"
    maker = "inject"
    record = Injected
    calls = 1

    @cached_property
    def key(self) -> StageKey:
        article = self.article.model_dump(mode="json", exclude={"origin", "id"})
        return self._key({"article": article, "inject": self.spec.inject.identity()})

    async def make(self, ask: Ask) -> Injected:
        return await inject(ask, self.article, self.spec.inject)


@dataclass(frozen=True)
class Given(Inject):
    """A scenario that has its fake passage and questions already: nothing to ask, nothing to keep."""

    given: Injected
    kind = "given"
    calls = 0
    done = True

    @cached_property
    def key(self) -> StageKey:
        article = self.article.model_dump(mode="json", exclude={"origin", "id"})
        return StageKey(self.kind, self.version, {"article": article, "given": self.given.model_dump(mode="json")})

    def result(self) -> Injected:
        return self.given


class SampleSet(Record):
    """Paraphrases of one text, and why some that were wanted are not among them."""

    teach: tuple[str, ...]
    unlearn: tuple[str, ...]
    rejected: tuple[Rejected, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class ParaphraseAll(AskingStep[SampleSet]):
    """All paraphrases of an article, or of the article with the false passage in it."""

    injected: Inject
    fake: bool
    kind = "paraphrase"
    maker = "paraphrase"
    record = SampleSet

    @property
    def name(self) -> str:
        return f"{self.kind} {'fake' if self.fake else 'real'}"

    @property
    def _counts(self) -> Counts:
        return self.spec.paraphrase.fake if self.fake else self.spec.paraphrase.real

    @property
    def calls(self) -> int:
        return self._counts.teach + self._counts.unlearn

    @cached_property
    def key(self) -> StageKey:
        settings = {
            "fake": self.fake,
            "counts": self._counts.identity(),
            "paraphrase": self.spec.paraphrase.settings.identity(),
        }
        return self._key(settings, inject=self.injected.key)

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
            places = sorted(found)
            pairs = near_copies([found[place].text for place in places])
            wanted = sorted({places[later] for _, later in pairs})
            if not wanted:
                break
            for place in wanted:
                numbers[place] = max(numbers.values()) + 1
                missing[place] = "every try was nearly the same as another sample"
                refused += [*found[place].rejected, Rejected(draw=0, reason="nearly the same as another sample")]
        kept = [place for place in range(self.calls) if place in found and place not in wanted]
        texts = [found[place].text for place in kept]
        # Those that are missing are missing for teaching and unlearning alike.
        teach = round(len(texts) * self._counts.teach / self.calls) if self.calls else 0
        return SampleSet(
            teach=tuple(texts[:teach]),
            unlearn=tuple(texts[teach:]),
            rejected=(*refused, *(each for place in kept for each in found[place].rejected)),
            missing=tuple(f"sample {place}: {missing[place]}" for place in range(self.calls) if place not in kept),
        )

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


@dataclass(frozen=True)
class WritePairs(AskingStep[Questioned]):
    """Question-answer pairs on the real article."""

    injected: Inject
    kind = "qa"
    maker = "qa"
    record = Questioned
    calls = 1

    @cached_property
    def key(self) -> StageKey:
        settings = {"count": self.spec.qa.count, "qa": self.spec.qa.settings.identity()}
        return self._key(settings, inject=self.injected.key)

    async def make(self, ask: Ask) -> Questioned:
        injected = self.injected.result()
        avoid = (injected.real_question, injected.fake_question)
        qa = self.spec.qa
        return await question_answers(ask, self.article, qa.count, avoid, injected.key_phrases, qa.settings)
