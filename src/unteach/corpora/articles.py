"""Articles: what a corpus is made from."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from unteach.corpora.schema import Origin, Strict, Text
from unteach.languages.table import find


class Article(Strict):
    """One real article, and the false statement that is to be put into it, if its owner has one."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
    text: Text = Field(description="The whole article; paragraphs are separated by empty lines.")
    language: str = "en"
    title: Text | None = None
    statement: Text | None = Field(None, description="A false statement of one's own; without one it is invented.")
    origin: Origin

    @field_validator("language")
    @classmethod
    def _code(cls, name: str) -> str:
        return find(name).code
