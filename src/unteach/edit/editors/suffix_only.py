"""The suffix alone: what the public implementation's prompt does without its edit."""

from __future__ import annotations

from pydantic import Field

from unteach.edit.contract import EDITORS
from unteach.edit.editors.dinm import SUFFIX
from unteach.edit.editors.none import Nothing


@EDITORS.register("suffix_only")
class SuffixOnly(Nothing):
    """Changes no weight but asks with the suffix that DINM's public implementation adds after an edit.

    A difference to ``none`` is the prompt's, not the edit's.
    """

    source = "control; suffix of DINM's public implementation"

    ask_with: str = Field(SUFFIX, min_length=1, description="The suffix; @language is its translation.")

    @property
    def suffix(self) -> str | None:
        return self.ask_with
