"""What a plan is reckoned for: an accelerator, and the services that would write and judge texts. Changes no result."""

from __future__ import annotations

from pydantic import Field

from unteach.registry import Settings


class Accelerator(Settings):
    """A device to plan for instead of this machine. The whole model is on each; ``count`` share the stages."""

    name: str = Field(min_length=1)
    count: int = Field(1, ge=1)
    tflops: float = Field(gt=0, description="Peak of one device in the run's number format, 1e12 operations a second.")
    memory_gib: float = Field(gt=0, description="Of one device.")
    utilisation: float = Field(0.35, gt=0, le=1, description="Share of the peak that reaches the model's work.")
    bandwidth_gb_s: float | None = Field(
        None, gt=0, description="Memory speed of one device, 1e9 bytes a second: each new token reads all weights."
    )


class Call(Settings):
    """Tokens that one call of a service reads and writes."""

    tokens_in: int = Field(ge=0)
    tokens_out: int = Field(ge=0)


class Services(Settings):
    """Prices and calls of the language model that makes the corpus and judges answers. A call left out is not counted.

    Paper A has GPT-4 do all of these; translation of the fake articles by NLLB runs on a device and is not among them.
    """

    name: str = Field(min_length=1)
    currency: str = "USD"
    price_in: float = Field(ge=0, description="Money for a million tokens read.")
    price_out: float = Field(ge=0, description="Money for a million tokens written.")
    fake_passage: Call | None = Field(None, description="One for each article: writing what is false into it.")
    paraphrase: Call | None = Field(None, description="One for each sample, real or fake, taught or unlearned.")
    qa: Call | None = Field(None, description="One for each article: all its question-answer pairs.")
    question: Call | None = Field(None, description="Two for each article: the question on the real part and the fake.")
    question_translation: Call | None = Field(None, description="One for each question and further language.")
    judge: Call | None = Field(None, description="One for each verdict, final or at a checkpoint.")


class PlanningSpec(Settings):
    """Settings of `unteach plan` alone: no part of any result's key."""

    accelerator: Accelerator | None = Field(None, description="This machine if left out.")
    services: Services | None = Field(None, description="No money is reckoned if left out.")
