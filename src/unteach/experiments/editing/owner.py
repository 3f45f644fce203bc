"""Editing for a model's owner: make edits of a model at hand, list them, apply them, see what the model then says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unteach.ask.answers import Asking, complete
from unteach.corpora.safety import load_items
from unteach.edit.contract import EDITORS, ItemEditor
from unteach.edit.files import SavedEdit, find_edits, load_edit, merge, save_edit
from unteach.edit.scope import applied
from unteach.errors import UserError, UserErrors
from unteach.experiments.editing.spec import EditingSpec
from unteach.experiments.editing.stages import job
from unteach.models.source import ModelSource
from unteach.progress import Progress


def make_edits(
    items_at: Path | None, model: ModelSource, editor_name: Any, language: str, to: Path, progress: Progress
) -> list[Path]:
    """Edit a model on every item in one language, and save each edit alone.

    Raises:
        UserError: the items lack something, the editor makes no edits, or a layer has no matrix to edit.
    """
    editor = EDITORS.parse(editor_name)
    if not isinstance(editor, ItemEditor) or not editor.uses_language:
        names = [n for n, cls in EDITORS if issubclass(cls, ItemEditor) and n not in ("none", "suffix_only")]
        raise UserError(
            f"the editor {editor.registered_name!r} makes no edits to save. Those that do: {', '.join(names)}"
        )
    items = load_items(items_at)
    if problems := items.missing(language, ["adversarial_prompt", "safe_response", "unsafe_response"]):
        raise UserErrors("these items cannot be edited on", problems)
    spec = _spec(model, language)
    provenance = {"editor": editor.identity(), "model": model.identity(), "items": items.name}
    with progress.task("loading the model", 1) as bar:
        loaded = model.load()
        bar.advance()
    jobs = [job(loaded.tokenizer, spec, item, language) for item in items]
    edits = editor.edit(loaded, jobs, seed=0, progress=progress)
    return [save_edit(edit, to, provenance) for edit in edits]


def list_edits(places: Sequence[Path]) -> list[tuple[Path, SavedEdit]]:
    """Every edit at these places, without its delta."""
    return [(path, load_edit(path, with_delta=False)) for path in find_edits(places)]


def apply_edits(
    places: Sequence[Path], model: ModelSource, question: str | None, language: str, to: Path | None, progress: Progress
) -> list[tuple[str, str]]:
    """Apply saved edits to a model: ask it a question before and after, and save it merged, as wanted.

    Raises:
        UserError: nothing is wanted, or an edit was made for other weights.
    """
    if question is None and to is None:
        raise UserError("nothing to do: give --ask QUESTION to see what the model says, or --to FOLDER to save it")
    saved = [load_edit(path) for path in find_edits(places)]
    mine = model.identity()["weights"]
    others = [s.edit.record.item for s in saved if s.provenance.get("model", {}).get("weights") != mine]
    if others:
        raise UserError(
            f"the edits of {', '.join(others[:3])} were made for other weights than this model's; an edit means "
            "nothing on a model that it was not made for"
        )
    with progress.task("loading the model", 1) as bar:
        loaded = model.load()
        bar.advance()
    said: list[tuple[str, str]] = []
    edits = [s.edit for s in saved]
    if question is not None:
        asking = Asking(max_new_tokens=64)
        (before,) = complete(loaded, [(question, language)], asking)
        with applied(loaded.model, edits):
            (after,) = complete(loaded, [(question, language)], asking)
        said = [("before", before.fields()["text"]), (f"with {len(edits)} edit(s)", after.fields()["text"])]
    if to is not None:
        merge(loaded, edits, to)
    return said


def _spec(source: ModelSource, language: str) -> EditingSpec:
    """The settings that turn items into prompts."""
    return EditingSpec.model_validate(
        {
            "experiment": "knowledge_editing",
            "name": "edit",
            "model": source,
            "languages": [language],
            "edit_languages": [language],
            "editors": ["none"],
            "judges": {"guarded": "guarded"},
        }
    )
