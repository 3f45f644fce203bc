"""Safety items: a question that must not be answered, attacks on it, and what is good and bad to say, by language.

An item has the fields of SafeEdit (paper B, sections 3 and 4.1): the adversarial prompt is what a model is edited on
and attacked with, the four generalisation inputs test what else is defended, and the general-knowledge pair tests what
must not change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError, field_validator

from unteach.corpora.load import explain, raw_entries
from unteach.corpora.schema import Origin, Strict, Text
from unteach.errors import UserErrors
from unteach.languages.table import find
from unteach.records import GENERALISATION, Input, Request

EMBEDDED = Path(__file__).parent / "data" / "guarded"

INPUTS: tuple[Input, ...] = ("attack", *GENERALISATION, "knowledge")


class ItemText(Strict):
    """One item in one language. Only what an experiment uses has to be there."""

    origin: Origin
    question: Text = Field(description="What must not be answered.")
    adversarial_prompt: Text = Field(description="The question inside an attack.")
    unsafe_response: Text
    safe_response: Text
    other_attack: Text | None = Field(None, description="The same question inside another attack.")
    other_question: Text | None = Field(None, description="Another question inside the same attack.")
    other_question_attack: Text | None = Field(None, description="Another question inside another attack.")
    knowledge_prompt: Text | None = None
    knowledge_answer: Text | None = None
    key_phrases: tuple[tuple[Text, ...], ...] = Field(
        (), description="The guarded content, piece by piece, each with every form it takes; a reply with one gives it."
    )

    def input(self, kind: Input) -> str | None:
        """The text of one input, ``None`` where the item has none."""
        return {
            "attack": self.adversarial_prompt,
            "onlyQ": self.question,
            "otherA": self.other_attack,
            "otherQ": self.other_question,
            "otherAQ": self.other_question_attack,
            "knowledge": self.knowledge_prompt,
        }[kind]


class SafetyItem(Strict):
    """One guarded question with all that belongs to it, in any number of languages."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
    texts: dict[str, ItemText] = Field(description="By BCP-47 code.", min_length=1)

    @field_validator("texts")
    @classmethod
    def _known_languages(cls, texts: dict[str, ItemText]) -> dict[str, ItemText]:
        for code in texts:
            if (found := find(code).code) != code:
                raise ValueError(f"write the language code {code!r} as {found!r}")
        return texts

    @property
    def key_phrases(self) -> tuple[str, ...]:
        """All forms of the guarded content in every language."""
        forms = (form for text in self.texts.values() for piece in text.key_phrases for form in piece)
        return tuple(dict.fromkeys(forms))


class ItemSet:
    """Safety items in the order of their ids."""

    def __init__(self, items: Iterable[SafetyItem], name: str) -> None:
        self.items = tuple(sorted(items, key=lambda item: item.id))
        self.name = name

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[SafetyItem]:
        return iter(self.items)

    @cached_property
    def by_id(self) -> dict[str, SafetyItem]:
        """Items by id."""
        return {item.id: item for item in self.items}

    @cached_property
    def key_phrases(self) -> tuple[str, ...]:
        """The guarded content of all items: another item's recipe is no defence."""
        return tuple(dict.fromkeys(phrase for item in self.items for phrase in item.key_phrases))

    def requests(self, language: str, inputs: Sequence[Input]) -> list[Request]:
        """These inputs of every item that has them, input by input."""
        return [
            Request(item=item.id, input=kind, language=language, text=text)
            for kind in inputs
            for item in self.items
            if language in item.texts and (text := item.texts[language].input(kind)) is not None
        ]

    def digest(self, languages: Iterable[str] | None = None) -> str:
        """Hash of the texts in these languages (all, if left out), without their origins."""
        wanted = None if languages is None else set(languages)
        content = [
            [i.id, {c: t.model_dump(exclude={"origin"}) for c, t in i.texts.items() if wanted is None or c in wanted}]
            for i in self.items
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def missing(self, language: str, fields: Iterable[str]) -> list[str]:
        """What the set lacks for a use: one sentence a field, naming the items without it."""
        problems = []
        for field in fields:
            lacking = [
                item.id for item in self if language not in item.texts or not getattr(item.texts[language], field)
            ]
            if lacking:
                more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
                problems.append(
                    f"items {self.name!r} have no {field!r} in language {language!r} for {', '.join(lacking[:3])}{more}"
                )
        return problems


def load_items(path: Path | None = None, limit: int | None = None) -> ItemSet:
    """The items at ``path`` (a file, or a folder of .json, .jsonl, .yaml files), or the embedded ``guarded`` set.

    Raises:
        UserErrors: everything that is wrong with the files, each with its place and the fix.
    """
    name = "guarded" if path is None else str(path)
    problems: list[str] = []
    items: dict[str, SafetyItem] = {}
    for place, raw in raw_entries(EMBEDDED if path is None else path, problems):
        try:
            item = SafetyItem.model_validate(raw)
        except ValidationError as error:
            problems += [f"{place}: {line}" for line in explain(error)]
            continue
        if item.id in items:
            problems.append(f"{place}: id {item.id!r} is used twice; ids must be unique")
        items[item.id] = item
    if not items and not problems:
        problems.append(f"{path}: no items found")
    if problems:
        raise UserErrors(f"the items {name!r} cannot be used", problems)
    found = ItemSet(items.values(), name)
    return ItemSet(found.items[:limit], name) if limit else found
