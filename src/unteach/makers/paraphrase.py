"""Samples of a text: another style and order, the same facts (paper A, sections 2.1 and 3.1)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from pydantic import Field

from unteach.corpora.schema import Text
from unteach.endpoints.contract import Completion, Endpoint
from unteach.endpoints.replies import Replies
from unteach.endpoints.service import Ask
from unteach.makers.contract import Rejected, Unmade
from unteach.makers.prompting import Tries, language_name, make_all, quoted
from unteach.makers.text_checks import Bad, any_stands_in, check_language, copied, repeated, stands_in
from unteach.makers.translation_checks import width
from unteach.progress import Progress
from unteach.records import Record
from unteach.registry import Settings

_MANNERS: Final = (
    "a sober news agency report",
    "a lively piece for a magazine",
    "a radio bulletin to be read aloud",
    "a letter to a friend",
    "an entry in an encyclopaedia",
    "a page of a school reader",
    "an item in a local newsletter",
    "a briefing for a busy reader",
    "a blog post in a personal tone",
    "a formal public notice",
    "a talk to a small audience",
    "a story told in the evening",
    "a column in a weekly paper",
)
_ORDERS: Final = (
    "the facts in their own order",
    "what comes last moved to the front",
    "the most surprising facts first",
    "people first, then places and things, then numbers",
    "numbers and dates first, then the rest",
)
_SENTENCES: Final = (
    "long, connected sentences",
    "short sentences and common words",
    "precise terms, for experts",
    "friendly words, for young readers",
)
_FENCE = re.compile(r"\A```[^\n`]*\n(.*?)\n?```\Z", re.DOTALL)
_QUOTES: Final = {'"': '"', "“": "”", "„": "“", "«": "»", "「": "」", "『": "』"}
_MARKS = re.compile(r"^\s*(#{1,6} |\*\*|---|```|\| |BEGIN |END )", re.MULTILINE)


class Paraphrasing(Settings):
    """How a sample is made and checked."""

    attempts: int = Field(4, ge=1, description="Draws before the sample is given up.")
    shortest: float = Field(0.5, gt=0, description="Length against the source's; a shorter text is a summary.")
    longest: float = Field(2.0, gt=0, description="Length against the source's; a longer text adds to it.")
    most_copied: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the runs of 20 characters (6 in Chinese and Japanese) that sample and source may share. "
        "In the embedded corpus, wordings of one claim share 0.1 in the median, 98 % of them less than 0.5.",
    )
    most_repeated: float = Field(
        0.4, ge=0, le=1, description="Share of the sample's runs of 20 characters (6 ...) that it had before: a loop."
    )
    own_language: float = Field(0.75, ge=0, le=1, description="Share of the sample's letters in the source's language.")


class ParaphraseTask(Record):
    """One sample of a text. ``number`` decides its style: numbers up to 260 differ in it, and any two in their prompt.

    ``key_facts`` and, if the text is ``fake``, one of ``key_phrases`` are kept; otherwise none of them may come in.
    """

    text: Text
    language: str
    number: int = Field(ge=0)
    key_facts: tuple[tuple[str, ...], ...] = ()
    key_phrases: tuple[str, ...] = ()
    fake: bool = False


_DEFAULTS: Final = Paraphrasing()


class Paraphrase(Record):
    """One sample that passed every check."""

    text: str
    rejected: tuple[Rejected, ...]


_TASK: Final = """\
You are given a text in {language}. Tell it anew in the same language, as {style}. Change the wording of every sentence
and the way in which they are put together. Keep every fact, name and number, add none, and let the new text be about
as long as the old one.{kept} Write running text: no heading, no list, nothing before or after it. Answer with the new
text alone. It is version {version} of several that must differ from each other."""
_KEPT: Final = " What KEEP has, line by line, must stand in it word for word."


def style(number: int) -> str:
    """How sample ``number`` is to be written. The lists' lengths have no common factor, so 260 numbers differ, and
    neighbours differ in everything."""
    manner, order = _MANNERS[number % len(_MANNERS)], _ORDERS[number % len(_ORDERS)]
    return f"{manner}, with {order}, in {_SENTENCES[number % len(_SENTENCES)]}"


async def paraphrase(
    ask: Ask,
    task: ParaphraseTask,
    settings: Paraphrasing = _DEFAULTS,
) -> Paraphrase:
    """One sample of a text. The reply is the text itself: long texts break the JSON of small models.

    Each draw is checked: whole, without talk around it, of a fit length, every key fact kept, a key phrase kept (fake)
    or none there (real), no copy, in the language of the text.

    Raises:
        Unmade: every draw was refused, or the endpoint does not answer.
    """
    kept = _kept(task)
    told = _TASK.format(
        language=language_name(task.language),
        style=style(task.number),
        kept=_KEPT if kept else "",
        version=task.number + 1,
    )
    data = [quoted("TEXT", task.text)] + ([quoted("KEEP", "\n".join(kept))] if kept else [])
    tries = Tries(f"sample {task.number} of a {'fake' if task.fake else 'real'} text", settings.attempts)
    for _ in tries:
        with tries.refusing():
            text = _bare_text(await ask(tries.prompt(told, *data)), task.text)
            _check_content(text, task)
            _check_form(text, task, settings)
            return Paraphrase(text=text, rejected=tries.rejected)
    raise tries.unmade()


def paraphrase_all(
    endpoint: Endpoint,
    tasks: Iterable[ParaphraseTask],
    settings: Paraphrasing = _DEFAULTS,
    *,
    replies: Replies | None = None,
    progress: Progress | None = None,
) -> list[Paraphrase | Unmade]:
    """``paraphrase`` for many tasks, in order; one that cannot be made is its reason. Raises as ``make_all``."""

    async def job(ask: Ask, task: ParaphraseTask) -> Paraphrase:
        return await paraphrase(ask, task, settings)

    return make_all(endpoint, job, tasks, "paraphrasing", replies, progress)


def _kept(task: ParaphraseTask) -> list[str]:
    """What the sample must have: of each fact the form that the text has, and one form of the fake, by number."""
    forms = [next((form for form in fact if stands_in(form, task.text)), fact[0]) for fact in task.key_facts if fact]
    if task.fake and task.key_phrases:
        forms.append(task.key_phrases[task.number % len(task.key_phrases)])
    return forms


def _bare_text(reply: Completion, source: str) -> str:
    """The reply's text out of its fence or quotes; talk around it, and a cut, are refused.

    The signs of talk are of no language: a first line that announces something, marks of layout or of our data block.
    None counts if the source has it too.
    """
    if reply.finish in ("length", "filter"):
        raise Bad("the text was cut off at the length limit" if reply.finish == "length" else "the text was withheld")
    text = reply.text.strip()
    if fenced := _FENCE.match(text):
        text = fenced.group(1).strip()
    closing = _QUOTES.get(text[:1])
    if closing and text.endswith(closing) and not source.startswith(text[0]) and closing not in text[1:-1]:
        text = text[1:-1].strip()
    if not text:
        raise Bad("the text was empty")
    if _announces(text) and not _announces(source):
        raise Bad("the first line announced the text")
    if _MARKS.search(text) and not _MARKS.search(source):
        raise Bad("the text had marks of layout or of the data in it")
    return text


def _announces(text: str) -> bool:
    return unicodedata.normalize("NFKC", text.splitlines()[0].rstrip()).endswith(":")


def _check_content(text: str, task: ParaphraseTask) -> None:
    for fact in task.key_facts:
        if not any_stands_in(fact, text):
            raise Bad("a fact of the text was lost or changed")
    found = any_stands_in(task.key_phrases, text)
    if task.fake and task.key_phrases and not found:
        raise Bad("the wording that must be kept was lost or changed")
    if not task.fake and found:
        raise Bad("something was added that the text does not say")


def _check_form(text: str, task: ParaphraseTask, settings: Paraphrasing) -> None:
    ratio = width(text) / max(1, width(task.text))
    if ratio < settings.shortest:
        raise Bad(f"the text was shorter than {settings.shortest:g} of the source")
    if ratio > settings.longest:
        raise Bad(f"the text was longer than {settings.longest:g} times the source")
    if copied(text, task.text) > settings.most_copied:
        raise Bad("too much of the text was copied word for word")
    if repeated(text) > settings.most_repeated:
        raise Bad("the text repeated itself")
    check_language(text, task.language, settings.own_language, "the text")
