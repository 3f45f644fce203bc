"""Stop when the model is no longer a language model on what it should keep."""

from __future__ import annotations

from pydantic import Field

from unteach.records import Reading
from unteach.unlearn.contracts import STOP_RULES, StopRule


@STOP_RULES.register("perplexity")
class Perplexity(StopRule):
    """Stop when exp(mean NLL a token) on retain texts reaches ``limit``."""

    source = "Paper A, appendix C (150)"

    limit: float = Field(150.0, gt=1)

    def __call__(self, start: Reading, now: Reading) -> str | None:
        if not now.perplexity < self.limit:
            return f"perplexity on retain texts is {now.perplexity:.0f}, the limit is {self.limit:g}"
        return None
