"""Direct preference optimisation that prefers "I do not know that" to what is to be forgotten."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from unteach.unlearn.contracts import OBJECTIVES, Batches, Reference
from unteach.unlearn.terms import Retaining, Tokens, look_back, sequence_logprobs


@OBJECTIVES.register("dpo_idk")
class DPOIdk(Retaining):
    """L = -forget_weight * E[log sigmoid(beta * (r(I) - r(F)))], r = log(p / p_start), and the retain term.

    I is "I do not know that" in the language of the forget sample F, after the same context. log p is summed over
    tokens, as in the paper; with ``tokens: mean`` it is averaged, so that a long F does not outweigh the short I. The
    forget term falls from log 2 at the start towards 0 and has no unit; ``retain`` is in nats a token.
    """

    source = "Rafailov et al. 2023, arXiv 2305.18290, equation 7; for unlearning Maini et al. 2024 (TOFU)"
    needs_idk: ClassVar[bool] = True

    beta: float = Field(0.1, gt=0)
    forget_weight: float = Field(1.0, gt=0)
    tokens: Tokens = "sum"

    def __call__(self, model: nn.Module, batches: Batches, reference: Reference) -> dict[str, Tensor]:
        if batches.idk is None:
            raise ValueError("dpo_idk compares with batches.idk, and there is none")
        with look_back(reference) as start:
            idk_before = sequence_logprobs(start, batches.idk, self.tokens)
            forget_before = sequence_logprobs(start, batches.forget, self.tokens)
            anchor = self.anchor_from(start, batches.retain)
        idk = sequence_logprobs(model, batches.idk, self.tokens) - idk_before
        forget = sequence_logprobs(model, batches.forget, self.tokens) - forget_before
        return {
            **self.retain_terms(model, batches.retain, anchor),
            "forget": -self.forget_weight * logsigmoid(self.beta * (idk - forget)).mean(),
        }
