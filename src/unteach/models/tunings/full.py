"""Full-rank training of the decoder layers; embeddings and output head stay frozen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from unteach.models.structure import decoder_layers
from unteach.models.tuning import TUNINGS, Tuning, mark, remember, restore


@TUNINGS.register("full")
class Full(Tuning):
    """Every weight of the decoder layers learns, in the model's own number format.

    The patch holds the new values of those weights: for a large model prefer ``lora``.
    """

    source = "plain fine-tuning"

    # What each model being trained started from; it has to be held anyway, to restore it in the end.
    _start: ClassVar[WeakKeyDictionary[nn.Module, dict[str, Tensor]]] = WeakKeyDictionary()

    def _names(self, model: nn.Module) -> list[str]:
        inside = {id(p) for p in decoder_layers(model).parameters()}
        return [name for name, p in model.named_parameters() if id(p) in inside]

    @contextlib.contextmanager
    def attach(self, model: PreTrainedModel, seed: int) -> Iterator[nn.Module]:
        names = self._names(model)
        undo: dict[str, Tensor] = {}
        remember(model, names, undo)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in undo)
        self._start[model] = undo
        try:
            yield model
        finally:
            self._start.pop(model, None)
            model.requires_grad_(False)
            model.train(False)
            restore(model, undo)

    def save(self, trainable: nn.Module, folder: Path) -> None:
        state = {name: p.detach().contiguous() for name, p in trainable.named_parameters() if p.requires_grad}
        save_file(state, folder / "weights.safetensors")
        mark(folder, self)

    @contextlib.contextmanager
    def merged(self, trainable: nn.Module) -> Iterator[PreTrainedModel]:
        assert isinstance(trainable, PreTrainedModel)
        was_training = trainable.training
        trainable.train(False)
        try:
            yield trainable
        finally:
            trainable.train(was_training)

    @contextlib.contextmanager
    def reference(self, trainable: nn.Module) -> Iterator[nn.Module]:
        was_training, now = (
            trainable.training,
            {n: p.detach().clone() for n, p in trainable.named_parameters() if p.requires_grad},
        )
        trainable.train(False)
        restore(trainable, self._start[trainable])
        try:
            yield trainable
        finally:
            restore(trainable, now)
            trainable.train(was_training)

    @staticmethod
    def apply(model: PreTrainedModel, folder: Path, undo: dict[str, Tensor]) -> None:
        state = load_file(folder / "weights.safetensors")
        remember(model, state, undo)
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in state.items():
                parameters[name].copy_(value)

    def trainable_parameters(self, model: PreTrainedModel) -> int:
        sizes = dict(model.named_parameters())
        return sum(sizes[name].numel() for name in self._names(model))
