"""A local server that speaks OpenAI's chat completions and misbehaves on a seeded schedule.

What it does to the n-th time that a prompt arrives depends on the seed, the prompt and n alone, so that a schedule is
the same in whatever order prompts come. Its reply depends on the prompt alone.
"""

import asyncio
import email.utils
import hashlib
import json
import math
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping

# How often each fault comes, as a share of all requests. Those that make a client wait are rare: tests must be quick.
FAULTS = {
    "429": 0.02,
    "429, Retry-After in seconds": 0.001,
    "429, Retry-After as a date": 0.001,
    "500": 0.02,
    "503": 0.02,
    "slow drip": 0.004,
    "cut before the reply": 0.02,
    "cut inside the body": 0.02,
    "malformed JSON": 0.02,
    "wrong schema": 0.02,
    "empty choices": 0.02,
    "null content": 0.02,
    "document twice": 0.02,
}
GOOD = ("plain", "choice twice")  # both are whole replies
MOST_FAULTS = 5  # of one prompt
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}


def good_text(prompt: str) -> str:
    """The one right reply to a prompt."""
    return "reply " + hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class FaultyServer:
    """A context manager; a thread with a loop of its own. What happened is in its attributes.

    ``only`` names a fault that every prompt meets once, the first time; ``delay_s`` passes before any answer. The
    request after the first ``after`` ones meets ``once``; ``says`` is a status and a body that all get.
    ``paid`` counts the good replies delivered whole, by prompt; ``tokens`` everything that was written, arrived or not.
    """

    def __init__(
        self,
        faults: Mapping[str, float] | None = None,
        *,
        seed: int = 0,
        only: str | None = None,
        once: str | None = None,
        after: int = 0,
        delay_s: float = 0.0,
        wait_s: int = 1,
        key: str | None = None,
        refuses_schema: bool = False,
        says: tuple[int, bytes] | None = None,
    ) -> None:
        self._faults = dict(faults or {})
        self._seed, self._only, self._once, self._after = seed, only, once, after
        self._delay_s, self._wait_s = delay_s, wait_s
        self._key, self._refuses_schema, self._says = key, refuses_schema, says
        self.paid: Counter[str] = Counter()
        self.tokens = 0
        self.happened: Counter[str] = Counter()
        self.arrivals: defaultdict[str, list[float]] = defaultdict(list)
        self.told_to_wait: list[tuple[float, float]] = []  # from when, until when
        self.bodies: list[dict] = []
        self.headers: list[dict[str, str]] = []

    def __enter__(self) -> "FaultyServer":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=2**24, backlog=200)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await self._closing.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left
        except asyncio.CancelledError:
            pass  # the test is over; streams print cancelled connections otherwise
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection stays open."""
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))))
        prompt = body["messages"][-1]["content"]
        self.bodies.append(body)
        self.headers.append(headers)
        self.arrivals[prompt].append(time.time())
        assert head.startswith("POST /v1/chat/completions "), head
        if self._key is not None and headers.get("authorization") != f"Bearer {self._key}":
            _send(writer, 401, {"error": {"message": f"Incorrect key: {headers['authorization']}"}})
            return True
        if self._refuses_schema and "response_format" in body:
            _send(writer, 400, {"error": {"message": "response_format is not supported"}})
            return True
        if self._says is not None:
            writer.write(_head(self._says[0], len(self._says[1])) + self._says[1])
            return True
        what = self._what(prompt)
        self.happened[what] += 1
        return await self._answer(writer, what, prompt)

    def _what(self, prompt: str) -> str:
        times = len(self.arrivals[prompt])
        if self._once is not None:
            return self._once if len(self.bodies) == self._after + 1 else "plain"
        if self._only is not None:
            return self._only if times == 1 else "plain"
        if times > MOST_FAULTS:
            return "plain"
        chance = random.Random(f"{self._seed}/{times}/{prompt}")
        drawn = chance.random()
        for fault, share in self._faults.items():
            if drawn < share:
                return fault
            drawn -= share
        return chance.choice(GOOD) if self._faults else "plain"

    async def _answer(self, writer: asyncio.StreamWriter, what: str, prompt: str) -> bool:
        await asyncio.sleep(self._delay_s)
        if what.startswith("429"):
            _send(writer, 429, {"error": {"message": "slow down"}}, self._asks_to_wait(what))
        elif what in ("500", "503"):
            _send(writer, int(what), {"error": {"message": "out of order"}})
        elif what == "cut before the reply":
            return False
        else:
            return await self._write(writer, what, prompt)
        await writer.drain()
        return True

    def _asks_to_wait(self, what: str) -> dict[str, str]:
        now = time.time()
        if what == "429, Retry-After in seconds":
            until, told = now + self._wait_s, str(self._wait_s)
        elif what == "429, Retry-After as a date":
            until = math.ceil(now) + self._wait_s
            told = email.utils.formatdate(until, usegmt=True)
        else:
            return {}
        self.told_to_wait.append((now, until))
        return {"Retry-After": told}

    async def _write(self, writer: asyncio.StreamWriter, what: str, prompt: str) -> bool:
        """A reply that the model wrote, and that is charged for, whatever happens to it on the way."""
        self.tokens += USAGE["total_tokens"]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": good_text(prompt)},
            "finish_reason": "stop",
        }
        reply: dict = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "usage": USAGE}
        reply["choices"] = [choice]
        if what == "choice twice":
            reply["choices"] = [choice, {**choice, "index": 1}]
        elif what == "wrong schema":
            reply = {"status": "ok", "choices": {"first": choice}}
        elif what == "empty choices":
            reply["choices"] = []
        elif what == "null content":
            choice["message"] = {"role": "assistant", "content": None}
        whole = json.dumps(reply).encode()
        if what == "malformed JSON":
            whole = whole[: len(whole) // 2]
        elif what == "document twice":
            whole += whole
        elif what == "slow drip":
            return await _drip(writer, whole)
        elif what == "cut inside the body":
            writer.write(_head(200, len(whole)) + whole[: len(whole) // 2])
            await writer.drain()
            return False
        # Counted before it is sent: who asks for the count has a reply in hand.
        if what in GOOD or what == "response twice":
            self.paid[prompt] += 1
        times = 2 if what == "response twice" else 1
        writer.write((_head(200, len(whole)) + whole) * times)
        await writer.drain()
        return True


def _head(status: int, length: int, more: Mapping[str, str] | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in (more or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _send(writer: asyncio.StreamWriter, status: int, body: dict, more: Mapping[str, str] | None = None) -> None:
    whole = json.dumps(body).encode()
    writer.write(_head(status, len(whole), more) + whole)


async def _drip(writer: asyncio.StreamWriter, whole: bytes) -> bool:
    """Byte by byte: something always comes, and the whole never does in any patient client's time."""
    writer.write(_head(200, len(whole)))
    for byte in whole[:-1]:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)
    return False
