"""Asking an endpoint many things at once, and losing nothing: kept replies, one at a time a key, retries, budgets.

Work is given as jobs: asynchronous functions that ask as often as they need. A loop in a thread of its own runs as many
of them as there is room for, so that it also works beside a notebook's loop, and results come in the order of the jobs.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import json
import random
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, Self, TypeVar

from unteach.endpoints.contract import Again, Completion, Endpoint, Prompt, Refused
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


class _GivenUp(Exception):
    """The work was left before this prompt was sent."""


def request_text(endpoint: dict[str, Any], prompt: Prompt) -> str:
    """What decides a reply, as canonical JSON: the endpoint's identity and the prompt."""
    return json.dumps({"endpoint": endpoint, "prompt": prompt.model_dump()}, sort_keys=True, ensure_ascii=False)


def _writable(text: str) -> str:
    """Without halves of surrogate pairs, which neither UTF-8 nor SQLite can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


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
        self._offline = endpoint.is_offline
        self._asked: dict[str, asyncio.Task[Completion]] = {}
        self._stop: Exception | None = None  # why nothing more is to be sent
        self._not_before = 0.0  # a server that asks one of us to wait means all of us
        self._failed_in_a_row = 0

    def __enter__(self) -> Self:
        self._stop = None
        opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(opened)), name="endpoint", daemon=True)
        self._thread.start()
        opened.result()
        return self

    async def _serve(self, opened: concurrent.futures.Future[None]) -> None:
        """All of the loop's life: open, wait for the end, let what is paid for arrive, close."""
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        self._places = asyncio.Semaphore(self.endpoint.concurrency)
        try:
            self._client = None if self._offline else self.endpoint.open()
        except BaseException as error:  # noqa: BLE001 (raised where the service is entered)
            opened.set_exception(error)
            return
        opened.set_result(None)
        await self._closing.wait()
        while self._asked:
            await asyncio.wait(self._asked.values())
        if self._client is not None:
            await self._client.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop = _GivenUp()
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

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
        window = 16 * (self.endpoint.concurrency + 1)  # wide, so that a slow reply does not hold up those after it
        missing = 0
        why: NoReply | None = None

        def finish() -> Iterator[R]:
            nonlocal missing, why
            error = under_way[0].exception()  # interrupted here, it is still among those that are waited for
            done = under_way.popleft()
            if not isinstance(error, NoReply):
                yield done.result()
                return
            missing, why = missing + 1, error
            if self._failed_in_a_row >= 2 * self.endpoint.concurrency + 2:
                raise self._unfinished(missing, why)

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
                    self._stop = self._stop or _GivenUp()
                    concurrent.futures.wait(under_way)
                self._stop = None
        if why:
            raise self._unfinished(missing, why)

    async def _job(self, job: Job[T, R], item: T) -> R:
        return await job(self._reply, item)

    def _unfinished(self, missing: int, why: NoReply) -> Unfinished:
        return Unfinished(
            f"{self.endpoint.title}: {missing} of the prompts have no reply after up to {self.endpoint.attempts} "
            f"attempts each; the last because {why}. All others are kept: the same command goes on from there."
        )

    async def _reply(self, prompt: Prompt) -> Completion:
        request = request_text(self._identity, prompt)
        if request != (writable := _writable(request)):
            prompt = Prompt.model_validate_json(_writable(json.dumps(prompt.model_dump(), ensure_ascii=False)))
            request = writable
        key = hashlib.sha256(request.encode()).hexdigest()
        reply = self.replies.get(key)
        if reply is None and self._offline:
            raise UserError(
                f"{self.endpoint.title}: offline, and a reply that is needed was never kept. Unset UNTEACH_OFFLINE (or "
                "`offline` in the spec) to ask for it."
            )
        if reply is None:
            if key not in self._asked:  # the same prompt twice at once is asked once
                task = asyncio.create_task(self._fetch(key, request, prompt))
                self._asked[key] = task
                task.add_done_callback(lambda _: self._asked.pop(key, None))
            reply = await asyncio.shield(self._asked[key])
        if reply.finish == "filter":  # kept, so that a refusal that was charged for is not bought again
            raise Refused("the service's content filter withheld the reply")
        return reply

    async def _fetch(self, key: str, request: str, prompt: Prompt) -> Completion:
        try:
            async with self._places:
                return await self._buy(key, request, prompt)
        except UserError as error:  # no other prompt would fare better
            self._stop = error
            raise

    async def _buy(self, key: str, request: str, prompt: Prompt) -> Completion:
        for attempt in range(self.endpoint.attempts):
            await self._pause(self._not_before - time.monotonic())
            if kept := await self._claimed(key, prompt):
                return kept
            try:
                reply = await self._once(prompt)
            except Again as failure:
                self.replies.release(key, lost=failure.lost)
                reason, wait = str(failure), self._wait(attempt, failure)
            except BaseException as error:
                self.replies.release(key, lost=not isinstance(error, Refused | UserError))
                raise
            else:
                self._keep(key, request, reply)
                return reply
            if wait is None or attempt + 1 == self.endpoint.attempts:
                break
            await self._pause(wait)
        self._failed_in_a_row += 1
        raise NoReply(reason)

    async def _once(self, prompt: Prompt) -> Completion:
        assert self._client is not None
        try:
            async with asyncio.timeout(self.endpoint.timeout_s):
                reply = await self._client.complete(prompt)
        except TimeoutError:
            raise Again(f"no whole reply came within {self.endpoint.timeout_s:g} s", lost=True) from None
        return reply.model_copy(update={"text": _writable(reply.text)})

    def _wait(self, attempt: int, failure: Again) -> float | None:
        """Seconds before the next attempt; none if the server wants more patience than there is."""
        longest = self.endpoint.longest_wait_s
        own = min(longest, self.endpoint.first_wait_s * 2.0 ** min(attempt, 60)) * random.uniform(0.5, 1)
        if failure.wait is None:
            return own
        if failure.wait > longest:
            return None
        self._not_before = max(self._not_before, time.monotonic() + failure.wait)
        return max(own, failure.wait)

    async def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._stop is None and (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.2))
        if self._stop is not None:
            raise self._stop

    async def _claimed(self, key: str, prompt: Prompt) -> Completion | None:
        """The right to ask, or the reply that another process got meanwhile."""
        endpoint = self.endpoint
        most_in, most_out = endpoint.most(prompt)
        tokens, money = most_in + most_out, endpoint.money(most_in, most_out) or 0.0
        lease = 2 * endpoint.timeout_s + 60
        while True:
            match self.replies.claim(key, lease, endpoint.budget, endpoint.currency, tokens, money):
                case "granted":
                    return None
                case "kept":
                    if kept := self.replies.get(key):
                        return kept
                case "over":
                    raise self._budget_reached(tokens, money)
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

    def _keep(self, key: str, request: str, reply: Completion) -> None:
        endpoint = self.endpoint
        money = endpoint.money(reply.tokens_in, reply.tokens_out)
        self.replies.keep(key, endpoint.title, request, reply, money, endpoint.currency, endpoint.budget.purse)
        self._failed_in_a_row = 0


def ask_one(endpoint: Endpoint, job: Callable[[Ask], Awaitable[R]], replies: Replies | None = None) -> R:
    """Run one job on an endpoint: for a single call from Python."""

    async def only(ask: Ask, _: None) -> R:
        return await job(ask)

    with Service(endpoint, replies) as service:
        (found,) = service.map(only, [None])
        return found
