"""Which rows of the table paper A's figures show: one setting of a sweep, its models, its languages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from unteach.languages.table import MULTILINGUAL, PAPER_A
from unteach.records import Row
from unteach.reports import tables
from unteach.reports.tables import language_place, short_variant

STRATEGIES = ("english", "source", "family", "multilingual", "combined")
"""Paper A's ways to choose the language of the forget set, in the order of its sections 3.1 to 3.4."""

GROUPS = {
    "english": "in English",
    "source": "in the fakes' language",
    "other high": "in other high-resource languages",
    "other low": "in other low-resource languages",
}
"""The four series of figure 3: pooled question languages and how a legend names them ("asked ...")."""

Key = tuple[str, str | None, str | None, str | None]
"""Model, source language, strategy, question language."""


def main_setting(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """The rows of the one setting that the figures show, and its name where a run has several.

    Means over seeds come before single seeds. Of a sweep, the setting without a variant is shown, else the first that
    has unlearned models. Models that only the whole sweep has once (R only, contaminated) belong to every setting.
    """
    rows = tables.without_seeds(rows)
    settings = list(dict.fromkeys((row.variant, row.seed) for row in rows))
    unlearned = {(row.variant, row.seed) for row in rows if row.model == "unlearned"}
    if not settings:
        return [], ""
    # Sorting is stable: of equals, the first in the table stays first.
    shown = min(settings, key=lambda setting: (setting not in unlearned, setting != (None, None)))
    mine = [row for row in rows if (row.variant, row.seed) == shown]
    have = {(row.model, row.source_language, row.strategy) for row in mine}
    shared = [
        row
        for row in rows
        if (row.variant, row.seed) == (None, None)
        and (row.model, row.source_language, row.strategy) not in have
        and row.model != "unlearned"
    ]
    seed = [] if shown[1] is None else [f"seed {shown[1]}"]
    return mine + shared, ", ".join([*filter(None, [short_variant(shown[0])]), *seed])


def index(rows: Iterable[Row], metric: str, group: str | None = None) -> dict[Key, Row]:
    """The final rows of one metric and group by model and question language; the first of equal ones."""
    found: dict[Key, Row] = {}
    for row in rows:
        if row.metric == metric and row.group == group and row.checkpoint is None:
            found.setdefault((row.model, row.source_language, row.strategy, row.question_language), row)
    return found


def columns(found: Iterable[Key], sources: Sequence[str]) -> list[str]:
    """Question languages of a grid: not those of the multilingual strategy that figure 6 is about."""
    codes = {code for _, _, _, code in found if code}
    extra = set(MULTILINGUAL) - set(PAPER_A) - set(sources)
    return sorted((codes - extra) or codes, key=language_place)


def forgotten_columns(found: Iterable[Key]) -> list[str]:
    """Question languages of figure 6: those of the multilingual strategy that paper A does not otherwise ask in."""
    codes = {code for _, _, _, code in found if code}
    return [code for code in MULTILINGUAL if code in codes and code not in PAPER_A]


def strategies(rows: Iterable[Row]) -> list[str]:
    """The strategies that the rows have, paper A's first."""
    found = dict.fromkeys(row.strategy for row in rows if row.strategy and row.model == "unlearned")
    return [name for name in STRATEGIES if name in found] + sorted(name for name in found if name not in STRATEGIES)


def rank_of(variant: str | None) -> int | None:
    """The LoRA rank that a sweep's point names: 8 for ``unlearn.tuning.rank=8``."""
    named = re.search(r"(?:^|[. ])rank=(\d+)(?:,|$)", variant or "")
    return int(named[1]) if named else None
