"""Building: every step that is not yet done, then the corpus, then what it lacks."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unteach import __version__
from unteach.corpora.articles import read_articles
from unteach.corpora.schema import Scenario
from unteach.endpoints.contract import Endpoint
from unteach.endpoints.replies import Replies
from unteach.endpoints.service import Ask, Service
from unteach.errors import UserError, UserErrors
from unteach.experiments.building.assemble import translated_text
from unteach.experiments.building.given import read_given
from unteach.experiments.building.parts import Build, Parts
from unteach.experiments.building.spec import BuildSpec, endpoints_in
from unteach.experiments.building.steps import AskingStep
from unteach.experiments.building.translations import Translate, translate_all
from unteach.languages.table import LANGUAGES
from unteach.makers.contract import Rejected, Unmade
from unteach.progress import NoProgress, Progress
from unteach.records import Record
from unteach.store import Store, write_atomically


class Lack(Record):
    """Something that was wanted and could not be made."""

    article: str
    what: str
    reason: str


@dataclass
class Built:
    """What a build made."""

    scenarios: list[Scenario] = field(default_factory=list)
    lacks: list[Lack] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    """How many draws the checks refused, by kind and reason."""


def prepare(spec: BuildSpec, store: Path) -> Build:
    """Read the articles; nothing is asked yet.

    Raises:
        UserError: they cannot be used, or the corpus would be written over them.
    """
    source, target = Path(spec.source), spec.target.resolve()
    if target.is_dir() or (source.exists() and source.resolve() in (target, *target.parents)):
        raise UserError(f"to: {spec.target} is a folder, or is or lies in {spec.source}, which is read; name another.")
    if spec.scenarios is not None:
        found = read_given(spec.scenarios)
        given = {article.id: (injected, scenario) for article, injected, scenario in found}
        return Build(spec, Store(store), tuple(article for article, _, _ in found), given=given)
    assert spec.articles is not None
    articles = read_articles(**dict(spec.articles))
    return Build(spec, Store(store), articles.articles, articles.notes)


def build(prepared: Build, progress: Progress | None = None, replies: Replies | None = None) -> Built:
    """Do every step that is not yet done, and put the corpus together.

    Raises:
        UserErrors: what stands in the way, all at once, before anything is asked.
        Unfinished, BudgetReached: a service did not answer all; what it answered is kept, and the same call goes on.
    """
    progress = progress or NoProgress()
    if problems := list(dict.fromkeys(_obstacles(prepared, replies))):
        raise UserErrors("the build cannot begin", problems)
    parts = prepared.parts
    failed = _ask_all([each.inject for each in parts], progress, replies)
    able = [each for each in parts if each.inject.done]
    samples = (step for each in able for step in (each.real, each.fake) if step is not None)
    for steps in (samples, (each.qa for each in able if each.qa is not None)):
        failed |= _ask_all(list(steps), progress, replies)
    _translate([step for each in able for step in each.translate if not step.done], progress)
    return _put_together(parts, failed)


def _obstacles(prepared: Build, replies: Replies | None) -> Iterator[str]:
    """Why steps that are still to do could not be done: no key, no model, an unknown language, nowhere to write."""
    folder = prepared.spec.target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        yield f"to: nothing can be written in {folder} ({error.strerror})"
    yield from prepared.cannot_tell.values()
    left = [step for parts in prepared.parts for step in parts.steps if not prepared.is_done(step)]
    translate = [step for step in left if isinstance(step, Translate) and id(step.settings) not in prepared.cannot_tell]
    for step in {(each.group, each.article.language, each.language): each for each in translate}.values():
        yield from _translator_obstacles(step)
    endpoints = [step.endpoint for step in {s.maker: s for s in left if isinstance(s, AskingStep)}.values()]
    for settings in {id(step.settings): step.settings for step in translate}.values():
        endpoints += endpoints_in(settings)
    for number, endpoint in enumerate(endpoints):
        if endpoint not in endpoints[:number]:
            yield from _endpoint_obstacles(endpoint, replies)


def _translator_obstacles(step: Translate) -> Iterator[str]:
    ways = [(step.settings.translator, step.article.language, step.language)]
    if step.settings.way_back is not None:
        ways.append((step.settings.way_back, step.language, step.article.language))
    for translator, source, target in ways:
        try:
            translator.check([source], target)
        except UserError as error:
            yield str(error)


def _endpoint_obstacles(endpoint: Endpoint, replies: Replies | None) -> Iterator[str]:
    try:
        with Service(endpoint, replies):
            pass  # it opens: a key is there, or a model
    except UserError as error:
        yield str(error)


def _translate(steps: Sequence[Translate], progress: Progress) -> None:
    """Those of the same translators together, so that a model is loaded once; then language by language."""
    groups: dict[str, dict[str, list[Translate]]] = {}
    for step in steps:
        how = json.dumps(step.settings.how, sort_keys=True, default=str)
        groups.setdefault(how, {}).setdefault(step.language, []).append(step)
    for languages in groups.values():
        settings = next(iter(languages.values()))[0].settings
        try:
            for same in languages.values():
                translate_all(same, progress)
        finally:
            for translator in (settings.translator, settings.way_back):
                if translator is not None:
                    translator.release()


def _ask_all(steps: Sequence[AskingStep[Any]], progress: Progress, replies: Replies | None) -> dict[str, str]:
    """Do those steps of one maker that are not done; gives why by the key of each that could not be made."""
    left = {step.key.digest: step for step in steps if not step.done}  # two articles may have a step in common
    failed: dict[str, str] = {}

    async def make(ask: Ask, step: AskingStep[Any]) -> Record | Unmade:
        try:
            made: Record = await step.make(ask)
        except Unmade as problem:
            return problem
        return made

    if not left:
        return failed
    todo = list(left.values())
    with Service(todo[0].endpoint, replies, progress) as service:
        outcomes = service.map(make, todo, label=todo[0].kind)
        for (digest, step), outcome in zip(left.items(), outcomes, strict=True):
            if isinstance(outcome, Unmade):
                failed[digest] = str(outcome)
            else:
                step.keep(outcome, amount=step.calls)
    return failed


def _put_together(parts: Sequence[Parts], failed: dict[str, str]) -> Built:
    made = Built()
    for each in parts:
        if each.inject.done:
            made.scenarios.append(_scenario(each, failed, made))
        else:
            made.lacks.append(Lack(article=each.article.id, what="scenario", reason=failed[each.inject.key.digest]))
    return made


def _scenario(parts: Parts, failed: dict[str, str], made: Built) -> Scenario:
    """One article's scenario; what it lacks and what was refused on the way goes to ``made``."""
    article = parts.article

    def note(what: str, lacking: Iterable[str], rejected: Iterable[Rejected] = ()) -> None:
        made.lacks.extend(Lack(article=article.id, what=what, reason=reason) for reason in lacking)
        made.rejected.update(f"{what}: {each.reason}" for each in rejected)

    note("inject", (), parts.inject.result().rejected)
    for what, step in (("real samples", parts.real), ("fake samples", parts.fake)):
        if step is not None:
            samples = step.result()
            note(what, samples.missing, samples.rejected)
    if parts.qa is not None and parts.qa.done:
        asked = parts.qa.result()
        lacking = (f"{asked.missing} of {parts.qa.spec.qa.count} pairs could not be made",) if asked.missing else ()
        note("qa", lacking, asked.rejected)
    elif parts.qa is not None:
        note("qa", [failed[parts.qa.key.digest]])
    texts = {**parts.before, article.language: parts.own_text()}
    for language in LANGUAGES:
        steps = [step for step in parts.translate if step.language == language]
        entries = [entry for step in steps for entry in step.result().entries]
        by = ", ".join(dict.fromkeys(step.by for step in steps))
        text, problems = translated_text(entries, by, parts.before.get(language)) if entries else (None, [])
        note(language, problems)
        if text is not None:
            texts[language] = text
    return Scenario(id=article.id, texts=texts)


def write(built: Built, prepared: Build, to: Path, seconds: float) -> Path:
    """Write the corpus, and beside it what was done and what is missing; gives the second file.

    A build without a single scenario writes no corpus, so that an older one stays.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    if built.scenarios:
        lines = (each.model_dump_json(exclude_defaults=True) for each in built.scenarios)
        write_atomically(to, "".join(f"{line}\n" for line in lines))
    report = {
        "spec": prepared.spec.model_dump(mode="json", exclude_defaults=True),
        "version": __version__,
        "finished": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "seconds": seconds,
        "corpus": str(to) if built.scenarios else None,
        "articles": len(prepared.articles),
        "notes": prepared.notes,
        "scenarios": len(built.scenarios),
        "rejected_draws": dict(built.rejected.most_common()),
        "missing": [lack.model_dump() for lack in built.lacks],
        "steps": {
            each.article.id: {step.name: str(step.folder) for step in each.steps if step.folder.is_dir()}
            for each in prepared.parts
        },
    }
    beside = to.with_suffix(".build.json")
    write_atomically(beside, json.dumps(report, ensure_ascii=False, indent=1))
    return beside
