"""Representation misdirection: steer what one layer says about the forget set to a random direction."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from unteach.errors import UserError
from unteach.models.logprobs import IGNORE, unwrapped
from unteach.models.structure import decoder_layers
from unteach.unlearn.contracts import OBJECTIVES, Batch, Batches, Objective, Reference
from unteach.unlearn.terms import logits_of, look_back, sequence_means


@OBJECTIVES.register("rmu")
class RMU(Objective):
    """L = forget_weight * E_F[|h - c u|^2] + retain_weight * E_R[|h - h_start|^2], h the output of one decoder layer.

    u is a fixed unit vector drawn with ``seed`` (entries uniform in [0, 1), then normalised); the squared norm runs
    over the hidden size and is averaged over a sample's labelled tokens. Only weights up to the layer learn; the paper
    trains that layer and the two before it. Both terms are squared activations, at least 0. The authors' code
    divides both by the hidden size, and uses c = 6.5 and retain weight 1200 for a model of 7B.

    Raises:
        UserError: the model has no such layer.
    """

    source = "Li et al. 2024 (WMDP), arXiv 2403.03218, section 4"

    layer: int = Field(7, description="Decoder layer, 0 the first; negative counts from the end, -1 the last.")
    coefficient: float = Field(2.0, gt=0, description="c, the length of the vector that is steered to.")
    seed: int = Field(0, description="Of the random direction u.")
    forget_weight: float = Field(1.0, gt=0)
    retain_weight: float = Field(1.0, ge=0)

    def __call__(self, model: nn.Module, batches: Batches, reference: Reference) -> dict[str, Tensor]:
        terms = {}
        if self.retain_weight:
            with look_back(reference) as start:
                before = self.states(start, batches.retain)
            moved = (self.states(model, batches.retain) - before).square().sum(-1)
            terms["retain"] = self.retain_weight * sequence_means(moved, batches.retain["labels"]).mean()
        states = self.states(model, batches.forget)
        missed = (states - self.coefficient * self.direction(states)).square().sum(-1)
        terms["forget"] = self.forget_weight * sequence_means(missed, batches.forget["labels"]).mean()
        return terms

    def direction(self, states: Tensor) -> Tensor:
        """u, ``[D]``: the same on every device and at every step."""
        drawn = torch.rand(states.shape[-1], generator=torch.Generator().manual_seed(self.seed))
        return nn.functional.normalize(drawn, dim=0).to(states.device)

    def states(self, model: nn.Module, batch: Batch) -> Tensor:
        """The layer's output at the labelled tokens, ``[N, D]`` float32."""
        layers = decoder_layers(unwrapped(model))
        if not -len(layers) <= self.layer < len(layers):
            raise UserError(
                f"rmu: layer {self.layer} does not exist in a model of {len(layers)} decoder layers; "
                f"choose one from {-len(layers)} to {len(layers) - 1}"
            )
        found: list[Tensor] = []

        def keep(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            found.append(output if isinstance(output, Tensor) else output[0])

        hook = layers[self.layer].register_forward_hook(keep)
        try:
            logits_of(model, batch)  # for the way through the layers: the logits themselves are not made
        finally:
            hook.remove()
        # The last output: on a model's first run a few tokens go before, to find out about its head.
        return found[-1][:, 1:][batch["labels"][:, 1:] != IGNORE].float()
