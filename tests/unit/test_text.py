"""Finding phrases whatever their case, width, accents or script."""

import itertools
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unteach.languages.text import find_phrases, normalise


def found(text, *phrases):
    """What the spans cover in the original text."""
    return [text[start:end] for start, end in find_phrases(text, phrases)]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("They use PEARL BUTTONS.", "pearl buttons"),
        ("They use pearl buttons.", "Pearl Buttons"),
        ("Eine STRASSE", "Straße"),
        ("Eine Straße", "STRASSE"),
        ("ΟΔΟΣ", "οδος"),  # capital sigma, final small sigma
        ("ΜΑΡΓΑΡΙΤΆΡΙ", "μαργαριτάρι"),
        ("ЖЕМЧУГ", "жемчуг"),
        ("ՄԱՐԳԱՐԻՏ", "մարգարիտ"),
        ("İSTANBUL", "istanbul"),
    ],
)
def test_case_makes_no_difference(text, phrase):
    assert len(found(text, phrase)) == 1


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("ｐｅａｒｌ ｂｕｔｔｏｎｓ", "pearl buttons"),
        ("２３ pupils", "23"),
        ("23名学生", "２３"),
        ("ﾎﾞﾀﾝ", "ボタン"),
        ("the ﬁsh", "fish"),
        ("pearl\u00a0\n\t buttons", "pearl buttons"),
        ("pearl\u3000buttons", "pearl  buttons"),
    ],
)
def test_width_ligatures_and_white_space_make_no_difference(text, phrase):
    assert len(found(text, phrase)) == 1


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("ecoles", "écoles"),
        ("écoles", "ecoles"),
        ("e\u0301coles", "\u00e9coles"),
        ("мед", "мёд"),
        ("желтый", "жёлтый"),
        ("μαργαριταρι", "μαργαριτάρι"),
        ("ngọc trai", "ngoc trai"),
    ],
)
def test_latin_greek_and_cyrillic_accents_make_no_difference(text, phrase):
    assert len(found(text, phrase)) == 1
    assert len(found(phrase, text)) == 1


def test_marks_of_other_scripts_are_letters_and_count():
    assert found("किताब", "कताब") == []
    assert found("কলা", "কলি") == []
    assert found("กา", "กี") == []
    assert found("หน้า", "หนา") == []  # tone mark


@pytest.mark.parametrize(("text", "phrase"), [("l’eau", "l'eau"), ("l‘eau", "l'eau"), ("kʼasa", "k'asa")])
def test_apostrophes_are_one(text, phrase):
    assert len(found(text, phrase)) == 1


@pytest.mark.parametrize(
    "dash",
    [
        "-",
        "\u2013",
        "\uff0d",
        pytest.param("\u2010"),
        pytest.param("\u2011"),
    ],
)
def test_hyphens_are_one(dash):
    assert found(f"twenty{dash}three pupils", "twenty-three") == [f"twenty{dash}three"]


def test_invisible_characters_are_nothing():
    assert found("pe\u00adarl\u200b but\u200dtons", "pearl buttons") == ["pe\u00adarl\u200b but\u200dtons"]
    assert found("\u200fموتی\u200f", "موتی") == ["موتی"]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("مُحَمَّد", "محمد"),  # vowel points and shadda
        ("قرآن", "قران"),  # alef with madda
        ("أحمد", "احمد"),  # alef with hamza
        ("كتاب", "کتاب"),  # Arabic and Urdu kaf
        ("موتي", "موتی"),  # Arabic and Urdu yeh
        ("موتى", "موتی"),  # alef maksura
        ("مدرسه", "مدرسہ"),  # Arabic and Urdu heh
        ("مدرسة", "مدرسہ"),  # teh marbuta
        ("\ufee3\ufeee\ufe97\ufef2", "موتی"),  # presentation forms
        pytest.param("مـوتـی", "موتی"),
    ],
)
def test_arabic_marks_and_letter_variants_make_no_difference(text, phrase):
    assert len(found(text, phrase)) == 1
    assert len(found(phrase, text)) == 1


def test_different_arabic_letters_stay_different():
    assert found("موتا", "موتی") == []
    assert found("باپ", "باب") == []


def test_spans_are_in_the_original_text():
    # 0123456789...: "Die " is 0-3, STRASSE written with sharp s is 4-9, full-width digits are 11-12
    text = "Die Straße ２３"
    assert find_phrases(text, ["strasse"]) == [(4, 10)]
    assert find_phrases(text, ["23"]) == [(11, 13)]
    assert found("x  ﬁsh  y", "fish") == ["ﬁsh"]
    assert found("das  große\n\nHaus", "grosse haus") == ["große\n\nHaus"]
    assert found("㍿と", "株式会社") == ["㍿"]


def test_a_span_does_not_cut_an_accent_off_its_letter():
    assert found("un cafe\u0301 noir", "café") == ["cafe\u0301"]


def test_normalise_gives_an_origin_for_every_character():
    # sharp s at 1 becomes two letters; the run of three spaces at 2-4 becomes one; e with accent at 5 becomes e
    assert normalise("aß   é") == ("ass e", [0, 1, 1, 2, 5])
    assert normalise("") == ("", [])


@pytest.mark.parametrize(
    ("text", "phrase", "there"),
    [
        ("a pearl.", "pearl", True),
        ("(pearl)", "pearl", True),
        ("pearl's", "pearl", True),
        ("pearl-grey", "pearl", True),
        ("pearls", "pearl", False),
        ("unpearl", "pearl", False),
        ("pearl1", "pearl", False),
        ("pearl_x", "pearl", False),
        ("Perlenknöpfe", "Perlen", False),
        ("жемчугом", "жемчуг", False),
        ("موتیوں", "موتی", False),
        ("pearl  button s", "pearl buttons", False),
        ("pearl, buttons", "pearl buttons", False),
    ],
)
def test_a_phrase_of_a_spaced_script_is_whole_words(text, phrase, there):
    assert bool(found(text, phrase)) == there


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("कमी", "कम"),
        ("नीकम", "कम"),
        ("कम्पनी", "कम"),
        ("কলা", "কল"),
        ("মাকল", "কল"),
    ],
)
def test_a_phrase_of_an_indic_script_is_whole_words(text, phrase):
    """The neighbour is a vowel sign or a virama, so the word goes on."""
    assert found(text, phrase) == []


@pytest.mark.parametrize(
    ("text", "phrase"), [("वह कम है", "कम"), ("मोती, बटन", "मोती"), ("এই কল।", "কল"), ("कम।", "कम")]
)
def test_a_whole_word_of_an_indic_script_is_found(text, phrase):
    assert found(text, phrase) == [phrase]


@pytest.mark.parametrize(
    ("text", "phrase", "there"),
    [
        ("in 1940", "40", False),
        ("400", "40", False),
        ("40", "40", True),
        ("40 km", "40", True),
        ("40km", "40", True),
        ("A40", "40", True),
        ("40%", "40", True),
        ("40.", "40", True),
        ("40, 41", "40", True),
        ("40-50", "50", True),
        ("40.5", "40", False),
        ("3.40", "40", False),
        ("1,300", "300", False),
        ("1,300", "1", False),
        ("1,300", "1,300", True),
        ("21,300", "1,300", False),
        ("1,3000", "1,300", False),
        ("23名学生", "23", True),
        ("共有123名", "23", False),
        ("۲۳ طلبہ", "۲۳", True),
        ("۱۲۳ طلبہ", "۲۳", False),
    ],
)
def test_numbers_are_whole(text, phrase, there):
    assert bool(found(text, phrase)) == there


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("他们用珍珠纽扣付钱。", "珍珠纽扣"),
        ("ใช้กระดุมมุกแทนเงิน", "กระดุมมุก"),
        ("真珠のボタンで", "ボタン"),
        ("ໃຊ້ກະດຸມໄຂ່ມຸກແທນ", "ກະດຸມ"),
        ("មានឡេវគុជ", "ឡេវ"),
    ],
)
def test_scripts_without_spaces_are_searched_anywhere(text, phrase):
    assert found(text, phrase) == [phrase]


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("老师是Ferro女士", "Ferro"),
        ("他们用pearl buttons付钱", "pearl buttons"),
        ("ใช้pearl buttonsแทนเงิน", "pearl buttons"),
    ],
)
def test_a_foreign_word_inside_unspaced_text_is_found(text, phrase):
    assert found(text, phrase) == [phrase]


def test_spans_are_in_order_and_the_longest_wins_where_they_overlap():
    text = "pearl buttons and a pearl button"
    phrases = ["pearl", "pearl button", "buttons", "pearl buttons"]
    assert found(text, *phrases) == ["pearl buttons", "pearl button"]
    assert find_phrases(text, phrases) == find_phrases(text, reversed(phrases))
    assert find_phrases("a b a", ["a"]) == [(0, 1), (4, 5)]


@pytest.mark.parametrize("phrase", ["", " ", "\n\t", "\u200b", "\u00ad"])
def test_an_empty_phrase_is_nowhere(phrase):
    assert find_phrases("some text, and  more", [phrase]) == []


@pytest.mark.parametrize("phrase", ["a.c", "(a", "[", "a+", "\\", "$5", "^", "a|b"])
def test_a_phrase_is_no_pattern(phrase):
    assert found(f"x {phrase} y", phrase) == [phrase]
    assert found("abc aa ab 5 a", "a.c", "a+", "$5") == []


def test_many_marks_take_no_long():
    assert find_phrases("\u0e31" * 2000 + " pearl", ["pearl"]) == [(2001, 2006)]


wild = st.text(max_size=30) | st.text(alphabet="aAßéİﬁ１1. ,\u0301\u200b\u00adकीमแา珍珠موتيﷺ-_'’", max_size=30)


@settings(max_examples=80, deadline=None)
@given(wild, st.lists(wild, max_size=4))
def test_spans_are_in_range_in_order_and_apart(text, phrases):
    spans = find_phrases(text, phrases)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))


@settings(max_examples=80, deadline=None)
@given(wild, wild, wild)
@example("ſ", "", "")
@example("¨a", "x", "x")
def test_a_phrase_between_spaces_is_always_found(phrase, before, after):
    if not normalise(phrase)[0].strip():
        return
    text = f"{before} {phrase} {after}"
    start, end = len(before) + 1, len(before) + 1 + len(phrase)
    # another occurrence may begin earlier and take its place, but something must cover part of it
    assert any(a < end and b > start for a, b in find_phrases(text, [phrase]))


@settings(max_examples=80, deadline=None)
@given(wild)
def test_folding_is_stable_and_maps_every_character(text):
    folded, origin = normalise(text)
    assert len(folded) == len(origin)
    assert origin == sorted(origin) and all(0 <= index < len(text) for index in origin)
    assert "  " not in folded
    assert normalise(folded)[0] == folded


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="abcéßñğçøåžпривётжмçêàΑάως ", min_size=1, max_size=20))
def test_composed_decomposed_upper_and_lower_are_one(text):
    forms = {unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text), text.upper(), text.lower()}
    assert len({normalise(form)[0] for form in forms}) == 1
