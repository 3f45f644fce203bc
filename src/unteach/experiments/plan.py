"""From a spec to its stages, in an order in which each finds its inputs and models are changed seldom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from unteach.experiments.answer_stages import Ask, Choose, JudgeAnswers, Score
from unteach.experiments.model_stages import Learn, Unlearn
from unteach.experiments.spec import Spec, resolve_languages
from unteach.experiments.stage import Context, NewsModel, NewsStage, each_once
from unteach.metrics.contract import ModelTag
from unteach.registry import label


@dataclass(frozen=True)
class PlannedModel:
    """One model of the run: how it is made, how it is called, what it is compared with, and what is asked of it."""

    tag: ModelTag
    made_by: NewsModel
    before: str | None
    never_taught: str | None
    judged: tuple[JudgeAnswers, ...]
    chosen: tuple[Choose, ...]
    scored: tuple[Score, ...]

    @property
    def stages(self) -> Iterator[NewsStage]:
        """Its stages in order; those of one kind follow one another, so that they can be done together."""
        yield from self.made_by.needs
        yield self.made_by
        yield from (judged.asked for judged in self.judged)
        yield from self.judged
        yield from self.chosen
        yield from self.scored


def plan(context: Context, point: ModelTag | None = None) -> list[PlannedModel]:
    """The R-only model, then for every source the contaminated model and one unlearned model a strategy.

    ``point`` carries the place in a sweep. A strategy that has no language for a source makes no model of it.
    """
    point = point or ModelTag("r_only")
    r_only = _model(context, replace(point, model="r_only"), Learn(context, None), None, None)
    models = [r_only]
    for source in context.spec.sources:
        learned = Learn(context, source)
        tag = replace(point, model="contaminated", source_language=source)
        contaminated = _model(context, tag, learned, r_only.tag.name, r_only.tag.name)
        models.append(contaminated)
        if context.spec.unlearn is None:
            continue
        objective = context.spec.unlearn.objective.registered_name
        strategies = context.spec.unlearn.strategies
        names = Counter(strategy.registered_name for strategy in strategies)
        for strategy in strategies:
            if strategy.languages(source):
                name = strategy.registered_name if names[strategy.registered_name] == 1 else label(strategy)
                tag = replace(tag, model="unlearned", strategy=name, objective=objective)
                made_by = Unlearn(context, learned, strategy)
                models.append(_model(context, tag, made_by, contaminated.tag.name, r_only.tag.name))
    return models


def _model(
    context: Context, tag: ModelTag, made_by: NewsModel, before: str | None, never_taught: str | None
) -> PlannedModel:
    spec = context.spec
    asked = [*spec.question_languages, *(code for code in spec.fake_question_languages)]
    judged = tuple(JudgeAnswers(context, Ask(context, made_by, language)) for language in dict.fromkeys(asked))
    chosen = tuple(Choose(context, made_by, *pair) for pair in _choice_pairs(spec, tag))
    scored = tuple(Score(context, made_by, language) for language in spec.question_languages) if spec.texts else ()
    return PlannedModel(tag, made_by, before, never_taught, judged, chosen, scored)


def _choice_pairs(spec: Spec, tag: ModelTag) -> Iterable[tuple[str, str]]:
    """Question and passage languages put to a model: with ``@source`` its own, and for the R-only model every one's."""
    choosing = spec.forced_choice
    if choosing is None or tag.model not in choosing.models:
        return ()
    sources = (tag.source_language,) if tag.source_language else spec.sources
    return dict.fromkeys(
        (question, passage)
        for source in sources
        for question in resolve_languages(choosing.question_languages or spec.question_languages, source)
        for passage in resolve_languages(choosing.passage_languages or spec.question_languages, source)
    )


def all_stages(models: list[PlannedModel]) -> list[NewsStage]:
    """Every stage of these models once, in order."""
    return each_once(stage for model in models for stage in model.stages)
