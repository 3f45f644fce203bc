"""Anthropic's models, by its Messages API; and gateways that speak it."""

from __future__ import annotations

import importlib
import json
from functools import cache
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import Field, model_validator

from unteach.endpoints.contract import ENDPOINTS, Again, Client, Completion, Prompt, Refused
from unteach.endpoints.hosted import Hosted, SdkClient, count
from unteach.endpoints.http import explain_status, retry_after
from unteach.endpoints.keys import without_key
from unteach.registry import Runtime

_ANTHROPIC = "https://api.anthropic.com"
_FINISH: dict[str, Literal["stop", "length", "filter"]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "filter",
}
_FORM = "answer"


@ENDPOINTS.register("anthropic")
class Anthropic(Hosted):
    """A model behind Anthropic's Messages API."""

    source = "anthropic Python SDK"
    own_variable = "ANTHROPIC_API_KEY"
    own_fields = frozenset(
        {"model", "messages", "system", "max_tokens", "temperature", "tools", "tool_choice", "stream"}
    )

    base_url: str = Field(_ANTHROPIC, description="Where the service is, without /v1.")
    sends_temperature: bool = Field(
        False,
        description="Whether temperature is sent; newer models refuse requests that have one.",
    )
    structured: Annotated[Literal["auto", "tool", "none"], Runtime()] = Field(
        "auto",
        description="Whether a schema is enforced, by a tool that takes it; auto: unless that is refused.",
    )

    @model_validator(mode="after")
    def _temperature_counts(self) -> Self:
        if self.temperature > 0 and not self.sends_temperature:
            raise ValueError(f"temperature: {self.temperature:g} would not be sent; set sends_temperature: true")
        return self

    def open(self) -> Client:
        return _Client(self)


@cache
def _sdk() -> Any:
    """Imported when a client is opened: it takes a second, which no other command should wait for."""
    return importlib.import_module("anthropic")


class _Client(SdkClient):
    def __init__(self, endpoint: Anthropic) -> None:
        super().__init__(endpoint, _sdk(), "AsyncAnthropic")
        self._endpoint = endpoint
        self._enforces = endpoint.structured != "none"

    async def complete(self, prompt: Prompt) -> Completion:
        if prompt.answer_schema is None or not self._enforces:
            return _read(await self._send(prompt))
        form = {"name": _FORM, "description": "Gives the answer.", "input_schema": prompt.answer_schema}
        try:
            reply = await self._send(prompt, tools=[form], tool_choice={"type": "tool", "name": _FORM})
        except Refused:
            if self._endpoint.structured != "auto":
                raise
            reply = await self._send(prompt)  # if that is refused too, it was for another reason
            self._enforces = False
        return _read(reply)

    async def _send(self, prompt: Prompt, **more: Any) -> Any:
        endpoint = self._endpoint
        turns = [{"role": message.role, "content": message.text} for message in prompt.messages]
        body: dict[str, Any] = {
            "model": endpoint.model,
            "max_tokens": endpoint.max_tokens,
            "messages": [turn for turn in turns if turn["role"] != "system"],
            **more,
        }
        if system := "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system"):
            body["system"] = system
        # Not as arguments: the SDK's are those of the newest models.
        further = {"temperature": endpoint.temperature} if endpoint.sends_temperature else {}
        return await self._called(
            self._sdk.messages.create(**body, extra_body={**further, **endpoint.extra}), _sdk().AnthropicError
        )

    def _explain(self, error: Any) -> NoReturn:
        endpoint = self._endpoint
        status, told = error.status_code, without_key(error.message, self._key)
        if status == 400 and "credit balance" in told:  # said of the account, not of the prompt
            status = 402
        explain_status(status, told, retry_after(error.response.headers), endpoint.title, endpoint.variable)


def _read(reply: Any) -> Completion:
    """A reply's text, or the filled-in form as JSON; gateways send all kinds of things, and the SDK does not check."""
    try:
        blocks, reason = list(reply.content), reply.stop_reason
        form = next((b.input for b in blocks if b.type == "tool_use" and b.name == _FORM), None)
        text = "".join(b.text for b in blocks if b.type == "text") if form is None else json.dumps(form)
    except (AttributeError, TypeError, ValueError):
        raise Again("the reply is no message with content", lost=True) from None
    return Completion(text=text, finish=_FINISH.get(str(reason), "other"), **_tokens(getattr(reply, "usage", None)))


def _tokens(usage: Any) -> dict[str, int | None]:
    """Tokens read (those written to and read from the service's cache too) and written."""
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    read, *cached, written = (count(usage, name) for name in names)
    return {"tokens_in": None if read is None else read + sum(n or 0 for n in cached), "tokens_out": written}
