"""The real OpenAI endpoint against a server that misbehaves: nothing is lost, nothing is paid twice."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty_server import FAULTS, USAGE, FaultyServer, good_text

from unteach.endpoints.contract import Budget, Message, Prompt
from unteach.endpoints.kinds.openai import OpenAI
from unteach.endpoints.replies import Replies
from unteach.endpoints.service import BudgetReached, Service
from unteach.errors import UserError

# What a user's own program does, in a process of its own.
_PROGRAM = """
import json, sys
from unteach.endpoints.contract import Message, Prompt
from unteach.endpoints.kinds.openai import OpenAI
from unteach.endpoints.service import BudgetReached, Service

settings, prompts = json.loads(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with Service(OpenAI(**settings)) as service:
        for reply in service.ask(Prompt(messages=(Message(role="user", text=prompt),)) for prompt in prompts):
            print(reply.text, flush=True)
except BudgetReached as reached:
    print("reached", flush=True)
"""


@pytest.fixture(autouse=True)
def replies(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "replies.sqlite"
    monkeypatch.setenv("UNTEACH_REPLIES", str(path))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-not-a-real-key")
    return path


def endpoint(server: FaultyServer, **settings) -> OpenAI:
    quick = {"timeout_s": 4, "first_wait_s": 0.01, "longest_wait_s": 5, "concurrency": 8}
    return OpenAI(model="m", base_url=server.url, **{**quick, **settings})


def prompt(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", text=text),))


def ask(found: OpenAI, texts: list[str]) -> list[str]:
    with Service(found) as service:
        return [reply.text for reply in service.ask(map(prompt, texts))]


def texts(count: int) -> list[str]:
    return [f"Was steht in Artikel {number}?" for number in range(count)]


class Program:
    """The program above, started; it asks when it is told to ``go``."""

    def __init__(self, server: FaultyServer, prompts: list[str], **settings) -> None:
        told = json.dumps([{**endpoint(server, **settings).model_dump(mode="json")}, prompts])
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.line() == "ready"

    def go(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def line(self) -> str:
        return self.process.stdout.readline().strip()

    def rest(self) -> list[str]:
        out, _ = self.process.communicate(timeout=60)
        return out.split("\n")[:-1]


def test_two_thousand_requests_with_faults_give_the_table_of_a_server_without(replies) -> None:
    asked = texts(2000)
    with FaultyServer(FAULTS, seed=3) as server:
        started = time.monotonic()
        table = ask(endpoint(server, concurrency=32), asked)
        print(f"{time.monotonic() - started:.1f} s, {sum(server.happened.values())} requests: {dict(server.happened)}")
        assert all(server.happened[fault] > 0 for fault in FAULTS)
        assert table == [good_text(text) for text in asked]
        assert server.paid == dict.fromkeys(asked, 1)
        requests = sum(server.happened.values())

        started = time.monotonic()
        assert ask(endpoint(server, concurrency=32), asked) == table
        print(f"{len(asked) / (time.monotonic() - started):.0f} requests a second from the kept replies")
        assert sum(server.happened.values()) == requests
    (purse,) = Replies(replies).purses()
    assert purse.tokens == 2000 * USAGE["total_tokens"]
    assert purse.tokens + purse.lost_tokens >= server.tokens


def test_after_kill_9_only_what_is_missing_is_asked(replies) -> None:
    asked = texts(120)
    with FaultyServer(delay_s=0.05) as server:
        program = Program(server, asked, concurrency=4)
        program.go()
        for _ in range(30):
            program.line()
        program.process.kill()
        program.process.wait()
        before = sum(server.paid.values())
        assert 30 <= before < 110
        assert ask(endpoint(server, concurrency=4), asked) == [good_text(text) for text in asked]
        twice = [text for text, times in server.paid.items() if times > 1]
        assert len(twice) <= 4  # those that were on their way
        assert max(server.paid.values()) <= 2
    (purse,) = Replies(replies).purses()
    assert purse.tokens + purse.lost_tokens >= server.tokens


def test_two_processes_pay_for_every_prompt_once() -> None:
    asked = texts(150)
    with FaultyServer({name: share for name, share in FAULTS.items() if "Retry" not in name}, seed=5) as server:
        programs = [Program(server, order, concurrency=6) for order in (asked, asked[::-1])]
        for program in programs:
            program.go()
        assert programs[0].rest() == [good_text(text) for text in asked]
        assert programs[1].rest() == [good_text(text) for text in asked[::-1]]
        assert server.paid == dict.fromkeys(asked, 1)


@pytest.mark.parametrize("limit", [{"tokens": 2500}, {"money": 0.0025}])
def test_a_budget_is_never_passed_and_can_be_raised(limit, replies) -> None:
    asked = texts(100)
    prices = {"price_in": 1.0, "price_out": 1.0, "max_tokens": 50, "known_as": "here"}
    faults = {"500": 0.05, "malformed JSON": 0.05}
    with FaultyServer(faults, seed=1, delay_s=0.01) as server:
        with pytest.raises(BudgetReached, match=r"purse 'default'.*raise the endpoint's budget"):
            ask(endpoint(server, budget=Budget(**limit), **prices), asked)
        assert 1000 < server.tokens <= 2500
        kept = Replies(replies).totals()[0]["replies"]
        assert kept == sum(server.paid.values())  # those on their way were kept

        more = {name: value * 100 for name, value in limit.items()}
        assert ask(endpoint(server, budget=Budget(**more), **prices), asked) == [good_text(text) for text in asked]
        assert server.paid == dict.fromkeys(asked, 1)


def test_two_processes_keep_one_budget() -> None:
    asked = texts(100)
    with FaultyServer(delay_s=0.02) as server:
        settings = {"budget": Budget(tokens=2500), "max_tokens": 50, "concurrency": 4}
        programs = [Program(server, half, **settings) for half in (asked[:50], asked[50:])]
        for program in programs:
            program.go()
        assert [program.rest()[-1] for program in programs] == ["reached", "reached"]
        assert 2000 < server.tokens <= 2500
        assert set(server.paid.values()) == {1}


@pytest.mark.parametrize("form", ["429, Retry-After in seconds", "429, Retry-After as a date"])
def test_all_wait_as_long_as_the_server_asks_one_of_them_to(form) -> None:
    asked = texts(40)
    with FaultyServer(once=form, after=9, delay_s=0.05) as server:
        assert ask(endpoint(server, concurrency=4), asked) == [good_text(text) for text in asked]
        ((told, until),) = server.told_to_wait
        arrivals = sorted(when for times in server.arrivals.values() for when in times)
        assert len(arrivals) == len(asked) + 1
        assert not [when for when in arrivals if told + 0.2 < when < until - 0.01]  # others were on their way
        assert len([when for when in arrivals if when > until]) > 20


def test_a_server_that_wants_more_patience_than_there_is_is_left_for_later() -> None:
    with FaultyServer(only="429, Retry-After in seconds", wait_s=60) as server:
        with pytest.raises(UserError, match=r"1 of the prompts have no reply .* 429"):
            ask(endpoint(server), ["a"])
        assert ask(endpoint(server), ["a"]) == [good_text("a")]


def test_a_wrong_key_stops_at_once_and_is_shown_nowhere(replies, monkeypatch, caplog, capfd) -> None:
    key = "sk-wrong-0123456789abcdef"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx2", "httpcore2", "asyncio"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    with FaultyServer(key="sk-right", delay_s=0.01) as server:
        with pytest.raises(UserError, match="the key in OPENAI_API_KEY is not accepted") as caught:
            ask(endpoint(server, concurrency=4, key_variable="OPENAI_API_KEY"), texts(200))
        assert len(server.bodies) <= 8
        monkeypatch.setenv("OPENAI_API_KEY", "sk-right")
        right = endpoint(server, key_variable="OPENAI_API_KEY")
        assert ask(right, texts(3)) == [good_text(text) for text in texts(3)]
    error: BaseException | None = caught.value
    while error is not None:
        assert key not in str(error)
        error = error.__cause__ or error.__context__
    assert caplog.records
    said = "".join(record.getMessage() + str(record.args) for record in caplog.records) + "".join(capfd.readouterr())
    exported = json.dumps(list(Replies(replies).export()))
    files = b"".join(path.read_bytes() for path in replies.parent.glob("replies.sqlite*"))
    assert len(files) > 1000
    for secret in (key, "sk-right"):
        assert secret not in said
        assert secret not in exported
        assert secret.encode() not in files


def test_a_reply_that_is_sent_twice_is_not_taken_for_the_next() -> None:
    asked = texts(20)
    with FaultyServer(only="response twice") as server:
        assert ask(endpoint(server, concurrency=2), asked) == [good_text(text) for text in asked]
        assert server.paid == dict.fromkeys(asked, 1)


def test_an_interruption_leaves_the_replies_on_their_way_kept(tmp_path) -> None:
    program = tmp_path / "program.py"
    interruptible = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job is not
    )
    program.write_text(
        interruptible + _PROGRAM.replace("except BudgetReached as reached:", "except KeyboardInterrupt:")
    )
    asked = texts(40)
    with FaultyServer(delay_s=0.5) as server:
        told = json.dumps([endpoint(server, concurrency=4).model_dump(mode="json"), asked])
        process = subprocess.Popen(
            [sys.executable, str(program), told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith("reply")
        time.sleep(0.2)
        os.kill(process.pid, 2)
        out, err = process.communicate(timeout=30)
        assert out.endswith("reached\n")
        assert err == ""
        with Service(endpoint(server, offline=True, concurrency=4)) as service:
            kept = [reply.text for reply in service.ask(prompt(text) for text in asked if server.paid[text])]
    assert kept == [good_text(text) for text in asked if server.paid[text]]
    assert 8 <= len(kept) < 20
