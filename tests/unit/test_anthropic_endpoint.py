"""The Anthropic endpoint through the real SDK and real HTTP, against a small server that speaks the Messages API."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError
from serving import free_port

from unteach.endpoints.contract import ENDPOINTS, Again, Completion, Endpoint, Message, Prompt, Refused
from unteach.endpoints.service import Ask, Service, ask_one
from unteach.endpoints.structured import ask_form
from unteach.errors import UserError

KEY = "sk-invented-0123456789"
ASKED = Prompt(messages=(Message(role="user", text="What is moss?"),))
FORM = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}


def message(*content: dict[str, Any], reason: str | None = "end_turn", **usage: int) -> dict[str, Any]:
    """A message as the service sends it."""
    counted = {"input_tokens": 7, "output_tokens": 3, **usage}
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    return {**start, "content": list(content), "stop_reason": reason, "usage": counted}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def form(**values: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": values}


class Written:
    """A server whose answers are written beforehand: (status, body, headers); ``seen`` is what was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        self.seen: list[dict[str, Any]] = []
        self.headers: list[Any] = []

    def says(self, body: Any, status: int = 200, **headers: str) -> None:
        self.answers.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    def fails(self, status: int, kind: str, told: str, **headers: str) -> None:
        self.says({"type": "error", "error": {"type": kind, "message": told}}, status, **headers)


@pytest.fixture
def server() -> Iterator[Written]:
    service = Written()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/messages"
            service.headers.append(self.headers)
            service.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body, headers = service.answers.pop(0)
            if status == 0:  # hangs up without a word
                self.close_connection = True
                return
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-type": "application/json", "content-length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.handle_error = lambda *_: None  # a client that went away is no news
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    service.url = f"http://127.0.0.1:{http.server_address[1]}"
    yield service
    http.shutdown()
    http.server_close()


@pytest.fixture
def endpoint(server, monkeypatch, tmp_path) -> Callable[..., Endpoint]:
    """``endpoint(max_tokens=5)`` is the server as an endpoint."""
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    own = {"base_url": server.url, "key_variable": "ANTHROPIC_API_KEY", "first_wait_s": 0.01}

    def made(**settings: object) -> Endpoint:
        return ENDPOINTS.parse({"name": "anthropic", "model": "m", **own, **settings})

    return made


def once(endpoint: Endpoint, prompt: Prompt = ASKED) -> Completion:
    async def ask() -> Completion:
        client = endpoint.open()
        try:
            return await client.complete(prompt)
        finally:
            await client.close()

    return asyncio.run(ask())


def test_what_is_sent_and_what_comes_back(server, endpoint) -> None:
    turns = (("system", "Be brief."), ("user", "One?"), ("assistant", "Two."), ("system", "Be kind."), ("user", "3?"))
    server.says(message(text("Moss, "), {"type": "thinking", "thinking": "hm", "signature": "s"}, text("green.")))
    settings = {"max_tokens": 50, "extra": {"metadata": {"user_id": "u"}, "top_k": 4}}
    prompt = Prompt(messages=tuple(Message(role=role, text=said) for role, said in turns))
    found = once(endpoint(**settings), prompt)
    assert found == Completion(text="Moss, green.", finish="stop", tokens_in=7, tokens_out=3)
    assert server.seen == [
        {
            "model": "m",
            "max_tokens": 50,
            "system": "Be brief.\n\nBe kind.",
            "messages": [
                {"role": "user", "content": "One?"},
                {"role": "assistant", "content": "Two."},
                {"role": "user", "content": "3?"},
            ],
            "metadata": {"user_id": "u"},
            "top_k": 4,
        }
    ]


def test_a_temperature_is_sent_where_the_spec_says_so_and_never_left_out_silently(server, endpoint) -> None:
    server.says(message(text("a")))
    once(endpoint(temperature=0.7, sends_temperature=True))
    assert server.seen[0]["temperature"] == 0.7
    with pytest.raises(ValidationError, match="would not be sent; set sends_temperature: true"):
        endpoint(temperature=0.7)


def test_tokens_of_the_services_cache_count_as_read(server, endpoint) -> None:
    server.says(message(text("a"), cache_creation_input_tokens=20, cache_read_input_tokens=300))
    assert once(endpoint()).tokens_in == 327
    server.says({**message(text("a")), "usage": None})
    assert (found := once(endpoint())).tokens_in is None and found.tokens_out is None


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "other"),
        (None, "other"),
    ],
)
def test_why_a_reply_ended(server, endpoint, reason, finish) -> None:
    server.says(message(text("a"), reason=reason))
    assert once(endpoint()).finish == finish


def test_a_form_is_filled_in_by_a_tool(server, endpoint) -> None:
    server.says(message(text("Here it is."), form(colour="grün"), reason="tool_use"))
    found = once(endpoint(), ASKED.model_copy(update={"answer_schema": FORM}))
    assert json.loads(found.text) == {"colour": "grün"} and found.finish == "stop"
    (sent,) = server.seen
    assert sent["tool_choice"] == {"type": "tool", "name": "answer"}
    assert [(tool["name"], tool["input_schema"]) for tool in sent["tools"]] == [("answer", FORM)]


class Moss(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: str


def test_a_form_through_the_service_and_its_strict_reading(server, endpoint) -> None:
    async def job(ask: Ask) -> Moss:
        return await ask_form(ask, ASKED, Moss)

    server.says(message(form(color="green"), reason="tool_use"))  # another name than the schema's
    server.says(message(form(colour="green"), reason="tool_use"))
    assert ask_one(endpoint(), job) == Moss(colour="green")
    again = server.seen[1]["messages"]
    assert [turn["role"] for turn in again] == ["user", "assistant", "user"] and "colour" in again[2]["content"]
    assert ask_one(endpoint(), job) == Moss(colour="green") and len(server.seen) == 2  # kept


def test_a_service_that_refuses_forms_is_asked_without_from_then_on(server, endpoint) -> None:
    asked = ASKED.model_copy(update={"answer_schema": FORM})

    async def ask() -> list[str]:
        client = endpoint().open()
        found = [(await client.complete(asked.model_copy(update={"draw": draw}))).text for draw in range(2)]
        await client.close()
        return found

    server.fails(400, "invalid_request_error", "tools are not supported")
    server.says(message(text('{"colour": "green"}')))
    server.says(message(text('{"colour": "brown"}')))
    assert asyncio.run(ask()) == ['{"colour": "green"}', '{"colour": "brown"}']
    assert ["tools" in sent for sent in server.seen] == [True, False, False]


def test_a_prompt_that_is_refused_either_way_does_not_end_forms_for_the_others(server, endpoint) -> None:
    asked = ASKED.model_copy(update={"answer_schema": FORM})

    async def ask() -> str:
        client = endpoint().open()
        with pytest.raises(Refused, match="prompt is too long"):
            await client.complete(asked)
        found = (await client.complete(asked)).text
        await client.close()
        return found

    server.fails(400, "invalid_request_error", "prompt is too long")
    server.fails(400, "invalid_request_error", "prompt is too long")
    server.says(message(form(colour="green"), reason="tool_use"))
    assert json.loads(asyncio.run(ask())) == {"colour": "green"} and "tools" in server.seen[2]


@pytest.mark.parametrize(
    ("status", "kind", "told", "error", "match"),
    [
        (429, "rate_limit_error", "slow down", Again, "429"),
        (529, "overloaded_error", "Overloaded", Again, "529"),
        (500, "api_error", "oh", Again, "500"),
        (504, "timeout_error", "oh", Again, "504"),
        (400, "invalid_request_error", "prompt is too long", Refused, "prompt is too long"),
        (413, "request_too_large", "too large", Refused, "413"),
        (400, "invalid_request_error", "Your credit balance is too low", UserError, "the account has no credit"),
        (402, "billing_error", "pay", UserError, "the account has no credit"),
        (401, "authentication_error", f"invalid key {KEY}", UserError, "the key in ANTHROPIC_API_KEY is not accepted"),
        (403, "permission_error", "no", UserError, "is not accepted"),
        (404, "not_found_error", "model: m", UserError, "no such model or address"),
    ],
)
def test_what_a_failure_means(server, endpoint, status, kind, told, error, match) -> None:
    server.fails(status, kind, told)
    with pytest.raises(error, match=match) as caught:
        once(endpoint())
    assert KEY not in str(caught.value)
    if error is Again:
        assert not caught.value.lost and caught.value.wait is None


def test_a_server_that_is_not_there_costs_nothing(endpoint) -> None:
    with pytest.raises(Again) as caught:
        once(endpoint(base_url=f"http://127.0.0.1:{free_port()}"))
    assert not caught.value.lost


def test_what_the_server_asks_to_wait_is_passed_on(server, endpoint) -> None:
    server.fails(529, "overloaded_error", "Overloaded", retry_after="17")
    with pytest.raises(Again) as caught:
        once(endpoint())
    assert caught.value.wait == 17.0


def test_a_declined_reply_is_refused_and_not_bought_again(server, endpoint) -> None:
    server.says(message(reason="refusal"))
    for _ in range(2):
        with Service(endpoint()) as service, pytest.raises(Refused, match="withheld"):
            list(service.ask([ASKED]))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (0, b""),
        (200, b'{"id": "msg_1", "content": [{"ty'),
        (200, {"id": "msg_1", "type": "message"}),
        (200, {**message(), "content": [{"type": "text"}]}),
        (200, {**message(), "content": "moss"}),
        (200, [1, 2]),
        (200, b"null"),
    ],
)
def test_a_broken_reply_may_have_cost_something(server, endpoint, status, body) -> None:
    server.says(body, status)
    with pytest.raises(Again) as caught:
        once(endpoint())
    assert caught.value.lost


def test_a_slow_reply_is_given_up(server, endpoint) -> None:
    waiting = threading.Event()

    class Slow(list):
        def pop(self, _: int) -> tuple[int, Any, dict[str, str]]:
            waiting.wait(10)
            return 200, message(text("late")), {}

    server.answers = Slow()
    try:
        with (
            pytest.raises(UserError, match=r"no whole reply came within 0.2 s"),
            Service(endpoint(timeout_s=0.2, attempts=1)) as service,
        ):
            list(service.ask([ASKED]))
    finally:
        waiting.set()


def test_the_service_tries_again_and_pays_once(server, endpoint) -> None:
    server.fails(529, "overloaded_error", "Overloaded")
    server.fails(429, "rate_limit_error", "slow down", retry_after="0")
    server.says(message(text("green")))
    with Service(endpoint(price_in=1e6, price_out=1e6)) as service:
        assert [reply.text for reply in service.ask([ASKED, ASKED])] == ["green", "green"]
        purse = service.replies.purse("default")
    assert (len(server.seen), purse.tokens, purse.money, purse.lost_tokens) == (3, 10, 10.0, 0)


def test_the_sdks_own_variables_change_nothing(server, endpoint, monkeypatch, tmp_path) -> None:
    elsewhere = "http://127.0.0.1:9"
    monkeypatch.setenv("ANTHROPIC_BASE_URL", elsewhere)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another")
    monkeypatch.setenv("ANTHROPIC_PROFILE", "nobody")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-api-key: another")
    monkeypatch.setenv("ANTHROPIC_CONFIG_DIR", str(tmp_path))
    server.says(message(text("green")))
    assert once(endpoint()).text == "green"
    sent = str(server.headers[0])
    assert KEY in sent and "another" not in sent
    server.says(message(text("green")))
    assert once(endpoint(key_variable=None)).text == "green"  # a gateway without keys is given none
    assert "another" not in str(server.headers[1]) and KEY not in str(server.headers[1])


def test_keys_and_addresses(endpoint, monkeypatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    own = ENDPOINTS.parse({"name": "anthropic", "model": "m"})
    with pytest.raises(UserError, match="needs a key in the environment variable ANTHROPIC_API_KEY"):
        own.open()
    with pytest.raises(ValidationError, match="keys do not belong in an address") as caught:
        endpoint(base_url="http://user:secret@localhost")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValidationError, match="temperature: the endpoint sets these itself"):
        endpoint(extra={"temperature": 1})


def test_the_identity_has_no_key_and_no_place_where_a_name_is_given(endpoint) -> None:
    identity = endpoint().identity()
    assert KEY not in str(identity) and identity["name"] == "anthropic" and identity["base_url"]
    assert endpoint(timeout_s=3, structured="none", key_variable="MINE", price_in=1).identity() == identity
    named = endpoint(known_as="gateway").identity()
    assert "base_url" not in named and named["known_as"] == "gateway"
    assert endpoint(extra={"top_k": 4}).identity() != identity
