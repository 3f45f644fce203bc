"""One question to a base model, or to every model of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unteach.ask.answers import Asking, ask
from unteach.errors import UserError
from unteach.experiments.bench import Workbench
from unteach.experiments.editing.run import prepare as prepare_editing
from unteach.experiments.editing.spec import EditingSpec
from unteach.experiments.editing.stages import AttackTrained
from unteach.experiments.run import prepare
from unteach.experiments.spec import Spec
from unteach.experiments.sweep import Point, load_points, load_points_as
from unteach.languages.phrases import labels
from unteach.languages.table import find
from unteach.models.source import MODELS, ModelSource
from unteach.progress import NoProgress, Progress
from unteach.records import Answer, Question
from unteach.registry import nearest


def answers_of(question: str, language: str, model: str, store: Path, progress: Progress) -> list[tuple[str, Answer]]:
    """Name and answer of the base model, or of the base model and every model of the run in the folder ``model``.

    Raises:
        UserError: the language is unknown or cannot be asked in, the model cannot be loaded, a stage of the run is
            missing from the store, or the question does not fit into the model's context.
    """
    code = find(language).code
    labels(code)
    asked = [Question(scenario="", part="fake", language=code, text=question)]
    source, settings, models = _models(model, store)
    results = []
    with Workbench(source, progress) as bench:
        for name, patches in models:
            (answer,) = ask(bench.with_patches(patches), asked, settings)
            if answer.unasked:
                raise UserError(f"this question cannot be asked: {answer.unasked}")
            results.append((name, answer))
    return results


def export_model(run: Path, name: str, to: Path, store: Path) -> None:
    """Save one model of a run as a Hugging Face folder: its patches merged into the base, with the tokeniser.

    Raises:
        UserError: the run or the model is not there, or ``to`` is not empty.
    """
    if not (run / "spec.json").is_file():
        raise UserError(f"{run} is not a run's folder: it has no spec.json")
    if to.exists() and any(to.iterdir()):
        raise UserError(f"{to} is not empty; give another folder")
    source, _, models = _models(str(run), store)
    patches = dict(models)
    if name not in patches:
        raise UserError(f"{run} has no model {name!r}. {nearest(name, patches)}")
    with Workbench(source, NoProgress()) as bench:
        loaded = bench.with_patches(patches[name])
        loaded.model.save_pretrained(to)
        loaded.tokenizer.save_pretrained(to)


def model_source(model: str, dtype: str = "auto") -> ModelSource:
    """A model by the name of its source (``embedded``), or by hub id or folder."""
    named = {"name": model} if model in dict(MODELS) else {"name": "pretrained", "path": model}
    return MODELS.parse({**named, "dtype": dtype})


def _models(model: str, store: Path) -> tuple[ModelSource, Asking, list[tuple[str, list[Path]]]]:
    folder = Path(model)
    if not (folder / "spec.json").is_file():
        return model_source(model), Asking(), [(model, [])]
    content = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    first = content["points"][0]["spec"] if "points" in content else content
    if first.get("experiment") == "knowledge_editing":
        return _editing_models(content, store, folder)
    points = load_points(content)
    spec = points[0].spec
    same = [point for point in points if point.spec.model == spec.model]
    return spec.model, spec.ask, [("base model", []), *_patches(same, store, folder)]


def _editing_models(
    content: Mapping[str, Any], store: Path, folder: Path
) -> tuple[ModelSource, Asking, list[tuple[str, list[Path]]]]:
    """The models of a run with editing that exist as a whole: unedited, and trained on all items together.

    Those edited on one item each are not kept; ``unteach edit make`` makes and saves such edits.
    """
    points = load_points_as(EditingSpec, content)
    spec = points[0].spec
    found: dict[str, list[Path]] = {"base model": []}
    for planned in prepare_editing([p for p in points if p.spec.model == spec.model], store).models:
        attacked = planned.attacked
        trained = attacked.trained if isinstance(attacked, AttackTrained) else None
        stage = trained or (attacked.parent if planned.tag.model == "unedited" else None)
        if stage is not None:
            if not stage.done:
                raise UserError(
                    f"{stage.name!r} of {folder} is not in the store {store}: run its spec again, or name the store"
                )
            found[planned.tag.name] = stage.patches
    return spec.model, spec.ask, list(found.items())


def _patches(points: Sequence[Point[Spec]], store: Path, folder: Path) -> Iterator[tuple[str, list[Path]]]:
    for planned in prepare(points, store).models:
        if not planned.made_by.context.store.is_done(planned.made_by.key):
            raise UserError(
                f"the model {planned.tag.name!r} of {folder} is not in the store {store}. Finish the run with "
                "`unteach run`, or name its store with --store."
            )
        yield planned.tag.name, planned.made_by.patches
