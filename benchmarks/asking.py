"""Asking in nine languages in common batches against one language at a time, on the embedded model and corpus.

The questions and the answers' length limit are those of ``experiments/quickstart.yaml``; both ways give an answer to
every question. Run: ``python benchmarks/asking.py``; prints seconds, their ratio, and how many answers are the same
(in bfloat16 a near-tie can fall the other way in another batch). ``--sizes`` shows what larger batches still gain,
which is all that batching across models could gain.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from unteach.ask.answers import Asking, ask
from unteach.corpora.load import load_corpus
from unteach.corpora.samples import questions
from unteach.languages.table import PAPER_A
from unteach.models.source import MODELS
from unteach.records import Answer


def timed(work: Callable[[], list[Answer]]) -> tuple[float, list[Answer]]:
    started = time.perf_counter()
    answers = work()
    return time.perf_counter() - started, answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[32, 96, 288], help="Batch sizes of the common batches."
    )
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()

    corpus, loaded = load_corpus(), MODELS.parse("embedded").load()
    by_language = {code: questions(corpus, "fake", (code,)) + questions(corpus, "real", (code,)) for code in PAPER_A}
    everything = [question for asked in by_language.values() for question in asked]
    alone = Asking(max_new_tokens=options.tokens, batch_size=32)
    ask(loaded, everything[:8], alone)  # warm up

    def one_by_one() -> list[Answer]:
        return [answer for asked in by_language.values() for answer in ask(loaded, asked, alone)]

    base, expected = timed(one_by_one)
    print(f"{len(everything)} questions; one language at a time, batches of 32: {base:.1f} s")
    for size in options.sizes:
        seconds, answers = timed(
            lambda size=size: ask(loaded, everything, alone.model_copy(update={"batch_size": size}))
        )
        same = sum(a.text == b.text for a, b in zip(expected, answers, strict=True))
        print(f"all languages, batches of {size}: {seconds:.1f} s, ratio {base / seconds:.2f}, same answers {same}")


if __name__ == "__main__":
    main()
