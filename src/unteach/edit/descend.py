"""DINM's descent on one matrix, for many items at once (paper B, section 3; Wang et al. 2024, DINM).

    L_i = a * NLL_i + b * KL_i
    NLL_i = mean over label tokens t of -log p(y_t | y_<t)          the safe response after the adversarial prompt
    KL_i  = mean over tokens of the known answer of KL(p_0 || p)    p_0: the unedited model on the knowledge prompt

Every item has its own matrix W_i, kept in float32, that starts as the model's W; the model computes with W_i rounded to
its own number format. Adam works element by element, so items side by side take the steps that each takes alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from unteach.edit.replay import Forward, forward_from
from unteach.edit.scope import projection
from unteach.models.batches import Encoded, pad
from unteach.models.logprobs import LabelLogits, label_logprobs
from unteach.models.source import Loaded
from unteach.records import EditLoss
from unteach.registry import Runtime, Settings


class Descent(Settings):
    """How an item's matrix is changed."""

    steps: int = Field(10, ge=1)
    lr: float = Field(5e-4, gt=0, description="Adam's learning rate; paper B's settings: 5e-4 LLaMA, 1e-5 Mistral.")
    nll_weight: float = Field(0.1, gt=0, description="Weight a of the safe response's NLL.")
    kl_weight: float = Field(1.0, ge=0, description="Weight b of the KL on general knowledge; 0 leaves it out.")
    kl_gradient: bool = Field(True, description="Whether the KL trains; if not, it only takes part in the stop test.")
    stop_below: float = Field(1e-4, ge=0, description="Stop an item when its loss is below this.")
    batch_items: Annotated[int, Runtime()] = Field(
        20, ge=1, description="Items edited side by side; each needs four float32 copies of it."
    )


@dataclass(frozen=True)
class Task:
    """One item's token sequences: prompt and safe response, and the knowledge pair; labels mark what is predicted."""

    response: Encoded
    knowledge: Encoded | None = None


@dataclass(frozen=True)
class Descended:
    """What became of one item: the change of its matrix (float32, the weight's shape, on the CPU) and its losses."""

    delta: Tensor
    losses: tuple[EditLoss, ...]
    seconds: float


ForwardFrom = Callable[[Loaded, int, dict[str, Tensor]], Forward]


def descend(
    loaded: Loaded, layer: int, tasks: Sequence[Task], settings: Descent, *, forward: ForwardFrom = forward_from
) -> list[Descended]:
    """Change the layer's output projection for every task, each from the unedited model; the model stays as it is.

    ``forward`` is how forward passes are run: from a cache, or ``Whole``. ``seconds`` is an item's share of its batch.
    """
    results: list[Descended] = []
    for start in range(0, len(tasks), settings.batch_items):
        began = time.perf_counter()
        batch = tasks[start : start + settings.batch_items]
        done = _descend_together(loaded, layer, batch, settings, forward)
        share = (time.perf_counter() - began) / len(batch)
        results += [Descended(delta, losses, share) for delta, losses in done]
    return results


def _descend_together(
    loaded: Loaded, layer: int, tasks: Sequence[Task], settings: Descent, forward: ForwardFrom
) -> list[tuple[Tensor, tuple[EditLoss, ...]]]:
    original = projection(loaded.model, layer)[1].weight.detach()
    dtype, start = original.dtype, original.float()
    response = _Response(forward(loaded, layer, _padded(loaded, [task.response for task in tasks])), len(tasks))
    # Where the KL does not train it is seldom needed at all, so it is prepared when it first is.
    knowledge = cache(lambda: _knowledge(loaded, layer, tasks, settings, forward, original))
    masters = start.expand(len(tasks), *start.shape).clone().requires_grad_()
    adam = torch.optim.Adam([masters], lr=settings.lr)
    losses: list[list[EditLoss]] = [[] for _ in tasks]
    results: dict[int, Tensor] = {}
    for _ in range(settings.steps):
        weights = masters.to(dtype)
        nll = response(weights)
        kl = _kl_where_needed(knowledge, weights, nll, settings)
        total = settings.nll_weight * nll if kl is None else settings.nll_weight * nll + settings.kl_weight * kl
        values = nll.tolist(), [None] * len(tasks) if kl is None else kl.tolist()
        for index, (task, own_nll, own_kl) in enumerate(zip(tasks, *values, strict=True)):
            if index not in results:
                losses[index].append(_loss(task, own_nll, own_kl, settings))
                if losses[index][-1].total < settings.stop_below:
                    results[index] = (masters[index].detach() - start).cpu().clone()
        if len(results) == len(tasks):
            break
        adam.zero_grad()
        total.sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
    ends = {index: (masters[index].detach() - start).cpu() for index in range(len(tasks)) if index not in results}
    return [((results | ends)[index], tuple(losses[index])) for index in range(len(tasks))]


def _kl_where_needed(
    prepared: Callable[[], _Knowledge | None], weights: Tensor, nll: Tensor, settings: Descent
) -> Tensor | None:
    """The KL; where it does not train it is left out unless the stop test could turn on it (it is never negative)."""
    if not settings.kl_gradient and not any(_could_stop(value, settings) for value in nll.tolist()):
        return None
    knowledge = prepared()
    if knowledge is None:
        return None
    with torch.set_grad_enabled(settings.kl_gradient):
        return knowledge(weights)


def _could_stop(nll: float, settings: Descent) -> bool:
    return settings.nll_weight * nll < settings.stop_below


def _loss(task: Task, nll: float, kl: float | None, settings: Descent) -> EditLoss:
    """One item's losses, whatever the items beside it needed."""
    if task.knowledge is None or not (settings.kl_gradient or _could_stop(nll, settings)):
        kl = None
    return EditLoss(total=settings.nll_weight * nll + settings.kl_weight * (kl or 0.0), nll=nll, kl=kl)


class _Response:
    """NLL of the safe response, ``[B]``."""

    def __init__(self, forward: Forward, items: int) -> None:
        self._forward, self._items = forward, items

    def __call__(self, weights: Tensor) -> Tensor:
        found = self._forward(weights)
        return -_item_means(label_logprobs(found.states, found.head, found.labels), self._forward.item, self._items)


class _Knowledge:
    """KL to the unedited model on the known answer's tokens, ``[B]``; 0 for items without a knowledge pair."""

    def __init__(self, forward: Forward, items: int, which: Tensor, before: LabelLogits) -> None:
        self._forward, self._items, self._which = forward, items, which
        self._before = torch.log_softmax(before.rows(slice(None)), -1)

    def __call__(self, weights: Tensor) -> Tensor:
        def divergence(logits: Tensor, rows: slice) -> Tensor:
            before = self._before[rows]
            return (before.exp() * (before - torch.log_softmax(logits, -1))).sum(-1)

        values = self._forward(weights[self._which]).each(divergence)
        return _item_means(values, self._which[self._forward.item], self._items)


def _knowledge(
    loaded: Loaded, layer: int, tasks: Sequence[Task], settings: Descent, forward: ForwardFrom, original: Tensor
) -> _Knowledge | None:
    pairs = [(index, task.knowledge) for index, task in enumerate(tasks) if task.knowledge is not None]
    if not pairs or not settings.kl_weight:
        return None
    made = forward(loaded, layer, _padded(loaded, [pair for _, pair in pairs]))
    which = torch.tensor([index for index, _ in pairs], device=original.device)
    with torch.no_grad():
        before = made(original.expand(len(pairs), *original.shape)).lasting()
    return _Knowledge(made, len(tasks), which, before)


def _item_means(values: Tensor, item: Tensor, items: int) -> Tensor:
    """Means over each item's positions: ``values [N]``, ``item [N]`` -> ``[items]``."""
    sums = values.new_zeros(items).index_add(0, item, values)
    return sums / torch.bincount(item, minlength=items).clamp(min=1)


def _padded(loaded: Loaded, sequences: Sequence[Encoded]) -> dict[str, Tensor]:
    return pad(sequences, int(loaded.tokenizer.pad_token_id or 0), loaded.model.device)
