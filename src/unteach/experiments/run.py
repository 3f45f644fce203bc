"""A run: check everything, do what is not done, and write the table and the record of how it came about."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unteach import __version__
from unteach.corpora.load import Corpus, load_corpus
from unteach.errors import UserError
from unteach.experiments.model_stages import Unlearn
from unteach.experiments.plan import PlannedModel, all_stages, plan
from unteach.experiments.runners.local import Done, run_all
from unteach.experiments.spec import CorpusSpec, Spec, check_against_corpus
from unteach.experiments.stage import Context
from unteach.experiments.sweep import Point, dump_points
from unteach.languages.identify import CANNOT_TELL, languages_in
from unteach.languages.table import MULTILINGUAL, find
from unteach.metrics.contract import Evidence, ModelEvidence, ModelTag
from unteach.metrics.table import build, write_table
from unteach.models.hardware import machine
from unteach.models.processes import is_first, processes
from unteach.progress import Progress
from unteach.records import HeldLanguages, Reading, Row
from unteach.store import Store, write_atomically
from unteach.unlearn.strategies.multilingual import Multilingual

_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy", "pandas", "trl")


@dataclass(frozen=True)
class Prepared:
    """A checked spec with its stages, for every point of a sweep; nothing has been computed."""

    points: tuple[Point[Spec], ...]
    contexts: tuple[Context, ...]
    models: list[PlannedModel]

    @property
    def context(self) -> Context:
        """The context of the first point; name, corpus and store are the same for all."""
        return self.contexts[0]


def read_corpus(spec: Spec) -> Corpus:
    """The scenarios that a spec wants.

    Raises:
        UserError: there is no corpus, or something is wrong with its files.
    """
    path = spec.corpus.path
    if spec.corpus.planned is not None and path is not None and not path.exists():
        raise UserError(
            f"there is no corpus at {path}: corpus.planned serves `unteach plan` alone. Put the scenarios there, or "
            "leave corpus.path out for the embedded ones (--set corpus.path=null)."
        )
    corpus = load_corpus(path)
    return Corpus(corpus.scenarios[: spec.corpus.limit], corpus.name) if spec.corpus.limit else corpus


def prepare(
    spec: Spec | Sequence[Point[Spec]], store: Path, corpus_of: Callable[[Spec], Corpus] = read_corpus
) -> Prepared:
    """Load the corpus, check that it and the model have all that the spec needs, and plan the stages.

    Raises:
        UserError: something is missing; nothing has been started.
    """
    points = (Point(spec),) if isinstance(spec, Spec) else tuple(spec)
    corpora: dict[CorpusSpec, Corpus] = {}
    contexts, models = [], []
    for point in points:
        if point.spec.corpus not in corpora:
            corpora[point.spec.corpus] = corpus_of(point.spec)
        corpus = corpora[point.spec.corpus]
        check_against_corpus(point.spec, corpus)
        contexts.append(Context(point.spec, corpus, Store(store)))
        models += plan(contexts[-1], ModelTag("r_only", variant=point.variant, seed=point.seed))
    return Prepared(points, tuple(contexts), models)


def run(prepared: Prepared, out: Path, progress: Progress) -> list[Row]:
    """Do the run and fill ``out`` with table, answers and record; gives the table's rows.

    Raises:
        UserError: ``out`` belongs to another spec, the disk is full, or training failed. Finished stages are kept.
    """
    if is_first():
        claim_folder(out, prepared.points)
    started = time.time()
    stages = all_stages(prepared.models)
    if not all(stage.done for stage in stages):
        for context in prepared.contexts:
            context.spec.judge.check()
    done = run_all(stages, progress)
    languages = held_languages(prepared)
    rows = build(gather(prepared, languages), prepared.context.spec.measures)
    if not is_first():
        return rows
    write_table(rows, out)
    write_answers(prepared, languages, out / "answers.jsonl")
    record = describe_run(prepared, done, time.time() - started)
    write_atomically(out / "run.json", json.dumps(record, ensure_ascii=False, indent=1))
    return rows


def claim_folder(out: Path, points: Sequence[Point[Any]]) -> None:
    """Make ``out`` this spec's folder, or refuse if it is another's."""
    mine = json.dumps(dump_points(points), ensure_ascii=False, indent=1, sort_keys=True)
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


HeldByModel = dict[str, list[HeldLanguages]]


def held_languages(prepared: Prepared) -> HeldByModel:
    """Which languages every final answer holds, by model, in the order of the answers."""
    found: HeldByModel = {}
    texts: dict[tuple[str, tuple[str, ...]], tuple[str, ...] | None] = {}
    for model in prepared.models:
        spec = model.made_by.spec
        possible = dict.fromkeys(("en", *spec.question_languages, *spec.fake_question_languages, *spec.sources))
        among = tuple(code for code in possible if code not in CANNOT_TELL)
        held = []
        for judged in model.judged:
            for answer in judged.asked.answers():
                if (answer.text, among) not in texts:  # many models give the same answer
                    texts[answer.text, among] = languages_in(answer.text, among)
                question = answer.question
                held.append(
                    HeldLanguages(
                        scenario=question.scenario,
                        part=question.part,
                        language=question.language,
                        held=texts[answer.text, among],
                    )
                )
        found[model.tag.name] = held
    return found


def gather(prepared: Prepared, languages: HeldByModel) -> Evidence:
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
            texts=[score for scored in model.scored for score in scored.scores()],
            held=languages[model.tag.name],
            before=model.before,
            never_taught=model.never_taught,
        )
    spec = prepared.context.spec
    return Evidence(spec.name, models, spec.question_languages)


def write_answers(prepared: Prepared, languages: HeldByModel, path: Path) -> None:
    """Every final answer with its verdict, as JSON lines for the report."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as out:
        for model in prepared.models:
            pairs = (pair for j in model.judged for pair in zip(j.asked.answers(), j.verdicts(), strict=True))
            for (answer, verdict), held in zip(pairs, languages[model.tag.name], strict=True):
                line = {
                    "model": model.tag.model,
                    "source_language": model.tag.source_language,
                    "strategy": model.tag.strategy,
                    "variant": model.tag.variant,
                    "seed": model.tag.seed,
                    "scenario": verdict.scenario,
                    "part": verdict.part,
                    "language": verdict.language,
                    "question": answer.question.text,
                    "answer": answer.text,
                    "finished": answer.finished,
                    "answer_language": held.held[0] if held.held else None,
                    "held_languages": held.held,
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
        **how_it_was_done(done, seconds),
        "seed": spec.seed,
        "spec": dump_points(prepared.points),
        "corpus": {
            "name": corpus.name,
            "scenarios": len(corpus),
            "digest": corpus.digest(),
            "origin": "; ".join(origins),
        },
        "model": {"name": spec.model.registered_name, **spec.model.identity(), "prompt_format": spec.ask.format},
        "stops": [
            {"model": model.tag.name, **json.loads((model.made_by.folder / "outcome.json").read_text())}
            for model in prepared.models
            if isinstance(model.made_by, Unlearn)
        ],
        "notes": _notes(prepared),
    }


def how_it_was_done(done: Sequence[Done], seconds: float) -> dict[str, Any]:
    """When, on what and with what, and every stage's time: the same for every kind of experiment."""
    return {
        "finished": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "seconds": seconds,
        "peak_memory_bytes": peak_memory(),
        "machine": machine() | ({"processes": str(processes())} if processes() > 1 else {}),
        "versions": {"unteach": __version__, "python": sys.version.split()[0]}
        | {name: importlib.metadata.version(name) for name in _LIBRARIES if importlib.util.find_spec(name)},
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
    }


def _notes(prepared: Prepared) -> list[str]:
    """What a reader must know about how this run differs from the paper's set-up."""
    notes = []
    for context in prepared.contexts:
        for strategy in context.spec.unlearn.strategies if context.spec.unlearn else ():
            for source in context.spec.sources:
                if not strategy.languages(source):
                    name = strategy.registered_name
                    notes.append(f"{name}: left out for {find(source).name}, for which it has no language")
            if isinstance(strategy, Multilingual):
                drawn, missing = strategy.forget_languages, set(MULTILINGUAL) - set(strategy.forget_languages)
                if missing:
                    notes.append(
                        f"multilingual: drawn from {len(drawn)} languages ({', '.join(drawn)}); of the paper's twenty, "
                        f"{', '.join(code for code in MULTILINGUAL if code in missing)} are left out"
                    )
    return list(dict.fromkeys(notes))


def peak_memory() -> int:
    """The most memory this process held at once, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes(folder: Path) -> int:
    """Free disk space where ``folder`` is or will be."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(existing).free
