"""A run with editing: check everything, do what is not done, and write table, replies, edits and the record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unteach.corpora.safety import ItemSet, load_items
from unteach.experiments.editing.plan import PlannedEdit, all_stages, plan
from unteach.experiments.editing.spec import EditingSpec, check_against_items
from unteach.experiments.editing.stages import EditingContext
from unteach.experiments.run import claim_folder, how_it_was_done
from unteach.experiments.runners.local import Done, run_all
from unteach.experiments.sweep import Point, dump_points
from unteach.metrics.contract import Evidence, ModelEvidence
from unteach.metrics.table import build, write_table
from unteach.models.processes import is_first
from unteach.progress import Progress
from unteach.records import Row
from unteach.store import Store, write_atomically


@dataclass(frozen=True)
class PreparedEditing:
    """A checked spec with its stages, for every point of a sweep; nothing has been computed."""

    points: tuple[Point[EditingSpec], ...]
    contexts: tuple[EditingContext, ...]
    models: tuple[PlannedEdit, ...]


def read_items(spec: EditingSpec) -> ItemSet:
    """The items that a spec wants."""
    return load_items(spec.items.path, spec.items.limit)


def prepare(
    points: Sequence[Point[EditingSpec]], store: Path, items_of: Callable[[EditingSpec], ItemSet] = read_items
) -> PreparedEditing:
    """Load the items, check that they and the model have all that the spec needs, and plan the stages.

    Raises:
        UserError: something is missing; nothing has been started.
    """
    contexts, models = [], list[PlannedEdit]()
    for point in points:
        items = items_of(point.spec)
        check_against_items(point.spec, items)
        contexts.append(EditingContext(point.spec, items, Store(store)))
        models += plan(contexts[-1], point.variant, point.seed)
    return PreparedEditing(tuple(points), tuple(contexts), tuple(models))


def run(prepared: PreparedEditing, out: Path, progress: Progress) -> list[Row]:
    """Do the run and fill ``out`` with table, replies, edits and record; gives the table's rows.

    Raises:
        UserError: ``out`` belongs to another spec, the disk is full, or training failed. Finished stages are kept.
    """
    if is_first():
        claim_folder(out, prepared.points)
    started = time.time()
    stages = all_stages(prepared.models)
    if not all(stage.done for stage in stages):
        for judge in (judge for context in prepared.contexts for judge in context.spec.judges.values()):
            judge.check()
    done = run_all(stages, progress)
    rows = build(gather(prepared), prepared.contexts[0].spec.measures)
    if is_first():
        write_table(rows, out)
        _write_lines(out / "answers.jsonl", _replies(prepared))
        _write_lines(out / "edits.jsonl", _edits(prepared))
        record = describe(prepared, done, time.time() - started)
        write_atomically(out / "run.json", json.dumps(record, ensure_ascii=False, indent=1))
    return rows


def gather(prepared: PreparedEditing) -> Evidence:
    """Everything the measures need, from finished stages."""
    models = {
        model.tag.name: ModelEvidence(
            model.tag,
            defences={judged.judge: judged.defences() for judged in model.judged},
            known=model.attacked.known(),
            edits=model.attacked.edits(),
            empty_counts=model.entry.editor.empty_counts,
            before=model.before,
            prompt_only=model.prompt_only,
        )
        for model in prepared.models
    }
    return Evidence(prepared.contexts[0].spec.name, models, prepared.contexts[0].spec.languages)


def _replies(prepared: PreparedEditing) -> Iterator[dict[str, Any]]:
    for model in prepared.models:
        defences = {judged.judge: judged.defences() for judged in model.judged}
        for number, reply in enumerate(model.attacked.replies()):
            request = reply.request
            yield _tag(model) | {
                "item": request.item,
                "input": request.input,
                "language": request.language,
                "request": request.text,
                "reply": reply.text,
                "finished": reply.finished,
                "defences": {
                    judge: found[number].model_dump(
                        include={"outcome", "reason", "unscored", "refuses", "evidence"}, mode="json"
                    )
                    for judge, found in defences.items()
                },
            }


def _edits(prepared: PreparedEditing) -> Iterator[dict[str, Any]]:
    for model in prepared.models:
        for edit in model.attacked.edits():
            yield _tag(model) | edit.model_dump(mode="json")


def _tag(model: PlannedEdit) -> dict[str, Any]:
    tag = model.tag
    return {
        "model": tag.model,
        "source_language": tag.source_language,
        "editor": tag.editor,
        "variant": tag.variant,
        "seed": tag.seed,
    }


def _write_lines(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as out:
        for line in lines:
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
    partial.replace(path)


def describe(prepared: PreparedEditing, done: Sequence[Done], seconds: float) -> dict[str, Any]:
    """What was done and with what: enough to do it again, and to judge what it is worth."""
    spec, items = prepared.contexts[0].spec, prepared.contexts[0].items
    origins = sorted({f"{t.origin.kind}, by {t.origin.by}" for item in items for t in item.texts.values()})
    reviewed = all(t.origin.reviewed_by_native_speaker for item in items for t in item.texts.values())
    return {
        "name": spec.name,
        **how_it_was_done(done, seconds),
        "seed": spec.seed,
        "spec": dump_points(prepared.points),
        "items": {
            "name": items.name,
            "items": len(items),
            "digest": items.digest(),
            "origin": "; ".join(origins) + ("" if reviewed else "; not reviewed by a native speaker"),
        },
        "model": {"name": spec.model.registered_name, **spec.model.identity(), "prompt_format": spec.ask.format},
        "notes": _notes(prepared),
    }


def _notes(prepared: PreparedEditing) -> list[str]:
    notes = []
    for context in prepared.contexts:
        if context.spec.teach:
            notes.append(
                "the model was first taught to answer the guarded questions: the behaviour that is defended against is "
                "of our making"
            )
        for entry in context.spec.editors:
            suffixes = [e.editor.suffix for e in context.spec.editors if e.editor.registered_name == "suffix_only"]
            if entry.editor.suffix and entry.editor.suffix not in suffixes:
                notes.append(
                    f"{entry.name} is asked with a suffix that no suffix_only editor of this spec uses: its change "
                    "holds the suffix's part"
                )
    return list(dict.fromkeys(notes))
