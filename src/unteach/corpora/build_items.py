"""An item set of one's own: items chosen from a source, with ready translations of them.

The source has SafeEdit's format or that of unteach. A file of translations is a JSON list or JSON lines (``.jsonl``) of
objects, each one item in one language, with the fields of ``ItemText``:

    {"id": "safeedit-00017", "language": "es", "origin": {"kind": "machine-translated", "by": "NiuTrans"},
     "question": "...", "adversarial_prompt": "...", "unsafe_response": "...", "safe_response": "...", ...}

``origin`` may be left out, which the built set then says; so may texts, which then count as missing, and
``key_phrases``. One item in one language may be spread over several objects and files, if they have the same origin and
do not contradict each other.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from pydantic import ValidationError, field_validator

from unteach.corpora.load import explain, raw_entries
from unteach.corpora.safe_edit import from_hub, read_safe_edit
from unteach.corpora.safety import ItemSet, ItemText, SafetyItem, load_items
from unteach.corpora.schema import Origin, Strict, Text
from unteach.errors import UserError, UserErrors
from unteach.languages.table import LANGUAGES, find

FIELDS = tuple(name for name in ItemText.model_fields if name not in ("origin", "key_phrases"))
"""The fields that hold one text each."""

REQUIRED = tuple(name for name in FIELDS if ItemText.model_fields[name].is_required())
"""Those without which there is no item in a language."""

UNKNOWN = Origin(kind="machine-translated", by="not said in the translations file")
"""The origin of translations that give none: what promises least."""

_NAMED = 8
"""So many items are named where more are concerned."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class Translation(Strict):
    """One item in one language, or a part of it."""

    id: Text
    language: Text
    origin: Origin = UNKNOWN
    question: Text | None = None
    adversarial_prompt: Text | None = None
    unsafe_response: Text | None = None
    safe_response: Text | None = None
    other_attack: Text | None = None
    other_question: Text | None = None
    other_question_attack: Text | None = None
    knowledge_prompt: Text | None = None
    knowledge_answer: Text | None = None
    key_phrases: tuple[tuple[Text, ...], ...] = ()

    @field_validator("language")
    @classmethod
    def _code(cls, name: str) -> str:
        return find(name).code


Drafts = dict[str, dict[str, dict[str, Any]]]
"""Item -> language -> field -> value: what there is, whether or not it is enough."""


@dataclass(frozen=True)
class Built:
    """The set, and what is worth saying about it, as sentences."""

    items: ItemSet
    notes: tuple[str, ...] = ()


def read_source(source: str, split: str | None = None) -> tuple[ItemSet, list[str]]:
    """The items of a file or folder in either format, or of a split on the hub; and what was found, as sentences.

    Raises:
        UserError: there is nothing of that name, or it cannot be read.
        UserErrors: everything that is wrong with it.
    """
    path = Path(source)
    if path.exists():
        if split is not None:
            raise UserError(f"{source} is a file or folder here, which has no split {split!r}; leave --split out.")
        first = next((raw for _, raw in raw_entries(path, [])), None)
        if not isinstance(first, Mapping) or "texts" not in first:
            items, found = read_safe_edit(path)
            return items, ["SafeEdit's format", *found.lines()]
        items = load_items(path)
        return items, ["unteach's item format", f"{len(items)} items", *_used_fields(items)]
    if _HUB_ID.fullmatch(source) and path.suffix not in (".json", ".jsonl", ".yaml", ".yml"):
        items, found = from_hub(source, split or "test")
        return items, ["SafeEdit's format", *found.lines()]
    raise UserError(f"there is nothing at {source}. Give a file, a folder, or a data set's id on the hub (owner/name).")


def _used_fields(items: ItemSet) -> list[str]:
    """Which fields occur in which languages, those in the same languages together."""
    together: dict[str, list[str]] = {}
    counts = count(items)
    for field in (*FIELDS, "key_phrases"):
        together.setdefault(", ".join(code for code, have in counts.items() if have[field]), []).append(field)
    return [f"in {codes}: {', '.join(fields)}" for codes, fields in together.items() if codes]


def count(items: ItemSet) -> dict[str, dict[str, int]]:
    """In how many items each language has each field, and has any (``items``); languages in the table's order."""
    counts: dict[str, dict[str, int]] = {}
    for item in items:
        for code, text in item.texts.items():
            here = counts.setdefault(code, dict.fromkeys(("items", *FIELDS, "key_phrases"), 0))
            here["items"] += 1
            for field in (*FIELDS, "key_phrases"):
                here[field] += bool(getattr(text, field))
    return {code: counts[code] for code in _in_order(counts)}


def listed(words: str) -> list[str]:
    """What stands between commas."""
    return [word.strip() for word in words.split(",") if word.strip()]


def choose(
    items: ItemSet,
    first: int | None = None,
    sample: int | None = None,
    seed: int | None = None,
    ids: Sequence[str] = (),
) -> ItemSet:
    """The first so many by id, a random sample of so many (of the same seed, the same one), those named, or all.

    Raises:
        UserError: more than one way is named, or there are too few items.
        UserErrors: ids that no item has.
    """
    if sum((first is not None, sample is not None, bool(ids))) > 1:
        raise UserError("give one of --items, --sample and --ids: each chooses the items in its own way.")
    if seed is not None and sample is None:
        raise UserError("--seed belongs to --sample: nothing else is drawn.")
    for name, number in (("--items", first), ("--sample", sample)):
        if number is not None and not 1 <= number <= len(items):
            raise UserError(f"{name} {number}: {items.name!r} has {len(items)} items; choose 1 to {len(items)}.")
    unknown = [name for name in ids if name not in items.by_id]
    if unknown:
        raise UserErrors("items that are not there", (f"no item {name!r}. {_near(name, items)}" for name in unknown))
    chosen: Iterable[SafetyItem] = items
    if ids:
        chosen = [items.by_id[name] for name in dict.fromkeys(ids)]
    elif sample is not None:
        chosen = Random(seed or 0).sample(items.items, sample)
    elif first is not None:
        chosen = items.items[:first]
    return ItemSet(chosen, items.name)


def _near(name: str, items: ItemSet) -> str:
    close = difflib.get_close_matches(name, items.by_id, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Ids here look like {items.items[0].id!r}."


def read_translations(paths: Iterable[Path]) -> list[tuple[str, Translation]]:
    """Every translation of the files, with its place.

    Raises:
        UserErrors: everything that is wrong with the files, each with its place and the fix.
    """
    problems: list[str] = []
    found: list[tuple[str, Translation]] = []
    for path in paths:
        for place, raw in raw_entries(path, problems):
            try:
                translation = Translation.model_validate(raw)
            except ValidationError as error:
                problems += [f"{place}: {line}" for line in explain(error)]
                continue
            if not any(_texts(translation)):
                problems.append(f"{place}: has no text; its fields are {', '.join(FIELDS)}")
            found.append((place, translation))
    if problems:
        raise UserErrors("the translations cannot be used", problems)
    return found


def _texts(part: Translation | ItemText) -> Iterator[tuple[str, Any]]:
    """The fields that are there, and their values."""
    named = ((field, getattr(part, field)) for field in (*FIELDS, "key_phrases"))
    return ((field, value) for field, value in named if value)


def build(
    items: ItemSet,
    translations: Iterable[tuple[str, Translation]] = (),
    *,
    chosen: ItemSet | None = None,
    languages: Sequence[str] = (),
    partial: bool = False,
) -> Built:
    """The chosen items (all) in the chosen languages (all that occur), put together from source and translations.

    Every field that any chosen item has in any language is wanted of all of them in every chosen language. ``partial``
    takes what there is, without the items that lack a required field in a language.

    Raises:
        UserErrors: translations that do not fit, or everything that is missing.
    """
    every = _put_together(items, translations)
    drafts = {item.id: every[item.id] for item in (items if chosen is None else chosen)}
    found = _in_order({code for texts in drafts.values() for code in texts})
    codes = list(dict.fromkeys(find(code).code for code in languages)) or found
    missing, lines = _missing(drafts, codes)
    if missing and not partial:
        raise UserErrors(
            f"{missing} texts (item x language x field) are missing; add them with --translations FILE, choose other "
            "--languages, or take what there is with --partial",
            lines,
        )
    made, left_out = [], []
    for name, texts in drafts.items():
        whole = {code: texts[code] for code in codes if code in texts and _is_whole(texts[code])}
        left_out += [f"{name} ({code})" for code in codes if code in texts and code not in whole]
        if whole:
            made.append(SafetyItem.model_validate({"id": name, "texts": whole}))
    if not made:
        raise UserErrors("nothing is left to write: no item has all required fields", lines)
    notes = [f"missing: {line}" for line in lines]
    if left_out:
        notes.append(f"left out, for they lack one of {', '.join(REQUIRED)}: {_some(left_out)}")
    return Built(ItemSet(made, items.name), (*notes, *_without_phrases(made, codes)))


def _put_together(items: ItemSet, translations: Iterable[tuple[str, Translation]]) -> Drafts:
    """Source and translations as one; a text is never replaced, and texts of two origins are never one."""
    drafts: Drafts = {
        item.id: {code: {"origin": text.origin, **dict(_texts(text))} for code, text in item.texts.items()}
        for item in items
    }
    places = {(item.id, code): f"the source {items.name!r}" for item in items for code in item.texts}
    problems: list[str] = []
    for place, given in translations:
        if given.id not in drafts:
            problems.append(f"{place}: id: no item {given.id!r} in {items.name!r}. {_near(given.id, items)}")
            continue
        draft = drafts[given.id].setdefault(given.language, {"origin": given.origin})
        before = places.setdefault((given.id, given.language), place)
        if draft["origin"] != given.origin:
            problems.append(
                f"{place}: origin: {given.id!r} in {given.language!r} is from {before} already, which says "
                f"{_words(draft['origin'])}, not {_words(given.origin)}; a text in one language has one origin"
            )
            continue
        for field, value in _texts(given):
            if draft.setdefault(field, value) != value:
                problems.append(f"{place}: {field}: {given.id!r} in {given.language!r} has another one in {before}")
    if problems:
        raise UserErrors("the translations do not fit", problems)
    return drafts


def _words(origin: Origin) -> str:
    reviewed = ", reviewed by a native speaker" if origin.reviewed_by_native_speaker else ""
    return f"{origin.kind!r} by {origin.by!r}{reviewed}"


def _is_whole(draft: Mapping[str, Any]) -> bool:
    return all(field in draft for field in REQUIRED)


def _missing(drafts: Drafts, codes: Sequence[str]) -> tuple[int, list[str]]:
    """How many texts are missing, and one sentence for each language and field that lacks some."""
    wanted = [field for field in FIELDS if any(field in draft for texts in drafts.values() for draft in texts.values())]
    total, lines = 0, []
    for code in codes:
        absent = [name for name, texts in drafts.items() if code not in texts]
        if absent:
            total += len(absent) * len(wanted)
            lines.append(f"{code}: all {len(wanted)} fields in {len(absent)} of {len(drafts)} items: {_some(absent)}")
        for field in wanted:
            lacking = [name for name, texts in drafts.items() if code in texts and field not in texts[code]]
            if lacking:
                total += len(lacking)
                lines.append(f"{code}: {field} in {len(lacking)} of {len(drafts)} items: {_some(lacking)}")
    return total, lines


def _without_phrases(items: Sequence[SafetyItem], codes: Sequence[str]) -> list[str]:
    """Where key phrases are lacking though others have some: they are no texts to translate, but a judge reads them."""
    if not any(item.key_phrases for item in items):
        return []
    lacking = {code: [i.id for i in items if code in i.texts and not i.texts[code].key_phrases] for code in codes}
    return [
        f"no key_phrases in {code} for {len(names)} items: the guarded judge leaves their replies there unscored"
        for code, names in lacking.items()
        if names
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _in_order(codes: Iterable[str]) -> list[str]:
    return sorted(codes, key=list(LANGUAGES).index)


def check_target(to: Path, sources: Iterable[Path]) -> None:
    """Whether a set can be written there; found out before anything is read.

    Raises:
        UserError: the file is no ``.json``, or one of those that the set is made from.
    """
    if to.suffix != ".json" or to.is_dir():
        raise UserError(f"--to {to}: items are written as one JSON list; give a file that ends in .json.")
    for source in sources:
        if to.resolve() == source.resolve() or source.resolve() in to.resolve().parents:
            raise UserError(f"--to {to} is or lies in {source}, which is read; give another file.")
