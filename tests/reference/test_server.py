"""Asking a real OpenAI-compatible server on the embedded model: forms, kept replies, and going on without it."""

from __future__ import annotations

import time

import pytest
from pydantic import BaseModel, ConfigDict
from serving import Server

from unteach.endpoints.contract import ENDPOINTS, Message, Prompt, Refused
from unteach.endpoints.replies import Replies
from unteach.endpoints.service import Ask, Service
from unteach.endpoints.structured import Unusable, ask_form
from unteach.errors import UserError

pytestmark = pytest.mark.gemma

QUESTIONS = (
    "What is the capital of France?",
    "Was ist die Hauptstadt von Frankreich?",
    "Name a colour.",
)


class Colour(BaseModel):
    """A form that a model this small may or may not fill in."""

    model_config = ConfigDict(extra="forbid")
    colour: str


async def colour(ask: Ask, question: str) -> str:
    """The colour, or that there is none in two tries: both are well-handled ends."""
    try:
        form = await ask_form(ask, Prompt(messages=(Message(role="user", text=question),)), Colour)
    except Unusable:
        return "(unusable)"
    return form.colour


def test_replies_are_kept_and_the_same_without_the_server(server: Server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    prompts = [Prompt(messages=(Message(role="user", text=question),)) for question in QUESTIONS]
    prompts.append(Prompt(messages=(Message(role="system", text="Answer in one word."), *prompts[0].messages)))
    endpoint = ENDPOINTS.parse(server.endpoint(max_tokens=16))
    with Service(endpoint) as service:
        started = time.monotonic()
        replies = list(service.ask(prompts))
        forms = list(service.map(colour, ["Which colour is grass?"]))
        took = time.monotonic() - started
    drawing = ENDPOINTS.parse(server.endpoint(temperature=1.0, seed=1, max_tokens=12, concurrency=1))
    with Service(drawing) as service:
        drawn = list(service.ask([prompts[2].model_copy(update={"draw": draw}) for draw in range(2)]))
    unknown = ENDPOINTS.parse(server.endpoint(model="another", attempts=1))
    with pytest.raises((Refused, UserError)), Service(unknown) as service:
        list(service.ask(prompts[:1]))

    assert "Paris" in replies[0].text
    assert all(reply.tokens_in and reply.tokens_out and reply.tokens_out <= 16 for reply in replies)
    assert len({reply.text for reply in drawn}) > 1
    asked = sum(row["replies"] for row in Replies().totals())
    assert asked >= len(prompts) + 1 + len(drawn)
    print(f"{asked} replies; {took / (len(prompts) + 2):.1f} s a request")

    monkeypatch.setenv("UNTEACH_OFFLINE", "1")
    with Service(endpoint) as service:
        assert list(service.ask(prompts)) == replies
        assert list(service.map(colour, ["Which colour is grass?"])) == forms
        with pytest.raises(UserError, match="offline"):
            list(service.ask([Prompt(messages=(Message(role="user", text="Something new"),))]))
    assert sum(row["replies"] for row in Replies().totals()) == asked
