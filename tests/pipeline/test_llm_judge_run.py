"""Whole runs that a language model judges: the table, judging again from kept replies, and where keys do not end up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import faulty_server
import pytest
from faulty_server import FaultyServer
from typer.testing import CliRunner

from unteach.cli import app
from unteach.endpoints.replies import Replies
from unteach.errors import UserError
from unteach.experiments.run import prepare, read_corpus, run
from unteach.experiments.spec import Spec
from unteach.judge.judges import llm
from unteach.judge.rubrics import OCCURRENCE, Rubric
from unteach.progress import NoProgress
from unteach.records import Row
from unteach.reports.page import write_report

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


def test_keys_end_up_nowhere_and_a_plan_needs_none(spec_content, write_spec, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(faulty_server, "good_text", lambda asked: "[[NO]]" if "TARGET INFO" in asked else "[[4]]")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultyServer(key=KEY) as server:
        endpoint = {"name": "openai", "model": "m", "base_url": server.url, "key_variable": "OPENAI_API_KEY"}
        content = {**with_judge(spec_content, endpoint), "unlearn": None}
        rows, _ = did(content, tmp_path, "out")
    page = write_report(tmp_path / "out")
    assert final(rows)["Q_R", "contaminated", "de"] == 4
    assert final(rows)["O_F", "contaminated", "de"] == 0
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}  # it was used
    assert set(server.paid.values()) == {1}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    expected = {"run.json", "spec.json", "replies.sqlite", "verdicts.jsonl", "answers.jsonl", page.name}
    assert expected <= {path.name for path in files}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]

    # no key, no server
    monkeypatch.delenv("OPENAI_API_KEY")
    hosted = {"name": "openai", "model": "m"}
    planned = CliRunner().invoke(app, ["plan", str(write_spec(with_judge(spec_content, hosted)))])
    assert planned.exit_code == 0, planned.output
    assert "judge" in planned.output
    fresh = prepare(Spec.model_validate(with_judge(spec_content, hosted)), tmp_path / "fresh store")
    with pytest.raises(UserError, match="needs a key in the environment variable OPENAI_API_KEY"):
        run(fresh, tmp_path / "without-key", NoProgress())
    assert not (tmp_path / "fresh store").exists()  # told before the first stage, not after hours of training


def test_two_processes_ask_each_prompt_once(spec_content, write_spec, monkeypatch, tmp_path) -> None:
    """Every process judges every checkpoint's answers; whoever claims a prompt asks it, the other takes the reply."""
    monkeypatch.setattr(faulty_server, "good_text", lambda asked: "[[NO]]" if "TARGET INFO" in asked else "[[4]]")
    launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    launcher += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    with FaultyServer(delay_s=0.05) as server:
        content = with_judge(spec_content, {"name": "openai", "model": "m", "base_url": server.url})
        spec = write_spec({**content, "corpus": {"limit": 2}, "question_languages": ["en"]})
        own = ["-m", "unteach.cli", "run", spec, "--out", tmp_path / "out", "--store", tmp_path / "store"]
        command = [sys.executable, "-m", *launcher, *map(str, own)]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=one_thread)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(server.bodies) == len(server.paid) == sum(total["replies"] for total in Replies().totals())
    (found,) = (tmp_path / "store" / "unlearn").glob("*/readings.jsonl")
    readings = [json.loads(line) for line in found.read_text().splitlines()]
    assert [(reading["step"], reading["quality"]) for reading in readings] == [(0, 4), (2, 4), (4, 4)]
