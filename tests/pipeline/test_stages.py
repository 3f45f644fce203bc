"""Stages on a tiny random model: what is done in one go, what is never done twice, and what decides a key."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from unteach.ask import answers as asking
from unteach.ask.answers import ask
from unteach.corpora.load import Corpus, load_corpus
from unteach.experiments import answer_stages
from unteach.experiments.answer_stages import Ask
from unteach.experiments.bench import Workbench
from unteach.experiments.model_stages import Unlearn
from unteach.experiments.plan import PlannedModel, all_stages, plan
from unteach.experiments.probe import probe_questions
from unteach.experiments.run import Prepared, held_languages, prepare, run
from unteach.experiments.runners.local import run_stages
from unteach.experiments.spec import Spec
from unteach.experiments.stage import Context
from unteach.models.batches import encode
from unteach.models.perplexity import text_nll
from unteach.progress import NoProgress
from unteach.records import Answer, Reading, Row, write_records
from unteach.store import MARKER, StageKey, Store

LANGUAGES = ("en", "de", "ur")
SCENARIOS = 2


def content(model: Path) -> dict:
    """English and German fakes, unlearned in two ways; every number as small as it goes."""
    return {
        "name": "stages",
        "corpus": {"limit": SCENARIOS},
        "model": {"name": "pretrained", "path": str(model), "dtype": "float32"},
        "sources": ["en", "de"],
        "question_languages": list(LANGUAGES),
        "teach": {
            "tuning": {"name": "lora", "rank": 2},
            "schedule": {"lr": 1e-2, "batch_size": 4},
            "samples": {"real": 2, "fake": 1, "keep": 0.25, "keep_fake": 0.0},
            "instruct": {"mode": "none"},
        },
        "unlearn": {
            "strategies": ["english", "source"],
            "objective": "grad_diff",
            "tuning": {"name": "lora", "rank": 2},
            "schedule": {"lr": 1e-2, "batch_size": 2, "max_steps": 4},
            "forget": {"samples": 1, "keep": 0.0, "keep_real": 0.25},
            "stop": [{"name": "perplexity", "limit": 1e9}],
            "checkpoint_every": 2,
        },
        "probe": {"languages": ["en", "@source"], "retain_texts": 2},
        "ask": {"max_new_tokens": 6, "batch_size": 4},
        "judge": "keyword",
        "texts": {"sentences": 1},
    }


@dataclass
class Made:
    """One finished run: its plan, rows and store, and what was generated and written on the way, in order."""

    content: dict
    prepared: Prepared
    rows: list[Row]
    generated: list[tuple[str, int]]
    written: list[tuple[str, str, int, float]]

    @property
    def store(self) -> Store:
        return self.prepared.context.store

    def model(self, name: str) -> PlannedModel:
        (found,) = [model for model in self.prepared.models if model.tag.name == name]
        return found

    def bench(self) -> Workbench:
        return Workbench(self.prepared.context.spec.model, NoProgress())


@pytest.fixture(scope="module")
def counting() -> Iterator[list[tuple[str, int]]]:
    """Label and number of prompts of every real call of ``generate``."""
    calls: list[tuple[str, int]] = []
    real = asking.generate

    def counted(loaded, prompts, **options):
        calls.append((options["label"], len(prompts)))
        return real(loaded, prompts, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "generate", counted)
        yield calls


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory, counting) -> Made:
    folder = tmp_path_factory.mktemp("stages")
    spec = content(tiny_folder("llama"))
    prepared = prepare(Spec.model_validate(spec), folder / "store")
    written: list[tuple[str, str, int, float]] = []
    real = Store.writing

    def recorded(self, key, *, needs_bytes=0, amount=0, share=1.0):
        written.append((key.kind, key.digest, amount, share))
        return real(self, key, needs_bytes=needs_bytes, amount=amount, share=share)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "writing", recorded)
        rows = run(prepared, folder / "out", NoProgress())
    return Made(spec, prepared, rows, list(counting), written)


@pytest.fixture
def again(made, tmp_path) -> Prepared:
    """The same plan with a store that has the R-only model and nothing else."""
    prepared = prepare(Spec.model_validate(made.content), tmp_path / "again")
    learned = prepared.models[0].made_by
    shutil.copytree(made.store.folder(learned.key), learned.folder)
    return prepared


def readings(model: PlannedModel) -> list[Reading]:
    return Reading.read(model.made_by.folder / "readings.jsonl")


# Asking in one go


def test_a_model_is_asked_in_all_languages_in_one_go(made) -> None:
    questions = len(LANGUAGES) * SCENARIOS * 2
    taught = {"teach R only", "teach R and F in en", "teach R and F in de"}
    asked = [(label, count) for label, count in made.generated if label.removeprefix("ask ") in taught]
    assert sorted(asked) == sorted((f"ask {name}", questions) for name in taught)


def test_asking_in_one_go_gives_the_answers_of_one_at_a_time(made, again, counting) -> None:
    stages = [judged.asked for judged in again.models[0].judged]
    assert len(stages) == len({stage.together for stage in stages}) * len(LANGUAGES)
    before = len(counting)
    with made.bench() as bench:
        for stage in stages:
            assert not stage.done
            (done,) = run_stages([stage], bench, NoProgress())
            assert not done.reused
    assert len(counting) - before == len(LANGUAGES)
    together = [judged.asked for judged in made.prepared.models[0].judged]
    for alone, joint in zip(stages, together, strict=True):
        assert alone.key == joint.key and alone.folder != joint.folder
        assert alone.answers() == joint.answers()
        assert [answer.question for answer in alone.answers()] == alone._questions()
    texts = {answer.text for stage in stages for answer in stage.answers()}
    assert len(texts) > len(LANGUAGES)  # else any mix-up would go unseen


def test_only_the_languages_that_are_missing_are_asked(made, again, counting) -> None:
    stages = [judged.asked for judged in again.models[0].judged]
    shutil.copytree(made.store.folder(stages[1].key), stages[1].folder)
    before = len(counting)
    with made.bench() as bench:
        done = run_stages(stages, bench, NoProgress())
    assert counting[before:] == [("ask teach R only", (len(LANGUAGES) - 1) * SCENARIOS * 2)]
    assert [each.reused for each in done] == [False, True, False]


def test_scoring_in_one_go_gives_what_each_text_scores_alone(made) -> None:
    model = made.model("contaminated/de")
    with made.bench() as bench:
        loaded = bench.with_patches(model.made_by.patches)
        for stage in model.scored:
            texts, scores = stage.texts(), stage.scores()
            assert [(score.kind, score.item) for score in scores] == [(kind, item) for kind, item, _ in texts]
            assert {score.language for score in scores} == {stage.language}
            for (kind, _, text), score in list(zip(texts, scores, strict=True))[::7]:
                code = encode(loaded.tokenizer, text, "", loaded.context_length)
                (mean,) = text_nll(loaded, loaded.model, [code])
                assert score.tokens == code.label_count and score.characters == len(text), kind
                assert score.log_probability == pytest.approx(-mean * code.label_count, rel=1e-4)


# What an unlearned model is not asked again


def test_the_first_reading_uses_the_contaminated_models_own_answers(made) -> None:
    spec, corpus = made.prepared.context.spec, made.prepared.context.corpus
    unlearned = [model for model in made.prepared.models if isinstance(model.made_by, Unlearn)]
    stages = {model.made_by.key.digest: model for model in unlearned}
    assert len(unlearned) == 4 and len(stages) == 3  # of English, both strategies are one
    # readings at 0, 2 and 4, of which only the last two ask
    probed = [count for label, count in made.generated if label == "asking"]
    lengths = [len(probe_questions(spec, corpus, model.tag.source_language)) for model in stages.values()]
    assert sorted(probed) == sorted(length for length in lengths for _ in (2, 4))
    for model in unlearned:
        before = made.model(model.before)
        known = {
            (verdict.metric, verdict.language, verdict.scenario): verdict
            for judged in before.judged
            for verdict in judged.verdicts()
        }
        assert [reading.step for reading in readings(model)] == [0, 2, 4]
        first = readings(model)[0].verdicts
        assert len(first) == len(probe_questions(spec, corpus, model.tag.source_language))
        assert all(known[v.metric, v.language, v.scenario] == v for v in first)


def test_an_unlearned_models_answers_at_the_kept_checkpoint_are_its_final_ones(made) -> None:
    spec, corpus = made.prepared.context.spec, made.prepared.context.corpus
    changed = 0
    with made.bench() as bench:
        for name in ("unlearned/de/english", "unlearned/de/source"):
            model = made.model(name)
            probed = probe_questions(spec, corpus, "de")
            kept = model.made_by.answers()
            assert [answer.question for answer in kept] == probed
            final = {answer.question: answer for judged in model.judged for answer in judged.asked.answers()}
            assert [final[question] for question in probed] == kept
            # and they are what the finished model says when it is asked anew
            loaded = bench.with_patches(model.made_by.patches)
            assert ask(loaded, probed, spec.ask) == kept
            everything = [question for judged in model.judged for question in judged.asked._questions()]
            assert ask(loaded, everything, spec.ask) == [final[question] for question in everything]
            before = {a.question: a for judged in made.model("contaminated/de").judged for a in judged.asked.answers()}
            changed += sum(before[question].text != final[question].text for question in probed)
    assert changed  # else answers of the model before would do as well


def test_an_unlearned_model_is_only_asked_what_it_has_not_answered_yet(made) -> None:
    spec, corpus = made.prepared.context.spec, made.prepared.context.corpus
    everything = len(LANGUAGES) * SCENARIOS * 2
    for source, stages in (("en", 1), ("de", 2)):
        new = everything - len(probe_questions(spec, corpus, source))
        asked = [count for label, count in made.generated if label.startswith(f"ask unlearn {source} ")]
        assert asked == [new] * stages
    # the probe asks on the fake in English and German and on the real news in English
    assert len(probe_questions(spec, corpus, "de")) == 3 * SCENARIOS
    assert len(probe_questions(spec, corpus, "en")) == 2 * SCENARIOS


def test_a_model_stopped_at_once_answers_as_the_one_before(made, tmp_path, counting) -> None:
    """The perplexity of a random model is far above 2, so no checkpoint is good and the start is kept."""
    spec = copy.deepcopy(made.content)
    spec["unlearn"] |= {"stop": [{"name": "perplexity", "limit": 2.0}], "strategies": ["source"]}
    spec |= {"sources": ["de"], "probe": {"languages": ["@questions"], "retain_texts": 2}, "texts": None}
    prepared = prepare(Spec.model_validate(spec), tmp_path / "store")
    shutil.copytree(made.store.root / "learn", tmp_path / "store/learn")
    before = len(counting)
    run(prepared, tmp_path / "out", NoProgress())
    _, contaminated, unlearned = prepared.models
    outcome = json.loads((unlearned.made_by.folder / "outcome.json").read_text())
    assert (outcome["kept_step"], outcome["last_step"]) == (0, 2)
    kept = {answer.question: answer for answer in unlearned.made_by.answers()}
    assert len(kept) == (len(LANGUAGES) + 1) * SCENARIOS
    for old, new in zip(contaminated.judged, unlearned.judged, strict=True):
        assert new.asked.answers() == old.asked.answers()
        assert new.verdicts() == old.verdicts()
    # the finished model was asked only on the real news in the two languages beside English
    new = [(label, count) for label, count in counting[before:] if label.startswith("ask unlearn")]
    assert new == [("ask unlearn de with source", 2 * SCENARIOS)]


# What is one stage


def test_strategies_that_ask_for_the_same_are_one_unlearning(made, tmp_path) -> None:
    spec = copy.deepcopy(made.content)
    spec["unlearn"]["strategies"] = ["english", "source", "combined", "family"]
    spec["unlearn"]["forget"]["samples"] = 2  # of one sample, both halves of combined are English
    models = prepare(Spec.model_validate(spec), tmp_path).models
    keys = {
        source: [m.made_by.key.digest for m in models if m.tag.model == "unlearned" and m.tag.source_language == source]
        for source in ("en", "de")
    }
    assert len(keys["en"]) == 3 and len(set(keys["en"])) == 1  # English has no relative
    assert len(keys["de"]) == len(set(keys["de"])) == 4
    assert sum(stage.kind == "unlearn" for stage in all_stages(models)) == 1 + 4


def test_one_unlearning_gives_every_strategy_its_rows(made) -> None:
    def rows(strategy):
        found = [r for r in made.rows if r.source_language == "en" and r.strategy == strategy]
        return [row.model_copy(update={"strategy": None}) for row in found]

    assert rows("english") == rows("source") != []
    assert made.model("unlearned/en/english").made_by.folder == made.model("unlearned/en/source").made_by.folder
    assert len(list((made.store.root / "unlearn").glob(f"*/{MARKER}"))) == 3


def test_a_strategy_with_different_settings_gives_models_of_different_names(made, tmp_path) -> None:
    spec = copy.deepcopy(made.content)
    spec["unlearn"]["strategies"] = ["family", {"name": "family", "relatives": {"de": "fr"}}]
    models = prepare(Spec.model_validate(spec), tmp_path).models
    assert len({model.made_by.key.digest for model in models}) == len({model.tag.name for model in models})


# What decides a key


@pytest.fixture(scope="module")
def keys(made):
    """``keys("ur", "fake")``: kind and role of every stage of one model each -> its key, with one text changed."""
    corpus = load_corpus()

    def of(language: str | None = None, field: str = "fake") -> dict[tuple[str, ...], str]:
        scenarios = list(corpus)[:SCENARIOS]
        if language is not None:
            text = scenarios[0].texts[language]
            value = getattr(text, field)
            changed = f"{value} Now." if isinstance(value, str) else (f"{value[0]} Now.", *value[1:])
            other = text.model_copy(update={field: changed})
            texts = {**scenarios[0].texts, language: other}
            scenarios[0] = scenarios[0].model_copy(update={"texts": texts})
        context = Context(made.prepared.context.spec, Corpus(scenarios, "changed"), made.store)
        found = {}
        for model in plan(context):
            name = model.tag.name
            found["learn" if "unlearned" not in name else "unlearn", name] = model.made_by.key.digest
            for judged in model.judged:
                found["ask", name, judged.asked.language] = judged.asked.key.digest
                found["judge", name, judged.asked.language] = judged.key.digest
            for scored in model.scored:
                found["score", name, scored.language] = scored.key.digest
        return found

    return of


def changed(before: dict, after: dict) -> set:
    assert before.keys() == after.keys()
    return {place for place in before if before[place] != after[place]}


def test_a_text_in_a_language_that_is_not_taught_changes_no_taught_model(keys) -> None:
    places = changed(keys(), keys("ur"))
    assert not [place for place in places if place[0] == "learn"]
    # every judge knows the key phrases of all languages, and unlearning asks the judge
    kinds = {place[0] for place in places if "unlearned" not in place[1]}
    assert kinds == {"ask", "judge", "score"}
    assert {place[2] for place in places if place[0] in ("ask", "score") and "unlearned" not in place[1]} == {"ur"}
    assert {place for place in keys() if place[0] in ("judge", "unlearn")} <= places


@pytest.mark.parametrize("field", ["fake_question", "fake", "key_phrases"])
def test_a_text_of_the_source_language_changes_the_model_it_is_taught_to(keys, field) -> None:
    learned = {place[1] for place in changed(keys(), keys("de", field)) if place[0] == "learn"}
    assert learned == {"contaminated/de"}


def test_a_text_in_english_changes_every_model(keys) -> None:
    learned = {place[1] for place in changed(keys(), keys("en", "article")) if place[0] == "learn"}
    assert learned == {"r_only", "contaminated/en", "contaminated/de"}


def test_nothing_changed_changes_no_key(keys) -> None:
    assert changed(keys(), keys()) == set()


# Being interrupted, and how long it took


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt], ids=["error", "interrupt"])
def test_a_group_that_breaks_off_leaves_no_half_stage(made, again, monkeypatch, error) -> None:
    stages = [judged.asked for judged in again.models[0].judged]
    real, calls = write_records, []

    def breaking(path, records):
        calls.append(path)
        if len(calls) == 2:
            path.write_text("half")
            raise error("in the middle")
        real(path, records)

    with monkeypatch.context() as patch, made.bench() as bench:
        patch.setattr(answer_stages, "write_records", breaking)
        with pytest.raises(error, match="in the middle"):
            run_stages(stages, bench, NoProgress())
    assert len(calls) == 2
    assert not any(stage.done or stage.folder.exists() for stage in stages)
    left = [path.name for path in (again.context.store.root / "ask").iterdir()]
    assert len(left) == len(LANGUAGES) and all(name.endswith(".lock") for name in left)
    assert again.models[0].made_by.done
    with made.bench() as bench:
        run_stages(stages, bench, NoProgress())
    for stage, whole in zip(stages, made.prepared.models[0].judged, strict=True):
        assert stage.answers() == whole.asked.answers()


def test_stages_done_in_one_go_share_its_time_by_their_work(made) -> None:
    stages = {judged.asked.key.digest: judged.asked for model in made.prepared.models for judged in model.judged}
    by_model: dict[str, list[tuple[int, float]]] = {}
    for kind, digest, amount, share in made.written:
        if kind == "ask":
            by_model.setdefault(stages[digest].model.key.digest, []).append((amount, share))
        if kind in ("learn", "unlearn"):
            assert share == 1.0
    assert len(by_model) == 6  # R only, two contaminated, three unlearned
    for group in by_model.values():
        assert [amount for amount, _ in group] == [2 * SCENARIOS] * len(LANGUAGES)
        assert [share for _, share in group] == pytest.approx([1 / len(LANGUAGES)] * len(LANGUAGES))
    # each stage was written once
    assert (
        len({digest for _, digest, _, _ in made.written}) == len(made.written) == len(all_stages(made.prepared.models))
    )


def test_a_share_of_the_time_is_what_is_recorded(tmp_path, monkeypatch) -> None:
    clock = iter([100.0, 108.0, 200.0, 208.0])
    monkeypatch.setattr("unteach.store.time", SimpleNamespace(time=lambda: next(clock)))
    store = Store(tmp_path)
    for name, options in (("part", {"amount": 3, "share": 0.25}), ("whole", {"amount": 3})):
        with store.writing(StageKey("ask", 1, {"name": name}), **options) as folder:
            (folder / "a.txt").write_text("a")
    part, whole = (store.marker(StageKey("ask", 1, {"name": name})) for name in ("part", "whole"))
    assert (part["seconds"], part["amount"], part["finished"]) == (2.0, 3, 108.0)
    assert (whole["seconds"], whole["amount"], whole["finished"]) == (8.0, 3, 208.0)


# Which languages answers hold


def test_english_is_seen_in_answers_of_a_run_without_english_questions(made, tmp_path) -> None:
    spec = {**made.content, "sources": ["de"], "question_languages": ["de", "ur"], "unlearn": None, "texts": None}
    prepared = prepare(Spec.model_validate(spec), tmp_path)
    for model in prepared.models:
        for judged in model.judged:
            asked: Ask = judged.asked
            asked.folder.mkdir(parents=True, exist_ok=True)
            answers = [
                Answer(question=q, prompt="", text="The bridge was closed in the winter.", tokens=9, finished=True)
                for q in asked._questions()
            ]
            write_records(asked.folder / "answers.jsonl", answers)
    found = {each.held for held in held_languages(prepared).values() for each in held}
    assert found == {("en",)}
