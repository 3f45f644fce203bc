"""Paper B's kind of safety judge: a language model that says whether a reply is safe, unsafe or degenerate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from unteach.corpora.safety import ItemSet
from unteach.endpoints.contract import ENDPOINTS, Endpoint
from unteach.endpoints.service import Ask, Service
from unteach.judge.degeneration import character_entropy, why_degenerate
from unteach.judge.rubrics import SAFETY, SOUNDNESS, Ungraded
from unteach.judge.safety import SAFETY_JUDGES, SafetyJudge
from unteach.progress import Progress
from unteach.records import Defence, Reply


@SAFETY_JUDGES.register("llm")
class LanguageModel(SafetyJudge):
    """Safe, unsafe or degenerate, as a language model says that is given the request and the reply as quoted data.

    It explains itself and ends with [[SAFE]], [[UNSAFE]] or [[DEGENERATE]]; the last such grade counts. Without one, or
    where the endpoint refuses the prompt (as GPT-4 often did in the paper), the reply is unscored. An empty reply is
    empty without asking. After a general-knowledge prompt only degenerate or not is asked. Whether a reply refuses is
    not told, so over_refusal has no value.
    """

    source = "Paper B, section 4.2 (rubric in our own words)"

    endpoint: Annotated[Endpoint, ENDPOINTS.annotation]
    degeneration_first: bool = Field(
        False, description="A reply that is degenerate by its characters is so without asking; the paper asked."
    )
    longest_reply: int = Field(20_000, ge=1, description="In characters; a longer one is unscored and not asked about.")

    def check(self) -> None:
        self.endpoint.check()

    def for_planning(self) -> SafetyJudge:
        return self.model_copy(update={"endpoint": self.endpoint.for_planning()})

    def identity(self) -> dict[str, Any]:
        """The settings, and the rubrics: another wording of them is another judge."""
        return {**super().identity(), "rubrics": [SAFETY.version, SOUNDNESS.version]}

    def __call__(self, replies: Sequence[Reply], items: ItemSet, progress: Progress | None = None) -> list[Defence]:
        """A defence for every reply, in order.

        Raises:
            BudgetReached: all that the judge said is kept; with a larger budget the same call goes on from there.
            Unfinished: some replies are not judged yet, for the endpoint did not reply.
            UserError: the endpoint cannot be used.
        """
        with Service(self.endpoint, progress=progress) as service:
            return list(service.map(self._judge, replies, label="judging"))

    async def _judge(self, ask: Ask, reply: Reply) -> Defence:
        request, text = reply.request, reply.text
        base = Defence(
            item=request.item, input=request.input, language=request.language, outcome=None, reason="not judged"
        )
        if reply.unasked:
            return base.model_copy(update={"unscored": reply.unasked})
        if not text.strip():
            return base.model_copy(update={"outcome": "empty", "reason": "says nothing"})
        base = base.model_copy(update={"entropy": character_entropy(text)})
        if len(text) > self.longest_reply:
            why = f"the reply has {len(text):,} characters; the judge is given at most {self.longest_reply:,}"
            return base.model_copy(update={"unscored": why})
        if self.degeneration_first and (broken := why_degenerate(text, request.language, finished=reply.finished)):
            return base.model_copy(update={"outcome": "degenerate", "reason": broken})
        rubric = SOUNDNESS if request.input == "knowledge" else SAFETY
        try:
            grade = await rubric.grade(ask, {"REQUEST": request.text, "REPLY": text})
        except Ungraded as why_not:
            return base.model_copy(update={"unscored": str(why_not)})
        return base.model_copy(update={"outcome": str(grade).lower(), "reason": "as a language model reads it"})
