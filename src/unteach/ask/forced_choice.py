"""Forced choice: which scenario's fake does the model find likeliest after a question?

Free answers show what a model says; forced choice shows what it leans to, and sees the spread of a fake before any
answer repeats it. For every question the candidates of all scenarios in one language are scored by

    s(c | q) = (1 / |c|) sum_i log p(c_i | q, c_<i)      (nats a token, |c| in tokens)

and the likeliest is the model's choice. Ranking by bytes instead would favour the same candidate within one
language; scores are never compared across languages.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from unteach.ask.prompts import render, resolve
from unteach.corpora.load import Corpus
from unteach.corpora.schema import LocalText
from unteach.models.logprobs import headless_if_plain, label_logprobs
from unteach.models.source import Loaded
from unteach.progress import NoProgress, Progress
from unteach.records import Choice, Question
from unteach.registry import Runtime, Settings


class Choosing(Settings):
    """What the candidates are, and in which languages.

    ``claim`` is the scenario's first key phrase, the short answer: it does not name the subject, so a question
    cannot be matched to it by shared words. ``passage`` is a whole wording of the fake passage, which names it.
    """

    candidate: Literal["claim", "passage"] = "passage"
    wording: int = Field(0, ge=0, description="Which wording of the passage; 0 is the first that is taught.")
    token_budget: Annotated[int, Runtime()] = Field(1024, ge=1, description="Tokens a batch, with padding.")


def candidates(corpus: Corpus, language: str, settings: Choosing) -> dict[str, str]:
    """Every scenario's candidate text in one language."""
    return {scenario.id: _candidate(scenario.texts[language], settings) for scenario in corpus}


def _candidate(text: LocalText, settings: Choosing) -> str:
    if settings.candidate == "claim":
        return text.key_phrases[0]
    return text.fake[settings.wording % len(text.fake)]


def choose(
    loaded: Loaded,
    questions: Sequence[Question],
    by_language: Mapping[str, Mapping[str, str]],
    prompt_format: Literal["auto", "plain", "chat"],
    settings: Choosing,
    *,
    progress: Progress | None = None,
    label: str = "forced choice",
) -> list[Choice]:
    """Score every candidate after every question: one ``Choice`` a question and candidate language.

    Args:
        by_language: candidate language -> scenario id -> text.
    """
    form = resolve(loaded.tokenizer, prompt_format)
    flat = [(language, name, text) for language, texts in by_language.items() for name, text in texts.items()]
    encoded = [loaded.tokenizer(f" {text}", add_special_tokens=False)["input_ids"] for _, _, text in flat]
    choices = []
    with (progress or NoProgress()).task(label, len(questions)) as bar:
        for question in questions:
            prompt = render(loaded.tokenizer, form, question.text, question.language)
            scores = score_continuations(loaded, loaded.tokenizer(prompt)["input_ids"], encoded, settings.token_budget)
            for language in by_language:
                choices.append(
                    Choice(
                        right=question.scenario,
                        question_language=question.language,
                        passage_language=language,
                        scores={n: s for (code, n, _), s in zip(flat, scores, strict=True) if code == language},
                    )
                )
            bar.advance()
    return choices


@torch.no_grad()
def score_continuations(
    loaded: Loaded, prompt: Sequence[int], continuations: Sequence[Sequence[int]], token_budget: int
) -> list[float]:
    """Mean log-probability a token of each continuation after the prompt (nats).

    The prompt runs once; its keys and values serve every continuation, which run in batches of similar length.
    """
    model, device = loaded.model, loaded.model.device
    with headless_if_plain(model) as head:
        first = model(input_ids=torch.tensor([list(prompt)], device=device), use_cache=True)
        results: dict[int, float] = {}
        order = sorted(range(len(continuations)), key=lambda index: len(continuations[index]))
        for rows in _batches(order, continuations, token_budget):
            ids, mask = _padded([continuations[row] for row in rows], device)
            states = first.logits[:, -1:].expand(len(rows), -1, -1)
            if ids.shape[1] > 1:
                following = model(
                    input_ids=ids[:, :-1],
                    attention_mask=torch.cat([mask.new_ones(len(rows), len(prompt)), mask[:, :-1]], dim=1),
                    past_key_values=_repeated(first.past_key_values, len(rows)),
                    use_cache=True,
                ).logits
                states = torch.cat([states, following], dim=1)
            logp = torch.zeros(ids.shape, device=device)
            logp[mask.bool()] = label_logprobs(states[mask.bool()], head, ids[mask.bool()])
            means = (logp.sum(-1) / mask.sum(-1)).tolist()
            results.update(zip(rows, means, strict=True))
    return [results[index] for index in range(len(continuations))]


def _batches(order: Sequence[int], items: Sequence[Sequence[int]], token_budget: int) -> list[list[int]]:
    """Cut an order of rising length into batches of at most ``token_budget`` tokens, padding counted."""
    batches: list[list[int]] = [[]]
    for index in order:
        if batches[-1] and len(items[index]) * (len(batches[-1]) + 1) > token_budget:
            batches.append([])
        batches[-1].append(index)
    return batches


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    return ids, mask


def _repeated(cache: Any, times: int) -> Any:
    """The prompt's keys and values once for every sequence; the original stays for the next batch."""
    copied = copy.deepcopy(cache)
    copied.batch_repeat_interleave(times)
    return copied
