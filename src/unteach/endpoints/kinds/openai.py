"""OpenAI, and every server that speaks its chat completions: vLLM, llama.cpp, `transformers serve` and many more."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, NoReturn

from pydantic import Field

from unteach.endpoints.contract import ENDPOINTS, Again, Client, Completion, Prompt, Refused
from unteach.endpoints.hosted import Hosted, SdkClient, count
from unteach.endpoints.http import explain_status, retry_after
from unteach.endpoints.keys import without_key
from unteach.errors import UserError
from unteach.registry import Runtime

_OPENAI = "https://api.openai.com/v1"
_FINISH: dict[str, Literal["stop", "length", "filter"]] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "filter",
}
_WAYS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "json_schema": lambda schema: {
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    },
    "json_object": lambda schema: {"response_format": {"type": "json_object", "schema": schema}},
    "none": lambda schema: {},
}


@ENDPOINTS.register("openai")
class OpenAI(Hosted):
    """A model behind an OpenAI-compatible server, by its chat completions."""

    source = "openai Python SDK"
    own_variable = "OPENAI_API_KEY"
    own_fields = frozenset(
        {"model", "messages", "temperature", "max_tokens", "max_completion_tokens", "seed", "n", "stream"}
    )

    base_url: str = Field(_OPENAI, description="Where the server is, ending in /v1 for most.")
    seed: int | None = Field(None, description="Sent as seed, plus the number of the draw, where it is given.")
    structured: Annotated[Literal["auto", "json_schema", "json_object", "none"], Runtime()] = Field(
        "auto",
        description="How the server is asked to enforce a schema: as OpenAI or as llama.cpp has it, or not at all; "
        "auto: the first of these that it does not refuse.",
    )
    length_field: Annotated[Literal["max_completion_tokens", "max_tokens"], Runtime()] = Field(
        "max_tokens", description="What the server calls the limit; OpenAI's newer models want max_completion_tokens."
    )

    def open(self) -> Client:
        return _Client(self)


@cache
def _sdk() -> Any:
    """Imported when a client is opened: it takes a second, which no other command should wait for."""
    return importlib.import_module("openai")


class _Client(SdkClient):
    def __init__(self, endpoint: OpenAI) -> None:
        super().__init__(endpoint, _sdk(), "AsyncOpenAI")
        self._endpoint = endpoint
        self._ways: list[str] = list(_WAYS) if endpoint.structured == "auto" else [endpoint.structured]
        # The spec says on whose account: not OPENAI_ORG_ID, _PROJECT_ID.
        self._sdk.organization = self._sdk.project = None

    async def complete(self, prompt: Prompt) -> Completion:
        if prompt.answer_schema is None:
            return _read(await self._send(prompt))
        for way in (ways := self._ways):
            try:
                reply = await self._send(prompt, **_WAYS[way](prompt.answer_schema))
            except (Refused, Again) as failure:
                formless = isinstance(failure, Refused) or "response_format" in str(failure)  # llama.cpp's is a 500
                if way == ways[-1] or not formless:  # refused without a form too: it was for another reason
                    raise
            else:
                self._ways = ways[ways.index(way) :]
                return _read(reply)
        raise AssertionError("the last way returns or raises")

    async def _send(self, prompt: Prompt, **more: Any) -> Any:
        endpoint = self._endpoint
        body: dict[str, Any] = {
            "model": endpoint.model,
            "messages": [{"role": message.role, "content": message.text} for message in prompt.messages],
            "temperature": endpoint.temperature,
            endpoint.length_field: endpoint.max_tokens,
            **more,
        }
        if endpoint.seed is not None:
            body["seed"] = endpoint.seed + prompt.draw
        return await self._called(
            self._sdk.chat.completions.create(**body, extra_body=endpoint.extra), _sdk().OpenAIError
        )

    def _explain(self, error: Any) -> NoReturn:
        endpoint = self._endpoint
        status, told = error.status_code, without_key(error.message, self._key)
        if error.code == "insufficient_quota":  # comes as a 429, but no waiting helps
            status = 402
        if status == 400 and error.param in (endpoint.length_field, "temperature", "seed", *endpoint.extra):
            raise UserError(f"{endpoint.title}: {told} (See the endpoint's length_field, temperature, seed, extra.)")
        explain_status(status, told, retry_after(error.response.headers), endpoint.title, endpoint.variable)


def _read(reply: Any) -> Completion:
    """The first choice of a reply; servers send all kinds of things, and the SDK does not check them."""
    try:
        choice = reply.choices[0]
        message, finish = choice.message, choice.finish_reason
        text = message.content
    except (AttributeError, LookupError, TypeError):
        raise Again("the reply is no chat completion with a choice", lost=True) from None
    if text is None and finish in ("length", "content_filter"):
        text = ""  # all of it was hidden thought, or withheld
    text = text or getattr(message, "refusal", None) or text
    if not isinstance(text, str):
        raise Again("the reply's choice has no text", lost=True)
    usage = getattr(reply, "usage", None)
    return Completion(
        text=text,
        finish=_FINISH.get(str(finish), "other"),
        tokens_in=count(usage, "prompt_tokens"),
        tokens_out=count(usage, "completion_tokens"),
    )
