"""Replies with fields: the schema in the prompt, a strict reading of the reply, and one more try with the reason."""

from __future__ import annotations

import functools
import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from unteach.endpoints.contract import Message, Prompt
from unteach.endpoints.service import Ask

F = TypeVar("F", bound=BaseModel)

_SHOWN = 2000


class Unusable(Exception):
    """A text model gave no usable form, also when told what was wrong with its first one."""


@functools.cache
def _schema(form: type[BaseModel]) -> dict[str, Any]:
    return form.model_json_schema()


def with_form(prompt: Prompt, form: type[BaseModel]) -> Prompt:
    """The prompt with the form's JSON Schema: said in the last message, and given to endpoints that can enforce it."""
    schema = _schema(form)
    last = prompt.messages[-1]
    told = f"{last.text}\n\nAnswer with one JSON object and nothing else. Its JSON Schema:\n{json.dumps(schema)}"
    messages = (*prompt.messages[:-1], last.model_copy(update={"text": told}))
    return prompt.model_copy(update={"messages": messages, "answer_schema": schema})


def read_form(text: str, form: type[F]) -> F:
    """The form from a reply that is one JSON object, alone or in one code fence; anything around it is refused.

    Raises:
        ValueError: why it cannot be read, naming the field.
    """
    try:
        return form.model_validate_json(_unfenced(text.strip()))
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, p['loc'])) or 'the object'}: {p['msg']}" for p in error.errors())
        raise ValueError("; ".join(problems)[:_SHOWN]) from None


def _unfenced(text: str) -> str:
    if text.startswith("```") and text.endswith("```"):
        opening, _, inner = text[3:-3].partition("\n")
        if opening.strip().lower() in ("", "json"):
            return inner
    return text


async def ask_form(ask: Ask, prompt: Prompt, form: type[F]) -> F:
    """Ask for a form; once more, with the reason, if the first reply is none.

    Raises:
        Unusable: the second reply is none either.
        Refused: the prompt will never be answered.
    """
    asked = with_form(prompt, form)
    reply = await ask(asked)
    try:
        return read_form(reply.text, form)
    except ValueError as error:
        reason = str(error)
    cut = " It was cut at the length limit: be shorter." if reply.finish == "length" else ""
    correction = (
        Message(role="assistant", text=reply.text[:_SHOWN] or "(nothing)"),
        Message(role="user", text=f"That cannot be used: {reason}.{cut} Answer with the one JSON object alone."),
    )
    again = asked.model_copy(update={"messages": (*asked.messages, *correction)})
    try:
        return read_form((await ask(again)).text, form)
    except ValueError as error:
        raise Unusable(f"no usable form in two tries: {error}") from None
