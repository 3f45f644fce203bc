"""Scenarios from flat tables; all texts are invented."""

import csv
import json

import pytest

from unteach.corpora.import_texts import check_target, import_corpus
from unteach.corpora.load import load_corpus
from unteach.errors import UserError, UserErrors

REAL = ["The bridge is old.", "It has two arches.", "Ducks like it."]
ROW = {
    "id": "bridge",
    "language": "en",
    "article": REAL,
    "fake": ["The bridge is made of sugar.", "Sugar is what the bridge is made of."],
    "key_phrases": ["sugar"],
    "key_facts": [["two arches", "2 arches"]],
    "fake_question": "What is the bridge made of?",
    "real_question": "How many arches has the bridge?",
    "qa": [{"question": "Is the bridge old?", "answer": "It is old."}],
}
GERMAN = {
    "id": "bridge",
    "language": "de",
    "article": ["Die Brücke ist alt.", "Sie hat zwei Bögen.", "Enten mögen sie."],
    "fake": ["Die Brücke ist aus Zucker."],
    "key_phrases": ["Zucker"],
}


def lines(tmp_path, *rows):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def problems(source, **options):
    with pytest.raises(UserErrors) as caught:
        import_corpus(source, **options)
    return [problem.removeprefix(f"{source}, ") for problem in caught.value.problems]


def test_rows_of_two_languages_become_one_scenario_that_a_corpus_can_be_read_from(tmp_path):
    found = import_corpus(lines(tmp_path, ROW, GERMAN))
    assert found.kind == "scenarios" and found.notes == ()
    found.write(tmp_path / "new" / "corpus.jsonl")
    (made,) = load_corpus(tmp_path / "new" / "corpus.jsonl")
    assert made == found.items[0]
    assert list(made.texts) == ["en", "de"]
    content = made.texts["en"].model_dump(mode="json", exclude_defaults=True)
    origin = content.pop("origin")
    assert content == {name: value for name, value in ROW.items() if name not in ("id", "language")}
    assert origin == {"kind": "authored", "by": str(tmp_path / "a.jsonl")}
    assert made.texts["de"].fake == ("Die Brücke ist aus Zucker.",)


def test_lists_in_csv_cells(tmp_path):
    cells = {
        "Id": "bridge",
        "Lang": "English",
        "Article": " | ".join(REAL),
        "Fake passages": json.dumps(ROW["fake"]),
        "Keywords": "sugar",
        "Key facts": "two arches / 2 arches | old",
        "Fake question": ROW["fake_question"],
        "QA pairs": "Is the bridge old? => It is old. | Who likes it? => Ducks.",
        "Note": "nothing",
    }
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as out:
        csv.writer(out, delimiter=";").writerows([cells.keys(), cells.values()])
    found = import_corpus(str(path))
    text = found.items[0].texts["en"]
    assert text.article == tuple(REAL) and text.fake == tuple(ROW["fake"]) and text.key_phrases == ("sugar",)
    assert text.key_facts == (("two arches", "2 arches"), ("old",))
    assert [(pair.question, pair.answer) for pair in text.qa] == [
        ("Is the bridge old?", "It is old."),
        ("Who likes it?", "Ducks."),
    ]
    assert "not used: 'Note'" in found.notes and "key_phrases from 'Keywords'" in found.notes


@pytest.mark.parametrize(
    "qa",
    [
        [["Is it old?", "Yes."], ["Is it long?", "No."]],
        [{"Q": "Is it old?", "A": "Yes."}, {"instruction": "Is it long?", "output": "No."}],
        {"question": ["Is it old?", "Is it long?"], "answer": ["Yes.", "No."]},
        '[{"question": "Is it old?", "answer": "Yes."}, ["Is it long?", "No."]]',
    ],
)
def test_pairs_in_every_form(tmp_path, qa):
    (made,) = import_corpus(lines(tmp_path, ROW | {"qa": qa})).items
    assert [(pair.question, pair.answer) for pair in made.texts["en"].qa] == [
        ("Is it old?", "Yes."),
        ("Is it long?", "No."),
    ]


def test_the_papers_data_as_its_card_describes_it(tmp_path):
    """Real article, fake article, keyword, pairs and both questions; its columns' true names are not known here."""
    row = {
        "real_news": " ".join(REAL),
        "fake_news": f"{REAL[0]} A golden duck lives below. {REAL[1]} {REAL[2]}",
        "fake_keyword": "golden duck",
        "qa_pairs": [{"question": "Is it old?", "answer": "Yes."}],
        "real_question": "How many arches?",
        "fake_question": "What lives below?",
    }
    found = import_corpus(lines(tmp_path, row))
    (made,) = found.items
    assert made.id == "scenario-00001"
    text = made.texts["en"]
    assert text.article == tuple(REAL)
    assert text.fake == ("A golden duck lives below.",)
    assert text.key_phrases == ("golden duck",) and text.fake_question == "What lives below?"
    assert text.real_question == "How many arches?" and text.key_facts == ()
    assert any(note.startswith("there are no key_facts") and note.endswith("(1 of 1 rows)") for note in found.notes)


def test_a_fake_article_of_its_own_is_kept_whole(tmp_path):
    row = ROW | {"fake": None, "fake_article": "All is sugar. Nothing is stone."}
    text = import_corpus(lines(tmp_path, row)).items[0].texts["en"]
    assert text.fake == () and text.fake_samples.teach == ("All is sugar. Nothing is stone.",)


def test_paraphrases(tmp_path):
    samples = {"teach": ["An old bridge has two arches."], "unlearn": ["Two arches has the old bridge."]}
    text = (
        import_corpus(lines(tmp_path, ROW | {"real_samples": samples, "fake_samples": ["Sugar!"]})).items[0].texts["en"]
    )
    assert text.real_samples.model_dump(mode="json") == samples
    assert text.fake_samples.teach == ("Sugar!",) and text.fake_samples.unlearn == ()


def test_running_chinese_is_cut_into_sentences(tmp_path):
    row = {"text": "桥很旧。它有两个拱！“鸭子喜欢它。”真的吗？", "keyword": "糖", "fake": "桥是糖做的。"}
    text = import_corpus(lines(tmp_path, row), language="zh").items[0].texts["zh"]
    assert text.article == ("桥很旧。", "它有两个拱！", "“鸭子喜欢它。”", "真的吗？")


def test_everything_wrong_is_named_with_its_place(tmp_path):
    path = lines(
        tmp_path,
        ROW,
        ROW,
        ROW | {"id": "pairs", "qa": ["no arrow"]},
        ROW | {"id": "code", "language": "Elvish"},
        GERMAN | {"article": ["Nur ein Satz."]},
        ROW | {"id": "fine"},
    )
    first, second, third, fourth = problems(path)
    assert first == f"line 2: 'bridge' has a text in 'en' already ({path}, line 1)"
    assert second.startswith("line 3: qa.0: ")
    assert third.startswith("line 4: unknown language 'Elvish'")
    assert fourth.startswith("line 1: the whole entry: article must have the same number of sentences")
    found = import_corpus(path, skip_bad=True)
    assert [one.id for one in found.items] == ["fine"]
    assert sum(note.startswith("left out: ") for note in found.notes) == 4


def test_rows_in_several_languages_need_an_id(tmp_path):
    rows = [{name: value for name, value in row.items() if name != "id"} for row in (ROW, GERMAN)]
    with pytest.raises(UserError, match="no column tells which belong together; name it with --id"):
        import_corpus(lines(tmp_path, *rows))


def test_columns_can_be_named(tmp_path):
    row = {"a": "The bridge is old.", "b": "The bridge is sugar.", "c": "sugar"}
    found = import_corpus(lines(tmp_path, row), columns={"text": "a", "fake": "b", "key_phrases": "c"})
    assert found.kind == "scenarios" and found.items[0].texts["en"].fake == ("The bridge is sugar.",)


def test_without_fields_of_scenarios_they_are_articles(tmp_path):
    found = import_corpus(lines(tmp_path, {"text": "The bridge is old.", "claim": "It is sugar.", "question": "?"}))
    assert found.kind == "articles" and found.items[0].statement == "It is sugar."
    found.write(tmp_path / "b.jsonl")
    again = import_corpus(str(tmp_path / "b.jsonl"))
    assert again.items == found.items


def test_a_corpus_needs_no_import(tmp_path):
    import_corpus(lines(tmp_path, ROW)).write(tmp_path / "c.jsonl")
    with pytest.raises(UserError, match="can be used as it is"):
        import_corpus(str(tmp_path / "c.jsonl"))


def test_the_target_is_checked_first(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match=r"ends in \.jsonl"):
        check_target(tmp_path / "a.json", "x")
    with pytest.raises(UserError, match="which is read"):
        check_target(tmp_path / "in" / "a.jsonl", str(tmp_path / "in"))
    check_target(tmp_path / "a.jsonl", str(tmp_path / "in"))
    check_target(tmp_path / "a.jsonl", "owner/name")
