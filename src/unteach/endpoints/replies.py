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
from unteach.store import cache_folder, locked

_VERSION = 1
_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS replies(
    key TEXT PRIMARY KEY, endpoint TEXT NOT NULL, request TEXT NOT NULL, text TEXT NOT NULL, finish TEXT NOT NULL,
    tokens_in INTEGER, tokens_out INTEGER, money REAL, currency TEXT, purse TEXT NOT NULL, created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims(
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL, purse TEXT NOT NULL, tokens INTEGER NOT NULL,
    money REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS purses(
    name TEXT PRIMARY KEY, currency TEXT NOT NULL DEFAULT '',
    tokens INTEGER NOT NULL DEFAULT 0, money REAL NOT NULL DEFAULT 0,
    lost_tokens INTEGER NOT NULL DEFAULT 0, lost_money REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
PRAGMA user_version=1;
COMMIT;
"""

Granted = Literal["granted", "kept", "held", "full", "over"]


@dataclass(frozen=True)
class Purse:
    """What was bought under one name.

    Lost is what nobody counted, at the most that it may have cost: replies that never arrived or came without a count.
    The currency is empty until money is spent.
    """

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

    @property
    def _owner(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}"

    @property
    def _db(self) -> sqlite3.Connection:
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = self._connect()
        return db

    def _connect(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with locked(self.path.with_name(f".{self.path.name}.lock")):  # SQLite lets one at a time turn to WAL
                db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=NORMAL")
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version not in (0, _VERSION):
                    raise UserError(f"{self.path} was written by another version of unteach (format {version}).")
                if version == 0:
                    db.executescript(_SCHEMA)
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

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            yield self._db
        except sqlite3.Error as error:
            raise UserError(f"kept replies cannot be read from {self.path}: {error}.") from error

    def get(self, key: str) -> Completion | None:
        """The reply of this key, if it was ever bought."""
        with self._reading() as db:
            row = db.execute("SELECT text, finish, tokens_in, tokens_out FROM replies WHERE key = ?", (key,)).fetchone()
        return row and Completion.model_construct(
            text=row[0], finish=row[1], tokens_in=row[2], tokens_out=row[3]
        )  # as it was written: checked then

    def claim(self, key: str, seconds: float, budget: Budget, currency: str, tokens: int, money: float) -> Granted:
        """Ask for the right to ask: for so many seconds, at no more than this cost.

        "kept": there is a reply. "held": another one is asking this prompt. "full": the budget may have room once
        others have their replies. "over": the budget has no room for it.

        Raises:
            UserError: the purse is kept in another currency.
        """
        now = time.time()
        with self._writing() as db:
            if db.execute("SELECT 1 FROM replies WHERE key = ?", (key,)).fetchone():
                return "kept"
            self._drop_dead(db, now)
            if db.execute("SELECT 1 FROM claims WHERE key = ? AND owner != ?", (key, self._owner)).fetchone():
                return "held"
            purse = _opened(db, budget.purse, currency if money else "")
            if money and purse.currency != currency:
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
            host, pid, _ = owner.rsplit(":", 2)
            if until < now or (host == socket.gethostname() and not _alive(int(pid))):
                _lose(db, purse, tokens, money)
                db.execute("DELETE FROM claims WHERE key = ?", (key,))

    def keep(
        self, key: str, endpoint: str, request: str, reply: Completion, money: float | None, currency: str, purse: str
    ) -> None:
        """Keep a reply and end its claim; a second reply of the same key changes nothing but what was spent."""
        counted = reply.tokens_in is not None and reply.tokens_out is not None
        with self._writing() as db:
            _opened(db, purse, currency if money else "")
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
            if counted:
                spent = (reply.tokens_in or 0) + (reply.tokens_out or 0)
                add = "UPDATE purses SET tokens = tokens + ?, money = money + ? WHERE name = ?"
                db.execute(add, (spent, money or 0.0, purse))
            self._end(db, key, lost=not counted)

    def release(self, key: str, *, lost: bool = False) -> None:
        """End this process's claim without a reply; a lost one counts at its most against the purse."""
        with self._writing() as db:
            self._end(db, key, lost=lost)

    def _end(self, db: sqlite3.Connection, key: str, *, lost: bool) -> None:
        own = (key, self._owner)
        held = db.execute("SELECT purse, tokens, money FROM claims WHERE key = ? AND owner = ?", own).fetchone()
        if held and lost:
            _lose(db, *held)
        db.execute("DELETE FROM claims WHERE key = ? AND owner = ?", own)

    def purse(self, name: str) -> Purse:
        """What was bought under a name so far."""
        with self._reading() as db:
            return _purse(db, name)

    def purses(self) -> list[Purse]:
        """Every purse, by name."""
        with self._reading() as db:
            return [Purse(*row) for row in db.execute("SELECT * FROM purses ORDER BY name")]

    def totals(self) -> list[dict[str, Any]]:
        """Replies, tokens, money and time span of each endpoint and purse."""
        query = (
            "SELECT endpoint, purse, currency, count(*), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0), "
            "sum(money), sum(tokens_in IS NULL OR tokens_out IS NULL), min(created), max(created) "
            "FROM replies GROUP BY endpoint, purse, currency ORDER BY endpoint, purse"
        )
        names = ("endpoint", "purse", "currency", "replies", "tokens_in", "tokens_out", "money", "uncounted")
        with self._reading() as db:
            return [dict(zip((*names, "first", "last"), row, strict=True)) for row in db.execute(query)]

    def export(self) -> Iterator[dict[str, Any]]:
        """Every reply with its request, oldest first, as plain values; one at a time."""
        columns = "key, endpoint, request, text, finish, tokens_in, tokens_out, money, currency, purse, created"
        with self._reading() as db:
            for row in db.execute(f"SELECT {columns} FROM replies ORDER BY created, key"):
                entry = dict(zip(columns.split(", "), row, strict=True))
                yield entry | {"request": json.loads(entry["request"])}


def _opened(db: sqlite3.Connection, name: str, currency: str) -> Purse:
    """A purse, made if there is none; one without money takes the first currency it is given."""
    db.execute("INSERT OR IGNORE INTO purses(name) VALUES (?)", (name,))
    db.execute("UPDATE purses SET currency = ? WHERE name = ? AND currency = ''", (currency, name))
    return _purse(db, name)


def _lose(db: sqlite3.Connection, purse: str, tokens: int, money: float) -> None:
    add = "UPDATE purses SET lost_tokens = lost_tokens + ?, lost_money = lost_money + ? WHERE name = ?"
    db.execute(add, (tokens, money, purse))


def _purse(db: sqlite3.Connection, name: str) -> Purse:
    row = db.execute("SELECT * FROM purses WHERE name = ?", (name,)).fetchone()
    return Purse(*row) if row else Purse(name, "")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
