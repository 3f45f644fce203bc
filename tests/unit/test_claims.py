"""Claims: what a file may say, which row a selector means, how answers are decided, and how often they are wrong."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from unteach.errors import UserError, UserErrors
from unteach.languages.table import PAPER_A
from unteach.metrics.claims import Claim, read_claims
from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.decide import answer, check, choose
from unteach.metrics.intervals import wilson
from unteach.metrics.table import build, write_table
from unteach.records import HeldLanguages, Reading, Row, Verdict
from unteach.reports.claims import answers_table, check_claims, sections, sentence, threshold

ROOT = Path(__file__).parents[2]
FILE = ROOT / "experiments" / "claims" / "paper-a.yaml"


def share(hits: int, n: int, **columns) -> Row:
    low, high = wilson(hits, n)
    key = {"run": "r", "metric": "O_F", "model": "contaminated", "source_language": "de"}
    return Row(**key | columns, n=n, value=hits / n, ci_low=low, ci_high=high)


def number(value: float | None, low: float | None, high: float | None, n: int = 20, **columns) -> Row:
    key = {"run": "r", "metric": "Q_R", "model": "contaminated", "source_language": "de"}
    return Row(**key | columns, n=n, value=value, ci_low=low, ci_high=high)


def claim(**test) -> Claim:
    words = {"id": "c", "paper": "A", "section": "2", "says": "Something.", "why": "The number."}
    return Claim.model_validate(words | {"test": test})


O_F = {"metric": "O_F", "model": "contaminated"}
ENGLISH = O_F | {"question_language": "en"}


# --- one number ---


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        # Wilson 12/20: (.386583, .781201), see the arithmetic of test_intervals
        ({"at_least": 0.38}, "supported"),
        ({"at_least": 0.39}, "underpowered"),
        ({"at_least": 0.78}, "underpowered"),
        ({"at_least": 0.79}, "contradicted"),
        ({"at_most": 0.79}, "supported"),
        ({"at_most": 0.6}, "underpowered"),
        ({"at_most": 0.38}, "contradicted"),
        ({"between": [0.38, 0.79]}, "supported"),
        ({"between": [0.5, 0.7]}, "underpowered"),
        ({"between": [0.0, 0.5]}, "underpowered"),
        ({"between": [0.8, 0.9]}, "contradicted"),
        ({"between": [0.1, 0.3]}, "contradicted"),
    ],
)
def test_the_whole_interval_decides(bound, verdict):
    found = answer([share(12, 20, question_language="en")], claim(rows=ENGLISH, **bound))
    assert found.verdict == verdict
    assert (found.deciding.value, found.deciding.n) == (0.6, 20)
    assert (found.deciding.low, found.deciding.high) == pytest.approx((0.386583, 0.781201), abs=1e-5)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (number(None, None, None, n=0), "nothing could be scored"),
        (number(None, None, None, n=8), "Q_R has no value here (n = 8)"),
        (number(4.0, None, None, n=1), "no interval (n = 1)"),
        (number(9.0, 9.0, 9.0, n=20), "the 20 values are all the same"),
    ],
)
def test_a_row_without_a_usable_number_is_not_tested(row, reason):
    found = answer([row], claim(rows={"metric": "Q_R"}, at_least=1))
    assert found.verdict == "not tested" and reason in found.reason
    assert found.deciding is None


def test_an_absent_row_is_not_tested_and_says_what_is_absent():
    found = answer([share(1, 9, question_language="en")], claim(rows=O_F | {"question_language": "ha"}, at_least=0.2))
    assert found.verdict == "not tested"
    assert "metric O_F" in found.reason and "question_language ha" in found.reason


# --- which row is meant ---


def test_columns_left_out_mean_the_finished_model_and_no_group():
    wanted = share(5, 10)
    others = [share(1, 10, checkpoint=4), share(2, 10, group="all"), share(3, 10, question_language="en")]
    assert choose([*others, wanted], O_F) == wanted
    assert choose([*others, wanted], O_F | {"checkpoint": 4}) == others[0]
    assert choose([*others, wanted], O_F | {"group": "all"}) == others[1]


def test_more_than_one_row_is_named_by_what_tells_them_apart():
    rows = [share(1, 10), share(2, 10, source_language="ur")]
    assert choose(rows, O_F) == "2 rows fit; they differ in source_language"
    assert answer(rows, claim(rows=O_F, at_least=0.1)).verdict == "not tested"
    assert choose(rows, O_F | {"source_language": "ur"}) == rows[1]


def test_the_row_over_seeds_stands_for_a_run_with_seeds():
    seeds = [share(hits, 10, seed=hits) for hits in (1, 2)]
    over, swept = share(3, 10, variant="over 2 seeds"), share(4, 10, variant="unlearn.lr=1, over 2 seeds")
    rows = [*seeds, over, swept]
    assert choose(rows, O_F) == over
    assert choose(rows, O_F | {"variant": "unlearn.lr=1"}) == swept
    assert choose(rows, O_F | {"seed": 2}) == seeds[1]
    plain = share(5, 10)
    assert choose([*rows, plain], O_F) == plain


def test_half_is_the_reading_nearest_to_the_middle_of_that_model():
    rows = [share(step, 10, checkpoint=step) for step in (0, 1, 4, 6, 10)]
    rows += [share(step, 10, checkpoint=step, source_language="ur") for step in (0, 2, 3, 4)]
    assert choose(rows, O_F | {"source_language": "de", "checkpoint": "half"}).checkpoint == 4
    assert choose(rows, O_F | {"source_language": "ur", "checkpoint": "half"}).checkpoint == 2
    assert "no row" in choose(rows[:1], O_F | {"checkpoint": "half"})


# --- several numbers ---


def by_language(**hits: int) -> list[Row]:
    return [share(count, 50, question_language=code) for code, count in hits.items()]


def test_all_hold_only_if_each_does():
    each = {"rows": O_F, "each": "question_language", "at_least": 0.5}
    assert answer(by_language(en=45, de=44, ur=40), claim(**each)).verdict == "supported"
    found = answer(by_language(en=45, de=44, ur=30), claim(**each))
    assert found.verdict == "underpowered"
    assert [part.verdict for part in found.parts] == ["supported", "supported", "underpowered"]
    assert dict(found.deciding.where) == {"question_language": "ur"}


def test_one_part_contradicts_all_only_at_the_corrected_level():
    each = {"rows": O_F, "each": "question_language", "at_least": 0.5}
    # Wilson 17/50 alone: p = .34, z^2/n = .0768292, scale 1.0768292, centre (.34 + .0384146) / scale = .3514157,
    # half 1.8201252 * sqrt(.004488 + .0003841) = .1270463, high .4784617 < .5
    assert answer(by_language(ur=17), claim(**each)).verdict == "contradicted"
    # one of nine: chance of 17 or fewer of 50 at .5 is .0164, more than .025 / 9 = .0028
    nine = by_language(en=45, de=45, fr=45, zh=45, ru=45, jv=45, ha=45, hy=45, ur=17)
    found = answer(nine, claim(**each))
    assert found.verdict == "underpowered" and "1 alone would be contradicted" in found.reason
    # chance of 12 or fewer of 50 at .5: .0002
    assert answer([*nine[:-1], *by_language(ur=12)], claim(**each)).verdict == "contradicted"


def test_some_is_the_mirror_image():
    each = {"rows": O_F, "each": "question_language", "at_least": 0.5, "holds": "some"}
    assert answer(by_language(en=45, de=5), claim(**each)).verdict == "supported"
    # 33/50 alone supports (the mirror image of 17/50), but not as one of nine
    assert answer(by_language(en=33), claim(**each)).verdict == "supported"
    eight = by_language(de=5, fr=5, zh=5, ru=5, jv=5, ha=5, hy=5, ur=5)
    assert answer([*by_language(en=33), *eight], claim(**each)).verdict == "underpowered"
    assert answer(eight, claim(**each)).verdict == "contradicted"
    assert answer([*eight, *by_language(en=20)], claim(**each)).verdict == "underpowered"


def test_values_that_are_needed_are_missed():
    rows = by_language(en=45, de=45)
    wanted = claim(rows=O_F, each={"question_language": ["en", "de", "ha"]}, at_least=0.5)
    found = answer(rows, wanted)
    assert found.verdict == "not tested" and "2 of the 3 numbers" in found.reason and "ha" in found.reason
    # what is there can still contradict
    assert answer(by_language(en=45, de=5), wanted).verdict == "contradicted"
    fewer = claim(rows=O_F, each={"question_language": ["en", "de", "ha"]}, fewest=2, at_least=0.5)
    assert answer(rows, fewer).verdict == "supported"
    assert answer(rows[:1], fewer).verdict == "not tested"
    assert answer([], claim(rows=O_F, each="question_language", at_least=0.5)).verdict == "not tested"


def test_each_without_values_leaves_pools_and_grids_out():
    rows = [share(45, 50, source_language=code, question_language="en") for code in ("de", "ur", "any", "not en")]
    rows += [share(1, 50, source_language="ha", question_language="en", group="all")]
    found = answer(rows, claim(rows=ENGLISH, each="source_language", at_least=0.5))
    assert [dict(part.where) for part in found.parts] == [{"source_language": "de"}, {"source_language": "ur"}]
    assert found.verdict == "supported"


def test_several_columns_make_a_grid():
    rows = [share(45, 50, source_language=s, question_language=q) for s in ("de", "ur") for q in ("en", "fr")]
    grid = {"source_language": ["de", "ur"], "question_language": ["en", "fr"]}
    found = answer(rows, claim(rows=O_F, each=grid, at_least=0.5))
    assert found.verdict == "supported" and len(found.parts) == 4
    assert answer(rows[:3], claim(rows=O_F, each=grid, at_least=0.5)).verdict == "not tested"
    seen = answer(rows[:3], claim(rows=O_F, each=["source_language", "question_language"], at_least=0.5))
    assert seen.verdict == "supported" and len(seen.parts) == 3


# --- differences ---


def test_a_difference_takes_both_intervals_together():
    rows = [share(45, 50, question_language="de"), share(20, 50, question_language="en")]
    sides = {"of": O_F | {"question_language": "de"}, "minus": ENGLISH}
    found = answer(rows, claim(difference=sides, at_least=0.3))
    # Wilson 45/50: centre (.9 + .0384146) / 1.0768292 = .8714610, half 1.8201252 * sqrt(.0018 + .0003841) = .0850635
    # 20/50: centre (.4 + .0384146) / 1.0768292 = .4071348, half 1.8201252 * sqrt(.0048 + .0003841) = .1310515
    # low .5 - sqrt((.9 - .7863975)^2 + (.5381863 - .4)^2) = .5 - .1788888
    # high .5 + sqrt((.9565245 - .9)^2 + (.4 - .2760833)^2) = .5 + .1362002
    assert (found.deciding.value, found.deciding.n) == (0.5, 50)
    assert (found.deciding.low, found.deciding.high) == pytest.approx((0.321112, 0.636199), abs=1e-5)
    assert found.verdict == "supported"
    assert answer(rows, claim(difference=sides, at_least=0.33)).verdict == "underpowered"
    assert answer(rows[:1], claim(difference=sides, at_least=0.3)).verdict == "not tested"


def test_a_difference_varies_where_it_is_not_fixed():
    rows = [share(45, 50, question_language="de"), *by_language(en=5, ur=10)]
    sides = {"of": O_F | {"question_language": "de"}, "minus": O_F}
    found = answer(rows, claim(difference=sides, each={"question_language": ["en", "ur"]}, at_least=0))
    assert [round(part.value, 6) for part in found.parts] == [0.8, 0.7]
    assert found.verdict == "supported"


# --- what a file may say ---


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "claims.yaml"
    file.write_text(text, encoding="utf-8")
    return file


GOOD = """
- id: one
  paper: A
  section: "2.2"
  says: Something.
  why: The number.
  test: {rows: {metric: O_F, model: contaminated}, at_least: 0.2}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("at_least: 0.2", "at_least: 0.2, at_most: 0.3", "give one of"),
        (", at_least: 0.2", "", "give one of"),
        ("at_least: 0.2", "between: [0.3, 0.2]", "from the smaller"),
        ("model: contaminated", "modle: contaminated", "Did you mean 'model'"),
        ("metric: O_F, ", "", "names the metric"),
        ("model: contaminated", "source_language: xx", "unknown language 'xx'"),
        ("model: contaminated", "question_language: any", "unknown language 'any'"),
        ("at_least: 0.2", "at_least: 0.2, each: model", "cannot vary"),
        ("at_least: 0.2", "at_least: 0.2, each: {source_language: []}", "no values"),
        ("at_least: 0.2", "at_least: 0.2, each: checkpoint", "cannot go over"),
        ("at_least: 0.2", "at_leest: 0.2", "Did you mean 'at_least'"),
        ("rows: {metric: O_F, model: contaminated}, ", "", "either `rows` or `difference`"),
        ("id: one", "id: One claim", "id"),
        ("  why: The number.\n", "", "why"),
        ("  why:", "  opposes: two\n  why:", "`opposes` names no claim"),
    ],
)
def test_a_mistake_in_a_file_is_explained(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(UserErrors) as caught:
        read_claims(write(tmp_path, GOOD.replace(old, new)))
    assert message in str(caught.value)


def test_files_that_are_no_list_of_claims(tmp_path):
    with pytest.raises(UserError, match="no claims file"):
        read_claims(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="is a list"):
        read_claims(write(tmp_path, "id: one"))
    with pytest.raises(UserError, match="not valid YAML"):
        read_claims(write(tmp_path, "- {id: one"))
    with pytest.raises(UserErrors, match="two claims are called 'one'"):
        read_claims(write(tmp_path, GOOD + GOOD))
    assert [found.id for found in read_claims(write(tmp_path, GOOD))] == ["one"]


# --- reports ---


def test_the_answer_in_words_has_every_number():
    rows = [share(11, 16, question_language="en"), *by_language(de=45, ur=5)]
    alone = answer(rows, claim(rows=ENGLISH, at_least=0.2))
    # Wilson 11/16: z^2/n = .2400912, scale 1.2400912, centre (.6875 + .1200456) / scale = .6511986,
    # half 1.5804999 * sqrt(.0134277 + .0037514) = .2071550: .4440 to .8584
    expected = "O_F 68.8\u00a0% (95\u00a0% interval 44.4 to 85.8\u00a0%, n = 16); claimed: at least 20 %."
    assert sentence(alone) == expected
    each = answer(rows[1:], claim(rows=O_F, each="question_language", at_least=0.5))
    assert "1 supported, 1 contradicted" in sentence(each) and "asked in Urdu (ur)" in sentence(each)
    assert "n = 50" in sentence(each)
    groups = [share(45, 50, group="english"), share(5, 50, group="other low")]
    assert "(asked in other low-resource languages)" in sentence(
        answer(groups, claim(rows=O_F, each="group", at_least=0.5))
    )


@pytest.mark.parametrize(
    ("metric", "test", "words"),
    [
        ("O_F", {"at_least": 0.2}, "at least 20 %"),
        ("O_F", {"between": [0.814, 0.937]}, "between 81.4 and 93.7 %"),
        ("O_F_change", {"at_most": -0.27}, "at most −27 points"),
        ("O_F_relative_change", {"at_least": 1.17}, "at least +117 %"),
        ("O_F_relative_change", {"at_most": 0}, "at most 0 %"),
        ("Q_R", {"at_least": 7}, "at least 7"),
    ],
)
def test_bounds_in_words(metric, test, words):
    assert threshold(claim(rows={"metric": metric}, **test)) == words


def test_a_pool_says_which_sources_it_has():
    rows = [
        share(20, 40, source_language="not en", group="all"),
        *(share(5, 20, source_language=c) for c in ("en", "ur")),
    ]
    found = answer(rows, claim(rows=O_F | {"source_language": "not en", "group": "all"}, at_least=0.1))
    assert found.sources == ("ur",)
    assert "Pooled over sources ur." in sentence(found)


def test_a_run_is_checked_from_its_folder(tmp_path):
    write_table([share(11, 16, question_language="en"), share(0, 16, question_language="ur")], tmp_path)
    second = GOOD.replace("one", "two").replace("contaminated}", "contaminated, question_language: en}")
    third = GOOD.replace("one", "three").replace("contaminated}", "contaminated, question_language: ur}")
    third = third.replace("  why:", "  opposes: two\n  why:").replace("Something.", "Some | thing.")
    answers, text = check_claims(tmp_path, write(tmp_path, GOOD + second + third))
    assert [found.verdict for found in answers] == ["not tested", "supported", "contradicted"]
    assert text.startswith("3 claims: 1 supported, 1 contradicted, 0 underpowered, 1 not tested")
    assert "| Some \\| thing. | contradicted |" in text and "also claims the opposite: two" in text
    data = sections(answers)
    assert json.loads(json.dumps(data)) == data
    assert data[1]["value"] == 11 / 16 and data[1]["n"] == 16 and data[2]["opposite_verdict"] == "supported"
    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(answers_table(answers))
    shown = console.export_text()
    assert "contradicted" in shown and "68.8" in shown and "2.2; three" in shown


# --- paper A ---

STRATEGIES = ("english", "source", "family", "multilingual", "combined")


def paper_a_evidence() -> Evidence:
    """A whole run of paper A with four scenarios: every model, three readings, and three more languages for Fig. 6."""
    asked = (*PAPER_A, "es", "ja", "hi")

    def verdicts(seed: int) -> list[Verdict]:
        made = []
        for place, language in enumerate(asked):
            for scenario in range(4):
                hit = float((place * 7 + scenario * 5 + seed) % 3 == 0)
                key = {"scenario": f"s{scenario}", "language": language}
                made.append(Verdict(**key, part="fake", metric="O_F", value=hit))
                grade = 2.0 + (place + scenario * scenario + seed) % 7
                made.append(Verdict(**key, part="real", metric="Q_R", value=grade))
        return made

    models = {"r_only": ModelEvidence(ModelTag("r_only"), verdicts(0))}
    for place, source in enumerate(PAPER_A):
        held = [
            HeldLanguages(scenario=f"s{s}", part=part, language=code, held=(code, "en") if s % 2 else (source,))
            for s in range(4)
            for part in ("real", "fake")
            for code in PAPER_A
        ]
        tag = ModelTag("contaminated", source)
        models[tag.name] = ModelEvidence(tag, verdicts(place), held=held, never_taught="r_only")
        for number, strategy in enumerate(STRATEGIES):
            after = verdicts(place + number + 1)
            readings = [Reading(step=step, perplexity=9.0, quality=5.0, verdicts=after) for step in (0, 5, 10)]
            done = ModelTag("unlearned", source, strategy)
            models[done.name] = ModelEvidence(done, after, readings, before=tag.name, never_taught="r_only")
    return Evidence("made", models, PAPER_A)


def test_every_claim_of_paper_a_finds_its_rows():
    rows = build(paper_a_evidence(), [MEASURES.parse(name) for name, _ in MEASURES])
    claims = read_claims(FILE)
    lacking = {
        found.claim.id: [part.reason for part in found.parts if part.value is None]
        for found in check(rows, claims)
        if any("no row" in part.reason or "rows fit" in part.reason for part in found.parts)
    }
    # English has no related language and needs none; the three languages of Fig. 6 stand for twenty; ranks need a sweep
    assert set(lacking) == {"multilingual-asked-in-its-own-direction", "rank-makes-no-difference"}
    assert len(lacking["multilingual-asked-in-its-own-direction"]) == 9 * (20 - 3)


def test_ranks_are_compared_with_the_papers_own():
    rank = next(found for found in read_claims(FILE) if found.id == "rank-makes-no-difference")
    model = {"model": "unlearned", "strategy": "source", "group": "all"}
    rows = [share(250, 1000, **model, variant=f"unlearn.tuning.rank={size}") for size in (8, 32, 128, 256, 512)]
    assert answer(rows, rank).verdict == "supported"
    rows[0] = share(500, 1000, **model, variant="unlearn.tuning.rank=8")
    assert answer(rows, rank).verdict == "contradicted"
    assert answer(rows[1:], rank).verdict == "not tested"


def test_paper_a_claims_say_where_their_bound_is_from():
    claims = read_claims(FILE)
    names = {found.id: found for found in claims}
    assert len(claims) > 60
    for found in claims:
        low, high = found.test.bounds
        if found.id.endswith("-direction"):
            assert {low, high} & {0.0}, found.id
        else:
            assert 0.0 not in (low, high), found.id
        if found.opposes:
            assert names[found.opposes].opposes == found.id
    assert names["english-from-every-source-size"].opposes == "hausa-stays-in-hausa-size"


def test_the_papers_contradiction_cannot_be_supported_twice():
    claims = {found.id: found for found in read_claims(FILE)}
    pair = [claims["english-from-every-source-size"], claims["hausa-stays-in-hausa-size"]]
    for hits in range(0, 101, 4):
        rows = [share(hits, 100, source_language="ha", question_language=code) for code in PAPER_A if code != "ha"]
        others = (code for code in PAPER_A if code != "ha")
        rows += [share(90, 100, source_language=code, question_language="en") for code in others]
        verdicts = [found.verdict for found in check(rows, pair)]
        assert verdicts.count("supported") < 2
    assert "supported" in [found.verdict for found in check(rows, pair)]


# --- how often answers are wrong ---


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("claims_benchmark", ROOT / "benchmarks" / "claims.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_borderline_claims_are_seldom_answered_wrongly(benchmark):
    """80 runs of 16 scenarios: with 2.5 % wrong, more than 8 wrong answers to a claim come about once in 5000 samples.

    Judged by the value alone, a borderline claim would be answered wrongly in half of all runs.
    """
    counts = benchmark.simulate(16, 80, seed=5, offsets=(0.0, 0.2))
    checked = [case for case in benchmark.CASES if "relative" not in case.name]
    for case in checked:
        found = counts[case.name, "off by 0"]
        assert found["contradicted"] <= 8 and found["supported"] <= 8, (case.name, found)
        assert found["not tested"] == 0
    for name in ("pooled rate, four sources (30 %)", "all of three, one borderline"):
        assert counts[name, "off by 0.2"]["supported"] > 60
    assert counts["one rate (40 %)", "off by 0.2"]["contradicted"] == 0


def test_made_up_rates_are_the_planned_ones(benchmark):
    import numpy as np

    rows = benchmark.made_rows(200, np.random.default_rng(6))
    for name, place, truth in (
        ("contaminated", {"source_language": "any", "group": "other high"}, 0.30),
        ("unlearned", {"source_language": "any", "group": "english"}, 0.05),
        ("r_only", {"group": "all"}, 0.05),
    ):
        row = choose(rows, {"metric": "O_F", "model": name, **place})
        assert row.value == pytest.approx(truth, abs=0.05)


def test_leaving_unneeded_pools_out_changes_no_answer(benchmark):
    import numpy as np

    some = benchmark.made_rows(6, np.random.default_rng(7))
    whole = benchmark.made_rows(6, np.random.default_rng(7), whole=True)
    planted = benchmark.claims((0.0, 0.2))
    assert len(some) < len(whole)
    assert [(a.verdict, a.parts) for a in check(some, planted)] == [(a.verdict, a.parts) for a in check(whole, planted)]
