"""A sweep on a tiny random model: two seeds and two ranks of unlearning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from unteach.experiments.run import Prepared, prepare, run
from unteach.experiments.sweep import Point, expand, load_points
from unteach.metrics.intervals import mean_interval
from unteach.progress import NoProgress
from unteach.records import Row
from unteach.reports.tables import load_rows
from unteach.store import MARKER

SEEDS, RANKS, LANGUAGES, SCENARIOS = (0, 1), (2, 4), ("en", "de"), 2
VARIANTS = tuple(f"unlearn.tuning.rank={rank}" for rank in RANKS)


@dataclass
class Made:
    """One finished sweep."""

    points: list[Point]
    prepared: Prepared
    rows: list[Row]
    out: Path

    def single(self) -> list[Row]:
        return [row for row in self.rows if row.seed is not None]

    def together(self) -> list[Row]:
        return [row for row in self.rows if row.seed is None]


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("sweep")
    raw = {
        "name": "sweep",
        "seed": list(SEEDS),
        "corpus": {"limit": SCENARIOS},
        "model": {"name": "pretrained", "path": str(tiny_folder("llama")), "dtype": "float32"},
        "sources": ["de"],
        "question_languages": list(LANGUAGES),
        "teach": {
            "tuning": {"name": "lora", "rank": 2},
            "schedule": {"lr": 1e-2, "batch_size": 4},
            "samples": {"real": 2, "fake": 1, "keep": 0.25, "keep_fake": 0.0},
            "instruct": {"mode": "none"},
        },
        "unlearn": {
            "strategies": ["english"],
            "objective": "grad_diff",
            "tuning": {"name": "lora", "rank": list(RANKS)},
            "schedule": {"lr": 1e-2, "batch_size": 2, "max_steps": 2},
            "forget": {"samples": 1, "keep": 0.0, "keep_real": 0.25},
            "stop": [{"name": "perplexity", "limit": 1e9}],
            "checkpoint_every": 2,
        },
        "probe": {"languages": ["@questions"], "retain_texts": 2},
        "ask": {"max_new_tokens": 4, "batch_size": 8},
        "judge": "keyword",
    }
    points = expand(raw, "here")
    prepared = prepare(points, folder / "store")
    rows = run(prepared, folder / "out", NoProgress())
    return Made(points, prepared, rows, folder / "out")


def identity(row: Row, *but: str) -> tuple:
    return tuple(row.model_dump(exclude={"n", "unscored", "value", "ci_low", "ci_high", *but}).values())


def test_every_point_has_every_row(made) -> None:
    groups = {(variant, seed): set() for variant in VARIANTS for seed in SEEDS}
    for row in made.single():
        groups[row.variant, row.seed].add(identity(row, "variant", "seed"))
    first, *others = groups.values()
    assert all(other == first for other in others)
    assert len(made.single()) == len(groups) * len(first)  # and each once
    # R only, contaminated and unlearned, asked in two languages about two parts
    final = [r for r in made.single() if r.checkpoint is None and r.group is None and r.metric in ("O_F", "Q_R")]
    assert len(final) == len(groups) * 3 * len(LANGUAGES) * 2
    assert all(row.n == SCENARIOS for row in final)
    pooled = {(row.source_language, row.group) for row in made.single() if row.metric == "O_F" and row.checkpoint == 2}
    assert {("de", "all"), ("any", "all"), ("high", "english"), ("not en", "source")} <= pooled


def test_every_number_is_there_once_more_over_the_seeds(made) -> None:
    values: dict[tuple, list[float | None]] = {}
    for row in made.single():
        values.setdefault((*identity(row, "variant", "seed"), row.variant), []).append(row.value)
    found = {
        (*identity(row, "variant", "seed"), row.variant.removesuffix(", over 2 seeds")): row for row in made.together()
    }
    assert {row.variant for row in made.together()} == {f"{variant}, over 2 seeds" for variant in VARIANTS}
    assert found.keys() == values.keys() and len(found) == len(made.together())
    for place, row in found.items():
        known = [value for value in values[place] if value is not None]
        assert (row.n, row.unscored) == (len(known), len(SEEDS) - len(known))
        assert row.value == (pytest.approx(sum(known) / len(known)) if known else None)
        limits = mean_interval(known)
        if limits is None:
            assert row.ci_low is row.ci_high is None
        else:
            assert (row.ci_low, row.ci_high) == pytest.approx(limits)


def test_seeds_and_ranks_make_a_difference(made) -> None:
    """Else nothing here would see a mix-up."""
    ends = {
        (row.variant, row.seed): row.value
        for row in made.single()
        if row.metric == "perplexity" and row.checkpoint == 2 and row.question_language is None
    }
    assert len(ends) == len(set(ends.values())) == len(SEEDS) * len(RANKS)


def test_what_the_points_have_in_common_is_done_once(made) -> None:
    done = sorted(path.parent.parent.name for path in made.prepared.context.store.root.glob(f"*/*/{MARKER}"))
    # two seeds: an R-only and a contaminated model each; two ranks: an unlearned model each
    learned, unlearned = 2 * len(SEEDS), len(SEEDS) * len(RANKS)
    asked = (learned + unlearned) * len(LANGUAGES)
    assert done == ["ask"] * asked + ["judge"] * asked + ["learn"] * learned + ["unlearn"] * unlearned

    def rows(variant, seed, model):
        found = [r for r in made.single() if (r.variant, r.seed, r.model) == (variant, seed, model)]
        return [row.model_copy(update={"variant": None}) for row in found]

    for seed in SEEDS:
        for model in ("r_only", "contaminated"):
            assert rows(VARIANTS[0], seed, model) == rows(VARIANTS[1], seed, model) != []
        assert rows(VARIANTS[0], seed, "unlearned") != rows(VARIANTS[1], seed, "unlearned")
        r_only = [m for m in made.prepared.models if m.tag.model == "r_only" and m.tag.seed == seed]
        assert len(r_only) == len(RANKS) and len({m.made_by.key.digest for m in r_only}) == 1


def test_models_of_the_points_have_names_of_their_own(made) -> None:
    names = [model.tag.name for model in made.prepared.models]
    assert len(set(names)) == len(names) == len(SEEDS) * len(RANKS) * 3
    by_name = {model.tag.name: model for model in made.prepared.models}
    for model in made.prepared.models:
        for other in (model.before, model.never_taught):
            if other is not None:  # compared with the model of the same point
                tag = by_name[other].tag
                assert (tag.variant, tag.seed) == (model.tag.variant, model.tag.seed)


def test_the_table_comes_back_from_disk_as_it_was(made) -> None:
    assert load_rows(made.out) == made.rows
    assert load_rows(made.out / "table.parquet") == made.rows


def test_answers_name_their_point(made) -> None:
    lines = [json.loads(line) for line in (made.out / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(line["variant"], line["seed"]) for line in lines} == {(v, seed) for v in VARIANTS for seed in SEEDS}
    assert len(lines) == len(SEEDS) * len(RANKS) * 3 * len(LANGUAGES) * 2 * SCENARIOS


def test_the_record_holds_the_whole_sweep(made) -> None:
    record = json.loads((made.out / "run.json").read_text(encoding="utf-8"))
    assert load_points(record["spec"]) == made.points
    assert load_points(json.loads((made.out / "spec.json").read_text(encoding="utf-8"))) == made.points
    stops = [stop["model"] for stop in record["stops"]]
    assert len(set(stops)) == len(stops) == len(SEEDS) * len(RANKS)
    assert len(record["stages"]) == len({stage["digest"] for stage in record["stages"]})


def test_a_second_run_computes_nothing_and_says_the_same(made, tmp_path) -> None:
    again = prepare(made.points, made.prepared.context.store.root)
    assert run(again, tmp_path / "out", NoProgress()) == made.rows
    record = json.loads((tmp_path / "out/run.json").read_text(encoding="utf-8"))
    assert all(stage["reused"] for stage in record["stages"])
