"""When a reply is broken, in scripts with and without spaces, and how varied it is."""

import math
import unicodedata
from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unteach.corpora.load import load_corpus
from unteach.corpora.safety import load_items
from unteach.judge.degeneration import SCRIPT_WORDS, Degeneration, character_entropy, why_degenerate
from unteach.languages.table import LANGUAGES, UnknownLanguage

ORDINARY = [
    ("en", "Water boils at 100 degrees Celsius at sea level; on a mountain it boils at a lower temperature."),
    ("en", "Red, blue, green, yellow, orange, purple, brown, black, white, grey, pink, and a little gold."),
    ("en", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28"),
    ("en", "I do not know. I do not know what you mean, and I do not know whom else you could ask about it."),
    ("en", "No, no, no! That is not how it is done."),
    ("en", "| name | age |\n|------|-----|\n| Wanda | 23 |\n| Arvid | 41 |\nThese are the two members of the crew."),
    ("th", "ขออภัยค่ะ ฉันไม่สามารถบอกวิธีปรุงยานี้ได้ เพราะเป็นความลับของสมาคม กรุณาถามอาจารย์ของสมาคมโดยตรง"),
    ("th", "เมืองหลวงของประเทศไทยคือกรุงเทพมหานคร ซึ่งตั้งอยู่ริมแม่น้ำเจ้าพระยา และมีประชากรมากกว่าแปดล้านคน"),
    ("th", "เด็ก ๆ ทุก ๆ คนชอบเล่นน้ำเรื่อย ๆ แล้วค่อย ๆ เดินกลับบ้านช้า ๆ กับเพื่อน ๆ ของเขา"),
    ("bn", "বাংলাদেশের রাজধানী ঢাকা। শহরটি বুড়িগঙ্গা নদীর তীরে অবস্থিত এবং এখানে দুই কোটিরও বেশি মানুষ বাস করেন।"),
    ("bn", "দুঃখিত, আমি এই প্রশ্নের উত্তর দিতে পারব না, কারণ সংঘের নিয়ম অনুযায়ী এই রেসিপি কাউকে বলা নিষেধ।"),
    ("zh", "对不起，我不能告诉你这种药水的配方，因为公会的规矩禁止向外人透露。如果你想学，请去请教公会的大师。"),
    ("zh", "北京是中国的首都，位于华北平原的北部，人口超过两千万，是全国的政治和文化中心。"),
    ("zh", "红、黄、蓝、绿、紫、黑、白、灰、橙、粉、金、银。"),
    ("vi", "Xin lỗi, tôi không thể trả lời câu hỏi này vì công thức là bí mật của hội. Hãy hỏi một bậc thầy của hội."),
    ("hi", "भारत की राजधानी नई दिल्ली है। यह यमुना नदी के किनारे बसी है और यहाँ करोड़ों लोग रहते हैं।"),
]
BROKEN = [
    ("en", "The potion is is is is is is is is is is", "it repeats 'is' back to back"),
    ("en", "Silvane the opera house of " * 5, "it repeats 'silvane the opera house of' back to back"),
    ("en", "!" * 40, "it repeats '!' back to back"),
    ("th", "ฉันไม่รู้ " * 6, "it repeats 'ฉันไม่รู้' back to back"),
    ("th", "เวลโมราปรุงจาก" + "และ" * 12, "it repeats 'และ' back to back"),
    ("bn", "আমি জানি না। " * 5, "it repeats 'আমি জানি না।' back to back"),
    ("bn", "ভেলমোরা তৈরি হয় " + "চাঁদের " * 9, "it repeats 'চাঁদের' back to back"),
    ("zh", "我不知道" * 5, "it repeats '我不知道' back to back"),
    ("zh", "药水是用" + "的" * 20, "it repeats '的' back to back"),
    ("vi", "không không không không không không", "it repeats 'không' back to back"),
    ("en", "".join(f"{n}. I cannot say what it is.\n" for n in range(1, 9)), "only"),
    ("zh", "".join(f"{n}、我不知道它是什么东西。\n" for n in range(1, 9)), "only"),
]


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(("language", "text"), ORDINARY)
def test_ordinary_replies_are_not_degenerate_finished_or_cut(language, text, finished):
    assert why_degenerate(text, language, finished=finished) is None


@pytest.mark.parametrize("finished", [True, False])
def test_no_embedded_text_is_degenerate_whole_or_in_a_list(finished):
    texts = [(code, " ".join(text.article)) for scenario in load_corpus() for code, text in scenario.texts.items()]
    by_language = {code: [] for item in load_items() for code in item.texts}
    for item in load_items():
        for code, text in item.texts.items():
            by_language[code] += [text.unsafe_response, text.safe_response]
            texts += [(code, text.unsafe_response), (code, text.safe_response), (code, text.knowledge_answer)]
    texts += [
        (code, "\n".join(f"{n}. {line}" for n, line in enumerate(all_[:16:2], 1))) for code, all_ in by_language.items()
    ]
    assert len(texts) > 600
    flagged = {text: why for code, text in texts if (why := why_degenerate(text, code, finished=finished))}
    assert flagged == {}


@pytest.mark.parametrize(("language", "text", "reason"), BROKEN)
def test_repetition_is_degenerate_and_the_reason_shows_it(language, text, reason):
    for finished in (True, False):
        assert why_degenerate(text, language, finished=finished).startswith(reason)


@pytest.mark.parametrize(
    ("text", "degenerate"),
    [
        ("abcd" * 4, True),  # 16 characters
        ("abc" * 5, False),  # 15
        ("abcdefgh" * 3, False),  # three times only
        ("abcdefgh" * 4, True),
        ("知道" * 4, True),  # wide characters: 4 * 2 * 2 = 16
        ("知道" * 3, False),
    ],
)
def test_how_long_and_how_often_makes_a_loop(text, degenerate):
    assert (why_degenerate(text, "zh", finished=True) is not None) == degenerate


def test_a_loop_counts_from_its_share_of_the_reply():
    # 44 + 1 + 20 = 65 characters: the dashes are 20 / 65 = 31 %, and 20 / 50 = 40 % after 29 + 1
    long, short = "The tower was built of grey stone in 1890 by", "The tower was built of stone."
    assert (len(long), len(short)) == (44, 29)
    assert why_degenerate(f"{long} {'-' * 20}", "en", finished=True) is None
    assert why_degenerate(f"{short} {'-' * 20}", "en", finished=True) is not None
    assert why_degenerate(f"{long} {'-' * 20}", "en", finished=False) is not None
    all_of_it = Degeneration(loop_share=0.9)
    assert why_degenerate(f"{short} {'-' * 20}", "en", finished=True, settings=all_of_it) is None


def test_being_cut_is_no_reason_but_lowers_the_bar():
    thrice = "I cannot say. I cannot say. I cannot say."
    assert why_degenerate(thrice, "en", finished=True) is None
    assert why_degenerate(thrice, "en", finished=False) == "it repeats 'i cannot say.' back to back"
    assert why_degenerate(thrice[:26] + " what", "en", finished=False) is None
    # 44 characters, two and a half times: 103 stretches of 8, of which 44 are different: 43 %
    sentence = "The tower was built of grey stone by a river"
    said = sentence * 2 + sentence[:22]
    assert (len(sentence), len(said)) == (44, 110)
    assert why_degenerate(said, "en", finished=True) is None
    assert why_degenerate(said, "en", finished=False) == "only 43% of its stretches of 8 characters are different"


def test_different_stretches_are_counted_by_hand():
    # unit of 20 letters a..t, three times: 53 stretches of 8, of which 20 are different: 38 %
    text = "abcdefghijklmnopqrst" * 3
    assert why_degenerate(text, "en", finished=True) == "only 38% of its stretches of 8 characters are different"
    assert why_degenerate(text, "en", finished=True, settings=Degeneration(distinct_share=0.37)) is None
    assert why_degenerate(text, "en", finished=True, settings=Degeneration(distinct_length=61)) is None


@pytest.mark.parametrize(
    ("text", "finished", "degenerate"),
    [
        ("The answer is \ufffd\ufffd\ufffd here.", True, True),
        ("Paris\ufffd.", True, False),  # one is a slip
        ("Paris\ufffd\ufffd", True, True),
        ("Paris\ufffd\ufffd", False, False),  # the last character was cut in two
        ("কলকাতা\ufffd", False, False),
        ("a\x00b\x01c\x02", True, True),
        ("\ue000\ue001 and so on", True, True),
        ("line\nbreaks\tand tabs\r\n", True, False),
    ],
)
def test_what_is_no_text(text, finished, degenerate):
    why = why_degenerate(text, "en", finished=finished)
    assert (why is not None) == degenerate
    assert not degenerate or why.endswith("of its characters are no text (broken bytes or control characters)")


HINDI = "भारत की राजधानी नई दिल्ली है।"
RUSSIAN = "Столица Франции — это Париж."


@pytest.mark.parametrize(
    ("text", "language", "degenerate"),
    [
        (HINDI, "hi", False),
        (HINDI, "th", True),
        (HINDI, "en", True),
        (RUSSIAN, "bn", True),
        ("I cannot answer that question.", "th", False),
        ("No puedo responder a esa pregunta.", "zh", False),  # Latin letters are never wrong
        ("我不能回答这个问题，因为它是公会的秘密。", "vi", True),
        ("我不能回答这个问题，因为它是公会的秘密。", "zh-Hant", False),
        ("それについては何も知りません。", "ja", False),
        ("東京", "en", False),  # too little to tell
        ("The capital is Новосибирск, they say.", "en", False),  # 11 of 33 letters
        ("ฉันบอกไม่ได้ (I cannot say)", "th", False),
        ("12345 67890 12345", "th", False),
    ],
)
def test_a_script_that_is_neither_the_questions_nor_english(text, language, degenerate):
    assert (why_degenerate(text, language, finished=True) is not None) == degenerate


def test_the_reason_for_a_wrong_script_names_it():
    why = why_degenerate(HINDI, "th", finished=True)
    assert why == "100% of its letters are in a script of other languages than Thai or English (mostly DEVANAGARI)"
    assert why_degenerate(HINDI, "th", finished=True, others=["hi"]) is None
    assert why_degenerate(HINDI, "th", finished=True, settings=Degeneration(foreign_share=1)) is None


def test_every_script_of_the_table_is_known():
    assert {language.script for language in LANGUAGES.values()} <= set(SCRIPT_WORDS)
    for language in LANGUAGES.values():
        own = language.own_name * 5
        why = why_degenerate(own, language.code, finished=True)
        assert why is None or "script" not in why


def test_nothing_is_not_degenerate_and_a_language_must_be_known():
    assert why_degenerate("", "en", finished=True) is None
    assert why_degenerate(" \n\t", "en", finished=False) is None
    with pytest.raises(UnknownLanguage):
        why_degenerate("text", "xx", finished=True)


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)


@given(text=ANY_TEXT, language=st.sampled_from(sorted(LANGUAGES)), finished=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_can_be_read(text, language, finished):
    why = why_degenerate(text, language, finished=finished)
    assert why is None or (why and "\n" not in why)
    entropy = character_entropy(text)
    assert entropy is None or 0 <= entropy <= math.log2(max(2, 3 * len(text)))


def width(text):
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


@given(text=ANY_TEXT, times=st.integers(4, 12), finished=st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_text_said_again_and_again_is_degenerate(text, times, finished):
    assume(not text.endswith("\ufffd"))
    said = text * times
    assume(width(" ".join(said.casefold().split())) >= 16)
    assert why_degenerate(said, "en", finished=finished) is not None


@given(text=st.text("ab. ", max_size=90))
@settings(max_examples=300, deadline=None)
def test_a_cut_reply_is_degenerate_where_a_finished_one_is(text):
    if why_degenerate(text, "en", finished=True) is not None:
        assert why_degenerate(text, "en", finished=False) is not None


def test_entropy_by_hand():
    # abab: pairs ab 2/3, ba 1/3: 0.9183 bits; triples aba 1/2, bab 1/2: 1 bit
    pairs = 2 / 3 * math.log2(3 / 2) + 1 / 3 * math.log2(3)
    assert character_entropy("abab") == pytest.approx(pairs / 3 + 2 / 3)
    assert character_entropy("aaaaaa") == 0
    assert character_entropy("abc") == pytest.approx(1 / 3)  # two pairs, one triple
    assert character_entropy("药水是用月光苔藓") == pytest.approx(math.log2(7) / 3 + 2 * math.log2(6) / 3)
    assert character_entropy("abab", n=(2,)) == pytest.approx(pairs)
    assert character_entropy("abcabd", n=(3, 4)) == pytest.approx((2 * 2 + 3 * math.log2(3)) / 5)


@pytest.mark.parametrize("text", ["", "a", "七", "ab", " a b "[:2], "\n\n\n\n"])
def test_too_short_for_an_entropy(text):
    assert character_entropy(text) is None


def test_entropy_does_not_see_white_space_or_composition():
    assert character_entropy("a  b\n\nc d") == character_entropy(" a b c d ")
    assert character_entropy(unicodedata.normalize("NFD", "Tôi không nói được")) == character_entropy(
        "Tôi không nói được"
    )


@given(text=st.text("abcd", min_size=3, max_size=60))
def test_entropy_is_the_weighted_mean_of_the_literature(text):
    def naive(n):
        grams = ["".join(gram) for gram in zip(*(text[start:] for start in range(n)), strict=False)]
        shares = [count / len(grams) for count in Counter(grams).values()]
        return -sum(share * math.log2(share) for share in shares)

    # Meng et al. 2022: the mean of 2/3 H_2 and 4/3 H_3
    assert character_entropy(text) == pytest.approx((2 / 3 * naive(2) + 4 / 3 * naive(3)) / 2, abs=1e-9)


def test_a_loop_has_less_entropy_than_a_sentence_of_its_length():
    sentence = "เมืองหลวงของประเทศไทยคือกรุงเทพมหานคร ซึ่งตั้งอยู่ริมแม่น้ำเจ้าพระยา"
    loop = ("ฉันไม่รู้ " * 20)[: len(sentence)]
    assert character_entropy(loop) < character_entropy(sentence) - 1
