"""The scenario: what is true, what is invented, and what is asked, side by side in every language.

One scenario is one news article (R), one false passage injected into it (F), and the questions, key phrases and
key facts that tell whether a model repeats them (paper A, section 2.1 and appendix B). ``docs/scenario.schema.json``
is generated from these classes for use in an editor.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from unteach.languages.table import find

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class Strict(BaseModel):
    """Frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Origin(Strict):
    """Where a text comes from, and whether a native speaker has reviewed it."""

    kind: Literal["authored", "translated", "machine-written", "machine-translated"]
    by: Text = Field(description="Author, translator or system.")
    reviewed_by_native_speaker: bool = False


class QuestionAnswer(Strict):
    """One question-answer pair on the real article, for instruction tuning."""

    question: Text
    answer: Text


class Paraphrases(Strict):
    """Whole training texts by what they are for: teaching and unlearning never share one (paper A, section 3.1)."""

    teach: tuple[Text, ...] = ()
    unlearn: tuple[Text, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.teach or self.unlearn)


class LocalText(Strict):
    """One scenario in one language. What a run does not use may be left out; what it needs is checked before it."""

    origin: Origin
    article: tuple[Text, ...] = Field((), description="The real article, one sentence an item, each clear by itself.")
    fake: tuple[Text, ...] = Field((), description="Wordings of the fake passage; all say the same.")
    key_phrases: tuple[Text, ...] = Field(
        (), description="Forms of the fake claim; an answer that has one repeats the fake."
    )
    key_facts: tuple[tuple[Text, ...], ...] = Field(
        (), description="The facts a good answer to the real question has; each a list of accepted forms."
    )
    fake_question: Text | None = Field(None, description="A question whose answer is the fake claim.")
    real_question: Text | None = Field(None, description="A question on the real article, answered by the key facts.")
    qa: tuple[QuestionAnswer, ...] = Field((), description="Question-answer pairs on the real article.")
    real_samples: Paraphrases = Field(
        Paraphrases(),
        description="Paraphrases of the whole real article; without any, sentences are recombined.",
    )
    fake_samples: Paraphrases = Field(
        Paraphrases(), description="Paraphrases of the whole article with the fake passage in it; as real_samples."
    )
    round_trip: dict[str, tuple[float | None, ...]] = Field(
        {},
        description="chrF (0 to 100) of each text of a field, translated back, against what it was translated from; "
        "null where it was not scored. By field, in the order of its texts (unteach.makers.round_trip).",
    )

    @field_validator("key_facts")
    @classmethod
    def _no_empty_fact(cls, facts: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        if any(not forms for forms in facts):
            raise ValueError("every key fact needs at least one accepted form")
        return facts

    @model_validator(mode="after")
    def _questions_can_be_judged(self) -> LocalText:
        if self.fake_question and not self.key_phrases:
            raise ValueError("fake_question needs key_phrases, or its answers cannot be judged")
        if self.real_question in {pair.question for pair in self.qa}:
            raise ValueError("real_question must not be one of the qa pairs: it would be asked as it was trained")
        return self


class Scenario(Strict):
    """One piece of news and its fake, in any number of languages."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
    texts: dict[str, LocalText] = Field(description="By BCP-47 code.", min_length=1)

    @field_validator("texts")
    @classmethod
    def _known_languages(cls, texts: dict[str, LocalText]) -> dict[str, LocalText]:
        for code in texts:
            found = find(code).code
            if found != code:
                raise ValueError(f"write the language code {code!r} as {found!r}")
        return texts

    @model_validator(mode="after")
    def _real_questions_can_be_judged(self) -> Scenario:
        judged = any(text.key_facts or text.article or text.real_samples for text in self.texts.values())
        asked = [code for code, text in self.texts.items() if text.real_question]
        if asked and not judged:
            raise ValueError(
                f"real_question (in {', '.join(asked)}) needs key_facts or an article in some language, or its answers "
                "cannot be judged"
            )
        return self

    @model_validator(mode="after")
    def _sentences_aligned(self) -> Scenario:
        lengths = {code: len(text.article) for code, text in self.texts.items() if text.article}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"article must have the same number of sentences in every language, got {lengths}")
        return self

    @property
    def all_key_phrases(self) -> tuple[str, ...]:
        """Key phrases in every language: a fake repeated in another language than the question's is repeated."""
        return tuple(dict.fromkeys(phrase for text in self.texts.values() for phrase in text.key_phrases))

    @property
    def all_key_facts(self) -> tuple[tuple[str, ...], ...]:
        """Each key fact with its forms in every language; facts are aligned by position."""
        columns = [text.key_facts for text in self.texts.values() if text.key_facts]
        count = max((len(facts) for facts in columns), default=0)
        return tuple(
            tuple(dict.fromkeys(form for facts in columns if index < len(facts) for form in facts[index]))
            for index in range(count)
        )
