"""The stages that ask, judge and choose: one a model and question language."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from unteach.ask.answers import ask
from unteach.ask.forced_choice import candidates, choose
from unteach.corpora.samples import questions
from unteach.experiments.bench import Workbench
from unteach.experiments.stage import ModelStage, Stage
from unteach.languages.phrases import labels
from unteach.records import Answer, Choice, Question, Verdict, write_records
from unteach.store import StageKey


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

    def choices(self) -> list[Choice]:
        """The finished stage's choices."""
        return Choice.read(self.folder / "choices.jsonl")
