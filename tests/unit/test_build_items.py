"""Building an item set: what a source is taken for, what is chosen, and how translations are put beside it."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from rich.console import Console

from unteach.corpora import build_items as builder
from unteach.corpora.build_items import FIELDS, REQUIRED, build, choose, read_source, read_translations
from unteach.corpora.safe_edit import write_items
from unteach.corpora.safety import EMBEDDED, ItemSet, ItemText, SafetyItem, load_items
from unteach.corpora.schema import Origin
from unteach.errors import UserError, UserErrors
from unteach.reports.items import fields_table, origins_table

ENGLISH = {"kind": "authored", "by": "us"}
NIUTRANS = {"kind": "machine-translated", "by": "NiuTrans"}
KNOWLEDGE = ("knowledge_prompt", "knowledge_answer")


def texts(word: str, fields=REQUIRED) -> dict[str, str]:
    return {field: f"{word} {field}" for field in fields}


def item(name: str, fields=REQUIRED, **languages: str) -> SafetyItem:
    """An item in English, and in the languages named with the word that their texts begin with."""
    words = {"en": name, **languages}
    made = {code: {"origin": ENGLISH, **texts(word, fields)} for code, word in words.items()}
    return SafetyItem.model_validate({"id": name, "texts": made})


def source(count: int = 3, fields=REQUIRED) -> ItemSet:
    return ItemSet([item(f"i{number}", fields) for number in range(count)], "three")


def file(tmp_path: Path, content: object, name: str = "es.json") -> Path:
    path = tmp_path / name
    lines = isinstance(content, list) and path.suffix == ".jsonl"
    path.write_text("\n".join(map(json.dumps, content)) if lines else json.dumps(content), encoding="utf-8")
    return path


def spanish(name: str, fields=REQUIRED, **changes) -> dict:
    return {"id": name, "language": "es", "origin": NIUTRANS, **texts(f"es {name}", fields), **changes}


def problems(call) -> tuple[str, ...]:
    with pytest.raises(UserErrors) as caught:
        call()
    return caught.value.problems


# --- the source ---


def safe_edit_object(number: int) -> dict:
    return {
        "id": number,
        "question": f"How is potion {number} brewed?",
        "adversarial prompt": f"Grandmother, how is potion {number} brewed?",
        "unsafe generation": "Take moss.",
        "safe generation": "I cannot say.",
        "knowledge constrain": {"prompt": "What is the capital of France?", "answer": "Paris"},
    }


def test_both_formats_are_told_apart(tmp_path):
    items, found = read_source(str(file(tmp_path, [safe_edit_object(7), safe_edit_object(8)], "SafeEdit.json")))
    assert [each.id for each in items] == ["safeedit-00007", "safeedit-00008"]
    assert found[:2] == ["SafeEdit's format", "2 items"]
    assert "adversarial_prompt: 'adversarial prompt'" in found
    write_items(source(), tmp_path / "own.json")
    own, found = read_source(str(tmp_path / "own.json"))
    assert own.items == source().items
    assert found == ["unteach's item format", "3 items", f"in en: {', '.join(REQUIRED)}"]
    assert len(read_source(str(EMBEDDED))[0]) == len(load_items())


def test_a_split_of_the_hub(monkeypatch):
    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return [safe_edit_object(1)]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert len(read_source("zjunlp/SafeEdit")[0]) == len(read_source("zjunlp/SafeEdit", "val")[0]) == 1
    assert asked == [("zjunlp/SafeEdit", "test"), ("zjunlp/SafeEdit", "val")]


def test_a_source_that_is_not_there(tmp_path):
    for name in ("data/SafeEdit_test.json", "nowhere"):
        with pytest.raises(UserError, match=f"there is nothing at {name}"):
            read_source(name)
    with pytest.raises(UserError, match="leave --split out"):
        read_source(str(file(tmp_path, [safe_edit_object(1)])), "test")


# --- which items ---


def test_items_are_chosen_by_place_by_name_or_by_chance():
    every = source(40)
    names = [each.id for each in every]
    assert [each.id for each in choose(every)] == names
    assert [each.id for each in choose(every, first=3)] == names[:3]
    assert [each.id for each in choose(every, ids=["i7", "i12", "i7"])] == ["i12", "i7"]
    drawn = [[each.id for each in choose(every, sample=20, seed=seed)] for seed in (None, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(set(drawn[0])) and len(drawn[0]) == 20 and drawn[0] != names[:20]
    assert [each.id for each in choose(every, sample=40)] == names


@pytest.mark.parametrize(
    ("ways", "message"),
    [
        ({"first": 2, "sample": 2}, "give one of"),
        ({"sample": 2, "ids": ["i1"]}, "give one of"),
        ({"seed": 1, "first": 2}, "--seed belongs to --sample"),
        ({"first": 4}, "--items 4: 'three' has 3 items"),
        ({"sample": 0}, "--sample 0"),
        ({"ids": ["i1", "j1", "wholly other"]}, "no item 'j1'. Did you mean 'i1'"),
    ],
)
def test_choices_that_cannot_be_made(ways, message):
    with pytest.raises(UserError, match=message):
        choose(source(), **ways)


# --- translations ---


def test_translations_are_put_beside_the_source(tmp_path):
    whole = [spanish("i0"), spanish("i1"), spanish("i2", language="Spanish")]
    given = read_translations([file(tmp_path, whole, "es.jsonl")])
    built = build(source(), given)
    assert built.notes == ()
    text = built.items.by_id["i2"].texts["es"]
    assert text == ItemText.model_validate({"origin": NIUTRANS, **texts("es i2")})
    assert built.items.by_id["i2"].texts["en"] == source().by_id["i2"].texts["en"]
    write_items(built.items, tmp_path / "built.json")
    assert load_items(tmp_path / "built.json").items == built.items.items


def test_one_item_in_one_language_may_be_spread_over_files(tmp_path):
    first = file(tmp_path, [spanish("i0", REQUIRED[:2]), spanish("i0", REQUIRED[1:3])], "a.json")
    second = file(tmp_path, spanish("i0", REQUIRED[3:], key_phrases=[["musgo"]]), "b.json")
    built = build(source(1), read_translations([first, second]))
    made = built.items.by_id["i0"].texts["es"]
    assert {field: getattr(made, field) for field in REQUIRED} == texts("es i0")
    assert (made.key_phrases, made.origin) == ((("musgo",),), Origin.model_validate(NIUTRANS))


def test_an_origin_that_is_not_given_is_said_to_be_unknown(tmp_path):
    without = {name: value for name, value in spanish("i0").items() if name != "origin"}
    built = build(source(1), read_translations([file(tmp_path, without)]))
    origin = built.items.by_id["i0"].texts["es"].origin
    assert (origin.kind, origin.reviewed_by_native_speaker) == ("machine-translated", False)
    assert "not said" in origin.by


def test_everything_wrong_with_translations_files_at_once(tmp_path):
    path = file(
        tmp_path,
        [
            spanish("i0", language="xx"),
            spanish("i0", questoin="How?"),
            spanish("i0", question=" "),
            {"language": "es", "question": "How?"},
            {"id": "i0", "language": "es"},
        ],
    )
    other = tmp_path / "other.jsonl"
    other.write_text("{", encoding="utf-8")
    lines = problems(lambda: read_translations([path, other]))
    wanted = ("item 1: language: unknown language 'xx'", "item 2: questoin", "item 3: question", "item 4: id")
    assert all(words in line for words, line in zip(wanted, lines[:4], strict=True))
    assert "item 5: has no text" in lines[4] and "other.jsonl, line 1: cannot be parsed" in lines[5]
    assert len(lines) == 6


def test_translations_that_do_not_fit(tmp_path):
    given = read_translations(
        [
            file(
                tmp_path,
                [
                    spanish("i0"),
                    spanish("i0", ("question",), question="another"),
                    spanish("i0", ("question",), origin={**NIUTRANS, "reviewed_by_native_speaker": True}),
                    spanish("j0"),
                    spanish("i1", language="en"),
                ],
            )
        ]
    )
    lines = problems(lambda: build(source(), given))
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == ["question", "origin", "id", "origin"]
    assert "item 2" in lines[0] and "has another one in" in lines[0] and "item 1" in lines[0]
    assert "not 'machine-translated' by 'NiuTrans', reviewed by a native speaker" in lines[1]
    assert "no item 'j0' in 'three'. Did you mean 'i0'" in lines[2]
    assert "is from the source 'three' already, which says 'authored' by 'us'" in lines[3]


# --- what is missing ---


def lacking(tmp_path) -> list:
    """Of three items with six fields: Spanish i0 whole, i1 without an answer, i2 without a safe response."""
    six = (*REQUIRED, *KNOWLEDGE)
    return read_translations(
        [
            file(
                tmp_path,
                [
                    spanish("i0", six),
                    spanish("i1", six[:-1]),
                    spanish("i2", tuple(field for field in six if field != "safe_response")),
                ],
            )
        ]
    )


def test_everything_missing_is_told_with_counts(tmp_path):
    every, given = source(3, (*REQUIRED, *KNOWLEDGE)), lacking(tmp_path)
    with pytest.raises(UserErrors) as caught:
        build(every, given, languages=["en", "es", "Thai"])
    assert caught.value.title.startswith("20 texts (item x language x field) are missing")  # 1 + 1 + 3 items x 6 fields
    assert caught.value.problems == (
        "es: safe_response in 1 of 3 items: i2",
        "es: knowledge_answer in 1 of 3 items: i1",
        "th: all 6 fields in 3 of 3 items: i0, i1, i2",
    )
    assert len(problems(lambda: build(every, given))) == 2  # Thai occurs nowhere
    assert build(every, given, languages=["en"]).notes == ()
    assert build(every, given, chosen=choose(every, first=1)).notes == ()


def test_a_field_that_one_item_has_is_wanted_of_all():
    mixed = ItemSet([item("a"), item("b", (*REQUIRED, "other_attack"), fr="fr b")], "mixed")
    lines = problems(lambda: build(mixed))
    assert lines == ("en: other_attack in 1 of 2 items: a", "fr: all 5 fields in 1 of 2 items: a")
    assert build(mixed, chosen=choose(mixed, ids=["a"])).notes == ()


def test_what_there_is_can_be_taken(tmp_path):
    built = build(source(3, (*REQUIRED, *KNOWLEDGE)), lacking(tmp_path), languages=["es", "th"], partial=True)
    assert {each.id: list(each.texts) for each in built.items} == {"i0": ["es"], "i1": ["es"]}
    assert built.items.by_id["i1"].texts["es"].knowledge_answer is None
    assert len(built.notes) == 4
    assert built.notes[0] == "missing: es: safe_response in 1 of 3 items: i2"
    assert built.notes[3].startswith("left out, for they lack one of question, ") and built.notes[3].endswith("i2 (es)")
    with pytest.raises(UserErrors, match="nothing is left to write"):
        build(source(), languages=["th"], partial=True)


def test_many_missing_items_are_counted():
    (line,) = problems(lambda: build(source(11), languages=["th"]))
    assert line == "th: all 4 fields in 11 of 11 items: i0, i1, i10, i2, i3, i4, i5, i6 and 3 more"


def test_translations_without_key_phrases_are_noted_where_the_source_has_some(tmp_path):
    given = read_translations([file(tmp_path, [spanish("i0")])])
    plain = source(1)
    assert build(plain, given).notes == ()
    english = plain.items[0].texts["en"].model_copy(update={"key_phrases": (("moss",),)})
    marked = ItemSet([plain.items[0].model_copy(update={"texts": {"en": english}})], "marked")
    (note,) = build(marked, given).notes
    assert note.startswith("no key_phrases in es for 1 items")


def test_the_embedded_set_is_built_unchanged():
    every = load_items()
    built = build(every)
    assert built.notes == () and built.items.digest() == every.digest()
    two = build(every, languages=["vi", "en"], chosen=choose(every, sample=5)).items
    assert [list(each.texts) for each in two] == [["vi", "en"]] * 5


# --- the file and the tables ---


def test_nothing_that_is_read_is_overwritten(tmp_path):
    read = file(tmp_path, [], "own.json")
    for to, sources in ((read, [read]), (tmp_path / "new.json", [tmp_path])):
        with pytest.raises(UserError, match="which is read"):
            builder.check_target(to, sources)
    for name in ("new.jsonl", "new"):
        with pytest.raises(UserError, match=r"ends in \.json"):
            builder.check_target(tmp_path / name, [])
    builder.check_target(tmp_path / "new.json", [read, Path("zjunlp/SafeEdit")])


def shown(table) -> list[str]:
    console = Console(width=118, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_tables_count_fields_and_reviews(tmp_path):
    reviewed = {**NIUTRANS, "reviewed_by_native_speaker": True}
    given = read_translations([file(tmp_path, [spanish("i0"), spanish("i1", REQUIRED, origin=reviewed)])])
    given += read_translations([file(tmp_path, [spanish("i2", origin=ENGLISH, knowledge_prompt="¿?")])])
    items = build(source(), given, partial=True).items
    assert builder.count(items)["es"] == {
        "items": 3, **dict.fromkeys(FIELDS, 0), **dict.fromkeys(REQUIRED, 3), "knowledge_prompt": 1, "key_phrases": 0
    }  # fmt: skip
    lines = shown(fields_table(items, "own.json"))
    assert "field en es" in lines and "question 3 3" in lines and "knowledge_prompt - 1" in lines
    lines = shown(origins_table(items))
    assert "English (en) authored us 0 of 3" in lines
    assert "Spanish (es) machine-translated (2) NiuTrans (2) 1 of 3" in lines and "authored (1) us (1)" in lines
