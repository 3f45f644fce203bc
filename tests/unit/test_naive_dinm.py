"""The naive DINM against hand-made cases and against losses and gradients taken by another way."""

import math

import pytest
import tiny
import torch
from naive_dinm import naive_edit, naive_edited, naive_locate, weight_of

ARCHITECTURES = ["llama", "qwen2", "gpt2", "gemma2", "gemma3", "phi"]
PROMPT = [tiny.BOS, *tiny.ids_of("Tell me how")]
TARGET = tiny.ids_of("I will not.")
KNOWLEDGE = ([tiny.BOS, *tiny.ids_of("Capital?")], tiny.ids_of("Paris"))
SETTINGS = {
    "steps": 3,
    "lr": 1e-3,
    "nll_weight": 0.1,
    "kl_weight": 1.0,
    "kl_gradient": True,
    "bos_label": None,
    "stop_below": 1e-4,
}


def made(architecture="llama", dtype=torch.float32):
    return tiny.model(architecture).to(dtype).eval()


def edit(model, layer=1, knowledge=KNOWLEDGE, **settings):
    return naive_edit(model, layer, PROMPT, TARGET, knowledge, **{**SETTINGS, **settings})


def library_loss(model, bos_label=None):
    """The library's own loss for labels that carry loss on the target alone (it moves them by one place itself)."""
    labels = [*[-100] * (len(PROMPT) - 1), -100 if bos_label is None else bos_label, *TARGET]
    return model(input_ids=torch.tensor([[*PROMPT, *TARGET]]), labels=torch.tensor([labels])).loss


def knowledge_distributions(model):
    prompt, answer = KNOWLEDGE
    logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    assert len(logits) == len(answer)
    return torch.distributions.Categorical(logits=logits)


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layer", [0, 1])
def test_first_adam_step_moves_every_element_by_the_learning_rate_against_its_gradient(architecture, layer):
    model = made(architecture)
    weight, _ = weight_of(model, layer)
    (gradient,) = torch.autograd.grad(0.1 * library_loss(model), [weight])
    delta, _ = edit(model, layer, None, steps=1, lr=1e-4)
    assert delta.shape == weight.shape
    clear = gradient.abs() > 1e-5  # far above Adam's epsilon of 1e-8
    assert clear.float().mean() > 0.5
    torch.testing.assert_close(delta[clear], -1e-4 * gradient.sign()[clear], rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_at_the_start_are_the_library_s_and_the_divergence_is_zero(architecture):
    model = made(architecture)
    _, losses = edit(model)
    total, nll, kl = losses[0]
    assert nll == pytest.approx(library_loss(model).item(), rel=1e-5)
    assert kl == 0
    assert total == pytest.approx(0.1 * nll, rel=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_fall(architecture):
    _, losses = edit(made(architecture), steps=8, lr=3e-2, kl_weight=0.1)
    assert len(losses) == 8
    assert losses[-1][0] < 0.9 * losses[0][0]
    assert losses[-1][1] < losses[0][1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_second_losses_are_those_of_the_model_after_the_first_step(architecture):
    model = made(architecture)
    one, _ = edit(model, steps=1, lr=0.1)
    _, losses = edit(model, steps=2, lr=0.1, kl_weight=3.0)
    before = knowledge_distributions(model)
    with torch.no_grad(), naive_edited(model, 1, one):
        nll, now = library_loss(model).item(), knowledge_distributions(model)
    kl = torch.distributions.kl_divergence(before, now).mean().item()
    assert kl > 1e-3
    assert losses[1] == pytest.approx((0.1 * nll + 3.0 * kl, nll, kl), rel=1e-4, abs=1e-6)


def test_gradient_of_the_divergence_reaches_the_weight_only_if_asked_to():
    model = made()
    alone, _ = edit(model, knowledge=None)
    with_gradient, _ = edit(model)
    without_gradient, losses = edit(model, kl_gradient=False)
    assert torch.equal(without_gradient, alone)
    assert not torch.allclose(with_gradient, alone, rtol=0.01)
    assert losses[2][2] > 0


def test_label_on_the_last_prompt_token_is_averaged_in():
    model = made()
    _, losses = edit(model, bos_label=tiny.BOS)
    assert losses[0][1] == pytest.approx(library_loss(model, tiny.BOS).item(), rel=1e-5)
    assert losses[0][1] != pytest.approx(library_loss(model).item(), rel=1e-3)


def test_stops_before_the_step_once_the_loss_is_low_enough():
    model = made()
    delta, losses = edit(model, stop_below=100.0)
    assert len(losses) == 1
    assert not delta.any()
    _, whole = edit(model, steps=8, lr=3e-3)
    between = (whole[2][0] + whole[3][0]) / 2
    assert whole[3][0] < between < min(total for total, _, _ in whole[:3])
    stopped, losses = edit(model, steps=8, lr=3e-3, stop_below=between)
    assert losses == whole[:4]
    assert torch.equal(stopped, edit(model, steps=3, lr=3e-3)[0])


def test_steps_too_small_for_the_dtype_add_up_in_the_master():
    model = made(dtype=torch.bfloat16)
    delta, losses = edit(model, steps=4, lr=1e-6, knowledge=None)
    assert delta.dtype == torch.float32
    # The same gradient each time, because no weight of this size shows the step: four whole steps.
    assert delta.abs().median().item() == pytest.approx(4e-6, rel=0.05)
    assert losses[0][1] == pytest.approx(losses[3][1], rel=0.02)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_edit_is_undone_bit_for_bit_and_touches_one_weight(architecture, dtype):
    model = made(architecture, dtype)
    start = state_of(model)
    delta, _ = edit(model, 0, steps=2, lr=1e-2)
    assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())
    _, name = weight_of(model, 0)
    expected = (start[name].float() + delta).to(dtype)
    assert not torch.equal(expected, start[name])

    def fail_inside():
        with naive_edited(model, 0, delta):
            for other, value in model.state_dict().items():
                assert torch.equal(value, expected if other == name else start[other]), other
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_edited_weight_is_the_one_that_writes_the_mlp_s_output(architecture):
    """``y = W x``, whichever way round the weight is kept: one input and its output are read off with hooks."""
    model = made(architecture)
    weight, name = weight_of(model, 1)
    module = model.get_submodule(name.removesuffix(".weight"))
    seen = []
    module.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    with torch.no_grad():
        model(input_ids=torch.tensor([PROMPT]))
    inputs, output = seen[0]
    assert output.shape[-1] == 32 != inputs.shape[-1]
    bias = 0 if module.bias is None else module.bias
    oriented = weight if architecture == "gpt2" else weight.T
    torch.testing.assert_close(inputs @ oriented + bias, output, rtol=1e-4, atol=1e-4)


def passing_through(doubles=None):
    """A llama whose layers add nothing to the embedding; token ``t`` embeds as ``t`` times the unit vector ``t``.

    The layer ``doubles`` adds its input once more, in place of its MLP's output.
    """
    model = made()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.zero_()
        for token in range(32):
            model.model.embed_tokens.weight[token, token] = token
    if doubles is not None:
        entered = {}
        layer = model.model.layers[doubles]
        layer.register_forward_pre_hook(lambda module, args: entered.update(states=args[0]))
        layer.mlp.register_forward_hook(lambda module, args, output: entered["states"])
    return model


def test_locating_counts_common_positions_only():
    # Differing: 3 against 4 at place 1, so |3 e3 - 4 e4| = 5; place 2 is the longer one's alone.
    layer, distances = naive_locate(passing_through(), [1, 3, 9], [1, 4], count_padding=False, final_norm=False)
    assert distances == pytest.approx([5.0, 5.0])
    assert layer == 0  # the first of equals


def test_locating_counts_padding():
    model = passing_through()
    model.config.pad_token_id = 12
    # As before, and |9 e9 - 12 e12| = 15 at the padded place.
    layer, distances = naive_locate(model, [1, 3, 9], [1, 4], count_padding=True, final_norm=False)
    assert distances == pytest.approx([math.sqrt(25 + 225)] * 2)
    assert layer == 0
    swapped = naive_locate(model, [1, 4], [1, 3, 9], count_padding=True, final_norm=False)
    assert swapped == (0, pytest.approx(distances))


def test_final_norm_changes_the_last_distance_alone():
    # The norm makes every vector |x| = sqrt(32): two orthogonal ones are sqrt(64) = 8 apart.
    layer, distances = naive_locate(passing_through(), [1, 3], [1, 4], count_padding=False, final_norm=True)
    assert distances == pytest.approx([5.0, 8.0], rel=1e-4)
    assert layer == 1


@pytest.mark.parametrize("doubles", [0, 1])
def test_locating_finds_the_layer_that_spreads_them(doubles):
    # Doubling the states doubles their distance, from that layer on.
    layer, distances = naive_locate(passing_through(doubles), [1, 3], [1, 4], count_padding=False, final_norm=False)
    assert distances == pytest.approx([10.0, 10.0] if doubles == 0 else [5.0, 10.0])
    assert layer == doubles


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_last_state_is_before_the_final_norm_or_after_it(architecture):
    model = made(architecture)
    unsafe, safe = [tiny.BOS, *tiny.ids_of("First,")], [tiny.BOS, *tiny.ids_of("Sorry,")]
    inner = model.transformer if architecture == "gpt2" else model.model
    norm = next(getattr(inner, name) for name in ("norm", "ln_f", "final_layernorm") if hasattr(inner, name))
    seen = []
    norm.register_forward_hook(lambda module, args, output: seen.append((args[0], output)))
    with torch.no_grad():
        for ids in (unsafe, safe):
            model(input_ids=torch.tensor([ids]))
    (raw_unsafe, normed_unsafe), (raw_safe, normed_safe) = seen
    for final_norm, expected in ((False, raw_unsafe - raw_safe), (True, normed_unsafe - normed_safe)):
        for count_padding in (False, True):  # of one length: no padding to count
            _, found = naive_locate(model, unsafe, safe, count_padding=count_padding, final_norm=final_norm)
            assert len(found) == 2
            assert found[-1] == pytest.approx(expected.norm().item(), rel=1e-5)
