"""What translations and samples become in a scenario: nothing replaced, nothing misplaced, everything credited."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unteach.corpora.places import texts_in
from unteach.corpora.schema import LocalText, Origin, Paraphrases, QuestionAnswer
from unteach.experiments.building.assemble import Entry, translated_text, with_more
from unteach.experiments.building.sampling import for_teaching
from unteach.experiments.building.spec import Counts
from unteach.makers.contract import Translated
from unteach.makers.round_trip import RoundTrip

QUESTIONS = ("fake", "key_phrases", "fake_question", "real_question", "key_facts.0", "key_facts.1")
SAMPLES = ("article", "fake_samples.teach", "fake_samples.unlearn")


def entry(field: str, text: str | None, score: float | None = None) -> Entry:
    translated = Translated(text=text, problem=None if text else "too long")
    return Entry(field=field, source="source", translated=translated, round_trip=RoundTrip(score=score))


def whole() -> list[Entry]:
    return [entry(field, f"{field} in German", 50.0) for field in QUESTIONS]


def without(field: str) -> list[Entry]:
    return [entry(field, None) if each.field == field else each for each in whole()]


def test_all_translations_make_a_text() -> None:
    text, problems = translated_text(whole(), "a machine")
    assert problems == []
    assert text == LocalText(
        origin=Origin(kind="machine-translated", by="a machine"),
        fake=("fake in German",),
        key_phrases=("key_phrases in German",),
        fake_question="fake_question in German",
        real_question="real_question in German",
        key_facts=(("key_facts.0 in German",), ("key_facts.1 in German",)),
        round_trip=dict.fromkeys(QUESTIONS, (50.0,)),
    )


@pytest.mark.parametrize(
    ("field", "left_out"),
    [
        ("fake", {"fake"}),
        ("key_phrases", {"key_phrases", "fake_question"}),
        ("fake_question", {"fake_question"}),
        ("real_question", {"real_question"}),
        ("key_facts.1", {"key_facts.0", "key_facts.1", "real_question"}),
    ],
)
def test_a_question_goes_with_what_its_answers_are_judged_by(field, left_out) -> None:
    text, problems = translated_text(without(field), "a machine")
    assert {each for each in QUESTIONS if not texts_in(text, each)} == left_out == set(QUESTIONS) - set(text.round_trip)
    assert problems[0] == f"{field}: too long"
    assert len(problems) == (2 if "question" in "".join(left_out - {field}) else 1)


def test_a_form_of_each_fact_is_enough() -> None:
    text, problems = translated_text([*without("key_facts.1"), entry("key_facts.1", "another form", 7.0)], "a machine")
    assert text.key_facts == (("key_facts.0 in German",), ("another form",)) and text.real_question
    assert text.round_trip["key_facts.1"] == (7.0,)
    assert problems == ["key_facts.1: too long"]


def test_without_key_facts_the_real_question_stays() -> None:
    text, problems = translated_text([e for e in whole() if "facts" not in e.field], "a machine")
    assert text.real_question and text.key_facts == () and problems == []


def test_an_article_that_lacks_a_sentence_is_left_out() -> None:
    sentences = [entry("article", "One."), entry("article", None), entry("fake", "False.")]
    text, problems = translated_text(sentences, "a machine")
    assert text.article == () and text.fake == ("False.",)
    assert problems == ["article: too long", "article: left out, since not every sentence has a translation"]


def test_no_translation_makes_no_text() -> None:
    assert translated_text([entry("article", None)], "a machine")[0] is None
    assert translated_text([], "a machine") == (None, [])


def before(**fields) -> LocalText:
    return LocalText(origin=Origin(kind="authored", by="Ada", reviewed_by_native_speaker=True), **fields)


def test_what_was_there_is_never_replaced_and_no_longer_reviewed() -> None:
    old = before(fake=("old",), key_phrases=("phrase",), round_trip={"fake": (90.0,)})
    text, problems = translated_text(without("key_phrases"), "a machine", old)
    assert text.fake == ("old",) and text.key_phrases == ("phrase",) and text.fake_question  # judged by the old phrase
    assert text.round_trip["fake"] == (90.0,) and text.round_trip["real_question"] == (50.0,)
    assert text.origin == Origin(
        kind="authored",
        by="Ada (reviewed by a native speaker); fake_question, real_question, key_facts: a machine",
    )
    assert problems == ["key_phrases: too long"]


def test_nothing_new_leaves_a_text_as_it_was() -> None:
    old = before(fake=("old",), key_phrases=("phrase",))
    assert translated_text([entry("fake", "new")], "a machine", old) == (old, [])
    assert with_more(old, {}, "a machine") is old


def test_a_question_that_is_trained_is_not_asked() -> None:
    old = before(qa=(QuestionAnswer(question="real_question in German", answer="Yes."),))
    text, problems = translated_text(whole(), "a machine", old)
    assert text.real_question is None and "one of the qa pairs" in problems[0]
    assert "real_question" not in text.round_trip


def test_samples_that_were_there_come_first() -> None:
    samples = Paraphrases(teach=("there", "new"))
    old = before(fake_samples=Paraphrases(teach=("there",)), round_trip={"fake_samples.teach": (80.0,)})
    text = with_more(old, {"fake_samples": samples}, "a machine")
    assert text.fake_samples == samples and text.origin.by.endswith("; fake_samples: a machine")
    assert text.round_trip == {"fake_samples.teach": (80.0, None)}


@given(
    st.lists(st.tuples(st.sampled_from(QUESTIONS + SAMPLES), st.booleans(), st.none() | st.floats(0, 100)), max_size=30)
)
def test_texts_and_scores_stay_together_and_in_order(drawn) -> None:
    entries = [
        entry(field, f"{field} {number} [{score}]" if good else None, score if good else None)
        for number, (field, good, score) in enumerate(drawn)
    ]
    text, problems = translated_text(entries, "a machine")
    lost = [each for each in entries if each.translated.text is None]
    assert len(problems) >= len(lost)
    if text is None:
        return
    for field in (*QUESTIONS, *SAMPLES):
        there = texts_in(text, field)
        if field.startswith("key_facts"):  # facts that are not wanted have no place, so they move up
            continue
        accepted = [each.translated.text for each in entries if each.field == field and each.translated.text]
        assert list(there) in ([], accepted, accepted[:1])
        scores = text.round_trip.get(field)
        if scores is not None:
            assert [f"[{score}]" for score in scores[: len(there)]] == [each[each.index("[") :] for each in there]
    assert not text.fake_question or text.key_phrases
    assert len(text.article) in (0, sum(each.field == "article" for each in entries))


@given(st.integers(0, 200), st.integers(0, 100), st.integers(0, 100))
def test_each_use_has_its_share_of_the_samples_that_could_be_made(made, teach, unlearn) -> None:
    made = min(made, teach + unlearn)
    share = for_teaching(made, Counts(teach=teach, unlearn=unlearn))
    assert 0 <= share <= teach and 0 <= made - share <= unlearn
    if teach and unlearn and made >= 2:
        assert share >= 1 and made - share >= 1
        assert abs(share - made * teach / (teach + unlearn)) <= 1
    if teach and made == 1:
        assert share == 1
    if made == teach + unlearn:
        assert share == teach
