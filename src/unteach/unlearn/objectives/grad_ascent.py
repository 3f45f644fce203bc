"""Gradient ascent: push the forget set away, and keep nothing."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from unteach.unlearn.contracts import OBJECTIVES, Batches, Objective, Reference, sequence_nll


@OBJECTIVES.register("grad_ascent")
class GradAscent(Objective):
    """L = -weight * E_F[l], with l the mean negative log-likelihood of a sample (nats a token).

    Unbounded below: it destroys the model unless a stop rule ends it. A baseline, not a method to use.
    """

    source = "Jang et al. 2023"

    weight: float = Field(1.0, gt=0)

    def __call__(self, model: nn.Module, batches: Batches, reference: Reference) -> dict[str, Tensor]:
        return {"forget": -self.weight * sequence_nll(model, batches.forget).mean()}
