"""Replies that were written beforehand: for tests, and for trying a spec without a model."""

from __future__ import annotations

import re

from pydantic import Field

from unteach.endpoints.contract import ENDPOINTS, Client, Completion, Endpoint, Prompt, Refused
from unteach.registry import Settings


class Rule(Settings):
    """A reply for prompts whose last message matches a regular expression: anywhere, any case, ``.`` any character."""

    when: str
    say: str = Field(description="The reply; ``\\1`` ... stand for groups of ``when``, ``{draw}`` for the draw.")


@ENDPOINTS.register("scripted")
class Scripted(Endpoint):
    """Says what its first matching rule says, and refuses a prompt that none matches."""

    source = "unteach"

    rules: tuple[Rule, ...] = Field(min_length=1)

    @property
    def title(self) -> str:
        return "scripted"

    def open(self) -> Client:
        return _Player(self)


class _Player(Client):
    def __init__(self, endpoint: Scripted) -> None:
        self._rules = [(re.compile(r.when, re.IGNORECASE | re.DOTALL), r.say) for r in endpoint.rules]

    async def complete(self, prompt: Prompt) -> Completion:
        asked = prompt.messages[-1].text
        for pattern, say in self._rules:
            if found := pattern.search(asked):
                text = found.expand(say).replace("{draw}", str(prompt.draw))
                return Completion(text=text, tokens_in=len(asked.split()), tokens_out=len(text.split()))
        raise Refused("no rule of the script matches")
