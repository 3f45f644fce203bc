"""A local server that speaks NiuTrans' documented form: POST of a form, JSON back, failures under status 200."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

Form = dict[str, str]
Reply = dict[str, object] | bytes | int
"""A JSON object, or other bytes, or an HTTP status without a body."""

TOO_MANY = {"error_code": "10001", "error_msg": "Requests frequently"}
NO_FLOW = {"error_code": "13001", "error_msg": "Insufficient flow or no access"}
NO_KEY = {"error_code": "13002", "error_msg": "apikey is empty"}
FILTERED = {"error_code": "13003", "error_msg": "content filter"}
NO_LANGUAGE = {"error_code": "13007", "error_msg": "language not supported"}
TOO_LONG = {"error_code": "10003", "error_msg": "too long"}
OLD = {"to": None, "result_code": "10000", "from": None, "result_msg": "Input is empty", "src_text": None}


class NiuTransServer:
    """Answers with the script's replies in turn, each for one request, and then with ``translate``.

    ``translate`` gets ``from``, ``to`` and ``src_text``. ``forms`` has every request that came.
    """

    def __init__(self, translate: Callable[[str, str, str], str], key: str = "", longest: int = 2000) -> None:
        self.forms: list[Form] = []
        self.types: list[str] = []
        self.script: list[Reply] = []
        self._translate, self._key, self._longest = translate, key, longest
        self._lock = threading.Lock()
        self.url = ""

    def reply(self, form: Form, content_type: str) -> Reply:
        with self._lock:
            self.forms.append(form)
            self.types.append(content_type)
            if self.script:
                return self.script.pop(0)
        if not form.get("apikey") or (self._key and form["apikey"] != self._key):
            return {**NO_KEY, "error_msg": f"apikey {form.get('apikey')} is wrong", "apikey": form.get("apikey")}
        if not form.get("src_text"):
            return OLD
        if len(form["src_text"]) > self._longest:
            return TOO_LONG
        made = self._translate(form["from"], form["to"], form["src_text"])
        return {"tgt_text": f"{made} \n", "from": form["from"], "to": form["to"]}


@contextmanager
def serving(server: NiuTransServer) -> Iterator[NiuTransServer]:
    """The server on a free port of this machine, at ``server.url``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode("ascii")
            form = {name: values[0] for name, values in parse_qs(body, strict_parsing=True, encoding="utf-8").items()}
            reply = server.reply(form, self.headers["Content-Type"])
            content = json.dumps(reply).encode() if isinstance(reply, dict) else reply
            if isinstance(content, int):
                self.send_response(content)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                content = b""
            else:
                self.send_response(200)
            self.send_header("Content-Type", "text/html;charset=utf-8")  # as the service does
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}/NiuTransServer/translation"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
