"""Whole runs on a tiny random model: what they leave behind, what they reuse, and that being killed loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from unteach.experiments.run import prepare, run
from unteach.experiments.spec import Spec, read_spec
from unteach.progress import NoProgress
from unteach.store import MARKER


def done_stages(store: Path) -> set[str]:
    return {str(path.parent.relative_to(store)) for path in store.glob(f"*/*/{MARKER}")}


def test_a_run_fills_the_table_with_every_model_and_language(spec_content, tmp_path) -> None:
    spec = Spec.model_validate(spec_content)
    rows = run(prepare(spec, tmp_path / "store"), tmp_path / "out", NoProgress())
    final = [r for r in rows if r.checkpoint is None and r.group is None and r.metric in ("O_F", "Q_R")]
    # 1 R-only + 1 contaminated + 2 unlearned models, each asked in 3 languages about 2 parts
    assert len(final) == 4 * 3 * 2
    assert all(row.n == 3 and row.unscored == 0 for row in final)
    assert all(row.ci_low <= row.value <= row.ci_high for row in final if row.metric == "O_F")
    assert len([row for row in rows if row.metric == "forced_choice"]) == 4 * 3 * 3
    changes = {(row.model, row.strategy) for row in rows if row.metric == "O_F_change"}
    assert changes == {("contaminated", None), ("unlearned", "english"), ("unlearned", "combined")}
    readings = [row.checkpoint for row in rows if row.metric == "perplexity" and row.strategy == "combined"]
    assert readings == [0, 2, 4]
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(table) == len(rows)
    assert list(table.columns) == list(pd.read_parquet(tmp_path / "out" / "table.parquet").columns)


def test_a_second_run_computes_nothing_and_gives_the_same_table(spec_content, write_spec, unteach, tmp_path) -> None:
    path = write_spec(spec_content)
    first = unteach("run", path)
    assert first.returncode == 0, first.stderr
    table = (tmp_path / "runs/tiny/table.csv").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/store").rglob("*") if path.is_file()}
    second = unteach("run", path)
    assert second.returncode == 0, second.stderr
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs/store").rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if p.suffix != ".lock"} == {
        p: t for p, t in before.items() if p.suffix != ".lock"
    }
    assert (tmp_path / "runs/tiny/table.csv").read_bytes() == table
    assert "report" in second.stdout
    assert (tmp_path / "runs/tiny/report.html").is_file()


def test_a_run_killed_again_and_again_ends_with_the_same_table(spec_content, write_spec, unteach, tmp_path) -> None:
    path = write_spec(spec_content)
    command = [sys.executable, "-m", "unteach.cli", "run", str(path), "--out", "killed", "--store", "store-killed"]
    kills = 0
    for wait_for in (1, 4, 9):  # kill as soon as so many stages are done: in learning, asking, unlearning
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and len(done_stages(tmp_path / "store-killed")) < wait_for:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills == 3
    kept = done_stages(tmp_path / "store-killed")
    finished = {name: (tmp_path / "store-killed" / name / MARKER).read_bytes() for name in kept}
    assert unteach("run", path, "--out", "killed", "--store", "store-killed").returncode == 0
    assert unteach("run", path, "--out", "whole", "--store", "store-whole").returncode == 0
    assert (tmp_path / "killed/table.csv").read_bytes() == (tmp_path / "whole/table.csv").read_bytes()
    for name, marker in finished.items():  # nothing that was finished was computed again
        assert (tmp_path / "store-killed" / name / MARKER).read_bytes() == marker


def test_specs_share_what_they_have_in_common_and_nothing_else(spec_content, tmp_path) -> None:
    store = tmp_path / "store"
    run(prepare(Spec.model_validate(spec_content), store), tmp_path / "a", NoProgress())
    first = done_stages(store)
    other = {
        **spec_content,
        "name": "other",
        "unlearn": {**spec_content["unlearn"], "strategies": ["english", "source"]},
    }
    run(prepare(Spec.model_validate(other), store), tmp_path / "b", NoProgress())
    new = done_stages(store) - first
    # the new strategy's unlearning, asking and judging of its one model in three languages, and its forced choice
    # among passages in three languages after questions in each
    assert sorted(name.split("/")[0] for name in new) == ["ask"] * 3 + ["choose"] * 9 + ["judge"] * 3 + ["unlearn"]


@pytest.mark.parametrize(
    ("override", "kinds"),
    [
        ("seed=1", {"learn", "unlearn", "ask", "judge", "choose"}),
        ("teach.schedule.lr=0.002", {"learn", "unlearn", "ask", "judge", "choose"}),
        ("unlearn.objective.forget_weight=0.5", {"unlearn", "ask", "judge", "choose"}),
        # the probe asks, so unlearning depends on it, and with it the forced choice of unlearned models
        ("ask.max_new_tokens=9", {"unlearn", "ask", "judge", "choose"}),
        ("forced_choice.candidate=passage", {"choose"}),
        ("ask.batch_size=2", set()),
    ],
)
def test_a_changed_setting_changes_the_keys_of_what_depends_on_it(spec_content, write_spec, tmp_path, override, kinds):
    from unteach.experiments.plan import all_stages

    path = write_spec(spec_content)
    before = all_stages(prepare(read_spec(path), tmp_path).models)
    after = all_stages(prepare(read_spec(path, [override]), tmp_path).models)
    changed = {b.kind for b, a in zip(before, after, strict=True) if b.key.digest != a.key.digest}
    assert changed == kinds


def test_instruction_tuning_after_pretraining_gives_two_patches(spec_content, tmp_path) -> None:
    instruct = {"mode": "after", "tuning": {"name": "lora", "rank": 2}, "schedule": {"lr": 1e-3, "batch_size": 4}}
    content = {**spec_content, "teach": {**spec_content["teach"], "instruct": instruct}, "unlearn": None}
    prepared = prepare(Spec.model_validate(content), tmp_path / "store")
    run(prepared, tmp_path / "out", NoProgress())
    patches = prepared.models[1].made_by.patches
    assert [patch.name for patch in patches] == ["pretrain", "instruct"]
    assert all((patch / "adapter_model.safetensors").is_file() for patch in patches)


def test_full_rank_teaching_runs_through(spec_content, tmp_path) -> None:
    content = {**spec_content, "teach": {**spec_content["teach"], "tuning": "full"}, "forced_choice": None}
    rows = run(prepare(Spec.model_validate(content), tmp_path / "store"), tmp_path / "out", NoProgress())
    assert {row.model for row in rows} == {"r_only", "contaminated", "unlearned"}
