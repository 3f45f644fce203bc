"""Log-probabilities at label positions against the whole output layer, on the embedded model.

Both give the same numbers (``tests/unit/test_logprobs.py``). The baseline is what a plain training step does: logits
for every position, then a log-softmax. Run: ``python benchmarks/output_layer.py``; prints seconds and their ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from unteach.models.logprobs import IGNORE, token_logprobs
from unteach.models.source import MODELS


def best_of(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--labelled", type=float, default=0.5, help="Share of positions with a label.")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    model = MODELS.parse("embedded").load().model
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, 50_000, (options.sequences, options.tokens), generator=generator)
    labels = ids.clone()
    labels[:, : int(options.tokens * (1 - options.labelled))] = IGNORE
    mask = torch.ones_like(ids)
    embedding = model.get_input_embeddings()

    def plain(inputs: dict[str, Tensor]) -> Tensor:
        logits = model(attention_mask=mask, use_cache=False, **inputs).logits[:, :-1].float()
        logp = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]
        return logp[labels[:, 1:] != IGNORE].sum()

    def backward(loss: Callable[[], Tensor]) -> None:
        loss().backward()

    with torch.no_grad():
        slow = best_of(lambda: plain({"input_ids": ids}), options.repeats)
        fast = best_of(lambda: token_logprobs(model, ids, mask, labels).sum(), options.repeats)
    print(f"forward:  whole output layer {slow:.2f} s, label positions {fast:.2f} s, ratio {slow / fast:.1f}")

    embedding.register_forward_hook(lambda _module, _inputs, output: output.requires_grad_())
    slow = best_of(lambda: backward(lambda: plain({"input_ids": ids})), options.repeats)
    fast = best_of(lambda: backward(lambda: token_logprobs(model, ids, mask, labels).sum()), options.repeats)
    print(f"training: whole output layer {slow:.2f} s, label positions {fast:.2f} s, ratio {slow / fast:.1f}")


if __name__ == "__main__":
    main()
