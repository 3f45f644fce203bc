"""What several seeds say together."""

from __future__ import annotations

from collections.abc import Sequence

from unteach.metrics.contract import mean
from unteach.records import Row

_VALUES = {"n", "unscored", "value", "ci_low", "ci_high", "seed"}


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """One row for every number that was measured under several seeds: mean, n = seeds, Student's t interval.

    This interval is over repetitions of the whole experiment; those of the single rows are over questions.
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.seed is not None:
            identity = row.model_dump(exclude=_VALUES)
            groups.setdefault(tuple(identity.values()), []).append(row)
    made = []
    for group in groups.values():
        if len(group) > 1:
            label = f"over {len(group)} seeds"
            variant = f"{group[0].variant}, {label}" if group[0].variant else label
            summary = mean(row.value for row in group)
            made.append(group[0].model_copy(update={"seed": None, "variant": variant, **summary}))
    return made
