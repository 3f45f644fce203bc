"""Editors: items -> edits. One file per editor in ``editors/``.

An edit is a value: it holds the change of one matrix and how it came about, and does nothing until it is applied
inside a scope (``edit.scope``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from unteach.learn.loop import StepLog
from unteach.models.source import Loaded
from unteach.progress import Progress
from unteach.records import EditRecord
from unteach.registry import Component, Registry


@dataclass(frozen=True)
class Job:
    """One item to edit on, in one language, as text that is ready for the model.

    ``prompt`` is the adversarial prompt in the run's format, up to the answer; ``target`` the safe response with its
    end; ``unsafe`` and ``safe`` the bare responses; ``knowledge`` a benign prompt and its answer, or ``None``.
    """

    item: str
    language: str
    prompt: str
    target: str
    unsafe: str
    safe: str
    unsafe_target: str
    knowledge: tuple[str, str] | None = None


@dataclass(frozen=True)
class Edit:
    """The change of one weight. ``delta`` has the weight's own shape, in float32; ``None`` changes nothing."""

    record: EditRecord
    delta: Tensor | None = None


class Editor(Component):
    """Changes a model so that it defends an item."""

    @property
    def suffix(self) -> str | None:
        """What edited models are asked with after the request, ``None`` for nothing; ``@language`` its translation."""
        return None

    def lacking(self) -> str | None:
        """What this machine lacks for it, and the fix; ``None`` if nothing."""
        return None

    @property
    def empty_counts(self) -> float:
        """What an empty reply counts in DS and DG: 0, or 1/2 where the reference implementation counts so."""
        return 0.0


class ItemEditor(Editor):
    """Makes one edit an item, each from the unedited model."""

    @property
    def uses_language(self) -> bool:
        """Whether it matters in which language it is given the items."""
        return True

    @abstractmethod
    def edit(
        self,
        loaded: Loaded,
        jobs: Sequence[Job],
        *,
        seed: int,
        first: Job | None = None,
        progress: Progress | None = None,
    ) -> list[Edit]:
        """Edits in the order of the jobs. The model is as before afterwards, bit for bit.

        Args:
            first: the first item of the whole set where ``jobs`` are only a part of it.
        """


class SetEditor(Editor):
    """Trains one change on all items together."""

    @abstractmethod
    def training_tokens(self, tokenizer: PreTrainedTokenizerBase, jobs: Sequence[Job]) -> int:
        """How many tokens are trained on."""

    @abstractmethod
    def train(
        self, loaded: Loaded, jobs: Sequence[Job], to: Path, *, seed: int, progress: Progress | None = None
    ) -> list[StepLog]:
        """Train and save a patch (``models.tuning``) to ``to``. The model is as before afterwards, bit for bit."""


EDITORS: Registry[Editor] = Registry("editor", Editor, "unteach.edit.editors")
