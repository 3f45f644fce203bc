"""The report page: one HTML file that opens from disk, needs no network, and escapes all that a model wrote."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from matplotlib.figure import Figure

from unteach.errors import UserError
from unteach.records import Row
from unteach.reports import tables
from unteach.reports.answers import AnswerIndex, as_json, pack, read_answers
from unteach.reports.figures import chance_words, figures
from unteach.reports.finding import findings
from unteach.reports.grids import change_grids, choice_grids, metric_grids
from unteach.reports.paper_a.rows import main_setting
from unteach.reports.paper_a.sections import agreement_sections, sections
from unteach.reports.paper_b.figures import figures as paper_b_figures
from unteach.reports.paper_b.page import is_editing_run
from unteach.reports.paper_b.page import render as render_paper_b
from unteach.reports.style import inline_svg, save

ANSWER_BYTES = 5_000_000
"""A page with more answers than this would not open quickly; the rest stays in ``answers.jsonl``."""

ROWS_SHOWN = 2000

SOURCES_INLINE = 3
"""With more source languages, figures that there are one of for each are linked rather than shown."""

_HERE = Path(__file__).parent
_FILES = ("table.csv", "table.parquet", "answers.jsonl", "run.json", "agreement.md", "agreement.csv")


def write_report(run: Path) -> Path:
    """Write ``report.html`` and the figures of a finished run, and return the page's path.

    Raises:
        UserError: the folder lacks ``table.parquet`` or ``run.json``, or one of its files cannot be read.
    """
    rows = tables.load_rows(run)
    about = _read_about(run / "run.json")
    editing = is_editing_run(about)
    drawn = paper_b_figures(rows) if editing else figures(rows, about.get("spec"))
    for name, figure in drawn.items():
        save(figure, run / "figures", name)
    page = render_paper_b(run, rows, about, drawn, duration) if editing else render(run, rows, about, drawn)
    # Written beside and then moved: a killed run leaves the old page or the new one, never half of one.
    part, target = run / "report.html.part", run / "report.html"
    part.write_text(page, encoding="utf-8")
    return part.replace(target)


def render(run: Path, rows: Sequence[Row], about: dict[str, Any], drawn: dict[str, Figure]) -> str:
    """The page as text. ``drawn`` are the figures that the page shows or links, by file name."""
    answers = run / "answers.jsonl"
    lines = read_answers(answers) if answers.exists() else []
    index = AnswerIndex(lines)
    data, left_out = pack(lines, index, ANSWER_BYTES)
    shown = tables.without_seeds(rows)
    inline = len(tables.sources(shown)) <= SOURCES_INLINE
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    script = (_HERE / "filter.js").read_text(encoding="utf-8").strip()
    known = {"O_F", "Q_R", "O_F_change", "Q_R_change", "forced_choice", "perplexity", "log_probability"}
    # Measures without a figure come first in the full table, for it is the only place that shows them.
    listed = sorted(rows, key=lambda row: (row.metric in known, row.checkpoint is not None))
    return environment.get_template("template.html.j2").render(
        about=about,
        name=about.get("name", run.name),
        findings=findings(shown),
        paper=[*sections(rows, drawn, index), *agreement_sections(run)],
        setting=main_setting(rows)[1],
        metrics=[(metric, metric_grids(shown, metric, index)) for metric in ("O_F", "Q_R")],
        changes=[(metric, change_grids(shown, metric, index)) for metric in ("O_F", "Q_R")],
        choices=choice_grids(shown),
        chance=chance_words(tables.select(rows, metric="forced_choice", checkpoint=None)),
        change_svgs=_inline(drawn, "O_F_change") if inline else [],
        curve_svgs=_inline(drawn, "curves") if inline else [],
        change_files=[] if inline else _named(drawn, "O_F_change"),
        curve_files=[] if inline else _named(drawn, "curves"),
        limits=tables.stop_thresholds(about.get("spec")),
        spec=yaml.safe_dump(about.get("spec", {}), sort_keys=False, allow_unicode=True),
        answers=data if lines else None,
        packed=Markup(as_json(data)),
        labels=[*index.labels, *index.groups],
        left_out=left_out,
        columns=list(Row.model_fields),
        listed=[row.model_dump() for row in listed[:ROWS_SHOWN]],
        all_rows=len(rows),
        figure_names=list(drawn),
        files=[file for file in _FILES if (run / file).exists()],
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        duration=duration,
    )


def duration(seconds: float | None) -> str:
    """Seconds in words: ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _read_about(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError(f"there is no {path}; a report needs a finished run.")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(about, dict):
        raise UserError(f"{path} must hold one JSON object.")
    return about


def _named(drawn: dict[str, Figure], start: str) -> list[str]:
    return [name for name in drawn if name.startswith(start)]


def _inline(drawn: dict[str, Figure], start: str) -> list[Markup]:
    return [Markup(inline_svg(drawn[name], name)) for name in _named(drawn, start)]
