"""The spec of an experiment with editing: what it fills in, and that mistakes are told before anything is loaded."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import tiny
import yaml
from transformers import AutoConfig, AutoModelForCausalLM

from unteach.corpora.safety import INPUTS, load_items
from unteach.edit.contract import EDITORS
from unteach.edit.descend import Descent
from unteach.errors import UserError, UserErrors
from unteach.experiments.editing import run as editing
from unteach.experiments.editing.spec import (
    EditingSpec,
    asked_inputs,
    asked_languages,
    edit_languages,
    needed_languages,
)
from unteach.experiments.kinds import read_experiment
from unteach.experiments.sweep import dump_points, expand_as
from unteach.models.sources.pretrained import Pretrained

RAW = {
    "experiment": "knowledge_editing",
    "name": "edits",
    "items": {"limit": 3},
    "model": {"name": "pretrained", "path": "somewhere"},
    "languages": ["en", "zh"],
    "edit_languages": ["en", "zh"],
    "teach": {"tuning": "lora", "schedule": {"lr": 1e-3}},
    "editors": [
        "none",
        "suffix_only",
        {"label": "dinm", "editor": {"name": "dinm", "steps": 3}},
        {"editor": "sft", "edit_languages": ["en"], "inputs": ["attack"]},
    ],
    "judges": {"guarded": "guarded"},
}
MISSING = object()


def raw(**changes):
    """The raw spec with changes: ``teach__schedule__lr=0`` sets a nested value, ``editors__2__label`` one of a list."""
    made = copy.deepcopy(RAW)
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = made
        for parent in parents:
            target = target[int(parent)] if isinstance(target, list) else target.setdefault(parent, {})
        if value is MISSING:
            del target[last]
        elif isinstance(target, list):
            target.append(value) if int(last) == len(target) else target.__setitem__(int(last), value)
        else:
            target[last] = value
    return made


def spec(**changes):
    (point,) = expand_as(EditingSpec, raw(**changes), "spec.yaml")
    return point.spec


def problems(**changes):
    """What reading the spec complains of."""
    with pytest.raises(UserErrors) as caught:
        expand_as(EditingSpec, raw(**changes), "spec.yaml")
    assert "spec.yaml" in str(caught.value)
    return caught.value.problems


@pytest.fixture
def missing(tiny_folder, tmp_path, monkeypatch):
    """``missing(items=..., **changes)`` is what the spec, which is well-formed, complains of; no weights are loaded."""
    monkeypatch.setattr(Pretrained, "load", lambda self: pytest.fail("the model was loaded"))

    def found(model=None, **changes):
        changes = {"model__path": str(model or tiny_folder("llama")), **changes}
        with pytest.raises(UserErrors) as caught:
            editing.prepare(expand_as(EditingSpec, raw(**changes), "spec.yaml"), tmp_path / "store")
        assert not (tmp_path / "store").exists()
        return caught.value.problems

    return found


def items_file(folder: Path, change) -> str:
    """Three embedded items, changed, as a file of their own."""
    content = [item.model_dump(mode="json") for item in load_items(None, 3)]
    change(content)
    place = folder / "items.json"
    place.write_text(json.dumps(content), encoding="utf-8")
    return str(place)


# --- What is filled in ------------------------------------------------------------------------------------------------


def test_editors_by_their_bare_names_are_those_written_out():
    short, long = spec(), spec(editors__0={"editor": {"name": "none"}}, editors__1={"editor": {"name": "suffix_only"}})
    assert short == long
    assert [entry.name for entry in short.editors] == ["none", "suffix_only", "dinm", "sft"]


@pytest.mark.parametrize("none", ["none", {"editor": "none"}, {"editor": {"name": "none"}, "inputs": ["attack"]}])
def test_the_unedited_model_is_added_where_it_is_left_out(none):
    without = spec(editors=["suffix_only"])
    assert [entry.name for entry in without.editors] == ["none", "suffix_only"]
    assert without.editors[0].inputs == INPUTS
    given = spec(editors=["suffix_only", none])
    assert [entry.name for entry in given.editors] == ["suffix_only", "none"]


def test_an_editor_without_a_label_is_called_by_its_settings():
    made = spec(editors=[{"editor": {"name": "dinm", "steps": 3, "layer": -1}}, "dinm"])
    assert [entry.name for entry in made.editors[1:]] == ["dinm(steps=3, layer=-1)", "dinm"]


def test_descent_is_that_of_every_descending_editor_which_does_not_give_its_own():
    editors = ["dinm", {"label": "own", "editor": {"name": "dinm", "lr": 0.5}}, "random_layer", "sft", "suffix_only"]
    made = spec(editors=editors, descent={"lr": 0.25, "steps": 2})
    found = {e.name: (e.editor.lr, e.editor.steps) for e in made.editors if isinstance(e.editor, Descent)}
    assert list(found.values()) == [(0.25, 2), (0.5, 2), (0.25, 2)]
    assert made.editors[4].editor == EDITORS.parse("sft")
    assert {e.editor.lr for e in spec(editors=editors[:3:2]).editors[1:]} == {EDITORS.parse("dinm").lr}


def test_languages_are_resolved():
    made = spec(
        languages=["English", "zho_Hans", "en"],
        editors__2={"editor": "dinm", "question_languages": ["Hindi", "@edit"], "generalisation_languages": ["@edit"]},
        editors__3={"editor": "sft", "edit_languages": ["French"]},
        teach__languages=["zho_Hans", "en", "en"],
    )
    assert made.languages == ("en", "zh") and made.teach.languages == ("zh", "en")
    none, suffix_only, dinm, sft = made.editors
    assert [edit_languages(made, entry) for entry in made.editors] == [(None,), (None,), ("en", "zh"), ("fr",)]
    assert asked_languages(made, none, None) == asked_languages(made, suffix_only, None) == ("en", "zh")
    assert asked_languages(made, dinm, "zh") == ("hi", "zh")
    assert asked_languages(made, sft, "fr") == ("en", "zh")
    assert asked_inputs(dinm, "zh", "zh") == INPUTS
    assert asked_inputs(dinm, "zh", "hi") == ("attack", "knowledge")
    assert needed_languages(made) == ("en", "zh", "hi", "fr")


def test_editors_of_one_name_in_different_languages_are_one_in_the_table():
    made = spec(
        editors=[
            {"label": "dinm", "editor": "dinm", "edit_languages": ["en"]},
            {"label": "dinm", "editor": "dinm", "edit_languages": ["zh"], "question_languages": ["@edit"]},
        ]
    )
    assert [entry.name for entry in made.editors] == ["none", "dinm", "dinm"]


@pytest.mark.parametrize("changes", [{}, {"seed": [0, 1]}, {"descent": {"lr": 0.25}}])
def test_a_spec_survives_being_written_to_the_run_s_folder(changes):
    points = expand_as(EditingSpec, raw(**changes), "spec.yaml")
    content = json.loads(json.dumps(dump_points(points)))
    written = [point["spec"] for point in content["points"]] if "points" in content else [content]
    assert [EditingSpec.model_validate(each) for each in written] == [point.spec for point in points]


def test_a_kind_of_experiment_that_there_is_not(tmp_path):
    place = tmp_path / "spec.yaml"
    place.write_text(yaml.safe_dump(raw(experiment="knowledge_edit")))
    with pytest.raises(UserError, match=r"experiment: there is no kind 'knowledge_edit'\. Did you mean 'knowledge_ed"):
        read_experiment(place)
    place.write_text(yaml.safe_dump(raw()))
    assert read_experiment(place).name == "edits"


# --- What is wrong with the spec itself -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"languages": ["en", "gr"]}, ("languages: ", "'gr'", "Did you mean")),
        ({"edit_languages": ["Hindu"]}, ("edit_languages: ", "'Hindu'", "Did you mean 'Hindi'")),
        ({"editors__2__edit_languages": ["xx"]}, ("editors.2.edit_languages: ", "'xx'", "Known codes: ")),
        ({"editors__2__question_languages": ["@edits"]}, ("editors.2.question_languages: ", "'@edits'")),
        ({"editors__2__edit_languages": ["@edit"]}, ("editors.2.edit_languages: ", "'@edit'")),
        ({"editors__2__generalisation_languages": ["Frensh"]}, ("editors.2.generalisation_languages: ", "'French'")),
        ({"teach__languages": ["Vietnamees"]}, ("teach.languages: ", "Did you mean 'Vietnamese'")),
        ({"languages": []}, ("languages: ", "at least 1")),
        ({"judge": "guarded"}, ("judge: unknown field. Did you mean 'judges'?",)),
        ({"items__pathh": "x"}, ("items.pathh: unknown field. Did you mean 'path'?",)),
        ({"descent__learning_rate": 1}, ("descent.learning_rate: unknown field. ", "Known: batch_items, ")),
        ({"editors__2__labels": "x"}, ("editors.2.labels: unknown field. Did you mean 'label'?",)),
        ({"editors__2__editor__stepps": 3}, ("editors.2.editor.stepps: unknown field",)),
        ({"editors__2__editor": "dimn"}, ("editors.2.editor: ", "'dimn'", "Did you mean 'dinm'?")),
        ({"editors__2__editor__preset": "easy"}, ("editors.2.editor.preset: ", "'faithful' or 'easyedit'", "'easy'")),
        ({"editors__2__inputs": ["attacks"]}, ("editors.2.inputs.0: ", "'onlyQ'", "'attacks'")),
        ({"editors__2__inputs": []}, ("editors.2.inputs: ", "at least one")),
        ({"editors__4": 3}, ("editors.4: ", "(got '3')")),
        ({"editors": "none"}, ("editors: ", "'none'")),
        ({"judges": {}}, ("judges: ", "at least 1")),
        ({"judges__guarded": "gaurded"}, ("judges.guarded: ", "Did you mean 'guarded'?")),
        ({"name": MISSING}, ("name: this field is required",)),
        ({"teach__schedule": MISSING}, ("teach.schedule: this field is required",)),
        ({"seed": -1}, ("seed: ", "greater than or equal to 0", "'-1'")),
    ],
)
def test_a_mistake_is_told_with_its_field_its_value_and_what_would_do(changes, words):
    (problem,) = problems(**changes)
    assert problem.startswith(words[0].rstrip())
    assert all(word in problem for word in words), problem


def test_two_editors_of_one_name_in_one_language():
    (problem,) = problems(editors=["dinm", {"label": "dinm", "editor": {"name": "dinm", "layer": 1}}])
    assert problem.startswith("editors: two are called 'dinm' in one language: give each its own label")
    (problem,) = problems(editors=["none", "none"])
    assert problem.startswith("editors: two are called 'none'")
    (problem,) = problems(
        editors=[
            {"label": "a", "editor": "dinm", "edit_languages": ["en", "zh"]},
            {"label": "a", "editor": "sft", "edit_languages": ["zho_Hans"]},
        ]
    )
    assert problem.startswith("editors: two are called 'a'")


def test_a_setting_of_all_descents_that_is_out_of_range_is_told():
    (problem,) = problems(descent={"lr": 0})
    assert problem.startswith("editors.2.editor.lr: Input should be greater than 0")
    assert "'0'" in problem


def test_all_mistakes_of_a_spec_are_told_at_once():
    found = problems(
        languages=["gr"],
        judge="guarded",
        editors__2__editor__layer=0.5,
        editors__3__edit_languages=["xx"],
        teach__schedule__lr=0,
        seed=-1,
    )
    starts = ["languages", "judge", "editors.2.editor.layer", "editors.3.edit_languages", "teach.schedule.lr", "seed"]
    assert all(any(problem.startswith(start) for problem in found) for start in starts)


# --- What is missing --------------------------------------------------------------------------------------------------


def test_a_well_formed_spec_with_all_it_needs_is_prepared_without_loading(tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Pretrained, "load", lambda self: pytest.fail("the model was loaded"))
    points = expand_as(EditingSpec, raw(model__path=str(tiny_folder("llama"))), "spec.yaml")
    prepared = editing.prepare(points, tmp_path / "store")
    assert [model.tag.name for model in prepared.models] == [
        "unedited",
        "edited/suffix_only",
        "edited/en/dinm",
        "edited/zh/dinm",
        "edited/en/sft",
    ]


def test_languages_that_the_items_lack(missing):
    found = missing(languages=["en", "zh", "de"], editors__3__edit_languages=["ru"], teach__languages=["en"])
    lacking = {(p.split("'")[3], p.split("'")[5]) for p in found if p.startswith("items 'guarded' have no")}
    asked = {"adversarial_prompt", "question", "other_attack", "other_question", "other_question_attack"}
    assert lacking == {(field, "de") for field in (*asked, "knowledge_prompt")} | {
        (field, "ru") for field in ("adversarial_prompt", "safe_response", "unsafe_response")
    }
    assert all("for brannoc, cavrel, drumbel" in problem for problem in found)


def test_fields_that_the_items_lack(missing, tmp_path):
    def spoil(content):
        content[0]["texts"]["zh"]["other_attack"] = None
        content[1]["texts"]["en"]["knowledge_answer"] = None
        del content[2]["texts"]["zh"]

    place = items_file(tmp_path, spoil)
    found = missing(items={"path": place})
    assert f"items {place!r} have no 'other_attack' in language 'zh' for brannoc, drumbel" in found
    assert f"items {place!r} have no 'knowledge_answer' in language 'en' for cavrel" in found
    assert f"items {place!r} have no 'safe_response' in language 'zh' for drumbel" in found
    assert len(found) == len(set(found))
    # what nothing needs is not missed
    need_less = {"items": {"path": place}, "languages": ["en"], "edit_languages": ["en"], "teach": None}
    (problem,) = missing(**need_less, editors__2={"editor": {"name": "dinm", "layer": 9}})
    assert "layer" in problem


def test_a_language_without_labels(missing, tmp_path):
    def translate(content):
        for item in content:
            item["texts"]["kab"] = item["texts"]["en"]

    place = items_file(tmp_path, translate)
    changes = {"items": {"path": place}, "languages": ["en", "zh", "kab"], "teach": None}
    assert missing(**changes) == ("languages: 'kab' has no question and answer labels (languages/phrases.py)",)
    # a chat template needs none
    (problem,) = missing(**changes, ask={"format": "chat"}, editors__2={"editor": {"name": "dinm", "layer": 9}})
    assert "layer" in problem


def test_a_suffix_that_is_not_translated(missing, tmp_path):
    def translate(content):
        for item in content:
            item["texts"]["de"] = item["texts"]["en"]

    changes = {"items": {"path": items_file(tmp_path, translate)}, "languages": ["en", "de"], "teach": None}
    (problem,) = missing(**changes, editors__1={"editor": {"name": "suffix_only", "ask_with": "@language"}})
    assert problem.startswith("editors, suffix_only(ask_with=@language): ask_with: '@language' has no translation in ")
    assert "'de'" in problem and "give the suffix itself" in problem
    (problem,) = missing(**changes, editors__2={"editor": {"name": "dinm", "ask_with": "@language"}, "label": "dinm"})
    assert problem.startswith("editors, dinm: ask_with: ")


def test_a_suffix_of_an_editor_s_own_needs_no_translation(tiny_folder, tmp_path):
    changes = {"model__path": str(tiny_folder("llama")), "editors": [{"editor": {"name": "dinm", "ask_with": "Hm?"}}]}
    assert editing.prepare(expand_as(EditingSpec, raw(**changes), "x"), tmp_path).models


@pytest.mark.parametrize("editor", ["none", "suffix_only"])
def test_an_editor_without_language_asked_in_the_language_of_its_edit(missing, editor):
    (problem,) = missing(editors=[{"editor": editor, "question_languages": ["@edit"]}, "dinm"])
    assert problem.startswith(f"editors, {editor}: question_languages: '@edit' leaves nothing to ask")


@pytest.mark.parametrize("layer", [2, -3, 31])
def test_a_layer_that_the_model_lacks(missing, layer):
    (problem,) = missing(editors__2={"label": "mine", "editor": {"name": "dinm", "layer": layer}})
    assert problem.startswith(f"editors, mine: layer: there is no layer {layer} in the model, which has 2: 0 to 1, or ")


@pytest.mark.parametrize("layer", [0, 1, -1, -2])
def test_a_layer_that_the_model_has(tiny_folder, tmp_path, layer):
    changes = {"model__path": str(tiny_folder("llama")), "editors__2__editor__layer": layer}
    assert editing.prepare(expand_as(EditingSpec, raw(**changes), "x"), tmp_path).models


def test_a_mixture_of_experts_is_told_before_it_is_loaded(missing, tmp_path):
    config = AutoConfig.for_model(
        "mixtral", vocab_size=259, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    (problem,) = missing(model=tmp_path / "model")
    assert problem.startswith("model: ") and "no mixture of experts" in problem


def test_a_model_that_is_not_there_is_told_with_the_rest(missing, tmp_path):
    found = missing(model=tmp_path / "nowhere", languages=["en", "zh", "de"])
    assert any(problem.startswith("model: ") and "nowhere" in problem for problem in found)
    assert any("'de'" in problem for problem in found)


def test_all_that_is_missing_is_told_at_once_and_each_once(missing):
    found = missing(
        languages=["en", "zh", "kab"],
        editors=[
            {"editor": "none", "question_languages": ["@edit"]},
            {"editor": {"name": "dinm", "layer": 5}, "inputs": ["attack"]},
            {"editor": {"name": "suffix_only", "ask_with": "@language"}, "inputs": ["attack"]},
        ],
        teach=None,
    )
    words = ["'kab' has no question", "'adversarial_prompt'", "'@edit' leaves", "no translation", "no layer 5"]
    assert [sum(word in problem for problem in found) for word in words] == [1] * len(words)
    assert len(found) == len(words)
