"""From a spec to its stages, in an order in which each finds its inputs and models are changed seldom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unteach.experiments.answer_stages import Ask, Choose, JudgeAnswers
from unteach.experiments.model_stages import Learn, Unlearn
from unteach.experiments.stage import Context, ModelStage, Stage
from unteach.metrics.contract import ModelTag


@dataclass(frozen=True)
class PlannedModel:
    """One model of the run: how it is made, how it is called, what it is compared with, and what is asked of it."""

    tag: ModelTag
    made_by: ModelStage
    before: str | None
    judged: tuple[JudgeAnswers, ...]
    chosen: tuple[Choose, ...]

    @property
    def stages(self) -> Iterator[Stage]:
        """Its stages in order."""
        yield self.made_by
        for judged in self.judged:
            yield judged.asked
            yield judged
        yield from self.chosen


def plan(context: Context) -> list[PlannedModel]:
    """The R-only model, then for every source the contaminated model and one unlearned model a strategy."""
    r_only = Learn(context, None)
    models = [_model(context, ModelTag("r_only"), r_only, None)]
    for source in context.spec.sources:
        learned = Learn(context, source)
        contaminated = ModelTag("contaminated", source)
        models.append(_model(context, contaminated, learned, models[0].tag.name))
        if context.spec.unlearn is None:
            continue
        objective = context.spec.unlearn.objective.registered_name
        for strategy in context.spec.unlearn.strategies:
            tag = ModelTag("unlearned", source, strategy.registered_name, objective)
            models.append(_model(context, tag, Unlearn(context, learned, strategy), contaminated.name))
    return models


def _model(context: Context, tag: ModelTag, made_by: ModelStage, before: str | None) -> PlannedModel:
    spec = context.spec
    judged = tuple(JudgeAnswers(context, Ask(context, made_by, language)) for language in spec.question_languages)
    choosing = spec.forced_choice
    chosen: tuple[Choose, ...] = ()
    if choosing is not None and tag.model in choosing.models:
        languages = choosing.question_languages or spec.question_languages
        chosen = tuple(Choose(context, made_by, language) for language in languages)
    return PlannedModel(tag, made_by, before, judged, chosen)


def all_stages(models: list[PlannedModel]) -> list[Stage]:
    """Every stage once, in order."""
    return list({stage.key.digest: stage for model in models for stage in model.stages}.values())
