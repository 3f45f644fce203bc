"""Reading scenarios from a file or a folder, with every problem found in one pass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from unteach.corpora.schema import LocalText, Scenario
from unteach.errors import UserError, UserErrors

EMBEDDED = Path(__file__).parent / "data" / "news"
_SUFFIXES = (".json", ".jsonl", ".yaml", ".yml")


class Corpus:
    """Scenarios in the order of their ids."""

    def __init__(self, scenarios: Iterable[Scenario], name: str) -> None:
        self.scenarios = tuple(sorted(scenarios, key=lambda scenario: scenario.id))
        self.name = name
        self._digests: dict[frozenset[str] | None, str] = {}

    def __len__(self) -> int:
        return len(self.scenarios)

    def __iter__(self) -> Iterator[Scenario]:
        return iter(self.scenarios)

    @cached_property
    def by_id(self) -> dict[str, Scenario]:
        """Scenarios by id."""
        return {scenario.id: scenario for scenario in self.scenarios}

    def digest(self, languages: Iterable[str] | None = None) -> str:
        """Hash of the texts in these languages (all, if left out): part of the key of every stage that reads them.

        Origins and scores are no part of it, nor is the order of languages in a file: none changes a result.
        """
        wanted = None if languages is None else frozenset(languages)
        if wanted not in self._digests:
            content = [
                [
                    s.id,
                    {c: _content(t) for c, t in s.texts.items() if wanted is None or c in wanted},
                ]
                for s in self.scenarios
            ]
            text = json.dumps(content, sort_keys=True)
            self._digests[wanted] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._digests[wanted]

    def missing(self, language: str, fields: Iterable[str], *, instead: str | None = None) -> list[str]:
        """What this corpus lacks for a use: one sentence for each field, naming the scenarios without it.

        Scenarios that have ``instead`` need none of the fields; a field may be dotted (``fake_samples.teach``).
        """
        problems = []
        for field in fields:
            texts = {scenario.id: scenario.texts.get(language) for scenario in self}
            lacking = [
                name for name, text in texts.items() if not _has(text, field) and not (instead and _has(text, instead))
            ]
            if lacking:
                shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
                having = sorted(
                    {code for scenario in self for code, text in scenario.texts.items() if _has(text, field)}
                )
                problems.append(
                    f"corpus {self.name!r} has no {field!r} in language {language!r} for {shown}; "
                    f"languages with some: {', '.join(having) or 'none'}"
                )
        return problems


def _content(text: LocalText) -> dict[str, Any]:
    """What decides results; fields that came later and are empty leave the digests of older corpora as they were."""
    later = {field for field in ("real_samples", "fake_samples") if not getattr(text, field)}
    return text.model_dump(exclude={"origin", "round_trip"} | later)


def _has(text: LocalText | None, field: str) -> bool:
    return text is not None and bool(reduce(getattr, field.split("."), text))


def load_corpus(path: Path | None = None) -> Corpus:
    """The corpus at ``path`` (a file, or a folder of .json, .jsonl, .yaml files), or the embedded one.

    Raises:
        UserErrors: everything that is wrong with the files, each with its place and the fix.
    """
    where = EMBEDDED if path is None else path
    name = "embedded" if path is None else str(path)
    problems: list[str] = []
    scenarios: list[Scenario] = []
    seen: dict[str, str] = {}
    for place, raw in raw_entries(where, problems):
        try:
            scenario = Scenario.model_validate(raw)
        except ValidationError as error:
            problems += [f"{place}: {line}" for line in explain(error)]
            continue
        if scenario.id in seen:
            problems.append(f"{place}: id {scenario.id!r} is already used in {seen[scenario.id]}; ids must be unique")
        seen.setdefault(scenario.id, place)
        scenarios.append(scenario)
    if not scenarios and not problems:
        problems.append(f"{where}: no scenarios found; expected files ending in {', '.join(_SUFFIXES)}")
    if problems:
        raise UserErrors(f"the corpus {name!r} cannot be used", problems)
    return Corpus(scenarios, name)


def raw_entries(where: Path, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Place and plain value of every entry of a file or folder; what cannot be read is added to ``problems``."""
    if not where.exists():
        raise UserError(
            f"there is nothing at {where}. Give a file or folder, or leave the path out for embedded texts."
        )
    files = [where]
    if where.is_dir():  # in which a build's report may lie beside its corpus
        files = sorted(p for p in where.iterdir() if p.suffix in _SUFFIXES and not p.name.endswith(".build.json"))
    for file in files:
        try:
            text = file.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            line = file.read_bytes()[: error.start].count(b"\n") + 1
            problems.append(f"{file}, line {line}: not valid UTF-8 (byte {error.start}); save the file as UTF-8")
            continue
        try:
            if file.suffix == ".jsonl":
                for number, row in enumerate(text.split("\n"), 1):
                    place = f"{file}, line {number}"
                    try:
                        if row.strip():
                            yield place, json.loads(row)
                    except json.JSONDecodeError as error:
                        problems.append(f"{place}: cannot be parsed: {error}")
            else:
                content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
                many = content if isinstance(content, list) else [content]
                for number, raw in enumerate(many, 1):
                    yield (f"{file}, item {number}" if len(many) > 1 else str(file)), raw
        except (json.JSONDecodeError, yaml.YAMLError) as error:
            problems.append(f"{file}: cannot be parsed: {error}")


def explain(error: ValidationError) -> list[str]:
    """One sentence for each problem: the field, what is wrong, and the value."""
    lines = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"]) or "the whole entry"
        given = problem.get("input")
        shown = "" if problem["type"] == "missing" or isinstance(given, dict) else f" (got {str(given)[:80]!r})"
        lines.append(f"{field}: {problem['msg'].removeprefix('Value error, ')}{shown}")
    return lines
