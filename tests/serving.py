"""A real OpenAI-compatible server on the embedded model: ``transformers serve``, started and stopped again.

By hand, until Ctrl-C: ``python tests/serving.py --port 8000``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unteach.models.sources.embedded import Embedded

MODEL = "gemma-3-270m-chat"

# The embedded model is a base model without a chat template; it goes on from these lines, and not from Gemma's turns.
TEMPLATE = """{{ bos_token }}{% for message in messages %}\
{% if message['role'] == 'system' %}{{ message['content'] }}

{% else %}{{ 'User' if message['role'] == 'user' else 'Assistant' }}: {{ message['content'] }}
{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"""
STOP = ["\nUser:", "\nAssistant:"]
"""Where a reply is over: from there on the base model writes further turns. The server leaves it in the text."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    base_url: str
    process: subprocess.Popen[bytes]
    log: Path

    def endpoint(self, **settings: Any) -> dict[str, Any]:
        """It as an endpoint of a spec; replies are found again whatever its port was."""
        where = {"base_url": self.base_url, "known_as": "transformers-serve", "model": MODEL}
        return {"name": "openai", **where, "extra": {"stop": STOP}, "max_tokens": 24, "concurrency": 2, **settings}


def chat_folder(parent: Path) -> Path:
    """The embedded model with a chat template, as a folder in ``parent``. Its weights are a link: nothing is copied."""
    folder = parent / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    for file in Path(Embedded().tokenizer().name_or_path).iterdir():
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file.resolve())
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    # The server samples only where the model's own settings say so; a request's temperature does not switch it on.
    config = json.loads((folder / "generation_config.json").read_text(encoding="utf-8")) | {"do_sample": True}
    (folder / "generation_config.json").unlink()
    (folder / "generation_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(parent: Path, port: int | None = None, deadline_s: float = 180) -> Iterator[Server]:
    """A server that is ready to answer, offline and on the CPU; it has ended when the scope ends.

    Raises:
        RuntimeError: it is not ready in time, or ended by itself; with the end of its log.
    """
    folder, port, log = chat_folder(parent), port or free_port(), parent / "serve.log"
    program = Path(sys.executable).with_name("transformers")
    command = [program, "serve", MODEL, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as out:  # the folder's name is the model's, so that no path stands in requests
        process = subprocess.Popen(command, cwd=folder.parent, env=environment, stdout=out, stderr=out)
    try:
        _wait_until_ready(process, port, deadline_s, log)
        yield Server(f"http://127.0.0.1:{port}/v1", process, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, deadline_s: float, log: Path) -> None:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        time.sleep(0.2)
    tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise RuntimeError(f"no server in {deadline_s:g} s (exit code {process.poll()}):\n{tail}")


def main() -> None:
    """Serve until interrupted."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    port = int(sys.argv[sys.argv.index("--port") + 1]) if "--port" in sys.argv else None
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.suppress(KeyboardInterrupt),
        serving(Path(folder), port) as server,
    ):
        print(f"{MODEL} at {server.base_url}; Ctrl-C ends it", flush=True)
        server.process.wait()


if __name__ == "__main__":
    main()
