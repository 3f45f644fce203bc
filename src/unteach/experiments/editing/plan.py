"""From a spec to its stages, in an order in which each finds its inputs and models are changed seldom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unteach.edit.contract import SetEditor
from unteach.experiments.editing.spec import EditorSpec, edit_languages
from unteach.experiments.editing.stages import (
    AnyAttack,
    AttackTrained,
    EditingContext,
    EditItems,
    JudgeReplies,
    TeachItems,
    TrainOnItems,
)
from unteach.experiments.stage import Stage, each_once
from unteach.metrics.contract import ModelTag


@dataclass(frozen=True)
class PlannedEdit:
    """One editor's models in one language: how they are called, made, attacked, judged, and compared with what.

    ``before`` is the unedited model's name, ``prompt_only`` that of the unedited model asked with the same suffix.
    """

    tag: ModelTag
    entry: EditorSpec
    attacked: AnyAttack
    judged: tuple[JudgeReplies, ...]
    before: str | None
    prompt_only: str | None

    @property
    def stages(self) -> Iterator[Stage]:
        """Its stages in order."""
        if self.attacked.parent:
            yield self.attacked.parent
        if isinstance(self.attacked, AttackTrained):
            yield self.attacked.trained
        yield self.attacked
        yield from self.judged


def plan(context: EditingContext, variant: str | None = None, seed: int | None = None) -> list[PlannedEdit]:
    """The unedited model first, then every editor in each of its languages."""
    spec = context.spec
    taught = TeachItems(context) if spec.teach else None
    entries = sorted(spec.editors, key=lambda entry: entry.editor.registered_name != "none")
    unedited = ModelTag("unedited", variant=variant, seed=seed)
    prompts = {
        entry.editor.suffix: _tag(entry, None, variant, seed).name
        for entry in entries
        if entry.editor.registered_name == "suffix_only"
    }
    planned = []
    for entry in entries:
        for language in edit_languages(spec, entry):
            attacked = _attack(context, taught, entry, language)
            none = entry.editor.registered_name == "none"
            tag = unedited if none else _tag(entry, language, variant, seed)
            alone = entry.editor.registered_name in ("none", "suffix_only")
            planned.append(
                PlannedEdit(
                    tag,
                    entry,
                    attacked,
                    tuple(JudgeReplies(context, attacked, judge) for judge in spec.judges),
                    None if none else unedited.name,
                    None if alone or not entry.editor.suffix else prompts.get(entry.editor.suffix),
                )
            )
    return planned


def _tag(entry: EditorSpec, language: str | None, variant: str | None, seed: int | None) -> ModelTag:
    return ModelTag("edited", source_language=language, editor=entry.name, variant=variant, seed=seed)


def _attack(context: EditingContext, taught: TeachItems | None, entry: EditorSpec, language: str | None) -> AnyAttack:
    if isinstance(entry.editor, SetEditor):
        assert language is not None
        return AttackTrained(context, taught, entry, language, TrainOnItems(context, taught, entry, language))
    return EditItems(context, taught, entry, language)


def all_stages(models: Sequence[PlannedEdit]) -> list[Stage]:
    """Every stage of these models once, in order."""
    return each_once(stage for model in models for stage in model.stages)
