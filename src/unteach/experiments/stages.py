"""The stages of an experiment: what each is keyed by, what it costs, and how it is done.

learn (a source or none) -> unlearn (a strategy) ;  either -> ask (a language) -> judge ;  either -> choose
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from transformers import PreTrainedTokenizerBase

from unteach.ask.answers import ask
from unteach.ask.forced_choice import candidates, choose
from unteach.ask.prompts import render, resolve
from unteach.corpora.load import Corpus
from unteach.corpora.samples import questions
from unteach.experiments.bench import Workbench
from unteach.experiments.probe import probe
from unteach.experiments.spec import Spec
from unteach.languages.phrases import labels
from unteach.learn.loop import StepLog
from unteach.learn.teach import learn, qa_samples, teaching_samples
from unteach.models.source import Loaded
from unteach.models.tuning import Tuning, patched
from unteach.records import Answer, Question, Sample, Verdict, write_records
from unteach.store import StageKey, Store
from unteach.unlearn.contracts import Strategy
from unteach.unlearn.run import forget_pairs, unlearn

Unit = Literal["training tokens", "prompts", "verdicts", "choices"]


@dataclass(frozen=True)
class Context:
    """What every stage of a run shares."""

    spec: Spec
    corpus: Corpus
    store: Store

    def key(self, kind: str, version: int, settings: Mapping[str, Any], **inputs: StageKey) -> StageKey:
        """A stage key; every stage depends on model and corpus."""
        return StageKey(kind, version, {"model": self._model, "corpus": self.corpus.digest, **settings}, inputs)

    @cached_property
    def _model(self) -> dict[str, Any]:
        return self.spec.model.identity()


@dataclass(frozen=True)
class Stage(ABC):
    """One unit of work whose result is kept."""

    context: Context
    kind: ClassVar[str]
    version: ClassVar[int] = 1
    unit: ClassVar[Unit]

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is, for people."""

    @property
    @abstractmethod
    def key(self) -> StageKey:
        """What decides its result."""

    @abstractmethod
    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """How much work it is, in ``unit``."""

    @abstractmethod
    def execute(self, bench: Workbench, folder: Path) -> None:
        """Do it, leaving the result in ``folder``."""

    @property
    def folder(self) -> Path:
        """Where the result is."""
        return self.context.store.folder(self.key)

    @property
    def spec(self) -> Spec:
        """The run's spec."""
        return self.context.spec

    def bytes_needed(self) -> int:
        """Room on disk that must be free before it starts."""
        return 1 << 20


class ModelStage(Stage):
    """A stage that makes a model: its result is patches on the base model."""

    @property
    @abstractmethod
    def patches(self) -> list[Path]:
        """Patches that turn the base model into this one, in order."""


def prompt_of(tokenizer: PreTrainedTokenizerBase, spec: Spec) -> Any:
    """``(question, language) -> prompt`` in the run's format."""
    form = resolve(tokenizer, spec.ask.format)
    return lambda question, language: render(tokenizer, form, question, language)


def format_identity(spec: Spec) -> dict[str, Any]:
    """The prompt format and the words it uses, which are part of every key that depends on prompts."""
    return {"format": spec.ask.format, "labels": repr(labels(spec.real_language))}


@dataclass(frozen=True)
class Learn(ModelStage):
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
        return self.context.key(self.kind, self.version, settings)

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
        pairs = qa_samples(self.context.corpus, spec.real_language, prompt_of(tokenizer, spec))
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
        schedule: Any,
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
class Unlearn(ModelStage):
    """Unlearn from a contaminated model with one language strategy."""

    parent: Learn
    strategy: Strategy
    kind = "unlearn"
    unit = "training tokens"

    @property
    def name(self) -> str:
        return f"unlearn {self.parent.source} with {self.strategy.registered_name}"

    @cached_property
    def key(self) -> StageKey:
        spec = self.spec
        assert spec.unlearn is not None
        unlearning = {name: value for name, value in spec.unlearn.identity().items() if name != "strategies"}
        settings = {
            "strategy": self.strategy.identity(),
            "unlearn": unlearning,
            "probe": spec.probe.identity(),
            "ask": spec.ask.identity(),
            "judge": spec.judge.identity(),
            "seed": spec.seed,
        }
        return self.context.key(self.kind, self.version, settings, learn=self.parent.key)

    @property
    def patches(self) -> list[Path]:
        return [*self.parent.patches, self.folder / "patch"]

    def _pairs(self, tokenizer: PreTrainedTokenizerBase) -> list[tuple[Sample, Sample]]:
        spec, corpus = self.spec, self.context.corpus
        assert spec.unlearn is not None and self.parent.source is not None
        qa: dict[str, list[Sample]] = {}
        if spec.unlearn.forget.retain_qa:
            for sample in qa_samples(corpus, spec.real_language, prompt_of(tokenizer, spec)):
                qa.setdefault(sample.scenario, []).append(sample)
        scenarios = [scenario.id for scenario in corpus]
        slots = self.strategy(scenarios, self.parent.source, spec.unlearn.forget.samples, spec.seed)
        return forget_pairs(corpus, slots, spec.real_language, qa, spec.unlearn.forget, spec.seed)

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        assert self.spec.unlearn is not None
        pairs = self._pairs(tokenizer)
        schedule = self.spec.unlearn.schedule
        share = schedule.steps(len(pairs)) * schedule.batch_size * schedule.accumulation / len(pairs)
        return int(tokens(tokenizer, [sample for pair in pairs for sample in pair]) * share)

    def execute(self, bench: Workbench, folder: Path) -> None:
        settings, source = self.spec.unlearn, self.parent.source
        assert settings is not None and source is not None
        loaded = bench.with_patches(self.parent.patches)
        (folder / "patch").mkdir()
        with settings.tuning.attach(loaded.model, self.spec.seed) as model:
            read = probe(self.context.spec, self.context.corpus, loaded, source, lambda: settings.tuning.merged(model))
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
        write_log(folder / "log.jsonl", outcome.log)
        summary = {"kept_step": outcome.kept_step, "last_step": outcome.last_step, "reason": outcome.reason}
        (folder / "outcome.json").write_text(json.dumps(summary), encoding="utf-8")


@dataclass(frozen=True)
class Ask(Stage):
    """Put both questions of every scenario to one model in one language."""

    model: ModelStage
    language: str
    kind = "ask"
    unit = "prompts"

    @property
    def name(self) -> str:
        return f"ask in {self.language} ({self.model.name})"

    @cached_property
    def key(self) -> StageKey:
        settings = {
            "language": self.language,
            "ask": self.spec.ask.identity(),
            "labels": repr(labels(self.language)),
        }
        return self.context.key(self.kind, self.version, settings, model=self.model.key)

    def _questions(self) -> list[Question]:
        corpus = self.context.corpus
        return questions(corpus, "fake", (self.language,)) + questions(corpus, "real", (self.language,))

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return len(self._questions())

    def execute(self, bench: Workbench, folder: Path) -> None:
        loaded = bench.with_patches(self.model.patches)
        answers = ask(loaded, self._questions(), self.spec.ask, progress=bench.progress, label=self.name)
        write_records(folder / "answers.jsonl", answers)

    def answers(self) -> list[Answer]:
        """The finished stage's answers."""
        return Answer.read(self.folder / "answers.jsonl")


@dataclass(frozen=True)
class JudgeAnswers(Stage):
    """Judge the answers of one ask stage."""

    asked: Ask
    kind = "judge"
    unit = "verdicts"

    @property
    def name(self) -> str:
        return f"judge answers in {self.asked.language} ({self.asked.model.name})"

    @cached_property
    def key(self) -> StageKey:
        return self.context.key(self.kind, self.version, {"judge": self.spec.judge.identity()}, ask=self.asked.key)

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return self.asked.amount(tokenizer)

    def execute(self, bench: Workbench, folder: Path) -> None:
        scenarios = self.context.corpus.by_id
        verdicts = [self.spec.judge(answer, scenarios[answer.question.scenario]) for answer in self.asked.answers()]
        write_records(folder / "verdicts.jsonl", verdicts)

    def verdicts(self) -> list[Verdict]:
        """The finished stage's verdicts, in the order of the answers."""
        return Verdict.read(self.folder / "verdicts.jsonl")


@dataclass(frozen=True)
class Choose(Stage):
    """Forced choice of one model in one question language."""

    model: ModelStage
    language: str
    kind = "choose"
    unit = "choices"

    @property
    def name(self) -> str:
        return f"forced choice in {self.language} ({self.model.name})"

    @property
    def passage_languages(self) -> tuple[str, ...]:
        """Languages of the candidates."""
        assert self.spec.forced_choice is not None
        return self.spec.forced_choice.passage_languages or self.spec.question_languages

    @cached_property
    def key(self) -> StageKey:
        choosing = self.spec.forced_choice
        assert choosing is not None
        settings = {
            "language": self.language,
            "passage_languages": list(self.passage_languages),
            "candidate": choosing.candidate,
            "wording": choosing.wording,
            "format": self.spec.ask.format,
            "labels": repr(labels(self.language)),
        }
        return self.context.key(self.kind, self.version, settings, model=self.model.key)

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return len(self.context.corpus) ** 2 * len(self.passage_languages)

    def execute(self, bench: Workbench, folder: Path) -> None:
        assert self.spec.forced_choice is not None
        corpus, choosing = self.context.corpus, self.spec.forced_choice
        texts = {code: candidates(corpus, code, choosing) for code in self.passage_languages}
        choices = choose(
            bench.with_patches(self.model.patches),
            questions(corpus, "fake", (self.language,)),
            texts,
            self.spec.ask.format,
            choosing,
            progress=bench.progress,
            label=self.name,
        )
        write_records(folder / "choices.jsonl", choices)


def tokens(tokenizer: PreTrainedTokenizerBase, samples: Sequence[Sample]) -> int:
    """Tokens of training samples, before padding."""
    return sum(map(len, tokenizer([sample.context + sample.text for sample in samples])["input_ids"]))


def write_log(path: Path, log: Sequence[StepLog]) -> None:
    """Losses by optimiser step, as JSON lines."""
    with path.open("w", encoding="utf-8") as out:
        for step in log:
            out.write(json.dumps({"step": step.step, **step.terms}) + "\n")
