"""Where edits were made, how large they are, how long they took and how their loss fell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from unteach.metrics.contract import MEASURES, Evidence, Measure, ModelTag, clustered
from unteach.metrics.intervals import clustered_mean, clustered_rate
from unteach.records import EditRecord, Row


@MEASURES.register("located_layers")
class LocatedLayers(Measure):
    """located_layer = share of items whose edit was located in a layer ("layer 07", counted from 0), for every layer.

    Only edits count whose layer was located by their own distances. edit_norm (of the change, over that of the weight),
    edit_seconds and edit_loss ("first": before the first step, "last": before the last one; nats a token) are means
    over all edits. By edit language, and for "any" over all of one editor. Edits of one item are one cluster: Wilson
    interval for shares, Student's t for means.
    """

    source = "Paper B, section 5.4.2"

    def __call__(self, evidence: Evidence) -> list[Row]:
        return [row for tag, edits in _sets(evidence) for row in _rows(evidence, tag, edits)]


def _sets(evidence: Evidence) -> Iterator[tuple[ModelTag, list[EditRecord]]]:
    pooled: dict[ModelTag, list[EditRecord]] = {}
    for model in evidence.models.values():
        if model.edits:
            yield model.tag, list(model.edits)
            if model.tag.source_language is not None:
                pooled.setdefault(replace(model.tag, source_language="any"), []).extend(model.edits)
    yield from pooled.items()


def _rows(evidence: Evidence, tag: ModelTag, edits: Sequence[EditRecord]) -> Iterator[Row]:
    located = [edit for edit in edits if edit.distances]
    layers = max((edit.layers for edit in located), default=0)
    for layer in range(layers):
        group = f"layer {layer:0{len(str(layers - 1))}}"
        here = _by_item((edit.item, float(edit.layer == layer)) for edit in located)
        yield evidence.row(tag, "located_layer", group=group, **clustered(here, clustered_rate))
    for metric, field in (("edit_norm", "relative_norm"), ("edit_seconds", "seconds")):
        numbers = _by_item((edit.item, getattr(edit, field)) for edit in edits)
        yield evidence.row(tag, metric, **clustered(numbers, clustered_mean))
    for group, step in (("first", 0), ("last", -1)):
        losses = _by_item((edit.item, edit.losses[step].total) for edit in edits if edit.losses)
        if losses:
            yield evidence.row(tag, "edit_loss", group=group, **clustered(losses, clustered_mean))


def _by_item(numbers: Iterable[tuple[str, float]]) -> list[list[float]]:
    found: dict[str, list[float]] = {}
    for item, number in numbers:
        found.setdefault(item, []).append(number)
    return list(found.values())
