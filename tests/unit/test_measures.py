"""Measures: rows from tiny hand-made evidence."""

import pytest

from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag, by_language, mean, rate
from unteach.records import (
    Choice,
    Defence,
    EditLoss,
    EditRecord,
    HeldLanguages,
    KnownAnswer,
    Reading,
    TextScore,
    Verdict,
)

BEFORE, AFTER = ModelTag("contaminated", "de"), ModelTag("unlearned", "de", "combined", "grad_diff")


def verdict(scenario, value, metric="O_F", language="en"):
    return Verdict(
        scenario=scenario,
        part="fake" if metric == "O_F" else "real",
        language=language,
        metric=metric,
        value=value,
        unscored="not asked" if value is None else None,
    )


def verdicts(values, metric="O_F", language="en"):
    return [verdict(f"s{number}", value, metric, language) for number, value in enumerate(values)]


def evidence(*models):
    return Evidence("my-run", {model.tag.name: model for model in models}, ("en", "de"))


def measure(name, *models):
    return MEASURES.parse(name)(evidence(*models))


def choice(right, scores, question="en", passage="de"):
    return Choice(right=right, question_language=question, passage_language=passage, scores=scores)


def defence(item, kind):
    outcome = {"attack": "safe", "onlyQ": "unsafe", "knowledge": "safe"}[kind]
    return Defence(
        item=item, input=kind, language="en", outcome=outcome, reason="made up", refuses=kind == "attack", entropy=3.0
    )


def test_names_of_models_are_their_parts():
    assert ModelTag("r_only").name == "r_only"
    assert BEFORE.name == "contaminated/de"
    assert AFTER.name == "unlearned/de/combined"


def test_a_rate_leaves_the_unscored_out_and_counts_them():
    # 3 of 4 known: Wilson 3/4: z^2/n = .9603647, centre (.75 + .4801824) / 1.9603647 = .6275273,
    # half = 1.959964 / 1.9603647 * sqrt(.046875 + .0600228) = .9997956 * .3269523 = .3268855
    made = rate([1, None, 1, 0, None, 1])
    assert (made["n"], made["unscored"], made["value"]) == (4, 2, 0.75)
    assert (made["ci_low"], made["ci_high"]) == pytest.approx((0.3006418, 0.9544128), abs=1e-6)


def test_a_mean_leaves_the_unscored_out_and_counts_them():
    # 1, 4, 10: mean 5, sd sqrt(21) = 4.5825757, t(.975, 2) = 4.3026527, half = 4.3026527 * 2.6457513 = 11.3837489
    made = mean([1.0, None, 4.0, 10.0])
    assert (made["n"], made["unscored"], made["value"]) == (3, 1, 5.0)
    assert (made["ci_low"], made["ci_high"]) == pytest.approx((-6.3837489, 16.3837489), abs=1e-5)


@pytest.mark.parametrize("summary", [rate, mean])
@pytest.mark.parametrize(("outcomes", "unscored"), [([], 0), ([None, None], 2)])
def test_nothing_known_has_no_value(summary, outcomes, unscored):
    assert summary(outcomes) == {"n": 0, "unscored": unscored, "value": None, "ci_low": None, "ci_high": None}


def test_verdicts_are_grouped_by_language_in_order():
    mixed = [
        verdict("a", 1, language="zh"),
        verdict("a", 5, "Q_R", "de"),
        verdict("a", 0),
        verdict("b", 1, language="zh"),
    ]
    groups = by_language(iter(mixed), "O_F")
    assert list(groups) == ["zh", "en"]
    assert [one.scenario for one in groups["zh"]] == ["a", "b"]


def test_occurrence_has_a_row_a_language_and_checkpoint():
    readings = [
        Reading(step=step, perplexity=9.0, quality=5.0, verdicts=(*verdicts(values), *verdicts([5.0], "Q_R")))
        for step, values in ((0, [1, 1]), (4, [0, None]))
    ]
    model = ModelEvidence(
        AFTER, [*verdicts([1, 0, 0, 0]), *verdicts([1, 1], language="de"), *verdicts([3.0], "Q_R")], readings
    )
    rows = measure("occurrence", model)
    assert [(row.checkpoint, row.question_language, row.n, row.unscored, row.value) for row in rows] == [
        (None, "en", 4, 0, 0.25),
        (None, "de", 2, 0, 1.0),
        (0, "en", 2, 0, 1.0),
        (4, "en", 1, 1, 0.0),
    ]
    row = rows[0]
    assert (row.run, row.metric, row.model, row.source_language) == ("my-run", "O_F", "unlearned", "de")
    assert (row.strategy, row.objective, row.editor, row.group) == ("combined", "grad_diff", None, None)
    # Wilson 1/4 is the mirror image of 3/4 above
    assert (row.ci_low, row.ci_high) == pytest.approx((0.0455872, 0.6993582), abs=1e-6)


def test_quality_is_the_mean_grade():
    model = ModelEvidence(BEFORE, [*verdicts([1.0, 4.0, None, 10.0], "Q_R", "de"), *verdicts([1, 1], language="de")])
    (row,) = measure("quality", model)
    assert (row.metric, row.question_language, row.n, row.unscored, row.value) == ("Q_R", "de", 3, 1, 5.0)
    # Student's t gives -6.38 to 16.38 for three such grades, which is the whole scale
    assert (row.ci_low, row.ci_high) == (1.0, 10.0)


def test_limits_of_quality_inside_the_scale_are_students():
    model = ModelEvidence(BEFORE, verdicts([5.0, 5.5, 6.0], "Q_R", "de"))
    (row,) = measure("quality", model)
    # mean 5.5, s = 0.5, t(0.975, 2) = 4.302653: 5.5 -+ 4.302653 * 0.5 / sqrt(3)
    assert (row.ci_low, row.ci_high) == pytest.approx((4.2579314, 6.7420686), abs=1e-5)


def test_perplexity_has_a_row_a_checkpoint():
    readings = [
        Reading(step=0, perplexity=9.0, perplexity_low=8.0, perplexity_high=11.0, perplexity_texts=16, quality=None),
        Reading(step=4, perplexity=12.0, quality=None),
    ]
    rows = measure("perplexity", ModelEvidence(AFTER, readings=readings), ModelEvidence(BEFORE))
    assert [(row.metric, row.checkpoint, row.n, row.value, row.ci_low, row.ci_high) for row in rows] == [
        ("perplexity", 0, 16, 9.0, 8.0, 11.0),
        ("perplexity", 4, 0, 12.0, None, None),
    ]


def test_forced_choice_counts_how_often_the_right_one_is_likeliest():
    choices = [
        choice("a", {"a": -1.0, "b": -2.0}),
        choice("b", {"a": -1.0, "b": -2.0}),
        choice("b", {"a": -3.0, "b": -2.0}),
        choice("a", {"a": -2.0, "b": -2.0}),  # a tie goes to the first
        choice("b", {"a": -2.0, "b": -2.0}),
        choice("a", {"a": -1.0, "b": -2.0}, passage="zh"),
        choice("a", {"a": -3.0, "b": -2.0}, question="zh"),
    ]
    rows = measure("forced_choice", ModelEvidence(BEFORE, choices=choices))
    cells = [(row.metric, row.question_language, row.group, row.n, row.value) for row in rows]
    assert cells == [
        ("forced_choice", "en", "de", 5, 0.6),
        ("forced_choice", "en", "zh", 1, 1.0),
        ("forced_choice", "zh", "de", 1, 0.0),
    ]


def test_change_pairs_answers_by_scenario_whatever_their_order():
    # a 1->0, b 1->1, c 0->0, d 1->0: mean of -1, 0, 0, -1 is -.5; e and f are in one model only
    old = [verdict(name, value) for name, value in (("a", 1), ("b", 1), ("c", 0), ("d", 1), ("e", 1))]
    new = [verdict(name, value) for name, value in (("f", 1), ("d", 0), ("c", 0), ("b", 1), ("a", 0))]
    (row,) = measure("change", ModelEvidence(BEFORE, old), ModelEvidence(AFTER, new, before=BEFORE.name))
    assert (row.metric, row.model, row.group, row.question_language) == (
        "O_F_change",
        "unlearned",
        None,
        "en",
    )
    assert (row.n, row.unscored, row.value) == (4, 0, -0.5)
    # pb = 3/4, pa = 1/4; both 1, only before 2, neither 1: 1 * 1 - 0 = 1 <= 4 / 2, so phi = 0
    # Wilson 3/4 = (.3006418, .9544128), 1/4 = (.0455872, .6993582): sides .2044128 down, .4493582 up
    # lower -.5 - sqrt(2) * .2044128 = -.7890834, upper -.5 + sqrt(2) * .4493582 = .1354885
    assert (row.ci_low, row.ci_high) == pytest.approx((-0.7890834, 0.1354885), abs=1e-6)


def test_change_of_quality_is_the_mean_of_the_differences():
    # -2, 0, -1 as in the test of intervals
    old, new = verdicts([5.0, 5.0, 9.0], "Q_R"), verdicts([3.0, 5.0, 8.0], "Q_R")
    (row,) = measure("change", ModelEvidence(BEFORE, old), ModelEvidence(AFTER, new, before=BEFORE.name))
    assert (row.metric, row.n, row.value) == ("Q_R_change", 3, -1.0)
    assert (row.ci_low, row.ci_high) == pytest.approx((-3.4841377, 1.4841377), abs=1e-6)


def test_change_leaves_out_pairs_with_an_unscored_answer_and_counts_them():
    old, new = verdicts([1, None, 1, None]), verdicts([0, 0, None, None])
    (row,) = measure("change", ModelEvidence(BEFORE, old), ModelEvidence(AFTER, new, before=BEFORE.name))
    assert (row.n, row.unscored, row.value) == (1, 3, -1.0)


def test_change_with_nothing_known_has_no_value():
    old, new = verdicts([None]), verdicts([1])
    (row,) = measure("change", ModelEvidence(BEFORE, old), ModelEvidence(AFTER, new, before=BEFORE.name))
    assert (row.n, row.unscored, row.value, row.ci_low, row.ci_high) == (0, 1, None, None, None)


def test_change_pairs_within_a_language():
    old = [*verdicts([1, 1], language="en"), *verdicts([0, 0], language="de"), *verdicts([1], language="fr")]
    new = [*verdicts([0, 1], language="en"), *verdicts([1, 1], language="de"), *verdicts([1], language="zh")]
    rows = measure("change", ModelEvidence(BEFORE, old), ModelEvidence(AFTER, new, before=BEFORE.name))
    assert [(row.question_language, row.value) for row in rows] == [("en", -0.5), ("de", 1.0)]


def test_change_needs_a_model_before():
    alone = ModelEvidence(AFTER, verdicts([1]))
    orphan = ModelEvidence(AFTER, verdicts([1]), before="contaminated/zh")
    assert measure("change", alone) == measure("change", orphan) == []


@pytest.mark.parametrize("name", [name for name, _ in MEASURES])
def test_a_measure_of_nothing_has_no_rows(name):
    assert measure(name) == []
    assert measure(name, ModelEvidence(BEFORE), ModelEvidence(AFTER, before=BEFORE.name)) == []


@pytest.mark.parametrize("name", [name for name, _ in MEASURES])
def test_a_measure_is_pure(name):
    def everything():
        reading = Reading(step=1, perplexity=2.0, quality=1.0, verdicts=tuple(verdicts([1, 0])))
        choices = [choice("a", {"a": -1.0, "b": -2.0})]
        said = [*verdicts([1, 0]), *verdicts([2.0, 3.0], "Q_R")]
        texts = [
            TextScore(kind="fake", item=item, language="de", log_probability=-9.0, tokens=3, characters=12)
            for item in "ab"
        ]
        held = [HeldLanguages(scenario="a", part="fake", language="de", held=("de", "en"))]
        never = ModelTag("r_only")
        replies = {"main": [defence(item, kind) for kind in ("attack", "onlyQ", "knowledge") for item in "ab"]}
        known = [KnownAnswer(item=item, language="en", log_probability=-3.0, tokens=2, characters=9) for item in "ab"]
        loss = EditLoss(total=1.0, nll=2.0, kl=0.5)
        edits = [
            EditRecord(item=item, language="en", layer=1, layers=2, distances=(1.0, 2.0), losses=(loss,))
            for item in "ab"
        ]
        unedited = ModelTag("unedited")
        return evidence(
            ModelEvidence(never, said, (), choices, texts, held),
            ModelEvidence(BEFORE, said, [reading], choices, texts, held, before=never.name, never_taught=never.name),
            ModelEvidence(AFTER, said, [reading], choices, texts, held, before=BEFORE.name, never_taught=never.name),
            ModelEvidence(unedited, defences=replies, known=known),
            ModelEvidence(
                ModelTag("edited", "en", editor="dinm"),
                defences=replies,
                known=known,
                edits=edits,
                empty_counts=0.5,
                before=unedited.name,
            ),
        )

    given = everything()
    rows = MEASURES.parse(name)(given)
    assert rows and rows == MEASURES.parse(name)(given)
    assert given == everything()


def test_measures_of_one_paper_say_nothing_about_the_other_s_models():
    taught = ModelEvidence(BEFORE, [*verdicts([1, 0]), *verdicts([2.0], "Q_R")])
    attacked = ModelEvidence(ModelTag("unedited"), defences={"main": [defence("a", "attack")]})
    both = [name for name, _ in MEASURES if measure(name, taught) and measure(name, attacked)]
    assert both == []
    assert measure("occurrence", taught) and measure("defence", attacked)
