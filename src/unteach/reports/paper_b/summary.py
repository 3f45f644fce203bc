"""The main result in the terminal: attacks defended before and after, edit language against question language."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from unteach.records import Row
from unteach.reports.paper_b.numbers import show_interval, show_n, show_value
from unteach.reports.paper_b.rows import SUFFIX, UNEDITED, Model, Results, Setting, editor_words, setting_words
from unteach.reports.tables import language_name


def summaries(rows: Sequence[Row]) -> list[Table]:
    """Two tables a base model: the main editor by edit language, and all editors where they are asked in their own."""
    results = Results(rows)
    made = []
    for setting in results.settings:
        editor = results.main_editor(setting)
        lines = [
            (language_name(code, short=True), _of(Model(editor, code))) for code in results.edited_in(setting, editor)
        ]
        if results.get(setting, "DS", SUFFIX, "en", "attack", results.judges[0]):
            lines.insert(0, ("suffix only", _of(SUFFIX)))
        if lines:
            made.append(_table(results, setting, editor_words(editor), "edited in", lines))
        others = [name for name in results.editors(setting) if name != editor]
        if others:
            own = [(editor_words(name), _own(name)) for name in (editor, *others) if name]
            made.append(_table(results, setting, "edited in the question's language", "editor", own))
    return made


Line = tuple[str, Callable[[str], Model]]


def _of(model: Model) -> Callable[[str], Model]:
    return lambda code: model


def _own(editor: str) -> Callable[[str], Model]:
    return lambda code: Model(editor, code)


def _table(results: Results, setting: Setting, name: str, corner: str, lines: Sequence[Line]) -> Table:
    judge = results.judges[0]
    codes = results.asked_in(setting)
    shown: list[Row] = []
    cells: list[list[Text]] = []
    for _, model in lines:
        line = []
        for code in codes:
            before = results.get(setting, "DS", UNEDITED, code, "attack", judge)
            after = results.get(setting, "DS", model(code), code, "attack", judge)
            shown += [after] if after else []
            line.append(_cell(before, after))
        cells.append(line)
    where = ", ".join(filter(None, [setting_words(setting), name, f"judge {judge}" if judge else ""]))
    title = f"DS: attacks defended, % before→after, 95 % interval of after; {show_n(shown, 'replies')} a cell\n{where}"
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column(corner, no_wrap=True)
    for code in codes:
        table.add_column(Text(f"in {code}"), justify="right", no_wrap=True)
    for (words, _), line in zip(lines, cells, strict=True):
        table.add_row(words, *line)
    return table


def _cell(before: Row | None, after: Row | None) -> Text:
    """A text, not markup: square brackets are meant as such."""
    if after is None:
        return Text("-", style="dim")
    if after.value is None:
        return Text(f"{after.unscored}\nunscored", style="dim")
    start = show_value(before, sign=False) if before and before.value is not None else ""
    text = Text(f"{start}→{show_value(after, sign=False)}" if start else show_value(after, sign=False))
    return text.append(f"\n{show_interval(after).replace(', ', '-')}", style="dim")
