"""What a plan will cost on this machine: work by kind, time and memory. Starts nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import fmean, median

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unteach.ask.forced_choice import candidates
from unteach.experiments.answer_stages import Choose
from unteach.experiments.plan import all_stages
from unteach.experiments.run import Prepared
from unteach.experiments.stage import Stage
from unteach.models.hardware import default_device
from unteach.models.structure import decoder_layers, output_head


@dataclass(frozen=True)
class Line:
    """One stage of a plan. ``seconds`` is 0 if it is done; ``measured`` says whether the rate was measured here."""

    stage: Stage
    done: bool
    amount: int
    seconds: float
    measured: bool


@dataclass(frozen=True)
class Estimate:
    """A whole plan's lines and its peak memory in bytes."""

    lines: tuple[Line, ...]
    peak_bytes: int

    @property
    def seconds(self) -> float:
        """Time for what is not done yet."""
        return sum(line.seconds for line in self.lines)

    def amount(self, unit: str) -> int:
        """Work that is not done yet, in a unit."""
        return sum(line.amount for line in self.lines if line.stage.unit == unit and not line.done)


def estimate(prepared: Prepared) -> Estimate:
    """Count the work of every stage and turn it into time.

    The rate of a kind of stage is the median over finished stages of the same model in the store, where there are
    some; otherwise it follows from the arithmetic per unit and a short measurement of this machine's speed.
    """
    spec = prepared.context.spec
    tokenizer, skeleton = spec.model.tokenizer(), spec.model.skeleton()
    stages = all_stages(prepared.models)
    speed = _flops_per_second(spec.model.resolved_dtype())
    history: dict[str, float | None] = {}
    lines = []
    for stage in stages:
        amount = stage.amount(tokenizer)
        if stage.kind not in history:
            history[stage.kind] = measured_rate(stage)
        measured = history[stage.kind]
        rate = measured if measured is not None else _flops_per_unit(stage, skeleton, tokenizer) / speed
        done = stage.context.store.is_done(stage.key)
        lines.append(Line(stage, done, amount, 0.0 if done else rate * amount, measured is not None))
    return Estimate(tuple(lines), _peak_bytes(prepared, skeleton))


def measured_rate(stage: Stage) -> float | None:
    """Median seconds a unit over finished stages of this kind for the same model, or ``None``."""
    store, model = stage.context.store, stage.key.settings["model"]
    rates = [
        marker["seconds"] / marker["amount"]
        for marker in store.markers(stage.kind)
        if marker.get("amount") and marker["key"]["settings"].get("model") == model
    ]
    return median(rates) if rates else None


def _flops_per_unit(stage: Stage, skeleton: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> float:
    """Arithmetic of one unit: 2 operations a weight and token forward, 6 for training (4 for frozen weights)."""
    body = sum(p.numel() for p in decoder_layers(skeleton).parameters())
    head = sum(p.numel() for p in output_head(skeleton).parameters())
    if stage.unit == "training tokens":
        return 6.0 * body + 4.0 * head
    if stage.unit == "prompts":
        prompt_tokens = 40  # a question with its labels; only the last position needs the head
        return 2.0 * body * (prompt_tokens + stage.spec.ask.max_new_tokens) + 2.0 * head * stage.spec.ask.max_new_tokens
    if isinstance(stage, Choose) and stage.spec.forced_choice is not None:
        texts = [
            text
            for code in stage.passage_languages
            for text in candidates(stage.context.corpus, code, stage.spec.forced_choice).values()
        ]
        return 2.0 * (body + head) * fmean(map(len, tokenizer(texts)["input_ids"]))
    return 1e5  # a verdict is text work


def _flops_per_second(dtype: torch.dtype) -> float:
    """Sustained speed, from matrix products of a small model's shape. A third of it reaches the model's work."""
    device = default_device()
    left = torch.randn(512, 1024, device=device).to(dtype)
    right = torch.randn(1024, 4096, device=device).to(dtype)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        float((left @ right).sum())
        best = min(best, time.perf_counter() - started)
    return 2.0 * 512 * 1024 * 4096 / best / 3


def _peak_bytes(prepared: Prepared, skeleton: PreTrainedModel) -> int:
    """Weights, what learns with its gradient and optimiser state, a copy to restore from, and the running program."""
    spec = prepared.context.spec
    width = torch.finfo(spec.model.resolved_dtype()).bits // 8
    weights = sum(p.numel() for p in skeleton.parameters()) * width
    tunings = [spec.teach.tuning, *([spec.unlearn.tuning] if spec.unlearn else [])]
    learning = max(tuning.trainable_parameters(skeleton) for tuning in tunings)
    body = sum(p.numel() for p in decoder_layers(skeleton).parameters()) * width
    batch = max(spec.teach.schedule.batch_size, 2 * (spec.unlearn.schedule.batch_size if spec.unlearn else 0))
    config = skeleton.config.get_text_config()
    activations = batch * 256 * config.hidden_size * config.num_hidden_layers * 40 * width
    program = 900_000_000
    return int(weights + 20 * learning + body + activations + program)
