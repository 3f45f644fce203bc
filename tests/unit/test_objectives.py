"""Objectives against their naive versions, and their known values and bounds."""

import contextlib
import math
from typing import Any

import pytest
import tiny
import torch
from naive_objectives import (
    FORGET,
    IGNORE,
    RETAIN,
    TUNING,
    assert_same,
    assert_same_gradients,
    batch,
    batches,
    gradients,
    mean,
    naive,
    naive_logp,
    naive_nll,
    naive_tokens,
    sequences,
    solved,
    training,
)

from unteach.errors import UserError
from unteach.models.batches import Encoded
from unteach.unlearn.contracts import OBJECTIVES, Batches, sequence_nll

# Every objective, with its defaults and with every choice that changes the computation.
CASES: dict[str, dict[str, Any]] = {
    "grad_ascent": {"weight": 0.5},
    "grad_diff": {},
    "grad_diff weights": {"forget_weight": 0.5, "retain_weight": 2.0},
    "grad_diff forget only": {"forget_weight": 3.0, "retain_weight": 0.0},
    "grad_diff kl": {"retain": "kl", "retain_weight": 0.7},
    "npo": {},
    "npo mean kl": {"tokens": "mean", "beta": 0.7, "retain": "kl", "forget_weight": 2.0},
    "npo forget only": {"retain_weight": 0.0},
    "simnpo": {"beta": 0.5},
    "simnpo margin kl": {"beta": 0.3, "margin": 1.5, "forget_weight": 1.0, "retain": "kl"},
    "dpo_idk": {"beta": 0.02},
    "dpo_idk mean kl": {"tokens": "mean", "beta": 0.5, "forget_weight": 2.0, "retain": "kl", "retain_weight": 0.5},
    "undial": {},
    "undial kl": {"beta": 3.0, "forget_weight": 0.5, "retain": "kl", "retain_weight": 0.5},
    "rmu": {"layer": 0, "retain_weight": 3.0},
    "rmu last": {"layer": -1, "coefficient": 5.0, "seed": 4, "forget_weight": 0.5},
    "rmu forget only": {"layer": -2, "retain_weight": 0.0},
}
every_case = pytest.mark.parametrize("case", CASES)


def objective_of(case):
    return OBJECTIVES.parse({"name": case.split()[0], **CASES[case]})


def test_every_objective_has_a_case():
    assert {case.split()[0] for case in CASES} == {name for name, _ in OBJECTIVES}


@pytest.fixture(params=TUNING)
def moved(load, request):
    with training(load, request.param, 0.03) as trained:
        yield trained


@pytest.fixture
def full(load):
    with training(load, "full", 0.03) as trained:
        yield trained


@pytest.fixture(params=TUNING)
def unmoved(load, request):
    with training(load, request.param, 0.0) as trained:
        yield trained


def test_sequence_nll_gives_every_sequence_its_own_mean(full):
    items = [*FORGET, *RETAIN]
    torch.testing.assert_close(
        sequence_nll(full.model, batch(items)), torch.stack([naive_nll(full.model, item) for item in items])
    )


def test_a_sequence_without_labels_counts_zero(full):
    empty = Encoded(FORGET[0].ids, (IGNORE,) * len(FORGET[0].ids))
    values = sequence_nll(full.model, batch([FORGET[1], empty]))
    assert values[1] == 0
    torch.testing.assert_close(values[0], naive_nll(full.model, FORGET[1]))


@every_case
@pytest.mark.parametrize("side", ["left", "right"])
def test_an_objective_is_the_naive_one_on_unequal_lengths(moved, case, side):
    objective = objective_of(case)
    found = objective(moved.model, batches(side), moved.reference)
    assert all(value.shape == () and value.dtype == torch.float32 for value in found.values())
    expected = naive(objective, moved.model, moved.start)
    assert abs(expected["forget"].item()) > 1e-3  # nothing is saturated
    assert_same(solved(moved.model, found), solved(moved.model, expected))


@every_case
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(full, case, side):
    objective = objective_of(case)
    tight = solved(full.model, objective(full.model, batches(), full.reference))
    wide = solved(full.model, objective(full.model, batches(side, extra=5), full.reference))
    assert_same(wide, tight)


@every_case
def test_a_batch_is_the_mean_of_its_sequences(full, case):
    """``[B]`` against ``[B, 1]`` would give the mean over all B * B pairs."""
    objective = objective_of(case)
    together = objective(full.model, batches(), full.reference)
    alone = [objective(full.model, batches(rows=slice(row, row + 1)), full.reference) for row in range(3)]
    for name, value in together.items():
        assert len({round(terms[name].item(), 4) for terms in alone}) == 3
        torch.testing.assert_close(value, mean([terms[name] for terms in alone]), rtol=1e-4, atol=1e-5)


@every_case
def test_each_terms_gradient_reaches_the_trained_weights_and_no_others(moved, case):
    objective = objective_of(case)
    for name in objective(moved.model, batches(), moved.reference):
        moved.model.zero_grad()
        objective(moved.model, batches(), moved.reference)[name].backward()
        for weight, parameter in moved.model.named_parameters():
            above = case in ("rmu", "rmu forget only") and ".layers.1." in weight
            if parameter.requires_grad and not above:
                assert parameter.grad is not None and parameter.grad.abs().max() > 0, (name, weight)
            else:
                assert parameter.grad is None, (name, weight)


@every_case
def test_the_reference_comes_first_and_only_where_it_is_needed(full, case):
    """What was seen: R for a scope of the reference, m for a forward pass in it, M for one of the trained model."""
    seen, inside = [], []

    @contextlib.contextmanager
    def reference():
        seen.append("R")
        with full.reference() as start:
            inside.append(True)
            yield start
            inside.pop()

    def see(*_):
        assert torch.is_grad_enabled() != bool(inside)
        seen.append("m" if inside else "M")

    sequence_nll(full.model, batch(FORGET))  # finds out about the head
    with full.model.register_forward_pre_hook(see):
        objective_of(case)(full.model, batches(), reference)
    assert (
        "".join(seen)
        == {
            "grad_ascent": "M",
            "grad_diff": "MM",
            "grad_diff weights": "MM",
            "grad_diff forget only": "M",
            "grad_diff kl": "RmMM",
            "npo": "RmMM",
            "npo mean kl": "RmmMM",
            "npo forget only": "RmM",
            "simnpo": "MM",
            "simnpo margin kl": "RmMM",
            "dpo_idk": "RmmMMM",
            "dpo_idk mean kl": "RmmmMMM",
            "undial": "RmM",
            "undial kl": "RmmMM",
            "rmu": "RmMM",
            "rmu last": "RmMM",
            "rmu forget only": "M",
        }[case]
    )


@every_case
def test_the_reference_leaves_nothing_behind_in_mixed_precision(full, case):
    """Casts of weights are remembered inside autocast: those made for the start must not serve the trained model."""
    objective = objective_of(case)
    with torch.autocast("cpu", torch.bfloat16):
        terms = objective(full.model, batches(), full.reference)
    found = solved(full.model, terms)
    exact = solved(full.model, objective(full.model, batches(), full.reference))
    for name in exact:
        # bfloat16 keeps 8 bits; of the start's weights there would be no gradient, or one that points elsewhere
        near, right = (torch.cat([g.flatten() for g in each[name][1].values()]) for each in (found, exact))
        assert torch.nn.functional.cosine_similarity(near, right, 0) > 0.9, name


# Known values and bounds.


@pytest.mark.parametrize("beta", [0.1, 2.0])
@pytest.mark.parametrize("tokens", ["sum", "mean"])
def test_at_the_start_npo_is_two_over_beta_log_two_and_dpo_is_log_two(unmoved, beta, tokens):
    for name, value in (("npo", 2 / beta * math.log(2)), ("dpo_idk", math.log(2))):
        objective = OBJECTIVES.parse({"name": name, "beta": beta, "tokens": tokens})
        terms = objective(unmoved.model, batches(), unmoved.reference)
        assert terms["forget"].item() == pytest.approx(value, rel=1e-4)
        assert max(g.abs().max() for g in gradients(unmoved.model, terms["forget"]).values()) > 1e-3


@pytest.mark.parametrize("name", ["grad_diff", "npo", "simnpo", "dpo_idk", "undial"])
def test_at_the_start_kl_is_zero_and_pulls_nowhere(unmoved, name):
    objective = OBJECTIVES.parse({"name": name, "retain": "kl", "retain_weight": 1.0})
    terms = objective(unmoved.model, batches(), unmoved.reference)
    assert terms["retain"].item() == pytest.approx(0, abs=1e-6)
    assert all(value.abs().max() < 1e-4 for value in gradients(unmoved.model, terms["retain"]).values())


def test_at_the_start_rmu_has_nothing_to_bring_back(unmoved):
    terms = OBJECTIVES.parse({"name": "rmu", "layer": 1})(unmoved.model, batches(), unmoved.reference)
    assert terms["retain"].item() == pytest.approx(0, abs=1e-8)
    assert terms["forget"].item() > 1


def test_npo_with_a_small_beta_pushes_as_gradient_ascent_on_the_sum_does(full):
    """d/d logp of -(2/b) log sigmoid(-b r) is 2 sigmoid(b r), which tends to 1 as b goes to 0."""
    terms = OBJECTIVES.parse({"name": "npo", "beta": 1e-5})(full.model, batches(), full.reference)
    ascent = mean([naive_logp(full.model, item, "sum") for item in FORGET])
    assert_same_gradients(gradients(full.model, terms["forget"]), gradients(full.model, ascent))


class Far:
    """The forget set as good as gone: NLL of hundreds of nats a token, by an output head a hundred times as sharp."""

    def __init__(self, trained):
        self.trained = trained

    @contextlib.contextmanager
    def reference(self):
        head = self.trained.model.get_output_embeddings().weight
        with torch.no_grad():
            head.div_(100)
        try:
            yield self.trained.model
        finally:
            with torch.no_grad():
                head.mul_(100)


@pytest.mark.parametrize("name", ["npo", "simnpo", "dpo_idk", "undial", "rmu"])
def test_a_bounded_objective_is_bounded_when_all_is_forgotten(full, name):
    with torch.no_grad():
        full.model.get_output_embeddings().weight.mul_(100)
    objective = OBJECTIVES.parse({"name": name, **({"layer": 1} if name == "rmu" else {"retain_weight": 0.0})})
    far = Far(full)
    unbounded = OBJECTIVES.parse("grad_ascent")(full.model, batches(), far.reference)["forget"]
    assert unbounded < -100
    terms = objective(full.model, batches(), far.reference)
    assert 0 <= terms["forget"].item() < math.inf
    if name in ("npo", "simnpo"):  # nothing is left to push
        assert terms["forget"].item() < 1e-3
        assert all(value.abs().max() < 1e-3 for value in gradients(full.model, terms["forget"]).values())


def test_undial_is_least_where_the_model_says_what_it_is_taught(full):
    """Its value is the entropy of the soft label plus a divergence, so never less than the entropy."""
    objective = OBJECTIVES.parse({"name": "undial", "beta": 3.0})
    found = objective(full.model, batches(), full.reference)["forget"]
    entropies = []
    for item in FORGET:
        per_token = []
        for _, logits, label in naive_tokens(full.start, item):
            lowered = logits - 3.0 * torch.nn.functional.one_hot(torch.tensor(label), len(logits))
            per_token.append(torch.distributions.Categorical(logits=lowered).entropy())
        entropies.append(mean(per_token))
    assert found > mean(entropies) + 0.01


# Parts of single objectives.


def test_grad_diff_goes_down_on_what_is_kept_and_up_on_what_is_forgotten(full):
    terms = OBJECTIVES.parse("grad_diff")(full.model, batches(), full.reference)
    assert terms["retain"] > 0 > terms["forget"]


def test_forget_cap_stops_the_samples_beyond_it(full):
    values = [naive_nll(full.model, item).item() for item in FORGET]
    low, _, high = sorted(range(3), key=lambda index: values[index])
    cap = (max(v for i, v in enumerate(values) if i != high) + values[high]) / 2
    terms = OBJECTIVES.parse({"name": "grad_diff", "forget_cap": cap})(full.model, batches(), full.reference)
    others = [naive_nll(full.model, item) for i, item in enumerate(FORGET) if i != high]
    # the one beyond the cap counts as the cap itself and has no gradient; the mean is over all three still
    expected = -(sum(others) + cap) / 3
    torch.testing.assert_close(terms["forget"], expected)
    assert_same_gradients(gradients(full.model, terms["forget"]), gradients(full.model, expected))
    assert values[low] < cap < values[high]


def test_forget_cap_below_every_sample_leaves_no_push(full):
    terms = OBJECTIVES.parse({"name": "grad_diff", "forget_cap": 1e-6})(full.model, batches(), full.reference)
    assert terms["forget"].item() == pytest.approx(-1e-6)
    assert all(value.abs().max() == 0 for value in gradients(full.model, terms["forget"]).values())


def test_forget_cap_above_every_sample_changes_nothing(full):
    plain = OBJECTIVES.parse("grad_diff")(full.model, batches(), full.reference)
    capped = OBJECTIVES.parse({"name": "grad_diff", "forget_cap": 1e6})(full.model, batches(), full.reference)
    assert {name: value.item() for name, value in capped.items()} == {n: v.item() for n, v in plain.items()}


def test_a_choice_of_retain_term_is_part_of_grad_diffs_key_and_its_default_leaves_older_keys_valid():
    plain, chosen = OBJECTIVES.parse("grad_diff"), OBJECTIVES.parse({"name": "grad_diff", "retain": "kl"})
    before = {"name": "grad_diff", "forget_weight": 1.0, "retain_weight": 1.0, "forget_cap": None}
    assert plain.identity() == before
    assert chosen.identity() == {**before, "retain": "kl"}


def test_a_long_sequence_weighs_no_more_than_a_short_one(full):
    short, long = sequences([2, 40], seed=4)
    made = Batches(batch([short, long]), batch(RETAIN[:2]))
    for name, sign in (("grad_diff", -1), ("grad_ascent", -1)):
        terms = OBJECTIVES.parse(name)(full.model, made, full.reference)
        expected = sign * (naive_nll(full.model, short) + naive_nll(full.model, long)) / 2
        torch.testing.assert_close(terms["forget"], expected)


def test_dpo_without_idk_batches_says_so(full):
    with pytest.raises(ValueError, match=r"batches\.idk"):
        OBJECTIVES.parse("dpo_idk")(full.model, Batches(batch(FORGET), batch(RETAIN)), full.reference)


def test_rmu_has_one_direction_a_seed(full):
    def direction(seed):
        torch.rand(3)  # whatever was drawn before
        return OBJECTIVES.parse({"name": "rmu", "seed": seed}).direction(torch.zeros(2, 32))

    assert torch.equal(direction(1), direction(1))
    assert not torch.allclose(direction(1), direction(2))
    assert direction(1).norm().item() == pytest.approx(1)
    assert direction(1).min() >= 0 and direction(1).unique().numel() == 32


@pytest.mark.parametrize("layer", [2, -3, 7])
def test_rmu_names_a_layer_that_is_not_there(moved, layer):
    with pytest.raises(UserError, match=rf"layer {layer} does not exist in a model of 2 decoder layers.* -2 to 1"):
        OBJECTIVES.parse({"name": "rmu", "layer": layer})(moved.model, batches(), moved.reference)


def test_rmu_counts_layers_from_both_ends(full):
    def forget(layer):
        terms = OBJECTIVES.parse({"name": "rmu", "layer": layer})(full.model, batches(), full.reference)
        return terms["forget"].item()

    assert forget(0) == forget(-2) != forget(1) == forget(-1)


def test_rmu_leaves_no_hooks_behind_even_after_an_exception(full):
    objective = OBJECTIVES.parse({"name": "rmu", "layer": 1})
    objective(full.model, batches(), full.reference)
    wrong = {**batch(FORGET), "input_ids": torch.full_like(batch(FORGET)["input_ids"], tiny.VOCABULARY)}
    with pytest.raises(IndexError):
        objective(full.model, Batches(wrong, batch(RETAIN)), full.reference)
    assert not any(module._forward_hooks for module in full.model.modules())
