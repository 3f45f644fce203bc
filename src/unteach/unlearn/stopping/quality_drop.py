"""Stop when answers on real news get too much worse."""

from __future__ import annotations

from pydantic import Field

from unteach.records import Reading
from unteach.unlearn.contracts import STOP_RULES, StopRule


@STOP_RULES.register("quality_drop")
class QualityDrop(StopRule):
    """Stop when mean Q_R has fallen by more than ``share`` of its value before unlearning."""

    source = "Paper A, section 3.1 (20 %)"

    share: float = Field(0.2, gt=0, lt=1)

    def __call__(self, start: Reading, now: Reading) -> str | None:
        if start.quality is None or now.quality is None:
            return None
        if now.quality < (1 - self.share) * start.quality:
            return f"Q_R fell from {start.quality:.2f} to {now.quality:.2f}, more than {self.share:.0%}"
        return None
