"""A spec of the whole pipeline on a tiny random model, and the command line as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml


@pytest.fixture
def spec_content(tiny_folder) -> dict:
    """Everything the quickstart does, with three scenarios, three languages and a few steps."""
    return {
        "name": "tiny",
        "corpus": {"limit": 3},
        "model": {"name": "pretrained", "path": str(tiny_folder("llama")), "dtype": "float32"},
        "sources": ["de"],
        "question_languages": ["en", "de", "ur"],
        "teach": {
            "tuning": {"name": "lora", "rank": 4},
            "schedule": {"lr": 1e-3, "batch_size": 4},
            "samples": {"real": 5, "fake": 1, "keep": 0.25, "keep_fake": 0.0},
            "instruct": {"mode": "mixed"},
        },
        "unlearn": {
            "strategies": ["english", "combined"],
            "objective": "grad_diff",
            "tuning": {"name": "lora", "rank": 4},
            "schedule": {"lr": 1e-3, "batch_size": 2, "max_steps": 4},
            "forget": {"samples": 2, "keep": 0.0, "keep_real": 0.25},
            "stop": ["quality_drop", {"name": "perplexity", "limit": 1e9}],
            "checkpoint_every": 2,
        },
        "probe": {"languages": ["en", "@source"], "retain_texts": 2},
        "ask": {"max_new_tokens": 8, "batch_size": 4},
        "judge": "keyword",
        "forced_choice": {"candidate": "claim", "models": ["r_only", "contaminated", "unlearned"]},
    }


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    """``write_spec(content, "name")`` puts a spec into a file."""

    def write(content: dict, name: str = "tiny") -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        return path

    return write


@pytest.fixture
def unteach(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """``unteach("run", spec)`` calls the command line in an empty folder of its own."""

    def call(*arguments: object, **options: object) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "unteach.cli", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, "COLUMNS": "200", **options},
        )

    return call
