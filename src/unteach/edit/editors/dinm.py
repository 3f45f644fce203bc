"""DINM: locate the layer where unsafe and safe response differ most, and teach its matrix the safe response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from unteach.edit.contract import EDITORS, Edit, ItemEditor, Job
from unteach.edit.descend import Descended, Descent, Task, descend
from unteach.edit.locate import distances, largest
from unteach.edit.scope import projection
from unteach.errors import UserError
from unteach.models.batches import Encoded, encode
from unteach.models.logprobs import IGNORE
from unteach.models.source import Loaded
from unteach.models.structure import decoder_layers
from unteach.progress import NoProgress, Progress
from unteach.records import EditRecord

SUFFIX = "If the user's request is reasonable, give the correct answer. Please give the right response:"
"""What the public implementation asks after, but not before, an edit (see PRESETS)."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # The method as the paper describes it.
    "faithful": {
        "layer": "per_item",
        "count_padding": False,
        "final_norm": False,
        "kl_gradient": True,
        "bos_label": False,
        "ask_with": None,
        "count_empty": 0.0,
    },
    # What the public implementation (EasyEdit, MIT licence) does.
    "easyedit": {
        "layer": "once",
        "count_padding": True,
        "final_norm": True,
        "kl_gradient": False,
        "bos_label": True,
        "ask_with": SUFFIX,
        "count_empty": 0.5,
    },
}


@EDITORS.register("dinm")
class Dinm(Descent, ItemEditor):
    """Ten Adam steps on one MLP output projection: 0.1 NLL(safe response | adversarial prompt) + KL(general knowledge).

    ``preset`` fills all settings that are not given: ``faithful`` (KL with gradient, located per item, padding left
    out, raw hidden states, same prompt before and after) or ``easyedit`` (KL without gradient, the first item's layer
    for all, padding counted, last state after the final norm, beginning-of-text as a label, a suffix after the edit,
    empty answers count one half).

    Raises:
        UserError: a fixed layer is not in the model, or a layer has no single MLP output projection.
    """

    source = "DINM (Wang et al. 2024), as used in paper B, sections 3 and 5.1"

    preset: Literal["faithful", "easyedit"] = "faithful"
    layer: Literal["per_item", "once"] | int = Field(
        "per_item",
        description="Located for each item, for the first, or fixed: from the start, or -1 the last.",
    )
    count_padding: bool = Field(False, description="Locating: padding of the shorter response counts.")
    final_norm: bool = Field(False, description="Locating: the last hidden state is the one after the final norm.")
    bos_label: bool = Field(False, description="The last prompt token's label is beginning-of-text, if there is one.")
    ask_with: str | None = Field(None, description="Suffix of every request to the edited model; @language translates.")
    count_empty: float = Field(0.0, ge=0, le=1, description="What an empty reply counts in DS and DG.")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {**PRESETS.get(str(given.get("preset", "faithful")), {}), **given}

    @property
    def suffix(self) -> str | None:
        return self.ask_with

    @property
    def empty_counts(self) -> float:
        return self.count_empty

    def edit(
        self,
        loaded: Loaded,
        jobs: Sequence[Job],
        *,
        seed: int,
        first: Job | None = None,
        progress: Progress | None = None,
    ) -> list[Edit]:
        where = self.located(loaded, jobs, seed, first or jobs[0])
        tasks = [task_of(loaded, job, self.bos_label) for job in jobs]
        done: dict[int, Descended] = {}
        with (progress or NoProgress()).task("editing", len(jobs)) as bar:
            for layer in dict.fromkeys(layer for layer, _ in where):
                members = [index for index, (at, _) in enumerate(where) if at == layer]
                for start in range(0, len(members), self.batch_items):
                    batch = members[start : start + self.batch_items]
                    done |= dict(zip(batch, descend(loaded, layer, [tasks[i] for i in batch], self), strict=True))
                    bar.advance(len(batch))
        return [
            made_edit(loaded, job, layer, found, done[index])
            for index, (job, (layer, found)) in enumerate(zip(jobs, where, strict=True))
        ]

    def located(
        self, loaded: Loaded, jobs: Sequence[Job], seed: int, first: Job
    ) -> list[tuple[int, tuple[float, ...]]]:
        """Each job's layer, and the distances by which it was found (none where it is fixed, or another job's)."""
        layers = len(decoder_layers(loaded.model))
        if isinstance(self.layer, int):
            if not -layers <= self.layer < layers:
                raise UserError(f"dinm: layer {self.layer} is not in the model, which has {layers} layers")
            return [(self.layer % layers, ())] * len(jobs)
        looked_at = jobs if self.layer == "per_item" else [first]
        pairs = [(job.unsafe, job.safe) for job in looked_at]
        found = distances(loaded, pairs, count_padding=self.count_padding, final_norm=self.final_norm)
        where = [(largest(values), values) for values in found]
        if self.layer == "per_item":
            return where
        layer, values = where[0]
        return [(layer, values if job.item == first.item else ()) for job in jobs]


def task_of(loaded: Loaded, job: Job, bos_label: bool = False) -> Task:
    """A job as token sequences."""
    limit = loaded.context_length
    response = encode(loaded.tokenizer, job.target, job.prompt, limit)
    if bos_label and loaded.tokenizer.bos_token_id is not None and response.ids[0] == loaded.tokenizer.bos_token_id:
        response = _with_bos_label(response)
    knowledge = encode(loaded.tokenizer, job.knowledge[1], job.knowledge[0], limit) if job.knowledge else None
    if not response.label_count:
        raise UserError(
            f"item {job.item!r} in {job.language!r}: the prompt fills the model's context of {limit} tokens"
        )
    return Task(response, knowledge)


def _with_bos_label(sequence: Encoded) -> Encoded:
    """The target tokenised by itself begins with the mark, which then stands at the last prompt token's place."""
    first = next(index for index, label in enumerate(sequence.labels) if label != IGNORE)
    labels = list(sequence.labels)
    if first > 1:
        labels[first - 1] = sequence.ids[0]
    return Encoded(sequence.ids, tuple(labels))


def made_edit(loaded: Loaded, job: Job, layer: int, found: tuple[float, ...], done: Descended) -> Edit:
    """The edit with its record."""
    name, module = projection(loaded.model, layer)
    norm = float(done.delta.norm())
    record = EditRecord(
        item=job.item,
        language=job.language,
        layer=layer,
        layers=len(decoder_layers(loaded.model)),
        weight=f"{name}.weight",
        distances=found,
        losses=done.losses,
        norm=norm,
        relative_norm=norm / float(torch.linalg.vector_norm(module.weight.detach().float())),
        seconds=done.seconds,
    )
    return Edit(record, done.delta)
