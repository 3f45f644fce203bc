"""The spec at paper A's scale: planned with nothing at hand, and run whole with everything but its sizes."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pandas as pd
import pytest

from unteach.corpora.planned import PlannedCorpus, planned_corpus
from unteach.errors import UserError
from unteach.experiments.estimate import estimate, needed_languages, prepare_to_plan
from unteach.experiments.run import prepare, run
from unteach.experiments.show_plan import duration, plan_lines, plan_table
from unteach.experiments.spec import read_spec
from unteach.experiments.sweep import read_points
from unteach.progress import NoProgress

SPEC = Path(__file__).parents[2] / "experiments" / "every-language-counts.yaml"

SIZES = [  # all that is changed for the run
    "model.dtype=float32",
    "sources=[de]",
    "question_languages=[en, de]",
    "fake_question_languages=[es]",
    "teach.samples.real=5",
    "teach.samples.fake=1",
    "teach.schedule.accumulation=2",
    "teach.schedule.max_steps=3",
    "teach.instruct.schedule.batch_size=2",
    "teach.instruct.schedule.accumulation=1",
    "teach.instruct.schedule.max_steps=2",
    "unlearn.schedule.accumulation=2",
    "unlearn.schedule.max_steps=3",
    "unlearn.forget.samples=2",
    "unlearn.checkpoints=1",
    "probe.retain_texts=2",
    "ask.max_new_tokens=4",
]


@pytest.fixture
def small(tiny_folder, tmp_path) -> list[str]:
    """The overrides, with a tiny model and a corpus of two scenarios in all languages that the strategies need."""
    languages = needed_languages(read_spec(SPEC))
    planned = PlannedCorpus(scenarios=2, article_sentences=3, sentence_bytes=20, fake_bytes=40, qa=2)
    corpus = planned_corpus(planned, languages, set(languages), "small")
    place = tmp_path / "corpus.json"
    place.write_text(json.dumps([scenario.model_dump(mode="json") for scenario in corpus]), encoding="utf-8")
    return [*SIZES, f"model.path={tiny_folder('llama')}", f"corpus.path={place}"]


def test_the_spec_has_the_papers_settings() -> None:
    spec = read_spec(SPEC)
    teach, unlearn = spec.teach, spec.unlearn
    assert unlearn is not None and teach.instruct.tuning is not None and teach.instruct.schedule is not None
    ranks = [tuning.model_dump()["rank"] for tuning in (teach.tuning, teach.instruct.tuning, unlearn.tuning)]
    assert ranks == [1024, 8, 128]
    rates = [schedule.lr for schedule in (teach.schedule, teach.instruct.schedule, unlearn.schedule)]
    assert rates == [5e-5, 1e-5, 1e-5]
    assert (teach.samples.real, teach.samples.fake, unlearn.forget.samples) == (100, 20, 20)
    assert teach.samples.keep == teach.samples.keep_fake == unlearn.forget.keep == unlearn.forget.keep_real == 1
    assert [rule.registered_name for rule in unlearn.stop] == ["quality_drop", "perplexity"]
    objective = unlearn.objective.model_dump()
    assert [objective[name] for name in ("forget_weight", "retain_weight", "forget_cap")] == [1, 1, None]
    assert len(spec.sources) == len(spec.question_languages) == 9
    names = [strategy.registered_name for strategy in unlearn.strategies]
    assert names == ["english", "source", "family", "multilingual", "combined"]


def test_it_is_planned_without_weights_corpus_or_network(tmp_path, monkeypatch) -> None:
    reached = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *place, **_: reached.append(place))
    monkeypatch.setattr(socket.socket, "connect", lambda self, place: reached.append(place))
    result = estimate(prepare_to_plan(read_points(SPEC, ["sources=[de]", "corpus.planned.scenarios=20"]), tmp_path))
    assert not reached
    # R-only, contaminated and five unlearned models; both questions in nine languages and one in three more
    assert result.amount("prompts") == result.amount("verdicts") == 7 * (9 * 2 * 20 + 3 * 20)
    # five checkpoints an unlearning, at which the fake questions are asked in nine languages and the real ones in one
    assert result.prompts_at_checkpoints == 5 * 5 * 10 * 20
    # an article has 20 * 125 bytes and 19 spaces, 4.5 bytes a token; a question 160 and an answer 330 bytes
    teach = {line.stage.name: line.amount for line in result.lines if line.stage.kind == "learn"}
    by_hand = 20 * 100 * (1 + 2519 / 4.5) + 20 * 10 * (1 + (160 + 330 + 20) / 4.5)
    assert teach["teach R only"] == pytest.approx(by_hand, rel=0.02)
    # German bytes are 1.12 times the English ones, three of them a token
    fake = 20 * 20 * (1 + 1.12 * (2519 + 600) / 3.0)
    assert teach["teach R and F in de"] == pytest.approx(by_hand + fake, rel=0.02)
    unlearn = [line.amount for line in result.lines if line.stage.kind == "unlearn"]
    # as much German as in `teach R and F in de`, and a retain article with each
    assert unlearn[1] == pytest.approx(fake + 20 * 20 * (1 + 2519 / 4.5), rel=0.02)
    assert unlearn[3] > 2 * unlearn[0]  # multilingual doubles the data, in costlier languages than English
    text = "\n".join(plan_lines(result, 2**30))
    for words in ("A100 80 GB", "device-hours", "if 8 share", "of 80 GiB", "teaching", "GPT-4 Turbo", "estimate"):
        assert words in text
    for words in ("meta-llama/Meta-Llama-3-8B are not on this machine", "Armn 1.14", "data/every-language-counts"):
        assert words in text
    assert result.fullest.name == "teaching"
    # weights of 8.03 and adapters of 2.68 milliards of numbers: 2 and 22 bytes each, and what a batch needs
    assert 8.03e9 * 2 + 2.684e9 * 22 < result.peak_bytes < 80 * 2**30


def test_calls_of_services_are_those_of_the_paper(tmp_path) -> None:
    overrides = ["unlearn=null", "corpus.planned.article_sentences=1"]
    result = estimate(prepare_to_plan(read_points(SPEC, overrides), tmp_path))
    calls = {cost.what: cost.calls for cost in result.costs}
    assert calls["paraphrasing real articles"] == 10_000
    assert calls["paraphrasing fake articles"] == 2_000
    assert calls["writing questions"] == 200
    assert calls["translating questions"] == 200 * 8 + 100 * 3
    assert calls["judging final answers"] == 10 * (200 * 9 + 100 * 3)
    assert result.money == pytest.approx(sum(cost.money for cost in result.costs))
    lines = list(plan_lines(result, 0))
    assert any(f"{result.money:,.2f}  USD in all" in line for line in lines)


def test_a_long_plan_is_shown_by_kind_and_whole_if_asked(tmp_path) -> None:
    overrides = ["sources=[de]", "unlearn=null", "corpus.planned={scenarios: 1}"]
    result = estimate(prepare_to_plan(read_points(SPEC, overrides), tmp_path))
    assert plan_table(result, "x", every=True).row_count == len(result.lines) == 2 + 2 * 12 * 2
    assert plan_table(result, "x", every=False).row_count == 3


def test_run_refuses_what_plan_does_without(tmp_path) -> None:
    with pytest.raises(UserError, match="there is no corpus at data/every-language-counts"):
        prepare(read_points(SPEC), tmp_path)


@pytest.mark.parametrize(("seconds", "words"), [(89, "89 s"), (91, "2 min"), (5399, "90 min"), (5400, "1.5 h")])
def test_durations_as_people_say_them(seconds, words) -> None:
    assert duration(seconds) == words


def test_it_runs_through_every_stage_with_all_but_its_sizes(small, tmp_path) -> None:
    out = tmp_path / "out"
    prepared = prepare(read_points(SPEC, small), tmp_path / "store")
    run(prepared, out, NoProgress())
    table = pd.read_csv(out / "table.csv")
    final = table[table.checkpoint.isna() & table.metric.isin(["O_F", "Q_R"]) & table.group.isna()]
    models = {("r_only", ""), ("contaminated", "")} | {
        ("unlearned", name) for name in ("english", "source", "family", "multilingual", "combined")
    }
    assert set(zip(final.model, final.strategy.fillna(""), strict=True)) == models
    assert set(final[final.metric == "O_F"].question_language.dropna()) == {"en", "de", "es"}
    # both patches of teaching, with the paper's ranks, and one of unlearning
    learned, unlearned = prepared.models[1].made_by, prepared.models[2].made_by
    ranks = [json.loads((patch / "adapter_config.json").read_text())["r"] for patch in unlearned.patches]
    assert ranks == [1024, 8, 128]
    assert learned.patches == unlearned.patches[:2]
    # 3 steps in one reading after the start, and both rules could have stopped it
    readings = [json.loads(line) for line in (unlearned.folder / "readings.jsonl").read_text().splitlines()]
    assert [reading["step"] for reading in readings] == [0, 3]
    assert all(reading["perplexity"] > 0 and reading["quality"] >= 1 for reading in readings)
    steps = {stage: (learned.folder if stage == "learn" else unlearned.folder) for stage in ("learn", "unlearn")}
    counts = {stage: len((folder / "log.jsonl").read_text().splitlines()) for stage, folder in steps.items()}
    assert counts == {"learn": 3 + 2, "unlearn": 3}
