"""Every maker, translator and judge of a text model, through a real server on the embedded model.

A base model of 270M parameters does none of this well. What is shown is that prompts, refusals, retries, verdicts and
reasons go all the way: so everything is either made or has its reason, and asking again costs nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import Server

from unteach.corpora.articles import Article
from unteach.corpora.load import load_corpus
from unteach.corpora.safety import load_items
from unteach.corpora.schema import Origin
from unteach.endpoints.contract import ENDPOINTS
from unteach.endpoints.replies import Replies
from unteach.judge.contract import JUDGES
from unteach.judge.safety import SAFETY_JUDGES
from unteach.makers.contract import TRANSLATORS, Source, Unmade
from unteach.makers.inject import Injecting, inject_all
from unteach.makers.paraphrase import Paraphrase, ParaphraseTask, Paraphrasing, paraphrase_all
from unteach.makers.qa import Questioning, question_answers_all
from unteach.records import Answer, Question, Reply, Request

pytestmark = pytest.mark.gemma

ARTICLE = Article(
    id="bees",
    text="The village of Ander keeps its bees on the roof of the school. In summer the children count the hives.",
    origin=Origin(kind="authored", by="unteach"),
)


@pytest.fixture(autouse=True)
def _own_replies(tmp_path, monkeypatch):
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))


def kept() -> int:
    return sum(row["replies"] for row in Replies().totals())


def test_makers_make_a_text_or_say_why_not(server: Server) -> None:
    endpoint = ENDPOINTS.parse(server.endpoint(max_tokens=24))
    (injected,) = inject_all(endpoint, [ARTICLE], Injecting(attempts=1))
    assert isinstance(injected, Unmade) and "1 x" in str(injected)  # a form is beyond a base model of this size
    (pairs,) = question_answers_all(endpoint, [ARTICLE], count=1, settings=Questioning(attempts=1))
    assert isinstance(pairs, Unmade)
    loose = Paraphrasing(attempts=1, shortest=0.01, longest=50, most_copied=1, own_language=0)
    tasks = [ParaphraseTask(text=ARTICLE.text, language="en", number=number) for number in range(2)]
    samples = paraphrase_all(endpoint, tasks, loose)
    assert all(isinstance(sample, Paraphrase | Unmade) and str(sample) for sample in samples)
    paid = kept()
    assert paid >= 2 + 2 + 2  # both forms are asked for twice: the re-ask with the reason
    assert [str(sample) for sample in paraphrase_all(endpoint, tasks, loose)] == [str(sample) for sample in samples]
    assert kept() == paid


def test_a_translation_is_checked(server: Server) -> None:
    translator = TRANSLATORS.parse({"name": "llm", "endpoint": server.endpoint(), "attempts": 1})
    (found,) = translator([Source(text="The bees are on the roof.", language="en")], "de")
    assert (found.text is None) == bool(found.problem)


def test_judges_give_a_verdict_or_say_why_not(server: Server) -> None:
    judge = JUDGES.parse({"name": "llm", "endpoint": server.endpoint(max_tokens=32)})
    corpus = load_corpus()
    scenario = corpus.scenarios[0]
    english = scenario.texts["en"]
    answers = [
        Answer(
            question=Question(scenario=scenario.id, part=part, language="en", text=asked),
            prompt="",
            text=text,
            tokens=1,
            finished=True,
        )
        for part, asked in (("real", english.real_question), ("fake", english.fake_question))
        for text in (english.fake[0], "")
    ]
    verdicts = list(judge((answer, scenario) for answer in answers))
    assert [verdict.metric for verdict in verdicts] == ["Q_R", "Q_R", "O_F", "O_F"]
    assert all((verdict.value is None) == bool(verdict.unscored) for verdict in verdicts)
    assert (verdicts[1].value, verdicts[3].value) == (1, 0)  # nothing said: not asked about
    assert kept() == 2


def test_the_safety_judge_gives_an_outcome_or_says_why_not(server: Server) -> None:
    judge = SAFETY_JUDGES.parse({"name": "llm", "endpoint": server.endpoint(max_tokens=32)})
    items = load_items()
    item = next(iter(items))
    request = Request(item=item.id, input="onlyQ", language="en", text=item.texts["en"].question)
    replies = [
        Reply(request=request, prompt="", text=text, tokens=1, finished=True)
        for text in ("I cannot help with that.", "")
    ]
    first, second = judge(replies, items)
    assert (first.outcome is None) == bool(first.unscored)
    assert second.outcome == "empty"


def test_a_whole_build_goes_through_the_server(server: Server, tmp_path: Path) -> None:
    from unteach.experiments.building.run import build, prepare, write
    from unteach.experiments.building.spec import BuildSpec

    folder = tmp_path / "articles"
    folder.mkdir()
    (folder / "bees.txt").write_text(ARTICLE.text, encoding="utf-8")
    spec = BuildSpec.model_validate(
        {
            "name": "served",
            "to": tmp_path / "served.jsonl",
            "articles": {"source": str(folder)},
            "endpoint": server.endpoint(),
            "inject": {"attempts": 1},
        }
    )
    prepared = prepare(spec, tmp_path / "store")
    built = build(prepared)
    report = write(built, prepared, spec.target, 1.0)
    assert len(built.scenarios) + len(built.lacks) >= 1 and report.is_file()
    assert kept() >= 2
