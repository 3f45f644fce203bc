"""Corpora from elsewhere: a table's rows as articles, or as scenarios where it has questions, fakes and key phrases.

A row is one article, or one scenario in one language; rows with the same id are one scenario. A cell that holds
several texts is a JSON list, or the texts with ``|`` between them; the forms of a key fact have `` / `` between them,
and a question and its answer ``=>``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from unteach.corpora.articles import Articles, articles_of, unique_ids
from unteach.corpora.columns import ARTICLE_COLUMNS, find_columns
from unteach.corpora.load import explain
from unteach.corpora.rows import Row, Rows, read_rows
from unteach.corpora.samples import join
from unteach.corpora.schema import LocalText, Origin, Scenario, Strict
from unteach.errors import UserError, UserErrors
from unteach.languages.sentences import sentences as split
from unteach.languages.table import find
from unteach.languages.text import normalise
from unteach.store import write_atomically

SCENARIO_COLUMNS: dict[str, tuple[str, ...]] = {
    "fake": ("fake", "fakes", "fake passage", "fake passages", "wordings", "fake wordings", "injected passage"),
    "fake_article": ("fake article", "fake news", "fake text", "fake news article", "fake story", "fake content"),
    "key_phrases": (
        "key phrases", "key phrase", "keywords", "keyword", "key words", "key word", "fake keyword", "fake keywords",
        "fake key phrases", "fake key phrase",
    ),
    "key_facts": ("key facts", "key fact", "facts"),
    "fake_question": ("fake question", "question fake", "question on fake", "fake news question"),
    "real_question": ("real question", "question real", "question on real", "real news question"),
    "qa": ("qa", "q a", "qas", "qa pairs", "q a pairs", "question answer pairs", "questions and answers"),
    "real_samples": ("real samples",),
    "fake_samples": ("fake samples",),
}  # fmt: skip
"""Fields that articles do not have -> usual names, the likeliest first."""

_NAMES = ARTICLE_COLUMNS | SCENARIO_COLUMNS | {"article": ARTICLE_COLUMNS["text"]}
_ROW = {name: _NAMES[name] for name in ("id", "title", "language", "origin", "article", *SCENARIO_COLUMNS)}
_QUESTION = ("question", "q", "prompt", "instruction")
_ANSWER = ("answer", "a", "response", "output")


@dataclass(frozen=True)
class Imported:
    """Articles or scenarios, and what was found, as sentences."""

    items: tuple[Strict, ...]
    kind: str
    notes: tuple[str, ...]

    def write(self, path: Path) -> None:
        """One JSON object a line; what is empty is left out."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(_full(item.model_dump(mode="json")), ensure_ascii=False) for item in self.items)
        write_atomically(path, "".join(f"{line}\n" for line in lines))


def import_corpus(
    source: str,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    language: str = "en",
    limit: int | None = None,
    skip_bad: bool = False,
) -> Imported:
    """What ``unteach corpus import`` writes: scenarios if the source has fields of theirs, else articles.

    ``columns`` maps our fields to columns; ``text`` and ``article`` are one. The rest is as for ``read_articles``.

    Raises:
        UserError: there is nothing at the source, no column fits, or it is a corpus of unteach's already.
        UserErrors: rows that cannot be used, all at once.
    """
    found = read_rows(source, split)
    if "texts" in found.columns:
        raise UserError(f"{source} has 'texts' by language, as unteach's own corpora have: it can be used as it is.")
    given = {("article" if ours == "text" else ours): theirs for ours, theirs in (columns or {}).items()}
    if set(given) & set(SCENARIO_COLUMNS) or _has_scenarios(found.columns):
        return _scenarios(found, given, language, limit, skip_bad)
    articles: Articles = articles_of(found, columns=columns, language=language, limit=limit, skip_bad=skip_bad)
    return Imported(articles.articles, "articles", articles.notes)


def check_target(to: Path, source: str) -> None:
    """Whether the result can be written there.

    Raises:
        UserError: the file is no ``.jsonl``, or it is or lies in the source.
    """
    if to.suffix != ".jsonl" or to.is_dir():
        raise UserError(f"--to {to}: JSON lines are written; give a file that ends in .jsonl.")
    read = Path(source).resolve()
    if Path(source).exists() and (to.resolve() == read or read in to.resolve().parents):
        raise UserError(f"--to {to} is or lies in {source}, which is read; give another file.")


def _has_scenarios(columns: Sequence[str]) -> bool:
    chosen, _ = find_columns(columns, SCENARIO_COLUMNS, required=())
    return bool(chosen)


@dataclass
class _Drafts:
    """Scenarios in the making: id -> language -> text, with the places they come from, and what went wrong."""

    texts: dict[str, dict[str, LocalText]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    without: dict[str, int] = field(default_factory=dict)
    """A sentence -> in how many rows it holds."""

    def note(self, sentence: str) -> None:
        self.without[sentence] = self.without.get(sentence, 0) + 1


def _scenarios(found: Rows, given: Mapping[str, str], language: str, limit: int | None, skip_bad: bool) -> Imported:
    rows = found.rows[:limit]
    named, notes = find_columns(found.columns, _ROW, given, required=())
    codes = {str(row.values.get(named["language"])) for row in rows} if "language" in named else set()
    if len(codes) > 1 and "id" not in named:
        raise UserError(
            f"{found.name} has rows in {len(codes)} languages, but no column tells which belong together; name it "
            f"with --id. The columns are {', '.join(map(repr, found.columns))}."
        )
    drafts = _Drafts(problems=list(found.problems))
    values = [{ours: row.values.get(theirs) for ours, theirs in named.items()} for row in rows]
    names = [(str(v["id"]) if v.get("id") is not None else None, v.get("title")) for v in values]
    default = Origin(kind="authored", by=found.name)
    for row, own, scenario in zip(rows, values, unique_ids(names, "scenario"), strict=True):
        _add(drafts, row, own, scenario, language, default)
    made = []
    for scenario, texts in drafts.texts.items():
        try:
            made.append(Scenario(id=scenario, texts=texts))
        except ValidationError as error:
            drafts.problems += [f"{drafts.places[scenario]}: {line}" for line in explain(error)]
    if not made and not drafts.problems:
        drafts.problems.append(f"{found.name}: no scenarios found")
    if drafts.problems and not (skip_bad and made):
        raise UserErrors(f"the scenarios {found.name!r} cannot be used", drafts.problems)
    notes += [f"{sentence} ({count} of {len(rows)} rows)" for sentence, count in drafts.without.items()]
    left_out = [f"left out: {problem}" for problem in drafts.problems]
    return Imported(tuple(made), "scenarios", (*found.notes, *notes, *left_out))


def _add(drafts: _Drafts, row: Row, own: dict[str, Any], scenario: str, language: str, default: Origin) -> None:
    """One row's text, if it is good; what is wrong with it goes to the problems."""
    try:
        code = find(str(own.get("language") or language)).code
        text = LocalText.model_validate(
            _local_text(own, code, drafts) | {"origin": _origin(own.get("origin"), default)}
        )
    except ValidationError as error:
        drafts.problems += [f"{row.place}: {line}" for line in explain(error)]
        return
    except UserError as error:
        drafts.problems.append(f"{row.place}: {error}")
        return
    here = drafts.texts.setdefault(scenario, {})
    if code in here:
        drafts.problems.append(f"{row.place}: {scenario!r} has a text in {code!r} already ({drafts.places[scenario]})")
        return
    drafts.places.setdefault(scenario, row.place)
    here[code] = text


def _local_text(own: Mapping[str, Any], code: str, drafts: _Drafts) -> dict[str, Any]:
    """A row's values in the schema's form. Questions that could not be judged are left out, and counted."""
    made: dict[str, Any] = {
        "article": _sentences(own.get("article"), code),
        "fake": _texts(own.get("fake")),
        "key_phrases": _texts(own.get("key_phrases")),
        "key_facts": [_forms(fact) for fact in _texts(own.get("key_facts"))],
        "qa": [_pair(pair) for pair in _pairs(own.get("qa"))],
    }
    for name in ("real_samples", "fake_samples"):
        samples = _json(own.get(name))
        if samples is not None:
            made[name] = samples if isinstance(samples, Mapping) else {"teach": _texts(samples)}
    if own.get("fake_article") is not None:
        _take_fake_article(made, str(own["fake_article"]), code, drafts)
    if (asked := own.get("fake_question")) is not None and made["key_phrases"]:
        made["fake_question"] = asked
    elif asked is not None:
        drafts.note("fake_question is left out where there are no key_phrases, which its answers are judged by")
    if (asked := own.get("real_question")) is not None:
        made["real_question"] = asked
        if not made["key_facts"]:
            drafts.note("there are no key_facts: answers to real_question need a judge that reads (judge: llm)")
    return made


def _take_fake_article(made: dict[str, Any], whole: str, code: str, drafts: _Drafts) -> None:
    """The passage is what the real article has not; where most of it differs, the whole is kept as a training text."""
    real = {_folded(sentence) for sentence in made["article"]}
    sentences = _sentences(whole, code)
    added = [sentence for sentence in sentences if _folded(sentence) not in real]
    if added and 2 * len(added) <= len(sentences):
        made["fake"] = made["fake"] or [join(added, code)]
        drafts.note("the fake passage is what the fake article has and the real one has not")
    elif added:
        made["fake_samples"] = made.get("fake_samples") or {"teach": [whole]}
        drafts.note("the fake article differs from the real one in most sentences: kept whole, as fake_samples.teach")


def _folded(text: str) -> str:
    return normalise(text)[0].strip()


def _origin(value: Any, default: Origin) -> Any:
    return default if value is None else default.model_copy(update={"by": value}) if isinstance(value, str) else value


def _json(value: Any) -> Any:
    """A cell that begins as JSON does is read as such; anything else stays as it is."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _texts(value: Any) -> list[Any]:
    value = _json(value)
    if value is None:
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split("|") if part.strip()]
    return list(value) if isinstance(value, Sequence) else [value]


def _sentences(value: Any, code: str) -> list[Any]:
    """A list as it is; running text cut at ``|``, else at line breaks and the ends of sentences."""
    value = _json(value)
    if not isinstance(value, str) or "|" in value:
        return _texts(value)
    return list(split(value, code))


def _forms(fact: Any) -> list[Any]:
    return [form.strip() for form in fact.split(" / ")] if isinstance(fact, str) else fact


def _pairs(value: Any) -> list[Any]:
    """Pairs as a list; ``{"question": [...], "answer": [...]}``, as data sets store them, is turned into one."""
    value = _json(value)
    if isinstance(value, Mapping):
        questions, answers = _part(value, _QUESTION), _part(value, _ANSWER)
        if isinstance(questions, list) and isinstance(answers, list) and len(questions) == len(answers):
            return [{"question": q, "answer": a} for q, a in zip(questions, answers, strict=True)]
        return [value]
    return _texts(value)


def _pair(pair: Any) -> Any:
    if isinstance(pair, str) and pair.count("=>") == 1:
        pair = pair.split("=>")
    if isinstance(pair, list | tuple) and len(pair) == 2:
        return {"question": pair[0], "answer": pair[1]}
    if isinstance(pair, Mapping):
        return {"question": _part(pair, _QUESTION), "answer": _part(pair, _ANSWER)}
    return pair


def _part(pair: Mapping[str, Any], names: Sequence[str]) -> Any:
    lower = {str(name).casefold(): value for name, value in pair.items()}
    return next((lower[name] for name in names if name in lower), None)


def _full(value: Any) -> Any:
    """Without what is empty."""
    if isinstance(value, dict):
        kept = {name: _full(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, [], {})}
    return [_full(item) for item in value] if isinstance(value, list) else value
