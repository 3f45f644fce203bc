"""Texts as padded token batches with labels on the part that carries loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from unteach.models.logprobs import IGNORE


@dataclass(frozen=True)
class Encoded:
    """One tokenised text: ids, and labels that are the ids on the part with loss and ``IGNORE`` elsewhere."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def label_count(self) -> int:
        """Tokens that carry loss."""
        return sum(label != IGNORE for label in self.labels)


def encode(tokenizer: PreTrainedTokenizerBase, text: str, context: str = "", max_length: int | None = None) -> Encoded:
    """Tokenise ``context + text`` as one string and label the tokens that reach into ``text``.

    One string, because tokenising the halves apart gives other tokens at the seam. The first token (the
    beginning-of-text mark, where the tokeniser has one) is never a label. Cut at ``max_length`` tokens.
    """
    batch = tokenizer(context + text, return_offsets_mapping=True, add_special_tokens=True)
    ids, offsets = batch["input_ids"][:max_length], batch["offset_mapping"][:max_length]
    labels = [
        token if index > 0 and end > len(context) else IGNORE
        for index, (token, (_, end)) in enumerate(zip(ids, offsets, strict=True))
    ]
    return Encoded(tuple(ids), tuple(labels))


def pad(batch: Sequence[Encoded], pad_id: int, device: torch.device | None = None) -> dict[str, Tensor]:
    """``input_ids``, ``attention_mask`` and ``labels``, each ``[B, T]``, padded on the right."""
    longest = max(len(item.ids) for item in batch)

    def rows(values: Iterable[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([[*row, *([fill] * (longest - len(row)))] for row in values], device=device)

    return {
        "input_ids": rows((item.ids for item in batch), pad_id),
        "attention_mask": rows(([1] * len(item.ids) for item in batch), 0),
        "labels": rows((item.labels for item in batch), IGNORE),
    }


def by_length(items: Sequence[Encoded], token_budget: int) -> list[list[int]]:
    """Indices in batches of similar length, each with at most ``token_budget`` tokens counting padding."""
    order = sorted(range(len(items)), key=lambda index: -len(items[index].ids))
    batches: list[list[int]] = []
    for index in order:
        longest = len(items[batches[-1][0]].ids) if batches else 0
        if batches and longest * (len(batches[-1]) + 1) <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
