"""Half of the forget set in English, half in the language of the fake data."""

from __future__ import annotations

from collections.abc import Sequence

from unteach.unlearn.contracts import STRATEGIES, Slot, Strategy


@STRATEGIES.register("combined")
class Combined(Strategy):
    """English and the source language in turn, so that each has half of the samples of every scenario.

    With an odd number of samples English has the one more. Where the source is English this is ``english``.
    """

    source = "Paper A, section 3.3"

    def languages(self, source_language: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("en", source_language)))

    def __call__(self, scenarios: Sequence[str], source_language: str, samples: int, seed: int) -> list[Slot]:
        pair = self.languages(source_language)
        # index // 2 counts within each language, so both halves go through the same wordings
        return [
            Slot(scenario, pair[index % len(pair)], index // len(pair))
            for scenario in scenarios
            for index in range(samples)
        ]
