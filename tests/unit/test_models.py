"""Model sources, and the parts of a model that are found by structure."""

import os
import re
import shutil

import pytest
import tiny
import torch
from torch import nn

from unteach.errors import UserError
from unteach.models import hardware
from unteach.models.hardware import dtype_name, resolve_dtype
from unteach.models.source import MODELS
from unteach.models.structure import decoder_layers, linear_modules, output_head

CPU = torch.device("cpu")


def source(path, **settings):
    return MODELS.parse({"name": "pretrained", "path": str(path), **settings})


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of a tiny model's folder that a test may spoil."""
    return shutil.copytree(tiny_folder("llama"), tmp_path / "model")


def remove(folder, *patterns):
    gone = [file for pattern in patterns for file in folder.glob(pattern)]
    assert gone
    for file in gone:
        file.unlink()


def refusal(folder):
    """What both ways in say: the early check, and loading."""
    with pytest.raises(UserError) as early:
        source(folder).fingerprint()
    with pytest.raises(UserError) as late:
        source(folder).load()
    assert str(early.value) == str(late.value)
    return str(early.value)


def test_a_loaded_model_is_ready_to_use(folder):
    loaded = source(folder, dtype="float32").load()
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert loaded.context_length == 512
    saved = tiny.model("llama").state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.model.state_dict().items())


def test_a_folder_without_tokeniser_is_refused(folder):
    remove(folder, "tokenizer*")
    message = refusal(folder)
    assert repr(str(folder)) in message
    assert "no tokeniser" in message and "save_pretrained" in message
    assert "weights" not in message


def test_a_folder_without_weights_is_refused(folder):
    remove(folder, "*.safetensors")
    assert "it has no weights (*.safetensors)" in refusal(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth"])
def test_pickled_weights_are_refused_without_being_opened(folder, name):
    remove(folder, "*.safetensors")
    (folder / name).write_bytes(b"not even a pickle")
    message = refusal(folder)
    assert f"pickled only ({name})" in message
    assert "safe_serialization=True" in message


def test_all_problems_of_a_folder_are_told_at_once(tmp_path):
    message = refusal(tmp_path)
    assert "no config.json" in message and "no tokeniser" in message and "no weights" in message


@pytest.mark.parametrize("path", ["/nowhere/at/all", "./not-there", "../not-there-either"])
def test_a_missing_folder_is_refused(path):
    message = refusal(path)
    assert message == f"model.path: there is no folder {path!r}"


def test_a_name_that_is_neither_folder_nor_reachable_is_refused():
    assert "neither a local folder nor a model that can be reached" in refusal("nobody/no-such-model")


def test_weights_that_are_cut_short_are_refused(folder):
    (file,) = folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=re.escape(str(folder))):
        source(folder).load()


def change_a_byte(file, keep_time=False):
    """Flip one bit in the middle, so that neither size nor the ends tell."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    time = before.st_mtime_ns if keep_time else before.st_mtime_ns + 1_000_000
    os.utime(file, ns=(before.st_atime_ns, time))
    assert file.stat().st_size == before.st_size


def test_a_weight_in_the_middle_changes_the_fingerprint(folder):
    before = source(folder).fingerprint()
    assert source(folder).fingerprint() == before
    (file,) = folder.glob("*.safetensors")
    change_a_byte(file, keep_time=True)
    assert source(folder).fingerprint() != before
    change_a_byte(file)  # the same bit back
    assert source(folder).fingerprint() == before


def test_a_large_file_is_remembered_until_it_changes(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("UNTEACH_CACHE", str(tmp_path / "cache"))
    large = folder / "model-of-17-mebibytes.safetensors"
    large.write_bytes(bytes(17 << 20))
    before = source(folder).fingerprint()
    assert len(list((tmp_path / "cache" / "digests").iterdir())) == 1  # the large one alone
    assert source(folder).fingerprint() == before
    change_a_byte(large)
    assert source(folder).fingerprint() != before
    change_a_byte(large)
    assert source(folder).fingerprint() == before


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_other_files_that_decide_change_the_fingerprint(folder, name):
    before = source(folder).fingerprint()
    with (folder / name).open("a") as file:
        file.write("\n")
    assert source(folder).fingerprint() != before


def test_the_fingerprint_is_of_the_content_not_of_the_place(folder, tmp_path):
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    (elsewhere / "README.md").write_text("a model card decides nothing")
    assert source(folder).identity() == source(elsewhere).identity()
    assert source(folder, dtype="float32").identity() != source(folder, dtype="bfloat16").identity()


def test_a_skeleton_has_the_shapes_and_no_weights(folder):
    skeleton = source(folder).skeleton()
    assert {p.device.type for p in skeleton.parameters()} == {"meta"}
    shapes = {name: p.shape for name, p in tiny.model("llama").named_parameters()}
    assert {name: p.shape for name, p in skeleton.named_parameters()} == shapes


MLP_AND_ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LINEAR = {  # last parts of the names, of one layer
    "llama": MLP_AND_ATTENTION,
    "qwen2": MLP_AND_ATTENTION,
    "gemma3": MLP_AND_ATTENTION,
    "gpt2": ["c_attn", "c_proj", "c_fc", "c_proj"],
}


@pytest.mark.parametrize("architecture", sorted(LINEAR))
def test_decoder_layers_are_found(architecture):
    model = tiny.model(architecture)
    body = model.transformer.h if architecture == "gpt2" else model.model.layers
    assert decoder_layers(model) is body


@pytest.mark.parametrize("architecture", sorted(LINEAR))
def test_linear_modules_are_those_of_the_layers(architecture):
    model = tiny.model(architecture)
    names = linear_modules(model)
    assert len(set(names)) == len(names)
    for layer in (0, 1):
        inside = [name.rsplit(".", 1)[1] for name in names if f".{layer}." in name]
        assert sorted(inside) == sorted(LINEAR[architecture])
    assert len(names) == 2 * len(LINEAR[architecture])
    modules = dict(model.named_modules())
    assert all(modules[name] is not output_head(model) for name in names)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_structure_is_the_same_in_a_wrapped_model(architecture):
    model = tiny.model(architecture)
    wrapped = nn.DataParallel(model)
    assert decoder_layers(wrapped) is decoder_layers(model)
    assert linear_modules(wrapped) == [f"module.{name}" for name in linear_modules(model)]


class Expert(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(2, 2)


class Layer(nn.Module):
    def __init__(self, experts):
        super().__init__()
        self.attention = nn.Linear(2, 2)
        self.experts = nn.ModuleList(Expert() for _ in range(experts))


class Mixture(nn.Module):
    """Three layers of eight experts; two adapters and a mixed list stand beside them."""

    def __init__(self):
        super().__init__()
        self.adapters = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
        self.mixed = nn.ModuleList([nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)])
        self.layers = nn.ModuleList(Layer(8) for _ in range(3))
        self.head = nn.Linear(2, 2)


def test_a_longer_list_of_experts_is_not_the_stack():
    model = Mixture()
    assert decoder_layers(model) is model.layers
    expected = [
        f"layers.{layer}.{name}"
        for layer in range(3)
        for name in ("attention", *(f"experts.{expert}.up" for expert in range(8)))
    ]
    assert linear_modules(model) == expected


def test_a_model_without_layers_is_refused():
    with pytest.raises(UserError, match="no stack of decoder layers found in a model of class Linear"):
        decoder_layers(nn.Linear(2, 2))


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_named_number_format_is_taken(name):
    assert resolve_dtype(name, CPU) is getattr(torch, name)
    assert dtype_name(resolve_dtype(name, CPU)) == name


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("fpu sse2 avx512f avx512_bf16", torch.bfloat16),
        ("fpu amx_bf16 amx_tile", torch.bfloat16),
        ("fp asimd bf16", torch.bfloat16),
        ("fpu sse2 avx2 avx512f", torch.float32),
        ("", torch.float32),
    ],
)
def test_auto_is_bfloat16_where_the_processor_has_it(monkeypatch, flags, dtype):
    monkeypatch.setattr(hardware, "_cpu_flags", lambda: frozenset(flags.split()))
    assert resolve_dtype("auto", CPU) is dtype


def test_auto_is_one_of_the_two_on_this_machine():
    assert source("anything").resolved_dtype() in (torch.bfloat16, torch.float32)


def test_an_unknown_number_format_is_refused():
    with pytest.raises(ValueError, match="dtype"):
        source("anything", dtype="float8")
