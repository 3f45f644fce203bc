"""How surprised a model is by texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from unteach.models.batches import Encoded, by_length, pad
from unteach.models.logprobs import token_logprobs
from unteach.models.source import Loaded


@torch.no_grad()
def text_nll(loaded: Loaded, model: nn.Module, texts: Sequence[Encoded], token_budget: int = 4096) -> list[float]:
    """Mean negative log-likelihood a label token of each text, in nats, in the order given."""
    values = [0.0] * len(texts)
    for batch in by_length(texts, token_budget):
        inputs = pad([texts[index] for index in batch], int(loaded.tokenizer.pad_token_id or 0), loaded.model.device)
        logp = token_logprobs(model, inputs["input_ids"], inputs["attention_mask"], inputs["labels"]).sum(-1)
        for index, total in zip(batch, logp.tolist(), strict=True):
            values[index] = -total / max(1, texts[index].label_count)
    return values
