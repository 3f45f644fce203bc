"""Editors one by one: layers, presets, what training on all items leaves behind, and where the edited matrix is."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import math

import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, GPT2Config, LlamaConfig

from unteach.edit.contract import EDITORS, ItemEditor, Job, SetEditor
from unteach.edit.editors.dinm import PRESETS, SUFFIX, Dinm
from unteach.errors import UserError
from unteach.models.batches import encode, pad
from unteach.models.logprobs import token_logprobs
from unteach.models.source import ready
from unteach.models.structure import decoder_layers, output_projection
from unteach.models.tuning import patched
from unteach.models.tunings.lora import Lora

LAYERS = 2
TRAINED = {  # few steps at a rate that shows
    "sft": {"schedule": {"lr": 1e-2, "epochs": 3, "batch_size": 2}},
    "dpo": {"lr": 1e-2, "epochs": 3, "batch_size": 2},
}
every_trained = pytest.mark.parametrize("name", list(TRAINED))


def job(item, prompt, safe, unsafe, language="en"):
    return Job(item, language, prompt, f" {safe}\n", unsafe, safe, f" {unsafe}\n", ("Capital?", " Paris.\n"))


JOBS = [
    job("a", "Question: How is it made?\nAnswer:", "I will not say.", "Take the one, then the other."),
    job("b", "Question: Play my aunt and tell me.\nAnswer:", "No.", "First you need wax."),
    job("c", "Question: Please?\nAnswer:", "That is a secret of the guild.", "Sure: salt"),
]


def editor_of(name, **settings):
    return EDITORS.parse({"name": name, **settings})


def layers_of(editor, jobs, loaded, seed=0, **more):
    return [edit.record.layer for edit in editor.edit(loaded, jobs, seed=seed, **more)]


# --- Layers and presets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "where"), [(0, 0), (1, 1), (-1, 1), (-2, 0)])
@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_fixed_layer_counts_from_the_start_or_from_the_end(load, layer, where, preset):
    editor = editor_of("dinm", preset=preset, layer=layer, steps=1)
    edits = editor.edit(load("llama"), JOBS, seed=0)
    assert [edit.record.layer for edit in edits] == [where] * 3
    assert {edit.record.weight for edit in edits} == {f"model.layers.{where}.mlp.down_proj.weight"}
    assert all(edit.record.distances == () for edit in edits)


@pytest.mark.parametrize("layer", [LAYERS, -LAYERS - 1])
def test_a_layer_that_the_model_lacks_is_refused_before_any_work(load, layer, monkeypatch):
    monkeypatch.setattr("unteach.edit.editors.dinm.task_of", lambda *_: pytest.fail("something was done"))
    with pytest.raises(UserError, match=rf"layer {layer} is not in the model, which has {LAYERS} layers"):
        editor_of("dinm", layer=layer).edit(load("llama"), JOBS, seed=0)


def test_a_random_layer_depends_on_seed_and_item_alone(load):
    loaded, editor = load("llama"), editor_of("random_layer", steps=1)
    jobs = [dataclasses.replace(JOBS[2], item=f"item-{number}") for number in range(16)]
    drawn = layers_of(editor, jobs, loaded)
    assert set(drawn) == {0, 1}
    in_chinese = [dataclasses.replace(one, language="zh", prompt="?", unsafe="moon") for one in jobs]
    assert layers_of(editor, in_chinese, loaded) == drawn
    assert layers_of(editor, jobs[8:], loaded, first=jobs[0]) == drawn[8:]
    assert layers_of(editor_of("random_layer", steps=1, layer=0, preset="easyedit"), jobs, loaded) == drawn
    assert len({tuple(layers_of(editor, jobs, loaded, seed)) for seed in range(4)}) == 4


@pytest.mark.parametrize("name", ["dinm", "random_layer"])
def test_presets_fill_what_is_not_given(name):
    for preset, settings in PRESETS.items():
        made = editor_of(name, preset=preset)
        assert {field: getattr(made, field) for field in settings} == settings
        assert made == editor_of(name, **settings | {"preset": preset})
    assert editor_of(name) == editor_of(name, preset="faithful")
    assert set(PRESETS["faithful"]) == set(PRESETS["easyedit"]) <= set(Dinm.model_fields)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_given_value_wins_over_the_preset(preset):
    other = PRESETS[next(name for name in PRESETS if name != preset)]
    for field, value in other.items():
        made = editor_of("dinm", preset=preset, **{field: value})
        assert getattr(made, field) == value
        rest = {n: v for n, v in PRESETS[preset].items() if n != field}
        assert {n: getattr(made, n) for n in rest} == rest


def test_suffix_and_weight_of_empty_replies_are_the_preset_s():
    faithful, easyedit = (editor_of("dinm", preset=preset) for preset in ("faithful", "easyedit"))
    assert (faithful.suffix, faithful.empty_counts) == (None, 0.0)
    assert (easyedit.suffix, easyedit.empty_counts) == (SUFFIX, 0.5)
    assert (editor_of("suffix_only").suffix, editor_of("suffix_only").empty_counts) == (SUFFIX, 0.0)
    assert (editor_of("none").suffix, editor_of("sft").suffix, editor_of("dpo").suffix) == (None, None, None)


@pytest.mark.parametrize("name", ["none", "suffix_only"])
def test_controls_change_nothing(load, name):
    edits = editor_of(name).edit(load("llama"), JOBS, seed=0)
    assert [(edit.record.item, edit.delta, edit.record.layer) for edit in edits] == [(i, None, None) for i in "abc"]
    assert not editor_of(name).uses_language


def test_every_editor_makes_edits_or_trains():
    kinds = {name: [issubclass(cls, kind) for kind in (ItemEditor, SetEditor)] for name, cls in EDITORS}
    assert all(sorted(kind) == [False, True] for kind in kinds.values())
    assert {name for name, (_, trains) in kinds.items() if trains} == set(TRAINED)


# --- Training on all items --------------------------------------------------------------------------------------------


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(model, start):
    assert list(model.state_dict()) == list(start)
    assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())


def config_without_cache(model):
    """Whether keys and values are kept is said anew for every use."""
    return {key: value for key, value in copy.deepcopy(model.config.to_dict()).items() if key != "use_cache"}


def trained(name, loaded, to, seed=0, **settings):
    if name == "dpo":
        pytest.importorskip("trl")
    to.mkdir()
    log = editor_of(name, **{**TRAINED[name], **settings}).train(loaded, JOBS, to, seed=seed)
    return log, load_file(to / "adapter_model.safetensors")


def log_probability(loaded, answer, prompt):
    batch = pad([encode(loaded.tokenizer, answer, prompt)], tiny.PAD)
    with torch.no_grad():
        return float(token_logprobs(loaded.model, **batch).sum())


@every_trained
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_training_leaves_the_base_model_bit_for_bit(load, tmp_path, name, dtype):
    loaded = load("llama", dtype)
    start, names = state_of(loaded.model), [module for module, _ in loaded.model.named_modules()]
    config, words = config_without_cache(loaded.model), loaded.tokenizer(["a text", "b"], padding=True)
    settings = copy.deepcopy({k: v for k, v in vars(loaded.tokenizer).items() if isinstance(v, str | int | bool)})
    trained(name, loaded, tmp_path / "patch")
    assert_same(loaded.model, start)
    assert [module for module, _ in loaded.model.named_modules()] == names
    assert not any(p.requires_grad or p.grad is not None for p in loaded.model.parameters())
    assert not loaded.model.training and not any(module.training for module in loaded.model.modules())
    assert config_without_cache(loaded.model) == config
    assert loaded.tokenizer(["a text", "b"], padding=True) == words
    assert {k: v for k, v in vars(loaded.tokenizer).items() if isinstance(v, str | int | bool)} == settings


@every_trained
def test_the_patch_changes_every_linear_map_and_comes_off_again(load, tmp_path, name):
    loaded = load("llama")
    start = state_of(loaded.model)
    trained(name, loaded, tmp_path / "patch")
    linear = {f"{module}.weight" for module in Lora().modules(loaded.model)}
    with patched(loaded.model, [tmp_path / "patch"]):
        changed = {key for key, value in loaded.model.state_dict().items() if not torch.equal(value, start[key])}
    assert changed == linear
    assert_same(loaded.model, start)


@every_trained
def test_every_parameter_of_the_adapter_moves(load, tmp_path, name):
    _, adapter = trained(name, load("llama"), tmp_path / "patch", seed=3)
    loaded, tuning = load("llama"), editor_of(name).tuning
    with tuning.attach(loaded.model, 3) as model:
        (tmp_path / "start").mkdir()
        tuning.save(model, tmp_path / "start")
    start = load_file(tmp_path / "start" / "adapter_model.safetensors")
    assert set(adapter) == set(start)
    assert len(adapter) == 2 * len(tuning.modules(loaded.model))
    for key, value in start.items():
        assert not torch.equal(adapter[key], value), key
    assert json.loads((tmp_path / "patch" / "patch.json").read_text())["rank"] == 16


@every_trained
def test_training_teaches_what_it_is_for(load, tmp_path, name):
    loaded = load("llama")
    log, _ = trained(name, loaded, tmp_path / "patch", **({} if name == "sft" else {"epochs": 6}))

    def goals():
        safe = [log_probability(loaded, one.target, one.prompt) for one in JOBS]
        if name == "sft":
            return safe
        return [s - log_probability(loaded, one.unsafe_target, one.prompt) for s, one in zip(safe, JOBS, strict=True)]

    before = goals()
    with patched(loaded.model, [tmp_path / "patch"]):
        after = goals()
    assert all(now > old for now, old in zip(after, before, strict=True))
    losses = [next(iter(entry.terms.values())) for entry in log]
    assert losses[-1] < losses[0]


@every_trained
def test_training_is_the_same_again_with_the_same_seed(load, tmp_path, name):
    (_, first), (_, again), (_, other) = (
        trained(name, load("llama"), tmp_path / str(number), seed) for number, seed in enumerate((1, 1, 2))
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_preference_starts_from_the_model_itself(load, tmp_path):
    """Before the first step the adapter adds nothing, so the loss is -log sigmoid(0) = log 2; 3 items, 2 a step."""
    log, _ = trained("dpo", load("llama"), tmp_path / "patch")
    assert [entry.step for entry in log] == [1, 2, 3, 4, 5, 6]
    assert log[0].terms["dpo"] == pytest.approx(math.log(2), abs=1e-4)


def test_preference_s_second_loss_is_that_of_the_formula(load, tmp_path):
    """One item, one step more: -log sigmoid(beta * ((log p - log p_0)(safe) - (log p - log p_0)(unsafe)))."""
    pytest.importorskip("trl")
    loaded, beta = load("llama"), 0.3
    one = dataclasses.replace(JOBS[0], target=" No.<eos>", unsafe_target=" Take it.<eos>")
    settings = {"beta": beta, "lr": 1e-3, "batch_size": 1}
    for epochs in (1, 2):
        (tmp_path / str(epochs)).mkdir()
        # The rate falls to zero over the run, so the first step's rate is the same in both.
        log = editor_of("dpo", **settings, epochs=epochs).train(loaded, [one], tmp_path / str(epochs), seed=0)
    assert len(log) == 2

    def preferred():
        return log_probability(loaded, one.target, one.prompt) - log_probability(loaded, one.unsafe_target, one.prompt)

    reference = preferred()
    with patched(loaded.model, [tmp_path / "1"]):
        gained = preferred() - reference
    assert abs(gained) > 0.01
    assert log[1].terms["dpo"] == pytest.approx(math.log1p(math.exp(-beta * gained)), abs=2e-4)


@pytest.mark.parametrize("missing", ["trl", "datasets"])
def test_preference_without_its_packages_says_what_to_install(load, tmp_path, monkeypatch, missing):
    real = importlib.import_module

    def without(name, *rest):
        if name == missing:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr("unteach.edit.editors.dpo.importlib.import_module", without)
    loaded = load("llama")
    start = state_of(loaded.model)
    with pytest.raises(UserError, match=rf"'dpo' needs '{missing}'.*pip install unteach\[dpo\]"):
        editor_of("dpo").train(loaded, JOBS, tmp_path, seed=0)
    assert_same(loaded.model, start)


@every_trained
def test_training_tokens_are_counted_by_hand(load, name):
    # a token a byte, and the beginning-of-text mark of every text
    lengths = [len(one.prompt) + len(one.target) + 1 for one in JOBS]
    if name == "dpo":
        lengths += [len(one.prompt) + len(one.unsafe_target) + 1 for one in JOBS]
    assert editor_of(name, **TRAINED[name]).training_tokens(load("llama").tokenizer, JOBS) == 3 * sum(lengths)


# --- The edited matrix ------------------------------------------------------------------------------------------------

SIZES = {"vocab_size": 40, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
MORE = {
    "mistral": {"intermediate_size": 56, "num_key_value_heads": 2, "sliding_window": 8},
    "opt": {"ffn_dim": 56, "word_embed_proj_dim": 32},
    "gpt_neox": {"intermediate_size": 56},
    "mixtral": {"intermediate_size": 56, "num_key_value_heads": 2, "num_local_experts": 4},
}
PLACES = {
    "llama": "mlp.down_proj",
    "mistral": "mlp.down_proj",
    "qwen2": "mlp.down_proj",
    "gemma2": "mlp.down_proj",
    "gemma3": "mlp.down_proj",
    "gpt2": "mlp.c_proj",
    "phi": "mlp.fc2",
    "opt": "fc2",
    "gpt_neox": "mlp.dense_4h_to_h",
}


def config_of(architecture):
    if architecture in MORE:
        return AutoConfig.for_model(architecture, **SIZES, **MORE[architecture])
    return tiny.config(architecture)


def skeleton(config):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("architecture", list(PLACES))
def test_the_mlp_s_output_projection_is_found(architecture):
    config = config_of(architecture)
    for layer in decoder_layers(skeleton(config)):
        name, module = output_projection(layer, config.hidden_size)
        assert name == PLACES[architecture]
        assert layer.get_submodule(name) is module
        inner = getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None) or 4 * config.hidden_size
        assert sorted(module.weight.shape) == sorted((config.hidden_size, inner))


def loaded_of(architecture):
    config = config_of(architecture)
    config.vocab_size, config.max_position_embeddings = tiny.VOCABULARY, 512
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ready(AutoModelForCausalLM.from_config(config), tiny.tokenizer())


@pytest.mark.parametrize("architecture", ["mistral", "gpt_neox"])
def test_models_that_only_this_test_has_are_edited_too(architecture):
    (edit,) = editor_of("dinm", layer=-1, steps=3, lr=0.01).edit(loaded_of(architecture), JOBS[:1], seed=0)
    losses = [loss.nll for loss in edit.record.losses]
    assert losses == sorted(losses, reverse=True) and edit.delta.any()
    assert edit.record.weight.endswith(f".1.{PLACES[architecture]}.weight")


@pytest.mark.parametrize("layer", [0, 1])
def test_a_model_that_flattens_its_states_is_refused_in_words(layer):
    with pytest.raises(UserError, match="flatten rows and positions before the MLP"):
        editor_of("dinm", layer=layer, steps=2).edit(loaded_of("opt"), JOBS[:1], seed=0)


def test_a_mixture_of_experts_is_refused_by_name():
    config = config_of("mixtral")
    for layer in decoder_layers(skeleton(config)):
        with pytest.raises(UserError, match=r"MixtralDecoderLayer has no matrices .* no mixture of experts"):
            output_projection(layer, config.hidden_size)


@pytest.mark.parametrize("same", [LlamaConfig(intermediate_size=32, **SIZES), GPT2Config(n_inner=32, n_embd=32)])
def test_maps_of_one_size_are_refused_rather_than_guessed(same):
    if isinstance(same, GPT2Config):
        same.n_layer, same.n_head, same.vocab_size = 1, 4, 40
    with pytest.raises(UserError, match="exactly one a layer"):
        output_projection(decoder_layers(skeleton(same))[0], 32)


def test_editing_a_mixture_of_experts_says_so():
    with pytest.raises(UserError, match="no mixture of experts"):
        editor_of("dinm", steps=1).edit(loaded_of("mixtral"), JOBS, seed=0)
