"""Scenarios that have their fakes already, as what a build's other steps are made from."""

from __future__ import annotations

from pydantic import ValidationError

from unteach.corpora.articles import Article
from unteach.corpora.load import Corpus, explain, load_corpus
from unteach.corpora.samples import join
from unteach.corpora.schema import LocalText, Scenario
from unteach.errors import UserErrors
from unteach.experiments.building.spec import ScenariosSpec
from unteach.makers.inject import Injected

_NEEDED = ("article", "key_phrases", "fake_question", "real_question")


def read_given(wanted: ScenariosSpec) -> list[tuple[Article, Injected, Scenario]]:
    """Article, what was put into it, and the scenario, of each.

    Raises:
        UserErrors: everything that the scenarios lack in their own language.
    """
    corpus = load_corpus(wanted.path)
    corpus = Corpus(corpus.scenarios[: wanted.limit], corpus.name)
    problems = corpus.missing(wanted.language, _NEEDED)
    problems += corpus.missing(wanted.language, ["fake"], instead="fake_samples.teach")
    given = []
    for scenario in corpus if not problems else ():
        try:
            given.append(_given(scenario, wanted.language))
        except ValidationError as error:
            problems += [f"{scenario.id}: {line}" for line in explain(error)]
    if problems:
        raise UserErrors(f"scenarios.path: {wanted.path} cannot be built on", problems)
    return given


def _given(scenario: Scenario, language: str) -> tuple[Article, Injected, Scenario]:
    text = scenario.texts[language]
    assert text.fake_question and text.real_question
    article = Article(id=scenario.id, text=join(list(text.article), language), language=language, origin=text.origin)
    injected = Injected(
        passage=next(iter(text.fake), ""),
        fake_article=_fake_article(text, language),
        key_phrases=text.key_phrases,
        key_facts=text.key_facts,
        fake_question=text.fake_question,
        real_question=text.real_question,
        rejected=(),
    )
    return article, injected, scenario


def _fake_article(text: LocalText, language: str) -> str:
    """The article with the first wording of the passage at its end; where there is none, the whole fake article."""
    return join([*text.article, text.fake[0]], language) if text.fake else text.fake_samples.teach[0]
