"""One unlearning: paired samples, the objective, checkpoints that are read, and the rules that stop it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from unteach.corpora.load import Corpus
from unteach.corpora.samples import fake_sample, real_sample
from unteach.learn.loop import Schedule, StepLog, train
from unteach.models.batches import Encoded, encode, pad
from unteach.models.source import Loaded
from unteach.models.tuning import TUNINGS, Tuning
from unteach.progress import Progress
from unteach.records import Reading, Sample
from unteach.registry import Settings
from unteach.unlearn.contracts import OBJECTIVES, STOP_RULES, Objective, Probe, Slot, StopRule
from unteach.unlearn.stopping.perplexity import Perplexity
from unteach.unlearn.stopping.quality_drop import QualityDrop


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


Pair = tuple[Encoded, Encoded]


def forget_pairs(
    corpus: Corpus,
    slots: Sequence[Slot],
    real_language: str,
    qa: dict[str, list[Sample]],
    forget: ForgetSet,
    seed: int,
) -> list[tuple[Sample, Sample]]:
    """For every slot a fresh fake sample and a retain sample of the same scenario.

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
        pairs.append((fake, retain))
    return pairs


def unlearn(
    loaded: Loaded,
    model: nn.Module,
    pairs: Sequence[tuple[Sample, Sample]],
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
    """
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
    encoded = [tuple(encode(loaded.tokenizer, s.text, s.context, limit) for s in pair) for pair in pairs]
    random.Random(f"{seed}/order").shuffle(encoded)

    def collate(batch: Sequence[Pair]) -> dict[str, Any]:
        return {"forget": pad([f for f, _ in batch], pad_id), "retain": pad([r for _, r in batch], pad_id)}

    log = train(
        model,
        encoded,
        collate,
        lambda current, batch: settings.objective(current, batch["forget"], batch["retain"]),
        settings.schedule,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_every=settings.checkpoint_every,
        progress=progress,
        label=label,
    )
    return Outcome(tuple(readings), tuple(log), kept_step, last_step, reason)
