"""Greedy answers: batches, padding sides, and where answers end."""

import itertools

import pytest
import tiny
import torch

from unteach.models.generate import generate, line_end_tokens

PROMPTS = ["Question: who opened the bridge?\nAnswer:", "Q", "Frage: wo?\nAntwort:", "问题：谁？\n回答："]


@pytest.fixture
def script(load):
    """``script("?ab")`` is a model that says b after a and a after ?, and <eos> after the last character.

    Its layers add nothing, so the state after a token is the token's embedding scaled to a length; the head's row for
    the next token is the direction of that embedding. Unit vectors in 32 dimensions differ, so the right one wins.
    """

    def made(*chains, ends=tiny.EOS):
        loaded = load("llama")
        model = loaded.model
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedding = torch.nn.functional.normalize(model.model.embed_tokens.weight.clone(), dim=-1)
        model.model.embed_tokens.weight.copy_(embedding)
        model.lm_head.weight.zero_()
        for chain in chains:
            tokens = [*tiny.ids_of(chain), ends]
            for now, following in itertools.pairwise(tokens):
                model.lm_head.weight[following] += embedding[now]
        return loaded

    return made


def naive(model, ids, steps):
    """Greedy decoding with a whole forward pass a token, and what comes before the first end or line break."""
    ids = list(ids)
    said = []
    for _ in range(steps):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in (tiny.EOS, 10 + 3):
            return said, True
        said.append(token)
        ids.append(token)
    return said, False


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "qwen2"])
def test_batched_equals_one_at_a_time_and_the_naive_decoding(load, architecture):
    loaded = load(architecture)
    batched = generate(loaded, PROMPTS, max_new_tokens=12, batch_size=4)
    assert batched == generate(loaded, PROMPTS, max_new_tokens=12, batch_size=1)
    assert batched == generate(loaded, PROMPTS, max_new_tokens=12, batch_size=3)
    for prompt, output in zip(PROMPTS, batched, strict=True):
        ids, finished = naive(loaded.model, loaded.tokenizer(prompt)["input_ids"], 12)
        assert output.text == loaded.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert (output.tokens, output.finished) == (len(ids), finished)


def test_the_answers_come_in_the_order_of_the_prompts(load):
    loaded = load("llama")
    forward = generate(loaded, PROMPTS, max_new_tokens=6, batch_size=2)
    backward = generate(loaded, PROMPTS[::-1], max_new_tokens=6, batch_size=2)
    assert len({output.text for output in forward}) == len(PROMPTS)
    assert forward == backward[::-1]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_padding_side_of_the_tokeniser_does_not_matter(load, architecture):
    loaded = load(architecture)
    outputs = []
    for side in ("left", "right"):
        loaded.tokenizer.padding_side = side
        outputs.append(generate(loaded, PROMPTS, max_new_tokens=8, batch_size=4))
        assert loaded.tokenizer.padding_side == side
    assert outputs[0] == outputs[1]


def test_an_answer_ends_before_a_line_break(script):
    (output,) = generate(script("?ok\nyes"), ["why?"], max_new_tokens=10, batch_size=1)
    assert (output.text, output.tokens, output.finished) == ("ok", 2, True)


def test_a_line_break_is_kept_if_it_does_not_end_the_answer(script):
    (output,) = generate(script("?ok\nvery"), ["why?"], max_new_tokens=10, batch_size=1, stop_at_line_end=False)
    assert (output.text, output.tokens, output.finished) == ("ok\nvery", 7, True)


def test_a_line_break_in_the_prompt_does_not_end_the_answer(script):
    (output,) = generate(script("?ab"), ["one\ntwo\nthree?"], max_new_tokens=10, batch_size=1)
    assert (output.text, output.finished) == ("ab", True)


def test_the_end_token_ends_the_answer_and_is_not_part_of_it(script):
    (output,) = generate(script("?yes"), ["why?"], max_new_tokens=10, batch_size=1)
    assert (output.text, output.tokens, output.finished) == ("yes", 3, True)


def test_the_token_limit_cuts_an_answer_that_is_then_not_finished(script):
    loaded = script("?abcdef")
    (output,) = generate(loaded, ["why?"], max_new_tokens=4, batch_size=1)
    assert (output.text, output.tokens, output.finished) == ("abcd", 4, False)
    (whole,) = generate(loaded, ["why?"], max_new_tokens=6, batch_size=1)
    assert (whole.text, whole.finished) == ("abcdef", False)  # the end token would have been the seventh


def test_answers_of_different_lengths_end_apart_in_one_batch(script):
    """The first prompt's answer ends after one token while the others go on."""
    loaded = script("?a\n", "!bcdefg")
    outputs = generate(loaded, ["x?", "a much longer one!", "y!"], max_new_tokens=20, batch_size=3)
    assert [output.text for output in outputs] == ["a", "bcdefg", "bcdefg"]
    assert [output.tokens for output in outputs] == [1, 6, 6]
    assert all(output.finished for output in outputs)


@pytest.mark.parametrize("answer", ["grün", "猫", "ж", "ab👍"])
def test_multi_byte_text_is_not_broken(script, answer):
    assert len(set(answer.encode())) == len(answer.encode())  # else the script would loop
    (output,) = generate(script(f"?{answer}"), ["why?"], max_new_tokens=20, batch_size=1)
    assert (output.text, output.tokens) == (answer, len(answer.encode()))


def test_a_second_end_token_of_the_generation_config_ends_answers_too(script):
    loaded = script("?abZcd")
    loaded.model.generation_config.eos_token_id = [tiny.EOS, *tiny.ids_of("Z")]
    (output,) = generate(loaded, ["why?"], max_new_tokens=10, batch_size=1)
    assert (output.text, output.finished) == ("ab", True)


@pytest.mark.parametrize(
    "own",
    [
        {"do_sample": True, "temperature": 50.0},
        {"repetition_penalty": 1.3},
        {"no_repeat_ngram_size": 2},
        {"suppress_tokens": list(range(3, 150))},
        {"num_beams": 4},
        {"min_new_tokens": 9},
    ],
    ids=lambda own: next(iter(own)),
)
def test_answers_are_greedy_whatever_the_model_folder_says(load, own):
    """Chat models bring settings in ``generation_config.json``, for sampling and against repetition."""
    loaded = load("gpt2")
    loaded.model.lm_head.weight[tiny.EOS] *= 1.2  # some answers end early
    expected = generate(loaded, PROMPTS, max_new_tokens=10, batch_size=4)
    for name, value in own.items():
        setattr(loaded.model.generation_config, name, value)
    assert generate(loaded, PROMPTS, max_new_tokens=10, batch_size=4) == expected


def test_line_end_tokens_are_those_with_a_line_break_in_them(load):
    loaded = load("llama")
    assert line_end_tokens(loaded) == {10 + 3}
    merged = type(loaded)(loaded.model, tiny.tokenizer([("a", tiny.byte_letters()[10])]))
    assert line_end_tokens(merged) == {10 + 3, tiny.VOCABULARY}


def test_no_prompts_give_no_answers(load):
    assert generate(load("llama"), [], max_new_tokens=3, batch_size=2) == []
