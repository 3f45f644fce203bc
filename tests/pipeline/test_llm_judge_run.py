"""Whole runs that a language model judges: the table, judging again from kept replies, and where keys do not end up."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from unteach.endpoints.replies import Replies
from unteach.errors import UserError
from unteach.experiments.run import prepare, read_corpus, run
from unteach.experiments.spec import Spec
from unteach.judge.judges import llm
from unteach.judge.rubrics import OCCURRENCE, Rubric
from unteach.progress import NoProgress
from unteach.records import Row

KEY = "sk-not-to-be-found-anywhere-0123"


@pytest.fixture(autouse=True)
def _own_replies(monkeypatch, tmp_path):
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    monkeypatch.delenv("UNTEACH_OFFLINE", raising=False)


def with_judge(content: dict, endpoint: dict, **settings: object) -> dict:
    unlearn = {**content["unlearn"], "strategies": ["english"]}
    judge = {"name": "llm", "endpoint": endpoint, **settings}
    return {**content, "unlearn": unlearn, "forced_choice": None, "judge": judge}


def script(content: dict, otherwise: str = "[[3]]") -> dict:
    """A judge that finds the fake of the first scenario in English, and thinks highly of the second's real answers."""
    first, second, _ = read_corpus(Spec.model_validate({**content, "judge": "keyword"}))
    claim = exactly(first.texts["en"].fake_question)
    rules = [
        {"when": f"TARGET INFORMATION.*QUESTION \\w+\n{claim}", "say": "So.\n[[YES]]"},
        {"when": "TARGET INFORMATION", "say": "Nothing of it is said.\n[[NO]]"},
    ]
    rules += [
        {"when": f"QUESTION \\w+\n{exactly(second.texts[code].real_question)}", "say": "Rating: [[9]]"}
        for code in content["question_languages"]
    ]
    return {"name": "scripted", "rules": [*rules, {"when": "QUESTION", "say": otherwise}]}


def exactly(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "?.()[]*+^$|{}\\" else letter for letter in text)


def final(rows: list[Row]) -> dict[tuple[str, str, str], float | None]:
    """(metric, model, question language) -> value of the finished models."""
    return {
        (row.metric, row.model, row.question_language): row.value
        for row in rows
        if row.checkpoint is None and row.group is None and row.metric in ("O_F", "Q_R")
    }


def did(content: dict, tmp_path: Path, out: str) -> tuple[list[Row], Counter[str]]:
    """The rows, and how many stages of each kind were done anew."""
    rows = run(prepare(Spec.model_validate(content), tmp_path / "store"), tmp_path / out, NoProgress())
    stages = json.loads((tmp_path / out / "run.json").read_text())["stages"]
    return rows, Counter(stage["kind"] for stage in stages if not stage["reused"])


def test_a_run_is_judged_again_from_kept_replies(spec_content, monkeypatch, tmp_path) -> None:
    content = with_judge(spec_content, script(spec_content))
    rows, _ = did(content, tmp_path, "first")
    answers = [json.loads(line) for line in (tmp_path / "first/answers.jsonl").read_text().splitlines()]
    assert all(answer["answer"].strip() for answer in answers)  # an empty one would not be asked about
    # three scenarios: one of them has the fake, in English alone; ratings are 9, 3 and 3
    models = ("r_only", "contaminated", "unlearned")
    fake = {("O_F", m, code): 1 / 3 if code == "en" else 0 for m in models for code in ("en", "de", "ur")}
    real = {("Q_R", m, code): 5 for m in models for code in ("en", "de", "ur")}
    assert final(rows) == pytest.approx(fake | real)
    assert all(row.unscored == 0 and row.n == 3 for row in rows if row.metric in ("O_F", "Q_R") and not row.group)
    # the probe's answers are judged too, in English and German
    probed = {
        row.question_language: row.value
        for row in rows
        if row.metric == "O_F" and row.checkpoint == 2 and row.question_language
    }
    assert probed == pytest.approx({"en": 1 / 3, "de": 0})

    kept = sum(total["replies"] for total in Replies().totals())
    shutil.rmtree(tmp_path / "store" / "judge")
    monkeypatch.setenv("UNTEACH_OFFLINE", "1")
    _, done = did(content, tmp_path, "again")
    assert done == {"judge": 9}
    table = (tmp_path / "first/table.csv").read_bytes()
    assert (tmp_path / "again/table.csv").read_bytes() == table
    assert sum(total["replies"] for total in Replies().totals()) == kept


def test_another_model_or_rubric_asks_again(spec_content, monkeypatch, tmp_path) -> None:
    content = {**with_judge(spec_content, script(spec_content)), "unlearn": None}
    did(content, tmp_path, "first")

    other = {**content, "judge": {"name": "llm", "endpoint": script(spec_content, otherwise="[[6]]")}}
    with monkeypatch.context() as offline:
        offline.setenv("UNTEACH_OFFLINE", "1")
        with pytest.raises(UserError, match="offline"):
            did(other, tmp_path, "other-offline")
    rows, done = did(other, tmp_path, "other")
    assert done == {"judge": 6}  # two models in three languages; nothing is taught or asked again
    assert final(rows)["Q_R", "r_only", "en"] == pytest.approx((9 + 6 + 6) / 3)

    monkeypatch.setattr(llm, "OCCURRENCE", Rubric(OCCURRENCE.task + " Be strict.", OCCURRENCE.words))
    monkeypatch.setenv("UNTEACH_OFFLINE", "1")
    with pytest.raises(UserError, match="offline"):
        did(content, tmp_path, "reworded-offline")
    monkeypatch.delenv("UNTEACH_OFFLINE")
    before = sum(total["replies"] for total in Replies().totals())
    _, done = did(content, tmp_path, "reworded")
    assert done == {"judge": 6}
    asked_anew = sum(total["replies"] for total in Replies().totals()) - before
    answers = [json.loads(line) for line in (tmp_path / "first/answers.jsonl").read_text().splitlines()]
    # only what the changed rubric is for; ratings are kept from before
    assert asked_anew == len({(a["question"], a["answer"]) for a in answers if a["part"] == "fake"})


class _Server(BaseHTTPRequestHandler):
    """Chat completions that rate everything 4 and deny everything, and note the keys they were sent."""

    keys: set[str] = set()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.keys.add(self.headers["Authorization"])
        text = "[[NO]]" if "TARGET INFORMATION" in body["messages"][-1]["content"] else "[[4]]"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        made = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        sent = json.dumps(made).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        pass


def test_keys_end_up_nowhere_and_a_plan_needs_none(spec_content, write_spec, unteach, monkeypatch, tmp_path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        endpoint = {"name": "openai", "model": "m", "base_url": url, "key_variable": "JUDGE_KEY"}
        content = {**with_judge(spec_content, endpoint), "unlearn": None}
        monkeypatch.setenv("JUDGE_KEY", KEY)
        rows, _ = did(content, tmp_path, "out")
        server.shutdown()
    assert final(rows)["Q_R", "contaminated", "de"] == 4
    assert final(rows)["O_F", "contaminated", "de"] == 0
    assert _Server.keys == {f"Bearer {KEY}"}  # it was used
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"run.json", "spec.json", "replies.sqlite", "verdicts.jsonl"} <= {path.name for path in files}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]

    # no key, no server
    monkeypatch.delenv("JUDGE_KEY")
    hosted = {"name": "openai", "model": "m", "key_variable": "NO_SUCH_KEY"}
    planned = unteach("plan", write_spec(with_judge(spec_content, hosted)))
    assert planned.returncode == 0, planned.stderr
    assert "judge" in planned.stdout
    with pytest.raises(UserError, match="needs a key in the environment variable NO_SUCH_KEY"):
        did({**content, "judge": {"name": "llm", "endpoint": hosted}}, tmp_path, "without-key")
