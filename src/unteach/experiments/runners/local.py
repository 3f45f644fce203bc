"""Runs stages one after another in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    results = []
    missing = sum(not stage.context.store.is_done(stage.key) for stage in stages)
    with progress.task("the whole run", len(stages)) as bar:
        bar.advance(len(stages) - missing)
        for stage in stages:
            store, computed = stage.context.store, False
            if not store.is_done(stage.key):
                amount = stage.amount(bench.tokenizer)
                with store.writing(stage.key, needs_bytes=stage.bytes_needed(), amount=amount) as folder:
                    if folder is not None:
                        stage.execute(bench, folder)
                        computed = True
                bar.advance()
            results.append(Done(stage, float(store.marker(stage.key)["seconds"]), reused=not computed))
    return results
