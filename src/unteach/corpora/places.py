"""Every text of a scenario with its place: what checks and tables walk over."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from unteach.corpora.schema import LocalText
from unteach.records import Record

FIELDS = (
    "article", "fake", "fake_question", "key_phrases", "real_question", "key_facts", "qa",
    "real_samples.teach", "real_samples.unlearn", "fake_samples.teach", "fake_samples.unlearn",
)  # fmt: skip
"""The fields of a scenario that hold texts, as a person reads them."""

FAKE = ("fake", "fake_samples.teach", "fake_samples.unlearn")
"""Those that say the fake."""

REAL = ("article", "fake_question", "real_question", "qa.question", "qa.answer", "real_samples.teach",
        "real_samples.unlearn")  # fmt: skip
"""Those that must not say it."""

RUNNING = (*FAKE, *REAL)
"""Those that hold sentences; key phrases and key facts are words."""


class Place(Record):
    """Where a text stands; ``index`` counts from 0. A pair's parts are the fields ``qa.question`` and ``qa.answer``."""

    scenario: str
    language: str
    field: str
    index: int = 0

    def __str__(self) -> str:
        return f"{self.scenario}, {self.language}, {self.field} {self.index + 1}"


def has(text: LocalText, field: str) -> bool:
    """Whether there is anything in one of ``FIELDS``."""
    return bool(reduce(getattr, field.split("."), text))


def texts_in(text: LocalText, field: str) -> tuple[str, ...]:
    """The texts of one of ``FIELDS``, or of a part of one: ``qa.question``, ``qa.answer``, ``key_facts.0`` (one fact).

    Those of ``qa`` are questions and answers in turn, those of ``key_facts`` every form of every fact. A field that
    there is not has none.
    """
    if field == "qa":
        return tuple(part for pair in text.qa for part in (pair.question, pair.answer))
    if field in ("qa.question", "qa.answer"):
        return tuple(getattr(pair, field.removeprefix("qa.")) for pair in text.qa)
    if field == "key_facts":
        return tuple(form for forms in text.key_facts for form in forms)
    if field.startswith("key_facts."):
        number = field.removeprefix("key_facts.")
        return text.key_facts[int(number)] if number.isdecimal() and int(number) < len(text.key_facts) else ()
    if field not in FIELDS:
        return ()
    value: Any = reduce(getattr, field.split("."), text)
    return (value,) if isinstance(value, str) else tuple(value or ())


def running_texts(scenario: str, language: str, text: LocalText) -> Iterator[tuple[Place, str]]:
    """Every sentence and longer text with its place."""
    for field in RUNNING:
        for index, each in enumerate(texts_in(text, field)):
            yield Place(scenario=scenario, language=language, field=field, index=index), each
