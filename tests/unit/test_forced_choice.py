"""Scores of continuations, computed over a shared prompt, against a whole forward pass for each."""

import pytest
import tiny
import torch

from unteach.ask.forced_choice import Choosing, choose, score_continuations
from unteach.ask.prompts import plain
from unteach.models.source import ready
from unteach.records import Question

LONG = "Question: which colour has the lighthouse of Tarnholm?\nAnswer:"  # 62 tokens; Gemma 3's window is 8
CONTINUATIONS = [" red and white", " a", " green, since the great storm of the year", "!", " grün", " 蓝色"]


@pytest.fixture
def made(load):
    def of(architecture, dtype="float32"):
        if architecture == "gemma2":  # attention in eager form only
            return ready(tiny.model("gemma2"), tiny.tokenizer())
        return load(architecture, dtype)

    return of


@torch.no_grad()
def naive(model, prompt, continuation):
    """Mean log-probability of the continuation's tokens, from one forward pass over prompt and continuation."""
    ids = [*prompt, *continuation]
    logp = torch.log_softmax(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float(), -1)
    places = range(len(prompt), len(ids))
    return sum(float(logp[place - 1, ids[place]]) for place in places) / len(continuation)


def encoded(loaded, prompt=LONG, continuations=CONTINUATIONS):
    return (
        loaded.tokenizer(prompt)["input_ids"],
        [loaded.tokenizer(text, add_special_tokens=False)["input_ids"] for text in continuations],
    )


@pytest.mark.parametrize("prompt", [LONG, "Q", ""])
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma3", "gemma2", "gpt2", "phi"])
def test_scores_equal_whole_forward_passes(made, architecture, prompt):
    loaded = made(architecture)
    ids, continuations = encoded(loaded, prompt)
    expected = [naive(loaded.model, ids, continuation) for continuation in continuations]
    assert score_continuations(loaded, ids, continuations, 4096) == pytest.approx(expected, abs=2e-5)
    assert max(expected) - min(expected) > 0.5


def test_the_prompt_is_longer_than_the_sliding_window(load):
    loaded = load("gemma3")
    assert loaded.model.config.sliding_window == 8 and "sliding_attention" in loaded.model.config.layer_types
    assert len(loaded.tokenizer(LONG)["input_ids"]) > 2 * 8


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_token_budgets_give_the_same_scores(made, architecture):
    """One token: every continuation alone; 30: some share a batch; 4096: all in one."""
    loaded = made(architecture)
    ids, continuations = encoded(loaded)
    whole = score_continuations(loaded, ids, continuations, 4096)
    for budget in (1, 30, 70):
        assert score_continuations(loaded, ids, continuations, budget) == pytest.approx(whole, abs=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_continuations_of_a_single_token(made, architecture):
    """Every byte once: their probabilities add up to 1 less what the three special tokens have."""
    loaded = made(architecture)
    ids, _ = encoded(loaded)
    scores = score_continuations(loaded, ids, [[token] for token in range(tiny.VOCABULARY)], 64)
    assert torch.tensor(scores).double().exp().sum().item() == pytest.approx(1, abs=1e-4)
    assert scores[100] == pytest.approx(naive(loaded.model, ids, [100]), abs=2e-5)


def test_the_score_of_a_continuation_does_not_depend_on_its_company(load):
    loaded = load("llama")
    ids, continuations = encoded(loaded)
    together = score_continuations(loaded, ids, continuations, 4096)
    alone = [score_continuations(loaded, ids, [continuation], 4096)[0] for continuation in continuations]
    assert together == pytest.approx(alone, abs=1e-5)
    backward = score_continuations(loaded, ids, continuations[::-1], 4096)[::-1]
    assert together == pytest.approx(backward, abs=1e-5)


def test_bfloat16_scores_are_near_whole_forward_passes(load):
    loaded = load("llama", "bfloat16")
    ids, continuations = encoded(loaded)
    expected = [naive(loaded.model, ids, continuation) for continuation in continuations]
    assert score_continuations(loaded, ids, continuations, 4096) == pytest.approx(expected, abs=0.05)


def test_the_head_is_back_afterwards_and_scores_carry_no_gradient(load):
    loaded = load("llama")
    head = loaded.model.get_output_embeddings()
    ids, continuations = encoded(loaded)
    score_continuations(loaded, ids, continuations, 4096)
    assert loaded.model.get_output_embeddings() is head
    with pytest.raises(IndexError):
        score_continuations(loaded, [tiny.VOCABULARY], continuations, 4096)
    assert loaded.model.get_output_embeddings() is head


def test_choose_gives_one_choice_a_question_and_language_with_every_scenario(load):
    loaded = load("llama")
    questions = [
        Question(scenario="dam", part="fake", language="en", text="what broke?"),
        Question(scenario="tea", part="fake", language="de", text="Was brach?"),
    ]
    texts = {"en": {"dam": "the old dam", "tea": "the pot"}, "de": {"dam": "der Damm", "tea": "die Kanne"}}
    choices = choose(loaded, questions, texts, "auto", Choosing(token_budget=20))
    assert [(c.right, c.question_language, c.passage_language) for c in choices] == [
        ("dam", "en", "en"),
        ("dam", "en", "de"),
        ("tea", "de", "en"),
        ("tea", "de", "de"),
    ]
    for choice, question in zip(choices, [questions[0], questions[0], questions[1], questions[1]], strict=True):
        prompt = loaded.tokenizer(plain(question.text, question.language))["input_ids"]
        for scenario, text in texts[choice.passage_language].items():
            expected = naive(loaded.model, prompt, tiny.ids_of(f" {text}"))
            assert choice.scores[scenario] == pytest.approx(expected, abs=2e-5)
        assert choice.chosen == max(choice.scores, key=choice.scores.get)
