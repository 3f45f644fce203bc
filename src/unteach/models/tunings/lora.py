"""Low-rank adapters on every linear map of the decoder layers, through peft."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from pydantic import Field
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from unteach.errors import UserError
from unteach.models.structure import linear_modules
from unteach.models.tuning import TUNINGS, Tuning, mark, remember, restore


@TUNINGS.register("lora")
class Lora(Tuning):
    """LoRA: W + (alpha / rank) B A on the linear maps of attention and MLP; A, B in float32, the base frozen.

    The frozen reference model is this one with the adapter off, so no second copy is ever held.
    """

    source = "Hu et al. 2021; peft. Ranks of paper A: 1024 (learn), 8 (instruct), 128 (unlearn)"

    rank: int = Field(64, ge=1)
    alpha: float | None = Field(None, gt=0, description="Scale numerator; the rank itself if left out, so scale 1.")
    targets: tuple[str, ...] = Field((), description="Module name endings to adapt; all linear maps if empty.")

    def modules(self, model: PreTrainedModel) -> list[str]:
        """Full names of the adapted modules."""
        names = linear_modules(model)
        return [name for name in names if name.endswith(self.targets)] if self.targets else names

    @contextlib.contextmanager
    def attach(self, model: PreTrainedModel, seed: int) -> Iterator[nn.Module]:
        config = LoraConfig(
            r=self.rank,
            lora_alpha=cast(int, self.rank if self.alpha is None else self.alpha),
            target_modules=self.modules(model),
            task_type="CAUSAL_LM",
        )
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                adapted = get_peft_model(model, config)
            yield adapted
        finally:
            _take_out(model)
            model.requires_grad_(False)
            model.train(False)

    def save(self, trainable: nn.Module, folder: Path) -> None:
        assert isinstance(trainable, PeftModel)
        trainable.save_pretrained(str(folder), safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # a model card template without content
        mark(folder, self)

    @contextlib.contextmanager
    def merged(self, trainable: nn.Module) -> Iterator[PreTrainedModel]:
        assert isinstance(trainable, PeftModel)
        base = cast(PreTrainedModel, trainable.get_base_model())
        undo: dict[str, Tensor] = {}
        remember(base, [f"{name}.base_layer.weight" for name in self.modules_adapted(base)], undo)
        was_training = trainable.training
        trainable.train(False)
        trainable.merge_adapter()
        try:
            yield base
        finally:
            trainable.unmerge_adapter()
            restore(base, undo)  # unmerging subtracts, which in bfloat16 is not exact
            trainable.train(was_training)

    @contextlib.contextmanager
    def reference(self, trainable: nn.Module) -> Iterator[nn.Module]:
        assert isinstance(trainable, PeftModel)
        was_training = trainable.training
        trainable.train(False)
        try:
            with trainable.disable_adapter():
                yield trainable
        finally:
            trainable.train(was_training)

    @staticmethod
    def modules_adapted(base: nn.Module) -> list[str]:
        """Names of the modules that carry an adapter now."""
        return [name for name, module in base.named_modules() if hasattr(module, "lora_A")]

    @staticmethod
    def apply(model: PreTrainedModel, folder: Path, undo: dict[str, Tensor]) -> None:
        remember(model, _matching_weights(model, folder), undo)
        try:
            PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
        finally:  # interrupted half-way, peft's layers would stay in the model and its weights have other names
            _take_out(model)
        model.requires_grad_(False)
        model.train(False)

    def trainable_parameters(self, model: PreTrainedModel) -> int:
        sizes = dict(model.named_parameters())
        shapes = [sizes[f"{name}.weight"].shape for name in self.modules(model)]
        return sum(self.rank * (shape[0] + shape[1]) for shape in shapes)


def _take_out(model: nn.Module) -> None:
    """Put every adapted module's own layer back in its place; nothing to do where peft has finished."""
    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    vars(model).pop("peft_config", None)


def _matching_weights(model: PreTrainedModel, folder: Path) -> list[str]:
    """Names of the weights that a saved adapter changes, checked against the model before anything is touched.

    peft puts its layers in before it loads their values, so finding a mismatch then would leave the model broken.
    """
    parameters = dict(model.named_parameters())
    names = []
    with safe_open(str(folder / "adapter_model.safetensors"), framework="pt") as file:
        for key in file.keys():  # noqa: SIM118
            module, factor = key.removeprefix("base_model.model.").split(".lora_")
            weight = parameters.get(f"{module}.weight")
            side = 1 if factor.startswith("A") else 0  # A is [rank, in], B is [out, rank]
            size = file.get_slice(key).get_shape()[side]
            if weight is None or size not in weight.shape:
                raise UserError(f"the patch {folder} is of another model: it has no fitting place for {module!r}")
            names.append(f"{module}.weight")
    return sorted(set(names))
