"""The file of kept replies: claims, purses, several at once, and files that cannot be used."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unteach.endpoints.contract import Budget, Completion
from unteach.endpoints.replies import Purse, Replies, replies_file
from unteach.errors import UserError

REPLY = Completion(text="Brücke", finish="length", tokens_in=3, tokens_out=4)


@pytest.fixture
def replies(tmp_path) -> Replies:
    return Replies(tmp_path / "deep" / "replies.sqlite")


def claim(replies: Replies, key: str = "k", *, tokens: int = 10, money: float = 0.0, **more) -> str:
    currency = more.pop("currency", "USD")
    return replies.claim(key, 60, Budget(**more), currency, tokens, money)


def keep(replies: Replies, key: str = "k", reply: Completion = REPLY, money: float | None = None, **more) -> None:
    replies.keep(key, "m at place", '{"a": 1}', reply, money, more.get("currency", "USD"), more.get("purse", "default"))


def elsewhere(work, *arguments, **more):
    """Done in another thread, which is as another process to the file."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(work, *arguments, **more).result()


def direct(replies: Replies, command: str, *values: object) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(replies.path)) as db, db:
        return db.execute(command, values).fetchall()


def test_the_file_is_where_the_variable_says(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "own.sqlite"))
    assert Replies().path == replies_file() == tmp_path / "own.sqlite"
    monkeypatch.delenv("UNTEACH_REPLIES")
    monkeypatch.setenv("UNTEACH_CACHE", str(tmp_path))
    assert replies_file() == tmp_path / "replies.sqlite"


def test_a_reply_is_claimed_kept_and_found_again(replies) -> None:
    assert replies.get("k") is None
    assert claim(replies) == "granted"
    assert claim(replies) == "granted"  # one's own, again
    keep(replies)
    assert direct(replies, "SELECT * FROM claims") == []
    assert replies.get("k") == Replies(replies.path).get("k") == REPLY


def test_one_at_a_time_asks_a_prompt(replies) -> None:
    assert claim(replies) == "granted"
    assert elsewhere(claim, replies) == "held"
    assert elsewhere(claim, Replies(replies.path)) == "held"
    assert elsewhere(claim, replies, "other") == "granted"
    elsewhere(replies.release, "k")  # not its own
    assert elsewhere(claim, replies) == "held"
    replies.release("k")
    assert elsewhere(claim, replies) == "granted"


def test_a_reply_that_came_since_one_looked_is_not_asked_for(replies) -> None:
    assert claim(replies) == "granted"
    assert elsewhere(replies.get, "k") is None
    keep(replies)
    assert elsewhere(claim, replies) == "kept"


def owned_by(replies: Replies, owner: str, until: float) -> None:
    claim(replies, tokens=70, money=0.5)
    direct(replies, "UPDATE claims SET owner = ?, until = ?", owner, until)


@pytest.mark.parametrize("host", ["here", "fe80::1", ""])
def test_a_claim_ends_with_its_process_and_counts_as_lost(replies, monkeypatch, host) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    gone = subprocess.Popen(["true"])
    gone.wait()
    owned_by(replies, f"{host}:{gone.pid}:1", time.time() + 1000)
    assert claim(replies) == "granted"
    assert replies.purse("default") == Purse("default", "USD", lost_tokens=70, lost_money=0.5)


def test_a_living_or_distant_process_holds_its_claim_until_the_lease_ends(replies) -> None:
    for owner in (f"{socket.gethostname()}:{os.getppid()}:1", "far:away:99999999:1"):
        owned_by(replies, owner, time.time() + 1000)
        assert claim(replies) == "held"
        direct(replies, "UPDATE claims SET until = ?", time.time() - 1)
        assert claim(replies) == "granted"
        replies.release("k")
    assert replies.purse("default").lost_tokens == 140


def test_a_budget_counts_what_is_spent_lost_and_under_way(replies) -> None:
    def granted(key: str, most: int, purse: str = "p") -> str:
        return replies.claim(key, 60, Budget(purse=purse, tokens=100), "USD", most, 0.0)

    assert granted("a", 40) == "granted"
    keep(replies, "a", Completion(text="", tokens_in=20, tokens_out=10), purse="p")  # 30 spent
    assert granted("b", 20) == "granted"
    replies.release("b", lost=True)  # 20 lost
    assert granted("c", 25) == "granted"  # 25 under way
    assert granted("d", 26) == "full"
    assert granted("d", 25) == "granted"
    replies.release("d")
    assert granted("d", 51) == "over"
    assert granted("d", 51, purse="other") == "granted"


def test_replies_that_nobody_counted_count_at_their_most(replies) -> None:
    claim(replies, tokens=70, money=0.5)
    keep(replies, reply=Completion(text="a", tokens_in=3))
    assert replies.purse("default") == Purse("default", "USD", lost_tokens=70, lost_money=0.5)
    assert replies.totals()[0]["uncounted"] == 1


def test_a_purse_has_one_currency(replies) -> None:
    assert claim(replies, "free") == "granted"  # without money, no currency
    assert replies.purse("default").currency == ""
    assert claim(replies, "a", money=1.0, currency="EUR") == "granted"
    with pytest.raises(UserError, match="'default' is kept in EUR, this endpoint is paid in USD"):
        claim(replies, "b", money=1.0)
    assert claim(replies, "free") == "granted"
    assert claim(replies, "b", money=1.0, purse="dollars") == "granted"
    assert [(purse.name, purse.currency) for purse in replies.purses()] == [("default", "EUR"), ("dollars", "USD")]


def test_a_second_reply_changes_what_was_spent_and_nothing_else(replies) -> None:
    keep(replies, money=0.5)
    keep(replies, reply=Completion(text="other", tokens_in=1, tokens_out=1), money=0.25)
    assert replies.get("k") == REPLY
    assert replies.purse("default") == Purse("default", "USD", tokens=9, money=0.75)


def test_totals_and_export_hold_all(replies) -> None:
    keep(replies, "b", money=0.5)
    keep(replies, "a", Completion(text="x"))
    (free, priced) = sorted(replies.totals(), key=lambda total: total["tokens_in"])
    assert (free["replies"], free["uncounted"], free["money"]) == (1, 1, None)
    assert (priced["replies"], priced["tokens_in"], priced["tokens_out"], priced["money"]) == (1, 3, 4, 0.5)
    first, second = json.loads(json.dumps(list(replies.export())))
    assert [first["key"], second["key"]] == ["b", "a"]
    assert first["text"] == "Brücke" and first["request"] == {"a": 1} and first["purse"] == "default"
    assert first["created"] <= second["created"] <= time.time()


@given(st.text(), st.text(), st.sampled_from(["stop", "length", "filter", "other"]), st.none() | st.integers(0, 2**40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_any_reply_comes_back_as_it_was(replies, key, text, finish, tokens) -> None:
    reply = Completion(text=text, finish=finish, tokens_in=tokens, tokens_out=tokens)
    keep(replies, "first")
    direct(replies, "DELETE FROM replies")
    keep(replies, key, reply)
    assert replies.get(key) == reply


def test_many_make_one_file_and_share_it(tmp_path) -> None:
    """Eight threads with connections of their own: each key is granted to one of them."""
    for number in range(5):
        path = tmp_path / f"{number}.sqlite"
        together = threading.Barrier(8)

        def work(path: Path = path, together: threading.Barrier = together) -> int:
            together.wait()
            mine = Replies(path)
            granted = 0
            for key in map(str, range(30)):
                if claim(mine, key) == "granted":
                    granted += 1
                    keep(mine, key)
            return granted

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            counts = [future.result() for future in [threads.submit(work) for _ in range(8)]]
        assert sum(counts) == 30
        assert Replies(path).purse("default").tokens == 30 * 7


def test_a_file_that_is_no_database_is_named(tmp_path) -> None:
    path = tmp_path / "replies.sqlite"
    path.write_text("Dies ist ein Brief. " * 300)
    with pytest.raises(UserError, match=r"replies\.sqlite: file is not a database.*UNTEACH_REPLIES"):
        Replies(path).get("k")
    assert path.read_text().startswith("Dies ist")
    with pytest.raises(UserError, match="cannot be kept in"):
        Replies(tmp_path).get("k")
    with pytest.raises(UserError, match="cannot be kept in"):
        Replies(path / "below").get("k")


def test_a_file_of_a_later_version_is_left_alone(replies) -> None:
    keep(replies)
    direct(replies, "PRAGMA user_version=9")
    with pytest.raises(UserError, match="another version of unteach"):
        Replies(replies.path).get("k")


def test_a_file_that_is_damaged_inside_is_an_error_to_act_on(replies) -> None:
    for number in range(300):
        keep(replies, f"{number:03}")
    replies._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(replies.path.read_bytes())
    content[4096 + 1024 :] = b"\xff" * (len(content) - 4096 - 1024)
    replies.path.write_bytes(content)
    damaged = Replies(replies.path)
    for work in (
        lambda: [damaged.get(f"{number:03}") for number in range(300)],
        lambda: list(damaged.export()),
        damaged.totals,
        damaged.purses,
        lambda: damaged.purse("default"),
        lambda: claim(damaged),
    ):
        with pytest.raises(UserError, match=r"replies\.sqlite: .*(malformed|disk|corrupt)"):
            work()


def test_a_file_that_cannot_be_written_can_be_read(replies) -> None:
    keep(replies)
    replies._db.execute("PRAGMA query_only=1")
    assert replies.get("k") == REPLY
    with pytest.raises(UserError, match=r"readonly database.*What was kept before is safe"):
        claim(replies, "other")


def test_a_full_disk_stops_before_anything_is_asked(replies) -> None:
    keep(replies)
    replies._db.execute(f"PRAGMA max_page_count={replies._db.execute('PRAGMA page_count').fetchone()[0]}")

    def fill() -> None:
        for number in range(1000):
            claim(replies, f"{number:0100}")

    with pytest.raises(UserError, match="database or disk is full"):
        fill()
    assert replies.get("k") == REPLY
    assert Replies(replies.path).get("k") == REPLY
