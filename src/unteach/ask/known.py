"""How likely a model finds known answers: what an edit does to general knowledge."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch

from unteach.ask.answers import Around, Asking
from unteach.ask.prompts import render, resolve
from unteach.corpora.safety import ItemSet
from unteach.models.batches import by_length, encode, pad
from unteach.models.logprobs import token_logprobs
from unteach.models.source import Loaded
from unteach.records import KnownAnswer

_TOKENS = 4096


def known_pairs(items: ItemSet, language: str) -> list[tuple[str, str, str]]:
    """Item, general-knowledge prompt and known answer of every item that has them."""
    return [
        (item.id, text.knowledge_prompt, text.knowledge_answer)
        for item in items
        if (text := item.texts.get(language)) and text.knowledge_prompt and text.knowledge_answer
    ]


def known_answers(
    loaded: Loaded,
    pairs: Sequence[tuple[str, str, str, str]],
    settings: Asking,
    *,
    around: Around | None = None,
) -> list[KnownAnswer]:
    """log p(answer | prompt) in nats, summed over the answer's tokens.

    Args:
        pairs: item, language, prompt and answer. No suffix is added, so that models before and after can be compared.
        around: as in ``ask.answers``, by the numbers of the pairs.
    """
    form = resolve(loaded.tokenizer, settings.format)
    lead = "" if form == "chat" else " "
    encoded = [
        encode(
            loaded.tokenizer,
            f"{lead}{answer}",
            render(loaded.tokenizer, form, prompt, language),
            loaded.context_length,
        )
        for _, language, prompt, answer in pairs
    ]
    found: dict[int, KnownAnswer] = {}
    for batch in by_length(encoded, _TOKENS):
        padded = pad([encoded[i] for i in batch], int(loaded.tokenizer.pad_token_id or 0), loaded.model.device)
        with torch.no_grad(), around(batch) if around else contextlib.nullcontext():
            sums = token_logprobs(loaded.model, **padded).sum(-1)
        for row, index in enumerate(batch):
            item, language, _, answer = pairs[index]
            found[index] = KnownAnswer(
                item=item,
                language=language,
                log_probability=float(sums[row]),
                tokens=encoded[index].label_count,
                characters=len(answer),
            )
    return [found[index] for index in range(len(pairs))]
