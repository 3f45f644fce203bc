"""The probe that unlearning is given: perplexity on fresh retain texts, Q_R, and O_F in a few languages."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from statistics import fmean

from transformers import PreTrainedModel

from unteach.ask.answers import ask
from unteach.corpora.load import Corpus
from unteach.corpora.samples import questions, real_sample
from unteach.experiments.spec import Spec, probe_languages_for
from unteach.learn.teach import encode_samples
from unteach.metrics.intervals import mean_interval
from unteach.models.perplexity import text_nll
from unteach.models.source import Loaded
from unteach.records import Reading
from unteach.unlearn.contracts import Probe


def probe(
    spec: Spec,
    corpus: Corpus,
    loaded: Loaded,
    source: str,
    merged: Callable[[], AbstractContextManager[PreTrainedModel]],
) -> Probe:
    """A function that reads the model being trained, with its patch merged exactly as it will be when applied."""
    scenarios = list(corpus)
    texts = encode_samples(
        loaded,
        [
            real_sample(scenarios[index % len(scenarios)], spec.real_language, "check", index, spec.seed, 1.0)
            for index in range(spec.probe.retain_texts)
        ],
    )
    asked = questions(corpus, "fake", probe_languages_for(spec, source)) + questions(
        corpus, "real", (spec.real_language,)
    )

    def read(step: int) -> Reading:
        with merged() as model:
            current = replace(loaded, model=model)
            nll = text_nll(current, model, texts)
            answers = ask(current, asked, spec.ask)
        verdicts = tuple(spec.judge(answer, corpus.by_id[answer.question.scenario]) for answer in answers)
        grades = [verdict.value for verdict in verdicts if verdict.metric == "Q_R" and verdict.value is not None]
        low, high = mean_interval(nll) or (None, None)
        return Reading(
            step=step,
            perplexity=_exp(fmean(nll)),
            perplexity_low=None if low is None else _exp(low),
            perplexity_high=None if high is None else _exp(high),
            perplexity_texts=len(nll),
            quality=fmean(grades) if grades else None,
            verdicts=verdicts,
        )

    return read


def _exp(nats: float) -> float:
    return math.exp(min(nats, 700.0))  # beyond that a double overflows; any stop rule has long objected
