"""Pooled rates and changes, by hand on a few answers, and against a naive version."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unteach.languages.table import LANGUAGES
from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.intervals import clustered_mean, clustered_rate, clustered_ratio
from unteach.metrics.measures.pooled import GROUPS, SOURCE_SETS, in_group
from unteach.records import Reading, Verdict

GERMAN, ENGLISH, URDU = (ModelTag("contaminated", code) for code in ("de", "en", "ur"))


def unlearned(source, strategy="source", objective="grad_diff"):
    return ModelTag("unlearned", source, strategy, objective)


def said(metric="O_F", **values):
    """``said(en=[1, 0])``: English answers on scenarios s0 and s1."""
    return [
        Verdict(
            scenario=f"s{number}",
            part="fake" if metric == "O_F" else "real",
            language=language,
            metric=metric,
            value=value,
            unscored="not asked" if value is None else None,
        )
        for language, each in values.items()
        for number, value in enumerate(each)
    ]


def reading(step, **values):
    return Reading(step=step, perplexity=9.0, quality=5.0, verdicts=tuple(said(**values)))


def pooled(*models, languages=("en", "de", "ur")):
    return MEASURES.parse("pooled")(Evidence("my-run", {model.tag.name: model for model in models}, languages))


def cells(rows, metric="O_F", source="de", checkpoint=None):
    """Group -> row."""
    found = [r for r in rows if (r.metric, r.source_language, r.checkpoint) == (metric, source, checkpoint)]
    assert len({row.group for row in found}) == len(found)
    return {row.group: row for row in found}


def limits(row):
    return row.ci_low, row.ci_high


def test_question_languages_are_grouped_by_what_they_are_to_the_model():
    # Dutch has no resource level in the papers: it counts among all of them only
    answers = said(en=[1, 0], de=[1, 1], fr=[0, 1], ur=[0, 0], ha=[1, 0], nl=[1, 0])
    rows = pooled(ModelEvidence(GERMAN, answers), languages=("en", "de", "fr", "ur", "ha", "nl"))
    found = cells(rows)
    assert [(row.group, row.n, row.unscored, row.value) for row in found.values()] == [
        ("english", 2, 0, 0.5),
        ("source", 2, 0, 1.0),
        ("other high", 2, 0, 0.5),
        ("other low", 4, 0, 0.25),
        ("all", 12, 0, 0.5),
    ]
    row = found["all"]
    assert (row.run, row.model, row.question_language, row.strategy) == ("my-run", "contaminated", None, None)
    # answers on one scenario are one cluster, in whatever language
    assert limits(row) == clustered_rate([[1, 1, 0, 0, 1, 1], [0, 1, 1, 0, 0, 0]])
    assert limits(found["other low"]) == clustered_rate([[0, 1], [0, 0]])
    assert limits(found["english"]) == clustered_rate([[1], [0]])


def test_a_rate_is_of_all_answers_and_not_of_languages_or_scenarios():
    # s0 was asked about in three languages, s1 in one: 3 of 4, not the mean of 1 and 0
    row = cells(pooled(ModelEvidence(ENGLISH, said(en=[1, 0], de=[1], ur=[1]))), source="en")["all"]
    assert (row.n, row.value) == (4, 0.75)
    assert limits(row) == clustered_rate([[1, 1, 1], [0]])


def test_languages_that_are_no_question_languages_of_the_run_are_left_out():
    """Paper A's Fig. 6 asks the fake questions in further languages; they are not in its pooled series."""
    asked = said(en=[1, 0], de=[1, 1], ur=[0, 0])
    more = said(hi=[1, 1], nl=[1, 1], es=[1, 1])
    assert pooled(ModelEvidence(GERMAN, [*asked, *more])) == pooled(ModelEvidence(GERMAN, asked))


def test_english_is_the_source_where_the_fakes_are_english():
    found = cells(pooled(ModelEvidence(ENGLISH, said(en=[1, 0], de=[1, 1], ur=[0, 0]))), source="en")
    english, source = found["english"], found["source"]
    assert (english.n, english.value) == (source.n, source.value) == (2, 0.5)
    assert limits(english) == limits(source)
    assert found["other high"].value == 1.0  # German, without English
    assert found["other low"].value == 0.0
    assert found["all"].n == 6


def test_the_r_only_model_has_no_source():
    rows = pooled(ModelEvidence(ModelTag("r_only"), said(en=[0, 0], de=[1, 0], ur=[0, 1])))
    assert {(row.model, row.source_language, row.metric) for row in rows} == {("r_only", None, "O_F")}
    assert {row.group: row.value for row in rows} == {
        "english": 0.0,
        "other high": 0.5,
        "other low": 0.5,
        "all": pytest.approx(1 / 3),
    }


@pytest.mark.parametrize(
    ("language", "source", "groups"),
    [
        ("en", "de", {"english", "all"}),
        ("en", "en", {"english", "source", "all"}),
        ("de", "de", {"source", "all"}),
        ("fr", "de", {"other high", "all"}),
        ("ur", "de", {"other low", "all"}),
        ("ur", "ur", {"source", "all"}),
        ("nl", "de", {"all"}),
        ("de", None, {"other high", "all"}),
        ("en", None, {"english", "all"}),
        ("xx", "de", {"all"}),
    ],
)
def test_groups_of_a_language(language, source, groups):
    assert {group for group in GROUPS if in_group(language, source, group)} == groups


def test_models_are_pooled_by_the_language_of_their_fake():
    models = [
        ModelEvidence(ENGLISH, said(en=[1, 1], de=[1, 0], ur=[0, 0])),
        ModelEvidence(GERMAN, said(en=[1, 0], de=[1, 1], ur=[0, 0])),
        ModelEvidence(URDU, said(en=[0, 0], de=[0, 1], ur=[1, 1])),
        ModelEvidence(ModelTag("contaminated", "nl"), said(en=[0, 1], de=[0, 0], ur=[0, 0])),
    ]
    rows = pooled(*models)
    pairs = {(row.source_language, row.group): (row.n, row.value) for row in rows}
    assert list(dict.fromkeys(row.source_language for row in rows)) == ["en", "de", "ur", "nl", *SOURCE_SETS]
    english = {name: pairs[name, "english"] for name in SOURCE_SETS}
    assert english == {"any": (8, 0.5), "not en": (6, pytest.approx(1 / 3)), "high": (2, 0.5), "low": (2, 0.0)}
    # every model's own language: en 1 1, de 1 1, ur 1 1; nl was not asked in Dutch
    assert pairs["any", "source"] == (6, 1.0)
    assert pairs["not en", "source"] == (4, 1.0)
    assert pairs["low", "source"] == (2, 1.0)
    # high but neither English nor the source: German for en, ur and nl; nothing for de
    assert pairs["any", "other high"] == (6, pytest.approx(2 / 6))
    assert ("high", "other high") not in pairs
    assert pairs["any", "all"] == (24, pytest.approx(10 / 24))


def test_answers_of_all_models_on_a_scenario_are_one_cluster():
    models = [ModelEvidence(GERMAN, said(en=[1, 0], de=[1, 1])), ModelEvidence(URDU, said(en=[0, 0], de=[0, 1]))]
    row = cells(pooled(*models, languages=("en", "de")), source="any")["all"]
    assert (row.n, row.value) == (8, 0.5)
    assert limits(row) == clustered_rate([[1, 1, 0, 0], [0, 1, 0, 1]])


def test_a_set_without_a_model_has_no_rows():
    rows = pooled(ModelEvidence(ENGLISH, said(en=[1, 0])))
    assert {row.source_language for row in rows} == {"en", "any"}


def test_models_of_another_strategy_objective_variant_or_seed_are_never_pooled():
    tags = [
        unlearned("de"),
        unlearned("de", "english"),
        unlearned("de", objective="npo"),
        ModelTag("unlearned", "de", "source", "grad_diff", variant="rank=2"),
        ModelTag("unlearned", "de", "source", "grad_diff", seed=1),
    ]
    evidence = {str(number): ModelEvidence(tag, said(en=[1, 0])) for number, tag in enumerate(tags)}
    rows = MEASURES.parse("pooled")(Evidence("r", evidence, ("en",)))
    found = [r for r in rows if (r.source_language, r.group) == ("any", "all")]
    assert [(r.strategy, r.objective, r.variant, r.seed, r.n) for r in found] == [
        (tag.strategy, tag.objective, tag.variant, tag.seed, 2) for tag in tags
    ]


def test_unscored_answers_are_counted_and_left_out():
    found = cells(pooled(ModelEvidence(GERMAN, said(en=[1, None, 0], de=[None, None, 1], ur=[None] * 3))))
    assert (found["all"].n, found["all"].unscored, found["all"].value) == (3, 6, pytest.approx(2 / 3))
    # nothing is known of s1, so it is no cluster
    assert limits(found["all"]) == clustered_rate([[1], [0, 1]])
    nothing = found["other low"]
    assert (nothing.n, nothing.unscored, nothing.value, *limits(nothing)) == (0, 3, None, None, None)


def test_quality_is_the_mean_grade_with_scenarios_as_clusters():
    grades = said("Q_R", en=[5.0, 6.0], de=[6.0, 4.0], ur=[4.0, None])
    found = cells(pooled(ModelEvidence(GERMAN, [*grades, *said(en=[1, 1])])), metric="Q_R")
    assert (found["all"].n, found["all"].unscored, found["all"].value) == (5, 1, 5.0)
    # s0 has 5, 6, 4 and s1 6, 4: both sum to their size times 5, so scenarios do not differ at all
    assert limits(found["all"]) == clustered_mean([[5, 6, 4], [6, 4]]) == (5.0, 5.0)
    assert (found["english"].n, found["english"].value) == (2, 5.5)
    # mean 5.5, sd sqrt(.5), t(.975, 1) = 12.706: 5.5 -+ 6.353, cut to the scale of 1 to 10
    assert limits(found["english"]) == (1.0, 10.0)


def test_limits_of_quality_inside_the_scale_are_students():
    found = cells(pooled(ModelEvidence(GERMAN, said("Q_R", en=[5.0, 5.5, 6.0]))), metric="Q_R")
    # mean 5.5, s = 0.5, t(0.975, 2) = 4.302653: 5.5 -+ 4.302653 * 0.5 / sqrt(3)
    assert limits(found["english"]) == pytest.approx((4.2579314, 6.7420686), abs=1e-5)


def before_and_after(before, after, source="de", **more):
    start = ModelEvidence(ModelTag("contaminated", source), before)
    return start, ModelEvidence(unlearned(source), after, before=start.tag.name, **more)


def test_change_is_paired_question_by_question_and_clustered_by_scenario():
    before, after = said(en=[1, 0, 1], de=[1, 1, 1]), said(en=[0, 0, 1], de=[0, 1, 0])
    # the order of answers does not matter
    rows = pooled(*before_and_after(before, after[::-1]))
    change = cells([r for r in rows if r.model == "unlearned"], "O_F_change")["all"]
    # s0 -1 -1, s1 0 0, s2 0 -1: mean -.5; cluster means -1, 0, -.5, sd .5; t(.975, 2) = 4.302653
    assert (change.n, change.unscored, change.value) == (6, 0, -0.5)
    assert limits(change) == pytest.approx((-0.5 - 1.2420686, -0.5 + 1.2420686), abs=1e-6)
    assert limits(change) == clustered_mean([[-1, -1], [0, 0], [0, -1]])
    relative = cells([r for r in rows if r.model == "unlearned"], "O_F_relative_change")["all"]
    # 5/6 before, 2/6 after: -3/6 of 5/6 is -3/5
    assert (relative.n, relative.value) == (6, pytest.approx(-0.6))
    low, high = clustered_ratio([[1, 1], [0, 1], [1, 1]], [[0, 0], [0, 1], [1, 0]])
    assert limits(relative) == (pytest.approx(low - 1), pytest.approx(high - 1))


def test_every_group_has_its_own_change():
    before, after = said(en=[1, 1], de=[1, 1], ur=[0, 1]), said(en=[0, 0], de=[1, 0], ur=[1, 1])
    rows = pooled(*before_and_after(before, after))
    assert {group: row.value for group, row in cells(rows, "O_F_change").items()} == {
        "english": -1.0,
        "source": -0.5,
        "other low": 0.5,
        "all": pytest.approx(-2 / 6),
    }
    assert {group: row.value for group, row in cells(rows, "O_F_relative_change").items()} == {
        "english": -1.0,
        "source": -0.5,
        "other low": 1.0,
        "all": pytest.approx(-2 / 5),
    }


def test_what_was_not_there_before_has_no_relative_change():
    rows = pooled(*before_and_after(said(en=[0, 0]), said(en=[1, 0])), languages=("en",))
    change, relative = cells(rows, "O_F_change")["english"], cells(rows, "O_F_relative_change")["english"]
    assert (change.n, change.value) == (2, 0.5)
    assert (relative.n, relative.unscored, relative.value, *limits(relative)) == (2, 0, None, None, None)


def test_a_question_unscored_in_either_model_is_left_out_of_the_change_and_counted():
    before, after = said(en=[1, None, 1, 0], de=[1]), said(en=[0, 0, None, 0], de=[1], ur=[1])
    row = cells(pooled(*before_and_after(before, after)), "O_F_change")["all"]
    # of s0 -1 and 0, s3 0; s1 and s2 are unscored in one model, and Urdu was not asked before
    assert (row.n, row.unscored, row.value) == (3, 3, pytest.approx(-1 / 3))
    assert limits(row) == clustered_mean([[-1, 0], [0]])
    # the relative change is of the rate of the same three questions before: 2/3
    relative = cells(pooled(*before_and_after(before, after)), "O_F_relative_change")["all"]
    assert (relative.n, relative.unscored, relative.value) == (3, 3, pytest.approx(-0.5))


def test_only_unlearned_models_have_changes_and_only_with_a_model_before():
    start, end = before_and_after(said(en=[1, 1]), said(en=[0, 1]))
    taught = ModelEvidence(start.tag, start.verdicts, before="r_only")
    r_only = ModelEvidence(ModelTag("r_only"), said(en=[0, 0]))
    assert {row.model for row in pooled(r_only, taught, end) if "change" in row.metric} == {"unlearned"}
    alone = ModelEvidence(end.tag, end.verdicts)
    assert {row.metric for row in pooled(alone)} == {"O_F"}


def test_pooled_changes_pair_each_model_with_its_own_start():
    german = before_and_after(said(en=[1, 1]), said(en=[0, 1]))
    urdu = before_and_after(said(en=[0, 1]), said(en=[1, 1]), source="ur")
    row = cells(pooled(*german, *urdu), "O_F_change", source="any")["english"]
    assert (row.n, row.value) == (4, 0.0)
    assert limits(row) == clustered_mean([[-1, 1], [0, 0]])
    relative = cells(pooled(*german, *urdu), "O_F_relative_change", source="not en")["english"]
    assert (relative.n, relative.value) == (4, 0.0)


def test_checkpoints_have_rows_and_changes_against_the_start():
    before = said(en=[1, 1], de=[1, 0])
    readings = [
        reading(0, en=[1, 1], de=[1, 0]),
        reading(2, en=[0, 1], de=[1, None]),
        reading(4, en=[0, 0], de=[0, 0]),
    ]
    rows = pooled(*before_and_after(before, said(en=[0, 0], de=[0, 0]), readings=readings), languages=("en", "de"))
    rows = [row for row in rows if row.model == "unlearned"]

    def curve(metric, group):
        steps = {row.checkpoint for row in rows}
        return {step: row.value for step in steps if (row := cells(rows, metric, checkpoint=step).get(group))}

    assert curve("O_F", "all") == {None: 0.0, 0: 0.75, 2: pytest.approx(2 / 3), 4: 0.0}
    assert curve("O_F", "source") == {None: 0.0, 0: 0.5, 2: 1.0, 4: 0.0}
    assert curve("O_F_change", "all") == {None: -0.75, 0: 0.0, 2: pytest.approx(-1 / 3), 4: -0.75}
    assert curve("O_F_relative_change", "english") == {None: -1.0, 0: 0.0, 2: -0.5, 4: -1.0}
    at_two = cells(rows, checkpoint=2)["all"]
    assert (at_two.n, at_two.unscored) == (3, 1)
    assert limits(at_two) == clustered_rate([[0, 1], [1]])
    change = cells(rows, "O_F_change", checkpoint=2)["all"]
    assert (change.n, change.unscored) == (3, 1)
    assert limits(change) == clustered_mean([[-1, 0], [0]])
    assert not [row for row in rows if row.metric == "Q_R" and row.checkpoint is not None]


def test_a_group_has_no_point_where_the_probe_did_not_ask_in_all_of_it():
    readings = [reading(0, en=[1, 1], de=[1, 1]), reading(2, en=[0, 1], de=[1, 1])]
    rows = pooled(
        *before_and_after(
            said(en=[1, 1], de=[1, 1], ur=[1, 1]), said(en=[0, 1], de=[1, 1], ur=[1, 0]), readings=readings
        )
    )
    assert {row.group for row in rows if row.checkpoint is not None} == {"english", "source"}
    # one scenario less is not all either
    readings = [reading(0, en=[1, 1], de=[1])]
    rows = pooled(*before_and_after(said(en=[1, 1], de=[1, 1]), said(en=[1, 1], de=[1, 1]), readings=readings))
    assert {row.group for row in rows if row.checkpoint is not None} == {"english"}


def test_what_a_probe_asks_beyond_the_question_languages_does_not_count():
    before, after = said(en=[1, 1], de=[1, 1]), said(en=[0, 0], de=[0, 0])
    readings = [reading(0, en=[1, 1], de=[1, 1], nl=[0, 0], ur=[0, 0])]
    row = cells(pooled(*before_and_after(before, after, readings=readings), languages=("en", "de")), checkpoint=0)[
        "all"
    ]
    assert (row.n, row.value) == (4, 1.0)


def stopped_early():
    """German goes on to step 6; Urdu is stopped at 4, where all broke down, and kept as it was at 2."""
    german = before_and_after(
        said(en=[1, 1]),
        said(en=[0, 0]),
        readings=[reading(0, en=[1, 1]), reading(2, en=[1, 0]), reading(4, en=[0, 0]), reading(6, en=[0, 0])],
    )
    urdu = before_and_after(
        said(en=[1, 1]),
        said(en=[1, 0]),
        source="ur",
        readings=[reading(0, en=[1, 1]), reading(2, en=[1, 0]), reading(4, en=[0, 0])],
    )
    return pooled(*german, *urdu, languages=("en",))


def test_a_model_that_was_stopped_stays_as_it_was_kept():
    rows = stopped_early()
    curve = {
        row.checkpoint: row.value
        for row in rows
        if row.model == "unlearned" and (row.metric, row.source_language, row.group) == ("O_F", "any", "english")
    }
    # at 4 what was read there; at 6 German 0 0 and Urdu as kept, 1 0
    assert curve == {None: 0.25, 0: 1.0, 2: 0.5, 4: 0.0, 6: 0.25}
    change = cells(rows, "O_F_change", source="any", checkpoint=6)["english"]
    assert (change.n, change.value) == (4, -0.75)
    assert limits(change) == clustered_mean([[-1, 0], [-1, -1]])


def test_alone_it_has_no_points_after_it_was_stopped():
    rows = stopped_early()
    assert {row.checkpoint for row in rows if row.source_language == "ur" and row.model == "unlearned"} == {
        None,
        0,
        2,
        4,
    }
    assert {row.checkpoint for row in rows if row.source_language == "low" and row.model == "unlearned"} == {
        None,
        0,
        2,
        4,
    }
    assert 6 in {row.checkpoint for row in rows if row.source_language == "high"}


def test_a_step_at_which_some_model_was_not_read_has_no_pooled_row():
    german = before_and_after(said(en=[1]), said(en=[0]), readings=[reading(step, en=[1]) for step in (0, 2, 4)])
    urdu = before_and_after(
        said(en=[1]), said(en=[0]), source="ur", readings=[reading(step, en=[1]) for step in (0, 4)]
    )
    unread = before_and_after(said(en=[1]), said(en=[0]), source="fr")
    both = pooled(*german, *urdu, languages=("en",))
    assert {row.checkpoint for row in both if row.source_language == "any" and row.model == "unlearned"} == {None, 0, 4}
    three = pooled(*german, *urdu, *unread, languages=("en",))
    assert {row.checkpoint for row in three if row.source_language == "any"} == {None}
    assert {row.checkpoint for row in three if row.source_language == "high"} == {None}


# A naive version: every answer is put into every cell it belongs to, one at a time.


def levels(language):
    return LANGUAGES[language].resource


def naive_groups(language, source):
    found = ["all"]
    if language == "en":
        found.append("english")
    if language == source:
        found.append("source")
    if language != "en" and language != source:
        found.append("other high" if levels(language) == "high" else "other low")
    return found


def naive_sets(source):
    found = [source, "any"]
    if source != "en":
        found += ["not en", "high" if levels(source) == "high" else "low"]
    return found


CODES = ("en", "de", "ur", "fr", "ha")
VALUES = st.lists(st.sampled_from([0, 1, None]), min_size=3, max_size=3)
ANSWERS = st.fixed_dictionaries(dict.fromkeys(CODES, VALUES))


@settings(max_examples=60, deadline=None)
@given(
    sources=st.lists(st.sampled_from(CODES), min_size=1, max_size=3, unique=True),
    answers=st.lists(st.tuples(ANSWERS, ANSWERS), min_size=3, max_size=3),
)
def test_rates_and_changes_are_those_of_a_naive_count(sources, answers):
    rates, changes, starts = {}, {}, {}
    models = []
    for source, (before, after) in zip(sources, answers, strict=False):
        models += before_and_after(said(**before), said(**after), source=source)
        for code, number in itertools.product(CODES, range(3)):
            old, new = before[code][number], after[code][number]
            for cell in itertools.product(naive_sets(source), naive_groups(code, source)):
                rates.setdefault(("contaminated", *cell), []).append(old)
                rates.setdefault(("unlearned", *cell), []).append(new)
                changes.setdefault(cell, [])
                starts.setdefault(cell, [])
                if old is not None and new is not None:
                    changes[cell].append(new - old)
                    starts[cell].append(old)
    rows = pooled(*models, languages=CODES)
    found = {(r.model, r.source_language, r.group): r for r in rows if r.metric == "O_F"}
    assert found.keys() == rates.keys()
    for cell, values in rates.items():
        known = [value for value in values if value is not None]
        assert (found[cell].n, found[cell].unscored) == (len(known), len(values) - len(known))
        assert found[cell].value == (pytest.approx(sum(known) / len(known)) if known else None)
    changed = {(r.source_language, r.group): r for r in rows if r.metric == "O_F_change"}
    assert changed.keys() == {cell for cell, values in changes.items() if values}
    relative = {(r.source_language, r.group): r for r in rows if r.metric == "O_F_relative_change"}
    for cell, row in changed.items():
        assert row.n == len(changes[cell]) and row.value == pytest.approx(sum(changes[cell]) / row.n)
        if sum(starts[cell]):
            assert relative[cell].value == pytest.approx(sum(changes[cell]) / sum(starts[cell]))
        else:
            assert relative[cell].value is None
