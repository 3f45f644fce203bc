"""A stand-in for a corpus that is not there yet, of the size it will have, so that work can be counted without it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pydantic import Field

from unteach.corpora.load import Corpus, load_corpus
from unteach.corpora.schema import LocalText, Origin, QuestionAnswer, Scenario
from unteach.languages.table import find
from unteach.registry import Settings

RELATIVE_LENGTH = {
    "Latn": 1.12, "Hans": 0.91, "Hant": 0.90, "Jpan": 1.30, "Cyrl": 1.73, "Grek": 2.07, "Armn": 1.88, "Arab": 1.62,
    "Deva": 2.57, "Beng": 2.59, "Ethi": 1.80, "Thai": 2.80,
}  # fmt: skip
"""UTF-8 bytes of a text by its script, relative to the same text in English.

From the embedded corpus's fake passages, averaged over its languages in a script (Latin: 0.99 in Swedish to 1.23 in
Somali). Ethiopic and Thai are not measured: guessed from three bytes a character and fewer characters.
"""


class PlannedCorpus(Settings):
    """The size of a corpus that is not there yet. Lengths are UTF-8 bytes in English; other scripts have their own."""

    scenarios: int = Field(100, ge=1)
    article_sentences: int = Field(20, ge=1)
    sentence_bytes: int = Field(125, ge=20)
    fake_bytes: int = Field(600, ge=20, description="One wording of the fake passage.")
    wordings: int = Field(6, ge=2, description="Wordings of the fake passage.")
    question_bytes: int = Field(160, ge=20)
    answer_bytes: int = Field(330, ge=20, description="The answer of a question-answer pair.")
    qa: int = Field(10, ge=0, description="Question-answer pairs a scenario.")


def planned_corpus(planned: PlannedCorpus, languages: Iterable[str], asked: Collection[str], name: str) -> Corpus:
    """Filler of that size in these languages: cuttings of the embedded corpus's texts in each.

    A language that the embedded corpus lacks is filled with its own name over and over, which has its script at least.
    Questions on the real articles are in the languages ``asked`` alone.
    """
    embedded = load_corpus()
    material = {code: _material(embedded, code) for code in dict.fromkeys(languages)}
    return Corpus(
        (
            Scenario(
                id=f"planned-{number:05d}",
                texts={code: _filler(planned, code, text, number, code in asked) for code, text in material.items()},
            )
            for number in range(planned.scenarios)
        ),
        name,
    )


def _material(embedded: Corpus, code: str) -> bytes:
    texts = [scenario.texts[code] for scenario in embedded if code in scenario.texts]
    sentences = [sentence for text in texts for sentence in (*text.article, *text.fake)]
    return (" ".join(sentences or [find(code).own_name]) + " ").encode()


def _filler(planned: PlannedCorpus, code: str, material: bytes, scenario: int, asked: bool) -> LocalText:
    ratio = 1.0 if code == "en" else RELATIVE_LENGTH.get(find(code).script, 1.0)

    def piece(english_bytes: int, number: int) -> str:
        size = round(english_bytes * ratio)
        start = (scenario * planned.article_sentences + number) * size % len(material)
        cut = material[start : start + size]
        while len(cut) < size:
            cut += material[: size - len(cut)]
        return cut.decode(errors="ignore").strip()  # a character cut in two is left out

    return LocalText(
        origin=Origin(kind="machine-written", by="filler for planning"),
        article=tuple(piece(planned.sentence_bytes, number) for number in range(planned.article_sentences)),
        fake=tuple(piece(planned.fake_bytes, number) for number in range(planned.wordings)),
        key_phrases=("-",),
        key_facts=(("-",),) if asked else (),
        fake_question=piece(planned.question_bytes, 0),
        real_question=f"? {piece(planned.question_bytes, 1)}" if asked else None,  # unlike every qa question
        qa=tuple(
            QuestionAnswer(question=piece(planned.question_bytes, number), answer=piece(planned.answer_bytes, number))
            for number in range(planned.qa)
        ),
    )
