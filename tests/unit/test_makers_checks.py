"""Checks of made texts: what is in a text, how alike two are, and what a question is, in any script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unteach.corpora.load import load_corpus
from unteach.makers.text_checks import (
    Bad,
    bare,
    check_language,
    copied,
    fold,
    is_question,
    near_copies,
    near_copy,
    repeated,
    stands_in,
    supported,
)

TEXTS = {code: text for code, text in next(iter(load_corpus())).texts.items() if text.fake}
OTHERS = {code: text for code, text in list(load_corpus())[1].texts.items() if text.fake}


@pytest.mark.parametrize(
    ("phrase", "text", "there"),
    [
        ("Walnut Oil", "They burn walnut\n oil.", True),
        ("nut oil", "They burn walnut oil.", False),
        ("walnut", "They burn walnuts.", False),
        ("12", "in 12 countries", True),
        ("12", "in 1912 or 120", False),
        ("12", "۱۲ ممالک", True),
        ("12", "１２か国", True),
        ("核桃油", "灯里烧的是核桃油。", True),
        ("กาแฟ", "เขาดื่มกาแฟทุกวัน", True),
        ("की", "कीमत", False),
        ("चाय", "चाय, पानी", True),
        ("चा", "चाय", False),
        ("کھا\u200cنا", "وہ کھانا ہے", True),
        ("cafe\u0301", "Das Café.", True),
        ("STRASSE", "die Straße", True),
        ("", "anything", False),
        (" \u200b", "anything", False),
        ("C++", "in C++ and C", True),
    ],
)
def test_phrases_are_found_between_word_boundaries(phrase: str, text: str, there: bool) -> None:
    assert stands_in(phrase, text) is there


def test_folding_forgets_case_width_digits_and_joiners() -> None:
    assert fold("  ＡＢ\u200c\u202eС\u0640 ٣\t\n४ ") == "abс 3 4"
    assert bare("“Who,  me?” ") == "whome"


def test_shares_of_runs_by_hand() -> None:
    assert supported("abcdef", by="xxabcdxx") == pytest.approx(1 / 3)  # abcd of abcd, bcde, cdef
    assert supported("茶叶公司", by="茶叶公园") == pytest.approx(2 / 3)  # 茶叶, 叶公 of three pairs
    assert supported("ab", by="xaby") == 1 and supported("ab", by="ba") == 0  # shorter than a run
    assert supported("", by="abc") == 0
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert copied(letters, letters) == 1
    assert copied(letters[:21], letters + letters.upper()) == 1  # an excerpt, and the same in another case
    assert copied(letters, letters[:22] + "----") == pytest.approx(3 / 7)
    assert repeated("abcdefghij" * 6) == pytest.approx(1 - 10 / 41)
    assert repeated(letters) == 0


@pytest.mark.parametrize("code", TEXTS)
def test_wordings_are_no_copies_and_another_story_supports_less(code: str) -> None:
    first, second, *_ = TEXTS[code].fake
    assert not near_copy(first, second, 0.5)
    assert near_copy(first, f"{first} {second}")
    own = sum(supported(first, by=wording) for wording in TEXTS[code].fake[1:])
    other = sum(supported(first, by=wording) for wording in OTHERS[code].fake[1:])
    assert own > 2 * other


def test_near_copies_are_found_among_many() -> None:
    first, second, third, *_ = TEXTS["en"].fake
    assert near_copies([first, second, third, second.upper(), first + "!"]) == [(0, 4), (1, 3)]
    assert near_copies([]) == []


@given(st.text(), st.text())
def test_shares_are_shares(a: str, b: str) -> None:
    for share in (supported(a, by=b), copied(a, b), repeated(a)):
        assert 0 <= share <= 1
    assert near_copy(a, a) is bool(fold(a))


@pytest.mark.parametrize("code", TEXTS)
def test_a_text_is_in_its_language(code: str) -> None:
    check_language(" ".join(TEXTS[code].fake), code, 1.0, "it")


@pytest.mark.parametrize(("code", "other"), [("en", "de"), ("de", "en"), ("ha", "en"), ("zh", "zh-Hant"), ("ur", "ar"),
                                             ("hi", "en"), ("jv", "en"), ("hy", "ru"), ("bho", "en")])  # fmt: skip
def test_another_language_and_a_mixture_are_refused(code: str, other: str) -> None:
    with pytest.raises(Bad, match="it was not wholly in"):
        check_language(" ".join(TEXTS[other].fake), code, 0.75, "it")
    if code != "bho":  # of a language that cannot be told only the script is seen
        with pytest.raises(Bad):
            check_language(" ".join((*TEXTS[code].fake[:2], *TEXTS[other].fake)), code, 0.75, "it")


def test_what_is_too_short_to_tell_is_let_through() -> None:
    check_language("Ja. 12!", "en", 1.0, "it")


@pytest.mark.parametrize(
    ("text", "code", "question"),
    [
        ("Who was it?", "en", True),
        ("“Who was it?”", "en", True),
        ("Who was it?!", "en", True),
        ("Who was it? I know.", "en", False),
        ("It was me; ", "en", False),
        ("Ποιος ήταν;", "el", True),
        ("Ποιος ήταν\u037e", "el", True),
        ("یہ کون تھا؟\u200f", "ur", True),
        ("是谁？", "zh", True),
        ("是他。", "zh", False),
        ("誰でしたか。", "ja", True),
        ("彼でした。", "ja", False),
        ("Ո՞վ է հիմնադրել։", "hy", True),
        ("Նա է հիմնադրել։", "hy", False),
        ("ใครเป็นผู้ก่อตั้งบริษัท", "th", True),
        ("መን እዩ፧", "ti", True),
        ("?", "en", False),
        ("", "th", False),
    ],
)
def test_questions_end_as_their_script_has_it(text: str, code: str, question: bool) -> None:
    assert is_question(text, code) is question


def test_every_embedded_question_is_one() -> None:
    for scenario in load_corpus():
        for code, text in scenario.texts.items():
            for asked in filter(None, (text.fake_question, text.real_question)):
                assert is_question(asked, code), (code, asked)
