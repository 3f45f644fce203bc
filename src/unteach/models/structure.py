"""Parts of a model found by structure, never by its name: decoder layers, their linear maps, the output head."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from unteach.errors import UserError


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """The stack of decoder layers: the longest outermost list of modules that are all of one class.

    Raises:
        UserError: the model has no such list.
    """
    named = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) > 0 and len({type(child) for child in module}) == 1
    }
    # A list inside another (the experts of one layer) is not the stack, however long it is.
    lists = [m for name, m in named.items() if not any(name.startswith(f"{outer}.") for outer in named)]
    if not lists:
        raise UserError(f"no stack of decoder layers found in a model of class {type(model).__name__}")
    return max(lists, key=len)


def linear_modules(model: nn.Module) -> list[str]:
    """Full names of every linear map inside the decoder layers (attention and MLP), in module order.

    These are what LoRA adapts; the embedding and the output head are left out. GPT-2's Conv1D counts as linear.
    """
    inside = {id(module) for layer in decoder_layers(model) for module in layer.modules()}
    return [
        name
        for name, module in model.named_modules()
        if id(module) in inside and isinstance(module, nn.Linear | Conv1D)
    ]


def output_head(model: PreTrainedModel) -> nn.Module:
    """The map from hidden states to the vocabulary."""
    head: nn.Module | None = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if head is None:
        raise UserError(
            f"a model of class {type(model).__name__} has no output head; a causal language model is needed"
        )
    return head
