"""OpenAI, and every server that speaks its chat completions: vLLM, llama.cpp, `transformers serve` and many more."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import openai as sdk
from pydantic import Field, field_validator

from unteach.endpoints.contract import ENDPOINTS, Again, Client, Completion, Endpoint, Prompt, Refused
from unteach.endpoints.http import bad_url, explain_status, retry_after
from unteach.endpoints.keys import find_key, needed_key, without_key
from unteach.errors import UserError
from unteach.registry import Runtime

_OPENAI = "https://api.openai.com/v1"
_FINISH: dict[str, Literal["stop", "length", "filter"]] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "filter",
}


@ENDPOINTS.register("openai")
class OpenAI(Endpoint):
    """A model behind an OpenAI-compatible server, by its chat completions."""

    source = "openai Python SDK"

    model: str = Field(min_length=1, description="As the server calls it.")
    base_url: str = Field(_OPENAI, description="Where the server is, ending in /v1 for most.")
    known_as: str | None = Field(
        None, description="Kept replies are found under this name instead of base_url, wherever the server is."
    )
    seed: int | None = Field(None, description="Sent as seed, plus the number of the draw, where it is given.")
    structured: Annotated[Literal["auto", "json_schema", "none"], Runtime()] = Field(
        "auto", description="Whether the server is asked to enforce a schema; auto: unless it refuses."
    )
    length_field: Annotated[Literal["max_completion_tokens", "max_tokens"], Runtime()] = Field(
        "max_tokens", description="What the server calls the limit; OpenAI's newer models want max_completion_tokens."
    )
    extra: dict[str, Any] = Field({}, description="Further fields of the request, such as top_p or reasoning_effort.")
    key_variable: Annotated[str, Runtime()] = Field("OPENAI_API_KEY", description="Environment variable of the key.")
    keyring: Annotated[str | None, Runtime()] = Field(None, description="SERVICE/USER of the key in the keyring.")

    @field_validator("base_url")
    @classmethod
    def _no_secrets(cls, url: str) -> str:
        if problem := bad_url(url):
            raise ValueError(problem)
        return url.rstrip("/")

    def identity(self) -> dict[str, Any]:
        found = super().identity()
        if self.known_as is not None:
            found["base_url"] = None
        return found

    @property
    def title(self) -> str:
        return f"{self.model} at {self.known_as or self.base_url}"

    def open(self) -> Client:
        own = self.base_url != _OPENAI
        key = find_key(self.key_variable, self.keyring)
        if key is None and not own:
            key = needed_key(self.key_variable, self.keyring, self.title)
        return _Client(self, key)


class _Client(Client):
    def __init__(self, endpoint: OpenAI, key: str | None) -> None:
        self._endpoint, self._key = endpoint, key
        self._enforces = endpoint.structured != "none"
        # Trying again is the service's work: it keeps claims and budgets in step with it.
        self._sdk = sdk.AsyncOpenAI(
            api_key=key or "none", base_url=endpoint.base_url, max_retries=0, timeout=endpoint.timeout_s + 5
        )

    async def close(self) -> None:
        await self._sdk.close()

    async def complete(self, prompt: Prompt) -> Completion:
        endpoint = self._endpoint
        body: dict[str, Any] = {
            "model": endpoint.model,
            "messages": [{"role": message.role, "content": message.text} for message in prompt.messages],
            "temperature": endpoint.temperature,
            endpoint.length_field: endpoint.max_tokens,
            **endpoint.extra,
        }
        if endpoint.seed is not None:
            body["seed"] = endpoint.seed + prompt.draw
        if prompt.answer_schema is not None and self._enforces:
            schema = {"name": "answer", "schema": prompt.answer_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        try:
            reply = await self._sdk.chat.completions.create(**body)
        except sdk.APIStatusError as error:
            told = without_key(error.message, self._key)
            if error.status_code in (400, 422, 501) and "response_format" in body and endpoint.structured == "auto":
                self._enforces = False  # asked without; if that is refused too, it was for another reason
                return await self.complete(prompt)
            explain_status(
                error.status_code, told, retry_after(error.response.headers), endpoint.title, endpoint.key_variable
            )
        except sdk.APITimeoutError as error:
            raise Again("the server was too slow", lost=True) from error
        except (sdk.APIConnectionError, sdk.APIResponseValidationError, json.JSONDecodeError) as error:
            cause = error.__cause__ or error
            told = without_key(f"{type(cause).__name__}: {cause}", self._key)
            raise Again(f"the connection or the reply broke ({told})", lost=True) from error
        except sdk.OpenAIError as error:
            raise UserError(f"{endpoint.title}: {without_key(str(error), self._key)}") from None
        return _read(reply)


def _read(reply: Any) -> Completion:
    """The first choice of a reply; servers send all kinds of things, and the SDK does not check them."""
    try:
        choice = reply.choices[0]
        text, finish = choice.message.content, choice.finish_reason
    except (AttributeError, IndexError, TypeError):
        raise Again("the reply is no chat completion with a choice", lost=True) from None
    if finish == "content_filter":
        raise Refused("the service's content filter withheld the reply")
    if getattr(choice.message, "refusal", None) and not text:
        text = choice.message.refusal
    if not isinstance(text, str):
        raise Again("the reply's choice has no text", lost=True)
    usage = getattr(reply, "usage", None)
    return Completion(
        text=text,
        finish=_FINISH.get(finish, "other"),
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
    )


def _count(usage: Any, name: str) -> int | None:
    number = getattr(usage, name, None)
    return number if isinstance(number, int) and number >= 0 else None
