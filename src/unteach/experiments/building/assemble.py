"""What was made, as texts of a scenario: nothing that was there is replaced, and every origin says who made what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from unteach.corpora.places import texts_in
from unteach.corpora.schema import LocalText, Origin, Paraphrases
from unteach.makers.contract import Translated
from unteach.makers.round_trip import RoundTrip
from unteach.records import Record

Scores = Mapping[str, tuple[float | None, ...]]


class Entry(Record):
    """One text of a scenario, translated. ``field`` as in ``corpora.places``; a fact's forms are ``key_facts.0`` ..."""

    field: str
    source: str
    translated: Translated
    round_trip: RoundTrip | None = None


def with_more(text: LocalText, more: Mapping[str, Any], by: str, scores: Scores | None = None) -> LocalText:
    """The text with these fields set, and an origin that says who made them; it is then not reviewed as a whole."""
    if not more:
        return text
    origin = text.origin
    before = f"{origin.by} (reviewed by a native speaker)" if origin.reviewed_by_native_speaker else origin.by
    credited = Origin(kind=origin.kind, by=f"{before}; {', '.join(more)}: {by}")
    made = LocalText(**{**dict(text), **more, "origin": credited})
    known = {**(scores or {}), **text.round_trip}
    added = {field: (None,) * (len(texts_in(made, field)) - len(each)) for field, each in known.items()}
    return made.model_copy(update={"round_trip": {field: each + added[field] for field, each in known.items()}})


def added_to(before: LocalText | None, new: Mapping[str, Any], by: str, scores: Scores) -> LocalText | None:
    """What a language had already, and what was translated for it; a text that was there is never replaced."""
    more = {name: value for name, value in new.items() if value and not (before and getattr(before, name))}
    fitting = {field: each for field, each in scores.items() if field.partition(".")[0] in more}
    if before is not None:
        return with_more(before, more, by, fitting)
    return LocalText(origin=Origin(kind="machine-translated", by=by), round_trip=fitting, **more) if more else None


def translated_text(
    entries: Iterable[Entry], by: str, before: LocalText | None = None
) -> tuple[LocalText | None, list[str]]:
    """A further language's text: ``before`` with all accepted translations; and what had to be left out, as sentences.

    A question goes with what its answers are judged by: the one on the fake needs a key phrase, the one on the real
    article a form of each key fact. An article that lacks a sentence is left out, since sentences are aligned.
    """
    good, problems = _accepted(entries, before)
    texts = {field: tuple(each.translated.text or "" for each in every) for field, every in good.items()}
    new: dict[str, Any] = {field: texts.get(field) for field in ("article", "fake", "key_phrases")}
    new |= {field: texts.get(field, (None,))[0] for field in ("fake_question", "real_question")}
    new["key_facts"] = tuple(texts[field] for field in texts if field.startswith("key_facts."))
    teach, unlearn = (texts.get(f"fake_samples.{use}", ()) for use in ("teach", "unlearn"))
    new["fake_samples"] = Paraphrases(teach=teach, unlearn=unlearn)
    trips = {field: [each.round_trip for each in every] for field, every in good.items()}
    scores = {field: tuple(trip.score if trip else None for trip in every) for field, every in trips.items()}
    scored = {field: every for field, every in scores.items() if any(score is not None for score in every)}
    return added_to(before, new, by, scored), problems


def _accepted(entries: Iterable[Entry], before: LocalText | None) -> tuple[dict[str, list[Entry]], list[str]]:
    """The entries with a translation that can be used, by field; and why others are not among them."""
    given: dict[str, list[Entry]] = {}
    for entry in entries:
        given.setdefault(entry.field, []).append(entry)
    good = {field: [each for each in every if each.translated.text is not None] for field, every in given.items()}
    lacking = [each for every in given.values() for each in every if each.translated.text is None]
    problems = [f"{each.field}: {each.translated.problem}" for each in lacking]

    def leave_out(field: str, why: str) -> None:
        if good.pop(field, None):
            problems.append(f"{field}: left out, since {why}")

    facts = [field for field in given if field.startswith("key_facts.")]
    if not all(good[field] for field in facts):
        leave_out("real_question", "a key fact has no form to judge its answers by")
        for field in facts:
            del good[field]
    if not good.get("key_phrases") and not (before and before.key_phrases):
        leave_out("fake_question", "no key phrase is there to judge its answers by")
    if len(good.get("article", ())) < len(given.get("article", ())):
        leave_out("article", "not every sentence has a translation")
    asked = {pair.question for pair in before.qa} if before else set()
    if asked & {each.translated.text for each in good.get("real_question", ())}:
        leave_out("real_question", "it is one of the qa pairs there are")
    return {field: every for field, every in good.items() if every}, problems
