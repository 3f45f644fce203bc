"""A run: check everything, do what is not done, and write the table and the record of how it came about."""

from __future__ import annotations

import importlib.metadata
import json
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unteach import __version__
from unteach.corpora.load import Corpus, load_corpus
from unteach.errors import UserError
from unteach.experiments.bench import Workbench
from unteach.experiments.model_stages import Unlearn
from unteach.experiments.plan import PlannedModel, all_stages, plan
from unteach.experiments.runners.local import Done, run_stages
from unteach.experiments.spec import Spec, check_against_corpus
from unteach.experiments.stage import Context
from unteach.languages.identify import identify
from unteach.metrics.contract import Evidence, ModelEvidence
from unteach.metrics.table import build, write_table
from unteach.models.hardware import machine
from unteach.progress import Progress
from unteach.records import Reading, Row
from unteach.store import Store, write_atomically

_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy", "pandas")


@dataclass(frozen=True)
class Prepared:
    """A checked spec with its corpus and stages; nothing has been computed."""

    context: Context
    models: list[PlannedModel]


def prepare(spec: Spec, store: Path) -> Prepared:
    """Load the corpus, check that it and the model have all that the spec needs, and plan the stages.

    Raises:
        UserError: something is missing; nothing has been started.
    """
    corpus = load_corpus(spec.corpus.path)
    if spec.corpus.limit:
        corpus = Corpus(corpus.scenarios[: spec.corpus.limit], corpus.name)
    check_against_corpus(spec, corpus)
    context = Context(spec, corpus, Store(store))
    return Prepared(context, plan(context))


def run(prepared: Prepared, out: Path, progress: Progress) -> list[Row]:
    """Do the run and fill ``out`` with table, answers and record; gives the table's rows.

    Raises:
        UserError: ``out`` belongs to another spec, the disk is full, or training failed. Finished stages are kept.
    """
    context = prepared.context
    claim_folder(out, context.spec)
    started = time.time()
    stages = all_stages(prepared.models)
    with Workbench(context.spec.model, context.corpus, progress) as bench:
        done = run_stages(stages, bench, progress)
    evidence = gather(prepared)
    rows = build(evidence, context.spec.measures)
    write_table(rows, out)
    write_answers(prepared, out / "answers.jsonl")
    record = describe_run(prepared, done, time.time() - started)
    write_atomically(out / "run.json", json.dumps(record, ensure_ascii=False, indent=1))
    return rows


def claim_folder(out: Path, spec: Spec) -> None:
    """Make ``out`` this spec's folder, or refuse if it is another's."""
    mine = json.dumps(spec.model_dump(mode="json"), ensure_ascii=False, indent=1, sort_keys=True)
    marker = out / "spec.json"
    if marker.is_file():
        if marker.read_text(encoding="utf-8") != mine:
            raise UserError(
                f"{out} holds the results of another spec ({json.loads(marker.read_text())['name']!r} with other "
                "settings). Give another folder with --out, or delete that one; finished stages are in the store "
                "and will be reused either way."
            )
        return
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty and is no run's folder. Give another folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(marker, mine)


def gather(prepared: Prepared) -> Evidence:
    """Everything the finished stages say, by model."""
    models = {}
    for model in prepared.models:
        readings: Sequence[Reading] = ()
        if isinstance(model.made_by, Unlearn):
            readings = Reading.read(model.made_by.folder / "readings.jsonl")
        models[model.tag.name] = ModelEvidence(
            tag=model.tag,
            verdicts=[verdict for judged in model.judged for verdict in judged.verdicts()],
            readings=readings,
            choices=[choice for chosen in model.chosen for choice in chosen.choices()],
            before=model.before,
        )
    return Evidence(prepared.context.spec.name, models)


def write_answers(prepared: Prepared, path: Path) -> None:
    """Every final answer with its verdict, as JSON lines for the report."""
    partial = path.with_suffix(".partial")
    languages = prepared.context.spec.question_languages
    with partial.open("w", encoding="utf-8") as out:
        for model in prepared.models:
            for judged in model.judged:
                for answer, verdict in zip(judged.asked.answers(), judged.verdicts(), strict=True):
                    line = {
                        "model": model.tag.model,
                        "source_language": model.tag.source_language,
                        "strategy": model.tag.strategy,
                        "scenario": verdict.scenario,
                        "part": verdict.part,
                        "language": verdict.language,
                        "question": answer.question.text,
                        "answer": answer.text,
                        "finished": answer.finished,
                        "answer_language": identify(answer.text, among=languages).code,
                        "verdict": verdict.model_dump(include={"metric", "value", "unscored", "evidence"}),
                    }
                    out.write(json.dumps(line, ensure_ascii=False) + "\n")
    partial.replace(path)


def describe_run(prepared: Prepared, done: Sequence[Done], seconds: float) -> dict[str, Any]:
    """What was done and with what: enough to do it again, and to judge what it is worth."""
    context = prepared.context
    spec, corpus = context.spec, context.corpus
    origins = sorted(
        {
            f"{t.origin.kind}, by {t.origin.by}, "
            + ("reviewed" if t.origin.reviewed_by_native_speaker else "not reviewed by a native speaker")
            for s in corpus
            for t in s.texts.values()
        }
    )
    return {
        "name": spec.name,
        "finished": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory(),
        "seed": spec.seed,
        "spec": spec.model_dump(mode="json"),
        "corpus": {
            "name": corpus.name,
            "scenarios": len(corpus),
            "digest": corpus.digest,
            "origin": "; ".join(origins),
        },
        "model": {"name": spec.model.registered_name, **spec.model.identity(), "prompt_format": spec.ask.format},
        "machine": machine(),
        "versions": {"unteach": __version__, "python": sys.version.split()[0]}
        | {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "stages": [
            {
                "name": d.stage.name,
                "kind": d.stage.kind,
                "digest": d.stage.key.digest,
                "seconds": round(d.seconds, 2),
                "reused": d.reused,
            }
            for d in done
        ],
        "stops": [
            {"model": model.tag.name, **json.loads((model.made_by.folder / "outcome.json").read_text())}
            for model in prepared.models
            if isinstance(model.made_by, Unlearn)
        ],
        "notes": [],
    }


def peak_memory() -> int:
    """The most memory this process held at once, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes(folder: Path) -> int:
    """Free disk space where ``folder`` is or will be."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(existing).free
