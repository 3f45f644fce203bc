"""Two processes do what one does: the same losses at equal global batch, the same table, each file written once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest


def _run(spec: Path, folder: Path, processes: int) -> None:
    own = ["-m", "unteach.cli", "run", str(spec), "--out", str(folder / "out"), "--store", str(folder / "store")]
    # accelerate's --cpu starts several processes through MPI only; --multi_gpu is its way to torch's own launcher
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = [sys.executable, *(own if processes == 1 else launcher + own)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]


def _losses(folder: Path, kind: str) -> list[dict[str, float]]:
    """All steps of all stages of a kind, by the stage's settings."""
    found = []
    for marker in (folder / "store" / kind).glob("*/done.json"):
        settings = json.loads(marker.read_text())["key"]["settings"]
        steps = [json.loads(line) for line in (marker.parent / "log.jsonl").read_text().splitlines()]
        found.append((str(settings.get("source", settings.get("slots"))), steps))
    return [step for _, steps in sorted(found) for step in steps]


def test_two_processes_with_gradient_checkpointing_give_the_losses_of_one_without(
    spec_content, write_spec, tmp_path
) -> None:
    spec_content["teach"]["samples"] = {"real": 16, "fake": 8, "keep": 0.25, "keep_fake": 0.0}
    spec_content["teach"]["instruct"] = {"mode": "none"}
    spec_content["unlearn"]["forget"]["samples"] = 8
    del spec_content["unlearn"]["schedule"]["max_steps"]
    for processes in (1, 2):
        for part, size in (("teach", 4), ("unlearn", 2)):  # 48 or 72 items, 24 pairs: whole batches
            spec_content[part]["schedule"]["batch_size"] = size * 2 // processes
            spec_content[part]["schedule"]["gradient_checkpointing"] = processes == 2
        _run(write_spec(spec_content, f"p{processes}"), tmp_path / str(processes), processes)
    for kind, stages in (("learn", 2), ("unlearn", 2)):
        one, two = _losses(tmp_path / "1", kind), _losses(tmp_path / "2", kind)
        assert len(one) == len(two) >= 2 * stages
        for alone, shared in zip(one, two, strict=True):
            assert shared == pytest.approx(alone, rel=1e-4)
    tables = [pd.read_parquet(tmp_path / str(n) / "out" / "table.parquet") for n in (1, 2)]
    same = [column for column in tables[0].columns if column not in ("value", "ci_low", "ci_high")]
    assert tables[0][same].equals(tables[1][same])
    assert (tables[0]["value"] - tables[1]["value"]).abs().max() < 1e-2
