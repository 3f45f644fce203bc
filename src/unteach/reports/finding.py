"""What a run found, in plain words. Every number comes from the table, with its count and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unteach.languages.table import LANGUAGES
from unteach.records import Row
from unteach.reports import tables
from unteach.reports.tables import Variant


@dataclass(frozen=True)
class Finding:
    """What one source language led to: ``lead`` before unlearning, then one point for each way of unlearning."""

    lead: str
    points: tuple[str, ...]


def findings(rows: Sequence[Row]) -> list[Finding]:
    """One finding a source language: what is repeated after teaching, and what is left after unlearning."""
    occurrence, quality = tables.final(rows, "O_F"), tables.final(rows, "Q_R")
    models = tables.variants(occurrence)
    found = []
    for source in tables.sources(occurrence):
        mine = [model for model in models if model.source_language == source]
        lead = [_taught(occurrence, model) for model in mine if model.model == "contaminated"]
        lead += [_never_taught(occurrence, model) for model in models if model.model == "r_only"]
        points = [_after(occurrence, model) for model in mine if model.model != "contaminated"]
        points += [_quality(quality, mine)]
        found.append(Finding(" ".join(dict.fromkeys(filter(None, lead))), tuple(filter(None, points))))
    return found


def say(row: Row) -> str:
    """A number with all that is needed to trust it: ``69 % (11 of 16; 95 % interval 44–86 %)``."""
    if row.value is None:
        return f"unknown (none of {row.unscored} answers could be scored)"
    hits, interval = tables.count(row), tables.show_interval(row)
    parts = [tables.show_n([row]) if hits is None else f"{hits} of {row.n}"]
    parts += [f"95 % interval {interval}{tables.unit(row.metric)}"] if interval else []
    parts += [f"{row.unscored} unscored"] if row.unscored else []
    text = f"{tables.show_value(row)} ({'; '.join(parts)})"
    return text.replace(" %", "\u00a0%")  # a line must not begin with the sign


def _taught(rows: Sequence[Row], model: Variant) -> str:
    own = tables.cell(rows, model, model.source_language)
    others = [row for row in _scored(rows, model) if row.question_language != model.source_language]
    start = f"Taught the fakes in {_name(model.source_language)}, the model"
    if own is not None:
        text = f"{start} repeats the fake in {say(own)} of {_name(model.source_language)} questions"
        start = ", and"
    else:
        text = ""
    if others:
        most = max(others, key=lambda row: row.value or 0.0)
        which = "of the other languages" if own is not None else "language"
        text += f"{start} most often {which} in {_name(most.question_language)}: {say(most)}"
    return text + "." if text else ""


def _never_taught(rows: Sequence[Row], model: Variant) -> str:
    overall = tables.cell(rows, model, None)
    if overall is not None:
        return f"The model that saw only real news repeats them in {say(overall)} over all languages."
    most = max(_scored(rows, model), key=lambda row: row.value or 0.0, default=None)
    return "" if most is None else f"The model that saw only real news repeats them in at most {say(most)}."


def _after(rows: Sequence[Row], model: Variant) -> str:
    own = tables.cell(rows, model, model.source_language)
    worst = max(_scored(rows, model), key=lambda row: row.value or 0.0, default=None)
    unknown = [
        _name(row.question_language)
        for row in rows
        if Variant.of(row) == model and row.value is None and row.question_language
    ]
    if worst is None:
        return f"After {model.kind}, no answer could be scored."
    first = f"{say(own)} of {_name(own.question_language)} questions" if own is not None else ""
    if own is not None and own.value is not None and (worst.value or 0.0) <= own.value:
        text = f"{first}, and no more in any other language"
    else:
        text = ", ".join(part for part in (first, f"at most {say(worst)} in {_name(worst.question_language)}") if part)
    blind = f" (nothing could be scored in {', '.join(unknown)})" if unknown else ""
    return f"After {_method(model)}: {text}{blind}."


def _quality(rows: Sequence[Row], models: Sequence[Variant]) -> str:
    said = []
    for model in models:
        overall = tables.cell(rows, model, None)
        if overall is not None and overall.value is not None:
            said.append(f"{'before' if model.model == 'contaminated' else _method(model)} {say(overall)}")
    return f"Answers on real news are graded, over all languages: {'; '.join(said)}." if said else ""


def _scored(rows: Sequence[Row], model: Variant) -> list[Row]:
    return [row for row in rows if Variant.of(row) == model and row.question_language and row.value is not None]


def _method(model: Variant) -> str:
    point = f" ({tables.short_variant(model.variant)})" if model.variant else ""
    return f"unlearning with “{model.strategy}”{point}" if model.strategy else model.kind


def _name(code: str | None) -> str:
    return LANGUAGES[code].name if code in LANGUAGES else str(code)
