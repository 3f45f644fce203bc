"""Articles: what a corpus is made from, read from a folder of texts, a table, or a data set of the hub."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, field_validator

from unteach.corpora.columns import ARTICLE_COLUMNS, find_columns
from unteach.corpora.load import explain
from unteach.corpora.rows import Row, Rows, read_rows
from unteach.corpora.schema import Origin, Strict, Text
from unteach.errors import UserErrors
from unteach.languages.table import find
from unteach.languages.text import normalise

LONGEST = 50_000
"""An article of more characters is refused: it is longer than any news story, so probably many in one."""

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")


class Article(Strict):
    """One real article, and the false statement that is to be put into it, if its owner has one."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
    text: Text = Field(description="The whole article; paragraphs are separated by empty lines.")
    language: str = "en"
    title: Text | None = None
    statement: Text | None = Field(None, description="A false statement of one's own; without one it is invented.")
    origin: Origin

    @field_validator("text")
    @classmethod
    def _not_too_long(cls, text: str) -> str:
        if len(text) > LONGEST:
            raise ValueError(f"has {len(text):,} characters, more than {LONGEST:,}; give one article a row or file")
        return text

    @field_validator("language")
    @classmethod
    def _code(cls, name: str) -> str:
        return find(name).code


@dataclass(frozen=True)
class Articles:
    """Articles in the order of their source, and what is worth saying about how they were read, as sentences."""

    articles: tuple[Article, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Article]:
        return iter(self.articles)

    def __len__(self) -> int:
        return len(self.articles)


def read_articles(
    source: str,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    language: str = "en",
    limit: int | None = None,
    skip_bad: bool = False,
) -> Articles:
    """The articles of a folder of .txt and .md files, a table (a row an article), or a data set on the hub.

    A text file's name is the article's id; its first line is the title if an empty line follows. ``columns`` maps our
    fields (text, title, id, language, statement, origin) to a table's columns; others are found by usual names, which
    the notes tell. ``language`` is that of rows that name none, ``limit`` the number of rows or files to read.

    Raises:
        UserError: there is nothing at the source, or no column holds the text.
        UserErrors: rows that cannot be used, all at once, each with its place. ``skip_bad`` leaves them out instead;
            the notes name them.
    """
    found = read_rows(source, split)
    return articles_of(found, columns=columns, language=language, limit=limit, skip_bad=skip_bad)


def articles_of(
    found: Rows,
    *,
    columns: Mapping[str, str] | None = None,
    language: str = "en",
    limit: int | None = None,
    skip_bad: bool = False,
) -> Articles:
    """``read_articles`` from rows that have been read."""
    rows = found.rows[:limit]
    named: dict[str, str] = {}
    notes = list(found.notes)
    if found.columns:
        named, said = find_columns(found.columns, ARTICLE_COLUMNS, columns)
        notes += said
    problems = list(found.problems)
    default = Origin(kind="authored", by=found.name)
    drafts = [_draft(row, named, language, default) for row in rows]
    ids = unique_ids([(draft.get("id"), draft.get("title")) for draft in drafts], "article")
    seen: dict[str, dict[str, str]] = {"id": {}, "text": {}}
    articles = []
    for row, draft, own_id in zip(rows, drafts, ids, strict=True):
        try:
            article = Article.model_validate(draft | {"id": own_id})
        except ValidationError as error:
            problems += [f"{row.place}: {line}" for line in explain(error)]
            continue
        folded = normalise(article.text)[0]
        for field, value in (("id", article.id), ("text", folded)):
            if value in seen[field]:
                shown = f" {article.id!r}" if field == "id" else ""
                problems.append(f"{row.place}: {field}{shown} is that of {seen[field][value]} already")
                break
        else:
            seen["id"][article.id] = seen["text"][folded] = row.place
            articles.append(article)
    if not articles and not problems:
        problems.append(f"{found.name}: no articles found")
    if problems and not (skip_bad and articles):
        raise UserErrors(f"the articles {found.name!r} cannot be used", problems)
    return Articles(tuple(articles), (*notes, *(f"left out: {problem}" for problem in problems)))


def _draft(row: Row, named: Mapping[str, str], language: str, origin: Origin) -> dict[str, Any]:
    """A row's values under our names; what is missing is left to the checks."""
    draft = {ours: row.values[theirs] for ours, theirs in named.items() if row.values.get(theirs) is not None}
    text = draft.get("text", "")
    if isinstance(text, Sequence) and not isinstance(text, str) and all(isinstance(part, str) for part in text):
        text = "\n\n".join(text)
    if isinstance(text, str):
        text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\ufeff \n\t")
    if row.file is not None:
        draft["id"] = row.file.stem
        first, *rest = text.split("\n", 2)
        if len(rest) == 2 and first.strip() and not rest[0].strip():
            draft["title"], text = first.removeprefix("#").strip("# \t"), rest[1]
    if isinstance(draft.get("id"), int):
        draft["id"] = str(draft["id"])
    if isinstance(draft.get("origin"), str):
        draft["origin"] = origin.model_copy(update={"by": draft["origin"]})
    return {"language": language, "origin": origin} | draft | {"text": text}


def slug(name: str) -> str | None:
    """A name as an id: Latin letters without accents and digits, words joined by "-", at most 60 characters.

    ``None`` where less than half of the letters and digits can be written so.
    """
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).casefold()
    letters = [letter for letter in plain if letter.isalnum()]
    kept = [letter for letter in letters if letter.isascii()]
    if not kept or 2 * len(kept) < len(letters):
        return None
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter) and letter not in "'’")
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return words if len(words) <= 60 else (words[:60].rsplit("-", 1)[0] if "-" in words[:60] else words[:60])


def unique_ids(names: Sequence[tuple[Any, Any]], kind: str) -> list[str]:
    """An id for each (id, title): the id as a slug, a bare number as ``kind-00017``, else the title's slug.

    What has neither is numbered by its position. Only made-up ids are changed so as to be unique; a given one is kept.
    """
    given = [_given(name, kind) for name, _ in names]
    taken = {name for name in given if name is not None}
    ids = []
    for position, (own, (_, title)) in enumerate(zip(given, names, strict=True), 1):
        if own is None:
            base = (slug(title) if isinstance(title, str) else None) or f"{kind}-{position:05d}"
            tries = (base if number == 1 else f"{base[:55]}-{number}" for number in range(1, len(names) + 2))
            own = next(name for name in tries if name not in taken)
            taken.add(own)
        ids.append(own)
    return ids


def _given(name: Any, kind: str) -> str | None:
    if not isinstance(name, str) or not name.strip():
        return None
    name = name.strip()
    if name.isascii() and name.isdecimal():
        return f"{kind}-{name.zfill(5)}"
    return name if _ID.fullmatch(name) else slug(name)
