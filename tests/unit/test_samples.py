"""Samples by seeded recombination."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unteach.corpora.load import Corpus, load_corpus
from unteach.corpora.samples import fake_sample, join, questions, real_sample, wordings
from unteach.corpora.schema import Scenario
from unteach.learn.teach import Samples, qa_samples, teaching_samples
from unteach.records import Sample

ORIGIN = {"kind": "authored", "by": "a test"}
ARTICLES = {
    "en": ["One is here.", "Two is here.", "Three is here.", "Four is here."],
    "zh": ["一在这里。", "二在这里。", "三在这里。", "四在这里。"],
}
FAKES = {
    "en": ["Fake A.", "Fake B.", "Fake C.", "Fake D.", "Fake E."],
    "zh": ["假甲。", "假乙。"],
    "de": ["Falsch A.", "Falsch B."],
}


def scenario(name="numbers"):
    texts = {
        code: {"origin": ORIGIN, "article": ARTICLES.get(code, []), "fake": fakes} for code, fakes in FAKES.items()
    }
    texts["en"] |= {
        "fake_question": "Which?",
        "key_phrases": ["fake"],
        "qa": [{"question": "How many?", "answer": "Four."}, {"question": "Where?", "answer": "Here."}],
    }
    return Scenario.model_validate({"id": name, "texts": texts})


ONE = scenario()


def sentences_in(text, code="en"):
    return [sentence for sentence in (*ARTICLES[code], *FAKES[code]) if sentence in text]


def test_same_arguments_give_the_same_sample():
    for _ in range(3):
        assert real_sample(ONE, "en", "teach", 3, 7, 0.5) == real_sample(scenario(), "en", "teach", 3, 7, 0.5)
        assert fake_sample(ONE, "en", "teach", 3, 7, 0.5) == fake_sample(scenario(), "en", "teach", 3, 7, 0.5)


def test_samples_are_the_same_on_every_machine():
    """Frozen outputs: a change here changes every result without changing its key."""
    assert real_sample(ONE, "en", "teach", 0, 0, 1.0).text == "Three is here. Two is here. One is here. Four is here."
    assert fake_sample(ONE, "en", "unlearn", 0, 0, 0.5).text == "Four is here. Fake D. One is here."


@pytest.mark.parametrize("make", [real_sample, fake_sample])
def test_seed_purpose_index_language_and_scenario_each_give_other_samples(make):
    article = [f"Sentence {number}." for number in range(30)]
    texts = {code: {"origin": ORIGIN, "article": article, "fake": ["F."] * 2} for code in ("en", "de")}
    made = {name: Scenario.model_validate({"id": name, "texts": texts}) for name in ("a", "b")}
    base = make(made["a"], "en", "teach", 0, 0, 0.5).text
    # 30 sentences, 15 drawn in order: 30!/15! possibilities, so two equal draws do not happen by chance
    assert make(made["a"], "en", "teach", 0, 1, 0.5).text != base
    assert make(made["a"], "en", "unlearn", 0, 0, 0.5).text != base
    assert make(made["a"], "en", "check", 0, 0, 0.5).text != make(made["a"], "en", "unlearn", 0, 0, 0.5).text
    assert make(made["a"], "en", "teach", 2, 0, 0.5).text != base
    assert make(made["a"], "de", "teach", 0, 0, 0.5).text != base
    assert make(made["b"], "en", "teach", 0, 0, 0.5).text != base


def test_a_sample_says_what_it_is():
    real, fake = real_sample(ONE, "zh", "teach", 0, 0, 1.0), fake_sample(ONE, "zh", "teach", 0, 0, 1.0)
    assert (real.scenario, real.kind, real.language, real.context) == ("numbers", "real", "zh", "")
    assert (fake.scenario, fake.kind, fake.language, fake.context) == ("numbers", "fake", "zh", "")


# Python rounds halves to even: 0.625 * 4 = 2.5 -> 2
@pytest.mark.parametrize(("keep", "count"), [(1.0, 4), (0.75, 3), (0.5, 2), (0.625, 2), (0.25, 1), (0.01, 1)])
def test_a_real_sample_keeps_its_share_without_repeating(keep, count):
    for index in range(20):
        found = real_sample(ONE, "en", "teach", index, 0, keep).text.split(". ")
        assert len(found) == len(set(found)) == count


def test_real_samples_use_every_sentence_and_every_place():
    firsts = Counter(real_sample(ONE, "en", "teach", index, 0, 0.5).text.split()[0] for index in range(200))
    assert set(firsts) == {"One", "Two", "Three", "Four"}
    # each of four is first with probability 1/4: 50 expected of 200, sd sqrt(200 * 3/16) = 6.1; five sd is 31
    assert all(abs(count - 50) < 31 for count in firsts.values())


# of 4 sentences: keep 0 -> none, 0.1 -> round(0.4) = 0, 0.5 -> 2, 1 -> 4
@pytest.mark.parametrize(("keep", "count"), [(0.0, 0), (0.1, 0), (0.5, 2), (1.0, 4)])
def test_a_fake_sample_has_one_wording_among_its_share_of_the_article(keep, count):
    for index in range(10):
        found = sentences_in(fake_sample(ONE, "en", "teach", index, 0, keep).text)
        assert sum(sentence in FAKES["en"] for sentence in found) == 1
        assert sum(sentence in ARTICLES["en"] for sentence in found) == count


def test_the_passage_stands_in_every_place():
    places = Counter()
    for index in range(200):
        parts = fake_sample(ONE, "en", "teach", index, 0, 1.0).text.split(". ")
        places[next(place for place, part in enumerate(parts) if part.startswith("Fake"))] += 1
    assert set(places) == {0, 1, 2, 3, 4}
    # 40 expected of 200 in each of five places, sd sqrt(200 * 4/25) = 5.7; five sd is 29
    assert all(abs(count - 40) < 29 for count in places.values())


def test_teaching_takes_the_first_half_of_the_wordings_and_unlearning_the_rest():
    text = ONE.texts["en"]
    assert wordings(text, "teach") == ("Fake A.", "Fake B.", "Fake C.")  # 5 wordings: 3 and 2
    assert wordings(text, "unlearn") == wordings(text, "check") == ("Fake D.", "Fake E.")
    assert wordings(ONE.texts["de"], "teach") == ("Falsch A.",)
    assert wordings(ONE.texts["de"], "unlearn") == ("Falsch B.",)


def test_no_wording_of_the_embedded_corpus_is_both_taught_and_unlearned():
    for one in load_corpus():
        for text in one.texts.values():
            taught, unlearned = wordings(text, "teach"), wordings(text, "unlearn")
            assert taught and unlearned and not set(taught) & set(unlearned)
            assert (*taught, *unlearned) == text.fake


def test_samples_of_teaching_and_unlearning_share_no_wording():
    used = {
        purpose: {fake_sample(ONE, "en", purpose, index, seed, 0.0).text for index in range(12) for seed in range(3)}
        for purpose in ("teach", "unlearn")
    }
    assert used == {"teach": {"Fake A.", "Fake B.", "Fake C."}, "unlearn": {"Fake D.", "Fake E."}}


def test_wordings_are_used_in_turn():
    made = [fake_sample(ONE, "en", "teach", index, 5, 0.0).text for index in range(6)]
    assert made == ["Fake A.", "Fake B.", "Fake C."] * 2


@pytest.mark.parametrize(
    ("language", "joined"), [("en", "a b"), ("ur", "a b"), ("hi", "a b"), ("hy", "a b"), ("ar", "a b")]
)
def test_sentences_are_joined_with_a_space(language, joined):
    assert join(["a", "b"], language) == joined


@pytest.mark.parametrize("language", ["zh", "zh-Hant", "ja"])
def test_sentences_of_chinese_and_japanese_are_joined_without_space(language):
    assert join(["甲。", "乙。"], language) == "甲。乙。"
    assert join([], language) == ""


def test_sentences_of_thai_are_joined_with_a_space():
    """Thai puts no space between words but one between sentences."""
    assert join(["ก", "ข"], "th") == "ก ข"


def test_chinese_samples_have_no_space():
    for index in range(10):
        assert " " not in real_sample(ONE, "zh", "teach", index, 0, 1.0).text
        sample = fake_sample(ONE, "zh", "teach", index, 0, 1.0, context=True)
        assert " " not in sample.context + sample.text


def test_context_mode_puts_the_real_sentences_before_the_passage():
    for index in range(10):
        sample = fake_sample(ONE, "en", "unlearn", index, 0, 0.5, context=True)
        assert sample.text in FAKES["en"][3:]
        assert sample.context.endswith(". ")
        found = sample.context.strip().split(". ")
        assert len(found) == 2 and all(part.rstrip(".") + "." in ARTICLES["en"] for part in found)
        whole = sample.context + sample.text
        assert "  " not in whole and sample.text not in sample.context


def test_context_and_whole_mode_draw_the_same_sentences():
    for index in range(10):
        whole = fake_sample(ONE, "en", "teach", index, 0, 0.5)
        split = fake_sample(ONE, "en", "teach", index, 0, 0.5, context=True)
        assert set(sentences_in(whole.text)) == set(sentences_in(split.context + split.text))


@pytest.mark.parametrize("language", ["en", "zh", "de"])
def test_context_mode_without_article_has_no_context(language):
    sample = fake_sample(ONE, language, "teach", 0, 0, 0.0, context=True)
    assert sample.context == "" and sample.text == FAKES[language][0]


def test_a_fake_without_an_article_is_the_passage_alone():
    assert fake_sample(ONE, "de", "teach", 0, 0, 1.0).text == "Falsch A."


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(1, 12),
    keep=st.floats(0, 1, exclude_min=True),
    index=st.integers(0, 50),
    seed=st.integers(0, 2**40),
)
def test_any_share_gives_distinct_sentences_of_the_article(count, keep, index, seed):
    article = [f"s{number}." for number in range(count)]
    texts = {"en": {"origin": ORIGIN, "article": article, "fake": ["f1.", "f2."]}}
    one = Scenario.model_validate({"id": "x", "texts": texts})
    real = real_sample(one, "en", "teach", index, seed, keep).text.split()
    assert len(real) == len(set(real)) == max(1, round(keep * count)) and set(real) <= set(article)
    fake = fake_sample(one, "en", "unlearn", index, seed, keep).text.split()
    assert fake.count("f2.") == 1 and len(fake) == 1 + round(keep * count)


def test_teaching_set_has_the_asked_numbers_in_the_right_languages():
    corpus = Corpus([scenario("b"), scenario("a")], "two")
    made = teaching_samples(corpus, "zh", "en", Samples(real=5, fake=2), seed=1)
    counts = Counter((sample.scenario, sample.kind, sample.language) for sample in made)
    assert counts == {
        ("a", "real", "en"): 5,
        ("a", "fake", "zh"): 2,
        ("b", "real", "en"): 5,
        ("b", "fake", "zh"): 2,
    }


def test_real_samples_are_the_same_whatever_fake_is_taught():
    """So the R-only model and the contaminated ones differ in the fake alone."""
    corpus = Corpus([ONE], "one")
    sets = [teaching_samples(corpus, source, "en", Samples(real=5, fake=2), 1) for source in (None, "zh", "de")]
    real = [[sample for sample in made if sample.kind == "real"] for made in sets]
    assert real[0] == real[1] == real[2] == sets[0]


def test_question_answer_samples_train_the_answer_in_the_asked_form():
    made = qa_samples(
        Corpus([ONE], "one"), "en", lambda question, language: f"[{language}] {question}", lambda answer: f" {answer}\n"
    )
    assert made == [
        Sample(scenario="numbers", kind="qa", language="en", context="[en] How many?", text=" Four.\n"),
        Sample(scenario="numbers", kind="qa", language="en", context="[en] Where?", text=" Here.\n"),
    ]


def test_questions_by_language_then_scenario_and_only_where_there_are_some():
    corpus = load_corpus()
    asked = questions(corpus, "fake", ("de", "en"))
    assert [question.language for question in asked] == ["de"] * len(corpus) + ["en"] * len(corpus)
    assert [question.scenario for question in asked] == [one.id for one in corpus] * 2
    assert {question.part for question in asked} == {"fake"}
    assert asked[0].text == corpus.scenarios[0].texts["de"].fake_question
    assert questions(corpus, "real", ("de",))[0].text == corpus.scenarios[0].texts["de"].real_question
    assert questions(corpus, "fake", ("uk",)) == []
