"""What several seeds say together."""

import pytest

from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.intervals import mean_interval
from unteach.metrics.seeds import over_seeds
from unteach.metrics.table import build
from unteach.records import Row, Verdict


def row(seed, value, **changes):
    base = {
        "run": "r",
        "metric": "O_F",
        "model": "unlearned",
        "source_language": "de",
        "strategy": "combined",
        "objective": "grad_diff",
        "question_language": "ur",
        "group": "g",
        "n": 16,
        "unscored": 1,
        "ci_low": 0.0,
        "ci_high": 1.0,
    }
    return Row.model_validate({**base, "seed": seed, "value": value, **changes})


def test_the_row_over_seeds_is_their_mean_with_students_interval():
    (made,) = over_seeds([row(0, 1.0), row(1, 4.0), row(7, 10.0)])
    # mean 5, sd sqrt(21), t(.975, 2) = 4.3026527, half = 4.3026527 * sqrt 7 = 11.3837489
    assert (made.n, made.unscored, made.value) == (3, 0, 5.0)
    assert (made.ci_low, made.ci_high) == pytest.approx((5 - 11.3837489, 5 + 11.3837489), abs=1e-5)
    assert (made.seed, made.variant) == (None, "over 3 seeds")
    same = {"n", "unscored", "value", "ci_low", "ci_high", "seed", "variant"}
    assert made.model_dump(exclude=same) == row(0, 1.0).model_dump(exclude=same)


def test_a_point_of_a_sweep_keeps_its_name():
    made = over_seeds(
        [row(seed, value, variant=f"rank={rank}") for rank, value in ((2, 0.5), (4, 1.0)) for seed in (0, 1)]
    )
    assert [(one.variant, one.value) for one in made] == [("rank=2, over 2 seeds", 0.5), ("rank=4, over 2 seeds", 1.0)]


def test_rows_without_a_seed_or_with_one_seed_only_give_none():
    assert over_seeds([]) == []
    assert over_seeds([row(None, 0.5), row(None, 0.7)]) == []
    assert over_seeds([row(0, 0.5), row(None, 0.7), row(0, 0.5, metric="Q_R")]) == []


OTHERS = {
    "run": "other",
    "metric": "Q_R",
    "model": "contaminated",
    "source_language": "ur",
    "strategy": None,
    "objective": "npo",
    "editor": "rome",
    "judge": "other",
    "variant": "rank=4",
    "checkpoint": 4,
    "question_language": None,
    "group": None,
}


@pytest.mark.parametrize(("field", "value"), OTHERS.items())
def test_numbers_of_different_things_are_never_averaged(field, value):
    rows = [row(0, 0.0), row(0, 1.0, **{field: value}), row(1, 0.0), row(1, 1.0, **{field: value})]
    made = over_seeds(rows)
    assert [one.value for one in made] == [0.0, 1.0]
    assert over_seeds([row(0, 0.0), row(1, 1.0, **{field: value})]) == []


def test_every_column_that_tells_rows_apart_was_tried():
    assert set(OTHERS) == set(Row.model_fields) - {"seed", "n", "unscored", "value", "ci_low", "ci_high"}


def test_seeds_may_differ_in_how_much_was_scored():
    (made,) = over_seeds([row(0, 0.2, n=3, unscored=4), row(1, 0.4, n=7, unscored=0)])
    # a seed counts as one, however many answers it had
    assert (made.n, made.unscored, made.value) == (2, 0, pytest.approx(0.3))
    assert (made.ci_low, made.ci_high) == mean_interval([0.2, 0.4])


def test_a_seed_without_a_value_is_unscored():
    (made,) = over_seeds([row(0, 0.5), row(1, None), row(2, 1.0)])
    assert (made.n, made.unscored, made.value, made.variant) == (2, 1, 0.75, "over 3 seeds")
    (nothing,) = over_seeds([row(0, None), row(1, None)])
    assert (nothing.n, nothing.unscored, nothing.value, nothing.ci_low) == (0, 2, None, None)


def test_one_seed_with_a_value_has_no_interval():
    (made,) = over_seeds([row(0, 0.5), row(1, None)])
    assert (made.n, made.value, made.ci_low, made.ci_high) == (1, 0.5, None, None)


def test_seeds_that_agree_have_an_interval_without_width():
    (made,) = over_seeds([row(0, 0.5), row(1, 0.5)])
    assert (made.value, made.ci_low, made.ci_high) == (0.5, 0.5, 0.5)


def test_the_table_has_the_single_seeds_and_then_what_they_say_together():
    def answers(value):
        return [Verdict(scenario="a", part="fake", language="en", metric="O_F", value=value)]

    tags = [ModelTag("contaminated", "de", seed=seed) for seed in (0, 1)]
    models = {tag.name: ModelEvidence(tag, answers(tag.seed)) for tag in tags}
    rows = build(Evidence("r", models, ("en",)), [MEASURES.parse("occurrence")])
    assert [(one.seed, one.variant, one.value, one.n) for one in rows] == [
        (0, None, 0.0, 1),
        (1, None, 1.0, 1),
        (None, "over 2 seeds", 0.5, 2),
    ]
