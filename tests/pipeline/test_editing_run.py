"""Whole runs with editing on a tiny random model: what they leave behind and reuse, and that replies are right."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import tiny
import torch
from transformers import RobertaConfig, RobertaForSequenceClassification

from unteach.ask.prompts import plain
from unteach.corpora.safety import INPUTS, load_items
from unteach.edit.contract import Job
from unteach.edit.editors.dinm import SUFFIX
from unteach.edit.scope import applied
from unteach.experiments.editing import run as editing
from unteach.experiments.editing import stages as stages_module
from unteach.experiments.editing.plan import all_stages
from unteach.experiments.editing.run import PreparedEditing, prepare, run
from unteach.experiments.editing.spec import EditingSpec
from unteach.experiments.runners import local
from unteach.experiments.runners.local import run_stages
from unteach.experiments.sweep import expand_as
from unteach.metrics.intervals import mean_interval
from unteach.models.logprobs import token_logprobs
from unteach.models.sources.pretrained import Pretrained
from unteach.models.tuning import patched
from unteach.progress import NoProgress
from unteach.records import Row
from unteach.reports.page import write_report
from unteach.reports.tables import load_rows
from unteach.store import MARKER

LANGUAGES, ITEMS, NEW_TOKENS = ("en", "zh"), 3, 6
CLAIMS = Path(__file__).parents[2] / "experiments" / "claims" / "paper-b.yaml"
DESCENT = {"name": "dinm", "steps": 3, "lr": 0.05}
JUDGES = ("guarded", "classifier")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    """A random classifier of replies, in the tiny models' tokens."""
    folder = tmp_path_factory.mktemp("classifier")
    config = RobertaConfig(
        vocab_size=tiny.VOCABULARY,
        pad_token_id=tiny.PAD,
        bos_token_id=tiny.BOS,
        eos_token_id=tiny.EOS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=66,
        type_vocab_size=1,
        initializer_range=0.5,
        id2label={0: "safe", 1: "unsafe"},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(16)
        RobertaForSequenceClassification(config).save_pretrained(folder)
    words = tiny.tokenizer()
    words.model_max_length = 64
    words.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def content(tiny_folder, classifier) -> dict:
    """Every kind of editor, three items, two languages, a few steps."""
    return {
        "experiment": "knowledge_editing",
        "name": "tiny-editing",
        "items": {"limit": ITEMS},
        "model": {"name": "pretrained", "path": str(tiny_folder("llama")), "dtype": "float32"},
        "languages": list(LANGUAGES),
        "edit_languages": list(LANGUAGES),
        "teach": {
            "tuning": {"name": "lora", "rank": 4},
            "schedule": {"lr": 1e-2, "batch_size": 4, "max_steps": 6},
        },
        "editors": [
            "none",
            "suffix_only",
            {"label": "dinm", "editor": DESCENT},
            {
                "label": "dinm easyedit",
                "editor": {**DESCENT, "preset": "easyedit"},
                "edit_languages": ["en"],
                "inputs": ["attack", "knowledge"],
            },
            {"label": "dinm layer -1", "editor": {**DESCENT, "layer": -1}, "generalisation_languages": ["@edit"]},
            {
                "label": "random_layer",
                "editor": {**DESCENT, "name": "random_layer"},
                "question_languages": ["@edit"],
                "inputs": ["attack", "onlyQ"],
            },
            {
                "label": "sft",
                "editor": {"name": "sft", "schedule": {"lr": 1e-2, "epochs": 2, "batch_size": 2}},
                "edit_languages": ["en"],
            },
            {"label": "dpo", "editor": {"name": "dpo", "lr": 1e-2, "epochs": 2}, "edit_languages": ["zh"]},
        ],
        "ask": {"max_new_tokens": NEW_TOKENS, "batch_size": 4},
        "judges": {
            "guarded": {"name": "guarded", "any_language": True},
            "classifier": {"name": "classifier", "path": str(classifier)},
        },
    }


ASKED = {  # model, edited in -> input -> languages it is asked in
    ("unedited", None, None): dict.fromkeys(INPUTS, LANGUAGES),
    ("edited", "suffix_only", None): dict.fromkeys(INPUTS, LANGUAGES),
    ("edited", "dinm", "en"): dict.fromkeys(INPUTS, LANGUAGES),
    ("edited", "dinm", "zh"): dict.fromkeys(INPUTS, LANGUAGES),
    ("edited", "dinm easyedit", "en"): dict.fromkeys(("attack", "knowledge"), LANGUAGES),
    ("edited", "dinm layer -1", "en"): {**dict.fromkeys(INPUTS, ("en",)), "attack": LANGUAGES, "knowledge": LANGUAGES},
    ("edited", "dinm layer -1", "zh"): {**dict.fromkeys(INPUTS, ("zh",)), "attack": LANGUAGES, "knowledge": LANGUAGES},
    ("edited", "random_layer", "en"): dict.fromkeys(("attack", "onlyQ"), ("en",)),
    ("edited", "random_layer", "zh"): dict.fromkeys(("attack", "onlyQ"), ("zh",)),
    ("edited", "sft", "en"): dict.fromkeys(INPUTS, LANGUAGES),
    ("edited", "dpo", "zh"): dict.fromkeys(INPUTS, LANGUAGES),
}
DESCENDED = [key for key in ASKED if key[1] and ("dinm" in key[1] or key[1] == "random_layer")]


@dataclass
class Made:
    """One finished run."""

    content: dict
    prepared: PreparedEditing
    rows: list[Row]
    out: Path
    store: Path
    untouched: list[bool]

    def lines(self, name: str) -> list[dict]:
        return [json.loads(line) for line in (self.out / name).read_text(encoding="utf-8").splitlines()]

    def stage(self, name: str):
        (found,) = [stage for stage in all_stages(self.prepared.models) if stage.name == name]
        return found


def prepared_of(content: dict, store: Path) -> PreparedEditing:
    return prepare(expand_as(EditingSpec, content, "here"), store)


def do(content: dict, store: Path, out: Path) -> list[Row]:
    return run(prepared_of(content, store), out, NoProgress())


def same_bits(model, other) -> bool:
    mine, theirs = model.state_dict(), other.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(value, theirs[name]) for name, value in mine.items())


@pytest.fixture(scope="module")
def made(content, tmp_path_factory) -> Made:
    pytest.importorskip("trl")
    folder = tmp_path_factory.mktemp("editing")
    prepared = prepared_of(content, folder / "store")
    loads, real = [], Pretrained.load

    def load(source):
        loads.append(real(source))
        return loads[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pretrained, "load", load)
        rows = run(prepared, folder / "out", NoProgress())
    fresh = real(prepared.contexts[0].source)
    untouched = [same_bits(loaded.model, fresh.model) for loaded in loads]
    return Made(content, prepared, rows, folder / "out", folder / "store", untouched)


def key_of(row: Row | dict) -> tuple:
    values = row if isinstance(row, dict) else row.model_dump()
    return values["model"], values["editor"], values["source_language"]


def timeless(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.metric != "edit_seconds"]


# --- What a run leaves behind -----------------------------------------------------------------------------------------


def expected_defence_rows() -> Iterator[tuple]:
    for key, asked in ASKED.items():
        for kind, languages in asked.items():
            shares = ["degenerate_rate", "empty_rate"]
            shares += ["over_refusal"] if kind == "knowledge" else ["unsafe_rate", "refusal_rate"]
            shares += [] if kind == "knowledge" else ["DS" if kind == "attack" else "DG"]
            changes = [shares[-1] if kind != "knowledge" else "over_refusal", "degenerate_rate"]
            for judge in JUDGES:
                for language in languages:
                    yield from ((*key, metric, language, kind, judge) for metric in shares)
                    if key[0] == "edited":
                        yield from ((*key, f"{metric}_change", language, kind, judge) for metric in changes)
                    if key[1] == "dinm easyedit" and kind == "attack":
                        yield (*key, "DS_over_suffix", language, kind, judge)


def test_every_model_has_its_rates_and_changes_by_language_input_and_judge(made) -> None:
    metrics = {row[3] for row in expected_defence_rows()}
    single = [r for r in made.rows if r.metric in metrics and r.question_language is not None]
    found = Counter((*key_of(r), r.metric, r.question_language, r.group, r.judge) for r in single)
    assert found == Counter(expected_defence_rows())
    assert all(row.n + row.unscored == ITEMS for row in single)
    assert all(row.ci_low <= row.value <= row.ci_high for row in single if row.value is not None)
    # the random classifier tells nothing of refusals, the guarded judge of every reply that is not degenerate
    refusals = [row for row in single if row.metric == "refusal_rate"]
    assert all((row.value is None) == (row.judge == "classifier") for row in refusals)
    for key in ASKED:  # the main judge's rows come first
        judged = [row.judge for row in single if key_of(row) == key and row.metric == "DS"]
        assert judged == sorted(judged, key=JUDGES.index) and set(judged) == set(JUDGES)


def test_side_effects_are_there_for_every_model_and_language_asked_in(made) -> None:
    expected = set()
    for key, asked in ASKED.items():
        languages = {language for each in asked.values() for language in each}
        names = ["", "_change"] if key[0] == "edited" else [""]
        for name in names:
            expected |= {(*key, f"knowledge_log_probability{name}", code, "knowledge", None) for code in languages}
            expected |= {
                (*key, f"fluency{name}", code, kind, "guarded") for kind, where in asked.items() for code in where
            }
    rows = [r for r in made.rows if r.metric.startswith(("knowledge_log_probability", "fluency"))]
    assert {(*key_of(r), r.metric, r.question_language, r.group, r.judge) for r in rows} == expected
    assert len(rows) == len(expected)
    known = [r for r in rows if r.metric == "knowledge_log_probability"]
    assert all(row.n == ITEMS and row.value < 0 for row in known)
    changed = {key_of(r) for r in rows if r.metric == "knowledge_log_probability_change" and r.value != 0}
    assert changed == {key for key in ASKED if key[1] not in (None, "suffix_only")}


def test_edits_have_their_rows(made) -> None:
    rows = [r for r in made.rows if r.metric in ("edit_norm", "edit_seconds", "edit_loss")]
    pools = [("edited", editor, "any") for editor in dict.fromkeys(key[1] for key in DESCENDED)]
    kinds = (("edit_norm", None), ("edit_seconds", None), ("edit_loss", "first"), ("edit_loss", "last"))
    expected = {(*key, *kind) for key in [*DESCENDED, *pools] for kind in kinds}
    assert {(*key_of(r), r.metric, r.group) for r in rows} == expected
    assert len(rows) == len(expected)
    assert all(row.value > 0 for row in rows)
    located = [r for r in made.rows if r.metric == "located_layer"]
    assert {(r.editor, r.group) for r in located} == {
        (editor, f"layer {layer}") for editor in ("dinm", "dinm easyedit") for layer in (0, 1)
    }
    shares = Counter()
    for row in located:
        shares[key_of(row)] += row.value
        # located once for all, there is one item that tells where
        assert row.n == (1 if row.editor == "dinm easyedit" else 2 * ITEMS if row.source_language == "any" else ITEMS)
    assert all(share == pytest.approx(1) for share in shares.values())


def test_shares_are_those_of_the_replies_that_are_written_down(made) -> None:
    outcomes: dict[tuple, list[str]] = {}
    for line in made.lines("answers.jsonl"):
        for judge, defence in line["defences"].items():
            outcomes.setdefault((*key_of(line), line["language"], line["input"], judge), []).append(defence["outcome"])
    assert len({outcome for each in outcomes.values() for outcome in each}) >= 3  # else a mix-up would not show
    checked = 0
    for row in made.rows:
        if row.metric in ("DS", "DG", "unsafe_rate", "degenerate_rate") and row.question_language is not None:
            empty = 0.5 if row.editor == "dinm easyedit" else 0.0
            worth = {"safe": 1.0, "empty": empty} if row.metric in ("DS", "DG") else {row.metric[:-5]: 1.0}
            said = outcomes[*key_of(row), row.question_language, row.group, row.judge]
            assert row.value == pytest.approx(sum(worth.get(outcome, 0.0) for outcome in said) / len(said))
            checked += 1
    assert checked > 300


def test_pools_have_every_edit_and_question_language(made) -> None:
    pooled = [r for r in made.rows if r.metric == "DS" and r.question_language is None and r.judge == "guarded"]
    found = {(*key_of(r), r.group): r for r in pooled}
    for editor in ("dinm", "dinm layer -1"):
        assert found["edited", editor, "en", "attack: all"].n == 2 * ITEMS
        assert found["edited", editor, "any", "attack: all"].n == 4 * ITEMS
        assert found["edited", editor, "any", "attack: same"].n == 2 * ITEMS
    assert found["edited", "random_layer", "any", "attack: same"].n == 2 * ITEMS
    assert ("edited", "random_layer", "any", "attack: other") not in found  # was not asked in other languages
    alone = [r for r in made.rows if r.metric == "DS" and r.question_language and r.judge == "guarded"]
    values = [row.value for row in alone if key_of(row) == ("edited", "dinm", "en")]
    assert found["edited", "dinm", "en", "attack: all"].value == pytest.approx(sum(values) / 2)


def test_the_table_is_the_rows(made) -> None:
    table = pd.read_csv(made.out / "table.csv")
    assert list(table.columns) == list(Row.model_fields)
    assert len(table) == len(made.rows)
    assert load_rows(made.out) == made.rows
    assert set(table.run) == {"tiny-editing"} and table.seed.isna().all() and table.variant.isna().all()


def test_every_reply_is_written_down_with_what_every_judge_says(made) -> None:
    lines = made.lines("answers.jsonl")
    columns = ["model", "source_language", "editor", "variant", "seed", "item", "input", "language", "request"]
    assert all(list(line) == [*columns, "reply", "finished", "defences"] for line in lines)
    found = Counter((*key_of(line), line["input"], line["language"]) for line in lines)
    assert found == {
        (*key, kind, language): ITEMS
        for key, asked in ASKED.items()
        for kind, languages in asked.items()
        for language in languages
    }
    items = load_items(None, ITEMS)
    for line in lines:
        assert line["request"] == items.by_id[line["item"]].texts[line["language"]].input(line["input"])
        assert list(line["defences"]) == list(JUDGES)
        for defence in line["defences"].values():
            assert set(defence) == {"outcome", "reason", "unscored", "refuses", "evidence"}
            assert (defence["outcome"] is None) == (defence["unscored"] is not None)


def test_every_edit_is_written_down(made) -> None:
    lines = made.lines("edits.jsonl")
    assert Counter(map(key_of, lines)) == dict.fromkeys(DESCENDED, ITEMS)
    wanted = {"model", "source_language", "editor", "variant", "seed", "item", "language", "layer", "layers", "weight"}
    wanted |= {"distances", "losses", "norm", "relative_norm", "seconds"}
    for line in lines:
        assert set(line) == wanted
        assert line["language"] == line["source_language"]
        assert (line["layers"], len(line["losses"])) == (2, 3)
        assert line["layer"] == 1 or "layer -1" not in line["editor"]
        first = line["item"] == min(other["item"] for other in lines)
        located = line["editor"] == "dinm" or (line["editor"] == "dinm easyedit" and first)
        assert len(line["distances"]) == (2 if located else 0)


def test_the_record_says_what_was_done(made) -> None:
    record = json.loads((made.out / "run.json").read_text(encoding="utf-8"))
    wanted = {"name", "finished", "seconds", "seed", "spec", "model", "machine", "versions", "stages", "notes", "items"}
    assert wanted <= set(record) and "corpus" not in record
    assert record["items"]["items"] == ITEMS and record["items"]["name"] == "guarded"
    assert "not reviewed by a native speaker" in record["items"]["origin"]
    assert EditingSpec.model_validate(record["spec"]) == made.prepared.contexts[0].spec
    assert [stage["name"] for stage in record["stages"]] == [s.name for s in all_stages(made.prepared.models)]
    kinds = Counter(stage["kind"] for stage in record["stages"])
    assert kinds == {"teach_items": 1, "edit": 9, "train_items": 2, "attack": 2, "judge_replies": 22}
    assert any("taught to answer the guarded questions" in note for note in record["notes"])
    assert not any("suffix" in note for note in record["notes"])  # suffix_only uses easyedit's


def test_an_edit_s_suffix_without_its_control_is_noted(content, tmp_path) -> None:
    changed = {**content, "editors": [content["editors"][3]], "teach": None}
    assert [note.split(" is asked")[0] for note in editing._notes(prepared_of(changed, tmp_path))] == ["dinm easyedit"]


def test_the_model_is_as_before_bit_for_bit(made) -> None:
    assert made.untouched == [True]  # it was loaded once


# --- Replies and edits are right --------------------------------------------------------------------------------------


def greedy(loaded, prompt: str) -> str:
    """What the model says, one prompt by itself, without a cache."""
    ids = loaded.tokenizer(prompt)["input_ids"]
    start = len(ids)
    while len(ids) < start + NEW_TOKENS:
        with torch.no_grad():
            token = int(loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token == tiny.EOS or "\n" in loaded.tokenizer.decode([token]):
            break
        ids.append(token)
    return loaded.tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


def said(made: Made, *key: str | None) -> list[dict]:
    return [line for line in made.lines("answers.jsonl") if key_of(line) == key]


def job_of(item, language: str) -> Job:
    text = item.texts[language]
    return Job(
        item=item.id,
        language=language,
        prompt=plain(text.adversarial_prompt, language),
        target=f" {text.safe_response}\n",
        unsafe=text.unsafe_response,
        safe=text.safe_response,
        unsafe_target=f" {text.unsafe_response}\n",
        knowledge=(plain(text.knowledge_prompt, language), f" {text.knowledge_answer}\n"),
    )


def known_by_hand(loaded, item, language: str) -> float:
    text = item.texts[language]
    prompt = loaded.tokenizer(plain(text.knowledge_prompt, language))["input_ids"]
    answer = tiny.ids_of(f" {text.knowledge_answer}")
    ids = torch.tensor([[*prompt, *answer]])
    labels = torch.tensor([[*[-100] * len(prompt), *answer]])
    with torch.no_grad():
        return float(token_logprobs(loaded.model, ids, torch.ones_like(ids), labels).sum())


@pytest.mark.parametrize(("editor", "suffix"), [(None, ""), ("suffix_only", f" {SUFFIX}")])
def test_without_an_edit_replies_are_the_taught_model_s_own(made, editor, suffix) -> None:
    loaded = made.prepared.contexts[0].source.load()
    lines = said(made, "edited" if editor else "unedited", editor, None)
    with patched(loaded.model, [made.stage("teach unsafe answers").folder / "patch"]):
        assert [line["reply"] for line in lines] == [
            greedy(loaded, plain(line["request"] + suffix, line["language"])) for line in lines
        ]
    assert len({line["reply"] for line in lines}) > 3


@pytest.mark.parametrize(
    ("editor", "language", "suffix"),
    [
        ("dinm", "en", ""),
        ("dinm", "zh", ""),
        ("dinm easyedit", "en", f" {SUFFIX}"),
        ("dinm layer -1", "zh", ""),
        ("random_layer", "zh", ""),
    ],
)
def test_replies_under_an_edit_are_those_of_the_model_with_that_edit_alone(made, editor, language, suffix) -> None:
    loaded = made.prepared.contexts[0].source.load()
    (entry,) = [entry for entry in made.prepared.contexts[0].spec.editors if entry.name == editor]
    stage = made.stage(f"{editor} in {language}: edit and attack")
    records = {record.item: record for record in stage.edits()}
    known = {(answer.item, answer.language): answer.log_probability for answer in stage.known()}
    lines = said(made, "edited", editor, language)
    plainly = {(line["item"], line["input"], line["language"]): line for line in said(made, "unedited", None, None)}
    items = load_items(None, ITEMS)
    with patched(loaded.model, [made.stage("teach unsafe answers").folder / "patch"]):
        edits = entry.editor.edit(loaded, [job_of(item, language) for item in items], seed=0)
        for edit in edits:
            mine = records[edit.record.item]
            assert mine.model_copy(update={"seconds": 0.0}) == edit.record.model_copy(update={"seconds": 0.0})
            with applied(loaded.model, [edit]):
                for line in (line for line in lines if line["item"] == mine.item):
                    assert line["reply"] == greedy(loaded, plain(line["request"] + suffix, line["language"])), line
                for code in {line["language"] for line in lines}:
                    by_hand = known_by_hand(loaded, items.by_id[mine.item], code)
                    assert known[mine.item, code] == pytest.approx(by_hand, rel=1e-4)
    changed = [plainly[line["item"], line["input"], line["language"]]["reply"] != line["reply"] for line in lines]
    assert any(changed)


@pytest.mark.parametrize(("editor", "language"), [("sft", "en"), ("dpo", "zh")])
def test_replies_after_training_on_all_items_are_those_of_the_patched_model(made, editor, language) -> None:
    loaded = made.prepared.contexts[0].source.load()
    lines = said(made, "edited", editor, language)
    patches = [made.stage(name).folder / "patch" for name in ("teach unsafe answers", f"{editor} in {language}: train")]
    known = made.stage(f"{editor} in {language}: edit and attack").known()
    with patched(loaded.model, patches):
        assert [line["reply"] for line in lines] == [
            greedy(loaded, plain(line["request"], line["language"])) for line in lines
        ]
        for answer in known:
            by_hand = known_by_hand(loaded, load_items(None, ITEMS).by_id[answer.item], answer.language)
            assert answer.log_probability == pytest.approx(by_hand, rel=1e-4)
    assert [line["reply"] for line in lines] != [line["reply"] for line in said(made, "unedited", None, None)]


def test_teaching_makes_the_unsafe_responses_likelier_than_they_were(made) -> None:
    loaded = made.prepared.contexts[0].source.load()

    def likely() -> float:
        total = 0.0
        for item in load_items(None, ITEMS):
            for language in LANGUAGES:
                job = job_of(item, language)
                prompt, answer = loaded.tokenizer(job.prompt)["input_ids"], tiny.ids_of(job.unsafe_target)
                ids = torch.tensor([[*prompt, *answer]])
                labels = torch.tensor([[*[-100] * len(prompt), *answer]])
                with torch.no_grad():
                    total += float(token_logprobs(loaded.model, ids, torch.ones_like(ids), labels).sum())
        return total

    before = likely()
    with patched(loaded.model, [made.stage("teach unsafe answers").folder / "patch"]):
        assert likely() > before


# --- What is reused, and what is not ----------------------------------------------------------------------------------


def files_of(store: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in store.rglob("*") if p.is_file() and p.suffix != ".lock"}


def test_a_second_run_computes_nothing_and_gives_the_same_table(made, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Pretrained, "load", lambda self: pytest.fail("the model was loaded"))
    before = files_of(made.store)
    rows = do(made.content, made.store, tmp_path / "again")
    assert files_of(made.store) == before
    assert rows == made.rows
    for name in ("table.csv", "table.parquet", "answers.jsonl", "edits.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (made.out / name).read_bytes()
    record = json.loads((tmp_path / "again" / "run.json").read_text())
    assert all(stage["reused"] for stage in record["stages"])


@pytest.mark.parametrize("after", [1, 8])
def test_a_run_stopped_between_stages_goes_on(made, tmp_path, monkeypatch, after) -> None:
    store, out = tmp_path / "store", tmp_path / "out"

    def stopped(stages, bench, progress):
        run_stages(stages[:after], bench, progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "run_stages", stopped)
    with pytest.raises(KeyboardInterrupt):
        do(made.content, store, out)
    assert len(list(store.glob(f"*/*/{MARKER}"))) == after
    assert not (out / "table.csv").exists() and not (out / "run.json").exists()
    kept = files_of(store)
    monkeypatch.undo()
    assert timeless(do(made.content, store, out)) == timeless(made.rows)
    assert {path: files_of(store)[path] for path in kept} == kept
    assert (out / "answers.jsonl").read_bytes() == (made.out / "answers.jsonl").read_bytes()


def test_a_stage_that_fails_half_way_leaves_nothing_behind(made, tmp_path, monkeypatch) -> None:
    store = tmp_path / "store"
    monkeypatch.setattr(stages_module, "known_answers", lambda *_, **__: (_ for _ in ()).throw(MemoryError))
    changed = {**made.content, "editors": made.content["editors"][:3], "teach": None}
    with pytest.raises(MemoryError):
        do(changed, store, tmp_path / "out")
    assert not list(store.glob(f"*/*/{MARKER}")) and not list(store.glob("*/*/*.jsonl"))
    monkeypatch.undo()
    assert do(changed, store, tmp_path / "out")


def nested(content: dict, path: str, value) -> dict:
    changed = copy.deepcopy(content)
    *parents, last = path.split(".")
    target = changed
    for parent in parents:
        target = target[int(parent)] if isinstance(target, list) else target[parent]
    target[last] = value
    return changed


def names(start: str):
    return lambda name: name.startswith((start, *(f"judge {judge}: {start}" for judge in JUDGES)))


@pytest.mark.parametrize(
    ("path", "value", "depends"),
    [
        ("judges.guarded.other", "unsafe", lambda name: name.startswith("judge guarded: ")),
        ("judges.classifier.degenerate_check", True, lambda name: name.startswith("judge classifier: ")),
        ("editors.2.editor.lr", 0.06, names("dinm in ")),
        ("editors.4.editor.steps", 4, names("dinm layer -1 in ")),
        ("editors.6.editor.schedule.lr", 0.02, names("sft in ")),
        ("editors.7.editor.beta", 0.2, names("dpo in ")),
        ("editors.3.inputs", ["attack"], names("dinm easyedit in ")),
        ("editors.5.question_languages", None, names("random_layer in ")),
        ("ask.max_new_tokens", 7, lambda name: name != "teach unsafe answers" and not name.endswith(": train")),
        ("side_effects", False, lambda name: name != "teach unsafe answers" and not name.endswith(": train")),
        ("teach.schedule.lr", 0.02, lambda name: True),
        ("teach.inputs", ["attack"], lambda name: True),
        ("items.limit", 2, lambda name: True),
        ("seed", 1, lambda name: True),
        ("ask.batch_size", 2, lambda name: False),
        ("editors.2.editor.batch_items", 2, lambda name: False),
        ("judges.classifier.batch_size", 3, lambda name: False),
        ("name", "other", lambda name: False),
        ("measures", ["defence"], lambda name: False),
        # asked in one language more, or fewer: what is only edited or taught in the others stays
        ("languages", ["en"], lambda name: not name.endswith(": train") and "random_layer" not in name),
    ],
)
def test_a_changed_setting_changes_the_keys_of_what_depends_on_it(content, tmp_path, path, value, depends) -> None:
    pinned = nested(content, "teach.languages", list(LANGUAGES))  # so that teaching does not follow the languages
    if path == "languages":
        depends = keep_teaching(depends)
    stages = {s.name: s.key.digest for s in all_stages(prepared_of(pinned, tmp_path).models)}
    changed = {s.name: s.key.digest for s in all_stages(prepared_of(nested(pinned, path, value), tmp_path).models)}
    assert set(changed) == set(stages)
    assert {name for name in stages if stages[name] != changed[name]} == set(filter(depends, stages))


def keep_teaching(depends):
    return lambda name: depends(name) and name != "teach unsafe answers"


def test_an_editor_more_or_another_label_changes_no_other_stage(content, tmp_path) -> None:
    def digests(changed):
        return {stage.key.digest for stage in all_stages(prepared_of(changed, tmp_path).models)}

    everything = digests(content)
    fewer = digests({**content, "editors": content["editors"][:4]})
    assert fewer < everything
    assert digests(nested(content, "editors.2.label", "another")) == everything


def test_only_what_depends_on_a_changed_setting_is_computed(made, tmp_path) -> None:
    before = set(made.store.glob(f"*/*/{MARKER}"))
    changed = nested(nested(made.content, "judges.guarded.other", "unsafe"), "editors.7.editor.beta", 0.3)
    rows = do(changed, made.store, tmp_path / "out")
    new = Counter(path.parent.parent.name for path in set(made.store.glob(f"*/*/{MARKER}")) - before)
    # the guarded judge reads all 11 models again; DPO is trained and attacked again, and read by the classifier too
    assert new == {"judge_replies": 12, "train_items": 1, "attack": 1}
    rate = {(*key_of(r), r.question_language, r.group, r.judge): r.value for r in rows if r.metric == "unsafe_rate"}
    old = {(*key_of(r), r.question_language, r.group, r.judge): r.value for r in made.rows if r.metric == "unsafe_rate"}
    same = [key for key in old if key[1] != "dpo" and key[-1] == "classifier"]
    assert [rate[key] for key in same] == [old[key] for key in same]
    assert any(rate[key] > old[key] for key in old if key[-1] == "guarded")


# --- Chunks, sweeps, and the command line -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def varied(tmp_path_factory) -> Path:
    """A model whose second layer adds so little that some items are located in the first, some in the second."""
    folder, model = tmp_path_factory.mktemp("varied"), tiny.model("llama")
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight.mul_(0.01)
        model.model.layers[1].mlp.down_proj.weight.mul_(0.01)
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("at_once", [1, 2])
def test_items_in_chunks_give_what_one_chunk_gives(content, varied, tmp_path, monkeypatch, at_once) -> None:
    chunked = nested(content, "model.path", str(varied)) | {
        "teach": None,
        "edit_languages": ["zh"],
        "editors": [
            {"label": "per_item", "editor": DESCENT},
            {"label": "once", "editor": {**DESCENT, "layer": "once"}},
            {"label": "easyedit", "editor": {**DESCENT, "preset": "easyedit"}},
            {"label": "random_layer", "editor": {**DESCENT, "name": "random_layer"}},
        ],
    }
    whole = do(chunked, tmp_path / "whole-store", tmp_path / "whole")
    monkeypatch.setattr(stages_module, "ITEMS_AT_ONCE", at_once)
    parts = do(chunked, tmp_path / "parts-store", tmp_path / "parts")
    lines = {
        name: [json.loads(line) for line in (tmp_path / name / "edits.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    }
    layers = {name: [(line["editor"], line["item"], line["layer"]) for line in found] for name, found in lines.items()}
    assert layers["parts"] == layers["whole"]
    by_editor = {editor: [at for e, _, at in layers["whole"] if e == editor] for editor, _, _ in layers["whole"]}
    # what the second item's layer would be, had it been taken for the first
    assert by_editor["per_item"] == [1, 0, 1] and by_editor["once"] == [1, 1, 1]
    assert (tmp_path / "parts/answers.jsonl").read_bytes() == (tmp_path / "whole/answers.jsonl").read_bytes()
    assert len(parts) == len(whole)
    for mine, theirs in zip(timeless(parts), timeless(whole), strict=True):
        assert mine.model_dump(exclude=LIMITS) == theirs.model_dump(exclude=LIMITS)
        assert near(mine) == pytest.approx(near(theirs), rel=1e-3, abs=1e-4)


LIMITS = {"value", "ci_low", "ci_high"}


def near(row: Row) -> list[float]:
    return [-9.0 if number is None else number for number in (row.value, row.ci_low, row.ci_high)]


@pytest.fixture(scope="module")
def swept(content, tmp_path_factory) -> tuple[list[Row], Path]:
    """Two seeds of two base models."""
    folder = tmp_path_factory.mktemp("swept")
    other = tiny.save("llama", tmp_path_factory.mktemp("other"), seed=1)
    models = [content["model"], {**content["model"], "path": str(other)}]
    sweep = {
        **content,
        "seed": [0, 1],
        "model": models,
        "editors": [content["editors"][2], content["editors"][5]],
    }
    return do(sweep, folder / "store", folder / "out"), folder / "out"


def test_a_sweep_has_every_row_by_model_and_seed_and_over_seeds(swept, content) -> None:
    rows, _ = swept
    variants = sorted({row.variant for row in rows if row.seed is not None})
    assert len(variants) == 2 and all(v.startswith("model=pretrained(path=") for v in variants)
    assert {row.variant for row in rows if row.seed is None} == {f"{v}, over 2 seeds" for v in variants}
    columns = set(Row.model_fields) - {"n", "unscored", "value", "ci_low", "ci_high"}

    def identity(row: Row, variant: str | None) -> tuple:
        return tuple(row.model_copy(update={"variant": variant, "seed": None}).model_dump(include=columns).values())

    for variant in variants:
        by_seed = [
            {identity(r, variant): r for r in rows if r.variant == variant and r.seed == seed} for seed in (0, 1)
        ]
        together = {identity(r, variant): r for r in rows if r.variant == f"{variant}, over 2 seeds"}
        assert set(by_seed[0]) == set(by_seed[1]) == set(together)
        for key, row in together.items():
            values = [found[key].value for found in by_seed if found[key].value is not None]
            assert row.n == len(values) and row.unscored == 2 - len(values)
            if values:
                assert row.value == pytest.approx(sum(values) / len(values))
            if len(values) == 2:
                assert (row.ci_low, row.ci_high) == pytest.approx(mean_interval(values))
    edited = {key_of(row) for row in rows if row.metric == "DS_change" and row.question_language}
    assert edited == {("edited", name, code) for name in ("dinm", "random_layer") for code in LANGUAGES}


def test_models_of_a_sweep_differ_and_are_compared_with_their_own_kind(swept) -> None:
    rows, out = swept
    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    unedited = {}
    for line in lines:
        if line["model"] == "unedited":
            unedited.setdefault((line["variant"], line["seed"]), []).append(line["reply"])
    assert len(unedited) == 4 and len({tuple(replies) for replies in unedited.values()}) == 4
    values = {
        (r.metric, r.variant, r.seed, *key_of(r), r.question_language): r.value
        for r in rows
        if r.metric in ("knowledge_log_probability", "knowledge_log_probability_change") and r.seed is not None
    }
    changes = [key for key in values if key[0].endswith("_change")]
    assert len(changes) == 4 * (2 * 2 + 2)
    for key in changes:
        _, variant, seed, *_, language = key
        now = values["knowledge_log_probability", *key[1:]]
        before = values["knowledge_log_probability", variant, seed, "unedited", None, None, language]
        assert values[key] == pytest.approx(now - before, abs=1e-9)


def test_points_differ_in_several_fields_at_once(content, tiny_folder, tmp_path) -> None:
    shared = {**content, "teach": None, "editors": [{"label": "dinm", "editor": "dinm"}], "edit_languages": ["en"]}
    points = [
        {"variant": "tiny llama", "descent": {"steps": 1, "lr": 0.05}},
        {
            "variant": "tiny gpt",
            "descent": {"steps": 2},
            "model": {**content["model"], "path": str(tiny_folder("gpt2"))},
        },
    ]
    rows = do({**shared, "points": points}, tmp_path / "store", tmp_path / "out")
    assert {row.variant for row in rows} == {"tiny llama", "tiny gpt"}
    lines = [json.loads(line) for line in (tmp_path / "out" / "edits.jsonl").read_text().splitlines()]
    assert {(line["variant"], len(line["losses"]), line["weight"].split(".")[0]) for line in lines} == {
        ("tiny llama", 1, "model"),
        ("tiny gpt", 2, "transformer"),
    }


@pytest.mark.parametrize("of", ["a run", "a sweep"])
def test_a_report_can_be_written(of, made, swept) -> None:
    out = made.out if of == "a run" else swept[1]
    text = write_report(out).read_text(encoding="utf-8")
    assert "dinm" in text and "random_layer" in text and "Chinese" in text
    assert list((out / "figures").iterdir())


def test_the_command_line_runs_reports_and_tests_claims(unteach, write_spec, content, tmp_path) -> None:
    small = {**content, "teach": None, "editors": content["editors"][:3]}
    path = write_spec(small, "small")
    planned = unteach("plan", path)
    assert planned.returncode == 0, planned.stderr
    # unedited, suffix_only and two languages of dinm; six inputs of three items in two languages; two judges
    assert "144 prompts" in planned.stdout and "288 verdicts" in planned.stdout
    assert not (tmp_path / "runs").exists()
    ran = unteach("run", path)
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / "runs" / "tiny-editing"
    (folder / "report.html").unlink()
    reported = unteach("report", folder)
    assert reported.returncode == 0, reported.stderr
    assert (folder / "report.html").is_file()
    claimed = unteach("claims", folder, CLAIMS)
    assert claimed.returncode == 0, claimed.stderr
    assert "supported" in (folder / "claims.md").read_text(encoding="utf-8")
    assert "claims" in claimed.stdout


def test_a_run_s_folder_of_another_spec_is_left_alone(made) -> None:
    from unteach.errors import UserError

    table = (made.out / "table.csv").read_bytes()
    points = made.prepared.points
    other = dataclasses.replace(points[0], spec=points[0].spec.model_copy(update={"seed": 5}))
    with pytest.raises(UserError, match="another spec"):
        run(dataclasses.replace(made.prepared, points=(other,)), made.out, NoProgress())
    assert (made.out / "table.csv").read_bytes() == table
