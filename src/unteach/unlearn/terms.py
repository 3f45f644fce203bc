"""What several objectives are made of: a look at the start model, likelihoods of sequences, and the retain term.

Shapes: B sequences, T tokens, N label positions of all B sequences, V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from unteach.models.logprobs import IGNORE, LabelLogits, label_logits, token_logprobs
from unteach.unlearn.contracts import Batch, Objective, Reference, sequence_nll

Tokens = Literal["sum", "mean"]
"""How a sequence's log-probability takes its tokens together: nats a sequence, or nats a token."""


@contextlib.contextmanager
def look_back(reference: Reference) -> Iterator[nn.Module]:
    """The model as it was before unlearning, without gradient. Leave it before the trained model runs."""
    try:
        with torch.no_grad(), reference() as start:
            yield start
    finally:
        # Mixed precision remembers casts of weights; those made here are of the start's weights, without gradient.
        torch.clear_autocast_cache()


def sequence_logprobs(model: nn.Module, batch: Batch, tokens: Tokens) -> Tensor:
    """Log-probability of each sequence's labels, ``[B]``, summed or averaged over them."""
    if tokens == "mean":
        return -sequence_nll(model, batch)
    return token_logprobs(model, batch["input_ids"], batch["attention_mask"], batch["labels"]).sum(-1)


def logits_of(model: nn.Module, batch: Batch) -> LabelLogits:
    """The model's logits at the batch's labels."""
    return label_logits(model, batch["input_ids"], batch["attention_mask"], batch["labels"])


def sequence_means(values: Tensor, labels: Tensor) -> Tensor:
    """Mean over each sequence's labels of values at label positions: ``[N]`` and ``[B, T]`` to ``[B]``.

    A sequence without labels counts 0, as in ``sequence_nll``.
    """
    counts = labels[:, 1:] != IGNORE
    spread = values.new_zeros(counts.shape)
    spread[counts] = values
    return spread.sum(-1) / counts.sum(-1).clamp(min=1)


def divergences(now: LabelLogits, start: LabelLogits) -> Tensor:
    """KL(start || now) over the whole vocabulary at every label position, ``[N]``, in nats."""

    def kl(logits: Tensor, rows: slice) -> Tensor:
        wanted = torch.log_softmax(start.rows(rows), -1)
        return (wanted.exp() * (wanted - torch.log_softmax(logits, -1))).sum(-1)

    return now.each(kl)


class Retaining(Objective):
    """An objective with a term that holds on to the retain samples.

    ``nll``: E_R[l], the mean negative log-likelihood of a sample. ``kl``: E_R of KL(start || model) over the whole
    vocabulary, averaged over a sample's labels; it is 0 at the start. Both in nats a token. With weight 0 there is no
    such term and nothing is computed for it.
    """

    retain: Literal["nll", "kl"] = Field("nll", description="Hold on to the texts, or to the start's predictions.")
    retain_weight: float = Field(1.0, ge=0)

    @property
    def compares_retain(self) -> bool:
        """Whether the retain term needs the start model."""
        return self.retain == "kl" and self.retain_weight > 0

    def anchor(self, reference: Reference, retain: Batch) -> LabelLogits | None:
        """What the start predicts on the retain samples, if the retain term needs it."""
        if not self.compares_retain:
            return None
        with look_back(reference) as start:
            return self.anchor_from(start, retain)

    def anchor_from(self, start: nn.Module, retain: Batch) -> LabelLogits | None:
        """The same for objectives that are looking back anyway."""
        return logits_of(start, retain).lasting() if self.compares_retain else None

    def retain_terms(self, model: nn.Module, retain: Batch, anchor: LabelLogits | None) -> dict[str, Tensor]:
        """The weighted retain term by its name; empty if its weight is 0."""
        if self.retain_weight == 0:
            return {}
        if anchor is None:
            values = sequence_nll(model, retain)
        else:
            values = sequence_means(divergences(logits_of(model, retain), anchor), retain["labels"])
        return {"retain": self.retain_weight * values.mean()}
