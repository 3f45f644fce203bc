"""UNDIAL: learn from the start's own predictions with the true token made less likely."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from unteach.unlearn.contracts import OBJECTIVES, Batches, Reference
from unteach.unlearn.terms import Retaining, logits_of, look_back, sequence_means


@OBJECTIVES.register("undial")
class Undial(Retaining):
    """L = forget_weight * E_F[H(q, p)], q = softmax(start's logits - beta at the label), and the retain term.

    H is the cross-entropy over the whole vocabulary, averaged over a sample's labels. It is smallest, at the entropy
    of q, where the model says q: bounded, so it does not diverge. Both terms in nats a token. The paper keeps by the
    soft target alone, without retain samples, hence ``retain_weight`` 0; its rate is 1e-4 with LoRA.
    """

    source = "Dong et al. 2024, arXiv 2402.10052"

    beta: float = Field(10.0, gt=0, description="How much the label's logit is lowered; the paper tries 3, 10, 30.")
    forget_weight: float = Field(1.0, gt=0)
    retain_weight: float = Field(0.0, ge=0)

    def __call__(self, model: nn.Module, batches: Batches, reference: Reference) -> dict[str, Tensor]:
        with look_back(reference) as start:
            before = logits_of(start, batches.forget).lasting()
            anchor = self.anchor_from(start, batches.retain)

        def cross_entropy(logits: Tensor, rows: slice) -> Tensor:
            label = before.labels[rows, None]
            lowered = before.rows(rows).scatter_add(-1, label, torch.full(label.shape, -self.beta, device=label.device))
            return -(lowered.softmax(-1) * torch.log_softmax(logits, -1)).sum(-1)

        values = logits_of(model, batches.forget).each(cross_entropy)
        return {
            **self.retain_terms(model, batches.retain, anchor),
            "forget": self.forget_weight * sequence_means(values, batches.forget["labels"]).mean(),
        }
