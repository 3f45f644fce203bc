"""The command line: what it explains, and that bad input ends with a clear message, code 2 and nothing lost."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from unteach.corpora.load import EMBEDDED


def refused(result: subprocess.CompletedProcess, *words: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    message = " ".join(result.stderr.split())
    for word in words:
        assert word in message, message


def test_help_names_every_command(unteach) -> None:
    text = unteach("--help").stdout
    for command in ("run", "plan", "report", "languages", "components", "ask", "schema"):
        assert command in text


def test_components_lists_every_family(unteach) -> None:
    text = unteach("components").stdout
    for name in ("embedded", "lora", "grad_diff", "combined", "quality_drop", "keyword", "occurrence"):
        assert name in text


def test_languages_lists_all_36(unteach) -> None:
    text = unteach("languages").stdout
    for code in ("zh-Hant", "kab", "hy", "zho_Hans", "rtl"):
        assert code in text


def test_plan_counts_the_work_and_starts_nothing(unteach, write_spec, spec_content, tmp_path) -> None:
    result = unteach("plan", write_spec(spec_content))
    assert result.returncode == 0, result.stderr
    # 4 models x 3 languages x 6 questions of 3 scenarios
    assert "72 prompts" in result.stdout
    assert "72 verdicts" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_ask_shows_a_runs_models_side_by_side(unteach, write_spec, spec_content) -> None:
    assert unteach("run", write_spec(spec_content)).returncode == 0
    result = unteach("ask", "--model", "runs/tiny", "--language", "German", "Was fanden Taucher?")
    assert result.returncode == 0, result.stderr
    for name in ("base model", "r_only", "contaminated/de", "unlearned/de/english", "unlearned/de/combined"):
        assert name in result.stdout


def test_report_is_written_again(unteach, write_spec, spec_content, tmp_path) -> None:
    assert unteach("run", write_spec(spec_content)).returncode == 0
    (tmp_path / "runs/tiny/report.html").unlink()
    assert unteach("report", "runs/tiny").returncode == 0
    assert (tmp_path / "runs/tiny/report.html").is_file()


def test_schema_is_the_one_in_the_docs(unteach) -> None:
    documented = Path(__file__).parents[2] / "docs" / "scenario.schema.json"
    assert json.loads(unteach("schema").stdout) == json.loads(documented.read_text(encoding="utf-8"))


def test_all_problems_of_a_spec_at_once_with_nearest_names(unteach, write_spec, spec_content) -> None:
    spec_content["sorces"] = ["de"]
    spec_content["teach"]["schedule"]["learning_rate"] = 1
    spec_content["unlearn"]["objective"] = "grad_dif"
    spec_content["unlearn"]["schedule"]["batch_size"] = "many"
    spec_content["question_languages"] = ["en", "gr"]
    result = unteach("run", write_spec(spec_content))
    refused(
        result,
        "sorces",
        "Did you mean 'sources'",
        "teach.schedule.learning_rate",
        "Did you mean 'grad_diff'",
        "unlearn.schedule.batch_size",
        "'many'",
        "question_languages",
        "'gr'",
    )


def test_unknown_setting_of_a_component_is_named(unteach, write_spec, spec_content) -> None:
    spec_content["unlearn"]["objective"] = {"name": "grad_diff", "forget_wait": 2}
    refused(unteach("run", write_spec(spec_content)), "unlearn.objective", "forget_wait")


def test_a_language_without_data(unteach, write_spec, spec_content) -> None:
    spec_content["question_languages"] = ["en", "vi"]
    refused(unteach("run", write_spec(spec_content)), "'vi'", "fake_question", "languages with some")


def test_override_is_applied_and_checked(unteach, write_spec, spec_content) -> None:
    refused(unteach("plan", write_spec(spec_content), "--set", "ask.max_new_tokens=0"), "ask.max_new_tokens", "'0'")
    refused(unteach("plan", write_spec(spec_content), "--set", "nonsense"), "path.to.field=value")


def corpus_with(tmp_path: Path, change) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for file in sorted(EMBEDDED.glob("*.json"))[:3]:
        shutil.copy(file, folder)
    change(folder)
    return folder


def edit(folder: Path, index: int, change) -> None:
    file = sorted(folder.glob("*.json"))[index]
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def test_every_problem_of_a_corpus_at_once(unteach, write_spec, spec_content, tmp_path) -> None:
    def spoil(folder: Path) -> None:
        edit(folder, 0, lambda content: content["texts"]["en"].pop("origin"))
        edit(folder, 1, lambda content: content["texts"]["en"]["qa"][0].update(answer="  "))
        shutil.copy(sorted(folder.glob("*.json"))[2], folder / "z-copy.json")
        (folder / "y-latin.json").write_bytes('{"id": "caf\xe9"}'.encode("latin-1"))

    spec_content["corpus"] = {"path": str(corpus_with(tmp_path, spoil))}
    refused(
        unteach("run", write_spec(spec_content)),
        "texts.en.origin",
        "texts.en.qa.0.answer",
        "is already used in",
        "not valid UTF-8",
    )


@pytest.mark.parametrize(
    ("remove", "words"),
    [
        ("tokenizer*", ("has no tokeniser",)),
        ("*.safetensors", ("has no weights",)),
        ("config.json", ("has no config.json",)),
    ],
)
def test_an_incomplete_model_folder(unteach, write_spec, spec_content, tiny_folder, tmp_path, remove, words) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("llama"), folder)
    for file in folder.glob(remove):
        file.unlink()
    spec_content["model"]["path"] = str(folder)
    refused(unteach("run", write_spec(spec_content)), *words)


def test_pickled_weights_are_refused(unteach, write_spec, spec_content, tiny_folder, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("llama"), folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    spec_content["model"]["path"] = str(folder)
    refused(unteach("run", write_spec(spec_content)), "pickled", "safe_serialization=True")


def test_an_output_folder_of_another_spec(unteach, write_spec, spec_content, tmp_path) -> None:
    assert unteach("run", write_spec(spec_content), "--out", "out").returncode == 0
    table = (tmp_path / "out/table.csv").read_bytes()
    refused(unteach("run", write_spec(spec_content), "--out", "out", "--set", "seed=5"), "another spec", "--out")
    assert (tmp_path / "out/table.csv").read_bytes() == table


def test_a_folder_that_is_no_runs_folder_is_left_alone(unteach, write_spec, spec_content, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    refused(unteach("run", write_spec(spec_content), "--out", "mine"), "not empty")
    assert (tmp_path / "mine/letter.txt").read_text() == "dear"


def test_a_question_longer_than_the_context(unteach, tiny_folder) -> None:
    refused(unteach("ask", "--model", tiny_folder("llama"), "why " * 300), "context of 512")


def test_an_unknown_language_to_ask_in(unteach, tiny_folder) -> None:
    refused(unteach("ask", "--model", tiny_folder("llama"), "--language", "Hausaa", "?"), "Did you mean 'Hausa'")
    refused(unteach("ask", "--model", tiny_folder("llama"), "--language", "kab", "?"), "no question and answer labels")


@pytest.mark.parametrize("limit", [4_000, 40_000])  # within the first stage, and after the last
def test_a_full_disk_loses_nothing(unteach, write_spec, spec_content, tmp_path, limit) -> None:
    """A file-size limit of the operating system makes writing fail in the middle, as a full disk does."""
    path = write_spec(spec_content)
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES, BYTES)); "
        "sys.argv = ['unteach', 'run', sys.argv[1]]; from unteach.cli import main; main()"
    )
    result = subprocess.run(
        [sys.executable, "-c", script.replace("BYTES", str(limit)), str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    refused(result, "Finished stages are kept")
    assert unteach("run", path).returncode == 0


def test_ctrl_c_says_how_to_go_on(write_spec, spec_content, tmp_path) -> None:
    command = [sys.executable, "-m", "unteach.cli", "run", str(write_spec(spec_content))]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that starts the tests in the background has the signal ignored, which children inherit
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "runs/store").glob("learn/*/done.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command goes on" in errors
