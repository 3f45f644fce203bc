"""DINM at a layer drawn at random: does locating matter?"""

from __future__ import annotations

import random
from collections.abc import Sequence

from unteach.edit.contract import EDITORS, Job
from unteach.edit.editors.dinm import Dinm
from unteach.models.source import Loaded
from unteach.models.structure import decoder_layers


@EDITORS.register("random_layer")
class RandomLayer(Dinm):
    """DINM with each item's layer drawn from all layers, by the run's seed and the item; ``layer`` plays no part."""

    source = "control"

    def located(
        self, loaded: Loaded, jobs: Sequence[Job], seed: int, first: Job
    ) -> list[tuple[int, tuple[float, ...]]]:
        layers = len(decoder_layers(loaded.model))
        return [(random.Random(f"{seed}/{job.item}").randrange(layers), ()) for job in jobs]
