"""`unteach corpus build` as a user calls it, stops it, kills it, and calls it twice at once."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from author import Served

from unteach.cli import main
from unteach.corpora.load import load_corpus
from unteach.endpoints.replies import Replies
from unteach.terminal import console

ARTICLES = Path(__file__).parents[2] / "experiments" / "corpora" / "articles"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The working folder, with two articles."""
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "articles").mkdir()
    for name in ("tidal-clock.txt", "moss-library.txt"):
        (tmp_path / "articles" / name).write_text((ARTICLES / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def unteach(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """``unteach("corpus", "build", "spec.yaml")`` gives exit code, output and messages, as words between blanks."""

    monkeypatch.setattr(console, "width", 100)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unteach", *arguments])
        with pytest.raises(SystemExit) as done:
            main()
        told = capsys.readouterr()
        return int(done.value.code or 0), " ".join(told.out.split()), " ".join(told.err.split())

    return call


def write_spec(server: Served, folder: Path, **more) -> dict:
    endpoint = server.endpoint(concurrency=2, attempts=1)
    group = {
        "languages": ["de"],
        "translator": {"name": "llm", "endpoint": endpoint, "checks": {"language": False}},
    }
    fields = {
        "name": "small",
        "articles": {"source": "articles"},
        "endpoint": endpoint,
        "paraphrase": {"real": {"teach": 3, "unlearn": 1}, "fake": {"teach": 2, "unlearn": 1}},
        "qa": {"count": 3},
        "translate": {"questions": group, "samples": {**group, "languages": ["de", "nl"]}},
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(fields | more), encoding="utf-8")
    return fields | more


def begun(*arguments: str) -> multiprocessing.Process:
    """The command in a process of its own, which has everything imported already; what it says is in ``said``."""

    def command() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["unteach", *arguments]
        sys.stdout = sys.stderr = Path("said").open("a", encoding="utf-8")  # noqa: SIM115
        main()

    process = multiprocessing.get_context("fork").Process(target=command)
    process.start()
    return process


def until(condition: Callable[[], bool], process: multiprocessing.Process) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.005)


def kept(folder: Path) -> set[str]:
    return {entry["request"]["prompt"]["messages"][-1]["text"] for entry in Replies(folder / "replies.sqlite").export()}


def test_a_plan_asks_nothing_and_a_build_says_what_it_did(folder, unteach) -> None:
    with Served() as server:
        write_spec(server, folder)
        code, out, _ = unteach("corpus", "build", "spec.yaml", "--plan")
        assert code == 0 and not server.bought and not (folder / "corpora").exists()
        for row in ("inject │ 2 prompts │ 2 │ author at author", "paraphrase real │ 8 prompts │ 8 │"):
            assert row in out
        assert "translate samples │ 4 translations │ 4 │ author at author" in out
        assert "translate passage │ 2 translations │ 2 │" in out  # Dutch is asked no questions
        code, out, _ = unteach("corpus", "build", "spec.yaml", "--set", "articles.limit=1", "--to", "a: b, #c.jsonl")
        assert code == 0 and "1 scenarios of 1 articles" in out and "corpus a: b, #c.jsonl" in out
        assert list(load_corpus(folder / "a: b, #c.jsonl").by_id) == ["moss-library"]
        code, out, _ = unteach("corpus", "build", "spec.yaml", "--plan")
        assert code == 0 and "inject │ 2 prompts │ 1 │" in out
        code, out, _ = unteach("corpus", "build", "spec.yaml")
        assert code == 0 and "2 scenarios of 2 articles corpus corpora/small.jsonl" in out
        assert max(server.bought.values()) == 1
        bought = server.bought.total()
    code, out, _ = unteach("corpus", "build", "spec.yaml")  # the server is gone
    assert code == 0 and "Everything is made already" in out and server.bought.total() == bought


def test_what_is_missing_is_told_and_ends_with_code_1_unless_partial(folder, unteach) -> None:
    (folder / "articles" / "moss-library.txt").write_text(
        "Nothing that the author [/knows].\n\nIn Vellmouth and Dunnick."
    )
    with Served() as server:
        write_spec(server, folder, translate={})
        code, out, _ = unteach("corpus", "build", "spec.yaml")
        assert code == 1 and "missing: scenario, 1 in 1 articles; the first: moss-library: fake passage" in out
        assert "1 scenarios of 2 articles corpus corpora/small.jsonl" in out
        assert unteach("corpus", "build", "spec.yaml", "--partial")[0] == 0
        (folder / "articles" / "tidal-clock.txt").unlink()
        code, out, _ = unteach("corpus", "build", "spec.yaml", "--partial", "--to", "none.jsonl")
        assert code == 1 and "no scenario could be made, so no corpus is written" in out
        assert not (folder / "none.jsonl").exists() and (folder / "none.build.json").is_file()


def test_bad_input_ends_with_code_2(folder, unteach) -> None:
    with Served() as server:
        write_spec(server, folder)
        code, _, err = unteach("corpus", "build", "spec.yaml", "--set", "qa.cuont=3", "--to", "c.csv")
        assert code == 2 and "qa.cuont: unknown field. Did you mean 'count'" in err and "ends in .jsonl" in err
        code, _, err = unteach("corpus", "build", "spec.yaml", "--to", "articles/c.jsonl")
        assert code == 2 and "which is read" in err
        (folder / "c.jsonl").mkdir()
        code, _, err = unteach("corpus", "build", "spec.yaml", "--to", "c.jsonl")
        assert code == 2 and "is a folder" in err
        server.good = 5
        code, _, err = unteach("corpus", "build", "spec.yaml")
        assert code == 2 and "the same command goes on from there" in err
        assert not (folder / "corpora" / "small.jsonl").exists()


def test_a_build_that_is_killed_goes_on_and_pays_for_nothing_twice(folder, unteach) -> None:
    with Served(delay_s=0.01) as server:
        write_spec(server, folder)
        paid = []
        for count in (1, 12, 40):  # in injecting, paraphrasing and translating
            process = begun("corpus", "build", "spec.yaml")
            until(lambda count=count: server.bought.total() >= count, process)
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            paid.append(kept(folder))
        until_now = server.bought.copy()
        process = begun("corpus", "build", "spec.yaml")
        until(lambda: server.bought.total() >= 60, process)
        os.kill(process.pid, signal.SIGINT)
        process.join()
        assert process.exitcode == 130
        assert "the same command goes on from there" in (folder / "said").read_text()
        assert not (folder / "corpora" / "small.jsonl").exists()
        interrupted, kept_then = server.bought.copy(), kept(folder)
        assert unteach("corpus", "build", "spec.yaml")[0] == 0
        assert all(server.bought[prompt] == until_now[prompt] for prompt in paid[-1])
        assert (interrupted - until_now).keys() <= kept_then  # an interruption waits for what is on its way
        assert all(server.bought[prompt] == interrupted[prompt] for prompt in kept_then)
        twice = [prompt for prompt, count in server.bought.items() if count > 1]
        assert len(twice) <= 3 * 2  # on their way when a build was killed
        assert server.bought.keys() == kept(folder)
        assert unteach("corpus", "build", "spec.yaml", "--store", "another", "--to", "again.jsonl")[0] == 0
    assert (folder / "again.jsonl").read_bytes() == (folder / "corpora" / "small.jsonl").read_bytes()


def test_two_builds_at_once_share_the_work(folder) -> None:
    with Served(delay_s=0.01) as server:
        write_spec(server, folder)
        builds = [begun("corpus", "build", "spec.yaml"), begun("corpus", "build", "spec.yaml", "--to", "other.jsonl")]
        for process in builds:
            process.join()
        assert [process.exitcode for process in builds] == [0, 0], (folder / "said").read_text()
        assert set(server.bought.values()) == {1}
    assert (folder / "other.jsonl").read_bytes() == (folder / "corpora" / "small.jsonl").read_bytes()
    steps = json.loads((folder / "other.build.json").read_text())["steps"]
    assert all((folder / path / "done.json").is_file() for each in steps.values() for path in each.values())
