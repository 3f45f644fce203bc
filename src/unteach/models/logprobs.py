"""Token log-probabilities at label positions only.

The output layer over a large vocabulary (262k words in Gemma) costs more than the rest of a small model. So the
model runs without its head, and the head is applied to the hidden states that predict a label, in blocks small
enough for the cache:

    logp_i = h_i . w_{y_i} - log sum_v exp(h_i . w_v)
    d logp_i / d h_i = w_{y_i} - sum_v softmax(h_i W^T)_v w_v

Shapes: B sequences, T tokens, D hidden size, V vocabulary, N label positions.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from unteach.models.structure import output_head

IGNORE = -100
"""Label of positions that carry no loss."""

_POSITIONS = 512
_BLOCK = {"cpu": 2**24, "cuda": 2**26}
"""Numbers in one block of full logits, by kind of device."""


def token_logprobs(model: nn.Module, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
    """Log-probability of every label, 0 where there is none.

    Args:
        model: a causal language model, possibly wrapped (peft, data parallel).
        input_ids: ``[B, T]``.
        attention_mask: ``[B, T]``, 1 for tokens, 0 for padding on either side.
        labels: ``[B, T]``, the token itself where it counts, ``IGNORE`` elsewhere. Position 0 never counts.

    Returns:
        ``[B, T]`` float32, in nats; entry t belongs to token t (predicted from position t - 1).
    """
    found = label_logits(model, input_ids, attention_mask, labels)
    values = label_logprobs(found.states, found.head, found.labels)
    out = values.new_zeros(labels.shape)
    out[:, 1:][labels[:, 1:] != IGNORE] = values
    return out


@dataclass(frozen=True)
class LabelLogits:
    """Logits at label positions, kept as hidden states from which they are made where they are used, block by block.

    ``states`` is ``[N, D]``, or the logits ``[N, V]`` themselves where ``head`` is ``None``; ``labels`` is ``[N]``.
    """

    states: Tensor
    head: nn.Module | None
    labels: Tensor

    def rows(self, rows: slice) -> Tensor:
        """The logits of some positions, ``[n, V]`` float32."""
        return _logits(self.states[rows], self.head)

    def lasting(self) -> LabelLogits:
        """The same without gradient, whatever becomes of the weights: a head that learns is applied now."""
        if _learns(self.head):
            return replace(self, states=self.rows(slice(None)).detach(), head=None)
        return replace(self, states=self.states.detach())

    def each(self, value: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """A value of every position from its logits, ``[N]``, with one block of logits in memory at a time.

        Args:
            value: from logits ``[n, V]`` and their positions among the N to ``[n]``; no row may depend on another.
        """

        def part(states: Tensor, rows: slice) -> Tensor:
            return value(_logits(states, self.head), rows)

        vocabulary = self.states.shape[-1] if self.head is None else len(_weight(self.head))
        size = max(1, _BLOCK.get(self.states.device.type, 2**24) // vocabulary)
        blocks = [slice(start, start + size) for start in range(0, len(self.states), size)]
        if not blocks:
            return self.states.new_zeros(0, dtype=torch.float32)
        if _learns(self.head):
            return torch.cat([checkpoint(part, self.states[rows], rows, use_reentrant=False) for rows in blocks])
        result: Tensor = _ByBlock.apply(self.states, part, blocks)  # type: ignore[no-untyped-call]
        return result


def label_logits(model: nn.Module, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> LabelLogits:
    """What the model predicts at the N positions with a label, sequence by sequence. Arguments: `token_logprobs`."""
    counts = labels[:, 1:] != IGNORE
    # The call goes through the outermost wrapper, whose hooks (gradient synchronisation, sharding) must run.
    with headless_if_plain(unwrapped(model)) as head:
        states = model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            use_cache=False,
            **token_positions(model, attention_mask),
        ).logits
    return LabelLogits(states[:, :-1][counts], head, labels[:, 1:][counts])


def _logits(states: Tensor, head: nn.Module | None) -> Tensor:
    logits: Tensor = states if head is None else head(states.to(_weight(head).dtype))
    return logits.float()


def _weight(head: nn.Module) -> Tensor:
    assert isinstance(head.weight, Tensor)
    return head.weight


def _learns(head: nn.Module | None) -> bool:
    return head is not None and any(parameter.requires_grad for parameter in head.parameters())


class _ByBlock(torch.autograd.Function):
    """Values of rows, block by block, with each row's gradient taken in the same pass, so no block is made twice."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, part: Callable[[Tensor, slice], Tensor], blocks: list[slice]) -> Tensor:
        """``states [N, D]`` -> ``[N]`` float32."""
        values: list[Tensor] = []
        directions: list[Tensor] = []
        for rows in blocks:
            block = states[rows].detach().requires_grad_(ctx.needs_input_grad[0])
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                value = part(block, rows)
            if ctx.needs_input_grad[0]:
                directions += torch.autograd.grad(value, block, torch.ones_like(value))
            values.append(value.detach())
        if directions:
            ctx.save_for_backward(torch.cat(directions))
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Chain rule, as no row depends on another."""
        (direction,) = ctx.saved_tensors
        return (grad[:, None] * direction).to(direction.dtype), None, None


def label_logprobs(states: Tensor, head: nn.Module | None, labels: Tensor) -> Tensor:
    """Log-probability of ``labels [N]`` from hidden states ``[N, D]`` and a head, or from logits ``[N, V]``."""
    if head is None:
        return torch.log_softmax(states.float(), -1).gather(-1, labels[:, None])[:, 0]
    if head.weight.requires_grad or getattr(head, "bias", None) is not None:
        return _checkpointed(states, head, labels)
    result: Tensor = _LabelLogProbs.apply(states, head.weight, labels)  # type: ignore[no-untyped-call]
    return result


class _LabelLogProbs(torch.autograd.Function):
    """``logp`` of labels under a frozen head, with the gradient direction computed in the same pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        """``hidden [N, D]``, ``weight [V, D]``, ``labels [N]`` -> ``[N]`` float32."""
        needs_grad = ctx.needs_input_grad[0]
        values, directions = [], []
        for start in range(0, len(hidden), _POSITIONS):
            rows = slice(start, start + _POSITIONS)
            value, direction = _block(hidden[rows].to(weight.dtype), weight, labels[rows], needs_grad)
            values.append(value)
            directions.append(direction)
        if needs_grad:
            ctx.save_for_backward(torch.cat(directions) if directions else hidden.new_zeros(hidden.shape))
            ctx.dtype = hidden.dtype
        return torch.cat(values) if values else hidden.new_zeros(0, dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Chain rule: the stored direction times the incoming gradient of each log-probability."""
        (direction,) = ctx.saved_tensors
        return (grad[:, None] * direction).to(ctx.dtype), None, None


def _block(hidden: Tensor, weight: Tensor, labels: Tensor, needs_grad: bool) -> tuple[Tensor, Tensor]:
    """Running log-sum-exp (and expected head row, if needed) over blocks of the vocabulary."""
    columns = 4096 if hidden.device.type == "cpu" else 65536
    top = hidden.new_full((len(hidden),), -torch.inf, dtype=torch.float32)
    total = torch.zeros_like(top)
    expected = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device) if needs_grad else top
    for start in range(0, len(weight), columns):
        block = weight[start : start + columns]
        logits = (hidden @ block.T).float()
        new_top = torch.maximum(top, logits.amax(-1))
        scale = (top - new_top).exp()
        mass = (logits - new_top[:, None]).exp_()
        total = total * scale + mass.sum(-1)
        if needs_grad:
            expected.mul_(scale[:, None]).add_((mass.to(block.dtype) @ block).float())
        top = new_top
    chosen = weight[labels]
    # The label's logit in the head's own precision, so that it is the same number as in the sum.
    label_logit = torch.bmm(hidden[:, None], chosen[:, :, None])[:, 0, 0].float()
    logp = label_logit - top - total.log()
    return logp, (chosen.float() - expected / total[:, None]) if needs_grad else top


def _checkpointed(hidden: Tensor, head: nn.Module, labels: Tensor) -> Tensor:
    """The same by autograd, recomputing logits in the backward pass: for heads that are trained or have a bias."""

    def part(rows: Tensor, wanted: Tensor) -> Tensor:
        return -nn.functional.cross_entropy(head(rows).float(), wanted, reduction="none")

    pieces = [
        checkpoint(part, hidden[start : start + _POSITIONS], labels[start : start + _POSITIONS], use_reentrant=False)
        for start in range(0, len(hidden), _POSITIONS)
    ]
    return torch.cat(pieces) if pieces else hidden.new_zeros(0, dtype=torch.float32)


def token_positions(model: nn.Module, attention_mask: Tensor) -> dict[str, Tensor]:
    """Positions that count tokens only, so that padding on the left shifts nothing in models with learned positions."""
    if "position_ids" not in inspect.signature(unwrapped(model).forward).parameters:
        return {}
    return {"position_ids": (attention_mask.cumsum(-1) - 1).clamp(min=0)}


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside wrappers (data parallel, peft)."""
    inner: Any = model
    while hasattr(inner, "module"):
        inner = inner.module
    if hasattr(inner, "get_base_model"):
        inner = inner.get_base_model()
    assert isinstance(inner, PreTrainedModel)
    return inner


class _NoHead(nn.Module):
    """Stands in for the head for one call and hands the hidden states through."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden


@contextlib.contextmanager
def headless(model: PreTrainedModel) -> Iterator[nn.Module]:
    """A scope in which the model's "logits" are its last hidden states; gives the head that was taken off."""
    head = output_head(model)
    model.set_output_embeddings(_NoHead())  # type: ignore[no-untyped-call]
    try:
        yield head
    finally:
        model.set_output_embeddings(head)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def headless_if_plain(model: PreTrainedModel) -> Iterator[nn.Module | None]:
    """A headless scope giving the head, or, if the model changes its logits after the head, the model as it is."""
    if plain_head(model):
        with headless(model) as head:
            yield head
    else:
        yield None


def plain_head(model: PreTrainedModel) -> bool:
    """Whether the model's logits are exactly its head's output: no soft-capping, scaling or other step after it.

    Found out once a model by comparing the two on a few tokens.
    """
    known: bool | None = getattr(model, "_unteach_plain_head", None)
    if known is None:
        ids = torch.arange(2, 8, device=model.device)[None] % model.config.get_text_config().vocab_size
        was_training = model.training
        model.train(False)  # dropout would make the two differ
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits
            with headless(model) as head:
                hidden = model(input_ids=ids, use_cache=False).logits
            mine = head(hidden)
        model.train(was_training)
        known = mine.shape == logits.shape and torch.equal(mine.float(), logits.float())
        model._unteach_plain_head = known  # type: ignore[assignment]
    return known
