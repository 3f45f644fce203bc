"""In which languages models answer: Table 1 of paper A, by hand on a few answers."""

import pytest

from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.intervals import clustered_rate
from unteach.records import HeldLanguages

GERMAN, URDU, ENGLISH = (ModelTag("contaminated", code) for code in ("de", "ur", "en"))


def holds(language, *held, part="fake"):
    """One answer a scenario s0, s1, ...: ``"en de"`` holds both, ``None`` cannot be told, ``""`` holds none."""
    return [
        HeldLanguages(
            scenario=f"s{number}",
            part=part,
            language=language,
            held=None if each is None else tuple(each.split()),
        )
        for number, each in enumerate(held)
    ]


def measured(*models, languages=("en", "de", "fr", "ur", "ha")):
    return MEASURES.parse("answer_language")(Evidence("my-run", {m.tag.name: m for m in models}, languages))


def cells(rows, source="de", language=None):
    """Group -> row, of one model and question language."""
    found = [row for row in rows if (row.source_language, row.question_language) == (source, language)]
    assert len({row.group for row in found}) == len(found)
    return {row.group: row for row in found}


def values(rows, source="de", language=None):
    return {group: row.value for group, row in cells(rows, source, language).items()}


def test_shares_of_answers_that_hold_english_the_questions_language_and_the_fakes():
    german = ModelEvidence(
        GERMAN,
        held=[*holds("fr", "fr", "en fr", "de", "en de"), *holds("ur", "en", "en ur", "de", "ha")],
    )
    rows = measured(german)
    assert values(rows) == {
        "F/high/english": 0.5,
        "F/high/question": 0.5,
        "F/high/fake": 0.5,
        "F/low/english": 0.5,
        "F/low/question": 0.25,
        "F/low/fake": 0.25,
    }
    row = cells(rows)["F/high/english"]
    assert (row.run, row.metric, row.model, row.strategy, row.checkpoint) == (
        "my-run",
        "answer_language",
        "contaminated",
        None,
        None,
    )
    assert (row.n, row.unscored) == (4, 0)
    assert (row.ci_low, row.ci_high) == clustered_rate([[0], [1], [0], [1]])


def test_an_answer_may_hold_several_so_shares_do_not_add_to_one():
    found = values(measured(ModelEvidence(GERMAN, held=holds("fr", "en fr de", "en fr de"))))
    assert found == {"F/high/english": 1.0, "F/high/question": 1.0, "F/high/fake": 1.0}
    found = values(measured(ModelEvidence(GERMAN, held=holds("fr", "ha", "ur"))))
    assert found == {"F/high/english": 0.0, "F/high/question": 0.0, "F/high/fake": 0.0}


def test_questions_in_english_are_left_out():
    asked = holds("fr", "en", "fr")
    alone = measured(ModelEvidence(GERMAN, held=asked))
    assert measured(ModelEvidence(GERMAN, held=[*holds("en", "en", "en", "de"), *asked])) == alone
    assert {row.question_language for row in alone} == {None, "fr"}
    assert measured(ModelEvidence(GERMAN, held=holds("en", "en"))) == []


def test_questions_in_languages_beyond_those_of_the_run_are_left_out():
    asked = holds("fr", "en", "fr")
    rows = measured(ModelEvidence(GERMAN, held=[*asked, *holds("hi", "hi", "hi"), *holds("es", "es", "es")]))
    assert rows == measured(ModelEvidence(GERMAN, held=asked))


def test_a_language_without_a_resource_level_is_in_neither_group():
    rows = measured(ModelEvidence(GERMAN, held=holds("nl", "nl", "en")), languages=("en", "nl"))
    assert rows == []


def test_parts_are_apart():
    rows = measured(ModelEvidence(GERMAN, held=[*holds("fr", "fr", "fr", part="real"), *holds("fr", "en", "en")]))
    assert values(rows) == {
        "R/high/english": 0.0,
        "R/high/question": 1.0,
        "R/high/fake": 0.0,
        "F/high/english": 1.0,
        "F/high/question": 0.0,
        "F/high/fake": 0.0,
    }


def test_every_question_language_has_rows_of_its_own():
    held = [*holds("fr", "fr", "en"), *holds("de", "de", "de"), *holds("ur", "en", "en")]
    rows = measured(ModelEvidence(GERMAN, held=held))
    assert values(rows, language="fr") == {"F/high/english": 0.5, "F/high/question": 0.5, "F/high/fake": 0.0}
    # asked in the language of the fake, the two are the same
    assert values(rows, language="de") == {"F/high/english": 0.0, "F/high/question": 1.0, "F/high/fake": 1.0}
    assert values(rows, language="ur") == {"F/low/english": 1.0, "F/low/question": 0.0, "F/low/fake": 0.0}
    assert values(rows)["F/high/question"] == 0.75
    assert {row.n for group, row in cells(rows).items() if "high" in group} == {4}


def test_all_models_are_pooled_each_with_its_own_fake():
    german = ModelEvidence(GERMAN, held=holds("fr", "de", "en"))
    urdu = ModelEvidence(URDU, held=holds("fr", "de", "ur"))
    english = ModelEvidence(ENGLISH, held=holds("fr", "fr", "en"))
    rows = measured(german, urdu, english)
    pooled = cells(rows, source="any")
    assert {group: row.value for group, row in pooled.items()} == {
        "F/high/english": pytest.approx(2 / 6),
        "F/high/question": pytest.approx(1 / 6),
        "F/high/fake": 0.5,  # German's German, Urdu's Urdu, English's English
    }
    row = pooled["F/high/fake"]
    assert (row.n, row.model) == (6, "contaminated")
    # a scenario's answers, of whatever model, are one cluster
    assert (row.ci_low, row.ci_high) == clustered_rate([[1, 0, 0], [0, 1, 1]])
    assert list(dict.fromkeys(row.source_language for row in rows)) == ["de", "ur", "en", "any"]


def test_answers_in_several_languages_on_a_scenario_are_one_cluster():
    rows = measured(ModelEvidence(GERMAN, held=[*holds("fr", "en", "en"), *holds("de", "de", "en")]))
    row = cells(rows)["F/high/english"]
    assert (row.n, row.value) == (4, 0.75)
    assert (row.ci_low, row.ci_high) == clustered_rate([[1, 0], [1, 1]])


def test_answers_whose_language_cannot_be_told_are_unscored():
    rows = measured(ModelEvidence(GERMAN, held=[*holds("fr", "en", None, "fr"), *holds("ur", None, None)]))
    found = cells(rows)
    for which in ("english", "question", "fake"):
        row = found[f"F/high/{which}"]
        assert (row.n, row.unscored) == (2, 1)
    assert found["F/high/english"].value == 0.5
    row = found["F/low/question"]
    assert (row.n, row.unscored, row.value, row.ci_low, row.ci_high) == (0, 2, None, None, None)


def test_only_contaminated_models_are_in_the_table():
    held = holds("fr", "fr", "en")
    others = [
        ModelEvidence(ModelTag("r_only"), held=held),
        ModelEvidence(ModelTag("unlearned", "de", "source", "grad_diff"), held=held),
    ]
    assert measured(*others) == []
    assert measured(*others, ModelEvidence(GERMAN, held=held)) == measured(ModelEvidence(GERMAN, held=held))


def test_seeds_and_variants_are_pooled_each_by_itself():
    tags = [ModelTag("contaminated", "de", seed=seed, variant=variant) for seed in (0, 1) for variant in ("a", "b")]
    rows = measured(*[ModelEvidence(tag, held=holds("fr", "fr", "en")) for tag in tags])
    pooled = [row for row in rows if row.source_language == "any" and row.question_language is None]
    assert {(row.seed, row.variant, row.n) for row in pooled} == {(tag.seed, tag.variant, 2) for tag in tags}
