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


def output_projection(layer: nn.Module, hidden: int) -> tuple[str, nn.Linear | Conv1D]:
    """The MLP's output projection of one decoder layer of a model of this hidden size, and its name inside the layer.

    Found by shape: in the layer's last part that has matrices, the one map back to the hidden size whose neighbour
    maps up from it (``up_proj``/``down_proj``, ``c_fc``/``c_proj``, ``fc1``/``fc2`` ...).

    Raises:
        UserError: there is not exactly one, as in mixtures of experts.
    """
    parts = [(n, part) for n, part in layer.named_children() if any(p.dim() > 1 for p in part.parameters())]
    last = parts[-1][1] if parts else layer
    inside = layer if isinstance(last, nn.Linear | Conv1D) else last
    linear = {n: m for n, m in layer.named_modules() if isinstance(m, nn.Linear | Conv1D)}
    own = {n: m for n, m in linear.items() if any(m is other for other in inside.modules())}
    if inside is layer:
        own = {n: m for n, m in own.items() if "." not in n}
    found = []
    for name, module in own.items():
        parent = name.rpartition(".")[0]
        inner, outer = map_shape(module)
        others = [map_shape(m) for n, m in own.items() if n.rpartition(".")[0] == parent and m is not module]
        if outer == hidden != inner and any(other in ((hidden, inner), (hidden, 2 * inner)) for other in others):
            found.append((name, module))
    if len(found) != 1:
        raise UserError(
            f"a layer of class {type(layer).__name__} has {len(found) or 'no'} matrices that could be its MLP's output "
            "projection; editing needs a model with exactly one a layer (Llama, Mistral, Gemma, Qwen, GPT-2 and the "
            "like, no mixture of experts)"
        )
    return found[0]


def map_shape(module: nn.Linear | Conv1D) -> tuple[int, int]:
    """Input and output size of a linear map; Conv1D (GPT-2) keeps its matrix the other way round."""
    first, second = module.weight.shape
    return (int(first), int(second)) if isinstance(module, Conv1D) else (int(second), int(first))


def output_head(model: PreTrainedModel) -> nn.Module:
    """The map from hidden states to the vocabulary."""
    head: nn.Module | None = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if head is None:
        raise UserError(
            f"a model of class {type(model).__name__} has no output head; a causal language model is needed"
        )
    return head
