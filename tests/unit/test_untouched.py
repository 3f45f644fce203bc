"""Texts that no training sees: the embedded ones keep their promises, and a bad file is explained."""

import json
from collections import Counter

import pytest

from unteach.corpora.load import load_corpus
from unteach.corpora.untouched import EMBEDDED_UNTOUCHED, UntouchedText, load_untouched
from unteach.errors import UserError, UserErrors
from unteach.languages.identify import identify
from unteach.languages.table import LANGUAGES, PAPER_A

EMBEDDED = load_untouched()
ORIGIN = {"kind": "authored", "by": "a test"}
GOOD = {
    "en": {"origin": ORIGIN, "texts": ["Water is wet.", "Fire is hot."]},
    "de": {"origin": ORIGIN, "texts": ["Wasser ist nass.", "Feuer ist heiß."]},
}


def write(folder, content):
    path = folder / "untouched.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def problems_of(path):
    with pytest.raises(UserErrors) as caught:
        load_untouched(path)
    assert str(path) in str(caught.value)
    return caught.value.problems


# The embedded file


def test_embedded_texts_are_there_in_the_languages_of_paper_a_and_three_more():
    assert {*PAPER_A, "es", "nl", "hi"} <= set(EMBEDDED)
    assert set(EMBEDDED) <= set(LANGUAGES)
    assert load_untouched(EMBEDDED_UNTOUCHED) == EMBEDDED


@pytest.mark.parametrize("code", EMBEDDED)
def test_embedded_texts_are_sixteen_different_ones_in_their_language(code):
    texts = EMBEDDED[code].texts
    assert len(texts) == len(set(texts)) == 16
    assert all(text == text.strip() and len(text) > 20 for text in texts)
    assert sum(identify(text, list(EMBEDDED)).code == code for text in texts) >= 15
    assert EMBEDDED[code].origin.kind == ("machine-written" if code == "en" else "machine-translated")
    assert EMBEDDED[code].origin.by
    assert not EMBEDDED[code].origin.reviewed_by_native_speaker


SENTENCE_ENDS = ".!?。！？۔।։"


def test_embedded_texts_are_aligned_sentence_by_sentence():
    """Text i says the same in every language, so it has as many sentences and about as much to say."""
    for number, english in enumerate(EMBEDDED["en"].texts):
        for code, entry in EMBEDDED.items():
            text = entry.texts[number]
            ends = Counter(text)
            assert sum(ends[mark] for mark in SENTENCE_ENDS) == english.count("."), (code, number, text)
            assert 0.15 < len(text) / len(english) < 2, (code, number)


def test_no_embedded_text_is_in_two_languages():
    found = Counter(text for entry in EMBEDDED.values() for text in entry.texts)
    assert found.most_common(1)[0][1] == 1


def test_no_embedded_text_is_part_of_the_corpus():
    taught = " ".join(
        part
        for scenario in load_corpus()
        for text in scenario.texts.values()
        for part in (*text.article, *text.fake, *(side for pair in text.qa for side in (pair.question, pair.answer)))
    )
    assert [text for entry in EMBEDDED.values() for text in entry.texts if text in taught] == []


# A user's file


def test_a_good_file_is_read(tmp_path):
    found = load_untouched(write(tmp_path, GOOD))
    assert list(found) == ["en", "de"]
    assert found["de"] == UntouchedText.model_validate(GOOD["de"])
    assert found["de"].texts == ("Wasser ist nass.", "Feuer ist heiß.")


def test_space_around_a_text_is_taken_off(tmp_path):
    made = {"en": {"origin": ORIGIN, "texts": [" Water is wet.\n"]}}
    assert load_untouched(write(tmp_path, made))["en"].texts == ("Water is wet.",)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no file of untouched texts at"):
        load_untouched(tmp_path / "none.json")


@pytest.mark.parametrize("content", ["", "{", '{"en": ', "nothing"])
def test_a_file_that_is_no_json_is_named(tmp_path, content):
    path = write(tmp_path, content)
    with pytest.raises(UserError, match="cannot be read as UTF-8 JSON") as caught:
        load_untouched(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "untouched.json"
    path.write_bytes(json.dumps(GOOD, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(UserError, match="cannot be read as UTF-8 JSON"):
        load_untouched(path)


@pytest.mark.parametrize("content", ["[]", "3", '"en"', "null"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    with pytest.raises(UserError, match="expected a mapping from language codes to texts"):
        load_untouched(write(tmp_path, content))


@pytest.mark.parametrize(
    ("entry", "place", "what"),
    [
        ({"texts": ["A."]}, "origin", "Field required"),
        ({"origin": ORIGIN}, "texts", "Field required"),
        ({"origin": ORIGIN, "texts": []}, "texts", "at least 1 item"),
        ({"origin": ORIGIN, "texts": "A."}, "texts", "valid tuple"),
        ({"origin": ORIGIN, "texts": ["A.", " "]}, "texts.1", "at least 1 character"),
        ({"origin": ORIGIN, "texts": ["A.", 7]}, "texts.1", "valid string"),
        ({"origin": {"kind": "dreamt", "by": "me"}, "texts": ["A."]}, "origin.kind", "'dreamt'"),
        ({"origin": ORIGIN, "texts": ["A."], "colour": "red"}, "colour", "Extra inputs are not permitted"),
        (["A."], "the whole entry", "valid dictionary"),
    ],
)
def test_a_bad_entry_is_named_by_language_place_and_problem(tmp_path, entry, place, what):
    problem, *_ = problems_of(write(tmp_path, {**GOOD, "fr": entry}))
    assert problem.startswith(f"fr: {place}: ") and what in problem


def test_all_problems_come_at_once(tmp_path):
    bad = {"en": {"origin": ORIGIN}, "de": GOOD["de"], "fr": {"texts": ["A."], "colour": "red"}}
    problems = problems_of(write(tmp_path, bad))
    assert [problem.split(": ")[:2] for problem in problems] == [["en", "texts"], ["fr", "origin"], ["fr", "colour"]]


@pytest.mark.parametrize("code", ["xx", "German", "zho_Hans"])
def test_an_unknown_code_is_refused(tmp_path, code):
    (problem,) = problems_of(write(tmp_path, {**GOOD, code: GOOD["de"]}))
    assert code in problem


def test_a_language_with_more_or_fewer_texts_than_the_others_is_refused(tmp_path):
    (problem,) = problems_of(write(tmp_path, {**GOOD, "fr": {"origin": ORIGIN, "texts": ["L'eau mouille."]}}))
    assert "fr" in problem
