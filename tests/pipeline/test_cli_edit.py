"""Edits by the command line: made, listed, applied, merged; and what is refused."""

import json
import sys

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from unteach import cli
from unteach.corpora.safety import load_items
from unteach.edit.files import find_edits, load_edit, merge, save_edit
from unteach.edit.scope import applied, edited_weight
from unteach.errors import UserError

SETTINGS = "{name: dinm, layer: -1, steps: 2, lr: 1.0e-2}"


@pytest.fixture
def call(monkeypatch, capsys):
    """``call("edit", "list", ...)`` is exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["unteach", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return stopped.value.code, said.out, said.err

    return run


@pytest.fixture
def items(tmp_path):
    """Two of the guarded items as a file."""
    path = tmp_path / "items.json"
    path.write_text(json.dumps([item.model_dump(mode="json") for item in load_items(limit=2)]), encoding="utf-8")
    return path


@pytest.fixture
def made(call, items, tiny_folder, tmp_path):
    """A folder of two edits of the tiny llama."""
    folder = tmp_path / "edits"
    code, _, errors = call(
        "edit", "make", folder, "--items", items, "--model", tiny_folder("llama"), "--editor", SETTINGS
    )
    assert code == 0, errors
    return folder


def test_every_edit_is_one_file_with_its_provenance(made):
    paths = find_edits([made])
    assert [path.name for path in paths] == ["brannoc.en.edit.safetensors", "cavrel.en.edit.safetensors"]
    saved = load_edit(paths[0])
    record = saved.edit.record
    assert (record.item, record.language, record.layer, record.layers) == ("brannoc", "en", 1, 2)
    assert record.weight == "model.layers.1.mlp.down_proj.weight"
    assert saved.edit.delta.dtype == torch.float32 and float(saved.edit.delta.norm()) == pytest.approx(record.norm)
    assert len(record.losses) == 2 and record.losses[1].total < record.losses[0].total
    assert saved.provenance["editor"]["steps"] == 2 and saved.provenance["model"]["weights"].startswith("folder/")
    with safe_open(str(paths[0]), framework="pt") as file:
        assert list(file.keys()) == ["delta"]


def test_the_list_reads_headers_and_shows_every_edit(call, made):
    code, out, _ = call("edit", "list", made)
    assert code == 0
    assert "brannoc" in out and "cavrel" in out and "dinm" in out


def test_applied_edits_change_the_answer_scope_and_leave_the_model_as_it_was(load, made):
    loaded = load("llama")
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    edit = load_edit(find_edits([made])[0]).edit
    name = edit.record.weight

    def halfway():
        with applied(loaded.model, [edit]) as model:
            assert torch.equal(model.state_dict()[name], edited_weight(before[name], edit.delta))
            assert not torch.equal(model.state_dict()[name], before[name])
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        halfway()
    assert all(torch.equal(value, before[name]) for name, value in loaded.model.state_dict().items())


def test_apply_asks_before_and_after_and_merges_into_a_folder_that_loads(call, made, tiny_folder, tmp_path):
    to, model = tmp_path / "merged", tiny_folder("llama")
    code, out, errors = call("edit", "apply", made, "--model", model, "--ask", "Who?", "--to", to, "--dtype", "float32")
    assert code == 0, errors
    assert "before" in out and "with 2 edit(s)" in out
    original = AutoModelForCausalLM.from_pretrained(model).state_dict()
    merged = AutoModelForCausalLM.from_pretrained(to).state_dict()
    edits = [load_edit(path).edit for path in find_edits([made])]
    name = edits[0].record.weight
    assert torch.equal(merged[name], edited_weight(original[name], edits[0].delta + edits[1].delta))
    assert all(torch.equal(merged[other], original[other]) for other in original if other != name)


def test_edits_are_refused_by_other_weights(call, made, tiny_folder):
    code, _, errors = call("edit", "apply", made, "--model", tiny_folder("qwen2"), "--ask", "Who?")
    assert code == 2
    assert "brannoc, cavrel were made for other weights" in errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["edit", "apply", "nowhere", "--ask", "Who?"], "there is no edit at nowhere"),
        (["edit", "list", "."], "there is no edit at ."),
        (
            ["edit", "make", "out", "--editor", "suffix_only"],
            "'suffix_only' makes no edits to save. Those that do: dinm",
        ),
        (["edit", "make", "out", "--editor", "sft"], "'sft' makes no edits to save"),
        (["edit", "make", "out", "--language", "de"], "no 'adversarial_prompt' in language 'de'"),
    ],
)
def test_what_cannot_be_done_is_said(call, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    code, _, errors = call(*arguments)
    assert code == 2
    assert says in " ".join(errors.split())


def test_nothing_wanted_is_an_error(call, made, tiny_folder):
    code, _, errors = call("edit", "apply", made, "--model", tiny_folder("llama"))
    assert code == 2
    assert "give --ask QUESTION" in errors


def test_a_file_that_is_no_edit_is_named(tmp_path):
    path = tmp_path / "x.edit.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="is no edit saved by unteach"):
        load_edit(path)


def test_a_full_folder_is_not_written_over(load, made, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        merge(load("llama"), [load_edit(find_edits([made])[0]).edit], tmp_path / "full")


def test_an_edit_that_changes_nothing_is_not_saved(made, tmp_path):
    from dataclasses import replace

    edit = replace(load_edit(find_edits([made])[0]).edit, delta=None)
    with pytest.raises(UserError, match="nothing to save"):
        save_edit(edit, tmp_path / "other", {})
