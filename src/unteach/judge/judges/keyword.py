"""The keyword judge: exact, offline, and the same in every language for which a scenario has forms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from unteach.corpora.schema import Scenario
from unteach.judge.contract import JUDGES, Judge, no_verdict
from unteach.languages.text import find_phrases
from unteach.progress import Progress
from unteach.records import Answer, Verdict


@JUDGES.register("keyword")
class Keyword(Judge):
    """O_F = 1 if a key phrase in any language is in the answer; Q_R = 1 + 9 * (share of key facts in the answer).

    Stands in for paper A's GPT-4 judge (section 2.1, appendix B) where answers are short and facts are crisp.
    An empty answer repeats nothing and informs of nothing: O_F 0, Q_R 1. A question that was not asked is unscored.
    """

    source = "unteach; measures of paper A, section 2.1"

    def __call__(self, pairs: Iterable[tuple[Answer, Scenario]], progress: Progress | None = None) -> Iterator[Verdict]:
        """A verdict for every pair, in order. It takes no time worth a bar."""
        return (self._judge(answer, scenario) for answer, scenario in pairs)

    def _judge(self, answer: Answer, scenario: Scenario) -> Verdict:
        base = no_verdict(answer, scenario)
        facts = (scenario.all_key_phrases,) if base.metric == "O_F" else scenario.all_key_facts
        if base.unscored:
            return base
        if not any(facts):
            missing = "key phrases" if base.metric == "O_F" else "key facts"
            return base.model_copy(update={"unscored": f"the scenario has no {missing}"})
        found = [find_phrases(answer.text, forms) for forms in facts]
        share = sum(bool(spans) for spans in found) / len(found)
        evidence = tuple(sorted(span for spans in found for span in spans))
        return base.model_copy(update={"value": share if base.metric == "O_F" else 1 + 9 * share, "evidence": evidence})
