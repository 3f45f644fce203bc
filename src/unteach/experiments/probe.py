"""The probe that unlearning is given: perplexity on fresh retain texts, Q_R, and O_F in the probe's languages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from statistics import fmean

from transformers import PreTrainedModel

from unteach.ask.answers import ask
from unteach.corpora.load import Corpus
from unteach.corpora.samples import questions, real_sample
from unteach.experiments.spec import Spec, probe_languages_for
from unteach.learn.teach import encode_samples
from unteach.metrics.intervals import mean_interval
from unteach.models.batches import Encoded
from unteach.models.perplexity import text_nll
from unteach.models.processes import from_first, my_share, put_together
from unteach.models.source import Loaded
from unteach.records import Answer, Question, Reading


def probe_questions(spec: Spec, corpus: Corpus, source: str) -> list[Question]:
    """What is asked at every checkpoint: the fake questions in the probe's languages, the real ones in R's language."""
    fake = questions(corpus, "fake", probe_languages_for(spec, source))
    return fake + questions(corpus, "real", (spec.real_language,))


@dataclass
class CheckpointProbe:
    """Reads the model being trained, with its patch merged exactly as it will be when applied.

    ``start`` are the answers of the model before unlearning, so that they are not asked for again. ``answers`` keeps
    every step's answers: those at the kept step are the finished model's.
    """

    spec: Spec
    corpus: Corpus
    loaded: Loaded
    merged: Callable[[], AbstractContextManager[PreTrainedModel]]
    start: Sequence[Answer]
    answers: dict[int, Sequence[Answer]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        scenarios, spec = list(self.corpus), self.spec
        self._texts: list[Encoded] = encode_samples(
            self.loaded,
            [
                real_sample(scenarios[index % len(scenarios)], spec.real_language, "check", index, spec.seed, 1.0)
                for index in range(spec.probe.retain_texts)
            ],
        )

    def __call__(self, step: int) -> Reading:
        with self.merged() as model:
            current = replace(self.loaded, model=model)
            nll = text_nll(current, model, self._texts)
            asked = [answer.question for answer in self.start]
            answers = self.start if step == 0 else put_together(ask(current, my_share(asked), self.spec.ask))
        self.answers[step] = answers
        pairs = [(answer, self.corpus.by_id[answer.question.scenario]) for answer in answers]
        verdicts = tuple(self.spec.judge(pairs))
        grades = [verdict.value for verdict in verdicts if verdict.metric == "Q_R" and verdict.value is not None]
        low, high = mean_interval(nll) or (None, None)
        reading = Reading(
            step=step,
            perplexity=_exp(fmean(nll)),
            perplexity_low=None if low is None else _exp(low),
            perplexity_high=None if high is None else _exp(high),
            perplexity_texts=len(nll),
            quality=fmean(grades) if grades else None,
            verdicts=verdicts,
        )
        return from_first(reading)  # the last bit of a perplexity must not let one process stop and another go on


def _exp(nats: float) -> float:
    return math.exp(min(nats, 700.0))  # beyond that a double overflows; any stop rule has long objected
