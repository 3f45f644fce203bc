"""Gradient difference: descend on what is kept, ascend on what is forgotten."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor, nn

from unteach.unlearn.contracts import OBJECTIVES, Batches, Reference, sequence_nll
from unteach.unlearn.terms import Retaining


@OBJECTIVES.register("grad_diff")
class GradDiff(Retaining):
    """L = retain_weight * E_R[l] - forget_weight * E_F[l], with l the mean negative log-likelihood of a sample.

    Paper A's objective has both weights 1. The forget term has no lower bound, so it diverges unless it is stopped
    (stop rules) or bounded: with ``forget_cap`` c, a sample whose l(F) exceeds c nats a token no longer pushes.
    With ``retain: kl`` the first term is the divergence from the start's predictions on R instead.
    Shapes: forget and retain ``[B, T]`` each; terms are scalars, in nats a token.
    """

    source = "Paper A, section 3.1; Liu et al. 2022"

    forget_weight: float = Field(1.0, gt=0)
    forget_cap: float | None = Field(None, gt=0, description="Nats a token beyond which a forget sample stops pushing.")

    def identity(self) -> dict[str, Any]:
        """The settings, but ``retain`` only where it is chosen: results from before there was a choice stay valid."""
        return {name: value for name, value in super().identity().items() if (name, value) != ("retain", "nll")}

    def __call__(self, model: nn.Module, batches: Batches, reference: Reference) -> dict[str, Tensor]:
        anchor = self.anchor(reference, batches.retain)
        forget_nll = sequence_nll(model, batches.forget)
        if self.forget_cap is not None:
            forget_nll = forget_nll.clamp(max=self.forget_cap)
        return {
            **self.retain_terms(model, batches.retain, anchor),
            "forget": -self.forget_weight * forget_nll.mean(),
        }
