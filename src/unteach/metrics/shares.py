"""Which metrics are shares of answers, replies or edits: shown as per cent, never below 0 or above 1."""

from __future__ import annotations

SHARES = frozenset(
    {
        *("O_F", "forced_choice", "answer_language"),
        *("DS", "DG", "unsafe_rate", "other_rate", "degenerate_rate", "empty_rate"),
        *("refusal_rate", "over_refusal", "located_layer"),
    }
)
