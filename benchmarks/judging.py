"""What judging with a language model costs beside the model's own time: verdicts a second, and memory.

The judge's replies are kept beforehand (by an endpoint that answers at once), so all that is left is the judge stage:
reading answers, building and hashing prompts, finding the kept reply, reading the grade, writing the verdict. The
baseline is the keyword judge on the same answers, in the same run. Answers are on the embedded corpus, with a number in
each that makes it distinct. For memory many more verdicts are made, of the same answers over and over, so that the file
of replies stays small; what is measured is this process, and the baseline is what the verdicts would take in a list.

Run: ``python benchmarks/judging.py``; prints verdicts a second, ratios, and MiB.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from unteach.corpora.load import Corpus, load_corpus
from unteach.corpora.samples import join, questions
from unteach.corpora.schema import Scenario
from unteach.judge.contract import JUDGES, Judge
from unteach.languages.table import PAPER_A
from unteach.records import Answer, Verdict, write_records

REPLY = "The answer says little of what the article tells, and nothing of the target information.\nRating: [[3]] [[NO]]"


def answers(corpus: Corpus, count: int) -> list[tuple[Answer, Scenario]]:
    """Distinct answers to the corpus's questions in nine languages: two sentences of an article, and a number."""
    asked = questions(corpus, "fake", PAPER_A) + questions(corpus, "real", PAPER_A)
    pairs = []
    for number, question in zip(range(count), itertools.cycle(asked), strict=False):
        scenario = corpus.by_id[question.scenario]
        said = join(list(scenario.texts[question.language].article[:2]), question.language)
        answer = Answer(question=question, prompt="", text=f"{said} ({number})", tokens=60, finished=True)
        pairs.append((answer, scenario))
    return pairs


def verdicts_a_second(judge: Judge, pairs: list[tuple[Answer, Scenario]], folder: Path) -> float:
    """As the judge stage does it: answer by answer into a file."""
    started = time.perf_counter()
    write_records(folder / "verdicts.jsonl", judge(pairs))
    return len(pairs) / (time.perf_counter() - started)


def memory() -> float:
    """MiB that this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth(verdicts: Iterable[Verdict], marks: list[int]) -> Iterator[tuple[int, float]]:
    """MiB held after so many verdicts."""
    for number, _ in enumerate(verdicts, 1):
        if number in marks:
            yield number, memory()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verdicts", type=int, default=20_000, help="Distinct answers, for the rate.")
    parser.add_argument("--distinct", type=int, default=10_000, help="Distinct answers, for memory.")
    parser.add_argument("--marks", type=int, nargs="+", default=[10_000, 100_000, 500_000, 1_000_000])
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["UNTEACH_REPLIES"] = str(folder / "replies.sqlite")
        keyword = JUDGES.parse("keyword")
        model = JUDGES.parse({"name": "llm", "endpoint": {"name": "scripted", "rules": [{"when": ".", "say": REPLY}]}})
        corpus = load_corpus()
        pairs = answers(corpus, max(options.verdicts, options.distinct))
        model_pairs = pairs[: options.verdicts]
        verdicts_a_second(keyword, model_pairs, folder)  # folds every phrase once
        base = verdicts_a_second(keyword, model_pairs, folder)
        first = verdicts_a_second(model, model_pairs, folder)
        again = verdicts_a_second(model, model_pairs, folder)
        kept = (folder / "replies.sqlite").stat().st_size / 2**20
        print(f"{len(model_pairs):,} distinct answers, verdicts a second")
        print(f"  keyword judge                      {base:8,.0f}")
        print(f"  language model, replies kept       {again:8,.0f}, ratio {again / base:.2f}")
        print(f"  language model, asked and kept     {first:8,.0f}, ratio {first / base:.2f} (replies: {kept:.0f} MiB)")

        distinct = pairs[: options.distinct]
        if options.distinct > options.verdicts:
            verdicts_a_second(model, distinct, folder)
        print(f"memory over {max(options.marks):,} verdicts, {len(distinct):,} distinct answers over and over")
        endless = itertools.islice(itertools.cycle(distinct), max(options.marks))
        started, before = time.perf_counter(), memory()
        held = dict(growth(model(endless), options.marks))
        seconds = time.perf_counter() - started
        shown = ", ".join(f"{number:,}: {mib - before:+.1f}" for number, mib in held.items())
        print(f"  language model, replies kept: MiB more after {shown} ({max(options.marks) / seconds:,.0f} a second)")
        before = memory()
        listed = list(model(itertools.islice(itertools.cycle(distinct), min(max(options.marks), 100_000))))
        each = (memory() - before) / len(listed)
        print(
            f"  the same verdicts in a list, at least: {each * max(options.marks):,.0f} MiB ({len(listed):,} measured)"
        )


if __name__ == "__main__":
    main()
