"""What a corpus lacks, and what in it is suspicious: findings that a person should look at, each with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from unteach.corpora.check_rules import KINDS, RULES, Finding, Local, Reading
from unteach.corpora.check_texts import STRETCH, language_of, weight
from unteach.corpora.load import Corpus
from unteach.corpora.places import FAKE, FIELDS, Place, has, running_texts
from unteach.corpora.schema import Scenario
from unteach.languages.identify import CANNOT_TELL
from unteach.languages.table import LANGUAGES, find
from unteach.languages.text import find_phrases, fold
from unteach.progress import NoProgress, Progress
from unteach.records import Record

_LOWEST = 5
"""So many of the lowest scores of a field are named."""


class Scores(Record):
    """Round-trip scores (chrF, 0 to 100) of one field in one language; ``lowest``: up to five, with their places."""

    language: str
    field: str
    n: int
    unscored: int
    median: float | None
    lowest: tuple[tuple[float, Place], ...]


class Told(Record):
    """How many running texts of a language are in it, in another, too short to say, or in what cannot be told."""

    language: str
    right: int
    wrong: int
    short: int
    not_told: int


class Checked(Record):
    """Everything that was found. ``have``: language -> field -> how many scenarios have it."""

    corpus: str
    scenarios: int
    languages: tuple[str, ...]
    findings: tuple[Finding, ...]
    have: dict[str, dict[str, int]]
    told: tuple[Told, ...]
    scores: tuple[Scores, ...]
    other_phrases: dict[str, int]
    """Language -> key phrases that stand in no text of the fake: no finding, for answers may use other forms."""


def check_corpus(corpus: Corpus, languages: Sequence[str] = (), progress: Progress | None = None) -> Checked:
    """Check a corpus in these languages, or in all it has; English is read along, to compare with.

    Raises:
        UnknownLanguage: a code that the table does not have.
    """
    there = {code for scenario in corpus for code in scenario.texts}
    wanted = tuple(dict.fromkeys(find(code).code for code in languages))
    wanted = wanted or tuple(code for code in LANGUAGES if code in there)
    among = tuple(code for code in LANGUAGES if code in {*there, *wanted, "en"} - CANNOT_TELL)
    have = {code: {field: _count(corpus, code, field) for field in FIELDS} for code in wanted}
    told = {code: Counter[str]() for code in wanted}
    other_phrases = Counter[str]()
    first: dict[tuple[str, str], Place] = {}
    findings = list(_missing(corpus, have))
    with (progress or NoProgress()).task("checking", len(corpus)) as bar:
        for scenario in corpus:
            for local in _locals(scenario, wanted):
                for rule in RULES:
                    findings += rule(local)
                findings += _languages(local, among, told[local.language])
                findings += _duplicates(local, first)
                other_phrases[local.language] += _other_phrases(local)
            bar.advance()
    order = {kind: number for number, kind in enumerate(KINDS)}
    return Checked(
        corpus=corpus.name,
        scenarios=len(corpus),
        languages=wanted,
        findings=tuple(sorted(findings, key=lambda found: (order[found.kind], wanted.index(found.language)))),
        have=have,
        told=tuple(
            Told(language=code, right=n["right"], wrong=n["wrong"], short=n["short"], not_told=n["not told"])
            for code, n in told.items()
        ),
        scores=tuple(_scores(corpus, wanted)),
        other_phrases={code: other_phrases[code] for code in wanted},
    )


def _locals(scenario: Scenario, languages: Iterable[str]) -> Iterator[Local]:
    for code in languages:
        if (text := scenario.texts.get(code)) is not None:
            readings = [Reading(place, each, fold(each)) for place, each in running_texts(scenario.id, code, text)]
            yield Local(scenario, code, text, readings)


def _count(corpus: Corpus, language: str, field: str) -> int:
    return sum(language in scenario.texts and has(scenario.texts[language], field) for scenario in corpus)


def _missing(corpus: Corpus, have: dict[str, dict[str, int]]) -> Iterator[Finding]:
    """Fields that some scenarios have in a language and others have not; one that none has is left out on purpose."""
    for code, fields in have.items():
        for scenario in corpus:
            text = scenario.texts.get(code)
            if text is None:
                yield Finding(kind="missing", scenario=scenario.id, language=code, message="no text in this language")
                continue
            for field, count in fields.items():
                if count and not has(text, field):
                    message = f"no {field}, which {count} of {len(corpus)} scenarios have"
                    yield Finding(kind="missing", scenario=scenario.id, language=code, field=field, message=message)


def _languages(local: Local, among: Sequence[str], told: Counter[str]) -> Iterator[Finding]:
    for reading in local.readings:
        state = language_of(reading.text, local.language, among)
        told[state.state] += 1
        if state.message:
            yield reading.finding("language", state.message)


def _duplicates(local: Local, first: dict[tuple[str, str], Place]) -> Iterator[Finding]:
    """Texts seen before in the same language. An answer may quote its article, answer two questions, or be short."""
    for reading in local.readings:
        before = first.setdefault((local.language, reading.folded.folded), reading.place)
        answer = reading.place.field == "qa.answer"
        usual = answer and (before.scenario == reading.place.scenario or weight(reading.text) < STRETCH)
        if before != reading.place and not usual:
            yield reading.finding("duplicate", f"is that of {before}")


def _other_phrases(local: Local) -> int:
    fakes = [reading.folded for reading in local.readings if reading.place.field in FAKE]
    return sum(not any(find_phrases(fake, [phrase]) for fake in fakes) for phrase in local.text.key_phrases)


def _scores(corpus: Corpus, languages: Iterable[str]) -> Iterator[Scores]:
    for code in languages:
        scored: dict[str, list[tuple[float, Place]]] = {}
        unscored = Counter[str]()
        for scenario in corpus:
            for field, scores in scenario.texts[code].round_trip.items() if code in scenario.texts else ():
                found = scored.setdefault(field, [])
                for index, score in enumerate(scores):
                    if score is None:
                        unscored[field] += 1
                    else:
                        place = Place(scenario=scenario.id, language=code, field=field, index=index)
                        found.append((score, place))
        for field, found in scored.items():
            yield Scores(
                language=code,
                field=field,
                n=len(found),
                unscored=unscored[field],
                median=median(score for score, _ in found) if found else None,
                lowest=tuple(sorted(found, key=lambda each: each[0])[:_LOWEST]),
            )
