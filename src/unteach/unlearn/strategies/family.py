"""The forget set in a language related to that of the fake data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field, field_validator

from unteach.languages.table import find
from unteach.unlearn.contracts import STRATEGIES, Slot, Strategy


@STRATEGIES.register("family")
class Family(Strategy):
    """Every forget sample in the related language that paper A pairs with the source (German with Dutch, and so on).

    English has no relative in the paper; a source without one is left out, unless ``relatives`` names one.
    """

    source = "Paper A, section 3.2"

    relatives: Mapping[str, str] = Field(default_factory=dict, description="Source -> relative, over the paper's own.")

    @field_validator("relatives")
    @classmethod
    def _known(cls, pairs: Mapping[str, str]) -> dict[str, str]:
        return {find(source).code: find(relative).code for source, relative in pairs.items()}

    def languages(self, source_language: str) -> tuple[str, ...]:
        relative = self.relatives.get(source_language) or find(source_language).relative
        return (relative,) if relative else ()

    def __call__(self, scenarios: Sequence[str], source_language: str, samples: int, seed: int) -> list[Slot]:
        return [
            Slot(scenario, relative, index)
            for relative in self.languages(source_language)
            for scenario in scenarios
            for index in range(samples)
        ]
