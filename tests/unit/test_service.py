"""The service around an endpoint: order, room, trying again, stopping, and that what is paid for is kept."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unteach.endpoints.contract import Again, Budget, Client, Completion, Endpoint, Message, Prompt, Refused
from unteach.endpoints.replies import Replies
from unteach.endpoints.service import Ask, BudgetReached, Service, Unfinished, ask_one, request_text
from unteach.errors import UserError

Answer = Callable[[str], Awaitable[str | Completion]]


class Fake(Endpoint):
    """Answers as a test's own function does, and counts."""

    @property
    def title(self) -> str:
        return "fake"

    def open(self) -> Client:
        return _CLIENTS[-1]


class Player(Client):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: Counter[str] = Counter()
        self.now = self.most = 0
        self.closed = False

    async def complete(self, prompt: Prompt) -> Completion:
        text = prompt.messages[-1].text
        self.asked[text] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            reply = await self.answer(text)
        finally:
            self.now -= 1
        return reply if isinstance(reply, Completion) else Completion(text=reply, tokens_in=1, tokens_out=1)

    async def close(self) -> None:
        assert self.now == 0
        self.closed = True


_CLIENTS: list[Player] = []


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch, caplog) -> Iterator[None]:
    """A file of its own for every test; no thread is left, and the loop has nothing to complain of."""
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    yield
    gc.collect()
    end = time.monotonic() + 5
    while any(thread.name == "endpoint" for thread in threading.enumerate()):
        assert time.monotonic() < end, "a loop's thread goes on"
        time.sleep(0.01)
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


def fake(answer: Answer, **settings) -> tuple[Fake, Player]:
    _CLIENTS.append(Player(answer))
    quick = {"first_wait_s": 0.001, "timeout_s": 10, "concurrency": 4}
    return Fake(**{**quick, **settings}), _CLIENTS[-1]


async def echo(text: str) -> str:
    await asyncio.sleep(0.002 * (hash(text) % 3))
    return f"<{text}>"


def prompt(text: str, **more) -> Prompt:
    return Prompt(messages=(Message(role="user", text=text),), **more)


def ask(endpoint: Endpoint, texts: list[str]) -> list[str]:
    with Service(endpoint) as service:
        return [reply.text for reply in service.ask(map(prompt, texts))]


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_replies_come_in_order_and_are_kept() -> None:
    endpoint, client = fake(echo)
    for _ in range(2):
        assert ask(endpoint, numbers(50)) == [f"<{number}>" for number in range(50)]
    assert client.asked == dict.fromkeys(numbers(50), 1)
    assert client.most == 4
    assert client.closed


def test_no_more_items_are_taken_than_there_is_room_for() -> None:
    taken = 0

    def items() -> Iterator[Prompt]:
        nonlocal taken
        for taken in range(1, 2001):
            yield prompt(str(taken))

    endpoint, _ = fake(echo, concurrency=1)
    with Service(endpoint) as service:
        for received, _ in enumerate(service.ask(items())):
            assert taken - received <= 100
            if received == 200:
                break


def test_the_same_prompt_many_times_at_once_is_asked_once() -> None:
    endpoint, client = fake(echo)
    assert ask(endpoint, ["a"] * 30 + ["b"]) == ["<a>"] * 30 + ["<b>"]
    assert client.asked == {"a": 1, "b": 1}


def test_draws_are_replies_of_their_own() -> None:
    endpoint, client = fake(echo)
    with Service(endpoint) as service:
        list(service.ask([prompt("a"), prompt("a", draw=1), prompt("a", draw=1)]))
    assert client.asked == {"a": 2}


def test_two_services_at_once_on_one_set_of_replies_ask_once() -> None:
    replies = Replies()

    async def slow(text: str) -> str:
        await asyncio.sleep(0.01)
        return text

    endpoint, client = fake(slow)

    def work() -> list[str]:
        with Service(endpoint, replies) as service:
            return [reply.text for reply in service.ask(map(prompt, numbers(20)))]

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        assert [done.result() for done in [threads.submit(work) for _ in range(3)]] == [numbers(20)] * 3
    assert client.asked == dict.fromkeys(numbers(20), 1)


def test_it_works_beside_a_loop_that_runs() -> None:
    async def cell_of_a_notebook() -> list[str]:
        return ask(fake(echo)[0], ["a", "b"])

    assert asyncio.run(cell_of_a_notebook()) == ["<a>", "<b>"]


def test_jobs_ask_as_often_as_they_need() -> None:
    async def twice(ask: Ask, text: str) -> str:
        first = await ask(prompt(text))
        return (await ask(prompt(first.text))).text

    endpoint, _ = fake(echo)
    with Service(endpoint) as service:
        assert list(service.map(twice, ["a", "b"])) == ["<<a>>", "<<b>>"]

    async def only(ask: Ask) -> str:
        return await twice(ask, "c")

    assert ask_one(endpoint, only) == "<<c>>"


def test_an_endpoint_that_does_not_open_ends_its_thread() -> None:
    class Closed(Fake):
        def open(self) -> Client:
            raise UserError("there is no key")

    with pytest.raises(UserError, match="there is no key"), Service(Closed()):
        pass


def test_a_service_can_be_entered_again() -> None:
    endpoint, _ = fake(echo)
    service = Service(endpoint)
    for text in ("a", "b"):
        with service:
            assert [reply.text for reply in service.ask([prompt(text)])] == [f"<{text}>"]


def test_a_generator_that_is_dropped_keeps_what_is_on_its_way() -> None:
    async def slow(text: str) -> str:
        await asyncio.sleep(0.05)
        return text

    endpoint, client = fake(slow)
    with Service(endpoint) as service:
        for reply in service.ask(map(prompt, numbers(50))):
            assert reply.text == "0"
            break
        gc.collect()
        asked = dict(client.asked)
        assert 1 <= len(asked) <= 8
        assert [reply.text for reply in service.ask(map(prompt, asked))] == list(asked)
    assert client.asked == asked


def test_a_generator_that_outlives_its_service_keeps_too_and_does_not_hang() -> None:
    async def slow(text: str) -> str:
        await asyncio.sleep(0.05)
        return text

    endpoint, client = fake(slow)
    with Service(endpoint) as service:
        left = service.ask(map(prompt, numbers(50)))
        assert next(left).text == "0"
    left.close()
    asked = dict(client.asked)
    assert client.closed
    assert ask(endpoint.model_copy(update={"offline": True}), list(asked)) == list(asked)


def test_a_refused_prompt_disturbs_no_other() -> None:
    async def choosy(text: str) -> str:
        if int(text) % 3 == 0:
            raise Refused("not this one")
        return await echo(text)

    async def job(ask: Ask, text: str) -> str | None:
        try:
            return (await ask(prompt(text))).text
        except Refused:
            return None

    endpoint, client = fake(choosy)
    with Service(endpoint) as service:
        found = list(service.map(job, numbers(30)))
        assert found == [None if number % 3 == 0 else f"<{number}>" for number in range(30)]
        with pytest.raises(Refused, match="not this one"):
            list(service.ask(map(prompt, numbers(4))))
    assert set(client.asked.values()) <= {1, 2}
    assert Replies().purse("default").lost_tokens == 0


def test_what_was_withheld_is_not_bought_again() -> None:
    async def withheld(text: str) -> Completion:
        return Completion(text="", finish="filter", tokens_in=5, tokens_out=0)

    endpoint, client = fake(withheld)
    for _ in range(2):
        with pytest.raises(Refused):
            ask(endpoint, ["a"])
    assert client.asked == {"a": 1}
    assert Replies().purse("default").tokens == 5


def failing(times: int, **more) -> Answer:
    left: Counter[str] = Counter()

    async def answer(text: str) -> str:
        left[text] += 1
        if left[text] <= times:
            raise Again("busy", **more)
        return await echo(text)

    return answer


def test_it_tries_again_as_often_as_it_is_told() -> None:
    endpoint, client = fake(failing(3), attempts=4)
    assert ask(endpoint, ["a", "b"]) == ["<a>", "<b>"]
    assert client.asked == {"a": 4, "b": 4}


def test_a_prompt_without_a_reply_is_an_error_when_all_others_are_done() -> None:
    async def poor(text: str) -> str:
        if text in ("3", "7"):
            raise Again("busy")
        return await echo(text)

    endpoint, client = fake(poor, attempts=3)
    found = []
    with Service(endpoint) as service, pytest.raises(Unfinished, match=r"2 of the prompts .* busy\. All others are"):
        found.extend(reply.text for reply in service.ask(map(prompt, numbers(20))))
    assert found == [f"<{number}>" for number in range(20) if number not in (3, 7)]
    assert client.asked["3"] == client.asked["7"] == 3
    assert len(list(Replies().export())) == 18


def test_it_stops_when_so_many_fail_in_a_row_that_it_is_no_use() -> None:
    endpoint, client = fake(failing(10**6), attempts=2, concurrency=2)
    with pytest.raises(Unfinished, match="busy"):
        ask(endpoint, numbers(1000))
    assert 6 <= len(client.asked) <= 12

    async def every_other(text: str) -> str:
        if int(text) % 2:
            raise Again("busy")
        return "yes"

    endpoint, client = fake(every_other, attempts=1, concurrency=2)
    with pytest.raises(Unfinished, match="500 of the prompts"):
        ask(endpoint, numbers(1000))
    assert len(client.asked) == 1000


def test_waiting_as_told_and_never_less_than_its_own_way() -> None:
    endpoint, client = fake(failing(1, wait=0.2))
    started = time.monotonic()
    ask(endpoint, ["a"])
    assert time.monotonic() - started >= 0.2
    endpoint, client = fake(failing(2, wait=0.0), first_wait_s=0.1)
    started = time.monotonic()
    ask(endpoint, ["b"])
    assert time.monotonic() - started >= 0.05 + 0.1
    endpoint, client = fake(failing(1, wait=61))
    with pytest.raises(Unfinished):
        ask(endpoint, ["c"])
    assert client.asked == {"c": 1}


def test_an_error_for_all_does_not_wait_for_one_that_waits() -> None:
    async def answer(text: str) -> str:
        if text == "0":
            raise Again("busy", wait=None)
        await asyncio.sleep(0.05)
        raise UserError("the key is wrong")

    endpoint, client = fake(answer, first_wait_s=50)
    started = time.monotonic()
    with pytest.raises(UserError, match="the key is wrong"):
        ask(endpoint, numbers(100))
    assert time.monotonic() - started < 5
    assert sum(client.asked.values()) <= 8


def test_an_error_in_a_job_keeps_what_is_on_its_way() -> None:
    async def job(ask: Ask, text: str) -> str:
        if text == "0":
            await asyncio.sleep(0.02)
            raise ZeroDivisionError
        return (await ask(prompt(text))).text

    async def slow(text: str) -> str:
        await asyncio.sleep(0.1)
        return text

    endpoint, client = fake(slow)
    with Service(endpoint) as service, pytest.raises(ZeroDivisionError):
        list(service.map(job, numbers(100)))
    assert len(client.asked) == len(list(Replies().export())) == 4


def test_asks_that_a_job_leaves_behind_are_kept_and_make_no_noise() -> None:
    async def answer(text: str) -> str:
        await asyncio.sleep(0.01 if text == "bad" else 0.1)
        if text != "good":
            raise Refused("no")
        return text

    async def job(ask: Ask, _: None) -> None:
        await asyncio.gather(ask(prompt("bad")), ask(prompt("worse")), ask(prompt("good")))

    endpoint, client = fake(answer)
    with Service(endpoint) as service, pytest.raises(Refused):
        list(service.map(job, [None]))
    assert client.asked == {"bad": 1, "worse": 1, "good": 1}
    assert [entry["text"] for entry in Replies().export()] == ["good"]


def test_a_reply_that_does_not_end_is_cut_off_and_counts_as_lost() -> None:
    calls = 0

    async def drip(text: str) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.sleep(60)
        return text

    endpoint, _ = fake(drip, timeout_s=0.05, max_tokens=7)
    assert ask(endpoint, ["a"]) == ["a"]
    purse = Replies().purse("default")
    assert (purse.tokens, purse.lost_tokens) == (2, sum(endpoint.most(prompt("a"))))


@pytest.mark.parametrize("counted", [True, False])
def test_a_budget_holds_also_where_nobody_counts(counted) -> None:
    async def answer(text: str) -> Completion:
        await asyncio.sleep(0.001)
        used = {"tokens_in": 40, "tokens_out": 60} if counted else {}
        return Completion(text="x", **used)

    most = sum(fake(answer, max_tokens=100)[0].most(prompt("10")))
    endpoint, client = fake(answer, max_tokens=100, budget=Budget(tokens=1000))
    with pytest.raises(BudgetReached, match="of 1,000 tokens, next up to"):
        ask(endpoint, [str(number) for number in range(10, 60)])
    assert len(client.asked) == (1000 - most) // 100 + 1 if counted else 1000 // most
    assert len(list(Replies().export())) == len(client.asked)


def test_money_needs_prices() -> None:
    with pytest.raises(UserError, match="price_in and price_out"):
        Service(fake(echo, budget=Budget(money=1.0))[0])


def test_offline_uses_what_is_kept(monkeypatch) -> None:
    endpoint, client = fake(echo)
    ask(endpoint, ["a"])
    monkeypatch.setenv("UNTEACH_OFFLINE", "1")
    assert ask(endpoint, ["a"]) == ["<a>"]
    with pytest.raises(UserError, match="offline"):
        ask(endpoint, ["a", "b"])
    assert client.asked == {"a": 1}


def test_a_failing_store_stops_the_work() -> None:
    endpoint, client = fake(echo)
    with Service(endpoint) as service:
        service.replies.claim = lambda *_: (_ for _ in ()).throw(UserError("the disk is full"))
        with pytest.raises(UserError, match="the disk is full"):
            list(service.ask(map(prompt, numbers(20))))
    assert client.asked == {}


@pytest.mark.parametrize(
    ("text", "sent"),
    [("a\ud800b", "a\ufffdb"), ("\udc80", "\ufffd"), ("\ud83d\ude00", "😀"), ("a\x00b", "a\x00b"), ("", "")],
)
def test_texts_that_no_file_can_hold_are_mended_both_ways(text, sent) -> None:
    async def same(asked: str) -> str:
        assert asked == sent
        return text + "!"

    endpoint, client = fake(same)
    for _ in range(2):
        assert ask(endpoint, [text]) == [sent + "!"]
    assert client.asked == {sent: 1}
    json.dumps(list(Replies().export()), ensure_ascii=False).encode()


def test_a_long_prompt() -> None:
    text = "ж" * 1_000_000
    endpoint, client = fake(echo)
    for _ in range(2):
        assert ask(endpoint, [text]) == [f"<{text}>"]
    assert client.asked[text] == 1


anything = st.text(st.characters())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(anything, values, max_size=4), anything, st.integers(0, 9), st.dictionaries(anything, values))
def test_equal_prompts_have_equal_texts_and_others_have_not(identity, text, draw, schema) -> None:
    asked = prompt(text, draw=draw, answer_schema=schema)
    written = request_text(identity, asked)
    turned = dict(reversed(schema.items()))
    again = prompt(text, draw=draw, answer_schema=turned)
    assert request_text(dict(reversed(identity.items())), again) == written
    messages = [{"role": "user", "text": text}]
    expected = {"messages": messages, "answer_schema": schema, "draw": draw}
    assert json.loads(written) == {"endpoint": identity, "prompt": expected}
    for other in (prompt(text + "x"), prompt(text, draw=draw + 1), prompt(text, draw=draw)):
        assert (request_text(identity, other) == written) == (other == asked)
    assert request_text({**identity, "model": [identity]}, asked) != written
