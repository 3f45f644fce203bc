"""The stages that make models: learn and unlearn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from unteach.ask.prompts import finished, render, resolve
from unteach.experiments.answer_stages import Ask
from unteach.experiments.bench import Workbench
from unteach.experiments.probe import CheckpointProbe, probe_questions
from unteach.experiments.spec import Spec, probe_languages_for
from unteach.experiments.stage import Context, NewsModel, NewsStage
from unteach.languages.phrases import labels, not_knowing
from unteach.learn.loop import Schedule, StepLog
from unteach.learn.teach import learn, qa_samples, teaching_samples
from unteach.models.source import Loaded
from unteach.models.tuning import Tuning, patched
from unteach.records import Answer, Sample, write_records
from unteach.store import StageKey
from unteach.unlearn.contracts import Slot, Strategy
from unteach.unlearn.run import Pair, forget_pairs, unlearn


def answer_pairs(tokenizer: PreTrainedTokenizerBase, context: Context) -> list[Sample]:
    """The question-answer pairs on the real articles, in the run's prompt format."""
    spec = context.spec
    form = resolve(tokenizer, spec.ask.format)
    return qa_samples(
        context.corpus,
        spec.real_language,
        lambda question, language: render(tokenizer, form, question, language),
        lambda answer: finished(tokenizer, form, answer),
    )


def format_identity(spec: Spec) -> dict[str, Any]:
    """The prompt format and the words it uses, which are part of every key that depends on prompts."""
    return {"format": spec.ask.format, "labels": repr(labels(spec.real_language))}


@dataclass(frozen=True)
class Learn(NewsModel):
    """Teach R, and F in ``source`` unless it is ``None`` (the R-only model)."""

    source: str | None
    kind = "learn"
    unit = "training tokens"

    @property
    def name(self) -> str:
        return f"teach R and F in {self.source}" if self.source else "teach R only"

    @cached_property
    def key(self) -> StageKey:
        spec = self.spec
        settings = {
            "source": self.source,
            "real_language": spec.real_language,
            "teach": spec.teach.identity(),
            "seed": spec.seed,
            **format_identity(spec),
        }
        languages = [code for code in (spec.real_language, self.source) if code is not None]
        return self.context.key(self.kind, self.version, settings, languages)

    @property
    def patches(self) -> list[Path]:
        second = [self.folder / "instruct"] if self.spec.teach.instruct.mode == "after" else []
        return [self.folder / "pretrain", *second]

    def _samples(self, tokenizer: PreTrainedTokenizerBase) -> tuple[list[Sample], list[Sample]]:
        spec = self.spec
        news = teaching_samples(self.context.corpus, self.source, spec.real_language, spec.teach.samples, spec.seed)
        instruct = spec.teach.instruct
        if instruct.mode == "none":
            return news, []
        pairs = answer_pairs(tokenizer, self.context)
        return (news + pairs * instruct.repeats, []) if instruct.mode == "mixed" else (news, pairs)

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        teach = self.spec.teach
        first, second = self._samples(tokenizer)
        total = tokens(tokenizer, first) * teach.schedule.epochs
        if second and teach.instruct.schedule:
            total += tokens(tokenizer, second) * teach.instruct.schedule.epochs
        return int(total)

    def bytes_needed(self) -> int:
        return 600_000_000 if self.spec.teach.tuning.registered_name == "full" else 100_000_000

    def execute(self, bench: Workbench, folder: Path) -> None:
        loaded = bench.with_patches([])
        teach = self.spec.teach
        first, second = self._samples(loaded.tokenizer)
        log = self._train(bench, loaded, first, teach.tuning, teach.schedule, folder / "pretrain", self.name)
        if second and teach.instruct.tuning and teach.instruct.schedule:
            with patched(loaded.model, [folder / "pretrain"]):
                log += self._train(
                    bench,
                    loaded,
                    second,
                    teach.instruct.tuning,
                    teach.instruct.schedule,
                    folder / "instruct",
                    f"{self.name}: question-answer pairs",
                )
        write_log(folder / "log.jsonl", log)

    def _train(
        self,
        bench: Workbench,
        loaded: Loaded,
        samples: Sequence[Sample],
        tuning: Tuning,
        schedule: Schedule,
        to: Path,
        label: str,
    ) -> list[StepLog]:
        seed = self.spec.seed
        with tuning.attach(loaded.model, seed) as model:
            log = learn(loaded, model, samples, schedule, seed=seed, progress=bench.progress, label=label)
            to.mkdir()
            tuning.save(model, to)
        return log


@dataclass(frozen=True)
class Unlearn(NewsModel):
    """Unlearn from a contaminated model with one language strategy."""

    parent: Learn
    strategy: Strategy
    kind = "unlearn"
    version = 2
    unit = "training tokens"

    @property
    def _source(self) -> str:
        assert self.parent.source is not None
        return self.parent.source

    @property
    def name(self) -> str:
        return f"unlearn {self.parent.source} with {self.strategy.registered_name}"

    @cached_property
    def key(self) -> StageKey:
        spec = self.spec
        assert spec.unlearn is not None
        unlearning = {name: value for name, value in spec.unlearn.identity().items() if name != "strategies"}
        # The slots say all that a strategy decides: two that ask for the same (english and source, where the fake is
        # English) share one result.
        slots = [[slot.scenario, slot.language, slot.index] for slot in self._slots()]
        words = {code: not_knowing(code) for code in self.strategy.languages(self._source)}
        settings = {
            **({"idk": words} if spec.unlearn.objective.needs_idk else {}),
            "slots": hashlib.sha256(json.dumps(slots).encode()).hexdigest()[:16],
            "unlearn": unlearning,
            "probe": {**spec.probe.identity(), "languages": list(probe_languages_for(spec, self._source))},
            "ask": spec.ask.identity(),
            "judge": spec.judge.identity(),
            "seed": spec.seed,
        }
        return self.context.key(self.kind, self.version, settings, learn=self.parent.key)

    @property
    def patches(self) -> list[Path]:
        return [*self.parent.patches, self.folder / "patch"]

    @property
    def needs(self) -> list[NewsStage]:
        """The contaminated model's own answers, which the first reading uses."""
        return [*self._start()]

    def _start(self) -> list[Ask]:
        languages = dict.fromkeys((*probe_languages_for(self.spec, self._source), self.spec.real_language))
        return [Ask(self.context, self.parent, language) for language in languages]

    def answers(self) -> list[Answer]:
        return Answer.read(self.folder / "answers.jsonl")

    def _slots(self) -> list[Slot]:
        assert self.spec.unlearn is not None
        scenarios = [scenario.id for scenario in self.context.corpus]
        return self.strategy(scenarios, self._source, self.spec.unlearn.forget.samples, self.spec.seed)

    def _pairs(self, tokenizer: PreTrainedTokenizerBase) -> list[Pair[Sample]]:
        spec, corpus = self.spec, self.context.corpus
        assert spec.unlearn is not None
        qa: dict[str, list[Sample]] = {}
        if spec.unlearn.forget.retain_qa:
            for sample in answer_pairs(tokenizer, self.context):
                qa.setdefault(sample.scenario, []).append(sample)
        return forget_pairs(corpus, self._slots(), spec.real_language, qa, spec.unlearn.forget, spec.seed)

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        assert self.spec.unlearn is not None
        pairs = self._pairs(tokenizer)
        schedule = self.spec.unlearn.schedule
        share = schedule.steps(len(pairs)) * schedule.batch_size * schedule.accumulation / len(pairs)
        return int(tokens(tokenizer, [sample for pair in pairs for sample in (pair.forget, pair.retain)]) * share)

    def execute(self, bench: Workbench, folder: Path) -> None:
        settings = self.spec.unlearn
        assert settings is not None
        known = {answer.question: answer for asked in self._start() for answer in asked.answers()}
        start = [known[question] for question in probe_questions(self.spec, self.context.corpus, self._source)]
        loaded = bench.with_patches(self.parent.patches)
        (folder / "patch").mkdir()
        with settings.tuning.attach(loaded.model, self.spec.seed) as model:
            read = CheckpointProbe(self.spec, self.context.corpus, loaded, lambda: settings.tuning.merged(model), start)
            outcome = unlearn(
                loaded,
                model,
                self._pairs(loaded.tokenizer),
                settings,
                read,
                folder / "patch",
                seed=self.spec.seed,
                progress=bench.progress,
                label=self.name,
            )
        write_records(folder / "readings.jsonl", outcome.readings)
        write_records(folder / "answers.jsonl", read.answers[outcome.kept_step])
        write_log(folder / "log.jsonl", outcome.log)
        summary = {"kept_step": outcome.kept_step, "last_step": outcome.last_step, "reason": outcome.reason}
        (folder / "outcome.json").write_text(json.dumps(summary), encoding="utf-8")


def tokens(tokenizer: PreTrainedTokenizerBase, samples: Sequence[Sample]) -> int:
    """Tokens of training samples, before padding."""
    return sum(map(len, tokenizer([sample.context + sample.text for sample in samples])["input_ids"]))


def write_log(path: Path, log: Sequence[StepLog]) -> None:
    """Losses by optimiser step, as JSON lines."""
    with path.open("w", encoding="utf-8") as out:
        for step in log:
            out.write(json.dumps({"step": step.step, **step.terms}) + "\n")
