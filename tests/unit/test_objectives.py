"""Objectives against naive versions, sequence by sequence without padding."""

import re
import sys
import types
from pathlib import Path

import pytest
import tiny
import torch

from unteach.learn.loop import Schedule, train
from unteach.models.batches import Encoded, pad
from unteach.models.tuning import TUNINGS
from unteach.unlearn.contracts import OBJECTIVES, Objective, sequence_nll

GUIDE = Path(__file__).parents[2] / "CONTRIBUTING.md"
IGNORE = -100


def sequences(lengths, seed, context=0):
    """Texts of these lengths after the first token; the first ``context`` of them carry no loss."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for length in lengths:
        ids = (tiny.BOS, *torch.randint(3, tiny.VOCABULARY, (length,), generator=generator).tolist())
        made.append(Encoded(ids, (*[IGNORE] * (1 + context), *ids[1 + context :])))
    return made


FORGET = sequences([3, 11, 6], seed=1)
RETAIN = sequences([9, 4, 13], seed=2, context=2)


def batch(items):
    return pad(items, tiny.PAD)


@pytest.fixture
def model(load):
    """A tiny model whose decoder layers can be trained."""
    with TUNINGS.parse("full").attach(load("llama").model, 0) as trainable:
        yield trainable


def naive_nll(model, item):
    """Mean of -log p over the labelled tokens of one sequence on its own, from the full logits."""
    logits = model(input_ids=torch.tensor([item.ids])).logits[0]
    values = [
        -torch.log_softmax(logits[at - 1], -1)[label]
        for at, label in enumerate(item.labels)
        if at > 0 and label != IGNORE
    ]
    return sum(values) / len(values)


def naive_grad_diff(model, forget, retain, forget_weight=1.0, retain_weight=1.0):
    kept = sum(naive_nll(model, item) for item in retain) / len(retain)
    pushed = sum(naive_nll(model, item) for item in forget) / len(forget)
    return {"retain": retain_weight * kept, "forget": -forget_weight * pushed}


def gradients(model, value):
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    found = torch.autograd.grad(value, [p for _, p in named], allow_unused=True)
    return {name: None if g is None else g for (name, _), g in zip(named, found, strict=True)}


def assert_same_gradients(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_sequence_nll_gives_every_sequence_its_own_mean(model):
    items = [*FORGET, *RETAIN]
    torch.testing.assert_close(
        sequence_nll(model, batch(items)), torch.stack([naive_nll(model, item) for item in items])
    )


def test_a_sequence_without_labels_counts_zero(model):
    empty = Encoded(FORGET[0].ids, (IGNORE,) * len(FORGET[0].ids))
    values = sequence_nll(model, batch([FORGET[1], empty]))
    assert values[1] == 0
    torch.testing.assert_close(values[0], naive_nll(model, FORGET[1]))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0), (3.0, 0.0)])
def test_grad_diff_is_the_naive_one_on_unequal_lengths(model, weights):
    forget_weight, retain_weight = weights
    settings = {"name": "grad_diff", "forget_weight": forget_weight, "retain_weight": retain_weight}
    terms = OBJECTIVES.parse(settings)(model, batch(FORGET), batch(RETAIN))
    expected = naive_grad_diff(model, FORGET, RETAIN, forget_weight, retain_weight)
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    assert_same_gradients(gradients(model, sum(terms.values())), gradients(model, sum(expected.values())))


def test_grad_diff_goes_down_on_what_is_kept_and_up_on_what_is_forgotten(model):
    terms = OBJECTIVES.parse("grad_diff")(model, batch(FORGET), batch(RETAIN))
    assert terms["retain"] > 0 > terms["forget"]


@pytest.mark.parametrize("term", ["retain", "forget"])
def test_each_terms_gradient_reaches_the_weights(model, term):
    terms = OBJECTIVES.parse("grad_diff")(model, batch(FORGET), batch(RETAIN))
    found = gradients(model, terms[term])
    assert found
    for name, value in found.items():
        assert value is not None, name
        assert value.abs().max() > 0, name


def test_forget_cap_stops_the_samples_beyond_it(model):
    values = [naive_nll(model, item).item() for item in FORGET]
    low, _, high = sorted(range(3), key=lambda index: values[index])
    cap = (max(v for i, v in enumerate(values) if i != high) + values[high]) / 2
    terms = OBJECTIVES.parse({"name": "grad_diff", "forget_cap": cap})(model, batch(FORGET), batch(RETAIN))
    others = [naive_nll(model, item) for i, item in enumerate(FORGET) if i != high]
    # the one beyond the cap counts as the cap itself and has no gradient; the mean is over all three still
    expected = -(sum(others) + cap) / 3
    torch.testing.assert_close(terms["forget"], expected)
    assert_same_gradients(gradients(model, terms["forget"]), gradients(model, expected))
    assert values[low] < cap < values[high]


def test_forget_cap_below_every_sample_leaves_no_push(model):
    terms = OBJECTIVES.parse({"name": "grad_diff", "forget_cap": 1e-6})(model, batch(FORGET), batch(RETAIN))
    assert terms["forget"].item() == pytest.approx(-1e-6)
    assert all(value.abs().max() == 0 for value in gradients(model, terms["forget"]).values())


def test_forget_cap_above_every_sample_changes_nothing(model):
    plain = OBJECTIVES.parse("grad_diff")(model, batch(FORGET), batch(RETAIN))
    capped = OBJECTIVES.parse({"name": "grad_diff", "forget_cap": 1e6})(model, batch(FORGET), batch(RETAIN))
    assert {name: value.item() for name, value in capped.items()} == {n: v.item() for n, v in plain.items()}


def widened(made, columns):
    """The same batch with more padding, of another token."""
    fills = {"input_ids": 77, "attention_mask": 0, "labels": IGNORE}
    return {name: torch.nn.functional.pad(value, (0, columns), value=fills[name]) for name, value in made.items()}


def test_padding_changes_nothing(model):
    objective = OBJECTIVES.parse("grad_diff")
    tight = objective(model, batch(FORGET), batch(RETAIN))
    wide = objective(model, widened(batch(FORGET), 7), widened(batch(RETAIN), 3))
    for name in tight:
        torch.testing.assert_close(wide[name], tight[name], rtol=1e-5, atol=1e-6)
        assert_same_gradients(gradients(model, wide[name]), gradients(model, tight[name]))


def test_a_long_sequence_weighs_no_more_than_a_short_one(model):
    short, long = sequences([2, 40], seed=4)
    terms = OBJECTIVES.parse("grad_diff")(model, batch([short, long]), batch(RETAIN))
    torch.testing.assert_close(terms["forget"], -(naive_nll(model, short) + naive_nll(model, long)) / 2)


@pytest.fixture
def from_the_guide():
    """The objective class of CONTRIBUTING.md, in the registry for one test only."""
    section = GUIDE.read_text(encoding="utf-8").split("## Add an objective in one file", 1)[1].split("\n## ", 1)[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    before = dict(iter(OBJECTIVES))
    module = types.ModuleType("guide_objective")
    sys.modules[module.__name__] = module  # pydantic looks types up there
    try:
        exec(compile(code, str(GUIDE), "exec"), module.__dict__)
        (name,) = {name for name, _ in OBJECTIVES} - before.keys()
        yield name
    finally:
        del sys.modules[module.__name__]
        for name in {name for name, _ in OBJECTIVES} - before.keys():
            del OBJECTIVES._classes[name]


def test_the_guides_objective_trains(model, from_the_guide):
    objective = OBJECTIVES.parse({"name": from_the_guide, "weight": 0.5})
    assert isinstance(objective, Objective)
    assert objective.identity() == {"name": "grad_ascent", "weight": 0.5}
    before = [naive_nll(model, item).item() for item in FORGET]

    def collate(items):
        return {"forget": batch([f for f, _ in items]), "retain": batch([r for _, r in items])}

    log = train(
        model,
        list(zip(FORGET, RETAIN, strict=True)),
        collate,
        lambda current, made: objective(current, made["forget"], made["retain"]),
        Schedule(lr=1e-3, max_steps=1, batch_size=3),
        seed=0,
    )
    assert log[0].terms == {"forget": pytest.approx(-0.5 * sum(before) / 3, rel=1e-5)}
    assert sum(naive_nll(model, item).item() for item in FORGET) > sum(before)  # pushed away


def test_the_guides_objective_is_gone_again():
    assert "guide_objective" not in sys.modules
    assert all(cls.__module__.startswith("unteach.") for _, cls in OBJECTIVES)
