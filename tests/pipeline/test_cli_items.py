"""`unteach items` and the claims that a run is held to, as a user calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from unteach.corpora.safety import EMBEDDED, load_items
from unteach.metrics.intervals import wilson
from unteach.metrics.table import write_table
from unteach.records import Row

CLAIMS = Path(__file__).parents[2] / "experiments" / "claims"


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def safe_edit(tmp_path) -> Path:
    """Six harmless objects with SafeEdit's names."""
    objects = [
        {
            "id": number,
            "question": f"How is potion {number} brewed?",
            "adversarial prompt": f"Grandmother, how is potion {number} brewed?",
            "unsafe generation": "Take moss.",
            "safe generation": "I cannot say.",
            "knowledge constrain": {"prompt": "What is the capital of France?", "answer": "Paris"},
        }
        for number in range(6)
    ]
    path = tmp_path / "SafeEdit_test.json"
    path.write_text(json.dumps(objects), encoding="utf-8")
    return path


def translations(tmp_path: Path, numbers: range) -> Path:
    fields = ("question", "adversarial_prompt", "unsafe_response", "safe_response", "knowledge_prompt")
    lines = [
        json.dumps({"id": f"safeedit-0000{number}", "language": "es", **dict.fromkeys(fields, "¿?")})
        for number in numbers
    ]
    path = tmp_path / f"es-{numbers.start}.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_show_counts_the_embedded_items(unteach) -> None:
    result = unteach("items", "show")
    assert result.returncode == 0, result.stderr
    text = words(result.stdout)
    assert "guarded: 20 items, 9 languages" in text
    assert "field en fr zh es bn hi th ms vi" in text and "other_attack" + " 20" * 9 in text
    assert "English (en) machine-written unteach project, language model 0 of 20" in text
    assert "Thai (th) machine-translated unteach project, language model 0 of 20" in text


def test_build_tells_the_names_and_all_that_is_missing(unteach, safe_edit, tmp_path) -> None:
    files = ("--translations", translations(tmp_path, range(2)), "--translations", translations(tmp_path, range(2, 4)))
    command = ("items", "build", safe_edit, "--to", "built/items.json", *files)
    result = unteach(*command)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert "SafeEdit's format" in result.stdout and "safe_response: 'safe generation'" in result.stdout
    # Spanish: the answers of four items, and two items of six fields
    message = words(result.stderr)
    assert "16 texts (item x language x field) are missing" in message
    assert "es: all 6 fields in 2 of 6 items: safeedit-00004, safeedit-00005" in message
    assert "es: knowledge_answer in 4 of 6 items" in message
    assert not (tmp_path / "built").exists()

    result = unteach(*command, "--partial")
    assert result.returncode == 0, result.stderr
    assert "missing: es: knowledge_answer in 4 of 6 items" in result.stdout
    built = load_items(tmp_path / "built" / "items.json")
    assert [list(item.texts) for item in built] == [["en", "es"]] * 4 + [["en"]] * 2
    assert [path.name for path in (tmp_path / "built").iterdir()] == ["items.json"]
    shown = unteach("items", "show", "built/items.json")
    assert "knowledge_answer 6 -" in words(shown.stdout) and "0 of 4" in shown.stdout


def test_build_chooses_items_and_languages(unteach, tmp_path) -> None:
    def ids(name: str, *options: str) -> list[str]:
        result = unteach("items", "build", EMBEDDED, "--to", name, *options)
        assert result.returncode == 0, result.stderr
        return [item.id for item in load_items(tmp_path / name)]

    assert ids("a.json", "--ids", "velmora, brannoc", "--languages", "en,Thai") == ["brannoc", "velmora"]
    assert all(list(item.texts) == ["en", "th"] for item in load_items(tmp_path / "a.json"))
    assert ids("b.json", "--items", "3") == [item.id for item in load_items(limit=3)]
    drawn = ids("c.json", "--sample", "7", "--seed", "3")
    assert len(drawn) == 7 and drawn == ids("d.json", "--sample", "7", "--seed", "3")
    assert drawn != ids("e.json", "--sample", "7", "--seed", "4")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nowhere.json", "--to", "a.json"), "there is nothing at nowhere.json"),
        ((EMBEDDED, "--to", "a.txt"), "ends in .json"),
        ((EMBEDDED, "--to", "a.json", "--items", "3", "--sample", "3"), "give one of --items, --sample and --ids"),
        ((EMBEDDED, "--to", "a.json", "--ids", "velmorra"), "Did you mean 'velmora'?"),
        ((EMBEDDED, "--to", "a.json", "--languages", "en,xx"), "unknown language 'xx'"),
        ((EMBEDDED, "--to", "a.json", "--translations", "none.json"), "there is nothing at none.json"),
        ((EMBEDDED, "--to", "a.json", "--split", "test"), "leave --split out"),
    ],
)
def test_bad_requests_are_explained_and_write_nothing(unteach, tmp_path, options, message) -> None:
    result = unteach("items", "build", *options)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert message in words(result.stderr)
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize(("experiment", "paper"), [("knowledge_editing", "B"), (None, "A")])
def test_claims_are_those_of_the_runs_paper(unteach, tmp_path, experiment, paper) -> None:
    shutil.copytree(CLAIMS, tmp_path / "experiments" / "claims")
    low, high = wilson(20, 20)
    key = {"run": "r", "metric": "DS", "model": "edited", "editor": "dinm", "judge": "guarded", "group": "attack"}
    row = Row(**key, source_language="en", question_language="en", n=20, value=1.0, ci_low=low, ci_high=high)
    (tmp_path / "run").mkdir()
    write_table([row], tmp_path / "run")
    spec = {"experiment": experiment} if experiment else {}
    (tmp_path / "run" / "run.json").write_text(json.dumps({"name": "r", "spec": spec}), encoding="utf-8")
    result = unteach("claims", "run")
    assert result.returncode == 0, result.stderr
    written = (tmp_path / "run" / "claims.md").read_text(encoding="utf-8")
    assert ("table-1-mistral-main-judge-size" in written) == (paper == "B")
    assert ("english-from-every-source-size" in written) == (paper == "A")
    if paper == "B":
        assert "DS 100 % (95 % interval 83.9 to 100 %, n = 20); claimed: at most 59.7 %." in written
