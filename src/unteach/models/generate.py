"""Greedy (or sampled) answers in length-sorted batches, cut by token ids."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from unteach.models.source import Loaded
from unteach.progress import NoProgress, Progress


@dataclass(frozen=True)
class Generated:
    """One completion: text without the prompt, its token count, and whether the model ended it itself."""

    text: str
    tokens: int
    finished: bool


class _LineEnd(StoppingCriteria):
    """Ends a sequence at its first token that holds a line break."""

    def __init__(self, tokens: frozenset[int], prompt_length: int) -> None:
        self.tokens = torch.tensor(sorted(tokens))
        self.prompt_length = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        return torch.isin(input_ids[:, -1], self.tokens.to(input_ids.device))


def line_end_tokens(loaded: Loaded) -> frozenset[int]:
    """Tokens whose text holds a line break; found once a tokeniser."""
    tokenizer = loaded.tokenizer
    known: frozenset[int] | None = getattr(tokenizer, "_unteach_line_ends", None)
    if known is None:
        ids = list(range(len(tokenizer)))
        texts = tokenizer.batch_decode([[token] for token in ids])
        known = frozenset(token for token, text in zip(ids, texts, strict=True) if "\n" in text)
        tokenizer._unteach_line_ends = known
    return known


def generate(
    loaded: Loaded,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int,
    stop_at_line_end: bool = True,
    around: Callable[[Sequence[int]], contextlib.AbstractContextManager[object]] | None = None,
    progress: Progress | None = None,
    label: str = "answers",
) -> list[Generated]:
    """Complete every prompt greedily, in the order given.

    Prompts are padded on the left with the attention mask set, whatever the tokeniser's own padding side. The
    answer is decoded from the token ids after the prompt, up to the first end or line-break token, so nothing is
    ever cut by counting characters.

    Args:
        around: gives a scope for each batch from the numbers of its prompts, row by row (their edits, for instance).
    """
    encoded = [loaded.tokenizer(prompt, add_special_tokens=True)["input_ids"] for prompt in prompts]
    order = sorted(range(len(encoded)), key=lambda index: -len(encoded[index]))
    ends = _end_tokens(loaded)
    lines = line_end_tokens(loaded) if stop_at_line_end else frozenset[int]()
    results: dict[int, Generated] = {}
    with (progress or NoProgress()).task(label, len(prompts)) as bar:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            with around(batch) if around else contextlib.nullcontext():
                outputs = _complete(loaded, [encoded[index] for index in batch], max_new_tokens, lines)
            for index, ids in zip(batch, outputs, strict=True):
                results[index] = _cut(loaded, ids, ends | lines)
            bar.advance(len(batch))
    return [results[index] for index in range(len(prompts))]


def _end_tokens(loaded: Loaded) -> frozenset[int]:
    configured = loaded.model.generation_config.eos_token_id if loaded.model.generation_config else None
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*ids, loaded.tokenizer.eos_token_id] if token is not None)


def _complete(
    loaded: Loaded, batch: Sequence[Sequence[int]], max_new_tokens: int, lines: frozenset[int]
) -> list[list[int]]:
    longest = max(len(ids) for ids in batch)
    pad = int(loaded.tokenizer.pad_token_id or 0)
    device = loaded.model.device
    input_ids = torch.tensor([[*[pad] * (longest - len(ids)), *ids] for ids in batch], device=device)
    mask = torch.tensor([[*[0] * (longest - len(ids)), *[1] * len(ids)] for ids in batch], device=device)
    ends = sorted(_end_tokens(loaded))
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=max_new_tokens,
        do_sample=False,
        pad_token_id=pad,
        eos_token_id=ends or None,
        use_cache=True,
    )
    criteria = StoppingCriteriaList([_LineEnd(lines, longest)] if lines else [])
    with torch.no_grad(), _own_settings(loaded.model):
        output = loaded.model.generate(  # type: ignore[operator]
            input_ids=input_ids, attention_mask=mask, generation_config=config, stopping_criteria=criteria
        )
    return [row[longest:].tolist() for row in output]


@contextlib.contextmanager
def _own_settings(model: PreTrainedModel) -> Iterator[None]:
    """A scope without the model's own generation settings, which would fill whatever ours leave open.

    Many chat models ship a repetition penalty or a sampling temperature; answers would no longer be greedy.
    """
    theirs = model.generation_config
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.generation_config = theirs


def _cut(loaded: Loaded, ids: list[int], stops: frozenset[int]) -> Generated:
    end = next((position for position, token in enumerate(ids) if token in stops), None)
    kept = ids if end is None else ids[:end]
    text = str(loaded.tokenizer.decode(kept, skip_special_tokens=True)).strip()
    return Generated(text=text, tokens=len(kept), finished=end is not None)
