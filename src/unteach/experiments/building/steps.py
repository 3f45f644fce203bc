"""Steps of a build: one article's part of the work each, kept in the store as soon as it is whole.

inject -> paraphrase (real, fake; teaching, unlearning)
inject -> qa
inject, paraphrase -> translate (a language and a group of fields)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from unteach.corpora.articles import Article
from unteach.corpora.schema import LocalText, Origin
from unteach.endpoints.contract import Endpoint
from unteach.endpoints.service import Ask
from unteach.experiments.building.spec import BuildSpec, Maker
from unteach.languages.sentences import sentences
from unteach.makers.inject import Injected, inject
from unteach.makers.qa import Questioned, question_answers
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
    @abstractmethod
    def by(self) -> str:
        """Who does it, for people."""

    @property
    def family(self) -> str:
        """What it has in common with the same step of other articles, for people."""
        return self.kind

    @property
    def name(self) -> str:
        """What it is among the steps of one article, for people."""
        return self.family

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        return self.store.is_done(self.key)

    @property
    def folder(self) -> Path:
        """Where its result is, once it is done."""
        return self.store.folder(self.key)

    def result(self) -> R:
        """The finished step's result."""
        (found,) = self.record.read(self.folder / "result.jsonl")
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
    def by(self) -> str:
        return self.endpoint.title

    @property
    @abstractmethod
    def calls(self) -> int:
        """Prompts, if no draw is refused."""

    @abstractmethod
    async def make(self, ask: Ask) -> R:
        """The result. Raises ``Unmade`` if the checks refuse every draw."""

    def _key(self, settings: Mapping[str, Any], **inputs: StageKey) -> StageKey:
        endpoint = self.spec.how[self.maker]
        return StageKey(self.kind, self.version, {"endpoint": endpoint, **settings}, inputs)


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

    def sentences(self) -> tuple[str, ...]:
        """Those of the article, also before the step is done."""
        return tuple(sentences(self.article.text, self.article.language))

    def text(self) -> LocalText:
        """The finished step's scenario in the article's language, still without samples and pairs."""
        made = self.result()
        return LocalText(
            origin=Origin(kind="machine-written", by=f"{self.by}, from an article by {self.article.origin.by}"),
            article=self.sentences(),
            fake=(made.passage,),
            key_phrases=made.key_phrases,
            key_facts=made.key_facts,
            fake_question=made.fake_question,
            real_question=made.real_question,
        )


@dataclass(frozen=True)
class Given(Inject):
    """A scenario that has its fake passage and questions already: nothing to ask, nothing to keep."""

    given: Injected
    known: LocalText
    kind = "given"
    calls = 0
    done = True
    by = "given"

    @cached_property
    def key(self) -> StageKey:
        text = self.known.model_dump(mode="json", exclude={"origin", "round_trip", "qa", "real_samples"})
        return StageKey(self.kind, self.version, {"language": self.article.language, "text": text})

    def result(self) -> Injected:
        return self.given

    def sentences(self) -> tuple[str, ...]:
        return self.known.article

    def text(self) -> LocalText:
        return self.known


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
