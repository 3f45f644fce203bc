"""Tunings: training inside a scope, patches, and weights that come back bit for bit."""

import contextlib
import json

import pytest
import tiny
import torch

from unteach.errors import UserError
from unteach.models.logprobs import token_logprobs
from unteach.models.structure import decoder_layers, linear_modules
from unteach.models.tuning import TUNINGS, patched

LORA = {"name": "lora", "rank": 4}
KINDS = [pytest.param(LORA, id="lora"), pytest.param({"name": "full"}, id="full")]
DTYPES = ["float32", "bfloat16"]
IDS = torch.tensor([[tiny.BOS, *tiny.ids_of("the old bridge")]])


def bits(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_untouched(model, before):
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


def train_steps(trainable, lr=0.02, steps=3):
    """A few plain AdamW steps towards ``IDS``; gives the losses."""
    optimiser = torch.optim.AdamW([p for p in trainable.parameters() if p.requires_grad], lr=lr)
    losses = []
    trainable.train()
    for _ in range(steps):
        loss = -token_logprobs(trainable, IDS, torch.ones_like(IDS), IDS).mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS).logits


def saved_patch(model, settings, folder, seed=0):
    """Train, save, and give what the model says in its ``merged`` scope."""
    tuning = TUNINGS.parse(settings)
    folder.mkdir()
    with tuning.attach(model, seed) as trainable:
        train_steps(trainable)
        tuning.save(trainable, folder)
        with tuning.merged(trainable) as merged:
            return logits(merged)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3"])
def test_training_lowers_the_loss_and_the_scope_restores_every_bit(load, architecture, settings, dtype):
    model = load(architecture, dtype).model
    before, said = bits(model), logits(model)
    with TUNINGS.parse(settings).attach(model, seed=0) as trainable:
        losses = train_steps(trainable)
        assert losses[-1] < losses[0] - 0.05
    assert_untouched(model, before)
    assert torch.equal(logits(model), said)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", KINDS)
def test_weights_are_restored_after_an_exception(load, settings, dtype):
    model = load("llama", dtype).model
    before = bits(model)
    tuning = TUNINGS.parse(settings)

    def fail(inside_merged):
        with tuning.attach(model, seed=0) as trainable:
            train_steps(trainable)
            with tuning.merged(trainable) if inside_merged else contextlib.nullcontext():
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(inside_merged=False)
    assert_untouched(model, before)
    with pytest.raises(ZeroDivisionError):
        fail(inside_merged=True)
    assert_untouched(model, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_merged_says_exactly_what_the_saved_patch_says(load, tmp_path, architecture, settings, dtype):
    model = load(architecture, dtype).model
    before, base = bits(model), logits(model)
    merged = saved_patch(model, settings, tmp_path / "patch")
    assert not torch.equal(merged, base)
    with patched(model, [tmp_path / "patch"]) as changed:
        assert torch.equal(logits(changed), merged)
    assert_untouched(model, before)
    other = load(architecture, dtype).model  # and on a model that was never trained in this process
    with patched(other, [tmp_path / "patch"]) as changed:
        assert torch.equal(logits(changed), merged)


@pytest.mark.parametrize("settings", KINDS)
def test_merged_leaves_training_as_it_was(load, settings):
    """In bfloat16 adding and subtracting a change is not exact, so the base is put back from a copy."""
    tuning, model = TUNINGS.parse(settings), load("llama", "bfloat16").model
    with tuning.attach(model, seed=0) as trainable:
        train_steps(trainable)
        before = bits(trainable)
        with tuning.merged(trainable) as merged:
            assert not merged.training
            logits(merged)
        assert trainable.training
        after = trainable.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())
        assert train_steps(trainable, steps=1)[0] > 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_adapter_switched_off_is_the_base_model(load, dtype):
    model = load("llama", dtype).model
    base = logits(model)
    with TUNINGS.parse(LORA).attach(model, seed=0) as trainable:
        train_steps(trainable)
        assert not torch.equal(logits(trainable), base)
        with trainable.disable_adapter():
            assert torch.equal(logits(trainable), base)
        assert not torch.equal(logits(trainable), base)


def test_adapters_are_float32_over_a_bfloat16_base(load):
    model = load("llama", "bfloat16").model
    with TUNINGS.parse(LORA).attach(model, seed=0) as trainable:
        assert {p.dtype for p in trainable.parameters() if p.requires_grad} == {torch.float32}


def test_an_untrained_adapter_changes_nothing_and_depends_on_its_seed_alone(load):
    model = load("llama").model
    base, tuning = logits(model), TUNINGS.parse(LORA)

    def factors(seed):
        torch.rand(3)  # whatever was drawn before
        with tuning.attach(model, seed) as trainable:
            assert torch.equal(logits(trainable), base)
            return torch.cat([p.detach().flatten() for p in trainable.parameters() if p.requires_grad])

    assert torch.equal(factors(1), factors(1))
    assert not torch.equal(factors(1), factors(2))


def test_alpha_over_rank_scales_the_change(load, tmp_path):
    """Rank 4 and alpha 2: W + (2/4) B A."""
    model = load("llama").model
    name = "model.layers.1.mlp.down_proj"
    before = model.get_parameter(f"{name}.weight").clone()
    tuning = TUNINGS.parse({**LORA, "alpha": 2.0, "targets": ["down_proj"]})
    with tuning.attach(model, seed=0) as trainable:
        train_steps(trainable)
        module = trainable.get_base_model().get_submodule(name)
        change = module.lora_B["default"].weight.detach() @ module.lora_A["default"].weight.detach()
        with tuning.merged(trainable):
            torch.testing.assert_close(module.base_layer.weight, before + 0.5 * change)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kinds", [(LORA, LORA), (LORA, {"name": "full"}), ({"name": "full"}, LORA)])
def test_patches_stack_in_order(load, tmp_path, kinds, dtype):
    model = load("llama", dtype).model
    before = bits(model)
    first, second = tmp_path / "first", tmp_path / "second"
    after_first = saved_patch(model, kinds[0], first)
    with patched(model, [first]):
        after_both = saved_patch(model, kinds[1], second, seed=1)
        assert torch.equal(logits(model), after_first)  # the second training's scope ends at the first patch
    assert_untouched(model, before)
    with patched(model, [first, second]):
        assert torch.equal(logits(model), after_both)
    assert_untouched(model, before)
    assert not torch.equal(after_both, after_first)


@pytest.mark.parametrize("settings", KINDS)
def test_a_patch_is_undone_after_an_exception_and_after_a_missing_second_one(load, tmp_path, settings):
    model = load("llama", "bfloat16").model
    before = bits(model)
    saved_patch(model, settings, tmp_path / "patch")
    with pytest.raises(ZeroDivisionError), patched(model, [tmp_path / "patch"]):
        raise ZeroDivisionError
    assert_untouched(model, before)
    with pytest.raises(FileNotFoundError), patched(model, [tmp_path / "patch", tmp_path / "none"]):
        pass
    assert_untouched(model, before)


@pytest.mark.parametrize("settings", KINDS)
def test_a_patch_of_another_model_leaves_the_weights_alone(load, tmp_path, settings):
    """Same names, other shapes: a Llama with half the width of the MLP of the patch's model."""
    saved_patch(load("llama").model, settings, tmp_path / "patch")
    config = tiny.config("llama")
    config.intermediate_size = 32
    other = type(load("llama").model)(config).requires_grad_(False).eval()
    before = bits(other)
    with pytest.raises((RuntimeError, UserError), match=r"size|of another model"), patched(other, [tmp_path / "patch"]):
        pass
    assert_untouched(other, before)


@pytest.mark.parametrize("settings", KINDS)
def test_a_patch_holds_safetensors_and_its_settings_and_no_pickles(load, tmp_path, settings):
    saved_patch(load("llama").model, settings, tmp_path / "patch")
    assert {file.suffix for file in (tmp_path / "patch").iterdir()} == {".safetensors", ".json"}
    written = json.loads((tmp_path / "patch" / "patch.json").read_text())
    assert TUNINGS.parse(written) == TUNINGS.parse(settings)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "qwen2"])
@pytest.mark.parametrize(
    "settings",
    [
        LORA,
        {"name": "lora", "rank": 7},
        {"name": "lora", "rank": 2, "targets": ["mlp.down_proj", "mlp.c_proj"]},
        {"name": "full"},
    ],
)
def test_trainable_parameters_is_the_real_count(load, architecture, settings):
    tuning, loaded = TUNINGS.parse(settings), load(architecture)
    claimed = tuning.trainable_parameters(loaded.model)
    with tuning.attach(loaded.model, seed=0) as trainable:
        assert claimed == sum(p.numel() for p in trainable.parameters() if p.requires_grad) > 0
    assert claimed == tuning.trainable_parameters(loaded.model)


def test_trainable_parameters_by_hand(load):
    """Llama, hidden 32, MLP 64, 4 heads and 2 key-value heads of 8, two layers.

    Shapes a layer: q 32x32, k 16x32, v 16x32, o 32x32, gate 64x32, up 64x32, down 32x64, two norms of 32.
    LoRA of rank 4: 4 (64 + 48 + 48 + 64 + 96 + 96 + 96) = 4 * 512 = 2048 a layer, 4096 in all.
    Full: 1024 + 512 + 512 + 1024 + 3 * 2048 + 64 = 9280 a layer, 18560 in all.
    """
    model = load("llama").model
    assert TUNINGS.parse(LORA).trainable_parameters(model) == 4096
    assert TUNINGS.parse({"name": "full"}).trainable_parameters(model) == 18560


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_full_training_leaves_embedding_and_head_alone(load, architecture):
    model = load(architecture).model
    inside = {id(p) for p in decoder_layers(model).parameters()}
    with TUNINGS.parse({"name": "full"}).attach(model, seed=0) as trainable:
        assert {id(p) for p in trainable.parameters() if p.requires_grad} == inside
        assert id(model.get_input_embeddings().weight) not in inside


def test_lora_targets_choose_modules_by_ending(load):
    model = load("llama").model
    tuning = TUNINGS.parse({**LORA, "targets": ["q_proj", "mlp.up_proj"]})
    names = [f"model.layers.{layer}.{end}" for layer in (0, 1) for end in ("self_attn.q_proj", "mlp.up_proj")]
    assert tuning.modules(model) == names
    assert set(names) < set(linear_modules(model))
    with tuning.attach(model, seed=0) as trainable:
        assert tuning.modules_adapted(trainable.get_base_model()) == names


def moved_weights(trainable):
    """Give every weight that learns, A and B of an adapter alike, another value."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainable.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=0.1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_reference_is_the_start_inside_and_the_trained_model_afterwards(load, architecture, settings, dtype):
    model, tuning = load(architecture, dtype).model, TUNINGS.parse(settings)
    base = logits(model)
    with tuning.attach(model, seed=0) as trainable:
        moved_weights(trainable)
        trainable.train()
        before = bits(trainable)
        learning = [name for name, p in trainable.named_parameters() if p.requires_grad]
        for _ in range(2):  # the scope can be used again, at every step
            with tuning.reference(trainable) as start:
                assert not start.training
                assert torch.equal(logits(start), base)
            assert trainable.training
            after = trainable.state_dict()
            assert all(torch.equal(after[name], value) for name, value in before.items())
            assert [name for name, p in trainable.named_parameters() if p.requires_grad] == learning
        trainable.train(False)
        assert not torch.equal(logits(trainable), base)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", KINDS)
def test_an_exception_inside_the_reference_leaves_the_trained_weights(load, settings, dtype):
    model, tuning = load("llama", dtype).model, TUNINGS.parse(settings)
    with tuning.attach(model, seed=0) as trainable:
        moved_weights(trainable)
        before, said = bits(trainable), logits(trainable)
        with pytest.raises(ZeroDivisionError), tuning.reference(trainable):
            raise ZeroDivisionError
        assert all(torch.equal(value, before[name]) for name, value in trainable.state_dict().items())
        assert torch.equal(logits(trainable), said)


@pytest.mark.parametrize("settings", KINDS)
def test_the_reference_holds_exactly_the_starts_weights(load, settings):
    """Bit for bit by weight, where weights are swapped; an adapter is switched off and its base never moves."""
    model, tuning = load("llama", "bfloat16").model, TUNINGS.parse(settings)
    before = bits(model)
    with tuning.attach(model, seed=0) as trainable:
        moved_weights(trainable)
        with tuning.reference(trainable) as start:
            inside = start.get_base_model() if settings == LORA else start
            held = {name.replace(".base_layer", ""): value for name, value in inside.state_dict().items()}
            assert all(torch.equal(held[name], value) for name, value in before.items())


@pytest.mark.parametrize("settings", KINDS)
def test_training_goes_on_as_if_nobody_had_looked_back(load, settings):
    def losses(looks_back):
        tuning = TUNINGS.parse(settings)
        with tuning.attach(load("llama").model, seed=0) as trainable:
            optimiser = torch.optim.AdamW([p for p in trainable.parameters() if p.requires_grad], lr=0.02)
            found = []
            for _ in range(3):
                if looks_back:
                    with torch.no_grad(), tuning.reference(trainable) as start:
                        logits(start)
                loss = -token_logprobs(trainable, IDS, torch.ones_like(IDS), IDS).mean()
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                found.append(loss.item())
            return found

    assert losses(True) == losses(False)


@pytest.mark.parametrize("settings", KINDS)
def test_over_a_patch_the_reference_is_the_patched_model(load, tmp_path, settings):
    """Unlearning starts from a contaminated model, not from the one before it was taught."""
    model, tuning = load("llama").model, TUNINGS.parse(settings)
    base, taught = logits(model), saved_patch(model, LORA, tmp_path / "taught")
    with patched(model, [tmp_path / "taught"]), tuning.attach(model, seed=1) as trainable:
        moved_weights(trainable)
        with tuning.reference(trainable) as start:
            assert torch.equal(logits(start), taught)
    assert torch.equal(logits(model), base) and not torch.equal(base, taught)


def test_two_models_in_full_training_each_have_their_own_start(load):
    first, second, tuning = load("llama").model, load("qwen2").model, TUNINGS.parse({"name": "full"})
    said = logits(first), logits(second)
    with tuning.attach(first, 0) as one, tuning.attach(second, 0) as two:
        moved_weights(one)
        moved_weights(two)
        with tuning.reference(one), tuning.reference(two):
            assert torch.equal(logits(one), said[0]) and torch.equal(logits(two), said[1])
