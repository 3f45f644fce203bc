"""Building: every step that is not yet done, then the corpus, then what it lacks."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from unteach.corpora.articles import Article, read_articles
from unteach.corpora.schema import Scenario
from unteach.endpoints.replies import Replies
from unteach.endpoints.service import Ask, Service
from unteach.errors import UserError
from unteach.experiments.building.assemble import added_to, own_text, scenario, translated_text
from unteach.experiments.building.given import read_given
from unteach.experiments.building.spec import BuildSpec, TranslationSpec
from unteach.experiments.building.steps import AskingStep, Given, Inject, ParaphraseAll, Step, WritePairs
from unteach.experiments.building.translations import Translate, translate_all
from unteach.languages.table import LANGUAGES
from unteach.makers.contract import Rejected, Unmade
from unteach.makers.inject import Injected
from unteach.progress import NoProgress, Progress
from unteach.records import Record
from unteach.store import Store, write_atomically

A = TypeVar("A", bound=AskingStep[Any])


@dataclass(frozen=True)
class Parts:
    """All steps of one article."""

    article: Article
    inject: Inject
    real: ParaphraseAll
    fake: ParaphraseAll
    qa: WritePairs | None
    translate: tuple[Translate, ...]
    given: Scenario | None

    @property
    def steps(self) -> list[Step[Any]]:
        """In the order in which they are done."""
        return [self.inject, self.real, self.fake, *([self.qa] if self.qa else []), *self.translate]


@dataclass(frozen=True)
class Build:
    """A spec with its articles read: what there is to do."""

    spec: BuildSpec
    store: Store
    articles: tuple[Article, ...]
    notes: tuple[str, ...] = ()
    given: Mapping[str, tuple[Injected, Scenario]] = field(default_factory=dict)
    """By article id: what is there already."""

    @cached_property
    def parts(self) -> list[Parts]:
        """The steps of every article."""
        return [self._parts(article) for article in self.articles]

    def _parts(self, article: Article) -> Parts:
        spec, store = self.spec, self.store
        known = self.given.get(article.id)
        inject = Given(spec, store, article, known[0]) if known else Inject(spec, store, article)
        real, fake = (ParaphraseAll(spec, store, article, inject, is_fake) for is_fake in (False, True))
        has_pairs = known is not None and bool(known[1].texts[article.language].qa)
        qa = WritePairs(spec, store, article, inject) if spec.qa.count and not has_pairs else None
        asked = spec.translate.questions.languages if spec.translate.questions else ()
        groups: list[tuple[str, TranslationSpec | None]] = [
            ("questions", spec.translate.questions),
            ("samples", spec.translate.samples),
            ("articles", spec.translate.articles),
        ]
        translate = tuple(
            Translate(
                spec,
                store,
                article,
                group,
                language,
                settings,
                inject,
                fake if group == "samples" else None,
                group == "samples" and language not in asked,
            )
            for group, settings in groups
            if settings is not None
            for language in settings.languages
            if language != article.language
        )
        return Parts(article, inject, real, fake, qa, translate, known[1] if known else None)

    def calls(self) -> dict[str, tuple[int, int]]:
        """Prompts (for translations: texts are not known before; so steps) by kind: all, and those still to do."""
        counts: dict[str, tuple[int, int]] = {}
        for step in (step for parts in self.parts for step in parts.steps):
            amount = step.calls if isinstance(step, AskingStep) else 1
            all_of, left = counts.get(step.kind, (0, 0))
            counts[step.kind] = (all_of + amount, left + (0 if step.done else amount))
        return counts


class Lack(Record):
    """Something that was wanted and could not be made."""

    article: str
    what: str
    reason: str


@dataclass
class Built:
    """What a build made."""

    scenarios: list[Scenario]
    lacks: list[Lack] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    """How many draws the checks refused, by kind and reason."""


def prepare(spec: BuildSpec, store: Path) -> Build:
    """Read the articles and find out whether all can be asked that will be; nothing is asked yet.

    Raises:
        UserError: articles or translators cannot be used.
    """
    build = _read(spec, Store(store))
    problems = []
    for group in (spec.translate.questions, spec.translate.samples, spec.translate.articles):
        for language in group.languages if group else ():
            sources = {article.language for article in build.articles if article.language != language}
            try:
                if group and sources:
                    group.translator.check(sources, language)
            except UserError as error:
                problems.append(str(error))
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return build


def _read(spec: BuildSpec, store: Store) -> Build:
    if spec.scenarios is not None:
        found = read_given(spec.scenarios)
        given = {article.id: (injected, scenario) for article, injected, scenario in found}
        return Build(spec, store, tuple(article for article, _, _ in found), given=given)
    wanted = spec.articles
    assert wanted is not None
    articles = read_articles(
        wanted.source,
        split=wanted.split,
        columns=wanted.columns,
        language=wanted.language,
        limit=wanted.limit,
        skip_bad=wanted.skip_bad,
    )
    return Build(spec, store, articles.articles, articles.notes)


def build(prepared: Build, progress: Progress | None = None, replies: Replies | None = None) -> Built:
    """Do every step that is not yet done, and put the corpus together.

    Raises:
        Unfinished, BudgetReached: a service did not answer all; what it answered is kept, and the same call goes on.
    """
    progress = progress or NoProgress()
    parts = prepared.parts
    failed: dict[str, str] = {}

    def asked(steps: Iterable[AskingStep[Any]]) -> None:
        failed.update(_ask_all([step for step in steps if not step.done], progress, replies))

    asked(each.inject for each in parts)
    able = [each for each in parts if each.inject.done]
    asked(step for each in able for step in (each.real, each.fake, each.qa) if step is not None)
    _translate([step for each in able for step in each.translate if not step.done], progress)
    return _put_together(parts, failed)


def _translate(steps: Sequence[Translate], progress: Progress) -> None:
    """Group by group, so that a translator's model is loaded once, and language by language."""
    groups: dict[str, dict[str, list[Translate]]] = {}
    for step in steps:
        groups.setdefault(step.group, {}).setdefault(step.language, []).append(step)
    for languages in groups.values():
        for same in languages.values():
            translate_all(same, progress)
        same[0].settings.translator.release()
        if same[0].settings.back is not None:
            same[0].settings.back.release()


def _ask_all(steps: Sequence[A], progress: Progress, replies: Replies | None) -> dict[str, str]:
    """Do these steps, those of one endpoint together; gives why by the key of each that could not be made."""
    failed: dict[str, str] = {}

    async def make(ask: Ask, step: A) -> tuple[A, Record | Unmade]:
        try:
            return step, await step.make(ask)
        except Unmade as problem:
            return step, problem

    groups: dict[str, list[A]] = {}
    for step in steps:
        groups.setdefault(json.dumps([step.kind, step.endpoint.identity()], default=str), []).append(step)
    for group in groups.values():
        with Service(group[0].endpoint, replies, progress) as service:
            for step, outcome in service.map(make, group, label=group[0].kind, total=len(group)):
                if isinstance(outcome, Unmade):
                    failed[step.key.digest] = str(outcome)
                else:
                    step.keep(outcome, amount=step.calls)
    return failed


def _put_together(parts: Sequence[Parts], failed: dict[str, str]) -> Built:
    made = Built([])
    for each in parts:
        if not each.inject.done:
            made.lacks.append(Lack(article=each.article.id, what="scenario", reason=failed[each.inject.key.digest]))
            continue
        made.scenarios.append(_scenario(each, failed, made))
    return made


def _scenario(parts: Parts, failed: dict[str, str], made: Built) -> Scenario:
    article, injected = parts.article, parts.inject.result()
    real, fake = parts.real.result(), parts.fake.result()
    pairs = parts.qa.result() if parts.qa and parts.qa.done else None

    def lack(what: str, reasons: Iterable[str]) -> None:
        made.lacks.extend(Lack(article=article.id, what=what, reason=reason) for reason in reasons)

    def count(kind: str, rejected: Iterable[Rejected]) -> None:
        made.rejected.update(f"{kind}: {each.reason}" for each in rejected)

    for kind, rejected in (
        ("inject", injected.rejected),
        ("real samples", real.rejected),
        ("fake samples", fake.rejected),
    ):
        count(kind, rejected)
    lack("real samples", real.missing)
    lack("fake samples", fake.missing)
    if parts.qa and pairs is None:
        lack("qa", [failed[parts.qa.key.digest]])
    elif pairs is not None:
        count("qa", pairs.rejected)
    before = dict(parts.given.texts) if parts.given else {}
    own = own_text(article, injected, real, fake, pairs, parts.inject.endpoint.title, before.get(article.language))
    texts = {**before, article.language: own}
    by_language: dict[str, list[Translate]] = {}
    for step in parts.translate:
        by_language.setdefault(step.language, []).append(step)
    for language in sorted(by_language, key=list(LANGUAGES).index):
        steps = by_language[language]
        entries = [entry for step in steps for entry in step.result().entries]
        by = ", ".join(dict.fromkeys(step.settings.translator.title for step in steps))
        text, problems = translated_text(entries, len(injected.key_facts), by)
        lack(language, problems)
        if text is not None:
            texts[language] = added_to(before.get(language), text)
    return scenario(article, texts)


def write(built: Built, prepared: Build, to: Path, seconds: float) -> Path:
    """Write the corpus, and beside it what was done and what is missing; gives the second file."""
    to.parent.mkdir(parents=True, exist_ok=True)
    lines = (each.model_dump_json(exclude_defaults=True) for each in built.scenarios)
    write_atomically(to, "".join(f"{line}\n" for line in lines))
    report = {
        "spec": prepared.spec.model_dump(mode="json", exclude_defaults=True),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "seconds": seconds,
        "articles": len(prepared.articles),
        "notes": prepared.notes,
        "scenarios": len(built.scenarios),
        "rejected_draws": dict(built.rejected.most_common()),
        "missing": [lack.model_dump() for lack in built.lacks],
        "steps": {
            each.article.id: {step.name: str(step.store.folder(step.key)) for step in each.steps if step.done}
            for each in prepared.parts
        },
    }
    beside = to.with_suffix(".build.json")
    write_atomically(beside, json.dumps(report, ensure_ascii=False, indent=1))
    return beside
