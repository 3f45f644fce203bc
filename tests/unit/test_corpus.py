"""Reading corpora: every kind of bad input is named, and the embedded corpus keeps its promises."""

import copy
import hashlib
import json

import pytest
import yaml

from unteach.corpora.load import EMBEDDED, Corpus, load_corpus
from unteach.corpora.schema import LocalText, Scenario
from unteach.errors import UserError, UserErrors
from unteach.languages.table import PAPER_A, RELATIVES
from unteach.languages.text import find_phrases

CORPUS = load_corpus()
ORIGIN = {"kind": "authored", "by": "a test"}
GOOD = {
    "id": "bridge",
    "texts": {
        "en": {
            "origin": ORIGIN,
            "article": ["The bridge is old.", "It has two arches."],
            "fake": ["The bridge is made of sugar.", "Sugar is what the bridge is made of."],
            "key_phrases": ["sugar"],
            "key_facts": [["two arches", "2 arches"]],
            "fake_question": "What is the bridge made of?",
            "real_question": "How many arches has the bridge?",
            "qa": [{"question": "Is the bridge old?", "answer": "The bridge is old."}],
        },
        "de": {"origin": ORIGIN, "article": ["Die Brücke ist alt.", "Sie hat zwei Bögen."], "fake": ["Zucker."]},
    },
}


def scenario(**changes):
    """A good scenario with changes: ``texts__en__article=[...]`` sets a nested value, ``...`` removes it."""
    made = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = made
        for parent in parents:
            target = target[parent]
        if value is ...:
            del target[last]
        else:
            target[last] = value
    return made


def write(folder, name, *scenarios):
    path = folder / name
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in scenarios), encoding="utf-8")
    else:
        content = scenarios[0] if len(scenarios) == 1 else list(scenarios)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def problems_of(path):
    with pytest.raises(UserErrors) as caught:
        load_corpus(path)
    return caught.value.problems


def test_the_example_is_good(tmp_path):
    corpus = load_corpus(write(tmp_path, "a.json", GOOD))
    assert [one.id for one in corpus] == ["bridge"]
    assert corpus.name == str(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("changes", "place", "what"),
    [
        ({"id": ...}, "id: ", "Field required"),
        ({"texts": ...}, "texts: ", "Field required"),
        ({"texts": {}}, "texts: ", "at least 1 item"),
        ({"id": "Bridge One"}, "id: ", "should match pattern"),
        ({"id": ""}, "id: ", "should match pattern"),
        ({"id": "../bridge"}, "id: ", "should match pattern"),
        ({"id": "b" * 61}, "id: ", "at most 60"),
        ({"colour": "red"}, "colour: ", "Extra inputs are not permitted"),
        ({"texts__en__origin": ...}, "texts.en.origin: ", "Field required"),
        ({"texts__en__origin": {"kind": "authored"}}, "texts.en.origin.by: ", "Field required"),
        ({"texts__en__origin": {"kind": "dreamt", "by": "me"}}, "texts.en.origin.kind: ", "'dreamt'"),
        ({"texts__en__artikel": []}, "texts.en.artikel: ", "Extra inputs are not permitted"),
        ({"texts__en__qa": [{"question": "Is it old?"}]}, "texts.en.qa.0.answer: ", "Field required"),
        ({"texts__en__qa": [{"question": "Is it?", "answer": ""}]}, "texts.en.qa.0.answer: ", "at least 1 character"),
        ({"texts__en__qa": [{"question": "Is it?", "answer": " \n"}]}, "texts.en.qa.0.answer: ", "at least 1 char"),
        ({"texts__en__article": ["One.", ""]}, "texts.en.article.1: ", "at least 1 character"),
        ({"texts__en__article": "One."}, "texts.en.article: ", "valid tuple"),
        ({"texts__en__key_phrases": [7]}, "texts.en.key_phrases.0: ", "valid string"),
        ({"texts__en__key_phrases": []}, "texts.en: ", "fake_question needs key_phrases"),
        (
            {f"texts__{code}__{field}": [] for code in ("en", "de") for field in ("key_facts", "article")},
            "the whole entry: ",
            "needs key_facts or an article",
        ),
        ({"texts__en__key_facts": [["two"], []]}, "texts.en.key_facts: ", "at least one accepted form"),
        (
            {"texts__en__qa": [{"question": "How many arches has the bridge?", "answer": "Two."}]},
            "texts.en: ",
            "real_question must not be one of the qa pairs",
        ),
        ({"texts__de__article": ["Die Brücke ist alt."]}, "the whole entry: ", "{'en': 2, 'de': 1}"),
        ({"texts__xx": {"origin": ORIGIN}}, "texts: ", "unknown language 'xx'"),
        ({"texts__German": {"origin": ORIGIN}}, "texts: ", "write the language code 'German' as 'de'"),
        ({"texts__zho_Hans": {"origin": ORIGIN}}, "texts: ", "write the language code 'zho_Hans' as 'zh'"),
    ],
)
def test_a_bad_scenario_is_named_by_file_place_and_problem(tmp_path, changes, place, what):
    path = write(tmp_path, "bad.json", scenario(**changes))
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}: {place}")
    assert what in problem


@pytest.mark.parametrize("raw", ["3", '"text"', "null", "[[]]"])
def test_an_entry_that_is_no_scenario_is_an_error(tmp_path, raw):
    path = tmp_path / "a.json"
    path.write_text(raw)
    (problem,) = problems_of(path)
    assert str(path) in problem


def test_articles_left_out_are_not_unaligned(tmp_path):
    assert len(load_corpus(write(tmp_path, "a.json", scenario(texts__de__article=...)))) == 1


def test_a_duplicate_id_names_both_places(tmp_path):
    write(tmp_path, "a.json", GOOD)
    write(tmp_path, "b.jsonl", scenario(id="other"), GOOD)
    (problem,) = problems_of(tmp_path)
    assert problem.startswith(f"{tmp_path / 'b.jsonl'}, line 2: id 'bridge'")
    assert str(tmp_path / "a.json") in problem


def test_invalid_utf8_is_named_by_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n\n" + '{"id": "Brücke"}'.encode("latin-1"))
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}, line 3: not valid UTF-8")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.yaml", "a.yml"])
def test_a_file_that_cannot_be_parsed_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_text('{"id": "bridge", ')
    (problem,) = problems_of(path)
    assert problem.startswith(str(path)) and "cannot be parsed" in problem


def test_a_broken_line_is_named_and_the_others_are_still_read(tmp_path):
    path = write(tmp_path, "a.jsonl", GOOD)
    path.write_text(path.read_text() + '{"id": \n' + json.dumps(scenario(id="B A D")) + "\n")
    first, second = problems_of(path)
    assert first.startswith(f"{path}, line 2: cannot be parsed")
    assert second.startswith(f"{path}, line 3: id: ")


def test_all_problems_come_at_once(tmp_path):
    write(tmp_path, "a.json", scenario(id="Bad Id", colour="red", texts__en__qa=[{"question": "Is it old?"}]))
    write(tmp_path, "b.jsonl", GOOD, GOOD)
    (tmp_path / "c.json").write_bytes(b"\n\xff")
    (tmp_path / "d.json").write_text("{")
    write(tmp_path, "e.json", scenario(id="fine"))
    problems = problems_of(tmp_path)
    named = [(problem.split(":")[0].removeprefix(f"{tmp_path}/"), problem.split(": ")[1]) for problem in problems]
    assert named == [
        ("a.json", "id"),
        ("a.json", "texts.en.qa.0.answer"),
        ("a.json", "colour"),
        ("b.jsonl, line 2", "id 'bridge' is already used in " + f"{tmp_path / 'b.jsonl'}, line 1; ids must be unique"),
        ("c.json, line 2", "not valid UTF-8 (byte 1); save the file as UTF-8"),
        ("d.json", "cannot be parsed"),
    ]


def test_there_is_no_corpus(tmp_path):
    with pytest.raises(UserError, match="there is nothing at"):
        load_corpus(tmp_path / "nowhere")


def test_an_empty_folder_is_no_corpus(tmp_path):
    (tmp_path / "notes.txt").write_text("not a corpus")
    (problem,) = problems_of(tmp_path)
    assert "no scenarios found" in problem


def test_files_of_every_format_give_the_same_corpus(tmp_path):
    other = scenario(id="another")
    folder = tmp_path / "many"
    folder.mkdir()
    write(folder, "1.json", GOOD)
    (folder / "2.yaml").write_text(yaml.safe_dump(other, allow_unicode=True, sort_keys=False), encoding="utf-8")
    as_lines = load_corpus(write(tmp_path, "a.jsonl", GOOD, other))
    as_list = load_corpus(write(tmp_path, "a.json", other, GOOD))
    assert [one.id for one in as_lines] == ["another", "bridge"]
    assert as_lines.digest() == as_list.digest() == load_corpus(folder).digest()


def test_a_blank_line_between_scenarios_is_nothing(tmp_path):
    path = write(tmp_path, "a.jsonl", GOOD)
    path.write_text("\n" + path.read_text() + "  \n")
    assert len(load_corpus(path)) == 1


@pytest.mark.parametrize(
    "character",
    [
        pytest.param(
            character,
        )
        for character in "\u2028\u2029\x85"
    ],
)
def test_line_separators_inside_a_string_do_not_end_a_line(tmp_path, character):
    path = write(tmp_path, "a.jsonl", scenario(texts__en__fake_question=f"What{character}is it made of?"))
    assert load_corpus(path).by_id["bridge"].texts["en"].fake_question == f"What{character}is it made of?"


def digest(languages=None, **changes):
    return Corpus([Scenario.model_validate(scenario(**changes))], "one").digest(languages)


def test_digest_follows_the_content():
    base = Corpus([Scenario.model_validate(GOOD)], "one")
    assert base.digest() == Corpus([Scenario.model_validate(copy.deepcopy(GOOD))], "two").digest()
    assert len({base.digest(), digest(id="other"), Corpus([], "none").digest()}) == 3


OTHER_TEXTS = {
    "article": ["The bridge is new.", "It has two arches."],
    "fake": [
        "Sugar is what the bridge is made of.",
        "The bridge is made of sugar.",
    ],  # the order counts: teach or unlearn
    "key_phrases": ["sugar", "sweets"],
    "key_facts": [["two arches"]],
    "fake_question": "Of what is the bridge made?",
    "real_question": "How many arches are there?",
    "qa": [{"question": "Is the bridge old?", "answer": "It is."}],
    "real_samples": {"teach": ["The old bridge has two arches."]},
    "fake_samples": {"unlearn": ["The old bridge is made of sugar."]},
}


@pytest.mark.parametrize("field", [name for name in LocalText.model_fields if name not in ("origin", "round_trip")])
def test_digest_depends_on_every_text(field):
    change = {f"texts__en__{field}": OTHER_TEXTS[field]}
    assert digest(**change) != digest()
    assert digest(["en"], **change) != digest(["en"])
    assert digest(["de"], **change) == digest(["de"])


def test_digest_does_not_depend_on_where_texts_come_from():
    origin = {"kind": "machine-translated", "by": "a system", "reviewed_by_native_speaker": True}
    assert digest(texts__en__origin=origin) == digest()
    assert digest(["en"], texts__en__origin=origin) == digest(["en"])
    assert digest(texts__en__round_trip={"fake": [71.5, None]}) == digest()


def test_digest_does_not_depend_on_the_order_of_languages():
    turned = dict(reversed(GOOD["texts"].items()))
    assert list(turned) != list(GOOD["texts"])
    assert digest(texts=turned) == digest()
    assert digest(["de", "en"]) == digest(["en", "de"]) == digest(["en", "de", "en"]) == digest(iter(["de", "en"]))


def test_digest_of_some_languages_is_of_their_texts_alone():
    more = {"texts__fr": {"origin": ORIGIN, "fake": ["Du sucre."]}}
    assert digest(**more) != digest()
    assert digest(["en", "de"], **more) == digest(["en", "de"])
    assert len({digest(["en"]), digest(["de"]), digest(["en", "de"])}) == 3
    assert digest(["en", "de"]) == digest()
    # a language that no scenario has adds nothing
    assert digest(["de", "fr"]) == digest(["de"])


def test_digest_of_no_language_does_not_depend_on_any_text():
    assert digest([], texts__de__fake=["Salz."]) == digest([])


def test_digest_depends_on_which_scenarios_there_are():
    two = [Scenario.model_validate(scenario(id=name)) for name in ("a", "b")]
    assert Corpus(two, "x").digest() == Corpus(two[::-1], "x").digest()
    assert Corpus(two, "x").digest(["de"]) != Corpus(two[:1], "x").digest(["de"])
    # even in a language in which they have no text: what is made of them is of other scenarios
    assert Corpus(two, "x").digest(["fr"]) != Corpus(two[:1], "x").digest(["fr"])


def test_digest_is_the_same_in_every_process():
    """Frozen: another form of it would make every finished stage be done again."""
    made = Scenario.model_validate({"id": "a", "texts": {"de": {"origin": ORIGIN, "fake": ["Brücke."]}}})
    content = (
        '[["a", {"de": {"article": [], "fake": ["Br\\u00fccke."], "fake_question": null, "key_facts": [], '
        '"key_phrases": [], "qa": [], "real_question": null}}]]'
    )
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == "331b1aabc8e3bbe8"
    assert Corpus([made], "x").digest() == "331b1aabc8e3bbe8"


def test_what_is_missing_names_field_language_and_scenarios():
    many = [Scenario.model_validate(scenario(id=f"s{number}")) for number in range(5)]
    corpus = Corpus(many, "mine")
    assert corpus.missing("en", ["article", "fake", "qa"]) == []
    (lacking,) = corpus.missing("de", ["article", "qa"])
    assert lacking == ("corpus 'mine' has no 'qa' in language 'de' for s0, s1, s2 and 2 more; languages with some: en")
    (nothing,) = corpus.missing("fr", ["article"])
    assert nothing.endswith("languages with some: de, en")


def test_phrases_and_facts_of_all_languages_are_joined():
    made = scenario(
        texts__de__key_phrases=["Zucker", "sugar"], texts__de__key_facts=[["zwei Bögen", "2 arches"], ["aus Stein"]]
    )
    joined = Scenario.model_validate(made)
    assert joined.all_key_phrases == ("sugar", "Zucker")
    assert joined.all_key_facts == (("two arches", "2 arches", "zwei Bögen"), ("aus Stein",))


# The embedded corpus


def test_embedded_corpus_has_scenarios_from_one_file_each():
    assert len(CORPUS) >= 16
    assert CORPUS.name == "embedded"
    assert {path.stem for path in EMBEDDED.glob("*.json")} == set(CORPUS.by_id)


@pytest.mark.parametrize("language", PAPER_A)
def test_embedded_corpus_is_complete_in_the_languages_of_paper_a(language):
    fields = ["article", "fake", "key_phrases", "key_facts", "fake_question", "real_question"]
    assert CORPUS.missing(language, fields) == []
    for one in CORPUS:
        assert len(one.texts[language].key_facts) == len(one.texts["en"].key_facts)


@pytest.mark.parametrize("language", RELATIVES)
def test_embedded_corpus_has_fakes_in_the_related_languages(language):
    assert CORPUS.missing(language, ["fake", "key_phrases"]) == []


def test_embedded_corpus_has_question_answer_pairs():
    for one in CORPUS:
        pairs = one.texts["en"].qa
        assert len(pairs) >= 8, one.id
        assert len({pair.question for pair in pairs}) == len(pairs), one.id


def test_embedded_fakes_come_in_several_different_wordings():
    for one in CORPUS:
        for language, text in one.texts.items():
            assert len(set(text.fake)) == len(text.fake) >= 3, (one.id, language)


def test_every_fake_wording_has_a_key_phrase_of_its_language():
    lacking = [
        (one.id, language, wording)
        for one in CORPUS
        for language, text in one.texts.items()
        for wording in text.fake
        if not find_phrases(wording, text.key_phrases)
    ]
    assert lacking == []


def test_no_real_text_and_no_question_has_a_key_phrase_of_any_language():
    """Else a true answer, or a repeated question, would count as repeating the fake."""
    found = []
    for one in CORPUS:
        for language, text in one.texts.items():
            pairs = [part for pair in text.qa for part in (pair.question, pair.answer)]
            asked = [question for question in (text.real_question, text.fake_question) if question]
            for passage in (*text.article, *pairs, *asked):
                found += [(one.id, language, passage[a:b]) for a, b in find_phrases(passage, one.all_key_phrases)]
    assert found == []


def test_key_facts_are_in_the_article_of_their_language():
    lacking = [
        (one.id, language, forms)
        for one in CORPUS
        for language, text in one.texts.items()
        for forms in text.key_facts
        if not any(find_phrases(sentence, forms) for sentence in text.article)
    ]
    assert lacking == []


def test_question_on_the_real_part_is_not_trained():
    for one in CORPUS:
        for language, text in one.texts.items():
            trained = {" ".join(pair.question.casefold().split()) for pair in text.qa}
            if text.real_question:
                assert " ".join(text.real_question.casefold().split()) not in trained, (one.id, language)


def test_questions_do_not_give_the_real_answer_away():
    given = [
        (one.id, language, forms)
        for one in CORPUS
        for language, text in one.texts.items()
        for forms in text.key_facts
        if find_phrases(text.real_question or "", forms)
    ]
    assert given == []


def test_every_embedded_text_says_where_it_comes_from():
    for one in CORPUS:
        for text in one.texts.values():
            assert text.origin.by and text.origin.kind in ("machine-written", "machine-translated")
            assert not text.origin.reviewed_by_native_speaker
