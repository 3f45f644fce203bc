"""Translations that are ready: by people, or by a system that is not here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from unteach.corpora.load import explain, raw_entries
from unteach.corpora.schema import Strict, Text
from unteach.errors import UserErrors
from unteach.languages.table import find
from unteach.makers.contract import TRANSLATORS, Source, Translated, Translator
from unteach.makers.translation_checks import Checks, checked
from unteach.progress import Progress


class Ready(Strict):
    """A ready translation of the text with this id, or of this source text, or of both."""

    id: Text | None = None
    source: Text | None = None
    language: Text
    text: Text

    @field_validator("language")
    @classmethod
    def _code(cls, name: str) -> str:
        return find(name).code

    @model_validator(mode="after")
    def _can_be_found(self) -> Ready:
        if self.id is None and self.source is None:
            raise ValueError("give the id of the text, or the source text, or both")
        return self


_Found = dict[tuple[str, str], Ready]


@TRANSLATORS.register("files")
class Files(Translator):
    """Ready translations from files: a JSON list, or JSON lines, of ``{"id", "source", "language", "text"}``.

    One is found by the id of the text, else by the source text. Where an entry has both, a text of that id that is not
    the source text any more is not translated by it.
    """

    source = "unteach"

    paths: tuple[Path, ...] = Field(min_length=1, description="Files, or folders of them.")
    by: str = Field("ready translations", min_length=1, description="Who translated, for the texts' origin.")
    checks: Checks = Checks()

    @property
    def title(self) -> str:
        return self.by

    def identity(self) -> dict[str, Any]:
        by_id, by_source = _read(self.paths)
        content = [ready.model_dump() for found in (by_id, by_source) for _, ready in sorted(found.items())]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        return {**super().identity(), "paths": None, "content": digest}

    def check(self, sources: Iterable[str], target: str) -> None:
        super().check(sources, target)
        _read(self.paths)

    def _translate(self, texts: Sequence[Source], target: str, progress: Progress) -> list[Translated]:
        by_id, by_source = _read(self.paths)
        found = []
        for source in texts:
            ready = by_id.get((target, source.id)) or by_source.get((target, source.text.strip()))
            if ready is None:
                found.append(Translated(text=None, problem=f"no ready translation into {target!r}"))
            elif ready.source is not None and ready.source != source.text.strip():
                problem = f"the ready translation of {source.id!r} is of another text"
                found.append(Translated(text=None, problem=problem, refused=ready.text))
            else:
                found.append(checked(source, target, ready.text, self.checks))
        return found


def _read(paths: tuple[Path, ...]) -> tuple[_Found, _Found]:
    """Entries by language and id, and by language and source text.

    Raises:
        UserErrors: everything that is wrong with the files, each with its place.
    """
    by_id: _Found = {}
    by_source: _Found = {}
    problems: list[str] = []
    for path in paths:
        for place, raw in raw_entries(path, problems):
            try:
                ready = Ready.model_validate(raw)
            except ValidationError as error:
                problems += [f"{place}: {line}" for line in explain(error)]
                continue
            # the same text in two places may be translated in two ways
            for found, name in ((by_id, ready.id), (by_source, ready.source)):
                is_other = name is not None and found.setdefault((ready.language, name), ready).text != ready.text
                if is_other and (found is by_id or ready.id is None):
                    problems.append(f"{place}: {name!r:.60} has another translation into {ready.language!r}")
    if problems:
        raise UserErrors("the ready translations cannot be used", problems)
    return by_id, by_source
