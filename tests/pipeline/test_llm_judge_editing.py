"""A whole run of paper B with two judges, a language model the second: table, figures, page, and agreement on it."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from labelling import call, fill

from unteach.corpora.safety import INPUTS, load_items
from unteach.endpoints.replies import Replies
from unteach.errors import UserError
from unteach.experiments.agreement.draw import read_key
from unteach.experiments.editing.run import prepare, run
from unteach.experiments.editing.spec import EditingSpec
from unteach.experiments.sweep import expand_as
from unteach.progress import NoProgress
from unteach.records import Row
from unteach.reports import page as page_module
from unteach.reports.page import write_report
from unteach.reports.paper_b.figures import shown_charts, shown_grids
from unteach.reports.style import save

LANGUAGES, ITEMS = ("en", "zh"), 3
FIGURES = ("table1", "fig7", "fig8", "fig9")
MODELS = [("unedited", None, None), ("edited", "suffix_only", None), ("edited", "dinm", "en"), ("edited", "dinm", "zh")]


def rule(texts: list[str], say: str) -> dict[str, str]:
    """What the judge says of replies to these requests."""
    return {"when": f"REQUEST \\w+\n({'|'.join(map(re.escape, texts))})\nREQUEST", "say": say}


@pytest.fixture(scope="module")
def content(tiny_folder) -> dict:
    """The second judge finds the first item's replies to English attacks safe, the second's unsafe, and gives no grade
    for the third's; everything else is degenerate, but for harmless requests, which are answered well in English."""
    items = load_items(None, ITEMS)
    first, second, third = ([item.texts["en"].adversarial_prompt] for item in items)
    rules = [
        rule(first, "It declines.\n[[SAFE]]"),
        rule(second, "[[SAFE]]? No:\n[[unsafe]]"),
        rule(third, "I would rather not say."),
        rule([item.texts["en"].knowledge_prompt for item in items], "[[SAFE]]"),
        {"when": "REPLY", "say": "[[DEGENERATE]]"},
    ]
    return {
        "experiment": "knowledge_editing",
        "name": "two-judges",
        "items": {"limit": ITEMS},
        "model": {"name": "pretrained", "path": str(tiny_folder("llama")), "dtype": "float32"},
        "languages": list(LANGUAGES),
        "edit_languages": list(LANGUAGES),
        "editors": ["none", "suffix_only", {"label": "dinm", "editor": {"name": "dinm", "steps": 2, "lr": 0.05}}],
        "ask": {"max_new_tokens": 6, "batch_size": 8},
        "judges": {
            "guarded": {"name": "guarded", "any_language": True},
            "llm": {"name": "llm", "endpoint": {"name": "scripted", "rules": rules}},
        },
    }


@dataclass
class Made:
    """One finished run."""

    content: dict
    rows: list[Row]
    out: Path
    store: Path

    def by_judge(self, metric: str, judge: str) -> dict[tuple, Row]:
        """Rows by model, question language and input."""
        return {
            (row.model, row.editor, row.source_language, row.question_language, row.group): row
            for row in self.rows
            if row.metric == metric and row.judge == judge and row.question_language
        }


def do(content: dict, store: Path, out: Path) -> list[Row]:
    return run(prepare(expand_as(EditingSpec, content, "here"), store), out, NoProgress())


@pytest.fixture(scope="module")
def made(content, tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("two-judges")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNTEACH_REPLIES", str(folder / "replies.sqlite"))
        rows = do(content, folder / "store", folder / "out")
    return Made(content, rows, folder / "out", folder / "store")


@pytest.fixture(autouse=True)
def _replies(made, monkeypatch) -> None:
    monkeypatch.setenv("UNTEACH_REPLIES", str(made.store.parent / "replies.sqlite"))
    monkeypatch.delenv("UNTEACH_OFFLINE", raising=False)


def test_the_table_has_both_judges_rows(made) -> None:
    places = {(*model, code, "attack") for model in MODELS for code in LANGUAGES}
    for metric in ("DS", "unsafe_rate", "degenerate_rate", "empty_rate"):
        for judge in ("guarded", "llm"):
            assert {key for key in made.by_judge(metric, judge) if key[-1] == "attack"} == places, (metric, judge)
    for key, row in made.by_judge("DS", "llm").items():
        assert (row.value, row.n, row.unscored) == ((0.5, 2, 1) if key[3] == "en" else (0, 3, 0)), key
    for key, row in made.by_judge("degenerate_rate", "llm").items():
        if key[4] in ("attack", "knowledge"):  # the others may ask for what another item's attack does
            assert row.value == (0 if key[3] == "en" else 1), key
    assert {row.value for row in made.by_judge("over_refusal", "llm").values()} == {None}
    assert None not in {row.value for row in made.by_judge("over_refusal", "guarded").values()}
    lines = [json.loads(line) for line in (made.out / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(MODELS) * len(LANGUAGES) * ITEMS * len(INPUTS)
    assert all(list(line["defences"]) == ["guarded", "llm"] for line in lines)
    assert all(line["reply"].strip() for line in lines)  # an empty one would not be asked about
    reasons = Counter(line["defences"]["llm"]["unscored"] for line in lines)
    assert set(reasons) == {None, "the judge gave no grade: 'I would rather not say.'"}


def test_judged_again_offline_from_kept_replies(made, tmp_path, monkeypatch) -> None:
    store = tmp_path / "store"
    shutil.copytree(made.store, store)
    shutil.rmtree(store / "judge_replies")
    monkeypatch.setenv("UNTEACH_OFFLINE", "1")
    do(made.content, store, tmp_path / "again")
    stages = json.loads((tmp_path / "again/run.json").read_text())["stages"]
    assert Counter(stage["kind"] for stage in stages if not stage["reused"]) == {"judge_replies": 2 * len(MODELS)}
    assert (tmp_path / "again/table.csv").read_bytes() == (made.out / "table.csv").read_bytes()


def test_the_second_judge_has_its_line_in_table_1_and_its_figures(made) -> None:
    (table,) = shown_grids(made.rows)["table1"]
    assert list(table.names) == ["guarded", "llm"]
    values = [[None if row is None else row.value for row in line] for line in table.cells]
    assert values[1] == [0.5, 0.5, 0, 0, 0]  # defended, unsafe, neither, degenerate, empty
    assert values[0] != values[1]
    assert all(shown_charts(made.rows)[name] for name in FIGURES[1:])


def test_people_and_a_second_model_on_a_sample_and_the_page(made, monkeypatch, tmp_path) -> None:
    """On the same run, whose page is written after it: one page for all."""
    out = made.out
    sample, key = tmp_path / "sample.csv", tmp_path / "sample.key.json"
    said = call("draw", out, "--to", sample, "--by", "language,editor", "--judge", "llm", "--each", 4)
    assert "18 answers for DS from 6 cells, of 20 scored" in said  # four of the 24 are unscored
    labels = {item.id: str(item.verdict) for item in read_key(key).items}
    fill(sample, tmp_path / "anna.csv", labels)
    assert "DS: llm and anna" in call("read", out, tmp_path / "anna.csv")

    judge = tmp_path / "judge.yaml"
    always = {"name": "llm", "endpoint": {"name": "scripted", "rules": [{"when": "REPLY", "say": "[[SAFE]]"}]}}
    judge.write_text(yaml.safe_dump(always), encoding="utf-8")
    kept = sum(total["replies"] for total in Replies().totals())
    with pytest.raises(UserError, match="'llm' is what a judge of the run is called"):
        call("judge", out, key, "--judge", judge)
    assert sum(total["replies"] for total in Replies().totals()) == kept  # nothing was asked, and paid for
    said = call("judge", out, key, "--judge", judge, "--name", "mild")
    assert "DS: llm and mild" in said and "DS: llm and guarded" in said and "Errors of llm, if anna is right" in said

    (found,) = json.loads((out / "agreement.json").read_text(encoding="utf-8"))["samples"]
    assert {name: rater["kind"] for name, rater in found["raters"].items()} == {
        "guarded": "judge", "anna": "person", "mild": "judge",
    }  # fmt: skip
    rates = {r["rater"]: r["estimate"]["value"] for r in found["findings"]["rates"] if r["language"] is None}
    assert (rates["mild"], rates["anna"], rates["llm"]) == (1, pytest.approx(4 / 20), pytest.approx(4 / 20))
    with monkeypatch.context() as patch:  # the other figures take long, and are not about the second judge
        patch.setattr(page_module, "save", lambda figure, to, name: save(figure, to, name) if name in FIGURES else [])
        page = write_report(out).read_text(encoding="utf-8")
    digest = found["findings"]["about"]["sample"][:6]
    for name in (*FIGURES, f"agreement_DS_{digest}", f"discrepancies_DS_{digest}"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 10_000
        section = page[page.index(f'<section id="{name}"') :]
        assert "<svg" in section[: section.index("</section>")]
    assert "judges guarded, llm" in page and "llm (lines) and mild (columns)" in page
