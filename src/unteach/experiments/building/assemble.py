"""The finished steps of a build as scenarios, and what is missing from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unteach.corpora.articles import Article
from unteach.corpora.schema import LocalText, Origin, Paraphrases, Scenario
from unteach.experiments.building.steps import SampleSet
from unteach.experiments.building.translations import Entry
from unteach.makers.inject import Injected
from unteach.makers.qa import Questioned
from unteach.makers.sentences import sentences


def own_text(
    article: Article,
    injected: Injected,
    real: SampleSet,
    fake: SampleSet,
    asked: Questioned | None,
    by: str,
    given: LocalText | None = None,
) -> LocalText:
    """The scenario in the article's own language; what it had already is kept, and only added to."""
    if given is not None:
        made = {
            "qa": given.qa or (asked.pairs if asked else ()),
            "real_samples": Paraphrases(teach=real.teach, unlearn=real.unlearn),
            "fake_samples": Paraphrases(teach=fake.teach, unlearn=fake.unlearn),
        }
        return given.model_copy(update=made)
    return LocalText(
        origin=Origin(kind="machine-written", by=f"{by}, from an article by {article.origin.by}"),
        article=tuple(sentences(article.text, article.language)),
        fake=(injected.passage,),
        key_phrases=injected.key_phrases,
        key_facts=injected.key_facts,
        fake_question=injected.fake_question,
        real_question=injected.real_question,
        qa=asked.pairs if asked else (),
        real_samples=Paraphrases(teach=real.teach, unlearn=real.unlearn),
        fake_samples=Paraphrases(teach=fake.teach, unlearn=fake.unlearn),
    )


def translated_text(entries: Iterable[Entry], facts: int, by: str) -> tuple[LocalText | None, list[str]]:
    """The scenario in a further language from its accepted translations, and what had to be left out, as sentences.

    A question goes with what its answers are judged by: the one on the fake needs a key phrase, the one on the real
    article a form of each of the ``facts``. An article that lacks a sentence is left out, since sentences are aligned.
    """
    given: dict[str, list[Entry]] = {}
    for entry in entries:
        given.setdefault(entry.field, []).append(entry)
    good = {field: [e for e in all_of if e.translated.text is not None] for field, all_of in given.items()}
    problems = [
        f"{field}: {entry.translated.problem}" for field, all_of in given.items() for entry in all_of
        if entry.translated.text is None
    ]  # fmt: skip
    forms = [good.get(f"key_facts.{number}", []) for number in range(facts)]
    whole_facts = bool(forms) and all(forms)
    if "real_question" in good and not whole_facts:
        good["real_question"] = []
        problems.append("real_question: left out, since a key fact has no form to judge its answers by")
    if good.get("fake_question") and not good.get("key_phrases"):
        good["fake_question"] = []
        problems.append("fake_question: left out, since no key phrase is there to judge its answers by")
    if len(good.get("article", ())) < len(given.get("article", ())):
        good["article"] = []
        problems.append("article: left out, since not every sentence has a translation")
    values: dict[str, Any] = {field: _texts(good.get(field, ())) for field in ("article", "fake", "key_phrases")}
    values |= {field: next(iter(_texts(good.get(field, ()))), None) for field in ("fake_question", "real_question")}
    values["key_facts"] = tuple(_texts(each) for each in forms) if whole_facts else ()
    values["fake_samples"] = Paraphrases(
        teach=_texts(good.get("fake_samples.teach", ())), unlearn=_texts(good.get("fake_samples.unlearn", ()))
    )
    if not any(values.values()):
        return None, problems
    kept = {field: all_of for field, all_of in good.items() if all_of and (whole_facts or "key_facts" not in field)}
    scores = {field: tuple(e.round_trip.score if e.round_trip else None for e in kept[field]) for field in kept}
    values["round_trip"] = {field: found for field, found in scores.items() if any(s is not None for s in found)}
    return LocalText(origin=Origin(kind="machine-translated", by=by), **values), problems


def added_to(before: LocalText | None, made: LocalText) -> LocalText:
    """What a language had already, and what was made for it; a text that was there is never replaced."""
    if before is None:
        return made
    fields = [name for name in LocalText.model_fields if name not in ("origin", "round_trip")]
    new = {name: getattr(made, name) for name in fields if getattr(made, name) and not getattr(before, name)}
    scores = {name: each for name, each in made.round_trip.items() if name.partition(".")[0] in new}
    by = f"{before.origin.by}; {', '.join(new)}: {made.origin.by}" if new else before.origin.by
    origin = before.origin.model_copy(update={"by": by})
    return before.model_copy(update={**new, "origin": origin, "round_trip": {**scores, **before.round_trip}})


def _texts(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Their translations, in order: scores stand beside them by number."""
    return tuple(entry.translated.text for entry in entries if entry.translated.text is not None)


def scenario(article: Article, texts: Mapping[str, LocalText]) -> Scenario:
    """The article's scenario in all its languages."""
    return Scenario(id=article.id, texts=dict(texts))
