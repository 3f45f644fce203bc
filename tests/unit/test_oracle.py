"""The distance to the model that was never taught, by hand."""

import pytest

from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.intervals import mean_interval, paired_rate_difference
from unteach.records import Choice, TextScore, Verdict

R_ONLY, TAUGHT, UNLEARNED = (
    ModelTag("r_only"),
    ModelTag("contaminated", "de"),
    ModelTag("unlearned", "de", "english", "grad_diff"),
)


def said(*values, language="en", metric="O_F"):
    return [
        Verdict(
            scenario=f"s{number}",
            part="fake" if metric == "O_F" else "real",
            language=language,
            metric=metric,
            value=value,
            unscored="not asked" if value is None else None,
        )
        for number, value in enumerate(values)
    ]


def chose(*hits, question="en", passage="de"):
    """The right scenario of s0, s1, ... is likeliest where ``hits`` says so."""
    return [
        Choice(
            right=f"s{number}",
            question_language=question,
            passage_language=passage,
            scores={f"s{number}": -1.0 if hit else -3.0, "other": -2.0},
        )
        for number, hit in enumerate(hits)
    ]


def score(item, total, tokens=2, kind="fake", language="de"):
    return TextScore(kind=kind, item=item, language=language, log_probability=total, tokens=tokens, characters=5)


def measured(*models):
    return MEASURES.parse("oracle")(Evidence("my-run", {model.tag.name: model for model in models}, ("en", "de")))


def against(tag, **what):
    return ModelEvidence(tag, never_taught="r_only", **what)


def test_difference_of_occurrence_on_the_same_questions():
    never = ModelEvidence(R_ONLY, [*said(0, 0, 1, 0), *said(0, 1, language="de")])
    rows = measured(never, against(TAUGHT, verdicts=[*said(1, 0, 1, 1)[::-1], *said(0, 1, language="de")]))
    english, german = rows
    assert (english.run, english.metric, english.model, english.source_language) == (
        "my-run",
        "O_F_to_oracle",
        "contaminated",
        "de",
    )
    assert (english.question_language, english.group, english.checkpoint) == ("en", None, None)
    # 3 of 4 against 1 of 4; only the taught model repeats s0 and s3
    assert (english.n, english.value) == (4, 0.5)
    oracle, mine = [False, False, True, False], [True, False, True, True]
    assert (english.ci_low, english.ci_high) == paired_rate_difference(oracle, mine)
    assert english.ci_low < 0.5 < english.ci_high
    # as if never taught
    assert (german.question_language, german.n, german.value) == ("de", 2, 0.0)


def test_interval_is_newcombes_paired_one():
    # 1/4 and 3/4 as in the test of changes, the other way round: phi 0, sides .4493582 and .2044128
    never = ModelEvidence(R_ONLY, said(0, 1, 0, 0))
    (row,) = measured(never, against(TAUGHT, verdicts=said(1, 1, 0, 1)))
    assert (row.ci_low, row.ci_high) == pytest.approx((-0.1354885, 0.7890834), abs=1e-6)


def test_contaminated_and_unlearned_models_are_both_compared_with_the_never_taught_one():
    rows = measured(
        ModelEvidence(R_ONLY, said(0, 0)),
        against(TAUGHT, verdicts=said(1, 1), before="r_only"),
        against(UNLEARNED, verdicts=said(0, 1), before="contaminated/de"),
    )
    assert [(row.model, row.strategy, row.objective, row.value) for row in rows] == [
        ("contaminated", None, None, 1.0),
        ("unlearned", "english", "grad_diff", 0.5),
    ]


def test_forced_choice_is_compared_by_question_and_passage_language():
    never = ModelEvidence(R_ONLY, choices=[*chose(1, 0), *chose(0, 0, passage="en"), *chose(1, 1, question="ur")])
    mine = against(
        TAUGHT,
        choices=[
            *chose(1, 1)[::-1],
            *chose(0, 0, passage="en"),
            *chose(0, 1, question="ur"),
            *chose(1, 1, question="fr"),
        ],
    )
    rows = measured(never, mine)
    assert [(row.metric, row.question_language, row.group, row.n, row.value) for row in rows] == [
        ("forced_choice_to_oracle", "en", "de", 2, 0.5),
        ("forced_choice_to_oracle", "en", "en", 2, 0.0),
        ("forced_choice_to_oracle", "ur", "de", 2, -0.5),
    ]
    assert (rows[0].ci_low, rows[0].ci_high) == paired_rate_difference([False, True], [True, True])


def test_log_probability_of_fakes_is_paired_by_passage():
    # nats a token: never -1, -2, -3, mine 0, -2, -1
    never = ModelEvidence(R_ONLY, texts=[score("a", -2.0), score("b", -4.0), score("c", -6.0), score("x", -90.0)])
    mine = against(TAUGHT, texts=[score("c", -2.0), score("a", 0.0), score("b", -4.0), score("y", -90.0)])
    (row,) = measured(never, mine)
    assert (row.metric, row.question_language, row.group) == ("log_probability_to_oracle", "de", "fake")
    assert (row.n, row.value) == (3, 1.0)
    assert (row.ci_low, row.ci_high) == mean_interval([1.0, 0.0, 2.0])


def test_only_fakes_are_compared():
    texts = [score("a", -2.0, kind=kind) for kind in ("real", "untouched")]
    assert measured(ModelEvidence(R_ONLY, texts=texts), against(TAUGHT, texts=texts)) == []


def test_quality_is_not_compared():
    grades = said(5, 6, metric="Q_R")
    assert measured(ModelEvidence(R_ONLY, grades), against(TAUGHT, verdicts=grades)) == []


def test_a_question_that_only_one_of_the_two_was_asked_is_no_pair():
    never = ModelEvidence(R_ONLY, said(0, 0))
    (row,) = measured(never, against(TAUGHT, verdicts=[*said(1, 0, 1, 1), *said(1, 1, language="de")]))
    assert (row.question_language, row.n, row.value) == ("en", 2, 0.5)


def test_a_question_unscored_in_either_model_is_left_out_and_counted():
    never = ModelEvidence(R_ONLY, said(0, None, 1, 0))
    (row,) = measured(never, against(TAUGHT, verdicts=said(1, 1, None, 1)))
    assert (row.n, row.unscored, row.value) == (2, 2, 1.0)
    assert (row.ci_low, row.ci_high) == paired_rate_difference([False, False], [True, True])


def test_without_a_never_taught_model_there_is_nothing_to_compare_with():
    everything = {"verdicts": said(1, 1), "choices": chose(1, 1), "texts": [score("a", -1.0)]}
    assert measured(ModelEvidence(R_ONLY, **everything), ModelEvidence(TAUGHT, **everything)) == []
    assert measured(ModelEvidence(R_ONLY), against(TAUGHT, **everything)) == []
