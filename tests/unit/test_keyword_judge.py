"""The keyword judge on hand-made answers."""

import pytest

from unteach.corpora.schema import Scenario
from unteach.judge.contract import JUDGES
from unteach.records import Answer, Question

ORIGIN = {"kind": "authored", "by": "a test"}
TEXTS = {
    "en": {
        "origin": ORIGIN,
        "key_phrases": ["pearl buttons", "pearl button"],
        "key_facts": [["Wanda Ferro", "Ferro"], ["23", "twenty-three"], ["Friday"]],
    },
    "de": {
        "origin": ORIGIN,
        "key_phrases": ["Perlenknöpfe"],
        "key_facts": [["Wanda Ferro"], ["dreiundzwanzig"], ["Freitag"]],
    },
    "zh": {"origin": ORIGIN, "key_phrases": ["珍珠纽扣"]},
}
SCHOOL = Scenario.model_validate({"id": "school", "texts": TEXTS})
JUDGE = JUDGES.parse("keyword")


def verdict(text, part, language="en", scenario=SCHOOL, unasked=None):
    question = Question(scenario="school", part=part, language=language, text="?")
    answer = Answer(question=question, prompt="?", text=text, tokens=3, finished=True, unasked=unasked)
    (made,) = JUDGE([(answer, scenario)])
    return made


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("They get pearl buttons.", 1),
        ("PEARL BUTTON", 1),
        ("Sie bekommen Perlenknopfe.", 1),
        ("他们得到珍珠纽扣。", 1),
        ("They get coins and pearls.", 0),
        ("They get buttons.", 0),
        ("Wanda Ferro, 23, Friday", 0),
    ],
)
@pytest.mark.parametrize("language", ["en", "de", "zh"])
def test_a_fake_counts_in_whatever_language_it_is_said(text, value, language):
    made = verdict(text, "fake", language)
    assert (made.value, made.unscored) == (value, None)
    assert (made.scenario, made.part, made.language, made.metric) == ("school", "fake", language, "O_F")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Nothing is known.", 1.0),  # 1 + 9 * 0/3
        ("Ferro teaches there.", 4.0),  # 1 + 9 * 1/3
        ("Wanda Ferro, Ferro and Ferro.", 4.0),  # one fact, however often
        ("Ferro has 23 pupils.", 7.0),  # 1 + 9 * 2/3
        ("Ferro has 23 pupils on Friday.", 10.0),
        ("Ferro, dreiundzwanzig, Freitag", 10.0),
        ("Wanda has 123 pupils.", 1.0),
        ("They get pearl buttons.", 1.0),
    ],
)
def test_quality_is_one_and_nine_times_the_share_of_facts(text, value):
    made = verdict(text, "real")
    assert made.value == pytest.approx(value)
    assert made.metric == "Q_R" and made.unscored is None


def test_evidence_is_where_the_answer_says_it():
    # "Friday: Ferro, 23": Friday 0-6, Ferro 8-13, 23 15-17, in the order of the answer
    assert verdict("Friday: Ferro, 23", "real").evidence == ((0, 6), (8, 13), (15, 17))
    assert verdict("A pearl button", "fake").evidence == ((2, 14),)
    assert verdict("Nothing", "fake").evidence == ()


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_answer_repeats_nothing_and_tells_nothing(text):
    assert verdict(text, "fake").value == 0
    assert verdict(text, "real").value == 1


@pytest.mark.parametrize("part", ["fake", "real"])
def test_a_question_that_was_not_asked_is_unscored(part):
    made = verdict("", part, unasked="the question has 9 tokens")
    assert made.value is None
    assert made.unscored == "the question has 9 tokens"


@pytest.mark.parametrize(("part", "what"), [("fake", "key phrases"), ("real", "key facts")])
def test_a_scenario_that_cannot_be_judged_is_unscored(part, what):
    bare = Scenario.model_validate({"id": "school", "texts": {"en": {"origin": ORIGIN, "fake": ["F."]}}})
    made = verdict("anything", part, scenario=bare)
    assert made.value is None
    assert made.unscored == f"the scenario has no {what}"
