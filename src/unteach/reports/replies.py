"""What was bought of text services, as tables for the terminal: by endpoint and purse, and what is left unaccounted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from unteach.endpoints.replies import Purse


def replies_table(totals: Iterable[Mapping[str, Any]]) -> Table:
    """A line an endpoint and purse: replies, tokens read and written, money, and when the first and last were kept.

    A cell with ``+`` is a lower bound: the endpoint did not count the tokens of some replies.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="kept replies", title_justify="left")
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify, overflow="fold")
    for row in totals:
        more = "+" if row["uncounted"] else ""
        table.add_row(
            Text(row["endpoint"]),
            Text(row["purse"]),
            f"{row['replies']:,}",
            f"{row['tokens_in']:,}{more}",
            f"{row['tokens_out']:,}{more}",
            _money(row["money"], row["currency"]),
            _when(row["first"]),
            _when(row["last"]),
        )
    return table


_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("endpoint", "left"),
    ("purse", "left"),
    ("replies", "right"),
    ("tokens in", "right"),
    ("tokens out", "right"),
    ("money", "right"),
    ("first", "left"),
    ("last", "left"),
)


def purses_table(purses: Iterable[Purse]) -> Table:
    """A line a purse; both parts count against a budget.

    Unaccounted is the most that replies may have cost which never arrived, or whose tokens the endpoint did not count.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="purses", title_justify="left")
    table.add_column("purse", overflow="fold")
    for name in ("tokens", "money", "unaccounted tokens, at most", "unaccounted money, at most"):
        table.add_column(name, justify="right")
    for purse in purses:
        money = purse.money or purse.lost_money
        table.add_row(
            Text(purse.name),
            f"{purse.tokens:,}",
            _money(purse.money if money else None, purse.currency),
            f"{purse.lost_tokens:,}" if purse.lost_tokens else "-",
            _money(purse.lost_money or None, purse.currency),
        )
    return table


def _money(amount: float | None, currency: str | None) -> str:
    return "-" if amount is None else f"{amount:,.4f} {currency or ''}".rstrip()


def _when(seconds: float) -> str:
    """Local time, to the minute."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
