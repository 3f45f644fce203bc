"""An endpoint whose replies are written by a function of the test, for what a script of rules cannot say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unteach.endpoints.contract import Client, Completion, Endpoint, Prompt


class Played(Endpoint):
    """Replies with what ``play(prompt)`` gives (or raises), and notes every prompt in ``asked``."""

    play: Callable[[Prompt], str | Completion]
    asked: list[Prompt] = []
    known_as: str = "played"

    def identity(self) -> dict[str, Any]:
        return {"name": "played", "known_as": self.known_as}

    @property
    def title(self) -> str:
        return self.known_as

    def open(self) -> Client:
        return _Player(self)


class _Player(Client):
    def __init__(self, endpoint: Played) -> None:
        self._endpoint = endpoint

    async def complete(self, prompt: Prompt) -> Completion:
        self._endpoint.asked.append(prompt)
        said = self._endpoint.play(prompt)
        return said if isinstance(said, Completion) else Completion(text=said)


def said(prompt: Prompt) -> str:
    """Everything that a prompt says."""
    return "\n\n".join(message.text for message in prompt.messages)
