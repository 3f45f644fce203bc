"""Model sources: where a causal language model comes from. One file per source in ``sources/``."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from unteach.models.hardware import DTypeName, default_device, dtype_name, resolve_dtype
from unteach.models.structure import output_head
from unteach.registry import Component, Registry


@dataclass(frozen=True)
class Loaded:
    """A model ready to use: weights on the device in evaluation mode, nothing trainable, and its tokeniser."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def context_length(self) -> int:
        """How many tokens fit into the model at once."""
        config = self.model.config.get_text_config()
        return int(getattr(config, "max_position_embeddings", 0) or 2048)


class ModelSource(Component):
    """Where a model comes from. Its key has the weights' fingerprint and the number format, not the path."""

    dtype: DTypeName = "auto"

    @abstractmethod
    def fingerprint(self) -> str:
        """A name for exactly these weights. Also finds out, before anything slow, whether they can be loaded."""

    @abstractmethod
    def load(self) -> Loaded:
        """Load weights and tokeniser onto this machine's device.

        Raises:
            UserError: something needed is not there or not allowed; the message says what to do.
        """

    @abstractmethod
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokeniser alone, for counting."""

    @abstractmethod
    def skeleton(self) -> PreTrainedModel:
        """The model's shape without weights (on the meta device), for estimates."""

    def for_planning(self) -> ModelSource:
        """What to plan with: itself, or a stand-in that cannot be loaded where the weights are not at hand."""
        return self

    def notes(self) -> list[str]:
        """What a plan made with it should say about it."""
        return []

    def resolved_dtype(self) -> torch.dtype:
        """The number format on this machine."""
        return resolve_dtype(self.dtype, default_device())

    def identity(self) -> dict[str, Any]:
        return {"weights": self.fingerprint(), "dtype": dtype_name(self.resolved_dtype())}


MODELS: Registry[ModelSource] = Registry("model", ModelSource, "unteach.models.sources")


def ready(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Loaded:
    """Put a freshly loaded model in the state every stage expects."""
    model.requires_grad_(False)
    model.train(False)
    model.to(default_device())  # type: ignore[arg-type]
    # A generation step hands the head a slice; on a CPU a linear map over a non-contiguous [B, 1, D] copies the whole
    # weight B times (ten seconds a batch for a 262k vocabulary).
    output_head(model).register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # padding is always masked, so any token will do
    return Loaded(model, tokenizer)


def skeleton_of(config: Any, **options: Any) -> PreTrainedModel:
    """A model of this configuration on the meta device: shapes, no memory."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, **options)  # type: ignore[no-untyped-call]
    return model
