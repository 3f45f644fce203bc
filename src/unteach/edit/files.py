"""Edits on disk: one safetensors file each, with where it comes from in its header; no more is needed to apply it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from unteach import __version__
from unteach.edit.contract import Edit
from unteach.edit.scope import applied
from unteach.errors import UserError
from unteach.models.source import Loaded
from unteach.records import EditRecord

SUFFIX = ".edit.safetensors"
_TENSOR = "delta"


@dataclass(frozen=True)
class SavedEdit:
    """An edit with its provenance: the editor's settings, the model's identity, the version that made it."""

    edit: Edit
    provenance: Mapping[str, Any]


def save_edit(edit: Edit, folder: Path, provenance: Mapping[str, Any]) -> Path:
    """Write one edit to ``folder`` and give its path. An edit that changes nothing is not written.

    Args:
        provenance: the editor's and the model's identity, as plain JSON values.
    """
    if edit.delta is None:
        raise UserError(f"the edit of item {edit.record.item!r} changes nothing: there is nothing to save")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{edit.record.item}.{edit.record.language}{SUFFIX}"
    header = {
        "record": edit.record.model_dump_json(),
        "provenance": json.dumps({"unteach": __version__, **provenance}, ensure_ascii=False),
    }
    partial = path.with_suffix(".partial")
    save_file({_TENSOR: edit.delta.to(torch.float32).contiguous()}, partial, metadata=header)
    partial.replace(path)
    return path


def load_edit(path: Path, with_delta: bool = True) -> SavedEdit:
    """Read one edit; without its delta only the header is read.

    Raises:
        UserError: there is no such file, or it is no edit.
    """
    if not path.is_file():
        raise UserError(f"there is no edit at {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            record = EditRecord.model_validate_json(header["record"])
            delta = file.get_tensor(_TENSOR) if with_delta else None
            return SavedEdit(Edit(record, delta), json.loads(header["provenance"]))
    except (SafetensorError, KeyError, ValidationError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is no edit saved by unteach: {error}") from None


def find_edits(places: Sequence[Path]) -> list[Path]:
    """The edit files at these places, folders searched; sorted.

    Raises:
        UserError: a place does not exist, or a folder holds no edit.
    """
    found: list[Path] = []
    for place in places:
        inside = sorted(place.rglob(f"*{SUFFIX}")) if place.is_dir() else [place]
        if not inside or not all(path.is_file() for path in inside):
            raise UserError(f"there is no edit at {place} (files ending in {SUFFIX})")
        found += inside
    return list(dict.fromkeys(found))


def merge(loaded: Loaded, edits: Sequence[Edit], to: Path) -> None:
    """Save the model with edits in its weights as a Hugging Face folder.

    Several edits of one matrix are added up. Each was made alone: whether they still hold together has to be asked.

    Raises:
        UserError: the folder exists, or an edit does not fit the model.
    """
    if to.exists() and any(to.iterdir()):
        raise UserError(f"{to} is not empty. Give a new folder.")
    with applied(loaded.model, edits) as model:
        model.save_pretrained(to, safe_serialization=True)
    loaded.tokenizer.save_pretrained(to)
