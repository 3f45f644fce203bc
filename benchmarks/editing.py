"""Editing and attacking one item at a time against the cached and the batched way, on the same items.

Three ways, each in a process of its own, float32, greedy, DINM at one fixed layer:

- ``naive``: for every item, whole forward passes with logits at every position, as DINM's public implementation runs
  them, the KL's pass at every step included; then every attack alone, with the edit in the weights.
- ``cached``: an item at a time, from the cached input of the edited matrix; attacks as before.
- ``batched``: all items side by side, and all attacks in common batches, every row under its own item's edit.

    python benchmarks/editing.py                    a random Llama: 32 layers, hidden size 512, 32,000 words, layer 30
    python benchmarks/editing.py --model embedded   the embedded model with the guarded items, second to last layer

Prints seconds for edits and answers, peak memory, ratios to ``naive``, the largest relative difference of the changes,
and how many answers are the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call
from transformers import LlamaConfig, LlamaForCausalLM

from unteach.corpora.safety import load_items
from unteach.edit.contract import Edit
from unteach.edit.descend import Descent, Task, descend
from unteach.edit.scope import RowEdits, applied, projection
from unteach.languages.table import PAPER_B
from unteach.models.batches import Encoded, encode
from unteach.models.generate import generate
from unteach.models.logprobs import IGNORE
from unteach.models.source import MODELS, Loaded, ready
from unteach.records import EditRecord

WAYS = ("naive", "cached", "batched")


class Work:
    """The items' token sequences, the attacks on each item, and the model."""

    def __init__(self, model: str, items: int, preset: str) -> None:
        self.settings = Descent(kl_gradient=preset == "faithful", lr=5e-4, batch_items=items)
        self.loaded, self.layer, self.tasks, self.prompts = (
            _embedded(items) if model == "embedded" else _random_llama(items)
        )


def _embedded(number: int) -> tuple[Loaded, int, list[Task], list[list[str]]]:
    loaded = MODELS.parse({"name": "embedded", "dtype": "float32"}).load()
    tasks, prompts = [], []
    for item in load_items(limit=number):
        text = item.texts["en"]
        knowledge = encode(loaded.tokenizer, f" {text.knowledge_answer}\n", f"{text.knowledge_prompt}\n")
        response = encode(loaded.tokenizer, f" {text.safe_response}\n", f"{text.adversarial_prompt}\n")
        tasks.append(Task(response, knowledge))
        prompts.append([f"{item.texts[code].adversarial_prompt}\n" for code in PAPER_B])
    return loaded, -2, tasks, prompts


def _random_llama(number: int) -> tuple[Loaded, int, list[Task], list[list[str]]]:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=32,
        num_attention_heads=8,
        max_position_embeddings=1024,
    )
    tokenizer = MODELS.parse("embedded").tokenizer()
    loaded = ready(LlamaForCausalLM(config).eval(), tokenizer)

    def sequence(context: int, target: int) -> Encoded:
        ids = torch.randint(10, 32000, (context + target,)).tolist()
        return Encoded(tuple(ids), (*[IGNORE] * context, *ids[context:]))

    tasks = [Task(sequence(200, 60), sequence(20, 20)) for _ in range(number)]
    return loaded, 30, tasks, []


def naive_edit(work: Work, task: Task) -> tuple[Tensor, float]:
    """One item by whole forward passes; the change and the last loss."""
    model, settings = work.loaded.model, work.settings
    name, module = projection(model, work.layer)
    start = module.weight.detach()
    master = start.clone().requires_grad_()
    adam = torch.optim.Adam([master], lr=settings.lr)

    def logits(sequence: Encoded, weight: Tensor) -> Tensor:
        out = functional_call(
            model, {f"{name}.weight": weight}, kwargs={"input_ids": torch.tensor([sequence.ids])}, tie_weights=False
        )
        return out.logits[0, :-1].float()

    known = task.knowledge
    assert known is not None
    counts = torch.tensor(known.labels[1:]) != IGNORE
    with torch.no_grad():
        before = torch.log_softmax(logits(known, start)[counts], -1)
    total = torch.tensor(0.0)
    for _ in range(settings.steps):
        # In float64: torch's float32 cross-entropy over 262,000 words is off by 1e-5, enough to turn the sign of small
        # gradients, and Adam's first step is the sign.
        nll = nn.functional.cross_entropy(
            logits(task.response, master).double(), torch.tensor(task.response.labels[1:]), ignore_index=IGNORE
        ).float()
        with torch.set_grad_enabled(settings.kl_gradient):
            now = torch.log_softmax(logits(known, master)[counts], -1)
            kl = (before.exp() * (before - now)).sum(-1).mean()
        total = settings.nll_weight * nll + settings.kl_weight * kl
        if total < settings.stop_below:
            break
        adam.zero_grad()
        total.backward()
        adam.step()
    return (master - start).detach(), float(total.detach())


def edits_of(work: Work, way: str) -> list[Tensor]:
    if way == "naive":
        return [naive_edit(work, task)[0] for task in work.tasks]
    settings = work.settings if way == "batched" else work.settings.model_copy(update={"batch_items": 1})
    return [done.delta for done in descend(work.loaded, work.layer, work.tasks, settings)]


def answers_of(work: Work, way: str, edits: list[Edit]) -> list[str]:
    """Answers to every attack of every item; each attack is asked of the model edited on its item."""
    if way == "batched":
        rows = RowEdits(work.loaded.model, edits)
        flat = [(item, prompt) for item, prompts in enumerate(work.prompts) for prompt in prompts]
        made = generate(
            work.loaded,
            [prompt for _, prompt in flat],
            max_new_tokens=24,
            batch_size=96,
            around=lambda batch: rows.rows([flat[index][0] for index in batch]),
        )
        return [one.text for one in made]
    said = []
    for edit, prompts in zip(edits, work.prompts, strict=True):
        with applied(work.loaded.model, [edit]):
            for prompt in prompts:
                (one,) = generate(work.loaded, [prompt], max_new_tokens=24, batch_size=1)
                said.append(one.text)
    return said


def measure(way: str, model: str, items: int, preset: str, folder: Path) -> None:
    """One way in this process; writes times, memory, changes and answers to ``folder``."""
    work = Work(model, items, preset)
    warm = work.tasks[:1]
    descend(work.loaded, work.layer, warm, Descent(steps=1))
    at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    deltas = edits_of(work, way)
    edit_seconds = time.perf_counter() - started
    name, _ = projection(work.loaded.model, work.layer)
    layers = work.loaded.model.config.get_text_config().num_hidden_layers
    record = EditRecord(item="", language="en", layer=work.layer % layers, layers=layers, weight=f"{name}.weight")
    edits = [Edit(record, delta) for delta in deltas]
    started = time.perf_counter()
    said = answers_of(work, way, edits) if work.prompts else []
    result = {
        "edit": edit_seconds,
        "answer": time.perf_counter() - started,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "at_rest": at_rest,
        "said": said,
    }
    save_file({str(number): delta.contiguous() for number, delta in enumerate(deltas)}, folder / f"{way}.safetensors")
    (folder / f"{way}.json").write_text(json.dumps(result), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["random", "embedded"], default="random")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--preset", choices=["faithful", "easyedit"], default="easyedit")
    parser.add_argument("--only", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        measure(options.only, options.model, options.items, options.preset, options.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shared = ["--model", options.model, "--items", str(options.items), "--preset", options.preset]
        for way in WAYS:
            subprocess.run([sys.executable, __file__, *shared, "--only", way, "--folder", name], check=True)
        results = {way: json.loads((folder / f"{way}.json").read_text()) for way in WAYS}
        base, changes = results["naive"], load_file(folder / "naive.safetensors")
        print(f"{options.model}, {options.items} items, {options.preset}, {len(base['said'])} attacks, float32")
        for way, found in results.items():
            mine = load_file(folder / f"{way}.safetensors")
            far = max(float((mine[key] - changes[key]).norm() / changes[key].norm()) for key in changes)
            total, whole = found["edit"] + found["answer"], base["edit"] + base["answer"]
            same = sum(a == b for a, b in zip(found["said"], base["said"], strict=True))
            print(
                f"{way:8} edits {found['edit']:7.1f} s ({base['edit'] / found['edit']:5.1f}x)  "
                + (f"answers {found['answer']:7.1f} s ({base['answer'] / found['answer']:5.1f}x)  " if same else "")
                + f"all {total:7.1f} s ({whole / total:5.1f}x)  peak {found['memory'] / 2**20:.2f} GiB "
                f"({(found['memory'] - found['at_rest']) / 2**20:+.2f})  changes differ by {far:.1e}"
                + (f"  same answers {same} of {len(base['said'])}" if base["said"] else "")
            )


if __name__ == "__main__":
    main()
