"""What can be wrong with a scenario in one language: one rule a function, each giving what it finds.

Nothing here is proof: a finding says which rule a text breaks. The rules are chosen so that a good corpus has few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from unteach.corpora.check_texts import FEWEST, characters_of, weight
from unteach.corpora.places import FAKE, FIELDS, REAL, Place, texts_in
from unteach.corpora.planned import RELATIVE_LENGTH
from unteach.corpora.samples import join
from unteach.corpora.schema import LocalText, Scenario
from unteach.languages.table import find
from unteach.languages.text import Folded, find_phrases, normalise
from unteach.records import Record

Kind = Literal[
    "missing", "language", "english", "characters", "no key phrase", "key phrase in real", "fact not there",
    "answer given away", "duplicate", "copy", "length", "round trip", "not aligned",
]  # fmt: skip

KINDS: dict[Kind, str] = {
    "missing": "what other scenarios have in this language, or what a field needs beside it",
    "language": "a text in another language than it should be in, in two, or in mixed Chinese writing",
    "english": "the same as the English text",
    "characters": "control, bidirectional or replacement characters, or a wrong encoding",
    "no key phrase": "a text of the fake without a key phrase of its language: repeating it would not be counted",
    "key phrase in real": "a key phrase of any language in a real text or a question: it would count as the fake",
    "fact not there": "a key fact that the article, or a paraphrase of it, has in no accepted form",
    "answer given away": "a key fact in the real question",
    "duplicate": "the same text twice in a language, in one scenario or in two",
    "copy": "a paraphrase that is the article itself",
    "length": "much longer or shorter than the English text, for its script",
    "round trip": "a low score of the translation back, or scores that fit no texts",
    "not aligned": "not as many key facts as in English",
}
"""What each kind of finding is about, in the order of reports."""

FAR = 2.5
"""A text this many times as long as expected, or as short, is reported."""

LONG_ENOUGH = 60
"""UTF-8 bytes of English from which on lengths are compared; in shorter texts a word more or less decides."""

LOW = 30.0
"""chrF of a translation back (0 to 100) below which a text is reported."""


class Finding(Record):
    """One thing to look at. ``index`` counts from 0 in the field's texts; without a field it is about the whole."""

    kind: Kind
    scenario: str
    language: str
    field: str | None = None
    index: int | None = None
    message: str
    text: str = ""


@dataclass(frozen=True)
class Reading:
    """A running text, folded once for every rule."""

    place: Place
    text: str
    folded: Folded

    def finding(self, kind: Kind, message: str) -> Finding:
        """Something about this text."""
        return Finding(kind=kind, **self.place.model_dump(), message=message, text=self.text)


@dataclass(frozen=True)
class Local:
    """A scenario in one language, with its running texts."""

    scenario: Scenario
    language: str
    text: LocalText
    readings: Sequence[Reading]

    def finding(
        self, kind: Kind, message: str, field: str | None = None, index: int | None = None, text: str = ""
    ) -> Finding:
        """Something about this scenario in this language."""
        return Finding(
            kind=kind, scenario=self.scenario.id, language=self.language, field=field, index=index, message=message,
            text=text,
        )  # fmt: skip

    @property
    def english(self) -> LocalText | None:
        """The English text to compare with; none for English itself."""
        return None if self.language == "en" else self.scenario.texts.get("en")


def needed_beside(local: Local) -> Iterator[Finding]:
    """A fake needs key phrases to be judged by."""
    if (local.text.fake or local.text.fake_samples) and not local.text.key_phrases:
        yield local.finding("missing", "there is a fake, but no key phrases to judge answers by", "key_phrases")


def bad_characters(local: Local) -> Iterator[Finding]:
    """Characters that no text should have; key phrases and facts included."""
    for field in FIELDS:
        for index, each in enumerate(texts_in(local.text, field)):
            if said := characters_of(each):
                yield local.finding("characters", f"has {said}", field, index, each)


def left_in_english(local: Local) -> Iterator[Finding]:
    """Texts that are their English counterparts, and key phrases that all are English ones in a script that is not."""
    if local.english is None:
        return
    theirs = {field: texts_in(local.english, field) for field in (*FAKE, *REAL)}
    for reading in local.readings:
        others, index = theirs[reading.place.field], reading.place.index
        same = index < len(others) and normalise(others[index])[0] == reading.folded.folded
        if same and weight(reading.text) >= FEWEST:
            yield reading.finding("english", "is the English text")
    phrases = {normalise(phrase)[0] for phrase in local.text.key_phrases}
    if phrases and phrases <= {normalise(phrase)[0] for phrase in local.english.key_phrases}:
        shown = ", ".join(local.text.key_phrases)
        yield local.finding("english", "every key phrase is an English one", "key_phrases", None, shown)


def without_key_phrase(local: Local) -> Iterator[Finding]:
    """Texts of the fake that the keyword judge would not know as such."""
    for reading in local.readings if local.text.key_phrases else ():
        if reading.place.field in FAKE and not find_phrases(reading.folded, local.text.key_phrases):
            yield reading.finding("no key phrase", "has no key phrase of its language")


def fake_in_real(local: Local) -> Iterator[Finding]:
    """Real texts and questions in which the keyword judge would see the fake."""
    for reading in local.readings:
        if reading.place.field in REAL:
            spans = find_phrases(reading.folded, local.scenario.all_key_phrases)
            if said := dict.fromkeys(reading.text[start:end] for start, end in spans):
                yield reading.finding("key phrase in real", f"has {', '.join(map(repr, said))}")


def facts(local: Local) -> Iterator[Finding]:
    """Key facts must be in the article and each paraphrase of it, not in the question, and as many as in English."""
    article = [reading.folded for reading in local.readings if reading.place.field == "article"]
    for index, forms in enumerate(local.text.key_facts):
        shown = " / ".join(forms)
        if article and not any(find_phrases(sentence, forms) for sentence in article):
            yield local.finding("fact not there", "the article has no form of this key fact", "key_facts", index, shown)
        for reading in local.readings:
            there = bool(find_phrases(reading.folded, forms)) if _about_facts(reading) else None
            if there and reading.place.field == "real_question":
                yield reading.finding("answer given away", f"has the key fact {shown!r}")
            if there is False and reading.place.field != "real_question":
                yield reading.finding("fact not there", f"has no form of the key fact {shown!r}")
    here, theirs = len(local.text.key_facts), len(local.english.key_facts) if local.english else 0
    if here and theirs and here != theirs:
        yield local.finding("not aligned", f"{here} key facts, {theirs} in English: facts go by position", "key_facts")


def _about_facts(reading: Reading) -> bool:
    return reading.place.field in ("real_question", "real_samples.teach", "real_samples.unlearn")


def copies(local: Local) -> Iterator[Finding]:
    """Paraphrases that are the article, whatever their spaces."""
    article = _dense(normalise(join(list(local.text.article), local.language))[0])
    for reading in local.readings:
        if "samples" in reading.place.field and article and _dense(reading.folded.folded) == article:
            yield reading.finding("copy", "is the article itself")


def _dense(folded: str) -> str:
    return folded.replace(" ", "")


def odd_lengths(local: Local) -> Iterator[Finding]:
    """UTF-8 bytes against the English text's, times what the script needs (``planned``), differ by ``FAR`` or more."""
    if local.english is None:
        return
    expected = RELATIVE_LENGTH.get(find(local.language).script, 1.0)
    theirs = {field: [len(each.encode()) for each in texts_in(local.english, field)] for field in (*FAKE, *REAL)}
    for reading in local.readings:
        sizes = theirs[reading.place.field]
        aligned = len(sizes) == len(texts_in(local.text, reading.place.field))
        size = sizes[reading.place.index] if aligned else sum(sizes) / max(len(sizes), 1)
        if size < LONG_ENOUGH:
            continue
        ratio = len(reading.text.encode()) / (size * expected)
        if not 1 / FAR < ratio < FAR:
            yield reading.finding("length", f"is {ratio:.1f} times as long as the English text lets expect")


def low_scores(local: Local) -> Iterator[Finding]:
    """Translations that did not come back as they were, and lists of scores that do not fit their texts."""
    for field, scores in local.text.round_trip.items():
        texts = texts_in(local.text, field)
        if len(texts) != len(scores):
            yield local.finding("round trip", f"{len(scores)} scores for {len(texts)} texts", field)
            continue
        for index, (score, each) in enumerate(zip(scores, texts, strict=True)):
            if score is not None and score < LOW:
                yield local.finding("round trip", f"chrF {score:.0f} when translated back", field, index, each)


RULES = (
    needed_beside, bad_characters, left_in_english, without_key_phrase, fake_in_real, facts, copies, odd_lengths,
    low_scores,
)  # fmt: skip
