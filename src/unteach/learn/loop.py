"""The one training loop: transformers.Trainer with the loss handed in. Learning and unlearning both run through it."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from unteach.errors import UserError
from unteach.models.processes import from_first, processes, summed
from unteach.progress import NoProgress, Progress
from unteach.registry import Runtime, Settings


class Schedule(Settings):
    """How long and how fast to train. AdamW, linear decay after a linear warm-up.

    With several processes (``accelerate launch``) an optimiser step sees batch_size x accumulation x processes items;
    the losses are those of one process at the same product, but for an epoch's last batch where it is not full.
    """

    lr: float = Field(gt=0)
    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1, description="Optimiser steps; overrides epochs.")
    batch_size: int = Field(8, ge=1, description="Items a device and forward pass.")
    accumulation: int = Field(1, ge=1, description="Forward passes an optimiser step.")
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    decay: Literal["constant", "linear", "cosine"] = "linear"
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    gradient_checkpointing: Annotated[bool, Runtime()] = False

    def steps(self, items: int) -> int:
        """Optimiser steps for this many items over all processes."""
        if self.max_steps is not None:
            return self.max_steps
        batches = -(-items // (self.batch_size * processes()))
        return max(1, math.ceil(-(-batches // self.accumulation) * self.epochs))


@dataclass(frozen=True)
class StepLog:
    """What one logging step saw: the optimiser step, and the mean of every named loss term since the last."""

    step: int
    terms: Mapping[str, float]


Collate = Callable[[Sequence[Any]], dict[str, Any]]
Terms = Mapping[str, Tensor]
LossFunction = Callable[[nn.Module, dict[str, Any]], Terms]
"""From the model and one collated batch to named loss terms whose sum is minimised."""

Checkpoint = Callable[[nn.Module, int], bool]
"""Called with the model being trained after some steps; ``True`` ends the training."""


def train(
    model: nn.Module,
    items: Sequence[Any],
    collate: Collate,
    loss: LossFunction,
    schedule: Schedule,
    *,
    seed: int,
    lengths: Sequence[int] | None = None,
    checkpoint: Checkpoint | None = None,
    checkpoint_every: int = 0,
    progress: Progress | None = None,
    label: str = "training",
) -> list[StepLog]:
    """Train in place and give the losses by step.

    Args:
        lengths: token counts of the items; if given, batches hold items of similar length.
        checkpoint: called every ``checkpoint_every`` optimiser steps and after the last one.

    Raises:
        UserError: no trainable weight moved at the first step, or the loss is not a finite number.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("nothing to train: the tuning selects no weights of this model")
    checkpointing: dict[str, Any] = {}
    if schedule.gradient_checkpointing:
        checkpointing = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            learning_rate=schedule.lr,
            num_train_epochs=schedule.epochs,
            max_steps=schedule.max_steps or -1,
            per_device_train_batch_size=schedule.batch_size,
            gradient_accumulation_steps=schedule.accumulation,
            warmup_steps=schedule.warmup,
            lr_scheduler_type={"constant": "constant_with_warmup"}.get(schedule.decay, schedule.decay),
            weight_decay=schedule.weight_decay,
            max_grad_norm=schedule.max_grad_norm,
            seed=seed,
            data_seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            bf16=_mixed(model),
            use_cpu=next(model.parameters()).device.type == "cpu",
            ddp_find_unused_parameters=False if processes() > 1 else None,
            **checkpointing,
        )
        total = schedule.steps(len(items))
        with (progress or NoProgress()).task(label, total) as bar:
            watcher = _Watcher(bar.advance, checkpoint, checkpoint_every)
            trainer = _LossTrainer(
                loss,
                lengths,
                model=model,
                args=arguments,
                train_dataset=_Items(items),
                data_collator=collate,
                callbacks=[watcher],
            )
            trainer.remove_callback(PrinterCallback)
            try:
                trainer.train()
            finally:
                if schedule.gradient_checkpointing:
                    cast(Any, model).gradient_checkpointing_disable()
                    cast(Any, model).disable_input_require_grads()  # put in by the Trainer, and never taken out
        return trainer.log_of_terms


def _mixed(model: nn.Module) -> bool:
    """Whether to compute in bfloat16 while adapters are kept in float32: wherever the base is bfloat16 anyway.

    Without it a float32 adapter of rank 64 costs a CPU as much as the whole bfloat16 base.
    """
    dtypes = {p.dtype for p in model.parameters()}
    return torch.bfloat16 in dtypes and torch.float32 in dtypes


class _Items(Dataset[Any]):
    """Any sequence as a dataset."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class SimilarLengths(Sampler[int]):
    """Random order in which the items of a batch have similar lengths.

    Items are shuffled, cut into pools of a few batches, sorted by length within a pool, and the pool's batches are
    shuffled. (transformers' own sampler sorts pools of fifty batches and runs through them from long to short: a
    kind of text that is longer than the rest is then seen in a few bursts and forgotten in between.)
    """

    _POOL = 8

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Another order for every epoch; called by the Trainer."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed}/{self.epoch}")
        order = list(range(len(self.lengths)))
        rng.shuffle(order)
        pool = self.batch_size * self._POOL
        last: list[int] = []
        for start in range(0, len(order), pool):
            items = sorted(order[start : start + pool], key=lambda index: self.lengths[index])
            batches = [items[at : at + self.batch_size] for at in range(0, len(items), self.batch_size)]
            if len(batches[-1]) < self.batch_size:  # only the very last batch may be short
                last = batches.pop()
            rng.shuffle(batches)
            yield from (index for batch in batches for index in batch)
        yield from last


class _LossTrainer(Trainer):
    """The Trainer with our loss: named terms, each already a mean over what it is about."""

    def __init__(self, loss: LossFunction, lengths: Sequence[int] | None, **arguments: Any) -> None:
        self._lengths = lengths
        super().__init__(**arguments)
        self.model_accepts_loss_kwargs = True  # so that the Trainer counts the label tokens of a whole step
        self._loss = loss
        self._sums: dict[str, float] = {}
        self._weight = 0.0
        self.log_of_terms: list[StepLog] = []

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], *_: Any, num_items_in_batch: Any = None, **__: Any
    ) -> Tensor:
        """The batch's loss, weighted so that a step's loss is the mean over all its items.

        A loss that is a mean over label tokens (``labels`` in the batch) counts by its share of the step's tokens,
        over accumulated batches and processes; any other is a mean over items, and every batch counts the same.
        So neither accumulation nor the number of processes changes what is minimised.
        """
        terms = self._loss(model, inputs)
        weight = 1.0
        if "labels" in inputs and num_items_in_batch is not None:
            weight = float((inputs["labels"] != -100).sum())
            scale = weight * processes() / float(num_items_in_batch)
            self._add(terms, weight)
            return self._total(terms) * scale
        self._add(terms, weight)
        return self._total(terms)

    def _add(self, terms: Terms, weight: float) -> None:
        for name, term in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + weight * float(term.detach())
        self._weight += weight

    def _total(self, terms: Terms) -> Tensor:
        total = torch.stack([term.float() for term in terms.values()]).sum()
        if not torch.isfinite(total):
            raise UserError(
                f"the loss is {total.item()} at step {self.state.global_step + 1} "
                f"({', '.join(f'{name} {term.item():.3g}' for name, term in terms.items())}); lower the learning rate"
            )
        return total

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Items of similar length share a batch, if lengths are known: less padding to compute."""
        if self._lengths is None:
            return super()._get_train_sampler(train_dataset)
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps * processes()
        return SimilarLengths(self._lengths, size, self.args.data_seed or 0)

    def end_of_step(self, step: int) -> None:
        """Close one optimiser step's means, over all processes."""
        *sums, weight = summed([*self._sums.values(), self._weight], self.args.device)
        means = {name: value / (weight or 1.0) for name, value in zip(self._sums, sums, strict=True)}
        self.log_of_terms.append(StepLog(step, means))
        self._sums, self._weight = {}, 0.0

    def train(self, *arguments: Any, **options: Any) -> Any:
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, _Watcher):
                callback.trainer = self
        return super().train(*arguments, **options)


class _Watcher(TrainerCallback):
    """Moves the bar, checks that weights moved, and calls the checkpoint."""

    def __init__(self, advance: Callable[[float], None], checkpoint: Checkpoint | None, every: int) -> None:
        self.advance = advance
        self.checkpoint = checkpoint
        self.every = every
        self.trainer: _LossTrainer | None = None
        self._before: dict[str, Tensor] | None = None

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.global_step == 0 and self._before is None:
            named = kwargs["model"].named_parameters()
            self._before = {name: p.detach().clone() for name, p in named if p.requires_grad}

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        assert self.trainer is not None
        self.trainer.end_of_step(state.global_step)
        self.advance(1)
        first_real_step = 2 if args.warmup_steps else 1  # a warm-up begins at rate zero
        if self._before is not None and state.global_step >= min(first_real_step, state.max_steps):
            check_weights_moved(self._before, kwargs["model"])
            self._before = None
        due = self.every > 0 and state.global_step % self.every == 0
        if self.checkpoint and (due or state.global_step == state.max_steps):
            stop = self.checkpoint(kwargs["model"], state.global_step)
            control.should_training_stop |= from_first(stop)


def check_weights_moved(before: Mapping[str, Tensor], model: nn.Module) -> None:
    """Refuse to go on if the first optimiser step changed no trainable weight.

    LoRA's first factors stand still at the first step, since the second ones start at zero; so it is enough, and
    necessary, that something moved.

    Raises:
        UserError: nothing is trainable, or nothing moved.
    """
    if not before:
        raise UserError("nothing to train: the tuning selects no weights of this model")
    after = dict(model.named_parameters())
    if not any(not torch.equal(value, after[name].detach()) for name, value in before.items()):
        raise UserError(
            f"none of {len(before)} trainable weights changed at the first step, so training would do nothing. "
            "With a model in bfloat16 and full-rank training the learning rate may be too small to register; with "
            "gradient checkpointing no gradient may reach the adapters."
        )
