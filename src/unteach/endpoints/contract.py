"""Endpoints: text models that are asked by prompt. One file per kind in ``kinds/``.

An endpoint is settings; ``open()`` gives a client that sends one prompt and gives one reply, once. What is around that
(keeping replies, concurrency, trying again, budgets) is the same for all and in ``service.py``.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field

from unteach.errors import UserError
from unteach.records import Record
from unteach.registry import Component, Registry, Runtime, Settings


class Message(Record):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


class Prompt(Record):
    """What a text model is asked.

    ``answer_schema`` is the JSON Schema that the reply is to follow, for endpoints that can enforce one; the messages
    describe it too. ``draw`` tells replies to the same messages apart: the first (0), the next, and so on.
    """

    messages: tuple[Message, ...]
    answer_schema: dict[str, Any] | None = None
    draw: int = 0


class Completion(Record):
    """A whole reply. Tokens are those that the endpoint counted; ``None`` where it does not say."""

    text: str
    finish: Literal["stop", "length", "filter", "other"] = "stop"
    tokens_in: int | None = None
    tokens_out: int | None = None


class Again(Exception):
    """No usable reply this time; asking again may give one.

    ``wait`` is what the server asks to wait, in seconds. ``lost`` says that the server may have written (and charged
    for) a reply that did not arrive.
    """

    def __init__(self, reason: str, *, wait: float | None = None, lost: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.lost = wait, lost


class Refused(Exception):
    """The endpoint will not answer this prompt, now or later (too long, filtered, malformed)."""


class Client(ABC):
    """An open endpoint; its methods run in one event loop."""

    @abstractmethod
    async def complete(self, prompt: Prompt) -> Completion:
        """One reply to one prompt, tried once.

        Raises:
            Again: it may work later.
            Refused: it never will, for this prompt.
            UserError: nothing will work (a wrong key, an unknown model); the message names the fix.
        """

    async def close(self) -> None:  # noqa: B027 (most hold nothing)
        """Give back what is held."""


class Budget(Settings):
    """What may be spent: in all that was ever bought under the purse's name, by any process that shares the replies."""

    tokens: int | None = Field(None, ge=1, description="Tokens read and written together.")
    money: float | None = Field(None, gt=0, description="In the endpoint's currency; needs prices.")
    purse: str = Field("default", min_length=1, description="The name under which spending is counted together.")


class Endpoint(Component):
    """A text model. Its model and what it is told decide a reply's key; the rest changes only how it is asked."""

    temperature: float = Field(0.0, ge=0)
    max_tokens: int = Field(1024, ge=1, description="The longest reply, in tokens.")
    concurrency: Annotated[int, Runtime()] = Field(8, ge=1, description="Prompts that are asked at the same time.")
    attempts: Annotated[int, Runtime()] = Field(8, ge=1, description="How often a prompt is tried before giving up.")
    timeout_s: Annotated[float, Runtime()] = Field(120, gt=0, description="For one whole reply, in seconds.")
    first_wait_s: Annotated[float, Runtime()] = Field(1, ge=0, description="Before the second attempt; then doubled.")
    longest_wait_s: Annotated[float, Runtime()] = Field(
        60, ge=0, description="Between attempts; also the longest Retry-After that is waited for."
    )
    price_in: Annotated[float | None, Runtime()] = Field(None, ge=0, description="Money for a million tokens read.")
    price_out: Annotated[float | None, Runtime()] = Field(
        None, ge=0, description="Money for a million tokens written; left out with price_in, no money is counted."
    )
    currency: Annotated[str, Runtime()] = "USD"
    budget: Annotated[Budget, Runtime()] = Budget()
    offline: Annotated[bool, Runtime()] = Field(
        False, description="Use kept replies only; one that is missing is an error. Also by UNTEACH_OFFLINE=1."
    )

    @property
    @abstractmethod
    def title(self) -> str:
        """Model and place, for people and for the list of kept replies. Never holds a key."""

    @abstractmethod
    def open(self) -> Client:
        """Ready to ask; called in the event loop that the client will run in.

        Raises:
            UserError: a key or a library is missing.
        """

    def for_planning(self) -> Endpoint:
        """What to plan with: itself, or a stand-in that cannot answer where what it needs is not at hand."""
        return self

    def money(self, tokens_in: int | None, tokens_out: int | None) -> float | None:
        """Price of a reply; ``None`` without prices or where the tokens are unknown."""
        if self.price_in is None or self.price_out is None or tokens_in is None or tokens_out is None:
            return None
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6

    def most(self, prompt: Prompt) -> tuple[int, int]:
        """No more tokens than these are read and written: a token has at least one byte, a turn a few marks."""
        read = sum(len(message.text.encode()) + 16 for message in prompt.messages)
        schema = len(json.dumps(prompt.answer_schema)) if prompt.answer_schema else 0
        return read + schema + 64, self.max_tokens

    @property
    def is_offline(self) -> bool:
        """Whether kept replies alone are to be used."""
        return self.offline or os.environ.get("UNTEACH_OFFLINE", "") not in ("", "0")

    def check(self) -> None:
        """Whether it can be asked, as far as can be told without asking: before a run spends hours on what comes first.

        Raises:
            UserError: a key is missing, or a budget cannot be kept.
        """
        self.check_budget()

    def check_budget(self) -> None:
        """Raises ``UserError`` where money is limited but not counted."""
        if self.budget.money is not None and (self.price_in is None or self.price_out is None):
            raise UserError(
                f"budget.money: {self.budget.money} {self.currency} cannot be kept without prices; give price_in and "
                "price_out (money for a million tokens), or limit budget.tokens instead."
            )


ENDPOINTS: Registry[Endpoint] = Registry("endpoint", Endpoint, "unteach.endpoints.kinds")
