"""Asking an endpoint many things at once, and losing nothing: kept replies, one at a time a key, retries, budgets.

Work is given as jobs: asynchronous functions that ask as often as they need. A loop in a thread of its own runs as many
of them as there is room for, so that it also works beside a notebook's loop, and results come in the order of the jobs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import json
import os
import random
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, Self, TypeVar

from unteach.endpoints.contract import Again, Completion, Endpoint, Prompt
from unteach.endpoints.replies import Replies
from unteach.errors import UserError
from unteach.progress import NoProgress, Progress

T = TypeVar("T")
R = TypeVar("R")
Ask = Callable[[Prompt], Awaitable[Completion]]
Job = Callable[[Ask, T], Awaitable[R]]


class BudgetReached(UserError):
    """The next prompt might cost more than is left."""


class NoReply(Exception):
    """A prompt that has no reply after every attempt; it may have one another time."""


class Unfinished(UserError):
    """Some prompts have no reply yet; those that have one keep it."""


class _Stopped(Exception):
    """The work was given up before this prompt was sent."""


def request_text(endpoint: dict[str, Any], prompt: Prompt) -> str:
    """What decides a reply, as canonical JSON: the endpoint's identity and the prompt."""
    asked = prompt.model_dump(mode="json")
    return json.dumps({"endpoint": endpoint, "prompt": asked}, sort_keys=True, ensure_ascii=False)


class Service:
    """An endpoint in use. A context manager; not to be shared by threads.

    >>> with Service(endpoint) as service:
    ...     for reply in service.ask(prompts):
    ...         print(reply.text)
    """

    def __init__(self, endpoint: Endpoint, replies: Replies | None = None, progress: Progress | None = None) -> None:
        endpoint.check_budget()
        self.endpoint = endpoint
        self.replies = replies or Replies()
        self._progress = progress or NoProgress()
        self._identity = endpoint.identity()
        self._offline = endpoint.offline or os.environ.get("UNTEACH_OFFLINE", "") not in ("", "0")
        self._asked: dict[str, asyncio.Task[Completion]] = {}
        self._stopping = False
        self._not_before = 0.0  # a server that asks one of us to wait means all of us
        self._failed_in_a_row = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()
        self._run(self._open()).result()
        return self

    async def _open(self) -> None:
        self._places = asyncio.Semaphore(self.endpoint.concurrency)
        self._client = None if self._offline else self.endpoint.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        try:
            if self._client is not None:
                self._run(self._client.close()).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, R]) -> concurrent.futures.Future[R]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def ask(
        self, prompts: Iterable[Prompt], *, label: str = "asking", total: float | None = None
    ) -> Iterator[Completion]:
        """A reply to every prompt, in order; see ``map``."""

        async def just_ask(ask: Ask, prompt: Prompt) -> Completion:
            return await ask(prompt)

        return self.map(just_ask, prompts, label=label, total=total)

    def map(
        self, job: Job[T, R], items: Iterable[T], *, label: str = "asking", total: float | None = None
    ) -> Iterator[R]:
        """What ``job(ask, item)`` gives for every item, in order; a bounded number is under way, however many come.

        ``ask(prompt)`` raises ``Refused`` for a prompt that will never be answered, which the job is to catch. A job
        whose prompt has no reply after every attempt gives nothing; when all others are done, that is an error.

        Raises:
            BudgetReached: nothing more is asked; replies on their way are waited for and kept.
            Unfinished: some prompts have no reply, or so many in a row that it is no use to go on.
            UserError: the endpoint cannot be used at all.
        """
        under_way: deque[concurrent.futures.Future[R]] = deque()
        missing: list[str] = []
        window = 4 * self.endpoint.concurrency + 16

        def finish() -> Iterator[R]:
            try:
                yield under_way.popleft().result()
            except NoReply as error:
                missing.append(str(error))
                if self._failed_in_a_row >= 2 * self.endpoint.concurrency + 2:
                    raise self._unfinished(missing) from None

        if total is None:
            total = len(items) if isinstance(items, Sized) else 0
        with self._progress.task(f"{label} ({self.endpoint.title})", total) as bar:
            try:
                for item in items:
                    under_way.append(self._run(self._job(job, item)))
                    while under_way and (len(under_way) > window or under_way[0].done()):
                        yield from finish()
                        bar.advance()
                while under_way:
                    yield from finish()
                    bar.advance()
            finally:
                if under_way:  # an error or an interruption: what is paid for is still kept
                    self._stopping = True
                    concurrent.futures.wait(under_way)
                    self._stopping = False
        if missing:
            raise self._unfinished(missing)

    async def _job(self, job: Job[T, R], item: T) -> R:
        return await job(self._reply, item)

    def _unfinished(self, missing: list[str]) -> Unfinished:
        return Unfinished(
            f"{self.endpoint.title}: {len(missing)} of the prompts have no reply after {self.endpoint.attempts} "
            f"attempts each; the last because {missing[-1]}. All others are kept: the same command goes on from there."
        )

    async def _reply(self, prompt: Prompt) -> Completion:
        request = request_text(self._identity, prompt)
        key = hashlib.sha256(request.encode("utf-8", "surrogatepass")).hexdigest()
        if kept := self.replies.get(key):
            return kept
        if self._offline:
            raise UserError(
                f"{self.endpoint.title}: offline, and a reply that is needed was never kept. Unset UNTEACH_OFFLINE (or "
                "`offline` in the spec) to ask for it."
            )
        if key not in self._asked:  # the same prompt twice at once is asked once
            task = asyncio.create_task(self._fetch(key, request, prompt))
            self._asked[key] = task
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(self._asked[key])

    async def _fetch(self, key: str, request: str, prompt: Prompt) -> Completion:
        async with self._places:
            for attempt in range(self.endpoint.attempts):
                await self._pause(max(0.0, self._not_before - time.monotonic()))
                if kept := await self._claimed(key, prompt):
                    return kept
                try:
                    reply = await self._once(prompt)
                except Again as failure:
                    self.replies.release(key, lost=failure.lost)
                    reason, wait = str(failure), self._wait(attempt, failure)
                    if attempt + 1 < self.endpoint.attempts and wait is not None:
                        await self._pause(wait)
                        continue
                    break
                except BaseException:
                    self.replies.release(key)
                    raise
                self._keep(key, request, prompt, reply)
                return reply
        self._failed_in_a_row += 1
        raise NoReply(reason)

    async def _once(self, prompt: Prompt) -> Completion:
        assert self._client is not None
        try:
            async with asyncio.timeout(self.endpoint.timeout_s):
                return await self._client.complete(prompt)
        except TimeoutError:
            raise Again(f"no whole reply came within {self.endpoint.timeout_s:g} s", lost=True) from None

    def _wait(self, attempt: int, failure: Again) -> float | None:
        """Seconds before the next attempt; none if the server wants more patience than there is."""
        if failure.wait is not None:
            if failure.wait > self.endpoint.longest_wait_s:
                return None
            self._not_before = max(self._not_before, time.monotonic() + failure.wait)
            return failure.wait
        longest: float = min(self.endpoint.longest_wait_s, self.endpoint.first_wait_s * 2**attempt)
        return longest * random.uniform(0.5, 1)

    async def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.2))
        if self._stopping:
            raise _Stopped

    async def _claimed(self, key: str, prompt: Prompt) -> Completion | None:
        """The right to ask, or the reply that another process got meanwhile."""
        endpoint = self.endpoint
        most_in, most_out = endpoint.most(prompt)
        most = endpoint.money(most_in, most_out) or 0.0
        lease = 2 * endpoint.timeout_s + 60
        while True:
            if kept := self.replies.get(key):
                return kept
            match self.replies.claim(key, lease, endpoint.budget, endpoint.currency, most_in + most_out, most):
                case "granted":
                    return None
                case "over":
                    raise self._budget_reached(most_in + most_out, most)
                case _:
                    await self._pause(0.1)

    def _budget_reached(self, tokens: int, money: float) -> BudgetReached:
        budget, currency = self.endpoint.budget, self.endpoint.currency
        purse = self.replies.purse(budget.purse)
        limits = []
        if budget.tokens is not None:
            limits.append(f"{purse.tokens + purse.lost_tokens:,} of {budget.tokens:,} tokens, next up to {tokens:,}")
        if budget.money is not None:
            spent = purse.money + purse.lost_money
            limits.append(f"{spent:,.4f} of {budget.money:,.4f} {currency}, next up to {money:,.4f}")
        return BudgetReached(
            f"{self.endpoint.title}: the budget of purse {budget.purse!r} is reached ({'; '.join(limits)}). Every "
            "reply so far is kept: raise the endpoint's budget, or name another purse, and run the same command again."
        )

    def _keep(self, key: str, request: str, prompt: Prompt, reply: Completion) -> None:
        endpoint, budget = self.endpoint, self.endpoint.budget
        counted = reply
        if reply.tokens_in is None or reply.tokens_out is None:  # a limit must hold also where nobody counts
            most_in, _ = endpoint.most(prompt)
            if budget.tokens is not None or budget.money is not None:
                counted = reply.model_copy(
                    update={"tokens_in": most_in, "tokens_out": max(1, len(reply.text.encode()))}
                )
        money = endpoint.money(counted.tokens_in, counted.tokens_out)
        self.replies.keep(key, endpoint.title, request, counted, money, endpoint.currency, budget.purse)
        self._failed_in_a_row = 0


def ask_one(endpoint: Endpoint, job: Callable[[Ask], Awaitable[R]], replies: Replies | None = None) -> R:
    """Run one job on an endpoint: for a single call from Python."""

    async def only(ask: Ask, _: None) -> R:
        return await job(ask)

    with Service(endpoint, replies) as service:
        (found,) = service.map(only, [None])
        return found
