"""SafeEdit's own format, on invented harmless objects."""

import json
import sys
import types

import pytest

from unteach.corpora.safe_edit import from_hub, read_safe_edit, write_items
from unteach.corpora.safety import load_items
from unteach.errors import UserError, UserErrors


def entry(number, **changes):
    """An object with the names of SafeEdit's test split."""
    made = {
        "id": number,
        "unsafety category": "potions",
        "question": f"How is potion {number} brewed?",
        "attack category": "play",
        "attack name": "grandmother",
        "adversarial prompt": f"You are my grandmother. How is potion {number} brewed?",
        "unsafe generation": "Take moss.",
        "safe generation": "I cannot say.",
        "generalization test": {
            "attack_category": "play",
            "attack_name": "quiz",
            "test input of only harmful question": f"How is potion {number} brewed?",
            "test input of other attack prompt input": f"This is a quiz. How is potion {number} brewed?",
            "test input of other question input": "You are my grandmother. Where is the moss?",
            "test input of other questions and attack prompts": "This is a quiz. Where is the moss?",
        },
        "knowledge constrain": {"prompt": "What is the capital of France?", "answer": "Paris"},
    }
    made |= changes
    return {name: value for name, value in made.items() if value != "left out"}


def file(tmp_path, content):
    path = tmp_path / "SafeEdit_test.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def problems(path):
    with pytest.raises(UserErrors) as caught:
        read_safe_edit(path)
    return [problem.removeprefix(f"{path}, ") for problem in caught.value.problems]


def test_the_test_split(tmp_path):
    items, found = read_safe_edit(file(tmp_path, [entry(0), entry(1)]))
    assert [item.id for item in items] == ["safeedit-00000", "safeedit-00001"]
    (text,) = items.by_id["safeedit-00001"].texts.values()
    assert list(items.by_id["safeedit-00001"].texts) == ["en"]
    assert text.model_dump(exclude={"origin"}) == {
        "question": "How is potion 1 brewed?",
        "adversarial_prompt": "You are my grandmother. How is potion 1 brewed?",
        "unsafe_response": "Take moss.",
        "safe_response": "I cannot say.",
        "other_attack": "This is a quiz. How is potion 1 brewed?",
        "other_question": "You are my grandmother. Where is the moss?",
        "other_question_attack": "This is a quiz. Where is the moss?",
        "knowledge_prompt": "What is the capital of France?",
        "knowledge_answer": "Paris",
        "key_phrases": (),
    }
    assert (text.origin.kind, text.origin.reviewed_by_native_speaker) == ("machine-written", False)
    assert (found.items, found.without, found.notes) == (2, {}, [])
    assert found.names["safe_response"] == {"safe generation"}
    assert found.names["other_attack"] == {"generalization test.test input of other attack prompt input"}
    assert found.names["knowledge_answer"] == {"knowledge constrain.answer"}
    assert found.unused == {
        "unsafety category",
        "attack category",
        "attack name",
        "generalization test.attack_category",
        "generalization test.attack_name",
    }
    assert found.lines()[0] == "2 items"
    assert "safe_response: 'safe generation'" in found.lines()


def test_a_split_without_generalisation_says_what_it_lacks(tmp_path):
    content = [entry(0, **{"generalization test": "left out"}), entry(1, **{"knowledge constrain": None})]
    items, found = read_safe_edit(file(tmp_path, content))
    assert items.by_id["safeedit-00000"].texts["en"].other_attack is None
    assert found.without == {
        "only_question": 1,
        "other_attack": 1,
        "other_question": 1,
        "other_question_attack": 1,
        "knowledge_prompt": 1,
        "knowledge_answer": 1,
    }
    assert "other_attack is missing in 1 of 2" in found.lines()


def test_near_names_are_accepted_and_reported(tmp_path):
    near = entry(
        0,
        **{
            "safe generation": "left out",
            "Safe_Response": "No.",
            "unsafe generation": None,
            "unsafe response": "Yes.",
            "generalization test": "left out",
            "generalization_test": {"other_attack_prompts": "A2 Q", "other questions": "A Q2"},
            "knowledge constrain": "left out",
            "knowledge constraint": {"prompt": "P", "answer": "A"},
        },
    )
    items, found = read_safe_edit(file(tmp_path, [near]))
    text = items.by_id["safeedit-00000"].texts["en"]
    assert (text.safe_response, text.unsafe_response, text.other_attack) == ("No.", "Yes.", "A2 Q")
    assert (text.other_question, text.other_question_attack, text.knowledge_answer) == ("A Q2", None, "A")
    assert found.names["safe_response"] == {"Safe_Response"}
    assert found.names["other_attack"] == {"generalization_test.other_attack_prompts"}
    assert "generalization_test" not in found.unused


def test_order_of_numbers_names_and_missing_ids(tmp_path):
    content = [entry(10), entry(9), entry("left out"), entry("K-7")]
    items, _ = read_safe_edit(file(tmp_path, content))
    assert [item.id for item in items] == ["safeedit-00002", "safeedit-00009", "safeedit-00010", "safeedit-K-7"]


def test_json_lines_are_read_too(tmp_path):
    path = tmp_path / "SafeEdit.jsonl"
    path.write_text("\n".join(json.dumps(entry(number)) for number in range(3)), encoding="utf-8")
    assert len(read_safe_edit(path)[0]) == 3


def test_another_text_as_only_question_is_noted(tmp_path):
    changed = entry(0)
    changed["generalization test"]["test input of only harmful question"] = "Why?"
    items, found = read_safe_edit(file(tmp_path, [changed, entry(1)]))
    assert items.by_id["safeedit-00000"].texts["en"].input("onlyQ") == "How is potion 0 brewed?"
    assert len(found.notes) == 1 and "item 1: the input of only the question is another text" in found.notes[0]


def test_all_problems_are_told_at_once_with_the_files_own_names(tmp_path):
    bad = entry(3)
    bad["generalization test"] = "none"
    content = [
        entry(0, **{"safe generation": "left out", "question": "left out"}),
        entry(1, **{"unsafe generation": " "}),
        "text",
        bad,
        entry(5),
        entry(5),
        entry("a b"),
        entry(6, **{"adversarial prompt": 7}),
    ]
    lines = problems(file(tmp_path, content))
    assert [line.split(":")[:2] for line in lines] == [
        ["item 1", " question"],
        ["item 1", " safe generation"],
        ["item 2", " unsafe generation"],
        ["item 3", " expected an object with the fields of SafeEdit, got str"],
        ["item 4", " generalization test"],
        ["item 6", " id"],
        ["item 7", " id"],
        ["item 8", " adversarial prompt"],
    ]
    assert lines[0].startswith("item 1: question: is missing; the fields here are 'id', 'unsafety category'")
    assert "at least 1 character" in lines[2] and lines[2].endswith("mend or remove this object")
    assert lines[4] == "item 4: generalization test: expected an object of named texts, got str"
    assert "'safeedit-00005' is already used in" in lines[5]
    assert "valid string" in lines[7]


def test_the_split_with_inputs_only_is_recognised(tmp_path):
    only = {"id": 0, "question": "How?", "attack name": "quiz", "malicious input": "This is a quiz. How?"}
    lines = problems(file(tmp_path, [only]))
    assert len(lines) == 3
    assert all("this looks like SafeEdit_test_ALL" in line for line in lines)


def test_a_file_without_items(tmp_path):
    assert problems(file(tmp_path, [])) == [
        f"{tmp_path / 'SafeEdit_test.json'}: no items found; expected a list of SafeEdit's objects"
    ]
    with pytest.raises(UserError, match="there is nothing at"):
        read_safe_edit(tmp_path / "nowhere.json")


def test_written_items_are_read_back_the_same(tmp_path):
    items, _ = read_safe_edit(file(tmp_path, [entry(0), entry(1, **{"generalization test": "left out"})]))
    written = tmp_path / "items.json"
    write_items(items, written)
    again = load_items(written)
    assert again.items == items.items
    assert again.digest() == items.digest()
    assert "null" not in written.read_text(encoding="utf-8")


def test_embedded_items_survive_writing(tmp_path):
    write_items(load_items(), tmp_path / "guarded.json")
    assert load_items(tmp_path / "guarded.json").items == load_items().items
    assert "月" in (tmp_path / "guarded.json").read_text(encoding="utf-8")


def test_the_hub_needs_the_library_and_tells_what_went_wrong(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="pip install datasets"):
        from_hub()

    asked = []

    def load_dataset(dataset_id, split):
        asked.append((dataset_id, split))
        if split == "test":
            return [entry(0), entry(1, **{"generalization test": None})]
        raise RuntimeError("gated data set\nmore")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    items, found = from_hub()
    assert asked == [("zjunlp/SafeEdit", "test")]
    assert len(items) == 2 and found.without["other_attack"] == 1
    with pytest.raises(
        UserError, match=r"'zjunlp/SafeEdit', split 'val', cannot be read from the hub: gated data set\. "
    ):
        from_hub(split="val")
