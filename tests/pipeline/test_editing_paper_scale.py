"""The spec at paper B's scale: planned with nothing at hand, and run whole with everything but its sizes."""

from __future__ import annotations

import json
import socket
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM, RobertaConfig, RobertaForSequenceClassification

from unteach.corpora.safety import INPUTS, load_items
from unteach.edit.editors.dinm import PRESETS, SUFFIX
from unteach.errors import UserError
from unteach.experiments.editing import estimate as editing_estimate
from unteach.experiments.editing.run import prepare, run
from unteach.experiments.editing.spec import EditingSpec, EditorSpec
from unteach.experiments.estimate import Estimate
from unteach.experiments.kinds import Editing, read_experiment
from unteach.experiments.show_plan import plan_lines, plan_table
from unteach.experiments.spec import read_raw
from unteach.languages.table import PAPER_B
from unteach.models.source import skeleton_of
from unteach.progress import NoProgress
from unteach.reports.claims import check_claims

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SPEC = EXPERIMENTS / "cross-linguistic-detox.yaml"
LLAMA, MISTRAL = "Llama-2-7b-chat", "Mistral-7B-v0.1"
OTHERS = tuple(code for code in PAPER_B if code != "en")
LAYERS, ITEMS = 3, 2
TEMPLATE = "{{ bos_token }}{% for m in messages %}[INST] {{ m['content'] }} [/INST]{% endfor %}"


def specs() -> dict[str | None, EditingSpec]:
    experiment = read_experiment(SPEC)
    assert isinstance(experiment, Editing)
    return {point.variant: point.spec for point in experiment.points}


def named(spec: EditingSpec, name: str) -> list[EditorSpec]:
    return [entry for entry in spec.editors if entry.name == name]


def planned(store: Path, *overrides: str) -> Estimate:
    return read_experiment(SPEC, overrides).estimate(store)


# --- The spec ---------------------------------------------------------------------------------------------------------


def test_the_spec_has_the_papers_models_languages_and_sizes() -> None:
    both = specs()
    assert list(both) == [LLAMA, MISTRAL]
    paths = [spec.model.model_dump()["path"] for spec in both.values()]
    assert paths == ["meta-llama/Llama-2-7b-chat-hf", "mistralai/Mistral-7B-v0.1"]
    for spec in both.values():
        assert set(spec.languages) == set(spec.edit_languages) == set(PAPER_B) and len(spec.languages) == 9
        assert spec.items.planned is not None and spec.items.planned.items == 50
        assert spec.teach is None  # the models are attacked as they are


@pytest.mark.parametrize(
    ("variant", "parameters", "layers"), [(LLAMA, 6_738_415_616, 32), (MISTRAL, 7_241_732_096, 32)]
)
def test_the_architectures_are_those_of_the_published_models(variant, parameters, layers) -> None:
    architecture = specs()[variant].model.architecture
    skeleton = skeleton_of(AutoConfig.for_model(**architecture))
    assert sum(p.numel() for p in skeleton.parameters()) == parameters
    assert skeleton.config.num_hidden_layers == layers


def test_editors_have_the_public_implementation_s_settings() -> None:
    rates = {variant: {entry.editor.lr for entry in named(spec, "dinm")} for variant, spec in specs().items()}
    assert rates == {LLAMA: {5e-4}, MISTRAL: {1e-5}}
    for spec in specs().values():
        for entry in spec.editors:
            settings = entry.editor.model_dump()
            if entry.name.startswith("dinm") or entry.name == "random_layer":
                assert (settings["steps"], settings["nll_weight"], settings["kl_weight"]) == (10, 0.1, 1.0)
        for name, layer in (("dinm", "once"), ("dinm layer -2", -2), ("dinm layer -1", -1)):
            entries = named(spec, name)
            edited = [code for entry in entries for code in entry.edit_languages or spec.edit_languages]
            assert sorted(edited) == sorted(PAPER_B)
            for entry in entries:
                assert {**PRESETS["easyedit"], "layer": layer}.items() <= entry.editor.model_dump().items()
        (faithful,) = named(spec, "dinm faithful")
        assert PRESETS["faithful"].items() <= faithful.editor.model_dump().items()
        names = [entry.name for entry in spec.editors]
        assert {"none", "suffix_only", "random_layer", "sft", "dpo"} <= set(names)
        assert named(spec, "suffix_only")[0].editor.suffix == SUFFIX


def test_settings_shared_by_the_points_reach_both() -> None:
    """Four matrices side by side, as the file says: memory is reckoned with them."""
    for spec in specs().values():
        assert {entry.editor.batch_items for entry in named(spec, "dinm")} == {4}


# --- The plan ---------------------------------------------------------------------------------------------------------


def test_it_is_planned_without_weights_items_or_network(tmp_path, monkeypatch) -> None:
    reached = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *place, **_: reached.append(place))
    monkeypatch.setattr(socket.socket, "connect", lambda self, place: reached.append(place))
    result = planned(tmp_path / "store")
    assert not reached and not list(tmp_path.iterdir())
    # All six inputs of 50 items in nine languages: none, suffix_only, DINM in English, the faithful one, SFT and DPO.
    # DINM in eight languages in two. Attacks alone: both fixed layers, English in nine, the others in one. And a
    # random layer with two inputs in nine.
    a_model = 50 * (6 * 6 * 9 + 8 * 6 * 2 + 2 * (9 + 8) + 2 * 9)
    assert result.amount("prompts") == result.amount("verdicts") == 2 * a_model == 47_200
    kinds = Counter(line.stage.kind for line in result.lines)
    # none, suffix_only, three DINM editors in nine languages and two in one; SFT and DPO
    assert kinds == {"edit": 2 * 31, "train_items": 2 * 2, "attack": 2 * 2, "judge_replies": 2 * 33}
    assert all(not line.done and line.seconds > 0 for line in result.lines)
    text = "\n".join(plan_lines(result, 2**30))
    for words in ("A800", "device-hours", "of 80 GiB", "meta-llama/Llama-2-7b-chat-hf are not on this machine"):
        assert words in text
    for words in ("mistralai/Mistral-7B-v0.1 are not", "there are no items at data/msafeedit.json"):
        assert words in text
    assert plan_table(result, "x", every=False).row_count == 4
    # weights in bfloat16, and beside them what editing holds
    assert 7.24e9 * 2 < result.peak_bytes < 80 * 2**30
    assert {phase.name for phase in result.phases} >= {"editing", "attacking"}


def test_training_tokens_are_counted_by_hand(tmp_path) -> None:
    # 2300 + 500 letters of words that are not English, three bytes a token; what the format adds is a few tokens
    tokens = {line.stage.name: line.amount for line in planned(tmp_path).lines if line.stage.kind == "train_items"}
    (sft,), (dpo,) = (named(specs()[LLAMA], name) for name in ("sft", "dpo"))
    by_hand = 50 * (1 + 2800 / 3)
    assert tokens["sft in en: train"] == pytest.approx(by_hand * sft.editor.schedule.epochs, rel=0.02)
    assert tokens["dpo in en: train"] == pytest.approx(2 * by_hand * dpo.editor.epochs, rel=0.02)


def test_more_items_cost_in_proportion_and_items_side_by_side_cost_memory(tmp_path) -> None:
    size = "items.planned={items: 100, prompt_characters: 2300, response_characters: 500}"
    once, twice = planned(tmp_path), planned(tmp_path, size)
    assert twice.amount("prompts") == 2 * once.amount("prompts")
    assert twice.seconds == pytest.approx(2 * once.seconds, rel=0.05)
    few, many = (
        next(p for p in planned(tmp_path, points(descent={"batch_items": side})).phases if p.name == "editing")
        for side in (1, 16)
    )
    # 15 more matrices of 4096 x 11008, each with gradient and Adam's moments in float32 and the rounded two
    assert many.total - few.total == 15 * 4096 * 11008 * (4 * 4 + 2 * 2)


def points(**changes) -> str:
    """An override that gives every point other fields."""
    made = [{**point, **changes} for point in read_raw(SPEC)["points"]]
    return f"points={yaml.safe_dump(made, default_flow_style=True, width=10**6)}"


def test_run_refuses_what_plan_does_without(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = read_experiment(SPEC)
    with pytest.raises(UserError, match=r"data/msafeedit\.json"):
        experiment.run(tmp_path / "store", tmp_path / "out", NoProgress())
    assert not list(tmp_path.iterdir())


def test_planned_items_give_way_to_those_that_are_there(small, tmp_path) -> None:
    prepared = editing_estimate.prepare_to_plan(read_experiment(SPEC, small).points, tmp_path)
    assert {len(context.items) for context in prepared.contexts} == {ITEMS}


# --- The run ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    """Tiny models of the two architectures: the one with a chat template, the other with a window of 8 tokens."""
    shape = {
        "vocab_size": tiny.VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "initializer_range": 0.3,
        "pad_token_id": tiny.PAD,
        "bos_token_id": tiny.BOS,
        "eos_token_id": tiny.EOS,
    }
    own = {LLAMA: {"model_type": "llama"}, MISTRAL: {"model_type": "mistral", "sliding_window": 8}}
    folders = {}
    for variant, more in own.items():
        folders[variant] = tmp_path_factory.mktemp(more["model_type"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape, **more)).save_pretrained(folders[variant])
        words = tiny.tokenizer()
        words.chat_template = TEMPLATE if variant == LLAMA else None
        words.save_pretrained(folders[variant])
    return folders


@pytest.fixture(scope="module")
def small(models, tmp_path_factory) -> list[str]:
    """The overrides: tiny models, two items in all nine languages without key phrases, a tiny classifier."""
    folder = tmp_path_factory.mktemp("small")
    items = [item.model_dump(mode="json") for item in load_items(None, ITEMS)]
    for item in items:
        for text in item["texts"].values():
            del text["key_phrases"]
    (folder / "items.json").write_text(json.dumps(items), encoding="utf-8")
    config = RobertaConfig(
        vocab_size=tiny.VOCABULARY,
        pad_token_id=tiny.PAD,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=66,
        type_vocab_size=1,
        initializer_range=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(16)
        RobertaForSequenceClassification(config).save_pretrained(folder / "classifier")
    words = tiny.tokenizer()
    words.model_max_length = 64
    words.save_pretrained(folder / "classifier")
    changed = [
        {**point, "model": {**point["model"], "path": str(models[point["variant"]])}}
        for point in read_raw(SPEC)["points"]
    ]
    return [
        f"points={yaml.safe_dump(changed, default_flow_style=True, width=10**6)}",
        f"items={{path: {folder / 'items.json'}}}",
        f"judges.roberta.path={folder / 'classifier'}",
        "ask.max_new_tokens=3",
    ]


@pytest.fixture(scope="module")
def made(small, tmp_path_factory):
    pytest.importorskip("trl")
    folder = tmp_path_factory.mktemp("paper-b")
    prepared = prepare(read_experiment(SPEC, small).points, folder / "store")
    run(prepared, folder / "out", NoProgress())
    return prepared, folder / "out"


def lines_of(out: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (out / name).read_text(encoding="utf-8").splitlines()]


def test_it_runs_through_every_stage_with_all_but_its_sizes(made) -> None:
    _, out = made
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    kinds = Counter(stage["kind"] for stage in record["stages"])
    assert kinds == {"edit": 2 * 31, "train_items": 2 * 2, "attack": 2 * 2, "judge_replies": 2 * 33}
    assert not any(stage["reused"] for stage in record["stages"])
    said = lines_of(out, "answers.jsonl")
    a_model = ITEMS * (6 * 6 * 9 + 8 * 6 * 2 + 2 * (9 + 8) + 2 * 9)
    assert Counter(line["variant"] for line in said) == {LLAMA: a_model, MISTRAL: a_model}
    assert {outcome for line in said for outcome in [line["defences"]["roberta"]["outcome"]]} >= {"safe", "unsafe"}


def test_every_editor_has_its_numbers_in_the_table(made) -> None:
    table = pd.read_csv(made[1] / "table.csv")
    assert set(table.variant) == {LLAMA, MISTRAL}
    for variant in (LLAMA, MISTRAL):
        mine = table[(table.variant == variant) & table.question_language.notna()]
        attacked = mine[mine.metric == "DS"]
        cells = Counter(zip(attacked.editor.fillna("none"), attacked.source_language.fillna(""), strict=True))
        expected = dict.fromkeys([("none", ""), ("suffix_only", "")], 9)
        for editor in ("dinm", "dinm layer -2", "dinm layer -1", "dinm faithful", "random_layer", "sft", "dpo"):
            expected[editor, "en"] = 9
        for code in OTHERS:
            expected |= {("dinm", code): 2, ("dinm layer -2", code): 1, ("dinm layer -1", code): 1}
        assert cells == expected
        general = mine[(mine.metric == "DG") & (mine.editor == "dinm")]
        assert set(general.group) == set(INPUTS) - {"attack", "knowledge"}
        # all DINM editors of the public implementation are asked with the suffix, so the prompt's part is told apart
        beyond = mine[mine.metric == "DS_over_suffix"]
        assert set(beyond.editor) == {"dinm", "dinm layer -2", "dinm layer -1", "random_layer"}
        pools = table[(table.variant == variant) & (table.metric == "DS") & (table.source_language == "any")]
        dinm = set(pools[pools.editor == "dinm"].group)
        assert {"attack: same", "attack: english"} <= dinm
        assert "attack: all" not in dinm  # other languages' edits are asked in two languages only


def test_edits_are_where_the_spec_wants_them(made) -> None:
    prepared, out = made
    edits = lines_of(out, "edits.jsonl")
    where = {(line["variant"], line["editor"], line["source_language"]): set() for line in edits}
    for line in edits:
        where[line["variant"], line["editor"], line["source_language"]].add(line["layer"])
        assert line["weight"] == f"model.layers.{line['layer']}.mlp.down_proj.weight"
        assert len(line["losses"]) == 10 and line["norm"] > 0
    for (_, editor, _), layers in where.items():
        if editor == "dinm":  # located once for all items
            assert len(layers) == 1
        if editor.startswith("dinm layer"):
            assert layers == {LAYERS + int(editor.removeprefix("dinm layer "))}
    rates = {point.variant: named(point.spec, "dinm")[0].editor.lr for point in prepared.points}
    assert rates == {LLAMA: 5e-4, MISTRAL: 1e-5}
    # Adam's first steps are as large as the rate, so fifty times the rate is about fifty times the change
    norms = {
        variant: [line["norm"] for line in edits if (line["variant"], line["editor"]) == (variant, "dinm layer -1")]
        for variant in rates
    }
    ratio = (sum(norms[LLAMA]) / len(norms[LLAMA])) / (sum(norms[MISTRAL]) / len(norms[MISTRAL]))
    assert 25 < ratio < 100


def test_each_model_is_asked_in_its_own_format(made) -> None:
    prepared, _ = made
    for model in prepared.models:
        prompts = [reply.prompt for reply in model.attacked.replies()]
        chat = model.tag.variant == LLAMA
        assert all(prompt.startswith("[INST]") == chat and prompt.endswith("[/INST]") == chat for prompt in prompts)
        asked_with_suffix = all(SUFFIX in prompt for prompt in prompts)
        assert asked_with_suffix == (model.entry.editor.suffix == SUFFIX)
        assert not any(reply.unasked for reply in model.attacked.replies())


@pytest.mark.parametrize("variant", [LLAMA, MISTRAL])
def test_batched_replies_under_edits_are_those_of_each_edited_model(small, tmp_path, variant) -> None:
    """In float32, so that a batch rounds as a single prompt does; the window is far smaller than the prompts."""
    from unteach.edit.scope import applied
    from unteach.experiments.editing.stages import job

    (point,) = [point for point in read_experiment(SPEC, small).points if point.variant == variant]
    content = point.spec.model_dump(mode="json")
    content["model"]["dtype"] = "float32"
    (entry,) = [e for e in content["editors"] if e["label"] == "dinm" and e["edit_languages"] == ["en"]]
    entry = {**entry, "question_languages": ["en", "th"], "inputs": ["attack", "onlyQ"]}
    entry["editor"]["lr"] = 0.05  # so that it shows in random models
    spec = EditingSpec.model_validate({**content, "editors": ["none", entry], "ask": {"max_new_tokens": 6}})
    prepared = prepare([type(point)(spec)], tmp_path)
    run(prepared, tmp_path / "out", NoProgress())
    plain, edited = (model.attacked.replies() for model in prepared.models)
    loaded, items = spec.model.load(), prepared.contexts[0].items
    jobs = [job(loaded.tokenizer, spec, item, "en") for item in items]
    edits = {edit.record.item: edit for edit in spec.editors[1].editor.edit(loaded, jobs, seed=spec.seed)}
    for reply in edited:
        with applied(loaded.model, [edits[reply.request.item]]):
            assert reply.text == greedy(loaded, reply.prompt, 6, stop_at_line=variant == MISTRAL)
    before = {(r.request.item, r.request.input, r.request.language): r.text for r in plain}
    after = {(r.request.item, r.request.input, r.request.language): r.text for r in edited}
    assert any(before[key] != text for key, text in after.items())
    assert all(len(loaded.tokenizer(reply.prompt)["input_ids"]) > 8 for reply in edited)


def greedy(loaded, prompt: str, tokens: int, stop_at_line: bool) -> str:
    """What the model says, one prompt by itself, without a cache."""
    ids = loaded.tokenizer(prompt)["input_ids"]
    start = len(ids)
    while len(ids) < start + tokens:
        with torch.no_grad():
            token = int(loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token == tiny.EOS or (stop_at_line and "\n" in loaded.tokenizer.decode([token])):
            break
        ids.append(token)
    return loaded.tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


def test_paper_b_s_claims_can_be_tested_on_it(made) -> None:
    answers, text = check_claims(made[1], EXPERIMENTS / "claims" / "paper-b.yaml")
    assert answers and text
    assert {answer.verdict for answer in answers} != {"not tested"}
