"""Runs stages one after another in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from unteach.experiments.bench import Workbench
from unteach.experiments.stage import Stage
from unteach.progress import Progress


@dataclass(frozen=True)
class Done:
    """One stage of a run: how long it took when it was computed, and whether that was now."""

    stage: Stage
    seconds: float
    reused: bool


def run_stages(stages: Sequence[Stage], bench: Workbench, progress: Progress) -> list[Done]:
    """Compute what is not yet in the store, in order; every result is kept as soon as it is whole."""
    computed: set[str] = set()
    missing = sum(not stage.done for stage in stages)
    with progress.task("the whole run", len(stages)) as bar:
        bar.advance(len(stages) - missing)
        for group in _groups(stages):
            todo = [stage for stage in group if not stage.done]
            if todo:
                computed |= _compute(todo, bench)
                bar.advance(len(todo))
    return [
        Done(stage, float(stage.context.store.marker(stage.key)["seconds"]), stage.key.digest not in computed)
        for stage in stages
    ]


def _groups(stages: Sequence[Stage]) -> Iterator[list[Stage]]:
    """Stages that follow one another and can be done in one go; all others alone."""
    numbered = list(enumerate(stages))
    for _, group in groupby(numbered, key=lambda entry: entry[1].together or entry[0]):
        yield [stage for _, stage in group]


def _compute(todo: Sequence[Stage], bench: Workbench) -> set[str]:
    """Do these stages in one go; gives the keys of those that no other process had finished meanwhile."""
    amounts = {stage.key.digest: stage.amount(bench.tokenizer) for stage in todo}
    total = sum(amounts.values()) or 1
    work: list[tuple[Stage, Path]] = []
    with contextlib.ExitStack() as scope:
        for stage in sorted(todo, key=lambda stage: stage.key.digest):  # one order for all processes: no deadlock
            amount = amounts[stage.key.digest]
            folder = scope.enter_context(
                stage.context.store.writing(
                    stage.key, needs_bytes=stage.bytes_needed(), amount=amount, share=amount / total
                )
            )
            if folder is not None:
                work.append((stage, folder))
        work.sort(key=lambda entry: todo.index(entry[0]))
        if work:
            type(work[0][0]).execute_all(bench, work)
    return {stage.key.digest for stage, _ in work}
