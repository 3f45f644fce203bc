"""A corpus in the terminal: what it has, what in it is suspicious, and one scenario in its languages side by side."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from unteach.corpora.check import Checked
from unteach.corpora.check_rules import KINDS, Finding
from unteach.corpora.load import Corpus
from unteach.corpora.places import FIELDS, has, texts_in
from unteach.corpora.schema import LocalText, Scenario
from unteach.languages.table import LANGUAGES
from unteach.reports.tables import language_name

_SHORT = {"fake_question": "fake ?", "real_question": "real ?", "key_phrases": "phrases", "key_facts": "facts"}
_NEEDED = 38
"""Characters a language needs to have a column of its own."""

_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]")


def shown(text: str, language: str) -> Text:
    """A text for the terminal: no markup, nothing that moves the cursor, directions kept from what stands around it.

    Control characters and directional controls are written out (``\\u202e``); what is written from right to left is
    isolated.
    """
    joiner = "\u200c\u200d" if language not in ("en",) else ""
    plain = "".join(
        f"\\u{ord(letter):04x}"
        if (unicodedata.category(letter) in ("Cc", "Cs", "Co") and letter != "\n")
        or (_HIDDEN.match(letter) and letter not in joiner)
        else letter
        for letter in text
    )
    row = LANGUAGES.get(language)
    return Text(f"\u2067{plain}\u2069" if row and row.right_to_left else plain)


def overview_table(checked: Checked) -> Table:
    """Languages against fields: how many scenarios have them; and how many texts read as their language."""
    title = f"{checked.corpus}: {checked.scenarios} scenarios, {len(checked.languages)} languages"
    table = _table(title)
    fields = [field for field in FIELDS if any(have[field] for have in checked.have.values())]
    table.add_column("language", no_wrap=True)
    for field in fields:
        table.add_column(_SHORT.get(field, field).replace("_", " ").replace(".", "\n"), justify="right")
    for name in ("phrases\nin no fake", "right", "wrong", "short", "not\ntold", "to look\nat"):
        table.add_column(name, justify="right")
    findings = Counter(finding.language for finding in checked.findings)
    for told in checked.told:
        have = checked.have[told.language]
        cells = [_count(have[field], checked.scenarios) for field in fields]
        counts = (checked.other_phrases[told.language], told.right, told.wrong, told.short, told.not_told)
        numbers = [str(number or "-") for number in counts]
        found = Text(str(findings[told.language] or "-"), style="yellow" if findings[told.language] else "")
        table.add_row(language_name(told.language, short=True), *cells, *numbers, found)
    return table


def _count(number: int, of: int) -> Text:
    return Text(str(number) if number else "-", style="yellow" if 0 < number < of else "")


def kinds_table(checked: Checked) -> Table:
    """Kinds of findings with their number and languages; kinds without any are named too."""
    table = _table("findings")
    table.add_column("kind", no_wrap=True)
    table.add_column("found", justify="right")
    table.add_column("languages")
    table.add_column("what it is")
    for kind, meaning in KINDS.items():
        codes = Counter(finding.language for finding in checked.findings if finding.kind == kind)
        languages = ", ".join(f"{code} {number}" for code, number in codes.most_common())
        table.add_row(kind, str(codes.total() or "-"), languages, meaning)
    return table


def findings_table(checked: Checked, most: int | None = 5) -> Table:
    """Findings with their places, up to so many of each kind; all without a number."""
    table = _table("findings" if most is None else f"the first {most} of each kind")
    table.add_column("kind", no_wrap=True)
    table.add_column("where", overflow="fold")
    table.add_column("what", ratio=1, overflow="fold")
    for kind in KINDS:
        found = [finding for finding in checked.findings if finding.kind == kind]
        for finding in found[:most]:
            what = Text(finding.message)
            if finding.text:
                what += Text("\n") + shown(_cut(finding.text, 160), finding.language)
            table.add_row(finding.kind, _where(finding), what)
        if found[: most or 0] and len(found) > (most or len(found)):
            table.add_row(kind, Text(f"and {len(found) - (most or 0)} more", style="dim"), "")
    return table


def _where(finding: Finding) -> Text:
    field = f", {finding.field}" if finding.field else ""
    number = f" {finding.index + 1}" if finding.index is not None else ""
    return Text(f"{finding.scenario}, {finding.language}{field}{number}")


def scores_table(checked: Checked) -> Table:
    """Round-trip scores by language and field: number, median, and the lowest with their places."""
    table = _table("translated back: chrF against what was translated (0 to 100)")
    for name in ("language", "field"):
        table.add_column(name, no_wrap=True)
    for name in ("n", "not scored", "median"):
        table.add_column(name, justify="right")
    table.add_column("lowest")
    for scores in checked.scores:
        lowest = ", ".join(f"{score:.0f} {place.scenario} {place.index + 1}" for score, place in scores.lowest)
        middle = "-" if scores.median is None else f"{scores.median:.1f}"
        table.add_row(scores.language, scores.field, str(scores.n), str(scores.unscored or "-"), middle, lowest)
    return table


def ids_table(corpus: Corpus, languages: Sequence[str]) -> Table:
    """Scenarios with the number of their texts by language."""
    table = _table(f"{corpus.name}: {len(corpus)} scenarios; how many texts they have by language")
    table.add_column("scenario", no_wrap=True)
    table.add_column("texts")
    for scenario in corpus:
        counts = (f"{code} {_texts(scenario.texts[code])}" for code in languages if code in scenario.texts)
        table.add_row(scenario.id, ", ".join(counts) or "-")
    return table


def _texts(text: LocalText) -> int:
    return sum(len(texts_in(text, field)) for field in FIELDS)


def origins_table(scenario: Scenario, languages: Iterable[str]) -> Table:
    """By language: where the texts come from, whether they are reviewed, and the mean of their round-trip scores."""
    table = _table(scenario.id)
    for name in ("language", "origin", "by", "reviewed by a native speaker", "chrF translated back (mean, n)"):
        table.add_column(name)
    for code in languages:
        text = scenario.texts[code]
        scores = [score for field in text.round_trip.values() for score in field if score is not None]
        mean = f"{sum(scores) / len(scores):.1f} ({len(scores)})" if scores else "-"
        reviewed = "yes" if text.origin.reviewed_by_native_speaker else "no"
        table.add_row(language_name(code), text.origin.kind, shown(text.origin.by, "en"), reviewed, mean)
    return table


def side_by_side(
    scenario: Scenario, languages: Sequence[str], fields: Sequence[str] = FIELDS, width: int = 118
) -> Iterator[Table]:
    """A table a field, texts of the same number together: languages in columns where they fit, else in rows.

    Those written from right to left need rows: a wrapped line that is not the last of its row cannot be isolated.
    """
    columns = not any(LANGUAGES[code].right_to_left for code in languages)
    for field in fields:
        having = [code for code in languages if has(scenario.texts[code], field)]
        if not having:
            continue
        texts = {code: _cells(scenario.texts[code], field, code) for code in having}
        count = max(len(cells) for cells in texts.values())
        table = _table(field.replace("_", " "))
        table.add_column("", justify="right", style="dim", no_wrap=True)
        if columns and len(having) * _NEEDED <= width:
            for code in having:
                table.add_column(language_name(code, short=True), ratio=1, overflow="fold")
            for index in range(count):
                cells = [texts[code][index] if index < len(texts[code]) else Text("-") for code in having]
                table.add_row(str(index + 1), *cells, end_section=index + 1 < count)
        else:
            table.add_column("", no_wrap=True, style="dim")
            table.add_column("", ratio=1, overflow="fold")
            for index in range(count):
                there = [code for code in having if index < len(texts[code])]
                for place, code in enumerate(there):
                    last = place + 1 == len(there) and index + 1 < count
                    table.add_row("" if place else str(index + 1), code, texts[code][index], end_section=last)
        yield table


def _cells(text: LocalText, field: str, code: str) -> list[Text]:
    """What stands in one cell each: a text with its score, a fact with its forms, a question with its answer."""
    if field == "key_facts":
        return [shown(" / ".join(forms), code) for forms in text.key_facts]
    if field == "qa":
        return [shown(pair.question, code) + Text("\n") + shown(pair.answer, code) for pair in text.qa]
    texts = texts_in(text, field)
    scores = text.round_trip.get(field, ())
    marks = [
        Text(f"  chrF {score:.0f}", style="dim") if score is not None else Text("")
        for score in (scores if len(scores) == len(texts) else [None] * len(texts))
    ]
    return [shown(each, code) + mark for each, mark in zip(texts, marks, strict=True)]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
