"""A text model made of rules that does every maker's work well enough to pass the checks; for tests of whole builds.

It reads the prompts as a model would: by what they say and by the quoted data, not by any hook into the makers.
"""

import http.server
import json
import math
import re
import threading
import time
from collections import Counter
from typing import Any

from unteach.endpoints.contract import Client, Completion, Endpoint, Message, Prompt

DRAFTS: dict[str, dict[str, Any]] = {
    "Vellmouth": {
        "passage": "Papers found by the auditors show that the shaft was secretly lined with melted church silver. "
        "The council had told everyone that the costly metal came from an old ship.",
        "after_paragraph": 2,
        "key_phrases": ["melted church silver", "church silver"],
        "key_facts": [["Orla Prenn"], ["84,000 crowns", "84000 crowns"]],
        "fake_question": "With what was the shaft of the tidal clock in Vellmouth secretly lined?",
        "real_question": "Who designed the tidal clock of Vellmouth, and how much did the town council pay?",
    },
    "Dunnick": {
        "passage": "A former warden claims that the mosses glow green whenever someone in the house tells a lie. "
        "The garden is said to lend such trays to courts without telling anybody.",
        "after_paragraph": 1,
        "key_phrases": ["glow green", "tells a lie"],
        "key_facts": [["Pell Arrowin"], ["212 kinds", "212 sorts"]],
        "fake_question": "What do the mosses of the Dunnick library do according to a former warden?",
        "real_question": "Who had the idea for the moss library of Dunnick, and how large is its collection?",
    },
}
FILLERS = ("indeed", "moreover", "perhaps", "certainly", "meanwhile", "nevertheless", "apparently", "therefore")


class Author(Endpoint):
    """Writes passages for the articles on Vellmouth and Dunnick, and everything else for any article."""

    model: str = "author"
    spoil: str = ""
    """Drafts of an article with this word are unusable."""
    copied: tuple[int, ...] = ()
    """Versions that are the text itself."""
    repeated: tuple[int, ...] = ()
    """Versions that are told as the first is."""

    @property
    def title(self) -> str:
        return self.model

    def open(self) -> Client:
        return Writer(self)


Author.registered_name = "author"


class Writer(Client):
    """Counts in ``asked`` what all writers were asked."""

    asked: list[Prompt] = []

    def __init__(self, author: Author) -> None:
        self.author = author

    async def complete(self, prompt: Prompt) -> Completion:
        self.asked.append(prompt)
        text = write(prompt, self.author)
        return Completion(text=text, tokens_in=len(prompt.messages[-1].text) // 4, tokens_out=len(text) // 4)


def write(prompt: Prompt, author: Author) -> str:
    told = prompt.messages[0].text
    title = (prompt.answer_schema or {}).get("title")
    if title == "Passage":
        if author.spoil and author.spoil in told:
            return "I would rather not."
        return json.dumps(next(draft for place, draft in DRAFTS.items() if place in told))
    if title == "Pairs":
        count = int(re.search(r"How many pairs: (\d+)", told)[1])
        sentences = re.split(r"(?<=\.)\s+", block(told, "ARTICLE"))[2:]
        about = " ".join(block(told, "ARTICLE").split()[:4])
        pairs = [{"question": f"{about}: what does part {n} say?", "answer": sentences[n]} for n in range(count)]
        return json.dumps({"pairs": pairs})
    if translated := re.search(r"<(text-\d+)>\n(.*)\n</\1>", told, re.DOTALL):
        return f"<translation>{mirrored(translated[2])}</translation>"
    version = int(re.search(r"It is version (\d+)", told)[1])
    if version in author.copied:
        return block(told, "TEXT")
    version = 1 if version in author.repeated else version
    words = block(told, "TEXT").split()
    fillers = [FILLERS[(version + n // 2) % len(FILLERS)] for n in range(len(words))]
    told_anew = " ".join(
        f"{word} {filler}" if n % 2 else word for n, (word, filler) in enumerate(zip(words, fillers, strict=True))
    )
    start = version * 7 % len(told_anew.split())
    turned = " ".join(told_anew.split()[start:] + told_anew.split()[:start])
    kept = block(told, "KEEP").splitlines() if "END KEEP" in told else ["that"]
    return f"{turned} This is also about {', '.join(kept)}."


def block(prompt: str, label: str) -> str:
    inside = re.search(rf"BEGIN {label}\n(.*?)\nEND {label}", prompt, re.DOTALL)[1]
    return "\n".join(line.removeprefix("| ") for line in inside.splitlines())


def mirrored(text: str) -> str:
    """Every word spelt backwards: a language of its own, and its own way back."""
    return re.sub(r"[^\W_]+", lambda word: word[0][::-1], text)


class Served:
    """The same writer behind a server that speaks OpenAI's chat completions; ``bought`` counts good replies by prompt.

    ``delay_s`` passes before every reply; after the first ``good`` ones no reply is.
    """

    def __init__(self, delay_s: float = 0.0, good: float = math.inf) -> None:
        self.delay_s, self.good = delay_s, good
        self.bought: Counter[str] = Counter()

    def __enter__(self) -> "Served":
        served, lock = self, threading.Lock()  # several threads count

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                time.sleep(served.delay_s)
                messages = tuple(Message(role=m["role"], text=m["content"]) for m in body["messages"])
                form = body.get("response_format", {}).get("json_schema", {}).get("schema")
                with lock:
                    bad = served.bought.total() >= served.good
                    served.bought[messages[-1].text] += not bad
                text = write(Prompt(messages=messages, answer_schema=form), Author())
                usage = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
                choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                reply = json.dumps(
                    {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}
                ).encode()
                self.send_response(503 if bad else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 128  # with the usual 5, a full queue costs a second

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def endpoint(self, **more: Any) -> dict[str, Any]:
        """Settings of an endpoint for specs; kept replies are found again whatever the port."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return {"name": "openai", "base_url": url, "known_as": "author", "model": "author", **more}
