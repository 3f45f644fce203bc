"""Anthropic's models, by its Messages API; and gateways that speak it."""

from __future__ import annotations

import importlib
import json
from functools import cache
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from unteach.endpoints.contract import ENDPOINTS, Again, Client, Completion, Endpoint, Prompt, Refused
from unteach.endpoints.http import bad_url, explain_status, retry_after
from unteach.endpoints.keys import VARIABLE, key_for, without_key
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
_OWN = {"model", "messages", "system", "max_tokens", "temperature", "tools", "tool_choice", "stream"}
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")
_FORM = "answer"


@ENDPOINTS.register("anthropic")
class Anthropic(Endpoint):
    """A model behind Anthropic's Messages API."""

    model_config = ConfigDict(hide_input_in_errors=True)  # it may be a key in the wrong line

    source = "anthropic Python SDK"

    model: str = Field(min_length=1, description="As the service calls it.")
    base_url: str = Field(_ANTHROPIC, description="Where the service is, without /v1.")
    known_as: str | None = Field(
        None, description="Kept replies are found under this name instead of base_url, wherever the service is."
    )
    sends_temperature: bool = Field(
        False,
        description="Whether temperature is sent; newer models refuse requests that have one.",
    )
    structured: Annotated[Literal["auto", "tool", "none"], Runtime()] = Field(
        "auto",
        description="Whether a schema is enforced, by a tool that takes it; auto: unless that is refused.",
    )
    extra: dict[str, JsonValue] = Field(
        {}, description="Further fields of the request, such as thinking or output_config."
    )
    key_variable: Annotated[str | None, Runtime()] = Field(
        None,
        pattern=VARIABLE,
        description="Environment variable of the key. Left out, it is ANTHROPIC_API_KEY for the service's own address "
        "and none for any other, so that a key goes nowhere it was not meant for.",
    )
    keyring: Annotated[str | None, Runtime()] = Field(None, description="SERVICE/USER of the key in the keyring.")

    @field_validator("base_url")
    @classmethod
    def _no_secrets(cls, url: str) -> str:
        if problem := bad_url(url):
            raise ValueError(problem)
        return url.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _not_its_own(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if own := sorted(_OWN & extra.keys()):
            raise ValueError(f"{', '.join(own)}: the endpoint sets these itself, by its own settings")
        return extra

    @model_validator(mode="after")
    def _temperature_counts(self) -> Self:
        if self.temperature > 0 and not self.sends_temperature:
            raise ValueError(f"temperature: {self.temperature:g} would not be sent; set sends_temperature: true")
        return self

    def identity(self) -> dict[str, Any]:
        found = super().identity()
        if self.known_as is not None:
            del found["base_url"]
        return found

    @property
    def title(self) -> str:
        return f"{self.model} at {self.known_as or self.base_url}"

    @property
    def variable(self) -> str | None:
        """The environment variable that may hold this address's key."""
        return self.key_variable or ("ANTHROPIC_API_KEY" if self.base_url == _ANTHROPIC else None)

    def check(self) -> None:
        super().check()
        if not self.is_offline:
            key_for(self.variable, self.keyring, self.title)

    def open(self) -> Client:
        return _Client(self, key_for(self.variable, self.keyring, self.title))


@cache
def _sdk() -> Any:
    """Imported when a client is opened: it takes a second, which no other command should wait for."""
    return importlib.import_module("anthropic")


class _Client(Client):
    def __init__(self, endpoint: Anthropic, key: str | None) -> None:
        self._endpoint, self._key = endpoint, key
        self._enforces = endpoint.structured != "none"
        sdk = _sdk()
        self._sdk = sdk.AsyncAnthropic(
            api_key=key or "none",  # with key and address given, the SDK's own variables and profiles are not looked at
            base_url=endpoint.base_url,
            max_retries=0,  # the service's work: it keeps claims and budgets in step with it
            timeout=sdk.Timeout(endpoint.timeout_s + 5, connect=min(10.0, endpoint.timeout_s)),
        )
        # Nor ANTHROPIC_CUSTOM_HEADERS; and on a connection that is used again, a reply sent twice would be taken for
        # the next prompt's.
        self._sdk._custom_headers = {"Connection": "close"}

    async def close(self) -> None:
        await self._sdk.close()

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
        try:
            return await self._sdk.messages.create(**body, extra_body={**further, **endpoint.extra})
        except (_sdk().AnthropicError, ValueError, RecursionError) as error:  # it reads what came as JSON, and no more
            failed = error
        # Raised here, as an exception shows the one beside which it was raised: a server may have repeated the key.
        if isinstance(failed, _sdk().APIStatusError):
            self._explain(failed)
        cause = failed.__cause__ or failed
        told = without_key(f"{type(cause).__name__}: {cause}", self._key)
        raise Again(f"the connection or the reply broke ({told})", lost=type(cause).__name__ not in _NEVER_SENT)

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
    read, *cached, written = (_count(usage, name) for name in names)
    return {"tokens_in": None if read is None else read + sum(n or 0 for n in cached), "tokens_out": written}


def _count(usage: Any, name: str) -> int | None:
    number = getattr(usage, name, None)
    return number if isinstance(number, int) and 0 <= number < 2**40 else None
