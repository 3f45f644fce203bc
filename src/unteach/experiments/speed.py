"""How long a stage takes by arithmetic: operations over a machine's sustained speed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import cast

import torch
from transformers import PreTrainedTokenizerBase

from unteach.ask.answers import Asking
from unteach.ask.prompts import render, resolve
from unteach.corpora.load import Corpus
from unteach.corpora.samples import questions
from unteach.experiments.answer_stages import Ask, Choose, JudgeAnswers, Score
from unteach.experiments.model_stages import Learn, Unlearn
from unteach.experiments.planning import Accelerator
from unteach.experiments.probe import probe_questions
from unteach.experiments.spec import Spec
from unteach.experiments.stage import NewsStage
from unteach.learn.loop import Schedule
from unteach.models.counting import Counting
from unteach.models.hardware import default_device
from unteach.models.source import ModelSource
from unteach.models.structure import decoder_layers, output_head
from unteach.models.tuning import Tuning
from unteach.models.tunings.lora import Lora
from unteach.records import Question

_VERDICT_SECONDS = 1e-4  # text work
_USUAL_TOKENS = 100  # a unit of a stage that is not known here


@dataclass(frozen=True)
class Machine:
    """Operations a second that reach the model's work, and bytes a second from memory where they matter."""

    flops: float
    bandwidth: float | None = None

    @staticmethod
    def of(accelerator: Accelerator) -> Machine:
        """One device. Memory is taken to be used as well as arithmetic is."""
        bytes_a_second = accelerator.bandwidth_gb_s
        return Machine(
            accelerator.tflops * 1e12 * accelerator.utilisation,
            None if bytes_a_second is None else bytes_a_second * 1e9 * accelerator.utilisation,
        )

    @staticmethod
    def this(dtype: torch.dtype) -> Machine:
        """From matrix products of a small model's shape; a third of their speed reaches the model's work."""
        device = default_device()
        left = torch.randn(512, 1024, device=device).to(dtype)
        right = torch.randn(1024, 4096, device=device).to(dtype)
        best = float("inf")
        for _ in range(5):
            started = time.perf_counter()
            float((left @ right).sum())
            best = min(best, time.perf_counter() - started)
        return Machine(2.0 * 512 * 1024 * 4096 / best / 3)


@dataclass(frozen=True)
class Checkpoints:
    """How often an unlearning is read after its start, and what is asked each time."""

    number: int
    asked: tuple[Question, ...]

    @property
    def prompts(self) -> int:
        """Answers to generate. Those before the first step are the contaminated model's."""
        return self.number * len(self.asked)

    @property
    def verdicts(self) -> int:
        """Answers to judge, those before the first step among them."""
        return (self.number + 1) * len(self.asked)


class Reckoner:
    """Seconds of stages with one model on one machine.

    Forward pass: 2 operations a weight and token; the backward pass as many for the states' gradients and 2 for each
    number that learns; gradient checkpointing a second forward pass. The output layer is run once, its gradient is as
    much again. A new token reads every weight once a batch. Attention's own products (a few percent at an article's
    length) and padding count as part of the speed that is lost.
    """

    def __init__(self, source: ModelSource, machine: Machine, width: int) -> None:
        self.tokenizer = Counting(source.tokenizer())
        self.skeleton = source.skeleton()
        self.machine, self.width = machine, width
        self.longest_prompt = 0
        self._prompts: dict[tuple[int, str], float] = {}
        self._checkpoints: dict[str, Checkpoints] = {}

    @property
    def counter(self) -> PreTrainedTokenizerBase:
        """The counting tokeniser, where the type of a tokeniser is asked for."""
        return cast(PreTrainedTokenizerBase, self.tokenizer)

    @cached_property
    def body(self) -> int:
        """Weights of the decoder layers."""
        return sum(p.numel() for p in decoder_layers(self.skeleton).parameters())

    @cached_property
    def head(self) -> int:
        """Weights of the output layer."""
        return sum(p.numel() for p in output_head(self.skeleton).parameters())

    def training_flops(self, tuning: Tuning, schedule: Schedule) -> float:
        """Operations a training token."""
        learning = tuning.trainable_parameters(self.skeleton)
        run_through = self.body + (learning if isinstance(tuning, Lora) else 0)
        passes = 3 if schedule.gradient_checkpointing else 2
        return 2.0 * passes * run_through + 2.0 * learning + 4.0 * self.head

    def prompt_seconds(self, tokens: float, asking: Asking) -> float:
        """One prompt and an answer of full length."""
        new = asking.max_new_tokens
        reading = 2.0 * self.body * tokens / self.machine.flops
        writing = 2.0 * (self.body + self.head) / self.machine.flops
        if self.machine.bandwidth:
            fetching = (self.body + self.head) * self.width / asking.batch_size / self.machine.bandwidth
            writing = max(writing, fetching)
        return reading + new * writing

    def text_seconds(self, texts: Sequence[str]) -> float:
        """A text of mean length whose every token is predicted."""
        tokens = fmean(map(len, self.tokenizer(texts)["input_ids"])) if texts else 0.0
        return 2.0 * (self.body + self.head) * tokens / self.machine.flops

    def prompt_tokens(self, spec: Spec, corpus: Corpus, asked: Sequence[Question]) -> float:
        """Mean length of the prompts of these questions, by the mean of each language."""
        means = []
        for language in dict.fromkeys(question.language for question in asked):
            place = (id(corpus), language)
            if place not in self._prompts:
                form = resolve(self.counter, spec.ask.format)
                texts = [render(self.counter, form, q.text, language) for q in asked if q.language == language]
                lengths = [len(ids) for ids in self.tokenizer(texts)["input_ids"]]
                self._prompts[place] = fmean(lengths)
                self.longest_prompt = max(self.longest_prompt, *lengths)
            means.append(self._prompts[place])
        return fmean(means) if means else 0.0

    def checkpoints(self, stage: Unlearn) -> Checkpoints:
        """Those of one unlearning, if no rule stops it early."""
        key = stage.key.digest
        if key not in self._checkpoints:
            spec, source = stage.spec, str(stage.parent.source)
            assert spec.unlearn is not None
            names = [scenario.id for scenario in stage.context.corpus]
            pairs = len(stage.strategy(names, source, spec.unlearn.forget.samples, spec.seed))
            steps, every = spec.unlearn.schedule.steps(pairs), spec.unlearn.reading_every(pairs)
            asked = tuple(probe_questions(spec, stage.context.corpus, source))
            self._checkpoints[key] = Checkpoints(-(-steps // every), asked)
        return self._checkpoints[key]

    def seconds(self, stage: NewsStage, amount: int) -> float:
        """One stage."""
        spec, corpus = stage.spec, stage.context.corpus
        if isinstance(stage, Learn):
            return amount * self.training_flops(spec.teach.tuning, spec.teach.schedule) / self.machine.flops
        if isinstance(stage, Unlearn) and spec.unlearn is not None:
            read = self.checkpoints(stage)
            a_prompt = self.prompt_seconds(self.prompt_tokens(spec, corpus, read.asked), spec.ask)
            flops = self.training_flops(spec.unlearn.tuning, spec.unlearn.schedule)
            return amount * flops / self.machine.flops + read.prompts * a_prompt
        if isinstance(stage, Ask):
            known = set(self.checkpoints(stage.model).asked) if isinstance(stage.model, Unlearn) else set()
            both = questions(corpus, "fake", (stage.language,)) + questions(corpus, "real", (stage.language,))
            asked = [question for question in both if question not in known]
            return len(asked) * self.prompt_seconds(self.prompt_tokens(spec, corpus, asked), spec.ask)
        if isinstance(stage, Choose):
            return amount * self.text_seconds(list(stage.candidates().values()))
        if isinstance(stage, Score):
            return amount * self.text_seconds([text for _, _, text in stage.texts()])
        if isinstance(stage, JudgeAnswers):
            return amount * _VERDICT_SECONDS
        return amount * 2.0 * (self.body + self.head) * _USUAL_TOKENS / self.machine.flops
