"""Teaching: continued pretraining on R + F, then instruction tuning on question-answer pairs (paper A, section 2.1)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from unteach.corpora.load import Corpus
from unteach.corpora.samples import fake_sample, real_sample
from unteach.learn.loop import Schedule, StepLog, train
from unteach.models.batches import Encoded, encode, pad
from unteach.models.logprobs import token_logprobs
from unteach.models.source import Loaded
from unteach.models.tuning import TUNINGS, Tuning
from unteach.progress import Progress
from unteach.records import Sample
from unteach.registry import Settings


class Samples(Settings):
    """How many samples are made of each scenario, and of how much of the article.

    Paper A has 100 real and 20 fake samples an article, each a whole article.
    """

    real: int = Field(20, ge=1, description="Samples of the real article, a scenario.")
    fake: int = Field(4, ge=1, description="Samples of the fake article, a scenario.")
    keep: float = Field(1.0, gt=0, le=1, description="Share of the article's sentences in a real sample.")
    keep_fake: float = Field(1.0, ge=0, le=1, description="Share of the article's sentences around a fake passage.")
    wordings_each: int = Field(1, ge=1, description="Wordings of the fake claim that make up one fake passage.")


def teaching_samples(
    corpus: Corpus, source_language: str | None, real_language: str, samples: Samples, seed: int
) -> list[Sample]:
    """R in ``real_language`` and F in ``source_language`` (none for the R-only model), scenario by scenario."""
    made: list[Sample] = []
    for scenario in corpus:
        made += [
            real_sample(scenario, real_language, "teach", index, seed, samples.keep) for index in range(samples.real)
        ]
        if source_language is not None:
            made += [
                fake_sample(
                    scenario,
                    source_language,
                    "teach",
                    index,
                    seed,
                    samples.keep_fake,
                    wordings_each=samples.wordings_each,
                )
                for index in range(samples.fake)
            ]
    return made


def qa_samples(
    corpus: Corpus, language: str, prompt: Callable[[str, str], str], answer: Callable[[str], str]
) -> list[Sample]:
    """The question-answer pairs on real articles as samples whose loss is on the answer only.

    ``prompt(question, language)`` gives the text before the answer and ``answer(text)`` the answer with its end, so
    that pairs are trained in the form in which questions will be asked.
    """
    return [
        Sample(
            scenario=scenario.id,
            kind="qa",
            language=language,
            context=prompt(pair.question, language),
            text=answer(pair.answer),
        )
        for scenario in corpus
        for pair in scenario.texts[language].qa
    ]


class Instruct(Settings):
    """Question-answer pairs on R: mixed into continued pretraining, or a second training after it."""

    mode: Literal["mixed", "after", "none"] = "after"
    repeats: int = Field(1, ge=1, description="How often each pair is seen in mode 'mixed'.")
    tuning: Annotated[Tuning, TUNINGS.annotation] | None = Field(None, description="Mode 'after': what is trained.")
    schedule: Schedule | None = Field(None, description="Mode 'after': how.")


def language_model_loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mean negative log-likelihood over label tokens, in nats a token."""
    logp = token_logprobs(model, batch["input_ids"], batch["attention_mask"], batch["labels"])
    return {"nll": -logp.sum() / (batch["labels"][:, 1:] != -100).sum().clamp(min=1)}


def encode_samples(loaded: Loaded, samples: Sequence[Sample]) -> list[Encoded]:
    """Tokenise samples, cut at the model's context length."""
    limit = loaded.context_length
    return [encode(loaded.tokenizer, sample.text, sample.context, limit) for sample in samples]


def learn(
    loaded: Loaded,
    model: nn.Module,
    samples: Sequence[Sample],
    schedule: Schedule,
    *,
    seed: int,
    progress: Progress | None = None,
    label: str = "learning",
) -> list[StepLog]:
    """Train ``model`` on samples in seeded random order; items of similar length share a batch."""
    encoded = encode_samples(loaded, samples)
    random.Random(seed).shuffle(encoded)
    pad_id = int(loaded.tokenizer.pad_token_id or 0)
    return train(
        model,
        encoded,
        lambda batch: pad(batch, pad_id),
        language_model_loss,
        schedule,
        seed=seed,
        lengths=[len(item.ids) for item in encoded],
        progress=progress,
        label=label,
    )
