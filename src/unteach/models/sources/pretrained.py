"""Any causal language model: a Hugging Face id or a local folder. Safetensors only; no remote code unless asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, cast

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from pydantic import Field, field_validator
from safetensors import SafetensorError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from unteach.errors import UserError
from unteach.models.counting import BYTES_PER_TOKEN, ByBytes
from unteach.models.source import MODELS, Loaded, ModelSource, ready, skeleton_of
from unteach.registry import Runtime, nearest
from unteach.store import cache_folder, write_atomically


@MODELS.register("pretrained")
class Pretrained(ModelSource):
    """A model of the Hugging Face hub by its id, or a folder with config, tokeniser and safetensors weights."""

    source = "transformers.AutoModelForCausalLM"

    path: str = Field(min_length=1)
    revision: str | None = None
    trust_remote_code: bool = False
    architecture: Annotated[dict[str, Any] | None, Runtime()] = Field(
        None, description="The model's config (model_type, hidden_size, ...), to plan with where it is not at hand."
    )

    @field_validator("architecture")
    @classmethod
    def _known_architecture(cls, config: dict[str, Any] | None) -> dict[str, Any] | None:
        if config is not None:
            kind = str(config.get("model_type"))
            if kind not in CONFIG_MAPPING:
                raise ValueError(f"model_type must be one that transformers knows, such as llama; this is {kind!r}")
            known = CONFIG_MAPPING[kind]().to_dict()
            unknown = [name for name in config if name not in known and name not in CONFIG_MAPPING[kind].attribute_map]
            if unknown:
                raise ValueError(f"unknown field {unknown[0]!r} of {kind}. {nearest(unknown[0], known)}")
        return config

    def for_planning(self) -> ModelSource:
        """Never reaches for the hub where ``architecture`` is given."""
        if self.architecture is None or self._at_hand("model.safetensors", "model.safetensors.index.json"):
            return self
        return NotAtHand(real=self, dtype=self.dtype)

    def _at_hand(self, *names: str) -> bool:
        """Whether one of these files is on this machine: in the folder, or in the hub's cache."""
        if Path(self.path).is_dir():
            return any((Path(self.path) / name).is_file() for name in names)
        try:
            cached = [try_to_load_from_cache(self.path, name, revision=self.revision) for name in names]
        except HFValidationError:  # a path, not a hub id
            return False
        return any(isinstance(place, str) for place in cached)

    def fingerprint(self) -> str:
        folder = Path(self.path)
        if folder.is_dir():
            return f"folder/{_folder_digest(folder)}"
        if folder.is_absolute() or self.path.startswith(("./", "../")):
            raise UserError(f"model.path: there is no folder {self.path!r}")
        commit = self._hub_commit()
        return f"hub/{self.path}@{commit}"

    def _hub_commit(self) -> str:
        """The commit that the revision stands for, so that a moved branch is another model."""
        try:
            config = AutoConfig.from_pretrained(
                self.path, revision=self.revision, trust_remote_code=self.trust_remote_code
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"model.path: {self.path!r} is neither a local folder nor a model that can be reached on the hub "
                f"({str(error).splitlines()[0]})"
            ) from error
        return str(getattr(config, "_commit_hash", None) or self.revision or "main")

    @property
    def _common(self) -> dict[str, Any]:
        return {"revision": self.revision, "trust_remote_code": self.trust_remote_code}

    def load(self) -> Loaded:
        self.fingerprint()
        with self._explained():
            model = AutoModelForCausalLM.from_pretrained(
                self.path, dtype=self.resolved_dtype(), use_safetensors=True, **self._common
            )
        return ready(model, self.tokenizer())

    def tokenizer(self) -> PreTrainedTokenizerBase:
        with self._explained():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.path, **self._common)
        return tokenizer

    def skeleton(self) -> PreTrainedModel:
        with self._explained():
            config = AutoConfig.from_pretrained(self.path, **self._common)
            return skeleton_of(config, trust_remote_code=self.trust_remote_code)

    def local_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokeniser if it is on this machine."""
        if not self._at_hand("tokenizer.json", "tokenizer.model", "vocab.json"):
            return None
        with self._explained():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                self.path, local_files_only=True, **self._common
            )
        return tokenizer

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(f"model.path: {self.path!r} cannot be loaded: {str(error).splitlines()[0]}") from error


class NotAtHand(ModelSource):
    """Takes the place of a ``pretrained`` model whose weights are not here: its shape from ``architecture``."""

    real: Pretrained

    def fingerprint(self) -> str:
        text = json.dumps(self.real.architecture, sort_keys=True)
        return f"not at hand/{self.real.path}/{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def load(self) -> Loaded:
        raise UserError(f"model.path: the weights of {self.real.path!r} are not on this machine")

    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.real.local_tokenizer() or cast(PreTrainedTokenizerBase, ByBytes())

    def skeleton(self) -> PreTrainedModel:
        assert self.real.architecture is not None
        try:
            return skeleton_of(AutoConfig.for_model(**self.real.architecture))
        except Exception as error:
            raise UserError(f"model.architecture: no model can be made of it ({error})") from error

    def notes(self) -> list[str]:
        notes = [f"the weights of {self.real.path} are not on this machine: its shape is from model.architecture"]
        if isinstance(self.tokenizer(), ByBytes):
            numbers = ", ".join(f"{script} {number:g}" for script, number in BYTES_PER_TOKEN.items())
            notes.append(
                f"nor is its tokeniser: tokens are UTF-8 bytes divided by those of a LLaMA 3 token ({numbers})"
            )
        return notes


def _folder_digest(folder: Path) -> str:
    """Check that the folder holds a model and name its content: the hash of every file that decides what it does."""
    weights = sorted(folder.glob("*.safetensors"))
    problems = []
    if not (folder / "config.json").is_file():
        problems.append("it has no config.json")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        problems.append("it has no tokeniser (tokenizer.json); save it there with tokenizer.save_pretrained(folder)")
    if not weights:
        pickled = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")]
        problems.append(
            f"its weights are pickled only ({pickled[0].name}), which can run code when loaded; convert them with "
            "model.save_pretrained(folder, safe_serialization=True)"
            if pickled
            else "it has no weights (*.safetensors)"
        )
    if problems:
        raise UserError(f"model.path: the folder {str(folder)!r} cannot be used: {'; '.join(problems)}")
    digest = hashlib.sha256()
    for pattern in ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.py"):
        for file in sorted(folder.glob(pattern)):
            digest.update(f"{file.name}:{_file_digest(file)}:".encode())
    return digest.hexdigest()[:16]


def _file_digest(file: Path) -> str:
    """SHA-256 of a file, remembered by path, size and time of change: large weights are read once."""
    stat = file.stat()
    name = f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    known = cache_folder() / "digests" / hashlib.sha256(name.encode()).hexdigest()[:32]
    if known.is_file():
        return known.read_text(encoding="utf-8")
    with file.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if stat.st_size > 1 << 24:
        known.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(known, found)
    return found
