"""Direct preference optimisation of the safe over the unsafe response, with trl's trainer."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from pydantic import Field, field_validator
from transformers import PreTrainedTokenizerBase

from unteach.edit.contract import EDITORS, Job, SetEditor
from unteach.errors import UserError
from unteach.learn.loop import StepLog
from unteach.models.source import Loaded
from unteach.models.tunings.lora import Lora
from unteach.progress import NoProgress, Progress


@EDITORS.register("dpo")
class Dpo(SetEditor):
    """DPO on (adversarial prompt, safe response preferred to unsafe response), all items together, with LoRA.

    The reference is the model with the adapter off. Ten passes by default, as ``sft``. Needs the ``trl`` extra.

    Raises:
        UserError: trl is not installed.
    """

    source = "Rafailov et al. 2023, baseline of DINM (Wang et al. 2024); trl.DPOTrainer"

    tuning: Lora = Lora(rank=16)
    beta: float = Field(0.1, gt=0)
    lr: float = Field(1e-4, gt=0)
    epochs: float = Field(10.0, gt=0)
    batch_size: int = Field(4, ge=1)

    @field_validator("tuning", mode="before")
    @classmethod
    def _by_name_too(cls, given: Any) -> Any:
        """Written as ``sft`` wants it, with its name; only adapters can be off, for the reference."""
        if isinstance(given, dict) and "name" in given:
            if given["name"] != "lora":
                raise ValueError("dpo trains adapters, as its reference is the model with them off: use lora")
            return {name: value for name, value in given.items() if name != "name"}
        return Lora() if given == "lora" else given

    def lacking(self) -> str | None:
        missing = [package for package in ("trl", "datasets") if importlib.util.find_spec(package) is None]
        return _lacking(missing[0]) if missing else None

    def training_tokens(self, tokenizer: PreTrainedTokenizerBase, jobs: Sequence[Job]) -> int:
        texts = [job.prompt + answer for job in jobs for answer in (job.target, job.unsafe_target)]
        return int(sum(map(len, tokenizer(texts)["input_ids"])) * self.epochs)

    def train(
        self, loaded: Loaded, jobs: Sequence[Job], to: Path, *, seed: int, progress: Progress | None = None
    ) -> list[StepLog]:
        trl, datasets = _needed("trl"), _needed("datasets")
        datasets.disable_progress_bars()  # no lines between our own
        data = datasets.Dataset.from_list(
            [{"prompt": job.prompt, "chosen": job.target, "rejected": job.unsafe_target} for job in jobs]
        )
        with (
            tempfile.TemporaryDirectory() as scratch,
            self.tuning.attach(loaded.model, seed) as model,
            (progress or NoProgress()).task("dpo", 1) as bar,
        ):
            trainer = trl.DPOTrainer(
                model=model,
                args=trl.DPOConfig(
                    output_dir=scratch,
                    beta=self.beta,
                    learning_rate=self.lr,
                    num_train_epochs=self.epochs,
                    per_device_train_batch_size=self.batch_size,
                    max_length=loaded.context_length,
                    seed=seed,
                    bf16=False,  # the model has its own number format already
                    gradient_checkpointing=False,
                    save_strategy="no",
                    report_to=[],
                    logging_steps=1,
                    disable_tqdm=True,
                    use_cpu=loaded.model.device.type == "cpu",
                ),
                train_dataset=data,
                processing_class=loaded.tokenizer,
            )
            _silence(trainer)
            trainer.train()
            bar.advance()
            assert isinstance(model, PeftModel)
            for name in [name for name in model.peft_config if name != "default"]:
                model.delete_adapter(name)  # trl's copy of the start
            self.tuning.save(model, to)
        return [
            StepLog(entry["step"], {"dpo": float(entry["loss"])})
            for entry in trainer.state.log_history
            if "loss" in entry
        ]


def _silence(trainer: Any) -> None:
    """No lines between our own progress bars."""
    callbacks = importlib.import_module("transformers.trainer_callback")
    trainer.remove_callback(callbacks.PrinterCallback)


def _needed(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise UserError(_lacking(package)) from None


def _lacking(package: str) -> str:
    return f"the editor 'dpo' needs {package!r}. Install it with 'pip install unteach[dpo]', or leave the editor out."
