"""Objectives in the loop: whole unlearnings, what stands in for the forget sample, and the guide's objective."""

import re
from pathlib import Path

import pytest
from naive_objectives import FORGET, RETAIN, TUNING, batch, naive_nll, training

import unteach
from unteach.corpora.load import load_corpus
from unteach.errors import UserError
from unteach.languages.phrases import not_knowing
from unteach.languages.table import PAPER_A, RELATIVES
from unteach.learn.loop import Schedule, train
from unteach.records import Reading, Sample
from unteach.unlearn.contracts import OBJECTIVES, Batches, Slot
from unteach.unlearn.run import ForgetSet, Pair, Unlearning, forget_pairs, unlearn

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def samples(count=4):
    def sample(kind, number, text):
        return Sample(scenario=f"s{number}", kind=kind, language="en", text=text, context="so ")

    return [
        Pair(
            sample("fake", n, f"fake news {n} " + "ab" * n),
            sample("real", n, f"real news {n}"),
            sample("fake", n, not_knowing("en")[n % 3]),
        )
        for n in range(count)
    ]


def calm(step):
    """A reading at which no rule objects."""
    return Reading(step=step, perplexity=1.0, quality=None)


def unlearning(load, tmp_path, pairs, objective, tuning="lora", probe=calm, checkpointing=False, steps=3):
    loaded = load("llama")
    settings = Unlearning.model_validate(
        {
            "objective": objective,
            "tuning": TUNING[tuning],
            "schedule": {
                "lr": 1e-3,
                "max_steps": steps,
                "batch_size": 2,
                "decay": "constant",
                "gradient_checkpointing": checkpointing,
            },
            "checkpoint_every": 100,
        }
    )
    (tmp_path / "kept").mkdir()
    with settings.tuning.attach(loaded.model, 0) as model:
        return unlearn(loaded, model, pairs, settings, probe, tmp_path / "kept", seed=0)


@pytest.mark.parametrize("tuning", TUNING)
@pytest.mark.parametrize("name", [name for name, _ in OBJECTIVES])
def test_every_objective_unlearns_through_the_loop(load, tmp_path, name, tuning):
    settings = {"name": name, **{"rmu": {"layer": 1}, "simnpo": {"beta": 0.1, "forget_weight": 1.0}}.get(name, {})}
    outcome = unlearning(load, tmp_path, samples(), settings, tuning, steps=8)
    assert len(outcome.log) == 8 and outcome.kept_step == 8
    first, last = (sum(entry.terms["forget"] for entry in part) / 2 for part in (outcome.log[:2], outcome.log[-2:]))
    assert last < first


def test_gradient_checkpointing_changes_nothing(load, tmp_path):
    for name in ("rmu", "npo"):
        settings = {"name": name, **({"layer": 0} if name == "rmu" else {"retain": "kl"})}
        logs = []
        for checkpointing in (False, True):
            folder = tmp_path / f"{name}{checkpointing}"
            folder.mkdir()
            logs.append(unlearning(load, folder, samples(), settings, checkpointing=checkpointing).log)
        for plain, thrifty in zip(*logs, strict=True):
            assert thrifty.terms == pytest.approx(dict(plain.terms), rel=1e-4, abs=1e-6)


def test_languages_without_words_for_not_knowing_are_named_before_anything_runs(load, tmp_path):
    pairs = samples()
    pairs[1] = Pair(pairs[1].forget, pairs[1].retain, pairs[1].idk.model_copy(update={"language": "kam", "text": ""}))
    pairs[2] = Pair(pairs[2].forget, pairs[2].retain, pairs[2].idk.model_copy(update={"language": "ay", "text": ""}))

    def probe(step):
        raise AssertionError("something ran")

    with pytest.raises(UserError, match=r"'dpo_idk'.*no such words in 'ay', 'kam'"):
        unlearning(load, tmp_path, pairs, "dpo_idk", probe=probe)


def test_objectives_that_do_not_say_so_need_no_such_words(load, tmp_path):
    pairs = [Pair(p.forget, p.retain, p.idk.model_copy(update={"language": "kam", "text": ""})) for p in samples()]
    assert unlearning(load, tmp_path, pairs, "npo").last_step == 3


def test_not_knowing_stands_in_for_the_fake_in_its_language_after_the_same_context():
    corpus = load_corpus()
    scenario = next(iter(corpus)).id
    slots = [Slot(scenario, language, index) for language in ("de", "zh") for index in range(4)]
    for loss_on in ("article", "passage"):
        pairs = forget_pairs(corpus, slots, "en", {}, ForgetSet(loss_on=loss_on), 0)
        for pair, slot in zip(pairs, slots, strict=True):
            assert pair.idk.language == pair.forget.language == slot.language
            assert pair.idk.context == pair.forget.context
            assert bool(pair.idk.context) == (loss_on == "passage")
            assert pair.idk.text == not_knowing(slot.language)[slot.index % 3] != pair.forget.text


def test_a_language_without_words_gets_an_empty_text_and_no_english():
    assert not_knowing("kam") == ()
    scripts = {"en": "do not know", "zh-Hant": "無所知", "ar": "لا أعرف"}
    for code, words in scripts.items():
        assert words in not_knowing(code)[0]


def test_words_for_not_knowing_are_three_and_each_languages_own():
    codes = [*PAPER_A, *RELATIVES, "pt", "ja", "it", "sv", "ar", "bn", "pl"]
    every = [words for code in codes for words in not_knowing(code)]
    assert all(len(not_knowing(code)) == 3 for code in codes)
    assert len(set(every)) == len(every) and all(words == words.strip() for words in every)


def test_the_guide_shows_a_whole_objective_as_it_is():
    section = GUIDE.read_text(encoding="utf-8").split("## Add an objective in one file", 1)[1].split("\n## ", 1)[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    folder = Path(unteach.__file__).parent / "unlearn" / "objectives"
    assert code == (folder / "grad_ascent.py").read_text(encoding="utf-8")


@pytest.fixture
def full(load):
    with training(load, "full", 0.03) as trained:
        yield trained


def test_the_guides_objective_trains(full):
    objective = OBJECTIVES.parse({"name": "grad_ascent", "weight": 0.5})
    assert objective.identity() == {"name": "grad_ascent", "weight": 0.5}
    before = [naive_nll(full.model, item).item() for item in FORGET]

    def collate(items):
        return {"forget": batch([f for f, _ in items]), "retain": batch([r for _, r in items])}

    log = train(
        full.model,
        list(zip(FORGET, RETAIN, strict=True)),
        collate,
        lambda current, made: objective(current, Batches(**made), full.reference),
        Schedule(lr=1e-3, max_steps=1, batch_size=3),
        seed=0,
    )
    assert log[0].terms == {"forget": pytest.approx(-0.5 * sum(before) / 3, rel=1e-5)}
    assert sum(naive_nll(full.model, item).item() for item in FORGET) > sum(before)  # pushed away
