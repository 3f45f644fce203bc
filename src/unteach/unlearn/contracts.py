"""The three families of unlearning: objectives, language strategies, stop rules. One file per member."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from unteach.models.logprobs import IGNORE, token_logprobs
from unteach.records import Reading
from unteach.registry import Component, Registry

Batch = Mapping[str, Tensor]
"""``input_ids``, ``attention_mask``, ``labels``, each ``[B, T]``."""

Probe = Callable[[int], Reading]
"""Reads the model being trained at a checkpoint; handed in by ``experiments``, so that nothing here knows judges."""


@dataclass(frozen=True)
class Slot:
    """One forget sample that a strategy asks for: which scenario, in which language, the how-manieth of its kind."""

    scenario: str
    language: str
    index: int


@dataclass(frozen=True)
class Batches:
    """What one step sees. Sequence b of each is about the same scenario; ``idk`` stands in for ``forget``.

    ``idk`` says "I do not know that" in the language of the forget sample, and is there only for objectives that
    ask for it.
    """

    forget: Batch
    retain: Batch
    idk: Batch | None = None


Reference = Callable[[], AbstractContextManager[nn.Module]]
"""A scope in which the model is as it was before unlearning. Use it before the trained model runs, without gradient."""


class Objective(Component):
    """A loss over paired forget and retain batches, as named terms whose sum is minimised."""

    needs_idk: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, model: nn.Module, batches: Batches, reference: Reference) -> dict[str, Tensor]:
        """Named scalar terms, each in nats a token unless its class says otherwise."""


class Strategy(Component):
    """Chooses the languages of the forget set: a pure function of scenarios, source language, count and seed."""

    @abstractmethod
    def __call__(self, scenarios: Sequence[str], source_language: str, samples: int, seed: int) -> list[Slot]:
        """The forget samples, ``samples`` a scenario before any doubling the strategy prescribes."""

    @abstractmethod
    def languages(self, source_language: str) -> tuple[str, ...]:
        """Languages in which the corpus must have the fake passage."""


class StopRule(Component):
    """Ends unlearning when a reading is out of bounds: a pure function of readings."""

    @abstractmethod
    def __call__(self, start: Reading, now: Reading) -> str | None:
        """Why to stop, or ``None`` to go on."""


OBJECTIVES: Registry[Objective] = Registry("objective", Objective, "unteach.unlearn.objectives")
STRATEGIES: Registry[Strategy] = Registry("strategy", Strategy, "unteach.unlearn.strategies")
STOP_RULES: Registry[StopRule] = Registry("stop rule", StopRule, "unteach.unlearn.stopping")


def sequence_nll(model: nn.Module, batch: Batch) -> Tensor:
    """Mean negative log-likelihood of each sequence's labels, ``[B]``, in nats a token.

    Each sequence counts the same whatever its length, and padding counts nothing, so neither batch size nor
    accumulation changes the expectation.
    """
    logp = token_logprobs(model, batch["input_ids"], batch["attention_mask"], batch["labels"])
    counts = (batch["labels"][:, 1:] != IGNORE).sum(-1).clamp(min=1)
    return -logp.sum(-1) / counts
