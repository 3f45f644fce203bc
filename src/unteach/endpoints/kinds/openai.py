"""OpenAI, and every server that speaks its chat completions: vLLM, llama.cpp, `transformers serve` and many more."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, NoReturn

from pydantic import ConfigDict, Field, JsonValue, field_validator

from unteach.endpoints.contract import ENDPOINTS, Again, Client, Completion, Endpoint, Prompt, Refused
from unteach.endpoints.http import bad_url, explain_status, retry_after
from unteach.endpoints.keys import VARIABLE, key_for, without_key
from unteach.errors import UserError
from unteach.registry import Runtime

_OPENAI = "https://api.openai.com/v1"
_FINISH: dict[str, Literal["stop", "length", "filter"]] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "filter",
}
_OWN = {"model", "messages", "temperature", "max_tokens", "max_completion_tokens", "seed", "n", "stream"}
_WAYS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "json_schema": lambda schema: {
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    },
    "json_object": lambda schema: {"response_format": {"type": "json_object", "schema": schema}},
    "none": lambda schema: {},
}
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")


@ENDPOINTS.register("openai")
class OpenAI(Endpoint):
    """A model behind an OpenAI-compatible server, by its chat completions."""

    model_config = ConfigDict(hide_input_in_errors=True)  # it may be a key in the wrong line

    source = "openai Python SDK"

    model: str = Field(min_length=1, description="As the server calls it.")
    base_url: str = Field(_OPENAI, description="Where the server is, ending in /v1 for most.")
    known_as: str | None = Field(
        None, description="Kept replies are found under this name instead of base_url, wherever the server is."
    )
    seed: int | None = Field(None, description="Sent as seed, plus the number of the draw, where it is given.")
    structured: Annotated[Literal["auto", "json_schema", "json_object", "none"], Runtime()] = Field(
        "auto",
        description="How the server is asked to enforce a schema: as OpenAI or as llama.cpp has it, or not at all; "
        "auto: the first of these that it does not refuse.",
    )
    length_field: Annotated[Literal["max_completion_tokens", "max_tokens"], Runtime()] = Field(
        "max_tokens", description="What the server calls the limit; OpenAI's newer models want max_completion_tokens."
    )
    extra: dict[str, JsonValue] = Field(
        {}, description="Further fields of the request, such as top_p or reasoning_effort."
    )
    key_variable: Annotated[str | None, Runtime()] = Field(
        None,
        pattern=VARIABLE,
        description="Environment variable of the key. Left out, it is OPENAI_API_KEY for the service's own address and "
        "none for any other, so that a key goes nowhere it was not meant for.",
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
        return self.key_variable or ("OPENAI_API_KEY" if self.base_url == _OPENAI else None)

    def check(self) -> None:
        super().check()
        if not self.is_offline:
            key_for(self.variable, self.keyring, self.title)

    def open(self) -> Client:
        return _Client(self, key_for(self.variable, self.keyring, self.title))


@cache
def _sdk() -> Any:
    """Imported when a client is opened: it takes a second, which no other command should wait for."""
    return importlib.import_module("openai")


class _Client(Client):
    def __init__(self, endpoint: OpenAI, key: str | None) -> None:
        self._endpoint, self._key = endpoint, key
        self._ways: list[str] = list(_WAYS) if endpoint.structured == "auto" else [endpoint.structured]
        sdk = _sdk()
        self._sdk = sdk.AsyncOpenAI(
            api_key=key or "none",
            base_url=endpoint.base_url,
            max_retries=0,  # the service's work: it keeps claims and budgets in step with it
            timeout=sdk.Timeout(endpoint.timeout_s + 5, connect=min(10.0, endpoint.timeout_s)),
        )
        # The spec says where prompts go and on whose account: not OPENAI_ORG_ID, _PROJECT_ID, _CUSTOM_HEADERS.
        self._sdk.organization = self._sdk.project = None
        # On a connection that is used again, a reply sent twice would be taken for the next prompt's.
        self._sdk._custom_headers = {"Connection": "close"}

    async def close(self) -> None:
        await self._sdk.close()

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
        try:
            return await self._sdk.chat.completions.create(**body, extra_body=endpoint.extra)
        except (_sdk().OpenAIError, ValueError, RecursionError) as error:  # it reads what came as JSON, and no more
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
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
    )


def _count(usage: Any, name: str) -> int | None:
    number = getattr(usage, name, None)
    return number if isinstance(number, int) and 0 <= number < 2**40 else None
