"""The OpenAI endpoint: what it sends, what it makes of what comes back, and what it never shows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from faulty_server import FaultyServer, good_text
from pydantic import ValidationError

from unteach.endpoints.contract import Again, Budget, Completion, Message, Prompt, Refused
from unteach.endpoints.kinds.openai import OpenAI
from unteach.endpoints.service import Service, request_text
from unteach.errors import UserError

SCHEMA = {"type": "object", "properties": {"grade": {"type": "integer"}}}


@pytest.fixture(autouse=True)
def _own_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def prompt(text: str = "Wer baute die Brücke?", **more) -> Prompt:
    return Prompt(messages=(Message(role="system", text="Be brief."), Message(role="user", text=text)), **more)


def complete(endpoint: OpenAI, *prompts: Prompt) -> list[Completion]:
    """One client, its prompts one after the other, each tried once."""

    async def work() -> list[Completion]:
        client = endpoint.open()
        try:
            return [await client.complete(asked) for asked in prompts]
        finally:
            await client.close()

    return asyncio.run(work())


def replied(*, finish: object = "stop", usage: object = None, **message: object) -> tuple[int, bytes]:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    return 200, json.dumps({"id": "1", "choices": [choice], "usage": usage}).encode()


def ask_one_that_says(says: tuple[int, bytes], **settings) -> Completion:
    with FaultyServer(says=says) as server:
        endpoint = OpenAI(model="m", base_url=server.url, key_variable="OPENAI_API_KEY", **settings)
        return complete(endpoint, prompt())[0]


def test_it_sends_what_the_settings_and_the_prompt_say() -> None:
    extra = {"top_p": 0.5, "top_k": 20, "chat_template_kwargs": {"enable_thinking": False}}
    with FaultyServer() as server:
        own = {"temperature": 0.7, "max_tokens": 9, "seed": 5, "extra": extra, "key_variable": "OPENAI_API_KEY"}
        endpoint = OpenAI(model="m", base_url=server.url + "/", **own)
        (reply,) = complete(endpoint, prompt(draw=2))
    assert reply == Completion(text=good_text("Wer baute die Brücke?"), tokens_in=20, tokens_out=10)
    assert server.bodies == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Wer baute die Brücke?"},
            ],
            "temperature": 0.7,
            "max_tokens": 9,
            "seed": 7,
            **extra,
        }
    ]
    assert server.headers[0]["authorization"] == "Bearer sk-test"


def test_openai_variables_do_not_change_where_or_how_it_sends(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-from-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-from-environment")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer sk-other\nX-Own: from-environment")
    monkeypatch.setenv("MY_KEY", "sk-mine")
    with FaultyServer() as server:
        complete(OpenAI(model="m", base_url=server.url, key_variable="MY_KEY"), prompt())
    (headers,) = server.headers
    assert headers["authorization"] == "Bearer sk-mine"
    sent = json.dumps(headers)
    for word in ("from-environment", "sk-admin", "sk-other", "sk-test"):
        assert word not in sent
    assert OpenAI(model="m").base_url == "https://api.openai.com/v1"


def test_a_server_of_ones_own_needs_no_key(monkeypatch) -> None:
    with FaultyServer() as server:
        complete(OpenAI(model="m", base_url=server.url), prompt())
        assert "sk-test" not in json.dumps(server.headers)  # OpenAI's own key goes to no other address
    monkeypatch.delenv("OPENAI_API_KEY")
    with FaultyServer() as server:
        complete(OpenAI(model="m", base_url=server.url), prompt())
    with pytest.raises(UserError, match="environment variable OPENAI_API_KEY"):
        complete(OpenAI(model="m"), prompt())


def test_every_fault_is_told_as_what_it_means() -> None:
    expected = {
        "429": (False, "429"),
        "500": (False, "500"),
        "503": (False, "503"),
        "cut before the reply": (True, "RemoteProtocolError"),
        "cut inside the body": (True, "RemoteProtocolError"),
        "malformed JSON": (True, "JSONDecodeError"),
        "document twice": (True, "JSONDecodeError"),
        "wrong schema": (True, "no chat completion"),
        "empty choices": (True, "no chat completion"),
        "null content": (True, "no text"),
    }
    for fault, (lost, word) in expected.items():
        with FaultyServer(only=fault) as server, pytest.raises(Again, match=word) as caught:
            complete(OpenAI(model="m", base_url=server.url), prompt())
        assert (caught.value.lost, caught.value.wait) == (lost, None), fault


def test_a_server_that_is_not_there_has_charged_for_nothing() -> None:
    with pytest.raises(Again, match="ConnectError") as caught:
        complete(OpenAI(model="m", base_url="http://127.0.0.1:9/v1"), prompt())
    assert not caught.value.lost


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b'{"choices": "abc"}',
        b'{"choices": {"a": 1}}',
        b'{"choices": [null]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": ["a"]}}]}',
        b'{"choices": [{"finish_reason": ["stop"], "message": {"content": null}}]}',
        b"\xff\xfe\xfa",
        b'{"choices": "\xc3',
        b"[" * 100_000,
        b"<html>busy</html>",
    ],
)
def test_whatever_comes_instead_of_a_reply_is_asked_for_again(body) -> None:
    with pytest.raises(Again) as caught:
        ask_one_that_says((200, body))
    assert caught.value.lost
    assert len(str(caught.value)) < 500


def test_odd_replies_that_can_be_read() -> None:
    huge = {"prompt_tokens": 10**30, "completion_tokens": "7"}
    assert ask_one_that_says(replied(content="ja", finish=["x"], usage=huge)) == Completion(text="ja", finish="other")
    assert ask_one_that_says(replied(content="ja", finish=None, usage=[1])) == Completion(text="ja", finish="other")
    assert ask_one_that_says(replied(content="", finish="length")) == Completion(text="", finish="length")
    assert ask_one_that_says(replied(content=None, finish="length")) == Completion(text="", finish="length")
    assert ask_one_that_says(replied(content=None, refusal="I cannot.")).text == "I cannot."


def test_a_withheld_reply_is_charged_for_once(tmp_path) -> None:
    with FaultyServer(says=replied(content=None, finish="content_filter", usage={"prompt_tokens": 4})) as server:
        for _ in range(2):
            with (
                Service(OpenAI(model="m", base_url=server.url)) as service,
                pytest.raises(Refused, match="filter withheld"),
            ):
                list(service.ask([prompt()]))
        assert len(server.bodies) == 1


def error(message: str = "no", **more: object) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


@pytest.mark.parametrize(
    ("says", "kind", "words"),
    [
        ((400, error("too long")), Refused, "too long"),
        ((413, b"<html>"), Refused, "413"),
        ((501, error()), Refused, "501"),
        ((529, error()), Again, "529"),
        ((408, error()), Again, "408"),
        ((403, error()), UserError, "OPENAI_API_KEY"),
        ((402, error()), UserError, "no credit"),
        ((404, error()), UserError, "Check model and base_url"),
        ((405, error()), UserError, "Check model and base_url"),
        ((429, error("empty", code="insufficient_quota")), UserError, "no credit"),
        ((400, error("use max_completion_tokens", param="max_tokens")), UserError, "length_field"),
    ],
)
def test_failures_are_for_the_prompt_or_for_all_or_pass(says, kind, words) -> None:
    with pytest.raises(kind, match=words):
        ask_one_that_says(says)


def test_a_long_message_is_cut_and_cannot_steer_a_terminal() -> None:
    with pytest.raises(Refused) as caught:
        ask_one_that_says((400, error("\x1b[2J" + "no " * 10_000)))
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_a_schema_is_enforced_until_the_server_refuses_one() -> None:
    asked = [prompt("a", answer_schema=SCHEMA), prompt("b", answer_schema=SCHEMA), prompt("c")]
    with FaultyServer() as server:
        complete(OpenAI(model="m", base_url=server.url), *asked)
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    assert [body.get("response_format") for body in server.bodies] == [wanted, wanted, None]

    with FaultyServer(refuses_schema=True) as server:
        replies = complete(OpenAI(model="m", base_url=server.url), *asked)
        assert [reply.text for reply in replies] == [good_text("a"), good_text("b"), good_text("c")]
        assert ["response_format" in body for body in server.bodies] == [True, True, False, False, False]
        server.bodies.clear()
        complete(OpenAI(model="m", base_url=server.url, structured="none"), *asked)
        assert not any("response_format" in body for body in server.bodies)
        with pytest.raises(Refused, match="response_format"):
            complete(OpenAI(model="m", base_url=server.url, structured="json_schema"), *asked)


def test_a_prompt_that_is_refused_for_another_reason_does_not_end_enforcing() -> None:
    with FaultyServer(says=(400, error("too long"))) as server:

        async def work() -> None:
            client = OpenAI(model="m", base_url=server.url).open()
            for _ in range(2):
                with pytest.raises(Refused, match="too long"):
                    await client.complete(prompt(answer_schema=SCHEMA))
            await client.close()

        asyncio.run(work())
    assert ["response_format" in body for body in server.bodies] == [True, True, False, True, True, False]


@pytest.mark.parametrize("name", ["model", "messages", "n", "stream", "max_tokens", "max_completion_tokens", "seed"])
def test_extra_fields_cannot_undo_the_settings(name) -> None:
    with pytest.raises(ValidationError, match="the endpoint sets these itself"):
        OpenAI(model="m", extra={name: 3})


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "http://ann:sk-secret-1@host/v1"},
        {"base_url": "http://sk-secret-1@host/v1"},
        {"base_url": "https://host/v1?key=sk-secret-1"},
        {"base_url": "https://host/v1#sk-secret-1"},
        {"base_url": "sk-secret-1"},
        {"base_url": "http://[sk-secret-1"},
        {"base_url": "http://host:sk-secret-1/v1"},
        {"base_url": "http://host/sk-secret-1\n/v1"},
        {"key_variable": "sk-secret-1"},
    ],
)
def test_a_key_in_the_wrong_line_is_refused_and_not_repeated(wrong) -> None:
    with pytest.raises(ValidationError) as caught:
        OpenAI(model="m", **wrong)
    assert "secret-1" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8000/v1", "https://gate.example/v1/a@b", "http://[::1]:80/v1"])
def test_addresses_that_can_be_used(url) -> None:
    assert OpenAI(model="m", base_url=url).base_url == url


def key_of(**settings) -> str:
    endpoint = OpenAI(**{"model": "m", "base_url": "http://here/v1", **settings})
    return request_text(endpoint.identity(), prompt())


RUNTIME = {
    "concurrency": 2,
    "attempts": 2,
    "timeout_s": 2,
    "first_wait_s": 2,
    "longest_wait_s": 2,
    "price_in": 2,
    "price_out": 2,
    "currency": "EUR",
    "budget": Budget(tokens=2),
    "offline": True,
    "structured": "none",
    "length_field": "max_completion_tokens",
    "key_variable": "OTHER",
    "keyring": "a/b",
}
DECIDING = {
    "model": "other",
    "base_url": "http://there/v1",
    "known_as": "mine",
    "temperature": 0.5,
    "max_tokens": 5,
    "seed": 0,
    "extra": {"top_p": 0.5},
}


def test_every_setting_is_known_to_decide_a_reply_or_not_to() -> None:
    assert {*RUNTIME, *DECIDING} == set(OpenAI.model_fields)


@pytest.mark.parametrize("name", RUNTIME)
def test_how_it_is_asked_does_not_change_the_key(name) -> None:
    assert key_of(**{name: RUNTIME[name]}) == key_of()


@pytest.mark.parametrize("name", DECIDING)
def test_what_is_asked_changes_the_key(name) -> None:
    assert key_of(**{name: DECIDING[name]}) != key_of()


def test_a_known_server_may_move() -> None:
    assert key_of(known_as="mine") == key_of(known_as="mine", base_url="http://there/v1")
    assert key_of(known_as="mine") != key_of(known_as="yours")
    assert key_of(known_as="mine") != key_of(known_as="mine", model="other")


def test_replies_hold_no_key(tmp_path) -> None:
    with FaultyServer() as server, Service(OpenAI(model="m", base_url=server.url)) as service:
        list(service.ask([prompt()]))
    files = [path.read_bytes() for path in Path(tmp_path).glob("replies.sqlite*")]
    assert files and not any(b"sk-test" in content for content in files)
