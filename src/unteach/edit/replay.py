"""What follows an edited matrix, run again and again: as whole forward passes, or from a cache.

Everything below the edited matrix is frozen, and so is the matrix's own input. ``Cached`` keeps that input from one
forward pass and runs only the matrix, the rest of its layer, the layers above it and the output layer at label
positions. ``Whole`` runs the whole model each time; it serves models in which the cache does not reproduce the forward
pass, and as the baseline of the benchmark.

Shapes: B items, T tokens, F inner size, D hidden size, N label positions.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from unteach.edit.scope import check_rows, projection
from unteach.models.logprobs import IGNORE, LabelLogits, headless, label_logits, plain_head, token_positions
from unteach.models.source import Loaded
from unteach.models.structure import decoder_layers

_CLOSE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""How far, relative to the states' size, a replay may be from the forward pass it was taken from."""


def batched_projection(inputs: Tensor, weights: Tensor, module: nn.Linear | Conv1D) -> Tensor:
    """Each item through its own matrix: ``inputs [B, T, F]``, ``weights [B, *weight's shape]`` -> ``[B, T, D]``.

    Raises:
        UserError: the layer flattens items and positions, so that an item's rows cannot be told.
    """
    check_rows(inputs)
    matrices = weights if isinstance(module, Conv1D) else weights.transpose(1, 2)
    out = torch.bmm(inputs, matrices)
    return out if module.bias is None else out + module.bias


class Forward(ABC):
    """Label logits of one padded batch under given matrices at one layer."""

    item: Tensor
    """``[N]``: which item of the batch each label position belongs to."""

    @abstractmethod
    def __call__(self, weights: Tensor) -> LabelLogits:
        """Under ``weights [B, *weight's shape]``, in the model's number format."""


class Whole(Forward):
    """The whole model, with the edited matrix replaced item by item."""

    def __init__(self, loaded: Loaded, layer: int, batch: dict[str, Tensor]) -> None:
        self._loaded, self._batch = loaded, batch
        self._module = projection(loaded.model, layer)[1]
        self.item = _items(batch["labels"])

    def __call__(self, weights: Tensor) -> LabelLogits:
        with _forward_of(self._module, lambda inputs: batched_projection(inputs, weights, self._module)):
            return label_logits(self._loaded.model, **self._batch)


@dataclass
class _Call:
    """One module's call in the forward pass that is kept."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


class Cached(Forward):
    """Only what depends on the edited matrix."""

    def __init__(self, loaded: Loaded, layer: int, batch: dict[str, Tensor]) -> None:
        layers = list(decoder_layers(loaded.model))
        self._layer, self._above = layers[layer], layers[layer + 1 :]
        self._module = projection(loaded.model, layer)[1]
        self.item = _items(batch["labels"])
        self._counts = batch["labels"][:, 1:] != IGNORE
        self._labels = batch["labels"][:, 1:][self._counts]
        self._record(loaded, batch)

    def _record(self, loaded: Loaded, batch: dict[str, Tensor]) -> None:
        calls: list[tuple[nn.Module, _Call]] = []
        children = list(self._layer.children())
        watched = [*children, self._module, self._layer, *self._above, *_outside_layers(loaded)]

        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            calls.append((module, _Call(args, kwargs, output)))

        hooks = [m.register_forward_hook(keep, with_kwargs=True) for m in dict.fromkeys(watched)]
        try:
            with torch.no_grad(), headless(loaded.model) as head:
                mask = batch["attention_mask"]
                states = loaded.model(
                    input_ids=batch["input_ids"],
                    attention_mask=mask,
                    use_cache=False,
                    **token_positions(loaded.model, mask),
                ).logits
        finally:
            for hook in hooks:
                hook.remove()
        self._head = head
        self._expected = states[:, :-1][self._counts]
        by_module = dict(calls)
        order = [module for module, _ in calls]
        self._inputs: Tensor = by_module[self._module].args[0]
        self._container = next(c for c in children if any(m is self._module for m in c.modules()))
        before = order[: order.index(self._container)]
        # Modules of the layer that ran before the MLP, and only there, gave what they will always give.
        once = [c for c in children if c in before and order.count(c) == 1]
        self._frozen = {child: by_module[child].output for child in once}
        self._call = by_module[self._layer]
        self._calls_above = [by_module[module] for module in self._above]
        last = order.index([self._layer, *self._above][-1])
        self._tail = order[last + 1 :]
        if not self._above:
            self._keep_label_positions()

    def _keep_label_positions(self) -> None:
        """Nothing above mixes positions, so only those that predict a label are run."""
        where = nn.functional.pad(self._counts, (0, 1))

        def cut(value: Any) -> Any:
            if isinstance(value, Tensor) and value.dim() >= 2 and value.shape[:2] == where.shape:
                return value[where][None]
            return value

        # One long row of label positions; each keeps its own item's matrix.
        self._inputs = self._inputs[where]
        self._frozen = {
            child: tuple(map(cut, output)) if isinstance(output, tuple) else cut(output)
            for child, output in self._frozen.items()
        }
        self._call = _Call(
            tuple(map(cut, self._call.args)), {k: cut(v) for k, v in self._call.kwargs.items()}, self._call.output
        )

    def __call__(self, weights: Tensor) -> LabelLogits:
        return LabelLogits(self._states(weights), self._head, self._labels)

    def _states(self, weights: Tensor) -> Tensor:
        if self._above:
            projected = batched_projection(self._inputs, weights, self._module)
        else:
            projected = self._row_by_row(weights)[None]
        with contextlib.ExitStack() as scope:
            for child, output in self._frozen.items():
                scope.enter_context(_forward_of(child, lambda *_, output=output, **__: output))
            scope.enter_context(_forward_of(self._container, lambda *_, **__: projected))
            hidden = _first(self._layer(*self._call.args, **self._call.kwargs))
        for module, call in zip(self._above, self._calls_above, strict=True):
            named = {name: value for name, value in call.kwargs.items() if name != "hidden_states"}
            hidden = _first(module(hidden, *call.args[1:], **named))
        for module in self._tail:
            hidden = module(hidden)
        result: Tensor = hidden[:, :-1][self._counts] if self._above else hidden[0]
        return result

    def _row_by_row(self, weights: Tensor) -> Tensor:
        """``[N, D]``: every label position through its item's matrix."""
        counts = torch.bincount(self.item, minlength=len(weights)).tolist()
        matrices = weights if isinstance(self._module, Conv1D) else weights.transpose(1, 2)
        rows = torch.split(self._inputs, counts)
        out = torch.cat([inputs @ matrix for inputs, matrix in zip(rows, matrices, strict=True)])
        return out if self._module.bias is None else out + self._module.bias

    def reproduces(self, weight: Tensor) -> bool:
        """Whether, under the unedited matrix, the replay gives what the forward pass gave."""
        with torch.no_grad():
            mine = self._states(weight[None].expand(len(self._counts), *weight.shape))
        return _close(mine, self._expected, weight.dtype)


def forward_from(loaded: Loaded, layer: int, batch: dict[str, Tensor]) -> Forward:
    """The cached forward pass where the model allows it, else the whole one.

    A model whose layers do more than pass their output on, or that changes its logits after the head, gets the
    whole one.
    """
    if not plain_head(loaded.model):
        return Whole(loaded, layer, batch)
    try:
        cached = Cached(loaded, layer, batch)
        if _can_replay(loaded, layer, batch, cached):
            return cached
    except torch.OutOfMemoryError:
        raise
    except (LookupError, StopIteration, TypeError, RuntimeError, ValueError, AttributeError):
        pass  # a layer of another build than the replay knows
    return Whole(loaded, layer, batch)


def _can_replay(loaded: Loaded, layer: int, batch: dict[str, Tensor], cached: Cached) -> bool:
    """Whether the replay gives what the model gives, unedited and with a change; found out once a model and layer.

    The second fails where something above the layer gets more of it than its output.
    """
    known: dict[int, bool] = loaded.model.__dict__.setdefault("_unteach_replays", {})
    if layer not in known:
        weight = projection(loaded.model, layer)[1].weight.detach()
        known[layer] = cached.reproduces(weight) and _follows(loaded, layer, batch, cached, weight)
    return known[layer]


def _follows(loaded: Loaded, layer: int, batch: dict[str, Tensor], cached: Cached, weight: Tensor) -> bool:
    noise = torch.linspace(-1, 1, weight.numel(), device=weight.device).view_as(weight) * weight.float().std()
    changed = (weight.float() + noise).to(weight.dtype).expand(len(batch["labels"]), *weight.shape)
    with torch.no_grad():
        return _close(cached(changed).states, Whole(loaded, layer, batch)(changed).states, weight.dtype)


def _close(mine: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    scale = wanted.float().abs().max().clamp(min=1e-6)
    far = (mine.float() - wanted.float()).abs().max() / scale
    return mine.shape == wanted.shape and bool(far < _CLOSE.get(dtype, 1e-4))


def _items(labels: Tensor) -> Tensor:
    counts = labels[:, 1:] != IGNORE
    return counts.nonzero()[:, 0]


def _first(output: Any) -> Tensor:
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found


def _outside_layers(loaded: Loaded) -> Iterator[nn.Module]:
    """Leaf modules outside the decoder layers, such as the final norm. The head has been taken off."""
    inside = {id(m) for layer in decoder_layers(loaded.model) for m in layer.modules()}
    head = loaded.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    for module in loaded.model.modules():
        if id(module) not in inside and module is not head and not list(module.children()):
            yield module


@contextlib.contextmanager
def _forward_of(module: nn.Module, forward: Any) -> Iterator[None]:
    """A scope in which a module computes something else; a ``forward`` that others put on it comes back afterwards."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
