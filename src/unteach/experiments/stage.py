"""What a stage is: its key, its cost, and how it is done.

learn (a source or none) -> ask (a language) -> unlearn (a strategy) -> ask (what is not yet answered)
ask -> judge ;  a model -> choose, score
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from transformers import PreTrainedTokenizerBase

from unteach.corpora.load import Corpus
from unteach.corpora.untouched import UntouchedText, load_untouched
from unteach.experiments.bench import Workbench
from unteach.experiments.spec import Spec
from unteach.models.source import ModelSource
from unteach.records import Answer
from unteach.store import StageKey, Store

Unit = Literal["training tokens", "edits", "prompts", "verdicts", "choices", "texts"]


class RunContext(Protocol):
    """What every stage of a run shares, whatever the experiment is about."""

    @property
    def store(self) -> Store:
        """Where results are kept."""

    @property
    def source(self) -> ModelSource:
        """Where the base model comes from."""


@dataclass(frozen=True)
class Stage(ABC):
    """One unit of work whose result is kept."""

    context: RunContext
    kind: ClassVar[str]
    version: ClassVar[int] = 1
    unit: ClassVar[Unit]

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is, for people."""

    @property
    @abstractmethod
    def key(self) -> StageKey:
        """What decides its result."""

    @abstractmethod
    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """How much work it is, in ``unit``."""

    @abstractmethod
    def execute(self, bench: Workbench, folder: Path) -> None:
        """Do it, leaving the result in ``folder``."""

    @property
    def together(self) -> str | None:
        """Stages that follow one another with the same value here are done in one go; ``None`` is alone."""
        return None

    @classmethod
    def execute_all(cls, bench: Workbench, work: Sequence[tuple[Stage, Path]]) -> None:
        """Do several stages in one go; by default one after another."""
        for stage, folder in work:
            stage.execute(bench, folder)

    @property
    def done(self) -> bool:
        """Whether its result is there."""
        return self.context.store.is_done(self.key)

    @property
    def folder(self) -> Path:
        """Where the result is."""
        return self.context.store.folder(self.key)

    def bytes_needed(self) -> int:
        """Room on disk that must be free before it starts."""
        return 1 << 20


S = TypeVar("S", bound=Stage)


def each_once(stages: Iterable[S]) -> list[S]:
    """Every stage once, in order."""
    found: dict[str, S] = {}
    for stage in stages:
        found.setdefault(stage.key.digest, stage)
    return list(found.values())


@dataclass(frozen=True)
class ModelStage(Stage):
    """A stage that makes a model: its result is patches on the base model."""

    @property
    @abstractmethod
    def patches(self) -> list[Path]:
        """Patches that turn the base model into this one, in order."""


@dataclass(frozen=True)
class Context:
    """What every stage of a run shares."""

    spec: Spec
    corpus: Corpus
    store: Store

    def key(
        self,
        kind: str,
        version: int,
        settings: Mapping[str, Any],
        languages: Iterable[str] | None = None,
        **inputs: StageKey,
    ) -> StageKey:
        """A stage key: every stage depends on the model, and on the corpus in the languages it reads (or in all)."""
        corpus = self.corpus.digest(languages)
        return StageKey(kind, version, {"model": self._model, "corpus": corpus, **settings}, inputs)

    @cached_property
    def untouched(self) -> dict[str, UntouchedText]:
        """The spec's untouched texts, read once for all stages; none if it scores none."""
        return load_untouched(self.spec.texts.untouched) if self.spec.texts else {}

    @property
    def source(self) -> ModelSource:
        """Where the base model comes from."""
        return self.spec.model

    @cached_property
    def _model(self) -> dict[str, Any]:
        return self.spec.model.identity()


@dataclass(frozen=True)
class NewsStage(Stage):
    """A stage of an experiment with news, real and fake (paper A)."""

    context: Context

    @property
    def spec(self) -> Spec:
        """The run's spec."""
        return self.context.spec


@dataclass(frozen=True)
class NewsModel(NewsStage, ModelStage):
    """A stage that teaches or unlearns news."""

    @property
    def needs(self) -> list[NewsStage]:
        """Stages beside its parent that must be done before it."""
        return []

    def answers(self) -> list[Answer]:
        """What the finished model has already answered while it was made."""
        return []
