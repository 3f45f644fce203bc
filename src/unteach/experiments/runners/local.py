"""Runs stages one after another, in this process or in several that ``accelerate launch`` started."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from unteach.experiments.bench import Workbench
from unteach.experiments.stage import ModelStage, Stage
from unteach.models.processes import from_first, is_first, my_share, wait
from unteach.progress import Progress


@dataclass(frozen=True)
class Done:
    """One stage of a run: how long it took when it was computed, and whether that was now."""

    stage: Stage
    seconds: float
    reused: bool


def run_all(stages: Sequence[Stage], progress: Progress) -> list[Done]:
    """Run stages, with a workbench for each base model; those of one model follow one another."""
    done: list[Done] = []
    for source, group in groupby(stages, key=lambda stage: stage.context.source):
        with Workbench(source, progress) as bench:
            done += run_stages(list(group), bench, progress)
    return done


def run_stages(stages: Sequence[Stage], bench: Workbench, progress: Progress) -> list[Done]:
    """Compute what is not yet in the store, in order; every result is kept as soon as it is whole."""
    computed: set[str] = set()
    missing = from_first([stage.key.digest for stage in stages if not stage.done])
    with progress.task("the whole run", len(stages)) as bar:
        bar.advance(len(stages) - len(missing))
        for group in _groups(stages):
            todo = [stage for stage in group if stage.key.digest in missing]
            if not todo:
                continue
            if isinstance(todo[0], ModelStage):
                computed |= _train(todo[0], bench)
            elif mine := my_share(todo):
                computed |= _compute(mine, bench)
            wait()
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


def _train(stage: ModelStage, bench: Workbench) -> set[str]:
    """Make a model: every process trains, the first one keeps the result."""
    if is_first():
        computed = _compute([stage], bench, and_tell=True)
    elif from_first(True):
        computed = {stage.key.digest}
        with tempfile.TemporaryDirectory() as scratch:
            stage.execute(bench, Path(scratch))
    else:
        computed = set()
    return computed


def _compute(todo: Sequence[Stage], bench: Workbench, and_tell: bool = False) -> set[str]:
    """Do these stages in one go; gives the keys of those that no other run had finished meanwhile.

    With ``and_tell`` the other processes of this run learn whether there is something to do.
    """
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
        if and_tell:
            from_first(bool(work))
        if work:
            type(work[0][0]).execute_all(bench, work)
    return {stage.key.digest for stage, _ in work}
