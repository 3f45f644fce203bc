"""What of a model is trained, and how the change is kept: one file per way in ``tunings/``.

A trained change is a *patch*: a folder with safetensors and nothing else, applied to the base model inside a scope
that restores the weights bit for bit.
"""

from __future__ import annotations

import contextlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from unteach.registry import Component, Registry

KIND_FILE = "patch.json"


class Tuning(Component):
    """Chooses which weights learn, and saves and applies what they learned."""

    @abstractmethod
    def attach(self, model: PreTrainedModel, seed: int) -> contextlib.AbstractContextManager[nn.Module]:
        """A scope in which the model can be trained; afterwards it is as it was, bit for bit."""

    @abstractmethod
    def save(self, trainable: nn.Module, folder: Path) -> None:
        """Write the change alone to ``folder`` (safetensors and ``patch.json``)."""

    @abstractmethod
    def merged(self, trainable: nn.Module) -> contextlib.AbstractContextManager[PreTrainedModel]:
        """A scope in which the model being trained runs exactly as its saved patch will when applied."""

    @abstractmethod
    def reference(self, trainable: nn.Module) -> contextlib.AbstractContextManager[nn.Module]:
        """A scope in which the model being trained is as it was when ``attach`` began."""

    @staticmethod
    @abstractmethod
    def apply(model: PreTrainedModel, folder: Path, undo: dict[str, Tensor]) -> None:
        """Put a saved change into the weights, first copying what it overwrites into ``undo``."""

    @abstractmethod
    def trainable_parameters(self, model: PreTrainedModel) -> int:
        """How many numbers learn (for estimates of memory)."""


TUNINGS: Registry[Tuning] = Registry("tuning", Tuning, "unteach.models.tunings")


def mark(folder: Path, tuning: Tuning) -> None:
    """Record how the patch in ``folder`` was made, so that it can be applied without its spec."""
    content = {"name": tuning.registered_name, **tuning.model_dump()}
    (folder / KIND_FILE).write_text(json.dumps(content), encoding="utf-8")


@contextlib.contextmanager
def patched(model: PreTrainedModel, folders: Sequence[Path]) -> Iterator[PreTrainedModel]:
    """The model with patches applied in order; afterwards its weights are as before, bit for bit, whatever happened."""
    undo: dict[str, Tensor] = {}
    try:
        for folder in folders:
            kind = json.loads((folder / KIND_FILE).read_text(encoding="utf-8"))
            TUNINGS.parse(kind).apply(model, folder, undo)
        yield model
    finally:
        restore(model, undo)


def remember(model: nn.Module, names: Iterable[str], undo: dict[str, Tensor]) -> None:
    """Copy parameters into ``undo`` unless an earlier patch already did."""
    parameters = dict(model.named_parameters())
    for name in names:
        if name not in undo:
            undo[name] = parameters[name].detach().clone()


def restore(model: nn.Module, undo: dict[str, Tensor]) -> None:
    """Write remembered values back."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in undo.items():
            parameters[name].copy_(value)
