"""What a run says about a paper's claims: a table for the terminal, one in Markdown, and plain data for the page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from rich import box
from rich.table import Table
from rich.text import Text

from unteach.errors import UserError
from unteach.metrics.claims import Cell, Claim, read_claims
from unteach.metrics.decide import Answer, Part, Verdict, check
from unteach.metrics.intervals import LEVEL
from unteach.reports import tables
from unteach.reports.paper_b.page import is_editing_run
from unteach.reports.paper_b.rows import INPUTS, editor_words
from unteach.reports.tables import language_name

PAPER_A = Path("experiments/claims/paper-a.yaml")
PAPER_B = Path("experiments/claims/paper-b.yaml")

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
_COLOURS = {"supported": "green", "contradicted": "red", "underpowered": "yellow", "not tested": "dim"}
_GROUPS = {
    "english": "English",
    "source": "the fake's language",
    "other high": "other high-resource languages",
    "other low": "other low-resource languages",
    "all": "all languages",
}
_EDIT_POOLS = {
    "all": "all languages",
    "english": "English",
    "same": "the language of the edit",
    "other": "other languages than that of the edit",
    "high": "other high-resource languages",
    "low": "other low-resource languages",
}
_ONE_SIDED = (1 - LEVEL) / 2


def claims_file(run: Path) -> Path:
    """The claims of the paper that a run is about: paper B's for knowledge editing (also in a sweep), else paper A's.

    Raises:
        UserError: ``run.json`` cannot be read. A table without one is taken for paper A's.
    """
    path = run / "run.json"
    if not path.is_file():
        return PAPER_A
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    return PAPER_B if isinstance(about, dict) and is_editing_run(about) else PAPER_A


def check_claims(run: Path, file: Path | None = None) -> tuple[list[Answer], str]:
    """The answers of a run's table to a file of claims (``claims_file`` if left out), and the same as Markdown.

    Raises:
        UserError: the run has no table, or the claims file has problems.
    """
    claims = read_claims(file or claims_file(run))
    answers = check(tables.load_rows(run), claims)
    return answers, answers_markdown(answers)


def answers_table(answers: Sequence[Answer]) -> Table:
    """One line a claim for the terminal: what is claimed, the answer, and the number it hangs on."""
    table = Table(title=summary(answers), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("claim", "answer", "what the run shows"):
        table.add_column(name)
    for section in sections(answers):
        claimed = Text(f"{section['says']} ", end="").append(f"({section['section']}; {section['id']})", style="dim")
        verdict = Text(section["verdict"], style=_COLOURS[section["verdict"]])
        table.add_row(claimed, verdict, Text(section["sentence"]))
    return table


def answers_markdown(answers: Sequence[Answer]) -> str:
    """The answers as a Markdown table under their summary."""
    lines = [summary(answers), "", caution(answers), "", "| claim | section | claimed | answer | what the run shows |"]
    lines.append("|---|---|---|---|---|")
    for section in sections(answers):
        cells = (section[name] for name in ("id", "section", "says", "verdict", "sentence"))
        lines.append("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def summary(answers: Sequence[Answer]) -> str:
    """How many claims got which answer."""
    counts = Counter(answer.verdict for answer in answers)
    return f"{len(answers)} claims: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS)


def caution(answers: Sequence[Answer]) -> str:
    """How often such answers are wrong."""
    tested = sum(answer.verdict != "not tested" for answer in answers)
    return (
        f"Each answer is wrong in about {100 * _ONE_SIDED:.1f} % of repeated runs at most, up to twice that for small "
        f"rates of few scenarios (benchmarks/claims.py). Nothing corrects for asking "
        f"{tested} of them: up to {tested * _ONE_SIDED:.1f} wrong ones are to be expected if all claims are borderline."
    )


def sections(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """The answers as plain data for a page: numbers as they are in the table, and in words."""
    verdicts = {answer.claim.id: answer.verdict for answer in answers}
    return [_section(answer, verdicts) for answer in answers]


def _section(answer: Answer, verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    claim, deciding = answer.claim, answer.deciding
    opposed = claim.opposes
    return {
        **{name: getattr(claim, name) for name in ("id", "paper", "section", "says", "why", "opposes")},
        "opposite_verdict": verdicts.get(opposed) if opposed else None,
        "verdict": answer.verdict,
        "threshold": threshold(claim),
        "value": deciding.value if deciding else None,
        "low": deciding.low if deciding else None,
        "high": deciding.high if deciding else None,
        "n": deciding.n if deciding else 0,
        "reason": answer.reason,
        "sources": list(answer.sources),
        "sentence": sentence(answer) + (f" The paper also claims the opposite: {opposed}." if opposed else ""),
        "parts": [_part(claim, part) for part in answer.parts],
    }


def _part(claim: Claim, part: Part) -> dict[str, Any]:
    numbers = {name: getattr(part, name) for name in ("verdict", "value", "low", "high", "n", "reason")}
    return {"where": where(part.where, _is_edited(claim)), **numbers, "shown": shown(claim, part)}


def sentence(answer: Answer) -> str:
    """The answer in words, with every number that it hangs on."""
    claim, deciding = answer.claim, answer.deciding
    if deciding is None:
        return f"{answer.reason[:1].upper()}{answer.reason[1:]}."
    edited = _is_edited(claim)
    pooled = (
        f" Pooled over {'edits in' if edited else 'sources'} {', '.join(answer.sources)}." if answer.sources else ""
    )
    reason = f" {answer.reason[:1].upper()}{answer.reason[1:]}." if answer.reason else ""
    place = where(deciding.where, edited)
    named = f" ({place})" if place else ""
    if not claim.test.each or len(answer.parts) == 1:
        return f"{shown(claim, deciding)}{named}; claimed: {threshold(claim)}.{pooled}{reason}"
    counts = Counter(part.verdict for part in answer.parts)
    words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    wanted = "all" if claim.test.holds == "all" else "at least one"
    nearest = "the farthest from it" if claim.test.holds == "all" else "the nearest to it"
    text = f"Claimed: {threshold(claim)}, for {wanted} of {len(answer.parts)}. Of these {words}; {nearest}"
    return f"{text}{named}: {shown(claim, deciding)}.{pooled}{reason}"


def _is_edited(claim: Claim) -> bool:
    """Whether a claim is about edited models: their source language is that of the edit."""
    return any(side.get("model") == "edited" for side in claim.test.sides)


def threshold(claim: Claim) -> str:
    """The bounds in words: ``at least 20 %``."""
    low, high = claim.test.bounds
    if claim.test.between is not None:
        return f"between {_say(claim, low, unit=False)} and {_say(claim, high)}"
    return f"at least {_say(claim, low)}" if claim.test.at_least is not None else f"at most {_say(claim, high)}"


def shown(claim: Claim, part: Part) -> str:
    """A part's number with interval and n: ``O_F 68.8 % (95 % interval 44.4 to 85.8 %, n = 16)``."""
    if part.value is None or part.low is None or part.high is None:
        return part.reason
    things = " seeds" if part.rows and all(map(tables.over_seeds, part.rows)) else ""
    what = f"difference of {_metric(claim)}" if claim.test.difference else _metric(claim)
    limits = f"{100 * LEVEL:.0f} % interval {_say(claim, part.low, unit=False)} to {_say(claim, part.high)}"
    return f"{what} {_say(claim, part.value)} ({limits}, n = {part.n}{things})".replace(" %", "\u00a0%")


def where(place: Mapping[str, Cell], edited: bool = False) -> str:
    """Which part of a claim: ``taught in German (de), asked in English (en)``; empty where there is but one."""
    return ", ".join(_named(column, str(value), edited) for column, value in place.items())


def _named(column: str, value: str, edited: bool) -> str:
    if column == "group":
        return _group(value)
    if column == "editor":
        return editor_words(value)
    before = {"source_language": "edited in" if edited else "taught in", "question_language": "asked in"}
    before |= {"strategy": "after", "judge": "judge"}
    named = language_name(value) if column.endswith("_language") else value
    return f"{before[column]} {named}" if column in before else named


def _group(value: str) -> str:
    """A group of question languages, an input, or an input over such a group; others as they are called."""
    kind, colon, pool = value.partition(": ")
    if kind not in INPUTS:
        return f"asked in {_GROUPS[value]}" if value in _GROUPS else value
    return f"{INPUTS[kind]}, asked in {_EDIT_POOLS.get(pool, pool)}" if colon else INPUTS[kind]


def _metric(claim: Claim) -> str:
    return str(claim.test.sides[0]["metric"])


def _say(claim: Claim, number: float, unit: bool = True) -> str:
    """Shares as per cent, differences with their sign and in points."""
    metric = _metric(claim)
    compared = tables.is_difference(metric) or claim.test.difference is not None
    rate = tables.is_rate(metric)
    digits = f"{abs(100 * number):.1f}".removesuffix(".0") if rate else f"{abs(number):.2f}".removesuffix(".00")
    sign = "" if float(digits) == 0 else "−" if number < 0 else "+" if compared else ""
    relative = metric.endswith("_relative_change") and claim.test.difference is None
    words = "" if not rate or not unit else " %" if relative or not compared else " points"
    return f"{sign}{digits}{words}"
