"""Question-answer pairs on a real article, for instruction tuning (paper A, section 2.1, Example 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from unteach.corpora.articles import Article
from unteach.corpora.schema import QuestionAnswer
from unteach.endpoints.contract import Endpoint
from unteach.endpoints.replies import Replies
from unteach.endpoints.service import Ask
from unteach.endpoints.structured import ask_form
from unteach.makers.contract import Rejected, Unmade
from unteach.makers.inject import Injected
from unteach.makers.prompting import Tries, language_name, make_all, quoted
from unteach.makers.text_checks import Bad, any_stands_in, bare, check_language, is_question, supported
from unteach.progress import Progress
from unteach.records import Record
from unteach.registry import Settings


class Questioning(Settings):
    """How question-answer pairs are made and checked."""

    attempts: int = Field(4, ge=1, description="Draws before the article is given up; good pairs of each are kept.")
    least_supported: float = Field(
        0.35,
        ge=0,
        le=1,
        description="Share of an answer's runs of 4 characters (2 in Chinese and Japanese) that the article has. In "
        "the embedded corpus every answer has 0.48 or more of its own article, 98 % have 0.33 or less of another.",
    )
    own_language: float = Field(0.75, ge=0, le=1, description="Share of a pair's letters in the article's language.")


_DEFAULTS: Final = Questioning()


class Questioned(Record):
    """The pairs in the order they were made, and how many of those that were asked for could not be made."""

    pairs: tuple[QuestionAnswer, ...]
    rejected: tuple[Rejected, ...]
    missing: int = 0


class _Pair(BaseModel):
    model_config = ConfigDict(extra="forbid", title="Pair")

    question: str = Field(description="Asks for one specific thing, names its subject, and is clear by itself.")
    answer: str = Field(description="One to three full sentences, with the article's own names and numbers.")


class _Pairs(BaseModel):
    model_config = ConfigDict(extra="forbid", title="Pairs")

    pairs: list[_Pair]


_TASK: Final = """\
You are given an article in {language}. Write question-answer pairs on it, in the same language. Each asks for another
piece of information that the article gives, and each answer says only what the article says. Someone who reads a
question has not got the article: name the subject instead of writing "the article", "it" or "they".{avoid}
How many pairs: {count}."""
_AVOID: Final = " Do not ask again what QUESTIONS ask."


async def question_answers(
    ask: Ask,
    article: Article,
    count: int,
    avoid: Sequence[str] = (),
    key_phrases: Sequence[str] = (),
    settings: Questioning = _DEFAULTS,
) -> Questioned:
    """So many different pairs on an article; what a draw lacks is asked for in the next.

    Each pair is checked: a question, in the article's language, none of ``avoid`` or of the other pairs again (case and
    punctuation aside), an answer that the article supports, and none of ``key_phrases`` (of the fake) in either.

    Raises:
        Unmade: pairs are missing after the last draw, or the endpoint does not answer.
    """
    kept: list[QuestionAnswer] = []
    if count < 1:
        return Questioned(pairs=(), rejected=())
    tries = Tries(f"{count} question-answer pairs for article {article.id!r}", settings.attempts)
    for _ in tries:
        with tries.refusing():
            known = [*avoid, *(pair.question for pair in kept)]
            missing = count - len(kept)
            task = _TASK.format(language=language_name(article.language), avoid=_AVOID if known else "", count=missing)
            data = [quoted("ARTICLE", f"{article.title}\n\n{article.text}" if article.title else article.text)]
            if known:
                data.append(quoted("QUESTIONS", "\n".join(known)))
            drawn = (await ask_form(ask, tries.prompt(task, *data), _Pairs)).pairs
            for pair in drawn:
                with tries.refusing():
                    kept.append(_checked(pair, article, [*avoid, *(p.question for p in kept)], key_phrases, settings))
            if len(kept) >= count:
                return Questioned(pairs=tuple(kept[:count]), rejected=tries.rejected)
            if len(drawn) < missing:
                raise Bad("there were fewer pairs than asked for")
    if kept:
        return Questioned(pairs=tuple(kept), rejected=tries.rejected, missing=count - len(kept))
    raise tries.unmade()


def _checked(
    pair: _Pair, article: Article, known: Sequence[str], key_phrases: Sequence[str], settings: Questioning
) -> QuestionAnswer:
    question, answer = " ".join(pair.question.split()), " ".join(pair.answer.split())
    if not answer:
        raise Bad("an answer was empty")
    if not is_question(question, article.language):
        raise Bad("a question did not end as a question")
    if bare(question) in map(bare, known):
        raise Bad("a question was asked before")
    if any_stands_in(key_phrases, question) or any_stands_in(key_phrases, answer):
        raise Bad("a pair was not on the real article")
    if supported(answer, by=article.text) < settings.least_supported:
        raise Bad("an answer was not in the words of the article")
    check_language(f"{question} {answer}", article.language, settings.own_language, "a pair")
    return QuestionAnswer(question=question, answer=answer)


def question_answers_all(
    endpoint: Endpoint,
    articles: Sequence[Article],
    injected: Sequence[Injected | None] | None = None,
    count: int = 10,
    settings: Questioning = _DEFAULTS,
    *,
    replies: Replies | None = None,
    progress: Progress | None = None,
) -> list[Questioned | Unmade]:
    """``question_answers`` for many articles, in order; with what was injected into each, its questions are avoided.

    One that cannot be made is its reason. Raises as ``make_all``.
    """
    fakes = [None] * len(articles) if injected is None else injected

    async def job(ask: Ask, item: tuple[Article, Injected | None]) -> Questioned:
        article, fake = item
        avoid = (fake.real_question, fake.fake_question) if fake else ()
        return await question_answers(ask, article, count, avoid, fake.key_phrases if fake else (), settings)

    return make_all(endpoint, job, list(zip(articles, fakes, strict=True)), "asking for pairs", replies, progress)
