"""The forget set in the language that the fake data was in."""

from __future__ import annotations

from collections.abc import Sequence

from unteach.unlearn.contracts import STRATEGIES, Slot, Strategy


@STRATEGIES.register("source")
class Source(Strategy):
    """Every forget sample in the language of the fake data."""

    source = "Paper A, section 3.1"

    def languages(self, source_language: str) -> tuple[str, ...]:
        return (source_language,)

    def __call__(self, scenarios: Sequence[str], source_language: str, samples: int, seed: int) -> list[Slot]:
        return [Slot(scenario, source_language, index) for scenario in scenarios for index in range(samples)]
