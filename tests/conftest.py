"""Fixtures shared by all tests. Tests run on the CPU and never reach out to a network."""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["HF_HUB_OFFLINE"] = "1"
# Where several workers share the machine, threads of each would only wait for those of the others.
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable
from pathlib import Path

import pytest

Load = Callable[..., "Loaded"]  # noqa: F821


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Callable[[str], Path]:
    """``tiny_folder("llama")`` is a folder with that tiny model; not to be changed."""
    import tiny

    made: dict[str, Path] = {}

    def folder(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = tiny.save(architecture, tmp_path_factory.mktemp(architecture))
        return made[architecture]

    return folder


@pytest.fixture(scope="session")
def load(tiny_folder) -> Load:
    """``load("llama", "bfloat16")`` loads a fresh tiny model the way a spec does; a test may change its weights."""
    from unteach.models.source import MODELS

    def loaded(architecture: str = "llama", dtype: str = "float32"):
        return MODELS.parse({"name": "pretrained", "path": str(tiny_folder(architecture)), "dtype": dtype}).load()

    return loaded
