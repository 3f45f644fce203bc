"""Gradient difference: descend on what is kept, ascend on what is forgotten."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from unteach.unlearn.contracts import OBJECTIVES, Batch, Objective, sequence_nll


@OBJECTIVES.register("grad_diff")
class GradDiff(Objective):
    """L = retain_weight * E_R[l] - forget_weight * E_F[l], with l the mean negative log-likelihood of a sample.

    Paper A's objective has both weights 1. The forget term has no lower bound, so it diverges unless it is stopped
    (stop rules) or bounded: with ``forget_cap`` c, a sample whose l(F) exceeds c nats a token no longer pushes.
    Shapes: forget and retain ``[B, T]`` each; terms are scalars, in nats a token.
    """

    source = "Paper A, section 3.1; Liu et al. 2022"

    forget_weight: float = Field(1.0, gt=0)
    retain_weight: float = Field(1.0, ge=0)
    forget_cap: float | None = Field(None, gt=0, description="Nats a token beyond which a forget sample stops pushing.")

    def __call__(self, model: nn.Module, forget: Batch, retain: Batch) -> dict[str, Tensor]:
        forget_nll = sequence_nll(model, forget)
        if self.forget_cap is not None:
            forget_nll = forget_nll.clamp(max=self.forget_cap)
        return {
            "retain": self.retain_weight * sequence_nll(model, retain).mean(),
            "forget": -self.forget_weight * forget_nll.mean(),
        }
