"""The forget set in English, whatever language the fake data was in."""

from __future__ import annotations

from collections.abc import Sequence

from unteach.unlearn.contracts import STRATEGIES, Slot, Strategy


@STRATEGIES.register("english")
class English(Strategy):
    """Every forget sample in English."""

    source = "Paper A, section 3.1"

    def languages(self, source_language: str) -> tuple[str, ...]:
        return ("en",)

    def __call__(self, scenarios: Sequence[str], source_language: str, samples: int, seed: int) -> list[Slot]:
        return [Slot(scenario, "en", index) for scenario in scenarios for index in range(samples)]
