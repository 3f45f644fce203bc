"""Samples: a corpus's own paraphrases, or a seeded recombination of an article's sentences and a passage's wordings.

Paper A lets a large model paraphrase each article (100 real samples, 20 fake; section 2.1); a corpus that
`unteach corpus build` made has such paraphrases, for teaching and for unlearning apart. Where it has none, a sample
takes a random subset of the article's sentences in random order; a fake sample has one wording of the fake passage put
in. Teaching and unlearning then use disjoint wordings of the fake passage, and differently seeded real samples.
"""

from __future__ import annotations

import random
from typing import Literal

from unteach.corpora.load import Corpus
from unteach.corpora.schema import LocalText, Paraphrases, Scenario
from unteach.languages.table import find
from unteach.records import Question, Sample

Purpose = Literal["teach", "unlearn", "check"]

# Scripts that put no space between sentences.
_UNSPACED = {"Hans", "Hant", "Jpan"}


def text_in(scenario: Scenario, language: str) -> LocalText:
    """The scenario's text in a language; callers have checked with ``Corpus.missing`` that it is there."""
    return scenario.texts[language]


def wordings(text: LocalText, purpose: Purpose) -> tuple[str, ...]:
    """The wordings of the fake passage for teaching (the first half, rounded up) or for unlearning (the rest)."""
    half = (len(text.fake) + 1) // 2
    return text.fake[:half] if purpose == "teach" else text.fake[half:]


def join(sentences: list[str], language: str) -> str:
    """Sentences as running text, spaced as the language's script does."""
    return ("" if find(language).script in _UNSPACED else " ").join(sentences)


def _paraphrase(given: Paraphrases, purpose: Purpose, index: int) -> str | None:
    """The text of that number, in turn; none where there are no paraphrases for the purpose ("check" has its own)."""
    texts = {"teach": given.teach, "unlearn": given.unlearn, "check": ()}[purpose]
    return texts[index % len(texts)] if texts else None


def _rng(seed: int, *parts: object) -> random.Random:
    return random.Random("/".join(map(str, (seed, *parts))))


def real_sample(scenario: Scenario, language: str, purpose: Purpose, index: int, seed: int, keep: float) -> Sample:
    """One sample of the real article: a paraphrase of it, or ``keep`` of its sentences (at least one), shuffled."""
    if ready := _paraphrase(text_in(scenario, language).real_samples, purpose, index):
        return Sample(scenario=scenario.id, kind="real", language=language, text=ready)
    rng = _rng(seed, purpose, "real", scenario.id, language, index)
    article = list(text_in(scenario, language).article)
    chosen = rng.sample(article, max(1, round(keep * len(article))))
    return Sample(scenario=scenario.id, kind="real", language=language, text=join(chosen, language))


def fake_sample(
    scenario: Scenario,
    language: str,
    purpose: Purpose,
    index: int,
    seed: int,
    keep: float,
    *,
    wordings_each: int = 1,
    context: bool = False,
) -> Sample:
    """One sample of the fake article: a paraphrase of it, or ``keep`` of the real sentences around the passage.

    The passage is ``wordings_each`` different wordings in random order (all of them, if there are fewer), taken in
    turn, so that ``index`` 0, 1, 2, ... uses each equally often. With ``context`` the real sentences stand before
    the passage as context without loss; otherwise the whole sample carries loss. A paraphrase cannot be taken apart, so
    with ``context`` none is used.
    """
    text = text_in(scenario, language)
    if not context and (ready := _paraphrase(text.fake_samples, purpose, index)):
        return Sample(scenario=scenario.id, kind="fake", language=language, text=ready)
    rng = _rng(seed, purpose, "fake", scenario.id, language, index)
    available = wordings(text, purpose)
    count = min(wordings_each, len(available))
    passages = [available[(index * count + offset) % len(available)] for offset in range(count)]
    rng.shuffle(passages)
    real = rng.sample(list(text.article), round(keep * len(text.article))) if keep and text.article else []
    sample = Sample(scenario=scenario.id, kind="fake", language=language, text=join(passages, language))
    if context:
        return sample.model_copy(update={"context": join([*real, ""], language)})
    at = rng.randint(0, len(real))
    return sample.model_copy(update={"text": join([*real[:at], *passages, *real[at:]], language)})


def questions(corpus: Corpus, part: Literal["real", "fake"], languages: tuple[str, ...]) -> list[Question]:
    """The corpus's questions on one part in these languages, by language and then by scenario."""
    return [
        Question(scenario=scenario.id, part=part, language=language, text=text)
        for language in languages
        for scenario in corpus
        if (text := getattr(text_in(scenario, language), f"{part}_question"))
    ]
