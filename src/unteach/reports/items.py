"""What an item set has, as tables for the terminal: texts by language and field, and where they come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich import box
from rich.table import Table
from rich.text import Text

from unteach.corpora.build_items import FIELDS, count
from unteach.corpora.safety import ItemSet
from unteach.reports.tables import language_name


def fields_table(items: ItemSet, name: str) -> Table:
    """Fields against languages: how many items have a text. No text is shown, for some sets are harmful by intent."""
    counts = count(items)
    title = f"{name}: {len(items)} items, {len(counts)} languages; how many items have a field"
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("field", no_wrap=True)
    for code in counts:
        table.add_column(code, justify="right", no_wrap=True)
    for field in (*FIELDS, "key_phrases"):
        numbers = [here[field] for here in counts.values()]
        cells = [
            Text(str(number) if number else "-", style="" if number == len(items) else "yellow") for number in numbers
        ]
        table.add_row(field, *cells)
    return table


def origins_table(items: ItemSet) -> Table:
    """By language, the kinds of origin, who wrote or translated, and how many texts a native speaker has reviewed."""
    table = Table("language", "origin", "by", "reviewed by a native speaker", box=box.SIMPLE_HEAD, pad_edge=False)
    for code, here in count(items).items():
        origins = [item.texts[code].origin for item in items if code in item.texts]
        reviewed = sum(origin.reviewed_by_native_speaker for origin in origins)
        table.add_row(
            language_name(code),
            _counted(origin.kind for origin in origins),
            _counted(origin.by for origin in origins),
            f"{reviewed} of {here['items']}",
        )
    return table


def _counted(names: Iterable[str]) -> Text:
    """Each name once, with its count where there are several."""
    counts = Counter(names)
    return Text("\n".join(name if len(counts) == 1 else f"{name} ({number})" for name, number in counts.items()))
