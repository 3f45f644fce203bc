"""The spec of an experiment with knowledge editing: taught or not, edited in some languages, attacked in others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from unteach.ask.answers import Asking
from unteach.corpora.safety import INPUTS, ItemSet
from unteach.edit.contract import EDITORS, Editor, ItemEditor
from unteach.edit.descend import Descent
from unteach.edit.editors.dinm import Dinm
from unteach.errors import UserError, UserErrors
from unteach.experiments.planning import PlanningSpec
from unteach.experiments.spec import Experiment, LanguageCode, known_language
from unteach.judge.safety import SAFETY_JUDGES, SafetyJudge
from unteach.languages.phrases import has_labels
from unteach.languages.suffixes import has_suffix
from unteach.learn.loop import Schedule
from unteach.metrics.contract import MEASURES, Measure
from unteach.models.structure import decoder_layers, output_projection
from unteach.models.tuning import TUNINGS, Tuning
from unteach.records import GENERALISATION, Input
from unteach.registry import Runtime, Settings, label

_FIELDS: dict[Input, str] = {
    "attack": "adversarial_prompt",
    "onlyQ": "question",
    "otherA": "other_attack",
    "otherQ": "other_question",
    "otherAQ": "other_question_attack",
    "knowledge": "knowledge_prompt",
}


class PlannedItems(Settings):
    """The size of an item set that is not there yet, to plan with."""

    items: int = Field(ge=1)
    prompt_characters: int = Field(ge=1, description="Of an adversarial prompt.")
    response_characters: int = Field(ge=1, description="Of a safe or an unsafe response.")


class ItemsSpec(Settings):
    """Which safety items."""

    path: Path | None = Field(None, description="A file or folder of items; the embedded ``guarded`` set if left out.")
    limit: int | None = Field(None, ge=1, description="Only the first so many items, by id.")
    planned: Annotated[PlannedItems | None, Runtime()] = Field(
        None, exclude=True, description="The size of the set, to plan with while there is nothing at ``path``."
    )


class TeachItemsSpec(Settings):
    """How the model is first taught to answer what it must not, so that there is something to defend."""

    tuning: Annotated[Tuning, TUNINGS.annotation]
    schedule: Schedule
    languages: tuple[LanguageCode, ...] | None = Field(None, description="Those of the run if left out.")
    inputs: tuple[Literal["attack", "onlyQ"], ...] = Field(
        ("onlyQ", "attack"), description="What is answered with the unsafe response."
    )
    knowledge: bool = Field(True, description="The general-knowledge pairs are taught beside.")

    @field_validator("languages")
    @classmethod
    def _known(cls, codes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return codes and _known_languages(codes)


class EditorSpec(Settings):
    """One editor: in which languages it edits, and what its edited models are asked in which languages."""

    editor: Annotated[Editor, EDITORS.annotation]
    label: str | None = Field(None, min_length=1, description="Its name in table and figures; else the editor's own.")
    edit_languages: tuple[LanguageCode, ...] | None = Field(None, description="Those of the run if left out.")
    question_languages: tuple[str, ...] | None = Field(
        None, description="Those of the run if left out; @edit is the language of the edit."
    )
    inputs: tuple[Input, ...] = INPUTS
    generalisation_languages: tuple[str, ...] | None = Field(
        None, description="Where the four generalisation inputs are asked; all if left out; @edit as above."
    )

    @field_validator("edit_languages", "question_languages", "generalisation_languages")
    @classmethod
    def _known(cls, codes: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        return codes and _known_languages(codes, "" if info.field_name == "edit_languages" else "@edit")

    @field_validator("inputs")
    @classmethod
    def _some(cls, inputs: tuple[Input, ...]) -> tuple[Input, ...]:
        if not inputs:
            raise ValueError("at least one input is needed")
        return inputs

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return self.label or label(self.editor)


class DescentSpec(Settings):
    """Settings of every editor that descends on a matrix, where it does not give its own."""

    steps: int | None = None
    lr: float | None = None
    nll_weight: float | None = None
    kl_weight: float | None = None
    stop_below: float | None = None
    batch_items: Annotated[int | None, Runtime()] = None


class EditingSpec(Experiment):
    """One experiment with knowledge editing (paper B)."""

    experiment: Literal["knowledge_editing"]
    items: ItemsSpec = ItemsSpec()
    languages: tuple[LanguageCode, ...] = Field(min_length=1, description="Languages attacked in.")
    edit_languages: tuple[LanguageCode, ...] = Field(min_length=1)
    teach: TeachItemsSpec | None = None
    descent: DescentSpec = DescentSpec()
    editors: tuple[EditorSpec, ...] = Field(min_length=1)
    ask: Asking = Asking()
    judges: dict[str, Annotated[SafetyJudge, SAFETY_JUDGES.annotation]] = Field(
        min_length=1, description="By label; the first is the main one."
    )
    side_effects: bool = Field(True, description="The known answers' log-probability is taken after every edit.")
    measures: tuple[Annotated[Measure, MEASURES.annotation], ...] = Field(
        default_factory=lambda: tuple(MEASURES.parse(name) for name, _ in MEASURES)
    )
    planning: Annotated[PlanningSpec, Runtime()] = Field(
        PlanningSpec(), exclude=True, description="What `unteach plan` reckons for."
    )

    @model_validator(mode="before")
    @classmethod
    def _full_editors(cls, raw: Any) -> Any:
        """Editors by their bare name written out, with the spec's descent; and none, which all is compared with."""
        if not isinstance(raw, dict) or not isinstance(raw.get("editors"), list | tuple):
            return raw
        descent = raw.get("descent") or {}
        given = descent.model_dump() if isinstance(descent, DescentSpec) else descent
        known = DescentSpec.model_fields.keys() & given.keys() if isinstance(given, dict) else ()
        common = {name: given[name] for name in DescentSpec.model_fields if name in known and given[name] is not None}
        full = [_full(entry, common) for entry in raw["editors"]]
        return {**raw, "editors": full if any(map(_is_none, full)) else [{"editor": "none"}, *full]}

    @field_validator("languages", "edit_languages")
    @classmethod
    def _known(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return _known_languages(codes)

    @field_validator("editors")
    @classmethod
    def _names_differ(cls, entries: tuple[EditorSpec, ...], info: ValidationInfo) -> tuple[EditorSpec, ...]:
        common = info.data.get("edit_languages", ())
        made = Counter((entry.name, language) for entry in entries for language in _edit_languages(common, entry))
        twice = [name for (name, _), count in made.items() if count > 1]
        if twice:
            raise ValueError(f"two are called {twice[0]!r} in one language: give each its own label")
        return entries


def _known_languages(codes: Sequence[str], stands_for_one: str = "") -> tuple[str, ...]:
    return tuple(dict.fromkeys(code if code == stands_for_one else known_language(code) for code in codes))


def _full(entry: Any, descent: dict[str, Any]) -> Any:
    made = {"editor": entry} if isinstance(entry, str) else entry
    if not isinstance(made, dict) or isinstance(made.get("editor"), Editor):
        return made
    editor = {"name": made["editor"]} if isinstance(made.get("editor"), str) else made.get("editor")
    if not isinstance(editor, dict) or not issubclass(dict(EDITORS).get(str(editor.get("name")), Editor), Descent):
        return made
    return {**made, "editor": {**descent, **editor}}


def _is_none(entry: Any) -> bool:
    editor = entry.editor if isinstance(entry, EditorSpec) else entry.get("editor") if isinstance(entry, dict) else None
    name = editor.registered_name if isinstance(editor, Editor) else editor
    return (name.get("name") if isinstance(name, dict) else name) == "none"


def edit_languages(spec: EditingSpec, entry: EditorSpec) -> tuple[str | None, ...]:
    """In which languages an editor edits; ``None`` alone where that makes no difference."""
    return _edit_languages(spec.edit_languages, entry)


def _edit_languages(common: tuple[str, ...], entry: EditorSpec) -> tuple[str | None, ...]:
    if isinstance(entry.editor, ItemEditor) and not entry.editor.uses_language:
        return (None,)
    return entry.edit_languages or common


def asked_languages(spec: EditingSpec, entry: EditorSpec, edited_in: str | None) -> tuple[str, ...]:
    """In which languages a model edited in one language is asked."""
    return _resolved(entry.question_languages or spec.languages, edited_in)


def asked_inputs(entry: EditorSpec, edited_in: str | None, language: str) -> tuple[Input, ...]:
    """What a model edited in one language is asked in another."""
    where = entry.generalisation_languages
    if where is None or language in _resolved(where, edited_in):
        return entry.inputs
    return tuple(kind for kind in entry.inputs if kind not in GENERALISATION)


def _resolved(codes: tuple[str, ...], edited_in: str | None) -> tuple[str, ...]:
    """Language codes with ``@edit`` replaced by the language of the edit, or left out where there is none."""
    found = [edited_in if code == "@edit" else code for code in codes]
    return tuple(dict.fromkeys(code for code in found if code is not None))


def needed_languages(spec: EditingSpec) -> tuple[str, ...]:
    """Every language in which items are read."""
    found = [*spec.languages, *(spec.teach.languages or () if spec.teach else ())]
    for entry in spec.editors:
        for language in edit_languages(spec, entry):
            found += [language] if language else []
            found += asked_languages(spec, entry, language)
    return tuple(dict.fromkeys(found))


def check_against_items(spec: EditingSpec, items: ItemSet) -> None:
    """Every text that the run will need is there, every language can be asked in, and the model has what is edited.

    Raises:
        UserErrors: all that is missing.
    """
    problems = [
        f"languages: {code!r} has no question and answer labels (languages/phrases.py)"
        for code in needed_languages(spec)
        if not has_labels(code) and spec.ask.format != "chat"
    ]
    if spec.teach:
        fields = ["unsafe_response", *(_FIELDS[kind] for kind in spec.teach.inputs)]
        fields += ["knowledge_prompt", "knowledge_answer"] if spec.teach.knowledge else []
        for code in spec.teach.languages or spec.languages:
            problems += items.missing(code, fields)
    problems += [f"editors: {why}" for entry in spec.editors if (why := entry.editor.lacking())]
    for entry in spec.editors:
        for edited_in in edit_languages(spec, entry):
            if edited_in:
                problems += items.missing(edited_in, ["adversarial_prompt", "safe_response", "unsafe_response"])
            asked_in = asked_languages(spec, entry, edited_in)
            if not asked_in:
                problems.append(
                    f"editors, {entry.name}: question_languages: '@edit' leaves nothing to ask, for it edits in none"
                )
            for code in asked_in:
                problems += items.missing(code, [_FIELDS[kind] for kind in asked_inputs(entry, edited_in, code)])
                if entry.editor.suffix == "@language" and not has_suffix(code):
                    problems.append(
                        f"editors, {entry.name}: ask_with: '@language' has no translation in language {code!r} "
                        "(languages/suffixes.py); give the suffix itself, or other question_languages"
                    )
    problems += _model_problems(spec)
    if problems:
        raise UserErrors(f"the spec {spec.name!r} cannot run", dict.fromkeys(problems))


def _model_problems(spec: EditingSpec) -> list[str]:
    """What editors want of the model that it does not have: read off its shape, before anything is loaded."""
    descending = [entry for entry in spec.editors if isinstance(entry.editor, Descent)]
    if not descending:
        return []
    try:
        skeleton = spec.model.skeleton()
        layers = decoder_layers(skeleton)
        output_projection(layers[0], skeleton.config.get_text_config().hidden_size)
    except UserError as error:
        return [f"model: {str(error).removeprefix('model.path: ')}"]
    return [
        f"editors, {entry.name}: layer: there is no layer {at} in the model, which has {len(layers)}: 0 to "
        f"{len(layers) - 1}, or -1 to -{len(layers)} from the end"
        for entry in descending
        if isinstance(entry.editor, Dinm) and entry.editor.registered_name == "dinm"
        if isinstance(at := entry.editor.layer, int) and not -len(layers) <= at < len(layers)
    ]
