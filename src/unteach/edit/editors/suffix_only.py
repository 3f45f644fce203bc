"""The suffix alone: what the public implementation's prompt does without its edit."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from unteach.edit.contract import EDITORS, Edit, ItemEditor, Job
from unteach.edit.editors.dinm import SUFFIX
from unteach.edit.editors.none import unchanged
from unteach.models.source import Loaded
from unteach.progress import Progress


@EDITORS.register("suffix_only")
class SuffixOnly(ItemEditor):
    """Changes no weight but asks with the suffix that DINM's public implementation adds after an edit.

    A difference to ``none`` is the prompt's, not the edit's.
    """

    source = "control; suffix of DINM's public implementation"

    ask_with: str = Field(SUFFIX, min_length=1, description="The suffix; @language is its translation.")

    @property
    def suffix(self) -> str | None:
        return self.ask_with

    @property
    def uses_language(self) -> bool:
        return False

    def edit(
        self,
        loaded: Loaded,
        jobs: Sequence[Job],
        *,
        seed: int,
        first: Job | None = None,
        progress: Progress | None = None,
    ) -> list[Edit]:
        return unchanged(loaded, jobs)
