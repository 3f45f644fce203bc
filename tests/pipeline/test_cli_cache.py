"""`unteach cache` as a user calls it, and what the progress bars of long asking show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unteach.endpoints.contract import ENDPOINTS, Budget, Completion, Message, Prompt
from unteach.endpoints.replies import Replies
from unteach.endpoints.service import Service


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """Three replies of two endpoints; the second one's money was counted, and one reply of it was lost."""
    path = tmp_path / "replies.sqlite"
    monkeypatch.setenv("UNTEACH_REPLIES", str(path))
    prompts = [Prompt(messages=(Message(role="user", text=f"Wie heißt Nummer {number}?"),)) for number in range(2)]
    rules = [{"when": "nummer", "say": "Mös [bold]"}]
    prices = {"price_in": 1e6, "price_out": 2e6, "currency": "EUR", "budget": {"purse": "mine"}}
    with Service(ENDPOINTS.parse({"name": "scripted", "rules": rules})) as service:
        list(service.ask(prompts))
    priced = ENDPOINTS.parse({"name": "scripted", "rules": rules, "max_tokens": 7, **prices})
    with Service(priced) as service:
        list(service.ask(prompts[:1]))
    replies = Replies(path)
    replies.claim("lost", 60, Budget(purse="mine"), "EUR", 1234, 5.5)
    replies.release("lost", lost=True)
    return path


def rows(text: str) -> list[list[str]]:
    """The cells of every line, which stand at least two blanks apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines() if line.strip()]


def test_show_counts_by_endpoint_and_purse(unteach, kept) -> None:
    result = unteach("cache", "show")
    assert result.returncode == 0, result.stderr
    table = rows(result.stdout)
    assert table[0] == ["replies", str(kept)]
    # every prompt has 4 words and every reply 2
    assert ["scripted", "default", "2", "8", "4", "-"] in [row[:6] for row in table]
    assert ["scripted", "mine", "1", "4", "2", "8.0000 EUR"] in [row[:6] for row in table]
    assert ["default", "12", "-", "-", "-"] in table
    assert ["mine", "6", "8.0000 EUR", "1,234", "5.5000 EUR"] in table
    assert unteach("cache").stdout == result.stdout


def test_tokens_that_nobody_counted_are_marked(unteach, tmp_path) -> None:
    replies = Replies(tmp_path / "other.sqlite")
    replies.keep("a", "m at place", '{"prompt": 1}', Completion(text="b"), None, "USD", "default")
    replies.keep("c", "m at place", '{"prompt": 2}', Completion(text="d", tokens_in=5, tokens_out=6), None, "USD", "p")
    result = unteach("cache", "--replies", "other.sqlite")
    assert ["m at place", "default", "1", "0+", "0+", "-"] in [row[:6] for row in rows(result.stdout)]
    assert ["m at place", "p", "1", "5", "6", "-"] in [row[:6] for row in rows(result.stdout)]


def test_export_writes_every_reply_with_its_request(unteach, kept, tmp_path) -> None:
    result = unteach("cache", "export", "out/all.jsonl")
    assert result.returncode == 0 and "3 replies" in result.stdout, result.stderr
    written = (tmp_path / "out" / "all.jsonl").read_text(encoding="utf-8")
    entries = [json.loads(line) for line in written.splitlines()]
    assert entries == list(Replies(kept).export()) and len(entries) == 3
    assert "Wie heißt Nummer 0?" in written and {entry["text"] for entry in entries} == {"Mös [bold]"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["all.jsonl"]
    assert unteach("cache", "export", "-").stdout == written
    assert unteach("cache", "export", "-", "--replies", kept).stdout == written


def test_an_export_that_is_stopped_leaves_the_old_file(kept, tmp_path, monkeypatch) -> None:
    from unteach.commands import cache

    target = tmp_path / "all.jsonl"
    target.write_text("old\n", encoding="utf-8")

    def stopped(self: Replies):
        yield {"key": "a"}
        raise KeyboardInterrupt

    monkeypatch.setattr(Replies, "export", stopped)
    with pytest.raises(KeyboardInterrupt):
        cache.export(target, kept)
    assert target.read_text(encoding="utf-8") == "old\n" and not list(tmp_path.glob(".*.partial"))


@pytest.mark.parametrize("command", [(), ("show",), ("export", "all.jsonl"), ("export", "-")])
def test_without_kept_replies_there_is_nothing_to_show_and_nothing_is_made(unteach, tmp_path, command) -> None:
    result = unteach("cache", *command, UNTEACH_REPLIES=str(tmp_path / "none" / "replies.sqlite"))
    assert result.returncode == 0 and not result.stdout and "no replies are kept yet" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("export", "all.csv"), "name a file that ends in .jsonl"),
        (("--replies", "a.sqlite", "show"), "write --replies after show"),
        (("show", "--replies", "damaged.sqlite"), "move the file aside if it is damaged"),
    ],
)
def test_what_cannot_be_done_is_explained(unteach, tmp_path, command, message) -> None:
    (tmp_path / "damaged.sqlite").write_text("This is no database, whatever its name says." * 9, encoding="utf-8")
    result = unteach("cache", *command)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert message in " ".join(result.stderr.split())
