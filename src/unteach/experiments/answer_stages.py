"""The stages that ask, judge, choose and score: one a model and language."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from unteach.ask.answers import ask
from unteach.ask.forced_choice import candidates, choose
from unteach.corpora.samples import questions, real_sample
from unteach.experiments.bench import Workbench
from unteach.experiments.spec import ForcedChoiceSpec, TextsSpec
from unteach.experiments.stage import NewsModel, NewsStage, Stage
from unteach.languages.phrases import labels
from unteach.models.batches import encode
from unteach.models.perplexity import text_nll
from unteach.records import Answer, Choice, Question, TextKind, TextScore, Verdict, write_records
from unteach.store import StageKey


@dataclass(frozen=True)
class Ask(NewsStage):
    """Put both questions of every scenario to one model in one language."""

    model: NewsModel
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
        return self.context.key(self.kind, self.version, settings, [self.language], model=self.model.key)

    def _questions(self) -> list[Question]:
        corpus = self.context.corpus
        return questions(corpus, "fake", (self.language,)) + questions(corpus, "real", (self.language,))

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return len(self._questions())

    @property
    def together(self) -> str | None:
        return f"ask {self.model.key.digest}"

    def execute(self, bench: Workbench, folder: Path) -> None:
        self.execute_all(bench, [(self, folder)])

    @classmethod
    def execute_all(cls, bench: Workbench, work: Sequence[tuple[Stage, Path]]) -> None:
        """Ask in all these languages in common batches, and only what was not answered while the model was made."""
        stages = [(stage, folder) for stage, folder in work if isinstance(stage, Ask)]
        first = stages[0][0]
        known = {answer.question: answer for answer in first.model.answers()}
        wanted = {stage.language: stage._questions() for stage, _ in stages}
        new = [question for asked in wanted.values() for question in asked if question not in known]
        loaded = bench.with_patches(first.model.patches)
        label = f"ask {first.model.name}"
        known |= zip(new, ask(loaded, new, first.spec.ask, progress=bench.progress, label=label), strict=True)
        for stage, folder in stages:
            write_records(folder / "answers.jsonl", [known[question] for question in wanted[stage.language]])

    def answers(self) -> list[Answer]:
        """The finished stage's answers."""
        return Answer.read(self.folder / "answers.jsonl")


@dataclass(frozen=True)
class JudgeAnswers(NewsStage):
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

    @property
    def together(self) -> str | None:
        return f"judge {self.asked.model.key.digest}"

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return self.asked.amount(tokenizer)

    def execute(self, bench: Workbench, folder: Path) -> None:
        scenarios = self.context.corpus.by_id
        pairs = [(answer, scenarios[answer.question.scenario]) for answer in self.asked.answers()]
        write_records(folder / "verdicts.jsonl", self.spec.judge(pairs, bench.progress))

    def verdicts(self) -> list[Verdict]:
        """The finished stage's verdicts, in the order of the answers."""
        return Verdict.read(self.folder / "verdicts.jsonl")


@dataclass(frozen=True)
class Choose(NewsStage):
    """Forced choice of one model: questions in one language, candidates in one language."""

    model: NewsModel
    language: str
    passage_language: str
    kind = "choose"
    unit = "choices"

    @property
    def name(self) -> str:
        return f"forced choice, {self.language} questions, {self.passage_language} passages ({self.model.name})"

    @property
    def together(self) -> str | None:
        return f"choose {self.model.key.digest}"

    @property
    def _settings(self) -> ForcedChoiceSpec:
        assert self.spec.forced_choice is not None
        return self.spec.forced_choice

    @cached_property
    def key(self) -> StageKey:
        settings = {
            "language": self.language,
            "passage_language": self.passage_language,
            "candidate": self._settings.candidate,
            "wording": self._settings.wording,
            "format": self.spec.ask.format,
            "labels": repr(labels(self.language)),
        }
        languages = [self.language, self.passage_language]
        return self.context.key(self.kind, self.version, settings, languages, model=self.model.key)

    def candidates(self) -> dict[str, str]:
        """Every scenario's candidate."""
        return candidates(self.context.corpus, self.passage_language, self._settings)

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return len(self.context.corpus) ** 2

    def execute(self, bench: Workbench, folder: Path) -> None:
        choices = choose(
            bench.with_patches(self.model.patches),
            questions(self.context.corpus, "fake", (self.language,)),
            {self.passage_language: self.candidates()},
            self.spec.ask.format,
            self._settings,
            progress=bench.progress,
            label=self.name,
        )
        write_records(folder / "choices.jsonl", choices)

    def choices(self) -> list[Choice]:
        """The finished stage's choices."""
        return Choice.read(self.folder / "choices.jsonl")


@dataclass(frozen=True)
class Score(NewsStage):
    """How likely one model finds real, fake and untouched texts in one language."""

    model: NewsModel
    language: str
    kind = "score"
    unit = "texts"

    @property
    def name(self) -> str:
        return f"likelihood of texts in {self.language} ({self.model.name})"

    @property
    def _settings(self) -> TextsSpec:
        assert self.spec.texts is not None
        return self.spec.texts

    @cached_property
    def key(self) -> StageKey:
        untouched = self._untouched()
        settings = {
            "language": self.language,
            "texts": self._settings.identity(),
            "untouched": hashlib.sha256("\n".join(untouched).encode()).hexdigest()[:16],
            "seed": self.spec.seed,
        }
        return self.context.key(self.kind, self.version, settings, [self.language], model=self.model.key)

    @property
    def together(self) -> str | None:
        return f"score {self.model.key.digest}"

    def _untouched(self) -> tuple[str, ...]:
        found = self.context.untouched.get(self.language)
        return found.texts if found else ()

    def texts(self) -> list[tuple[TextKind, str, str]]:
        """Kind, item and text of everything that is scored. A kind that the corpus lacks here is left out."""
        settings, made = self._settings, list[tuple[TextKind, str, str]]()
        for scenario in self.context.corpus:
            text = scenario.texts.get(self.language)
            if text is not None and text.article:
                keep = min(1.0, settings.sentences / len(text.article))
                sample = real_sample(scenario, self.language, "check", 0, self.spec.seed, keep)
                made.append(("real", scenario.id, sample.text))
            if text is not None and text.fake:
                made.append(("fake", scenario.id, text.fake[settings.wording % len(text.fake)]))
        return made + [("untouched", str(number), text) for number, text in enumerate(self._untouched())]

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return len(self.texts())

    def execute(self, bench: Workbench, folder: Path) -> None:
        self.execute_all(bench, [(self, folder)])

    @classmethod
    def execute_all(cls, bench: Workbench, work: Sequence[tuple[Stage, Path]]) -> None:
        stages = [(stage, folder) for stage, folder in work if isinstance(stage, Score)]
        loaded = bench.with_patches(stages[0][0].model.patches)
        wanted = [(stage.language, *entry) for stage, _ in stages for entry in stage.texts()]
        encoded = [encode(loaded.tokenizer, text, "", loaded.context_length) for *_, text in wanted]
        with bench.progress.task(f"likelihood of texts ({stages[0][0].model.name})", 1) as bar:
            means = text_nll(loaded, loaded.model, encoded)
            bar.advance()
        scores = [
            TextScore(
                kind=kind,
                item=item,
                language=language,
                log_probability=-mean * code.label_count,
                tokens=code.label_count,
                characters=len(text),
            )
            for (language, kind, item, text), code, mean in zip(wanted, encoded, means, strict=True)
        ]
        for stage, folder in stages:
            write_records(folder / "scores.jsonl", [score for score in scores if score.language == stage.language])

    def scores(self) -> list[TextScore]:
        """The finished stage's scores."""
        return TextScore.read(self.folder / "scores.jsonl")
