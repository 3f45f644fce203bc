"""A model of the project as an endpoint: what it is asked, how it draws, and when it stops."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest
import torch
from pydantic import ValidationError

from unteach.endpoints.contract import ENDPOINTS, Completion, Endpoint, Message, Prompt, Refused
from unteach.endpoints.kinds import in_process
from unteach.endpoints.service import Service
from unteach.models.generate import generate

pytestmark = pytest.mark.usefixtures("own_replies")
CHAT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[reply]{% endif %}"
)


@pytest.fixture
def own_replies(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    monkeypatch.setattr(in_process, "_kept", {})


@pytest.fixture
def endpoint(tiny_folder):
    """``endpoint("llama", temperature=1)`` is that tiny model, for replies of 12 tokens."""

    def made(architecture: str = "llama", **settings: object) -> Endpoint:
        model = {"name": "pretrained", "path": str(tiny_folder(architecture)), "dtype": "float32"}
        return ENDPOINTS.parse({"name": "in_process", "model": model, "max_tokens": 12, **settings})

    return made


def prompt(*texts: str, draw: int = 0) -> Prompt:
    """The first text is the system's where there are an even number of them; the others are turns."""
    roles = ("user", "assistant", "user") if len(texts) % 2 else ("system", "user", "assistant", "user")
    messages = (Message(role=role, text=text) for role, text in zip(roles, texts, strict=False))
    return Prompt(messages=tuple(messages), draw=draw)


def replies(endpoint: Endpoint, *prompts: Prompt) -> list[Completion]:
    with Service(endpoint) as service:
        return list(service.ask(prompts))


def once(endpoint: Endpoint, asked: Prompt) -> Completion:
    async def ask() -> Completion:
        return await endpoint.open().complete(asked)

    return asyncio.run(ask())


def test_without_a_temperature_it_says_what_greedy_decoding_says(endpoint, load) -> None:
    asked = [prompt("Be brief.", "What is moss?"), prompt("Hello.")]
    lines = ["Be brief.\n\nUser: What is moss?\nAssistant:", "User: Hello.\nAssistant:"]
    expected = generate(load("llama"), lines, max_new_tokens=12, batch_size=1, stop_at_line_end=False)
    found = replies(endpoint(), *asked)
    assert [reply.text for reply in found] == [answer.text for answer in expected]
    # one token a byte, and the mark at the beginning
    assert [reply.tokens_in for reply in found] == [len(line) + 1 for line in lines]
    assert [reply.tokens_out for reply in found] == [12, 12] and {reply.finish for reply in found} == {"length"}


def test_draws_are_reproducible_and_of_the_seed_the_prompt_and_the_draw(endpoint, tmp_path, monkeypatch) -> None:
    asked = [prompt("Hello.", draw=0), prompt("Hello.", draw=1), prompt("Hullo.", draw=0)]
    first = replies(endpoint(temperature=1.0), *asked)
    assert len({reply.text for reply in first}) == 3
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "other.sqlite"))
    torch.manual_seed(1)  # the process's own random numbers are not looked at ...
    state = torch.get_rng_state()
    assert replies(endpoint(temperature=1.0), *reversed(asked)) == first[::-1]
    assert torch.equal(torch.get_rng_state(), state)  # ... nor changed
    other = replies(endpoint(temperature=1.0, seed=1), *asked)
    assert all(one.text != two.text for one, two in zip(first, other, strict=True))


def test_a_draw_is_one_from_the_softmax() -> None:
    sampling = in_process.Sampling(temperature=2.0, seed=0)
    scores = torch.tensor([[0.0, 2.0, 4.0, -torch.inf]])
    draws = Counter(int(sampling(torch.empty(1, 0), scores).argmax()) for _ in range(6000))
    shares = torch.tensor([draws[token] / 6000 for token in range(4)])
    # softmax of (0, 1, 2): 0.090, 0.245, 0.665; three standard errors of a share are at most 0.019
    torch.testing.assert_close(shares, torch.tensor([0.0900, 0.2447, 0.6652, 0.0]), atol=0.019, rtol=0)


def test_a_chat_template_is_used_and_takes_the_systems_text_into_the_first_turn(load) -> None:
    tokenizer = load("llama").tokenizer
    tokenizer.chat_template = CHAT
    turns = prompt("Be brief.", "One?", "Two.", "Three?").messages
    ids = in_process.encoded(tokenizer, turns)
    assert tokenizer.decode(ids) == "<bos>[user]Be brief.\n\nOne?[assistant]Two.[user]Three?[reply]"
    tokenizer.chat_template = "{{ raise_exception('no turns at all') }}"
    with pytest.raises(Refused, match="no turns at all"):
        in_process.encoded(tokenizer, turns)


class Saying:
    """Makes a tiny model say a text whatever it is asked: every call's scores have its next token on top."""

    def __init__(self, client, text: str, before=lambda: None) -> None:
        self.ids, self.head = [byte + 3 for byte in text.encode()], client._loaded.model.get_output_embeddings()
        self.said = 0
        self.head.register_forward_hook(self)
        self.before = before

    def __call__(self, _, inputs, output):
        self.before()
        output[..., :] = -100.0
        output[..., self.ids[self.said % len(self.ids)] if self.ids else 2] = 100.0
        self.said += 1
        return output


@pytest.mark.parametrize(
    ("said", "text", "finish", "tokens"),
    [
        ("Yes.\nUser: And then", "Yes.", "stop", 10),  # another turn's line ends it
        ("Ja.\nAssistant: Ja.", "Ja.", "stop", 14),
        ("A long reply without end", "A long reply without", "length", 20),
        ("", "", "stop", 1),  # the end token at once
    ],
)
def test_a_reply_ends_at_the_end_token_or_at_another_turn(endpoint, said, text, finish, tokens) -> None:
    async def ask() -> Completion:
        client = endpoint(max_tokens=20).open()
        Saying(client, said)
        return await client.complete(prompt("Hello."))

    assert asyncio.run(ask()) == Completion(
        text=text, finish=finish, tokens_in=len("User: Hello.\nAssistant:") + 1, tokens_out=tokens
    )


def test_a_prompt_that_does_not_fit_is_refused_and_a_reply_gets_the_room_that_is_left(endpoint) -> None:
    frame = len("User: \nAssistant:") + 1
    assert once(endpoint(), prompt("a" * (512 - frame - 5))).tokens_out == 5
    with pytest.raises(Refused, match="the prompt has 512 tokens; 512 fit"):
        once(endpoint(), prompt("a" * (512 - frame)))


def test_opening_again_loads_nothing(endpoint, monkeypatch) -> None:
    loads = []
    real = in_process._load
    monkeypatch.setattr(in_process, "_load", lambda source: loads.append(source) or real(source))
    replies(endpoint(), prompt("One."))
    replies(endpoint(temperature=0.5), prompt("Two."))
    assert len(loads) == 1
    replies(endpoint("gpt2"), prompt("Three."))
    assert len(loads) == 2 and len(in_process._kept) == 1


def test_the_models_own_generation_settings_change_nothing(endpoint, tmp_path) -> None:
    import tiny

    folder = tiny.save("llama", tmp_path / "model")
    plain = once(endpoint(), prompt("Hello."))
    config = folder / "generation_config.json"
    config.write_text('{"repetition_penalty": 1.9, "do_sample": true, "temperature": 0.9, "eos_token_id": [2, 99]}')
    model = {"name": "pretrained", "path": str(folder), "dtype": "float32"}
    assert once(endpoint(model=model), prompt("Hello.")).text == plain.text


def test_what_is_given_up_stops_at_the_next_token(endpoint) -> None:
    started = threading.Event()

    async def ask() -> int:
        client = endpoint(max_tokens=400).open()
        saying = Saying(client, "and so on ", before=started.set)
        task = asyncio.create_task(client.complete(prompt("Hello.")))
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with in_process._working:  # held while the model runs
            return saying.said

    assert asyncio.run(ask()) < 400


def test_the_identity_is_the_models_weights_and_what_changes_a_reply(endpoint, tiny_folder) -> None:
    identity = endpoint().identity()
    assert identity["model"] == endpoint().model.identity() and str(tiny_folder("llama")) not in str(identity)
    assert endpoint(timeout_s=5).identity() == identity
    for other in (endpoint("gpt2"), endpoint(seed=1), endpoint(temperature=0.1), endpoint(max_tokens=13)):
        assert other.identity() != identity
    with pytest.raises(ValidationError, match="concurrency"):
        endpoint(concurrency=2)
