"""The workbench: the base model, loaded when first needed, and the patches that are on it now."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from transformers import PreTrainedTokenizerBase

from unteach.models.source import Loaded, ModelSource
from unteach.models.tuning import patched
from unteach.progress import Progress


class Workbench:
    """Holds one base model for a whole run; ``with_patches`` puts stages' results on it and takes them off again."""

    def __init__(self, source: ModelSource, progress: Progress) -> None:
        self.source = source
        self.progress = progress
        self._loaded: Loaded | None = None
        self._patches: tuple[Path, ...] = ()
        self._scope = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._scope.close()

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokeniser."""
        return self.with_patches(self._patches).tokenizer

    def with_patches(self, patches: Sequence[Path]) -> Loaded:
        """The model with exactly these patches on. They stay on until another set is asked for."""
        if self._loaded is None:
            with self.progress.task("loading the model", 1) as bar:
                self._loaded = self.source.load()
                bar.advance()
        if tuple(patches) != self._patches:
            self._scope.close()
            self._patches = ()
            self._scope.enter_context(patched(self._loaded.model, patches))
            self._patches = tuple(patches)
        return self._loaded
