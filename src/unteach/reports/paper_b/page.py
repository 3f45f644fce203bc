"""Paper B's report page: findings, figures, controls, replies, and the record of the run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from matplotlib.figure import Figure

from unteach.metrics.shares import SHARES
from unteach.records import Row
from unteach.reports.paper_b.findings import findings
from unteach.reports.paper_b.replies import OUTCOMES, ReplyIndex, pack, read_replies
from unteach.reports.paper_b.rows import Results
from unteach.reports.paper_b.sections import agreement_sections, sections
from unteach.reports.tables import base_metric

PAGE_BYTES = 5_800_000
"""A larger page would not open quickly: replies fill what the rest leaves, further ones stay in ``answers.jsonl``."""

LEAST_BYTES = 500_000
"""Room that replies get on a page that is large without them."""

ROWS_SHOWN = 600

_HERE = Path(__file__).parent
_REPORTS = _HERE.parent
_FILES = ("table.csv", "table.parquet", "answers.jsonl", "edits.jsonl", "run.json", "agreement.md", "agreement.csv")


def is_editing_run(about: dict[str, Any]) -> bool:
    """Whether ``run.json`` is that of a knowledge-editing experiment, alone or as a sweep."""
    spec = about.get("spec") or {}
    points = [point.get("spec") or {} for point in spec.get("points") or []]
    return any(point.get("experiment") == "knowledge_editing" for point in (spec, *points))


def render(
    run: Path, rows: Sequence[Row], about: dict[str, Any], drawn: dict[str, Figure], duration: Callable[..., str]
) -> str:
    """The page as text. ``drawn`` are the figures that the page shows or links, by file name."""
    answers = run / "answers.jsonl"
    lines = read_replies(answers) if answers.exists() else []
    index = ReplyIndex(lines)
    paper, controls = sections(rows, drawn, index)
    results = Results(rows)
    environment = Environment(
        loader=FileSystemLoader([_HERE, _REPORTS]), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    script = (_HERE / "replies.js").read_text(encoding="utf-8").strip()
    # Measures without a figure come first in the full table, for it is the only place that shows them.
    known = {*SHARES, "knowledge_log_probability", "fluency", "edit_loss", "edit_norm", "edit_seconds"}
    listed = sorted(rows, key=lambda row: base_metric(row.metric) in known)[:ROWS_SHOWN]
    used = [name for name in Row.model_fields if any(getattr(row, name) not in (None, "", 0) for row in listed)]
    content: dict[str, Any] = {
        "about": about,
        "name": about.get("name", run.name),
        "counted": _items(about.get("items")),
        "findings": findings(rows),
        "judges": [judge for judge in results.judges if judge],
        "paper": paper,
        "controls": [*controls, *agreement_sections(run)],
        "spec": yaml.safe_dump(about.get("spec") or {}, sort_keys=False, allow_unicode=True),
        "columns": used,
        "listed": [row.model_dump() for row in listed],
        "all_rows": len(rows),
        "figure_names": list(drawn),
        "files": [file for file in _FILES if (run / file).exists()],
        "style": Markup((_REPORTS / "style.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "duration": duration,
        "outcomes": [(name, name) for name in OUTCOMES],
        "same": lambda names: [(name, name) for name in names],
    }
    template = environment.get_template("page.html.j2")
    without = template.render(content, offered=None, packed="", left_out=0)
    offered, packed, left_out = pack(lines, max(LEAST_BYTES, PAGE_BYTES - len(without.encode())))
    return template.render(content, offered=offered if lines else None, packed=Markup(packed), left_out=left_out)


def _items(about: Any) -> str:
    """The items in a few words: ``20 items (guarded)``."""
    if not isinstance(about, dict) or "name" not in about:
        return ""
    number = next((value for value in about.values() if isinstance(value, int)), None)
    return f"{'' if number is None else f'{number} '}items ({about['name']})"
