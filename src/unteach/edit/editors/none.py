"""No edit: the control that every number is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from unteach.edit.contract import EDITORS, Edit, ItemEditor, Job
from unteach.models.source import Loaded
from unteach.models.structure import decoder_layers
from unteach.progress import Progress
from unteach.records import EditRecord


@EDITORS.register("none")
class Nothing(ItemEditor):
    """Changes nothing: the model before editing."""

    source = "control"

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
        layers = len(decoder_layers(loaded.model))
        return [Edit(EditRecord(item=job.item, language=job.language, layer=None, layers=layers)) for job in jobs]
