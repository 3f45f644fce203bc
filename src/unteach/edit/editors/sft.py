"""Supervised fine-tuning on the safe responses: what DINM's authors compare with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from transformers import PreTrainedTokenizerBase

from unteach.edit.contract import EDITORS, Job, SetEditor
from unteach.learn.loop import Schedule, StepLog
from unteach.learn.teach import learn
from unteach.models.source import Loaded
from unteach.models.tuning import TUNINGS, Tuning
from unteach.models.tunings.lora import Lora
from unteach.progress import Progress
from unteach.records import Sample


@EDITORS.register("sft")
class Sft(SetEditor):
    """-log p(safe response | adversarial prompt), on all items together, with LoRA.

    Ten passes by default: every item is seen as often as DINM takes steps on it.
    """

    source = "baseline of DINM (Wang et al. 2024)"

    tuning: Annotated[Tuning, TUNINGS.annotation] = Lora(rank=16)
    schedule: Schedule = Schedule(lr=1e-4, epochs=10, batch_size=4)

    def _samples(self, jobs: Sequence[Job]) -> list[Sample]:
        return [
            Sample(scenario=job.item, kind="qa", language=job.language, context=job.prompt, text=job.target)
            for job in jobs
        ]

    def training_tokens(self, tokenizer: PreTrainedTokenizerBase, jobs: Sequence[Job]) -> int:
        texts = [job.prompt + job.target for job in jobs]
        return int(sum(map(len, tokenizer(texts)["input_ids"])) * self.schedule.epochs)

    def train(
        self, loaded: Loaded, jobs: Sequence[Job], to: Path, *, seed: int, progress: Progress | None = None
    ) -> list[StepLog]:
        with self.tuning.attach(loaded.model, seed) as model:
            log = learn(loaded, model, self._samples(jobs), self.schedule, seed=seed, progress=progress, label="sft")
            self.tuning.save(model, to)
        return log
