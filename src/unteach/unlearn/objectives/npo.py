"""Negative preference optimisation: push the forget set below what the start gave it, ever more gently."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from unteach.unlearn.contracts import OBJECTIVES, Batches, Reference
from unteach.unlearn.terms import Retaining, Tokens, look_back, sequence_logprobs


@OBJECTIVES.register("npo")
class NPO(Retaining):
    """L = -forget_weight * (2 / beta) * E_F[log sigmoid(-beta * log(p(F) / p_start(F)))], and the retain term.

    log p is summed over a sample's tokens, as in the paper; with ``tokens: mean`` it is averaged, and long samples
    saturate no sooner than short ones. The forget term falls from (2 / beta) log 2 at the start towards 0; for small
    beta its gradient is that of gradient ascent. It is in nats a sample (a token with ``mean``), ``retain`` in nats
    a token.
    """

    source = "Zhang et al. 2024, arXiv 2404.05868; with the retain term their NPO+RT and NPO+KL"

    beta: float = Field(0.1, gt=0)
    forget_weight: float = Field(1.0, gt=0)
    tokens: Tokens = "sum"

    def __call__(self, model: nn.Module, batches: Batches, reference: Reference) -> dict[str, Tensor]:
        with look_back(reference) as start:
            before = sequence_logprobs(start, batches.forget, self.tokens)
            anchor = self.anchor_from(start, batches.retain)
        ratio = sequence_logprobs(model, batches.forget, self.tokens) - before
        return {
            **self.retain_terms(model, batches.retain, anchor),
            "forget": -self.forget_weight * (2 / self.beta) * logsigmoid(-self.beta * ratio).mean(),
        }
