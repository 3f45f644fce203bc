"""Which column holds what: by the names that are given, else by names that are usual, else by the only near one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from unteach.errors import UserError
from unteach.registry import nearest

ARTICLE_COLUMNS: dict[str, tuple[str, ...]] = {
    "text": (
        "text", "article", "content", "body", "news", "story", "document", "full text", "article text", "news text",
        "news article", "real", "real news", "real article", "real text", "real news article", "truthful",
    ),
    "title": ("title", "headline", "heading"),
    "id": ("id", "slug", "key", "article id", "scenario", "scenario id", "uid"),
    "language": ("language", "lang", "language code", "locale"),
    "statement": ("statement", "claim", "false statement", "false claim", "fake statement", "fake claim"),
    "origin": ("origin",),
}  # fmt: skip
"""Our field -> usual names, the likeliest first."""

_NEAR = {"text": {"text", "article", "content", "body", "news", "story"}, "title": {"title", "headline"}}
_NOT_NEAR = {
    "answer", "author", "category", "count", "date", "fake", "false", "hash", "id", "label", "language", "length",
    "question", "source", "summary", "title", "type", "url",
}  # fmt: skip
"""A column with one of these words is not the article, whatever else its name says."""


def plain(name: str) -> str:
    """A column's name as words: ``realNews``, ``real_news`` and ``Real News`` are one."""
    return " ".join(re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", name).casefold().split())


def find_columns(
    columns: Sequence[str],
    usual: Mapping[str, Sequence[str]],
    given: Mapping[str, str] | None = None,
    *,
    required: Sequence[str] = ("text",),
) -> tuple[dict[str, str], list[str]]:
    """Our field -> the column that holds it, and what is worth saying about the choice, as sentences.

    Raises:
        UserError: a column that is named is not there, or a required one is not found; the message lists the columns.
    """
    listed = ", ".join(map(repr, columns)) or "none"
    chosen, notes = {}, []
    for ours, theirs in (given or {}).items():
        if ours not in usual:
            raise UserError(f"{ours!r} is no field. {nearest(ours, usual)}")
        if theirs not in columns:
            raise UserError(f"{ours}: there is no column {theirs!r}. {nearest(theirs, columns)}")
        chosen[ours] = theirs
    names = {plain(column): column for column in reversed(columns)}
    for ours, theirs_usual in usual.items():
        found = next((names[name] for name in theirs_usual if names.get(name) not in (None, *chosen.values())), None)
        if ours not in chosen and found is not None:
            chosen[ours] = found
    for ours, words in _NEAR.items():
        if ours in usual and ours not in chosen:
            near = [name for name in names if set(name.split()) & words and not set(name.split()) & _NOT_NEAR - {ours}]
            if len(near) == 1 and names[near[0]] not in chosen.values():
                chosen[ours] = names[near[0]]
                notes.append(f"{ours} is taken from {names[near[0]]!r}, the only column whose name is near")
    for ours in required:
        if ours not in chosen:
            raise UserError(
                f"no column looks like the {ours}: the columns are {listed}. Name it with --{ours.replace('_', '-')}."
            )
    notes += [f"{ours} from {theirs!r}" for ours, theirs in chosen.items() if plain(theirs) != plain(ours)]
    unused = [repr(column) for column in columns if column not in chosen.values()]
    if unused:
        notes.append(f"not used: {', '.join(unused)}")
    return chosen, notes
