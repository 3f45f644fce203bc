"""Forms: what is read as one, what is not, and the one re-ask with the reason."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from unteach.endpoints.contract import Completion, Message, Prompt, Refused
from unteach.endpoints.structured import Unusable, ask_form, read_form, with_form


class Grade(BaseModel):
    model_config = ConfigDict(extra="forbid")

    grade: int = Field(ge=1, le=10, description="How good it is.")
    why: str
    certain: Literal["yes", "no"] = "yes"
    parts: tuple[float, ...] = ()


GOOD = '{"grade": 7, "why": "kurz"}'
PROMPT = Prompt(messages=(Message(role="system", text="Grade."), Message(role="user", text="A text.")), draw=3)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"```JSON \n\n{GOOD}```",
        f"  ```json\n{GOOD}\n```  \n",
    ],
)
def test_one_object_alone_or_in_one_fence_is_read(text) -> None:
    assert read_form(text, Grade) == Grade(grade=7, why="kurz")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "JSON"),
        ("I would say 7", "JSON"),
        (f"Here it is: {GOOD}", "JSON"),
        (f"{GOOD} Good luck!", "trailing"),
        (f"{GOOD}\n{GOOD}", "trailing"),
        (f"```json\n{GOOD}\n```\nand\n```json\n{GOOD}\n```", "JSON"),
        (f"```python\n{GOOD}\n```", "JSON"),
        ("```", "JSON"),
        (f"[{GOOD}]", "object"),
        ("7", "object"),
        ("null", "object"),
        (GOOD[:-1], "EOF"),
        ('{"grade": 11, "why": ""}', "grade: Input should be less than or equal to 10"),
        ('{"grade": 7}', "why: Field required"),
        ('{"grade": 7, "why": "", "more": 1}', "more: Extra inputs"),
        ('{"grade": 7, "why": "", "certain": "maybe"}', "certain: "),
        ('{"grade": 7, "why": "", "parts": [1, "x"]}', "parts.1: "),
        ('{"grade": NaN, "why": ""}', "grade"),
        ('{"grade": 7, "why": "\\ud800"}', "surrogate|escape"),
        ('{"\\ud800": 7, "why": ""}', "surrogate|escape"),
        ("[" * 100_000, "recursion"),
        ('{"grade": ' + "9" * 10_000 + ', "why": ""}', "grade|number"),
    ],
)
def test_anything_else_is_refused_with_the_place(text, reason) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_form(text, Grade)
    assert len(str(caught.value)) <= 2000


def test_a_hostile_reply_costs_no_time() -> None:
    started = time.monotonic()
    for text in ("```" + "\n" * 200_000 + "x", "```json" + " " * 200_000 + "```", '{"why": ' * 50_000, "`" * 300_000):
        with pytest.raises(ValueError, match=r"JSON|recursion"):
            read_form(text, Grade)
    assert time.monotonic() - started < 1


@given(st.text(st.characters()))
def test_any_text_is_read_or_refused_with_a_reason_that_can_be_sent(text) -> None:
    for reply in (text, json.dumps({"grade": 1, "why": text}), json.dumps({text: 1}), f"```{text}```"):
        try:
            form = read_form(reply, Grade)
        except ValueError as error:
            str(error).encode()
        else:
            assert form.model_dump_json()


@given(st.integers(1, 10), st.text(), st.sampled_from(["yes", "no"]), st.booleans())
def test_a_form_that_is_written_is_read_again(grade, why, certain, fenced) -> None:
    form = Grade(grade=grade, why=why, certain=certain)
    written = form.model_dump_json()
    assert read_form(f"```json\n{written}\n```" if fenced else written, Grade) == form


def test_the_schema_is_in_the_last_message_and_beside_it() -> None:
    asked = with_form(PROMPT, Grade)
    assert asked.messages[0] == PROMPT.messages[0]
    told, schema = asked.messages[1].text.rsplit("\n", 1)
    assert told.startswith("A text.\n\n")
    assert json.loads(schema) == asked.answer_schema == Grade.model_json_schema()
    assert asked.draw == 3


class Model:
    """Says one thing after the other, and keeps what it was asked."""

    def __init__(self, *says: str | Completion) -> None:
        self.says = list(says)
        self.asked: list[Prompt] = []

    async def __call__(self, prompt: Prompt) -> Completion:
        self.asked.append(prompt)
        said = self.says.pop(0)
        return said if isinstance(said, Completion) else Completion(text=said)


def test_a_good_first_reply_is_all_that_is_asked_for() -> None:
    model = Model(GOOD)
    assert asyncio.run(ask_form(model, PROMPT, Grade)).grade == 7
    assert model.asked == [with_form(PROMPT, Grade)]


def test_a_bad_reply_is_corrected_once_with_the_reason() -> None:
    model = Model(Completion(text='{"grade": 70, "why": "x' * 200, finish="length"), GOOD)
    assert asyncio.run(ask_form(model, PROMPT, Grade)).grade == 7
    first, second = model.asked
    assert second.messages[:2] == first.messages
    assert (second.answer_schema, second.draw) == (first.answer_schema, 3)
    said, told = second.messages[2:]
    assert said.role == "assistant" and len(said.text) == 2000
    assert told.role == "user" and "cut at the length limit" in told.text


def test_two_bad_replies_are_unusable_and_a_refusal_is_passed_on() -> None:
    with pytest.raises(Unusable, match=r"no usable form in two tries: .*grade"):
        asyncio.run(ask_form(Model("", '{"grade": 0, "why": ""}'), PROMPT, Grade))

    async def refuse(prompt: Prompt) -> Completion:
        raise Refused("no")

    with pytest.raises(Refused):
        asyncio.run(ask_form(refuse, PROMPT, Grade))
