"""What there is to do: the steps of every article of a spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from unteach.corpora.articles import Article
from unteach.corpora.schema import LocalText, Paraphrases, Scenario
from unteach.errors import UserError
from unteach.experiments.building.assemble import with_more
from unteach.experiments.building.sampling import ParaphraseAll
from unteach.experiments.building.spec import BuildSpec, TranslationSpec
from unteach.experiments.building.steps import AskingStep, Given, Inject, Step, WritePairs
from unteach.experiments.building.translations import FIELDS, Translate
from unteach.makers.inject import Injected
from unteach.store import Store


class Amount(NamedTuple):
    """How much of one kind of step there is, and how much of it still to do."""

    step: str
    by: str
    unit: str
    every: int
    left: int


@dataclass(frozen=True)
class Parts:
    """All steps of one article; none where nothing is wanted that is not there."""

    article: Article
    before: dict[str, LocalText]
    """The texts of a given scenario, by language."""
    inject: Inject
    real: ParaphraseAll | None
    fake: ParaphraseAll | None
    qa: WritePairs | None
    translate: tuple[Translate, ...]

    @property
    def steps(self) -> list[Step[Any]]:
        """In the order in which they are done."""
        return [step for step in (self.inject, self.real, self.fake, self.qa, *self.translate) if step is not None]

    def own_text(self) -> LocalText:
        """The scenario in the article's own language, once its steps are done."""
        text = self.inject.text()
        for name, step in (("real_samples", self.real), ("fake_samples", self.fake)):
            if step is not None and (samples := step.all_there_are()) != step.before:
                text = with_more(text, {name: samples}, step.by)
        if self.qa is not None and self.qa.done:
            text = with_more(text, {"qa": self.qa.result().pairs}, self.qa.by)
        return text


@dataclass(frozen=True)
class Build:
    """A spec with its articles read: what there is to do."""

    spec: BuildSpec
    store: Store
    articles: tuple[Article, ...]
    notes: tuple[str, ...] = ()
    given: dict[str, tuple[Injected, Scenario]] = field(default_factory=dict)
    """By article id: what is there already."""

    @cached_property
    def parts(self) -> list[Parts]:
        """The steps of every article."""
        return [self._parts(article) for article in self.articles]

    def _parts(self, article: Article) -> Parts:
        spec, store = self.spec, self.store
        inject, before = Inject(spec, store, article), {}
        if article.id in self.given:
            injected, scenario = self.given[article.id]
            before = dict(scenario.texts)
            inject = Given(spec, store, article, injected, before[article.language])
        own = before.get(article.language)
        there = (own.real_samples, own.fake_samples) if own else (Paraphrases(), Paraphrases())
        samples = [ParaphraseAll(spec, store, article, inject, bool(fake), there[fake]) for fake in (0, 1)]
        real, fake = (step if step.calls else None for step in samples)
        qa = WritePairs(spec, store, article, inject) if spec.qa.count and not (own and own.qa) else None
        translate = [
            Translate(spec, store, article, group, code, fields, settings, inject, fake if group == "samples" else None)
            for group, code, settings in self._translations()
            if code != article.language and (fields := _lacking(group, before.get(code)))
        ]
        return Parts(article, before, inject, real, fake, qa, tuple(translate))

    def _translations(self) -> Iterator[tuple[str, str, TranslationSpec]]:
        """Group, language and settings of everything that is to be translated."""
        groups = self.spec.translate.groups
        asked = groups["questions"].languages if "questions" in groups else ()
        for group, settings in groups.items():
            for language in settings.languages:
                if group == "samples" and language not in asked:
                    yield "passage", language, settings
                yield group, language, settings

    @cached_property
    def cannot_tell(self) -> dict[int, str]:
        """By the id of a spec or of a translation's settings: why it cannot be told what of it is done already.

        The weights of a model may not be at hand, or ready translations not be there.
        """
        found: dict[int, str] = {}
        every: list[BuildSpec | TranslationSpec] = [self.spec, *self.spec.translate.groups.values()]
        for settings in every:
            try:
                _ = settings.how
            except UserError as error:
                found[id(settings)] = str(error)
        return found

    def is_done(self, step: Step[Any]) -> bool:
        """Whether a step's result is there, as far as can be told."""
        decides = (step.spec, step.settings) if isinstance(step, Translate) else (step.spec,)
        return not any(id(settings) in self.cannot_tell for settings in decides) and step.done

    def amounts(self) -> list[Amount]:
        """Prompts of each maker; translating steps of each group, as the number of their texts is not known before."""
        found: dict[tuple[str, str], Amount] = {}
        for step in (step for parts in self.parts for step in parts.steps):
            amount, unit = (step.calls, "prompts") if isinstance(step, AskingStep) else (1, "translations")
            _, _, _, every, left = found.get(at := (step.family, step.by), Amount("", "", "", 0, 0))
            found[at] = Amount(*at, unit, every + amount, left + (0 if self.is_done(step) else amount))
        return [amount for amount in found.values() if amount.every]


def _lacking(group: str, before: LocalText | None) -> tuple[str, ...]:
    """The fields of a group that a language has not yet."""
    return tuple(each for each in FIELDS[group] if before is None or not getattr(before, each))
