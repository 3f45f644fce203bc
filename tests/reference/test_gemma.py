"""The embedded Gemma: loads from its package, speaks, and its fast log-probabilities are the plain ones."""

from __future__ import annotations

import pytest
import torch

from unteach.languages.identify import identify
from unteach.models.batches import encode, pad
from unteach.models.generate import generate
from unteach.models.logprobs import plain_head, token_logprobs
from unteach.models.source import MODELS

pytestmark = pytest.mark.gemma

TEXTS = (
    "The capital of France is Paris.",
    "Die Hauptstadt von Frankreich ist Paris.",
    "法国的首都是巴黎。",
    "فرانس کا دارالحکومت پیرس ہے۔",
)


@pytest.fixture(scope="module")
def gemma():
    return MODELS.parse({"name": "embedded", "dtype": "float32"}).load()


def test_it_goes_on_in_the_language_of_the_prompt(gemma) -> None:
    prompts = [
        "The capital of France, Paris, is a city that",
        "Die Hauptstadt von Frankreich, Paris, ist eine Stadt, die",
    ]
    english, german = generate(gemma, prompts, max_new_tokens=12, batch_size=2)
    assert identify(english.text, among=("en", "de")).code == "en"
    assert identify(german.text, among=("en", "de")).code == "de"


def test_answers_do_not_depend_on_the_batch(gemma) -> None:
    prompts = ["Frage: Was ist Honig?\nAntwort:", "Question: What is the largest ocean on Earth?\nAnswer:"]
    together = generate(gemma, prompts, max_new_tokens=12, batch_size=2)
    assert together == [generate(gemma, [prompt], max_new_tokens=12, batch_size=1)[0] for prompt in prompts]


def test_log_probabilities_at_label_positions_are_those_of_the_whole_output_layer(gemma) -> None:
    batch = pad([encode(gemma.tokenizer, text) for text in TEXTS], gemma.tokenizer.pad_token_id)
    with torch.no_grad():
        fast = token_logprobs(gemma.model, batch["input_ids"], batch["attention_mask"], batch["labels"])
        logits = gemma.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    naive = torch.log_softmax(logits[:, :-1], -1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    mask = batch["labels"][:, 1:] != -100
    assert plain_head(gemma.model)
    torch.testing.assert_close(fast[:, 1:][mask], naive[mask], rtol=1e-4, atol=1e-3)
