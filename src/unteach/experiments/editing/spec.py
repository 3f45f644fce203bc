"""The spec of an experiment with knowledge editing: taught or not, edited in some languages, attacked in others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from unteach.ask.answers import Asking
from unteach.corpora.safety import INPUTS, ItemSet
from unteach.edit.contract import EDITORS, Editor, ItemEditor
from unteach.errors import UserErrors
from unteach.experiments.planning import PlanningSpec
from unteach.experiments.spec import Experiment, LanguageCode, known_language
from unteach.judge.safety import SAFETY_JUDGES, SafetyJudge
from unteach.languages.phrases import has_labels
from unteach.languages.suffixes import has_suffix
from unteach.learn.loop import Schedule
from unteach.metrics.contract import MEASURES, Measure
from unteach.models.tuning import TUNINGS, Tuning
from unteach.records import Input
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


class EditorSpec(Settings):
    """One editor: in which languages it edits, and what its edited models are asked in which languages."""

    editor: Annotated[Editor, EDITORS.annotation]
    label: str | None = Field(None, min_length=1, description="Its name in table and figures; else the editor's own.")
    edit_languages: tuple[LanguageCode, ...] | None = Field(None, description="Those of the run if left out.")
    question_languages: tuple[str, ...] | None = Field(
        None, description="Those of the run if left out; @edit is the language of the edit."
    )
    inputs: tuple[Input, ...] = INPUTS

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return self.label or label(self.editor)


class EditingSpec(Experiment):
    """One experiment with knowledge editing (paper B)."""

    experiment: Literal["knowledge_editing"]
    items: ItemsSpec = ItemsSpec()
    languages: tuple[LanguageCode, ...] = Field(min_length=1, description="Languages attacked in.")
    edit_languages: tuple[LanguageCode, ...] = Field(min_length=1)
    teach: TeachItemsSpec | None = None
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

    @field_validator("editors", mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """An editor by its bare name, and the unedited model, which everything is compared with."""
        if not isinstance(value, list | tuple):
            return value
        full = [{"editor": entry} if isinstance(entry, str) else entry for entry in value]
        return full if any(_is_none(entry) for entry in full) else [{"editor": "none"}, *full]

    @field_validator("languages", "edit_languages")
    @classmethod
    def _known(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(known_language(code) for code in codes))

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        twice = [name for name, count in Counter(entry.name for entry in self.editors).items() if count > 1]
        if twice:
            raise ValueError(f"two editors are called {twice[0]!r}: give each its own label")
        return self


def _is_none(entry: Any) -> bool:
    editor = entry.editor.registered_name if isinstance(entry, EditorSpec) else entry.get("editor")
    return (editor.get("name") if isinstance(editor, dict) else editor) == "none"


def edit_languages(spec: EditingSpec, entry: EditorSpec) -> tuple[str | None, ...]:
    """In which languages an editor edits; ``None`` alone where that makes no difference."""
    if isinstance(entry.editor, ItemEditor) and not entry.editor.uses_language:
        return (None,)
    return entry.edit_languages or spec.edit_languages


def asked_languages(spec: EditingSpec, entry: EditorSpec, edited_in: str | None) -> tuple[str, ...]:
    """In which languages a model edited in one language is asked."""
    found: list[str] = []
    for code in entry.question_languages or spec.languages:
        if code != "@edit":
            found.append(code)
        elif edited_in is not None:
            found.append(edited_in)
    return tuple(dict.fromkeys(found))


def needed_languages(spec: EditingSpec) -> tuple[str, ...]:
    """Every language in which items are read."""
    found = [*spec.languages, *(spec.teach.languages or () if spec.teach else ())]
    for entry in spec.editors:
        for language in edit_languages(spec, entry):
            found += [language] if language else []
            found += asked_languages(spec, entry, language)
    return tuple(dict.fromkeys(found))


def check_against_items(spec: EditingSpec, items: ItemSet) -> None:
    """Every text that the run will need is there, and every language can be asked in.

    Raises:
        UserErrors: all that is missing.
    """
    problems: list[str] = []
    for code in needed_languages(spec):
        try:
            known_language(code)
        except ValueError as error:
            problems.append(str(error))
            continue
        if not has_labels(code) and spec.ask.format != "chat":
            problems.append(f"languages: {code!r} has no question and answer labels (languages/phrases.py)")
    if spec.teach:
        fields = ["unsafe_response", *(_FIELDS[kind] for kind in spec.teach.inputs)]
        fields += ["knowledge_prompt", "knowledge_answer"] if spec.teach.knowledge else []
        for code in spec.teach.languages or spec.languages:
            problems += items.missing(code, fields)
    for entry in spec.editors:
        for edited_in in edit_languages(spec, entry):
            if edited_in:
                problems += items.missing(edited_in, ["adversarial_prompt", "safe_response", "unsafe_response"])
            for code in asked_languages(spec, entry, edited_in):
                problems += items.missing(code, [_FIELDS[kind] for kind in entry.inputs])
                if entry.editor.suffix == "@language" and not has_suffix(code):
                    problems.append(f"editors: there is no translated suffix in language {code!r}")
    if problems:
        raise UserErrors(f"the spec {spec.name!r} cannot run", dict.fromkeys(problems))
