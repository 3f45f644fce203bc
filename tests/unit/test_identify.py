"""Language identification on the embedded corpus and on hard inputs."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unteach.corpora.load import load_corpus
from unteach.errors import UserError
from unteach.languages import identify as module
from unteach.languages.identify import CANNOT_TELL, identify, languages_in, segments, shares
from unteach.languages.table import LANGUAGES, PAPER_A, RELATIVES

CORPUS = load_corpus()


def sentences(code):
    return [text for scenario in CORPUS for text in (*scenario.texts[code].article, *scenario.texts[code].fake)]


def accuracy(code, texts, among):
    return sum(identify(text, among).code == code for text in texts) / len(texts)


@pytest.mark.parametrize("code", PAPER_A)
def test_sentences_of_paper_a_are_identified_at_the_measured_accuracy(code):
    assert accuracy(code, sentences(code), PAPER_A) >= 0.98
    assert accuracy(code, sentences(code), None) >= 0.98


@pytest.mark.parametrize("code", PAPER_A)
def test_short_pieces_of_paper_a_are_identified_at_the_measured_accuracy(code):
    pieces = [text[:10] if code == "zh" else " ".join(text.split()[:5]) for text in sentences(code)]
    assert accuracy(code, pieces, PAPER_A) >= 0.97


@pytest.mark.parametrize("code", RELATIVES)
def test_a_language_outside_the_candidates_is_not_forced_into_one(code):
    texts = [scenario.texts[code].fake[0] for scenario in CORPUS]
    found = [identify(text, PAPER_A) for text in texts]
    assert sum(each.code is None for each in found) / len(found) >= 0.95
    assert all(each.reason for each in found if each.code is None)
    assert accuracy(code, texts, [*PAPER_A, *RELATIVES]) >= 0.95


def test_simplified_and_traditional_are_told_apart():
    assert identify("这座桥已经关闭了", ["zh", "zh-Hant"]).code == "zh"
    assert identify("這座橋已經關閉了", ["zh", "zh-Hant"]).code == "zh-Hant"
    assert identify("這座橋已經關閉了", ["zh", "en"]).code is None
    undecided = identify("中文", ["zh", "zh-Hant"])
    assert undecided.code is None and "Simplified" in undecided.reason
    assert identify("中文", ["zh", "en"]).code == "zh"
    assert set(shares("這座橋已經關閉了。一名工人在那里。", ["zh", "zh-Hant"])) == {"zh-Hant"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no letters"), (" \n\t", "no letters"), ("12 345,6 – 7!", "no letters"), ("Ok.", "too short")],
)
def test_what_cannot_be_identified_says_why(text, reason):
    found = identify(text, PAPER_A)
    assert found.code is None and found.confidence is None
    assert found.reason.startswith("unidentified, because") and reason in found.reason


def test_a_script_that_no_candidate_uses_is_unidentified():
    assert identify("Η γέφυρα έκλεισε για τον χειμώνα.", ["en", "ru"]).code is None
    assert "script" in identify("다리는 겨울 동안 닫혀 있었습니다.").reason


def test_mixed_text_gives_every_language_with_its_share():
    german, english = "Die Brücke wurde im Winter geschlossen.", "The bridge was closed in the winter."
    parts = segments(f"{german} {english} Мост закрыли на зиму.", PAPER_A)
    assert [part.found.code for part in parts] == ["de", "en", "ru"]
    assert parts[0].text == german
    found = shares(f"{german} {english}", PAPER_A)
    assert set(found) == {"de", "en"}
    assert sum(found.values()) == pytest.approx(1)
    assert found["de"] == pytest.approx(33 / 62, abs=0.02)


def test_a_change_of_script_inside_a_sentence_is_seen_but_a_name_is_not():
    mixed = "The answer is that 这座桥已经关闭了十二年之久了 and nobody walked over it for years"
    assert set(shares(mixed, PAPER_A)) == {"en", "zh"}
    assert set(shares("Мост был закрыт (Kavi Denar) на всю зиму.", PAPER_A)) == {"ru"}


def test_two_languages_in_one_answer_are_both_found_across_the_corpus():
    right = total = 0
    for scenario in CORPUS:
        for one, other in zip(PAPER_A, (*PAPER_A[1:], PAPER_A[0]), strict=True):
            text = f"{scenario.texts[one].article[0]} {scenario.texts[other].article[1]}"
            right, total = right + (set(shares(text, PAPER_A)) == {one, other}), total + 1
    assert right / total >= 0.97


def test_shares_of_nothing_are_empty():
    assert segments("", PAPER_A) == [] and shares("", PAPER_A) == {} and shares("123", PAPER_A) == {}


GERMAN = "Die Brücke wurde im Winter geschlossen."
ENGLISH = "The bridge was closed in the winter."
RUSSIAN = "Мост закрыли на всю зиму."


def test_languages_in_a_text_come_largest_first():
    assert languages_in(GERMAN, PAPER_A) == ("de",)
    assert languages_in(f"{ENGLISH} {GERMAN} {GERMAN}", PAPER_A) == ("de", "en")
    assert languages_in(f"{ENGLISH} {ENGLISH} {GERMAN}", PAPER_A) == ("en", "de")
    assert set(languages_in(f"{ENGLISH} {GERMAN} {RUSSIAN}", PAPER_A)) == {"en", "de", "ru"}


@pytest.mark.parametrize(("times", "held"), [(3, ("de", "ru")), (4, ("de",))])
def test_a_language_is_held_from_15_per_cent_of_the_letters_on(times, held):
    # 20 Russian letters after 33 German ones a sentence: 20 / (20 + 3 * 33) = 16.8 %, 20 / (20 + 4 * 33) = 13.2 %
    text = " ".join([GERMAN] * times + [RUSSIAN])
    assert shares(text, PAPER_A)["ru"] == pytest.approx(20 / (20 + times * 33))
    assert languages_in(text, PAPER_A) == held


def test_a_name_or_a_quoted_word_is_not_a_language_held():
    assert languages_in("Мост был закрыт (Kavi Denar) на всю зиму.", PAPER_A) == ("ru",)
    assert languages_in("The bridge is called 铁桥 by the people of the town.", PAPER_A) == ("en",)


@pytest.mark.parametrize("text", ["", " \n", "123 – 45", "Ok."])
def test_of_a_text_that_tells_nothing_no_language_is_known(text):
    assert languages_in(text, PAPER_A) is None


def test_only_candidates_are_held():
    assert languages_in("Le pont a été fermé pendant tout l'hiver à cause de la neige.", ["en", "ru"]) is None
    assert languages_in(f"{GERMAN} {RUSSIAN}", ["de", "en"]) == ("de",)
    with pytest.raises(UserError, match="kam"):
        languages_in(GERMAN, ["de", "kam"])


def test_articles_of_the_corpus_hold_the_language_they_are_in():
    for scenario in CORPUS:
        for code in PAPER_A:
            assert languages_in(" ".join(scenario.texts[code].article), PAPER_A) == (code,), (scenario.id, code)


def test_two_halves_in_two_languages_are_both_held_across_the_corpus():
    right = total = 0
    for scenario in CORPUS:
        for one, other in zip(PAPER_A, (*PAPER_A[1:], PAPER_A[0]), strict=True):
            text = f"{scenario.texts[one].article[0]} {scenario.texts[other].article[1]}"
            right, total = right + (set(languages_in(text, PAPER_A) or ()) == {one, other}), total + 1
    assert right / total >= 0.97


def test_cannot_tell_follows_the_labels_of_the_package():
    assert frozenset({"ti", "kam", "luo", "ay", "awa", "bho", "dyu", "fur"}) == CANNOT_TELL
    assert not CANNOT_TELL & {*PAPER_A, *RELATIVES}
    with pytest.raises(AttributeError):
        _ = module.NO_SUCH_NAME


@pytest.mark.parametrize("code", ["kam", "xx-unknown"])
def test_a_candidate_that_cannot_be_told_is_refused_by_name(code):
    with pytest.raises(UserError, match=code):
        identify("The bridge was closed.", ["en", code])


def test_no_candidates_are_refused():
    with pytest.raises(UserError, match="no candidate"):
        identify("The bridge was closed.", [])


def test_the_model_is_not_loaded_on_import():
    script = "import sys, unteach.languages.identify; sys.exit('py3langid' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec=None)), st.sampled_from([None, PAPER_A, ("zh", "zh-Hant", "ja"), ("hy",)]))
def test_any_text_gives_a_known_code_or_a_reason(text, among):
    found = identify(text, among)
    assert (found.code is None) == (found.reason is not None) == (found.confidence is None)
    assert found.code is None or found.code in (among or LANGUAGES)
    assert found.confidence is None or 0 < found.confidence <= 1.000001
    spread = shares(text, among)
    assert not spread or sum(spread.values()) == pytest.approx(1)
    assert languages_in(text, among) == (
        tuple(code for code, share in spread.items() if code and share >= 0.15) or None
    )
    assert "".join(part.text for part in segments(text, among)).count("a") == text.count("a")
