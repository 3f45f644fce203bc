"""Agreement in the terminal and as Markdown, from the rated samples of a run's ``agreement.json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from unteach.metrics.agreement import Agreement, Estimate
from unteach.metrics.rated import Findings, RatedSample, read_rated
from unteach.reports.agreement_figures import are_grades, figures, p_words
from unteach.reports.grids import Cell, Grid
from unteach.reports.style import save
from unteach.reports.tables import language_name, language_place
from unteach.store import write_atomically

MODELS_SHOWN = 12
"""More models than this are in ``agreement.csv`` only."""

BAR = "\\|"
"""A bar that does not end a cell of a Markdown table."""

NOTES = (
    "In brackets: 95 % intervals. Of shares: Wilson's; of kappa and corrected rates: the Bayesian bootstrap. p: "
    "McNemar's exact test (the sign test for grades) that discrepancies go either way alike. With fewer than six it "
    "cannot be below 0.05, so that a large p on few answers is no proof of a good judge: see the interval of the "
    "difference. Corrected rates: Rogan and Gladen (1978), with the reference taken to be right."
)


def write_agreement(run: Path) -> list[Path]:
    """Write ``agreement.md`` and the figures of all rated samples into a run's folder; returns the files."""
    samples = read_rated(run)
    page = run / "agreement.md"
    write_atomically(page, markdown(samples))
    drawn = figures(samples)
    return [page, *(file for name, figure in drawn.items() for file in save(figure, run / "figures", name))]


def terminal_tables(findings: Findings) -> list[Table]:
    """Agreement by language, and the judge's numbers beside the corrected ones."""
    return [_terminal(title, heads, lines) for title, heads, lines in _tables(findings)]


def page_tables(findings: Findings) -> tuple[Grid, ...]:
    """The same as grids of the page."""
    return tuple(
        Grid(title, heads[0], heads[1:], tuple((line[0], tuple(map(_cell, line[1:]))) for line in lines))
        for title, heads, lines in _tables(findings)
    )


def _cell(text: str) -> Cell:
    value, _, interval = text.replace(" %", "\u00a0%").partition(" [")
    return Cell(value, interval.removesuffix("]"), "", text, look="none" if text == "–" else "")


def markdown(samples: Sequence[RatedSample]) -> str:
    """All samples as Markdown."""
    parts = ["# Agreement", NOTES]
    for sample in samples:
        findings = sample.findings
        parts += [f"## {_metric_words(findings)}", about_words(findings)]
        for title, heads, lines in _tables(findings):
            parts.append("\n".join([f"**{title}**", "", _line(heads), "|---" * len(heads) + "|", *map(_line, lines)]))
        reasons = dict.fromkeys(_reasons(findings))
        parts += ["\n".join(f"- {reason}" for reason in reasons)] if reasons else []
    return "\n\n".join(parts) + "\n"


TableText = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, heads and lines."""


def _tables(findings: Findings) -> Iterator[TableText]:
    for first, second in dict.fromkeys((found.first, found.second) for found in findings.agreements):
        ours = [found for found in findings.agreements if (found.first, found.second) == (first, second)]
        yield _pair_table(findings, _ordered(ours))
        (whole,) = (found for found in ours if found.language is None)
        if whole.confusion and not are_grades(findings):
            yield _confusion_table(whole)
    yield _rates_table(findings)
    if findings.errors:
        yield _errors_table(findings)
    yield _corrected_table(findings)


def _pair_table(findings: Findings, ours: Sequence[Agreement]) -> TableText:
    first, second, grades = ours[0].first, ours[0].second, are_grades(findings)
    agree, alone = ("within 1", "higher") if grades else ("agree", "alone")
    heads = ("language", "n", "no label", agree, "kappa", "differ", f"{first} {alone}", f"{second} {alone}")
    title = f"{findings.about.metric}: {first} and {second}"
    return title, (*heads, f"{second} − {first}", "p"), [_pair_line(one, grades) for one in ours]


def _pair_line(found: Agreement, grades: bool) -> tuple[str, ...]:
    return (
        language_name(found.language, short=True), str(found.n), str(found.unlabelled), say(found.share),
        say(found.kappa, plain=True), str(found.discrepancies), str(found.first_only), str(found.second_only),
        say(found.difference, plain=grades, signed=True), p_words(found).removeprefix("p = ").removeprefix("p "),
    )  # fmt: skip


def _confusion_table(whole: Agreement) -> TableText:
    """Labels that only one rater gave stand for both, in one order."""
    labels = sorted({label for first, second, _ in whole.confusion for label in (str(first), str(second))})
    counts = {(first, second): count for first, second, count in whole.confusion}
    lines = [(one, *(str(counts.get((one, other), 0)) for other in labels)) for one in labels]
    return f"{whole.first} (lines) and {whole.second} (columns)", ("", *labels), lines


def _rates_table(findings: Findings) -> TableText:
    """Each rater's own number on the same answers: paper B's Table 1 for DS."""
    raters = dict.fromkeys(rate.rater for rate in findings.rates)
    found = {(rate.rater, rate.language): say(rate.estimate, are_grades(findings)) for rate in findings.rates}
    codes = sorted({rate.language for rate in findings.rates}, key=language_place)
    lines = [(language_name(code, short=True), *(found[rater, code] for rater in raters)) for code in codes]
    return f"{findings.about.metric} of the sample, by who labels it", ("language", *raters), lines


def _errors_table(findings: Findings) -> TableText:
    lines = []
    for one in sorted(findings.errors, key=lambda one: language_place(one.language)):
        numbers = (cell for part in (one.sensitivity, one.specificity) for cell in (say(part), str(part.n)))
        lines.append((language_name(one.language, short=True), *numbers))
    title = f"Errors of {findings.about.judge}, if {findings.reference} is right"
    return title, ("language", "sensitivity", "n", "specificity", "n"), lines


def _corrected_table(findings: Findings) -> TableText:
    grades = are_grades(findings)
    models = [one for one in findings.corrected if one.model and one.language is None]
    shown = [one for one in findings.corrected if one.model is None]
    shown += models if len(models) <= MODELS_SHOWN else []
    lines: list[tuple[str, ...]] = [
        (
            one.model or "all models", language_name(one.language, short=True), say(one.judged, grades),
            str(one.judged.n), say(one.corrected, grades), language_name(one.errors_of, short=True),
        )
        for one in sorted(shown, key=lambda one: (one.model or "", language_place(one.language)))
    ]  # fmt: skip
    title = f"{findings.about.metric} of the run, as judged and corrected for the judge's errors"
    return title, ("model", "language", "judged", "n", "corrected", "errors in"), lines


def say(estimate: Estimate, plain: bool = False, signed: bool = False) -> str:
    """A share as ``83 % [61–94]``, or a plain number as ``0.62 [0.31–0.84]``; a dash where there is none."""
    if estimate.value is None:
        return "–"
    numbers = [estimate.value, estimate.low, estimate.high]
    written = [_number(number, plain, signed) for number in numbers if number is not None]
    unit = "" if plain or signed else " %"
    joint = " to " if signed or min(number for number in numbers if number is not None) < 0 else "–"
    return f"{written[0]}{unit}" + (f" [{joint.join(written[1:])}]" if len(written) == 3 else "")


def _number(number: float, plain: bool, signed: bool) -> str:
    text = f"{abs(number):.2f}" if plain else f"{100 * abs(number):.0f}"
    zero = float(text) == 0
    return ("" if zero else "−" if number < 0 else "+" if signed else "") + text


def _line(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"


def _ordered(found: Sequence[Agreement]) -> list[Agreement]:
    return sorted(found, key=lambda one: language_place(one.language))


def _reasons(findings: Findings) -> Iterator[str]:
    for a in findings.agreements:
        where = f"{a.first} and {a.second}, {language_name(a.language)}"
        for what, reason in (("kappa", a.kappa.reason), ("p", a.p_reason)):
            if reason:
                yield f"{where}: no {what}: {reason}."
    for one in findings.corrected:
        if one.model is None and one.corrected.reason:
            yield f"{language_name(one.language)}: not corrected: {one.corrected.reason}."


def _metric_words(findings: Findings) -> str:
    return f"{findings.about.metric}, sample {findings.about.sample[:12]}"


def about_words(findings: Findings) -> str:
    """What was drawn from what, who labelled it, and whose labels are taken to be right."""
    about = findings.about
    drawn = f"{findings.drawn} answers by {', '.join(about.by)} of {sum(about.population.values())} scored ones"
    balance = ", balanced by the judge's verdicts and weighted back" if about.balance == "verdicts" else ""
    labelled = ", ".join(f"{name} {count}" for name, count in findings.labelled.items())
    return f"Run {about.run}: {drawn}{balance}. Labelled: {labelled}. Reference: {findings.reference}."


def _terminal(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(Text(head.replace(" ", "\n")), justify="left" if place == 0 else "right", no_wrap=True)
    for line in lines:
        table.add_row(*(Text(cell.replace(" %", "\u00a0%")) for cell in line))
    return table
