"""Every reply that was ever paid for, in one SQLite file that processes share.

A reply is kept under the hash of the endpoint's identity and the prompt, before anyone uses it. While a prompt is being
asked, a claim keeps others from asking it too, and holds the most that it may cost against the purse it is paid from.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unteach.endpoints.contract import Budget, Completion
from unteach.errors import UserError
from unteach.store import cache_folder

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies(
    key TEXT PRIMARY KEY, endpoint TEXT NOT NULL, request TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,
    tokens_in INTEGER, tokens_out INTEGER, money REAL, currency TEXT, purse TEXT NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims(
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL, purse TEXT NOT NULL, tokens INTEGER NOT NULL,
    money REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS purses(
    name TEXT PRIMARY KEY, currency TEXT NOT NULL, tokens INTEGER NOT NULL DEFAULT 0, money REAL NOT NULL DEFAULT 0,
    lost_tokens INTEGER NOT NULL DEFAULT 0, lost_money REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""

Granted = Literal["granted", "held", "full", "over"]


@dataclass(frozen=True)
class Purse:
    """What was bought under one name. Lost: the most that replies may have cost which never arrived."""

    name: str
    currency: str
    tokens: int = 0
    money: float = 0.0
    lost_tokens: int = 0
    lost_money: float = 0.0


def replies_file() -> Path:
    """``$UNTEACH_REPLIES``, or ``replies.sqlite`` in unteach's own folder in the user's cache."""
    return Path(os.environ.get("UNTEACH_REPLIES") or cache_folder() / "replies.sqlite")


class Replies:
    """The kept replies. Safe for several threads and processes; a connection a thread."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = replies_file() if path is None else path
        self._local = threading.local()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{id(self)}"

    @property
    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = self._connect()
        return db

    def _connect(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise UserError(f"{self.path} was written by another version of unteach (format {version}).")
            if version == 0:
                db.executescript(_SCHEMA)
                db.execute(f"PRAGMA user_version={_VERSION}")
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"replies cannot be kept in {self.path}: {error}. Nothing is asked before it can be kept; move the "
                "file aside if it is damaged, or name another one in UNTEACH_REPLIES."
            ) from error
        return db

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that no other writer can come between."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise UserError(f"replies cannot be kept in {self.path}: {error}. What was kept before is safe.") from error

    def get(self, key: str) -> Completion | None:
        """The reply of this key, if it was ever bought."""
        try:
            row = self._db.execute(
                "SELECT text, finish, tokens_in, tokens_out FROM replies WHERE key = ?", (key,)
            ).fetchone()
        except sqlite3.Error as error:
            raise UserError(f"kept replies cannot be read from {self.path}: {error}.") from error
        return row and Completion.model_construct(
            text=row[0], finish=row[1], tokens_in=row[2], tokens_out=row[3]
        )  # as it was written: checked then

    def claim(self, key: str, seconds: float, budget: Budget, currency: str, tokens: int, money: float) -> Granted:
        """Ask for the right to ask: for so many seconds, at no more than this cost.

        "held": another one is asking this prompt. "full": the budget may have room once others have their replies.
        "over": the budget has no room for it.
        """
        now = time.time()
        with self._writing() as db:
            self._drop_dead(db, now)
            if db.execute("SELECT 1 FROM claims WHERE key = ? AND owner != ?", (key, self._owner)).fetchone():
                return "held"
            db.execute("INSERT OR IGNORE INTO purses(name, currency) VALUES (?, ?)", (budget.purse, currency))
            purse = _purse(db, budget.purse)
            if budget.money is not None and purse.currency != currency:
                raise UserError(
                    f"budget.purse: {budget.purse!r} is kept in {purse.currency}, this endpoint is paid in {currency}; "
                    "give it a purse of its own."
                )
            reserved = db.execute(
                "SELECT coalesce(sum(tokens), 0), coalesce(sum(money), 0) FROM claims WHERE purse = ? AND key != ?",
                (budget.purse, key),
            ).fetchone()
            for limit, spent, held, more in (
                (budget.tokens, purse.tokens + purse.lost_tokens, reserved[0], tokens),
                (budget.money, purse.money + purse.lost_money, reserved[1], money),
            ):
                if limit is not None and spent + more > limit:
                    return "over"
                if limit is not None and spent + held + more > limit:
                    return "full"
            db.execute(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?)",
                (key, self._owner, now + seconds, budget.purse, tokens, money),
            )
        return "granted"

    def _drop_dead(self, db: sqlite3.Connection, now: float) -> None:
        """Give up claims of processes that are gone; their replies may have been charged for."""
        for key, owner, until, purse, tokens, money in db.execute("SELECT * FROM claims").fetchall():
            host, pid, _ = owner.split(":")
            if until < now or (host == socket.gethostname() and not _alive(int(pid))):
                self._lose(db, purse, tokens, money)
                db.execute("DELETE FROM claims WHERE key = ?", (key,))

    @staticmethod
    def _lose(db: sqlite3.Connection, purse: str, tokens: int, money: float) -> None:
        db.execute(
            "UPDATE purses SET lost_tokens = lost_tokens + ?, lost_money = lost_money + ? WHERE name = ?",
            (tokens, money, purse),
        )

    def keep(
        self, key: str, endpoint: str, request: str, reply: Completion, money: float | None, currency: str, purse: str
    ) -> None:
        """Keep a reply and end its claim; a second reply of the same key changes nothing but what was spent."""
        spent = (reply.tokens_in or 0) + (reply.tokens_out or 0)
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO purses(name, currency) VALUES (?, ?)", (purse, currency))
            db.execute(
                "INSERT OR IGNORE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    endpoint,
                    request,
                    reply.text,
                    reply.finish,
                    reply.tokens_in,
                    reply.tokens_out,
                    money,
                    currency if money is not None else None,
                    purse,
                    time.time(),
                ),
            )
            db.execute(
                "UPDATE purses SET tokens = tokens + ?, money = money + ? WHERE name = ?", (spent, money or 0.0, purse)
            )
            db.execute("DELETE FROM claims WHERE key = ?", (key,))

    def release(self, key: str, *, lost: bool = False) -> None:
        """End this process's claim without a reply; a lost one counts at its most against the purse."""
        with self._writing() as db:
            row = db.execute(
                "SELECT purse, tokens, money FROM claims WHERE key = ? AND owner = ?", (key, self._owner)
            ).fetchone()
            if row and lost:
                self._lose(db, *row)
            db.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, self._owner))

    def purse(self, name: str) -> Purse:
        """What was bought under a name so far."""
        return _purse(self._db, name)

    def purses(self) -> list[Purse]:
        """Every purse, by name."""
        return [_purse(self._db, name) for (name,) in self._db.execute("SELECT name FROM purses ORDER BY name")]

    def totals(self) -> list[dict[str, Any]]:
        """Replies, tokens, money and time span of each endpoint and purse."""
        rows = self._db.execute(
            "SELECT endpoint, purse, currency, count(*), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0), "
            "sum(money), sum(tokens_in IS NULL OR tokens_out IS NULL), min(created), max(created) "
            "FROM replies GROUP BY endpoint, purse, currency ORDER BY endpoint, purse"
        )
        names = ("endpoint", "purse", "currency", "replies", "tokens_in", "tokens_out", "money", "uncounted")
        return [dict(zip((*names, "first", "last"), row, strict=True)) for row in rows]

    def export(self) -> Iterator[dict[str, Any]]:
        """Every reply with its request, oldest first, as plain values; one at a time."""
        names = ("key", "endpoint", "request", "text", "finish", "tokens_in", "tokens_out", "money", "currency")
        rows = self._db.execute(f"SELECT {', '.join(names)}, purse, created FROM replies ORDER BY created, key")
        for row in rows:
            entry = dict(zip((*names, "purse", "created"), row, strict=True))
            yield entry | {"request": json.loads(entry["request"])}


def _purse(db: sqlite3.Connection, name: str) -> Purse:
    row = db.execute("SELECT * FROM purses WHERE name = ?", (name,)).fetchone()
    return Purse(*row) if row else Purse(name, "USD")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
