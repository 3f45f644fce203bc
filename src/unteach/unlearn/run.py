"""One unlearning: paired samples, the objective, checkpoints that are read, and the rules that stop it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field
from torch import nn

from unteach.corpora.load import Corpus
from unteach.corpora.samples import fake_sample, real_sample
from unteach.errors import UserError
from unteach.languages.phrases import not_knowing
from unteach.learn.loop import Schedule, StepLog, train
from unteach.models.batches import Encoded, encode, pad
from unteach.models.source import Loaded
from unteach.models.tuning import TUNINGS, Tuning
from unteach.progress import Progress
from unteach.records import Reading, Sample
from unteach.registry import Settings
from unteach.unlearn.contracts import OBJECTIVES, STOP_RULES, Batches, Objective, Probe, Slot, StopRule
from unteach.unlearn.stopping.perplexity import Perplexity
from unteach.unlearn.stopping.quality_drop import QualityDrop

T = TypeVar("T")
U = TypeVar("U")


class ForgetSet(Settings):
    """How forget and retain samples are made. Paper A: 20 of each an article, freshly paraphrased (section 3.1)."""

    samples: int = Field(20, ge=1, description="Pairs a scenario.")
    keep: float = Field(1.0, ge=0, le=1, description="Share of the article's sentences around the fake passage.")
    keep_real: float = Field(1.0, gt=0, le=1, description="Share of the article's sentences in a retain sample.")
    wordings_each: int = Field(1, ge=1, description="Wordings of the fake claim that make up one fake passage.")
    loss_on: Literal["article", "passage"] = Field(
        "article", description="Push away the whole fake article as the paper does, or the fake passage alone."
    )
    retain_qa: float = Field(
        0.0, ge=0, le=1, description="Share of retain samples that are question-answer pairs on the real article."
    )


class Unlearning(Settings):
    """Everything about one unlearning but its strategy."""

    objective: Annotated[Objective, OBJECTIVES.annotation]
    tuning: Annotated[Tuning, TUNINGS.annotation]
    schedule: Schedule
    forget: ForgetSet = ForgetSet()
    stop: tuple[Annotated[StopRule, STOP_RULES.annotation], ...] = (Perplexity(), QualityDrop())
    checkpoint_every: int = Field(4, ge=1, description="Optimiser steps between readings.")
    checkpoints: int | None = Field(
        None, ge=1, description="Readings spread evenly over the steps; overrides checkpoint_every."
    )

    def reading_every(self, items: int) -> int:
        """Optimiser steps between readings when training on so many pairs."""
        if self.checkpoints is None:
            return self.checkpoint_every
        return max(1, -(-self.schedule.steps(items) // self.checkpoints))


@dataclass(frozen=True)
class Outcome:
    """How an unlearning went: readings at every checkpoint, why it ended, and which checkpoint was kept.

    ``kept_step`` is the last checkpoint at which no stop rule objected, 0 if already the first reading was bad.
    """

    readings: tuple[Reading, ...]
    log: tuple[StepLog, ...]
    kept_step: int
    last_step: int
    reason: str | None


@dataclass(frozen=True)
class Pair(Generic[T]):
    """A forget sample with its retain sample, and what a model that does not know would say instead."""

    forget: T
    retain: T
    idk: T

    def map(self, change: Callable[[T], U]) -> Pair[U]:
        """The same of each."""
        return Pair(change(self.forget), change(self.retain), change(self.idk))


def forget_pairs(
    corpus: Corpus,
    slots: Sequence[Slot],
    real_language: str,
    qa: dict[str, list[Sample]],
    forget: ForgetSet,
    seed: int,
) -> list[Pair[Sample]]:
    """For every slot a fresh fake sample, a retain sample of the same scenario, and "I do not know" in its language.

    ``qa`` holds each scenario's question-answer samples, for ``retain_qa``.
    """
    pairs = []
    rng = random.Random(f"{seed}/retain")
    for number, slot in enumerate(slots):
        scenario = corpus.by_id[slot.scenario]
        fake = fake_sample(
            scenario,
            slot.language,
            "unlearn",
            slot.index,
            seed,
            forget.keep,
            wordings_each=forget.wordings_each,
            context=forget.loss_on == "passage",
        )
        if qa.get(slot.scenario) and rng.random() < forget.retain_qa:
            retain = rng.choice(qa[slot.scenario])
        else:
            retain = real_sample(scenario, real_language, "unlearn", number, seed, forget.keep_real)
        pairs.append(Pair(fake, retain, _idk(fake, slot)))
    return pairs


def _idk(fake: Sample, slot: Slot) -> Sample:
    """What stands in for a fake sample in objectives that prefer not knowing. Empty where no words are at hand."""
    words = not_knowing(slot.language)
    return fake.model_copy(update={"text": words[slot.index % len(words)] if words else ""})


def _check_idk(pairs: Sequence[Pair[Sample]], objective: str) -> None:
    """Refuse, before anything is trained, forget languages in which unteach cannot say "I do not know that"."""
    missing = sorted({pair.idk.language for pair in pairs if not pair.idk.text})
    if missing:
        raise UserError(
            f'objective {objective!r} prefers "I do not know that" in the language of each forget sample, and '
            f"languages/phrases.py has no such words in {', '.join(map(repr, missing))}; add them there, or choose "
            "another strategy or objective"
        )


def unlearn(
    loaded: Loaded,
    model: nn.Module,
    pairs: Sequence[Pair[Sample]],
    settings: Unlearning,
    probe: Probe,
    kept: Path,
    *,
    seed: int,
    progress: Progress | None = None,
    label: str = "unlearning",
) -> Outcome:
    """Train ``model`` to forget; leave the last good checkpoint's patch in ``kept``.

    Readings are taken before the first step, every ``checkpoint_every`` steps and after the last. When a stop rule
    objects, training ends and the checkpoint before stays the result, so a rule's bound holds for what is kept.

    Raises:
        UserError: the objective compares with "I do not know", and a forget sample's language has no words for it.
    """
    if settings.objective.needs_idk:
        _check_idk(pairs, settings.objective.registered_name)
    readings = [probe(0)]
    settings.tuning.save(model, kept)
    kept_step, last_step, reason = 0, 0, None

    def checkpoint(current: nn.Module, step: int) -> bool:
        nonlocal kept_step, last_step, reason
        now = probe(step)
        readings.append(now)
        last_step = step
        reason = "; ".join(filter(None, (rule(readings[0], now) for rule in settings.stop))) or None
        if reason is None:
            settings.tuning.save(current, kept)
            kept_step = step
        return reason is not None

    limit, pad_id = loaded.context_length, int(loaded.tokenizer.pad_token_id or 0)
    encoded = [pair.map(lambda s: encode(loaded.tokenizer, s.text, s.context, limit)) for pair in pairs]
    random.Random(f"{seed}/order").shuffle(encoded)

    def collate(batch: Sequence[Pair[Encoded]]) -> dict[str, Any]:
        return {
            "forget": pad([pair.forget for pair in batch], pad_id),
            "retain": pad([pair.retain for pair in batch], pad_id),
            "idk": pad([pair.idk for pair in batch], pad_id) if settings.objective.needs_idk else None,
        }

    log = train(
        model,
        encoded,
        collate,
        lambda current, batch: settings.objective(current, Batches(**batch), lambda: settings.tuning.reference(model)),
        settings.schedule,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_every=settings.reading_every(len(encoded)),
        progress=progress,
        label=label,
    )
    return Outcome(tuple(readings), tuple(log), kept_step, last_step, reason)
