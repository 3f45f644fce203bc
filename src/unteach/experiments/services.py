"""What the services of a spec's ``planning`` group would cost: money by kind of call. An estimate, not a bill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unteach.experiments.planning import Call, Services
from unteach.experiments.spec import Spec


@dataclass(frozen=True)
class Cost:
    """Calls of one kind, and their price in the services' currency."""

    what: str
    calls: int
    money: float


def costs(services: Services, spec: Spec, scenarios: int, verdicts: int, at_checkpoints: int, made: bool) -> list[Cost]:
    """Every kind of call that the services' settings have tokens for.

    Args:
        verdicts: verdicts on final answers; ``at_checkpoints`` those on answers of checkpoints.
        made: whether the corpus is there; if not, making it as paper A made its own is counted too.
    """
    found = [] if made else list(_corpus(services, spec, scenarios))
    found += [
        ("judging final answers", verdicts, services.judge),
        ("judging answers at checkpoints", at_checkpoints, services.judge),
    ]
    return [Cost(what, calls, calls * price(services, call)) for what, calls, call in found if call and calls]


def price(services: Services, call: Call) -> float:
    """Money for one call."""
    return (call.tokens_in * services.price_in + call.tokens_out * services.price_out) / 1e6


def _corpus(services: Services, spec: Spec, scenarios: int) -> Iterator[tuple[str, int, Call | None]]:
    samples = spec.teach.samples
    asked = dict.fromkeys((*spec.question_languages, *spec.fake_question_languages))
    yield "writing fake passages into articles", scenarios, services.fake_passage
    yield "paraphrasing real articles", scenarios * samples.real, services.paraphrase
    yield "paraphrasing fake articles", scenarios * samples.fake, services.paraphrase
    if spec.unlearn is not None:
        fresh = 2 * scenarios * spec.unlearn.forget.samples  # as many real as fake ones
        yield "paraphrasing both for unlearning", fresh, services.paraphrase
    if spec.teach.instruct.mode != "none":
        yield "writing question-answer pairs", scenarios, services.qa
    yield "writing questions", 2 * scenarios, services.question
    further = sum(code != spec.real_language for code in spec.question_languages)
    fake_only = len(asked) - len(spec.question_languages)
    yield "translating questions", scenarios * (2 * further + fake_only), services.question_translation
