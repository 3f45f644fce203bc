"""The texts that a set of safety items lacks in some language, by a translator; put in as ready translations are.

A text is translated from the item's English, or from the first language of the table that has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unteach.corpora.build_items import FIELDS, Translation
from unteach.corpora.load import explain, raw_entries
from unteach.corpora.safety import ItemSet, SafetyItem
from unteach.corpora.schema import Origin
from unteach.errors import UserErrors
from unteach.languages.table import LANGUAGES, find
from unteach.makers.contract import TRANSLATORS, Source, Translated, Translator
from unteach.progress import Progress
from unteach.records import Record, write_records
from unteach.registry import UnknownName
from unteach.store import write_atomically

_SHOWN = 8


class Refused(Record):
    """A text that has no translation, why, and what the checks refused, where there was something."""

    id: str
    language: str
    reason: str
    source: str
    refused: str | None = None


@dataclass(frozen=True)
class Filled:
    """Translations with their place, as ``build_items.build`` takes them; what was refused; what to say about it."""

    translations: tuple[tuple[str, Translation], ...]
    refused: tuple[Refused, ...]
    notes: tuple[str, ...]


def read_translator(path: Path) -> Translator:
    """A translator from a YAML file: a mapping with ``name`` and its settings.

    Raises:
        UserError: there is no such file, or it is no translator; the message names every wrong setting.
    """
    problems: list[str] = []
    raw = [entry for _, entry in raw_entries(path, problems)]
    try:
        if not problems and len(raw) == 1:
            return TRANSLATORS.parse(raw[0])
        problems = problems or ["expected one mapping with the name of a translator and its settings"]
    except ValidationError as error:
        problems = explain(error)
    except UnknownName as error:
        problems = [str(error)]
    raise UserErrors(f"{path} describes no translator", problems)


def fill(
    items: ItemSet,
    given: Sequence[tuple[str, Translation]],
    languages: Sequence[str],
    translator: Translator,
    progress: Progress | None = None,
) -> Filled:
    """Translations of all that the items, with the translations given, lack in these languages (all that occur).

    Where an item has some texts in a language already, and not from this translator, nothing is added: a text in one
    language has one origin.

    Raises:
        UserError: the translator cannot be used or does not know a language, found before any text is translated; or
            an endpoint's, with all replies kept.
    """
    codes = [find(code).code for code in languages]
    codes = codes or [code for code in LANGUAGES if any(code in item.texts for item in items)]
    origin = Origin(kind="machine-translated", by=translator.title)
    todo: dict[str, list[Source]] = {}
    mixed: dict[str, list[str]] = defaultdict(list)
    for code in codes:
        todo[code] = []
        for item in items:
            lacking = list(_lacking(item, code, given))
            if lacking and any(other != origin for other in _origins(item, code, given)):
                mixed[code].append(item.id)
            else:
                todo[code] += lacking
    for code, sources in todo.items():
        if sources:
            translator.check({source.language for source in sources}, code)
    made: list[tuple[str, Translation]] = []
    refused: list[Refused] = []
    notes = [
        f"{code}: not translated for {len(names)} items, which have texts there of another origin: {_some(names)}"
        for code, names in mixed.items()
    ]
    for code, sources in todo.items():
        found = translator(sources, code, progress) if sources else []
        refused += [
            Refused(id=s.id, language=code, reason=t.problem or "", source=s.text, refused=t.refused)
            for s, t in zip(sources, found, strict=True)
            if t.text is None
        ]
        translations, unphrased = _translations(sources, found, code, origin)
        made += [(f"translated by {translator.title}", translation) for translation in translations]
        if unphrased:
            notes.append(f"{code}: key_phrases left out, for a piece has no translation: {_some(unphrased)}")
    if refused:
        notes.append(f"{len(refused)} texts were refused; the first: {refused[0].id} ({refused[0].reason})")
    return Filled(tuple(made), tuple(refused), tuple(notes))


def save(filled: Filled, to: Path) -> Path:
    """Put them into a folder beside ``to``: ``translations.jsonl``, which ``items build --translations`` reads, and
    ``refused.jsonl``; so nothing is lost if a set cannot be built yet."""
    folder = to.with_suffix(".translations")
    folder.mkdir(parents=True, exist_ok=True)
    lines = (translation.model_dump_json(exclude_defaults=True) for _, translation in filled.translations)
    write_atomically(folder / "translations.jsonl", "".join(f"{line}\n" for line in lines))
    write_records(folder / "refused.jsonl", filled.refused)
    return folder


def _lacking(item: SafetyItem, code: str, given: Sequence[tuple[str, Translation]]) -> Iterator[Source]:
    """The texts of one item to be translated into a language. ``id`` is item, field, and for phrases piece and form."""
    there = [item.texts[code]] if code in item.texts else []
    has = [*there, *(part for _, part in given if (part.id, part.language) == (item.id, code))]
    for field in (*FIELDS, "key_phrases"):
        if any(getattr(part, field) for part in has):
            continue
        language, value = _source(item, field)
        if isinstance(value, str):
            yield Source(text=value, language=language, id=f"{item.id}/{field}")
        else:
            for number, piece in enumerate(value or ()):
                for form, text in enumerate(piece):
                    yield Source(text=text, language=language, id=f"{item.id}/{field}/{number}/{form}")


def _source(item: SafetyItem, field: str) -> tuple[str, Any]:
    """The language to translate a field from, and its value there."""
    having = [code for code in LANGUAGES if code in item.texts and getattr(item.texts[code], field)]
    return (having[0], getattr(item.texts[having[0]], field)) if having else ("", None)


def _origins(item: SafetyItem, code: str, given: Sequence[tuple[str, Translation]]) -> Iterator[Origin]:
    if code in item.texts:
        yield item.texts[code].origin
    yield from (part.origin for _, part in given if (part.id, part.language) == (item.id, code))


def _translations(
    sources: Sequence[Source], found: Sequence[Translated], code: str, origin: Origin
) -> tuple[list[Translation], list[str]]:
    """One object an item with all that was translated; and the items with a piece of content that has no form left."""
    fields: dict[str, dict[str, Any]] = defaultdict(dict)
    phrases: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for source, translated in zip(sources, found, strict=True):
        item, field, *place = source.id.split("/")
        if place:
            phrases[item][place[0]] += [translated.text] if translated.text else []
        elif translated.text is not None:
            fields[item][field] = translated.text
    unphrased = [item for item, pieces in phrases.items() if not all(pieces.values())]
    for item, pieces in phrases.items():
        if item not in unphrased:
            fields[item]["key_phrases"] = tuple(tuple(dict.fromkeys(forms)) for forms in pieces.values())
    made = [Translation.model_validate({"id": i, "language": code, "origin": origin, **f}) for i, f in fields.items()]
    return made, unphrased


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")
