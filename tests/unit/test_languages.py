"""Facts of the language table, and finding languages in it."""

import re
import unicodedata

import pytest

from unteach.errors import UserError
from unteach.languages.phrases import has_labels, labels
from unteach.languages.table import (
    LANGUAGES,
    MULTILINGUAL,
    PAPER_A,
    PAPER_B,
    RELATIVES,
    UnknownLanguage,
    find,
)


def test_the_papers_lists_have_their_lengths_and_no_repeats():
    for codes, count in ((PAPER_A, 9), (PAPER_B, 9), (RELATIVES, 8), (MULTILINGUAL, 20)):
        assert len(codes) == len(set(codes)) == count
        assert set(codes) <= set(LANGUAGES)


def test_every_language_of_paper_a_but_english_has_a_relative():
    pairs = {code: LANGUAGES[code].relative for code in PAPER_A}
    assert pairs == {
        "en": None,
        "de": "nl",
        "fr": "es",
        "zh": "zh-Hant",
        "ru": "uk",
        "jv": "ms",
        "ur": "hi",
        "ha": "so",
        "hy": "el",
    }
    assert set(RELATIVES) == {relative for relative in pairs.values() if relative}
    assert not set(RELATIVES) & set(PAPER_A)


def test_resource_levels_are_those_of_the_papers():
    high = {code for code, language in LANGUAGES.items() if language.resource == "high"}
    low = {code for code, language in LANGUAGES.items() if language.resource == "low"}
    assert high == {"en", "de", "fr", "zh", "ru", "es"}
    assert low == {"jv", "ur", "ha", "hy", "bn", "hi", "th", "ms", "vi"}
    assert high | low == set(PAPER_A) | set(PAPER_B)


def test_codes_are_well_formed_and_unique():
    for code, language in LANGUAGES.items():
        assert code == language.code and re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?", code)
        assert re.fullmatch(r"[a-z]{3}_[A-Z][a-z]{3}", language.flores)
        assert language.flores.endswith(language.script)
    for field in ("flores", "name", "own_name"):
        assert len({getattr(language, field) for language in LANGUAGES.values()}) == len(LANGUAGES)


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_languages_own_name_is_in_its_script(code):
    words = {
        "Latn": "LATIN",
        "Cyrl": "CYRILLIC",
        "Arab": "ARABIC",
        "Armn": "ARMENIAN",
        "Beng": "BENGALI",
        "Deva": "DEVANAGARI",
        "Thai": "THAI",
        "Grek": "GREEK",
        "Ethi": "ETHIOPIC",
        "Hans": "CJK",
        "Hant": "CJK",
        "Jpan": "CJK",
    }
    language = LANGUAGES[code]
    letters = [character for character in language.own_name if character.isalpha()]
    assert letters and all(unicodedata.name(letter).startswith(words[language.script]) for letter in letters)


def test_right_to_left():
    assert {code for code, language in LANGUAGES.items() if language.right_to_left} == {"ur", "ar"}


@pytest.mark.parametrize(
    "name",
    ["zh", "ZH", "zho_Hans", "ZHO_hans", "Chinese (Simplified)", "chinese (simplified)"],
)
def test_a_language_is_found_by_code_flores_code_or_english_name(name):
    assert find(name).code == "zh"


def test_every_language_is_found_by_all_its_names():
    for language in LANGUAGES.values():
        for name in (language.code, language.flores, language.name):
            assert find(name) is language
            assert find(name.upper()) is language


@pytest.mark.parametrize(
    ("wrong", "meant"), [("Germn", "German"), ("Chinese (Simplifed)", "Chinese (Simplified)"), ("deu_Lat", "deu_Latn")]
)
def test_an_unknown_language_gets_the_nearest(wrong, meant):
    with pytest.raises(UnknownLanguage) as caught:
        find(wrong)
    assert f"unknown language {wrong!r}. Did you mean {meant!r}? Known codes: en, de," in str(caught.value)


@pytest.mark.parametrize("wrong", ["", "qqqq", "日"])
def test_nothing_near_gives_no_suggestion(wrong):
    with pytest.raises(UnknownLanguage, match="Known codes: en, de,") as caught:
        find(wrong)
    assert "Did you mean" not in str(caught.value)


def test_an_unknown_language_is_both_a_users_error_and_a_bad_value():
    assert issubclass(UnknownLanguage, UserError) and issubclass(UnknownLanguage, ValueError)


def test_all_languages_of_both_papers_can_be_asked_in():
    for code in {*PAPER_A, *PAPER_B, *RELATIVES}:
        assert has_labels(code) and labels(code).question and labels(code).answer


def test_labels_are_of_known_languages_and_never_english_by_default():
    assert not has_labels("kam")
    with pytest.raises(UserError, match="language 'kam' has no question and answer labels"):
        labels("kam")
    english = labels("en")
    for code in LANGUAGES:
        if has_labels(code) and code != "en":
            assert labels(code) != english
