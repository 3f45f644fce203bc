"""The papers' kind of judge: a language model with a rubric, whose grade is read off its reply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from unteach.corpora.samples import join
from unteach.corpora.schema import LocalText, Scenario
from unteach.endpoints.contract import ENDPOINTS, Endpoint
from unteach.endpoints.service import Ask, Service
from unteach.judge.contract import JUDGES, Judge, no_verdict
from unteach.judge.rubrics import OCCURRENCE, QUALITY, Ungraded
from unteach.languages.table import find
from unteach.progress import Progress
from unteach.records import Answer, Verdict


@JUDGES.register("llm")
class LanguageModel(Judge):
    """O_F = 1 if a language model finds the fake claim in the answer; Q_R = its rating of the answer, 1 to 10.

    The model is given the article, the question, the answer and, for O_F, the key phrases, all as quoted data; it
    explains itself and ends with [[7]], or [[YES]] or [[NO]]. The last such grade counts. Without one, with one out of
    range, or where the endpoint refuses the prompt, the answer is unscored. An empty answer is not asked about: O_F 0,
    Q_R 1, as the keyword judge has it.
    """

    source = "Paper A, section 2.1 and appendix B (rubrics in our own words)"

    endpoint: Annotated[Endpoint, ENDPOINTS.annotation]
    article_language: str | None = Field(
        None,
        description="In which language the article is given. Where the scenario has none in it, or this is left out: "
        "the question's, else English, else the scenario's first.",
    )
    phrases: Literal["near", "all"] = Field(
        "near",
        description="Which key phrases are given: those in the question's and the article's language (all, if there "
        "are none), or those in every language.",
    )
    longest_answer: int = Field(
        20_000, ge=1, description="In characters; a longer one is unscored and not asked about."
    )

    @field_validator("article_language")
    @classmethod
    def _known(cls, code: str | None) -> str | None:
        return code and find(code).code

    def check(self) -> None:
        self.endpoint.check()

    def for_planning(self) -> Judge:
        return self.model_copy(update={"endpoint": self.endpoint.for_planning()})

    def identity(self) -> dict[str, Any]:
        """The settings, and the rubrics: another wording of them is another judge."""
        return {**super().identity(), "rubrics": [QUALITY.version, OCCURRENCE.version]}

    def __call__(self, pairs: Iterable[tuple[Answer, Scenario]], progress: Progress | None = None) -> Iterator[Verdict]:
        """A verdict for every pair, in order.

        Raises:
            BudgetReached: every reply so far is kept; with a larger budget the same call goes on from there.
            Unfinished: some answers have no verdict yet, for the endpoint did not reply.
            UserError: the endpoint cannot be used.
        """

        async def judge(ask: Ask, pair: tuple[Answer, Scenario]) -> Verdict:
            return await self._judge(ask, *pair)

        with Service(self.endpoint, progress=progress) as service:
            yield from service.map(judge, pairs, label="judging")

    async def _judge(self, ask: Ask, answer: Answer, scenario: Scenario) -> Verdict:
        base = no_verdict(answer, scenario)
        if base.unscored:
            return base
        occurrence = base.metric == "O_F"
        code, article = self._article(scenario, base.language)
        texts = {"ARTICLE": article} if article else {}
        if occurrence:
            texts["TARGET INFORMATION"] = "\n".join(self._phrases(scenario, (base.language, code)))
        texts |= {"QUESTION": answer.question.text, "ANSWER": answer.text}
        if why := self._why_not(answer, texts, occurrence):
            return base.model_copy(update={"unscored": why})
        if not answer.text.strip():
            return base.model_copy(update={"value": 0.0 if occurrence else 1.0})
        try:
            grade = await (OCCURRENCE if occurrence else QUALITY).grade(ask, texts)
        except Ungraded as why_not:
            return base.model_copy(update={"unscored": str(why_not)})
        return base.model_copy(update={"value": float(grade == "YES") if occurrence else grade})

    def _why_not(self, answer: Answer, texts: dict[str, str], occurrence: bool) -> str | None:
        if occurrence and not texts["TARGET INFORMATION"]:
            return "the scenario has no key phrases"
        if not occurrence and "ARTICLE" not in texts:
            return "the scenario has no article"
        if len(answer.text) > self.longest_answer:
            return f"the answer has {len(answer.text):,} characters; the judge is given at most {self.longest_answer:,}"
        return None

    def _article(self, scenario: Scenario, asked: str) -> tuple[str, str]:
        """Language and text of the article that is given; an empty text if there is none in any language."""
        for code in dict.fromkeys((self.article_language, asked, "en", *scenario.texts)):
            if code in scenario.texts and (article := _running(scenario.texts[code], code)):
                return code, article
        return asked, ""

    def _phrases(self, scenario: Scenario, near: tuple[str, ...]) -> tuple[str, ...]:
        texts = [scenario.texts[code] for code in near if code in scenario.texts] if self.phrases == "near" else []
        return tuple(dict.fromkeys(phrase for text in texts for phrase in text.key_phrases)) or scenario.all_key_phrases


def _running(text: LocalText, language: str) -> str:
    """The article as running text; where there are only paraphrases of it, the first."""
    if text.article:
        return join(list(text.article), language)
    return next(iter((*text.real_samples.teach, *text.real_samples.unlearn)), "")
