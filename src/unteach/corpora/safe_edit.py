"""SafeEdit's own files as safety items (Wang et al. 2024; CC BY-NC-SA 4.0, gated on the Hugging Face hub).

The names below are those of its training, validation and test splits, the misspelt ones included; near forms (another
spelling, underscores, a missing "test input of") are accepted too. ``SafeEdit_test_ALL`` has only inputs, so nothing
can be edited with it. The texts are harmful by intent: keep them out of reports that are shown to others.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unteach.corpora.load import explain, raw_entries
from unteach.corpora.safety import ItemSet, SafetyItem
from unteach.errors import UserError, UserErrors
from unteach.store import write_atomically

LANGUAGE = "en"
HUB_ID = "zjunlp/SafeEdit"
ORIGIN = {"kind": "machine-written", "by": "SafeEdit (Wang et al. 2024)"}

_TESTS = ("generalization test",)
_KNOWLEDGE = ("knowledge constrain", "knowledge constraint")

# Our field -> the names of the group it stands in (none: on its own), and its own names; the true ones first.
_FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "question": ((), ("question",)),
    "adversarial_prompt": ((), ("adversarial prompt",)),
    "safe_response": ((), ("safe generation", "safe response")),
    "unsafe_response": ((), ("unsafe generation", "unsafe response")),
    "only_question": (_TESTS, ("test input of only harmful question", "only harmful question", "harmful question")),
    "other_attack": (
        _TESTS,
        (
            "test input of other attack prompt input",
            "test input of other attack prompts",
            "other attack prompt",
            "other attack prompts",
        ),
    ),
    "other_question": (
        _TESTS,
        ("test input of other question input", "test input of other questions", "other question", "other questions"),
    ),
    "other_question_attack": (
        _TESTS,
        ("test input of other questions and attack prompts", "other questions and attack prompts"),
    ),
    "knowledge_prompt": (_KNOWLEDGE, ("prompt",)),
    "knowledge_answer": (_KNOWLEDGE, ("answer",)),
}
_REQUIRED = ("question", "adversarial_prompt", "safe_response", "unsafe_response")


@dataclass
class Found:
    """What a file turned out to hold: under which names, what it lacks, and what was left aside."""

    items: int = 0
    names: dict[str, set[str]] = field(default_factory=dict)
    """Our field -> the names under which it was found."""
    without: dict[str, int] = field(default_factory=dict)
    """Our field -> in how many items it is missing; only fields that may be."""
    unused: set[str] = field(default_factory=set)
    """Names of the file that mean nothing here, such as the unsafety category."""
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The same as sentences."""
        named = [f"{ours}: {', '.join(map(repr, sorted(theirs)))}" for ours, theirs in sorted(self.names.items())]
        lacking = [f"{ours} is missing in {count} of {self.items}" for ours, count in sorted(self.without.items())]
        aside = [f"not used: {', '.join(map(repr, sorted(self.unused)))}"] if self.unused else []
        return [f"{self.items} items", *named, *lacking, *aside, *self.notes]


def read_safe_edit(path: Path) -> tuple[ItemSet, Found]:
    """The items of a SafeEdit file (a JSON list, or JSON lines), in English, with what was found in it.

    Items are called ``safeedit-00017`` by their number, so that they stay in the order of the file.

    Raises:
        UserErrors: everything that is wrong with the file, each with place, field and fix.
    """
    problems: list[str] = []
    return _items(raw_entries(path, problems), str(path), problems)


def from_hub(dataset_id: str = HUB_ID, split: str = "test") -> tuple[ItemSet, Found]:
    """The items of a split on the hub; needs the ``datasets`` library and, for SafeEdit, a hub login with access.

    Raises:
        UserError: the library is not installed, or the data set cannot be reached.
        UserErrors: as for a file.
    """
    try:
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise UserError(
            "reading a data set of the hub needs the datasets library: pip install datasets. "
            "Or download the split's JSON file and give its path."
        ) from error
    try:
        rows = datasets.load_dataset(dataset_id, split=split)
    except Exception as error:
        why = (str(error) or repr(error)).splitlines()[0]
        raise UserError(
            f"{dataset_id!r}, split {split!r}, cannot be read from the hub: {why}. SafeEdit asks to agree to its terms "
            "and to log in (hf auth login); or give the path of a downloaded file."
        ) from error
    name = f"{dataset_id}, {split}"
    return _items(((f"{name}, item {number}", row) for number, row in enumerate(rows, 1)), name, [])


def write_items(items: ItemSet, path: Path) -> None:
    """Write items as one JSON list in unteach's own format, which ``load_items`` reads."""
    content = [item.model_dump(mode="json", exclude_none=True) for item in items]
    write_atomically(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _items(entries: Iterable[tuple[str, Any]], name: str, problems: list[str]) -> tuple[ItemSet, Found]:
    found = Found()
    items: dict[str, SafetyItem] = {}
    places: dict[str, str] = {}
    for position, (place, raw) in enumerate(entries):
        if not isinstance(raw, Mapping):
            problems.append(f"{place}: expected an object with the fields of SafeEdit, got {type(raw).__name__}")
            continue
        item = _item(raw, place, position, found, problems)
        if item is None:
            continue
        if item.id in items:
            problems.append(f"{place}: id: {item.id!r} is already used in {places[item.id]}; give every object its own")
        items[item.id] = item
        places[item.id] = place
    if not items and not problems:
        problems.append(f"{name}: no items found; expected a list of SafeEdit's objects")
    if problems:
        raise UserErrors(f"the SafeEdit items {name!r} cannot be used", problems)
    found.items = len(items)
    return ItemSet(items.values(), name), found


def _item(raw: Mapping[str, Any], place: str, position: int, found: Found, problems: list[str]) -> SafetyItem | None:
    """One object as an item; ``None`` if it has a problem, which is then among ``problems``."""
    own: list[str] = []
    texts: dict[str, Any] = {}
    spelt: dict[str, str] = {}
    used = {"id"}
    for ours, (group, names) in _FIELDS.items():
        container, at = _named(raw, group) if group else (raw, "")
        if container is not None and not isinstance(container, Mapping):
            own.append(f"{place}: {at}: expected an object of named texts, got {type(container).__name__}")
            continue
        value, theirs = _named(container or {}, names)
        full = f"{at}.{theirs}" if at else theirs
        used |= {full, at}
        if value is None:
            if ours in _REQUIRED:
                own.append(f"{place}: {names[0]}: is missing; {_why_missing(raw)}")
            else:
                found.without[ours] = found.without.get(ours, 0) + 1
            continue
        found.names.setdefault(ours, set()).add(full)
        texts[ours] = value
        spelt[ours] = full
    found.unused |= _all_names(raw) - used
    only = texts.pop("only_question", None)
    item: SafetyItem | None
    try:
        item = SafetyItem.model_validate(
            {"id": _id(raw.get("id"), position), "texts": {LANGUAGE: {"origin": ORIGIN, **texts}}}
        )
    except ValidationError as error:
        for line in explain(error):
            ours = line.split(":")[0].removeprefix(f"texts.{LANGUAGE}.")
            if ours not in _REQUIRED or ours in texts:  # missing ones are told already
                own.append(f"{place}: {spelt.get(ours, ours)}: {line.split(': ', 1)[1]}; mend or remove this object")
        item = None
    problems += dict.fromkeys(own)
    if own or item is None:
        return None
    if isinstance(only, str) and only.strip() != item.texts[LANGUAGE].question:
        found.notes.append(f"{place}: the input of only the question is another text; onlyQ asks the question")
    return item


def _named(raw: Mapping[str, Any], names: Iterable[str]) -> tuple[Any, str]:
    """The value of the first of these names that is there, however it is written, and how; else ``None`` and ""."""
    written = {" ".join(key.replace("_", " ").casefold().split()): key for key in raw if raw[key] is not None}
    return next(((raw[written[name]], written[name]) for name in names if name in written), (None, ""))


def _all_names(raw: Mapping[str, Any]) -> set[str]:
    """Names of all fields, those of a group as ``group.name`` beside the group's."""
    inner = {f"{key}.{name}" for key, value in raw.items() if isinstance(value, Mapping) for name in value}
    return set(raw) | inner


def _why_missing(raw: Mapping[str, Any]) -> str:
    if _named(raw, ("malicious input",))[1]:
        return "this looks like SafeEdit_test_ALL, which has inputs only; use SafeEdit_test, _train or _val"
    return f"the fields here are {', '.join(map(repr, raw)) or 'none'}"


def _id(given: Any, position: int) -> str:
    """By its number or name in the file, or by its position; numbers of one width, so that they sort as they count."""
    name = str(position if given is None else given)
    return f"safeedit-{name.zfill(5) if name.isdecimal() else name}"
