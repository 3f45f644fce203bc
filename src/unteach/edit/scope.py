"""Scopes in which edits are on: in the weights, for one edit; row by row of a batch, for many."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from unteach.edit.contract import Edit
from unteach.errors import UserError
from unteach.models.structure import decoder_layers, output_projection
from unteach.models.tuning import remember, restore


def projection(model: PreTrainedModel, layer: int) -> tuple[str, nn.Linear | Conv1D]:
    """The full name and the module of one layer's edited matrix."""
    layers = decoder_layers(model)
    name, module = output_projection(layers[layer], model.config.get_text_config().hidden_size)
    prefix = next(n for n, m in model.named_modules() if m is layers[layer])
    return f"{prefix}.{name}", module


def edited_weight(weight: Tensor, delta: Tensor) -> Tensor:
    """The edited weight in the weight's own number format: the sum is taken in float32 and rounded once."""
    return (weight.detach().float() + delta.to(weight.device)).to(weight.dtype)


@contextlib.contextmanager
def applied(model: PreTrainedModel, edits: Sequence[Edit]) -> Iterator[PreTrainedModel]:
    """The model with edits in its weights, changes of one weight added up; afterwards it is as before, bit for bit.

    Raises:
        UserError: an edit is of a weight that this model lacks or that has another shape.
    """
    undo: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    parameters = dict(model.named_parameters())
    for edit in edits:
        if edit.delta is not None:
            name = _fitting(edit, parameters)
            sums[name] = sums[name] + edit.delta if name in sums else edit.delta
    try:
        for name, delta in sums.items():
            remember(model, [name], undo)
            with torch.no_grad():
                parameters[name].copy_(edited_weight(parameters[name], delta))
        yield model
    finally:
        restore(model, undo)


def _fitting(edit: Edit, parameters: dict[str, nn.Parameter]) -> str:
    name = str(edit.record.weight)
    assert edit.delta is not None
    if name not in parameters:
        raise UserError(f"the edit of item {edit.record.item!r} changes {name!r}, which this model does not have")
    if parameters[name].shape != edit.delta.shape:
        raise UserError(
            f"the edit of item {edit.record.item!r} changes {name!r} of shape {tuple(edit.delta.shape)}; in this model "
            f"it has shape {tuple(parameters[name].shape)}: it was made for another model"
        )
    return name


class RowEdits:
    """Many edits of one model, for batches in which every sequence has its own.

    A row's edited matrix is the very one that ``applied`` would put into the weights, so that a row's answer is that of
    the model edited alone. Memory: one matrix an edit, in the model's number format.
    """

    def __init__(self, model: PreTrainedModel, edits: Sequence[Edit]) -> None:
        self._modules: dict[str, nn.Linear | Conv1D] = {}
        self._places: list[str | None] = []
        self._weights: list[Tensor | None] = []
        parameters = dict(model.named_parameters())
        for edit in edits:
            if edit.delta is None or edit.record.layer is None:
                self._places.append(None)
                self._weights.append(None)
                continue
            _fitting(edit, parameters)
            place, module = projection(model, edit.record.layer)
            self._modules[place] = module
            self._places.append(place)
            self._weights.append(edited_weight(module.weight, edit.delta))

    @contextlib.contextmanager
    def rows(self, edits: Sequence[int]) -> Iterator[None]:
        """A scope for one batch: row r of the batch runs under edit ``edits[r]``."""
        groups: dict[str, dict[int, list[int]]] = {}
        for row, edit in enumerate(edits):
            place = self._places[edit]
            if place is not None:
                groups.setdefault(place, {}).setdefault(edit, []).append(row)
        hooks = [
            self._modules[place].register_forward_hook(self._replace(members)) for place, members in groups.items()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _replace(self, members: dict[int, list[int]]) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            assert isinstance(module, nn.Linear | Conv1D)
            check_rows(inputs[0])
            made = output.clone()
            for edit, rows in members.items():
                weight = self._weights[edit]
                assert weight is not None
                made[rows] = project(inputs[0][rows], weight, module)
            return made

        return hook


def check_rows(inputs: Tensor) -> None:
    """Refuse layers in which a row of the batch cannot be told from its positions.

    Raises:
        UserError: the projection gets ``[rows x positions, F]``.
    """
    if inputs.dim() != 3:
        raise UserError(
            "this model's layers flatten rows and positions before the MLP (as OPT's do), so that many edits cannot be "
            "told apart in one batch; editing needs a model whose MLP gets [rows, positions, size]"
        )


def project(inputs: Tensor, weight: Tensor, module: nn.Linear | Conv1D) -> Tensor:
    """The linear map with another weight: ``inputs [..., F]`` -> ``[..., D]``."""
    matrix = weight.T if isinstance(module, Conv1D) else weight
    return nn.functional.linear(inputs, matrix, module.bias)
