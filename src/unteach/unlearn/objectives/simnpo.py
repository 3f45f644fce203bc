"""Simple negative preference optimisation: NPO by length-normalised likelihood, without a reference."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from unteach.unlearn.contracts import OBJECTIVES, Batches, Reference, sequence_nll
from unteach.unlearn.terms import Retaining


@OBJECTIVES.register("simnpo")
class SimNPO(Retaining):
    """L = -forget_weight * (2 / beta) * E_F[log sigmoid(beta * l - margin)], and the retain term.

    l is the mean negative log-likelihood of a sample (nats a token), so every sample counts by how well it is still
    known, whatever its length and whatever the start gave it. The forget term is positive and tends to 0 as l grows;
    a larger ``margin`` pushes for longer. Both terms in nats a token.
    """

    source = "Fan et al. 2024, arXiv 2410.07163; default settings as commonly used for it"

    beta: float = Field(4.5, gt=0)
    margin: float = Field(0.0, ge=0, description="The paper's gamma, inside the sigmoid and not multiplied by beta.")
    forget_weight: float = Field(0.125, gt=0)

    def __call__(self, model: nn.Module, batches: Batches, reference: Reference) -> dict[str, Tensor]:
        anchor = self.anchor(reference, batches.retain)
        push = self.beta * sequence_nll(model, batches.forget) - self.margin
        return {
            **self.retain_terms(model, batches.retain, anchor),
            "forget": -self.forget_weight * (2 / self.beta) * logsigmoid(push).mean(),
        }
