"""Locating the layer to edit: where the unsafe and the safe response differ most (DINM; paper B, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unteach.models.batches import by_length, encode, pad
from unteach.models.logprobs import headless
from unteach.models.source import Loaded
from unteach.models.structure import decoder_layers

_TOKENS = 2048
"""Tokens of one batch's longer responses; the shorter ones come on top."""


def distances(
    loaded: Loaded, pairs: Sequence[tuple[str, str]], *, count_padding: bool, final_norm: bool
) -> list[tuple[float, ...]]:
    """For every pair of an unsafe and a safe response, the distance of their hidden states after each layer.

    d_l = || H_l(unsafe) - H_l(safe) ||_2 over the positions that both responses have, H_l ``[L, D]`` in float32.

    Args:
        pairs: responses without a prompt.
        count_padding: the shorter one's padding counts as well, up to the longer one's length (as in the public code).
        final_norm: the last layer's states are taken after the final norm (as in the public code).
    """
    texts = [encode(loaded.tokenizer, text, "", loaded.context_length) for pair in pairs for text in pair]
    lengths = [max(len(texts[i].ids), len(texts[i + 1].ids)) for i in range(0, len(texts), 2)]
    found: dict[int, tuple[float, ...]] = {}
    order = by_length(
        [max(texts[2 * i], texts[2 * i + 1], key=lambda t: len(t.ids)) for i in range(len(pairs))], _TOKENS
    )
    for batch in order:
        padded = pad([texts[2 * i + side] for i in batch for side in (0, 1)], int(loaded.tokenizer.pad_token_id or 0))
        states = _states(loaded, padded["input_ids"], padded["attention_mask"], final_norm)
        both = padded["attention_mask"].view(len(batch), 2, -1).prod(1)
        for row, index in enumerate(batch):
            counted = slice(0, lengths[index]) if count_padding else slice(0, int(both[row].sum()))
            found[index] = tuple(
                float((layer[2 * row, counted].float() - layer[2 * row + 1, counted].float()).norm())
                for layer in states
            )
    return [found[index] for index in range(len(pairs))]


def largest(values: Sequence[float]) -> int:
    """The layer with the largest distance; the first of equals."""
    return max(range(len(values)), key=lambda layer: values[layer])


def _states(loaded: Loaded, input_ids: Tensor, mask: Tensor, final_norm: bool) -> list[Tensor]:
    """Hidden states ``[B, T, D]`` after every decoder layer.

    Positions are counted over the whole row, as the public code leaves them: padding is on the right, so only its own
    states depend on that.
    """
    states: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        states.append(output if isinstance(output, Tensor) else output[0])

    layers = decoder_layers(loaded.model)
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    device = loaded.model.device
    try:
        with torch.no_grad(), headless(loaded.model):
            output = loaded.model(
                input_ids=input_ids.to(device),
                attention_mask=mask.to(device),
                use_cache=False,
                output_hidden_states=final_norm,
            )
    finally:
        for hook in hooks:
            hook.remove()
    return [*states[:-1], output.hidden_states[-1]] if final_norm else states
