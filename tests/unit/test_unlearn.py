"""One unlearning with a scripted probe: what is read, when it ends, and which checkpoint is kept."""

import pytest
import torch
from safetensors.torch import load_file

from unteach.models.tuning import TUNINGS, patched
from unteach.records import Reading, Sample
from unteach.unlearn.run import Pair, Unlearning, unlearn

FILES = {"lora": "adapter_model.safetensors", "full": "weights.safetensors"}
TUNING = {"lora": {"name": "lora", "rank": 2}, "full": {"name": "full"}}


def pairs(count=6):
    def sample(kind, number):
        return Sample(scenario=f"s{number}", kind=kind, language="en", text=f"{kind} news {number} " + "ab" * number)

    return [Pair(sample("fake", n), sample("real", n), sample("fake", n)) for n in range(count)]


def settings(tuning="lora", steps=6, every=2, stop=("perplexity", "quality_drop")):
    return Unlearning.model_validate(
        {
            "objective": "grad_diff",
            "tuning": TUNING[tuning],
            "schedule": {"lr": 1e-3, "max_steps": steps, "batch_size": 2},
            "stop": list(stop),
            "checkpoint_every": every,
        }
    )


class Script:
    """A probe that reads from a list, and remembers the trained weights at every reading."""

    def __init__(self, perplexities, qualities=None):
        self.perplexities = perplexities
        self.qualities = qualities or [None] * len(perplexities)
        self.steps = []
        self.weights = {}
        self.model = None

    def __call__(self, step):
        at = len(self.steps)
        self.steps.append(step)
        self.weights[step] = {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad}
        return Reading(step=step, perplexity=self.perplexities[at], quality=self.qualities[at])


def run(load, kept, script, tuning="lora", **options):
    loaded = load("llama")
    chosen = settings(tuning, **options)
    kept.mkdir()
    with chosen.tuning.attach(loaded.model, 0) as trainable:
        script.model = trainable
        return unlearn(loaded, trainable, pairs(), chosen, script, kept, seed=0)


def assert_kept(kept, script, step, tuning="lora"):
    """The saved patch has the weights of that step, and of no other."""
    saved = load_file(kept / FILES[tuning])

    def same(weights):
        by_name = {name.replace(".default", ""): value for name, value in weights.items()}
        assert by_name.keys() == saved.keys()
        return all(torch.equal(saved[name], value) for name, value in by_name.items())

    assert [other for other in script.weights if same(script.weights[other])] == [step]


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_last_good_checkpoint_is_kept_when_a_rule_objects(load, tmp_path, tuning):
    script = Script([10, 20, 30, 200])
    outcome = run(load, tmp_path / "kept", script, tuning, steps=10)
    assert script.steps == [0, 2, 4, 6]  # step 6 is bad: neither 8 nor 10 is reached
    assert [reading.perplexity for reading in outcome.readings] == [10, 20, 30, 200]
    assert (outcome.kept_step, outcome.last_step) == (4, 6)
    assert outcome.reason == "perplexity on retain texts is 200, the limit is 150"
    assert [entry.step for entry in outcome.log] == [1, 2, 3, 4, 5, 6]
    assert_kept(tmp_path / "kept", script, 4, tuning)


def test_without_objection_the_last_step_is_kept(load, tmp_path):
    script = Script([10, 20, 30, 40])
    outcome = run(load, tmp_path / "kept", script, steps=5)
    assert script.steps == [0, 2, 4, 5]  # the last step is read though it is off the beat
    assert (outcome.kept_step, outcome.last_step, outcome.reason) == (5, 5, None)
    assert [set(entry.terms) for entry in outcome.log] == [{"retain", "forget"}] * 5
    assert_kept(tmp_path / "kept", script, 5)


def test_a_bad_last_step_is_not_kept(load, tmp_path):
    script = Script([10, 20, 500])
    outcome = run(load, tmp_path / "kept", script, steps=4)
    assert (outcome.kept_step, outcome.last_step) == (2, 4)
    assert outcome.reason is not None
    assert_kept(tmp_path / "kept", script, 2)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_where_the_first_checkpoint_is_bad_nothing_is_changed(load, tmp_path, tuning):
    script = Script([10, float("inf")])
    outcome = run(load, tmp_path / "kept", script, tuning)
    assert script.steps == [0, 2]
    assert (outcome.kept_step, outcome.last_step) == (0, 2)
    assert "perplexity" in outcome.reason
    assert_kept(tmp_path / "kept", script, 0, tuning)
    model = load("llama").model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with patched(model, [tmp_path / "kept"]):
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_every_rule_that_objects_is_named(load, tmp_path):
    script = Script([10, 300], [5.0, 2.0])
    outcome = run(load, tmp_path / "kept", script)
    assert outcome.reason == (
        "perplexity on retain texts is 300, the limit is 150; Q_R fell from 5.00 to 2.00, more than 20%"
    )


def test_quality_is_compared_with_before_the_first_step(load, tmp_path):
    # 4.1 is 18 % below 5, 3.9 is 22 % below it (but only 5 % below 4.1)
    script = Script([10, 10, 10], [5.0, 4.1, 3.9])
    outcome = run(load, tmp_path / "kept", script)
    assert (outcome.kept_step, outcome.last_step) == (2, 4)
    assert outcome.reason == "Q_R fell from 5.00 to 3.90, more than 20%"


def test_without_rules_it_runs_to_the_end(load, tmp_path):
    script = Script([10, 1e9, float("inf"), 1e9])
    outcome = run(load, tmp_path / "kept", script, stop=())
    assert (outcome.kept_step, outcome.last_step, outcome.reason) == (6, 6, None)


def test_the_model_is_as_it_was_afterwards(load, tmp_path):
    loaded = load("llama")
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    chosen = settings("full")
    script = Script([10, 20, 30, 40])
    (tmp_path / "kept").mkdir()
    with TUNINGS.parse("full").attach(loaded.model, 0) as trainable:
        script.model = trainable
        unlearn(loaded, trainable, pairs(), chosen, script, tmp_path / "kept", seed=0)
        assert any(not torch.equal(value, before[name]) for name, value in trainable.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


def test_the_seed_alone_decides_the_result(load, tmp_path):
    logs = []
    for number, noise in enumerate((1, 2)):
        torch.manual_seed(noise)
        logs.append(run(load, tmp_path / f"kept{number}", Script([10] * 4)).log)
    assert logs[0] == logs[1]
    first, second = (load_file(tmp_path / f"kept{number}" / FILES["lora"]) for number in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_forgotten_gets_less_likely_and_what_is_kept_does_not(load, tmp_path):
    outcome = run(load, tmp_path / "kept", Script([10] * 6), "full", steps=15, every=3)
    first, last = outcome.log[0].terms, outcome.log[-1].terms
    assert last["forget"] < first["forget"]
    assert last["retain"] - first["retain"] < first["forget"] - last["forget"]
