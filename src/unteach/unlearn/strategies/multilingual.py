"""Each forget sample in a language drawn at random from many."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from pydantic import Field, field_validator

from unteach.languages.table import MULTILINGUAL, find
from unteach.unlearn.contracts import STRATEGIES, Slot, Strategy


@STRATEGIES.register("multilingual")
class Multilingual(Strategy):
    """Each sample in a language drawn uniformly from ``forget_languages``, with ``times`` as many samples.

    The paper draws from twenty languages and doubles the data. A corpus that lacks some of them is refused, so a spec
    names the languages it really draws from.
    """

    source = "Paper A, section 3.2"

    forget_languages: tuple[str, ...] = Field(MULTILINGUAL, min_length=1, description="Languages to draw from.")
    times: int = Field(2, ge=1, description="Samples, in multiples of the other strategies'.")

    @field_validator("forget_languages")
    @classmethod
    def _known(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(find(code).code for code in codes))

    def languages(self, source_language: str) -> tuple[str, ...]:
        return self.forget_languages

    def __call__(self, scenarios: Sequence[str], source_language: str, samples: int, seed: int) -> list[Slot]:
        slots = []
        for scenario in scenarios:
            rng = random.Random(f"{seed}/multilingual/{scenario}")
            seen: Counter[str] = Counter()
            for _ in range(self.times * samples):
                language = rng.choice(self.forget_languages)
                slots.append(Slot(scenario, language, seen[language]))
                seen[language] += 1
        return slots
