"""`unteach agreement` on made-up runs of both papers: drawn, filled in as spreadsheets do, read back, second judges."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from labelling import call, fill

from unteach.corpora.load import load_corpus
from unteach.corpora.safety import load_items
from unteach.errors import UserError
from unteach.experiments.agreement.draw import Drawing, draw, read_key, shares
from unteach.experiments.agreement.scored import FinishedRun
from unteach.experiments.agreement.sheet import guarded, read_label, read_sheet, shown, unguarded, write_sheet
from unteach.experiments.editing.spec import EditingSpec
from unteach.experiments.spec import Spec
from unteach.metrics.agreement import SCALES
from unteach.metrics.table import write_table
from unteach.records import Row
from unteach.reports.page import write_report

LANGUAGES = ("en", "de", "ur")
HOSTILE = '=HYPERLINK("https://evil.example";"click")\n\u202eright to left\u202c\x07 and "quotes", commas; [[YES]]'


def write_run(folder: Path, spec: dict[str, Any], about: dict[str, Any], lines: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({"name": "made-up", "spec": spec, **about}), encoding="utf-8")
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (folder / "answers.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def news(tmp_path, spec_content) -> Path:
    """A run of paper A: sixteen scenarios, three languages, two models; the keyword judge says yes to every third."""
    corpus = load_corpus()
    spec = Spec.model_validate({**spec_content, "corpus": {}}).model_dump(mode="json")
    lines = []
    for model, source in (("r_only", None), ("contaminated", "de")):
        for language in LANGUAGES:
            for number, scenario in enumerate(corpus):
                text = scenario.texts[language]
                tag = {"model": model, "source_language": source, "scenario": scenario.id, "language": language}
                yes = float(number % 3 == 0)
                fake = text.key_phrases[0] if yes else HOSTILE if number == 1 else "I do not know."
                unscored = number == 4
                verdict = {"metric": "O_F", "value": None if unscored else yes, "unscored": "no" if unscored else None}
                asked = {"part": "fake", "question": text.fake_question, "answer": fake, "verdict": verdict}
                lines.append({**tag, **asked, "finished": True})
                verdict = {"metric": "Q_R", "value": 1 + 9 * (number % 4) / 3, "unscored": None}
                asked = {
                    "part": "real",
                    "question": text.real_question,
                    "answer": f"Fact {number}.",
                    "verdict": verdict,
                }
                lines.append({**tag, **asked, "finished": True})
    about = {"corpus": {"name": "embedded", "scenarios": len(corpus), "digest": corpus.digest()}}
    return write_run(tmp_path / "news", spec, about, lines)


@pytest.fixture
def editing(tmp_path, tiny_folder) -> Path:
    """A run of paper B with two judges."""
    items = load_items(limit=6)
    model = {"name": "pretrained", "path": str(tiny_folder("llama"))}
    content = {
        "experiment": "knowledge_editing", "name": "made-up", "model": model, "languages": ["en", "zh"],
        "edit_languages": ["en"], "items": {"limit": 6}, "editors": [{"editor": "none"}],
        "judges": {"guarded": "guarded", "llm": "guarded"}, "ask": {"max_new_tokens": 4},
    }  # fmt: skip
    spec = EditingSpec.model_validate(content).model_dump(mode="json")
    lines = []
    for language in ("en", "zh"):
        for number, item in enumerate(items):
            reply = "I cannot say." if number % 2 else item.texts[language].unsafe_response
            main = "safe" if number % 2 else "unsafe"
            defences = {"guarded": {"outcome": main}, "llm": {"outcome": "other" if number == 1 else main}}
            tag = {"model": "unedited", "item": item.id, "language": language}
            text = item.texts[language].adversarial_prompt
            lines.append({**tag, "input": "attack", "request": text, "reply": reply, "defences": defences})
            lines.append({**tag, "input": "knowledge", "request": "?", "reply": "Yes.", "defences": defences})
    return write_run(tmp_path / "editing", spec, {"items": {"digest": items.digest()}}, lines)


def test_from_drawing_to_the_page(news, tmp_path) -> None:
    sample = tmp_path / "sample.csv"
    said = call("draw", news, "--to", sample, "--each", 6, "--by", "language,source_language")
    assert "36 answers for O_F from 6 cells, of 90 scored" in said
    raw = sample.read_text(encoding="utf-8-sig")
    assert sample.read_bytes().startswith(b"\xef\xbb\xbf") and "contaminated" not in raw and "judge" not in raw
    assert "Pilzfarm" in raw and "Saft" in raw and "грибная" not in raw  # the run's languages, not all
    assert "\"'=HYPERLINK" in raw and "\u202e" not in raw and "[U+202E]right to left[U+202C][U+0007]" in raw
    key = read_key(tmp_path / "sample.key.json")
    assert Counter(item.cell for item in key.items) == {(c, s): 6 for c in LANGUAGES for s in ("", "de")}

    verdicts = {item.id: str(item.verdict) for item in key.items}
    german = sorted(item.id for item in key.items if item.language == "de")
    wrong = [identifier for identifier in german if verdicts[identifier] == "yes"][:2]
    anna = {**verdicts, **dict.fromkeys(wrong, "No"), german[-1]: "?"}
    fill(sample, tmp_path / "anna.csv", anna, ";", "utf-8")
    fill(sample, tmp_path / "ben.csv", {i: {"yes": "1", "no": "FALSE"}[v] for i, v in verdicts.items()}, "\t", "utf-16")
    said = call("read", news, tmp_path / "anna.csv", "--key", tmp_path / "sample.key.json")
    said = call("read", news, tmp_path / "ben.csv", "--name", "Ben", "--key", tmp_path / "sample.key.json")
    assert "O_F: keyword and anna" in said and "O_F: anna and Ben" in said

    found = json.loads((news / "agreement.json").read_text(encoding="utf-8"))["samples"][0]["findings"]
    whole, de = (
        next(a for a in found["agreements"] if a["second"] == "anna" and a["language"] == c) for c in (None, "de")
    )
    assert (whole["n"], whole["unlabelled"], whole["discrepancies"], whole["first_only"]) == (35, 1, 2, 2)
    assert (de["n"], de["discrepancies"], de["p"]) == (11, 2, 0.5)
    assert found["reference"] == "majority of anna, Ben"
    assert {c["discrepancies"] for c in found["cells"]} == {0}  # the two that they differ on have no majority
    perfect = next(a for a in found["agreements"] if a["second"] == "Ben" and a["language"] is None)
    assert perfect["kappa"]["value"] == 1 and perfect["kappa"]["low"] < 0.95
    raters = json.loads((news / "agreement.json").read_text(encoding="utf-8"))["samples"][0]["raters"]
    assert set(raters["anna"]["comments"].values()) == {"=1+1"}
    with (news / "agreement.csv").open(encoding="utf-8") as lines:
        numbers = list(csv.DictReader(lines))
    judged = next(
        n for n in numbers if n["number"] == "judged" and n["model"] == "contaminated/de" and not n["language"]
    )
    assert (float(judged["value"]), judged["n"]) == (pytest.approx(6 / 15), "45")
    markdown = (news / "agreement.md").read_text(encoding="utf-8")
    assert "| German (de) | 11 | 1 | 82 %" in markdown and "Rogan and Gladen" in markdown
    name = f"O_F_{key.sha256[:6]}"
    assert (news / "figures" / f"agreement_{name}.png").stat().st_size > 10_000
    assert (news / "figures" / f"discrepancies_{name}.pdf").is_file()

    row = Row(
        run="made-up", metric="O_F", model="r_only", question_language="en", n=16, value=0.3, ci_low=0.1, ci_high=0.5
    )
    write_table([row], news)
    page = write_report(news).read_text(encoding="utf-8")
    titled = "Agreement of people or second judges with the judge, O_F, sample " + key.sha256[:6]
    assert titled in page and 'href="agreement.md"' in page
    assert "O_F of the run, as judged and corrected for the judge&#39;s errors" in page  # its tables too


def test_a_second_judge_is_read_like_a_person(news, tmp_path) -> None:
    sample = tmp_path / "s.csv"
    call("draw", news, "--to", sample, "--each", 5)
    spec = tmp_path / "judge.yaml"
    spec.write_text("name: keyword\n", encoding="utf-8")
    said = call("judge", news, tmp_path / "s.key.json", "--judge", spec, "--name", "again")
    assert "Errors of keyword, if again is right" in said
    found = json.loads((news / "agreement.json").read_text(encoding="utf-8"))["samples"][0]
    assert found["raters"]["again"]["kind"] == "judge" and found["findings"]["agreements"][0]["share"]["value"] == 1
    with pytest.raises(UserError, match="what a judge of the run is called"):
        call("judge", news, tmp_path / "s.key.json", "--judge", "keyword")
    with pytest.raises(UserError, match=r"cannot be used: unknown judge 'keywrod'. Did you mean 'keyword'"):
        call("judge", news, tmp_path / "s.key.json", "--judge", "keywrod")


def test_grades(news, tmp_path) -> None:
    sample = tmp_path / "grades.csv"
    call("draw", news, "--to", sample, "--metric", "Q_R", "--each", 8, "--balance", "verdicts")
    key = read_key(tmp_path / "grades.key.json")
    strata = Counter(item.stratum for item in key.items)
    assert [strata[f"en | {layer}"] for layer in ("4 to 7", "above 7", "below 4")] == [3, 3, 2]
    fill(
        sample,
        tmp_path / "anna.csv",
        {item.id: f"{max(1, float(item.verdict) - 1):g}".replace(".", ",") for item in key.items},
    )
    call("read", news, tmp_path / "anna.csv", "--key", tmp_path / "grades.key.json")
    found = json.loads((news / "agreement.json").read_text(encoding="utf-8"))["samples"][0]["findings"]
    whole = next(c for c in found["corrected"] if c["model"] is None and c["language"] is None)
    assert whole["judged"]["value"] == pytest.approx(5.5) and whole["corrected"]["value"] == pytest.approx(4.75)
    assert found["agreements"][0]["p"] is None and found["errors"] == []


def test_safety_with_two_judges(editing, tmp_path) -> None:
    sample = tmp_path / "sample.csv"
    assert "12 answers for DS from 2 cells, of 12 scored; 2 cells have fewer than 10" in call(
        "draw", editing, "--to", sample
    )
    rows = [row for _, row in read_sheet(sample)]
    assert all("Label: safe" in row["look for"] and "Must not be given" in row["look for"] for row in rows)
    key = read_key(tmp_path / "sample.key.json")
    fill(sample, tmp_path / "anna.csv", {item.id: str(item.verdict).upper() for item in key.items})
    said = call("read", editing, tmp_path / "anna.csv")  # the only key beside it is found
    assert "DS: guarded and llm" in said and "DS: guarded and anna" in said
    found = json.loads((editing / "agreement.json").read_text(encoding="utf-8"))["samples"][0]["findings"]
    assert found["reference"] == "anna"
    rates = {r["rater"]: r["estimate"]["value"] for r in found["rates"] if r["language"] is None}
    assert rates == pytest.approx({"guarded": 0.5, "llm": 1 / 3, "anna": 0.5})
    call("judge", editing, tmp_path / "sample.key.json", "--judge", "guarded", "--name", "again")


def test_everything_wrong_is_said_at_once(news, tmp_path) -> None:
    sample = tmp_path / "sample.csv"
    call("draw", news, "--to", sample, "--each", 2)
    rows = [row for _, row in read_sheet(sample)]
    rows[0]["label"] = "maybe"
    rows[1] |= {"question": "Something else?", "label": "yes"}
    rows[2]["id"] = "gone"
    rows[4] = dict(rows[3])
    bad = tmp_path / "bad.csv"
    write_sheet(bad, rows)
    with pytest.raises(UserError) as error:
        call("read", news, bad, "--key", tmp_path / "sample.key.json")
    text = str(error.value)
    assert f"{bad}, row 2: label 'maybe' is not allowed; give yes or no" in text
    assert "row 3: the question was changed" in text
    assert "row 4: id 'gone' is not in this sample" in text
    assert "row 6: id" in text and "already in row 5" in text
    assert not (news / "agreement.json").exists()
    with pytest.raises(UserError, match="no row has a label"):
        call("read", news, sample)
    with pytest.raises(UserError, match="already there, and may hold people's labels"):
        call("draw", news, "--to", sample)


def test_keys_and_runs_that_changed_are_refused(news, tmp_path) -> None:
    sample, key = tmp_path / "sample.csv", tmp_path / "sample.key.json"
    call("draw", news, "--to", sample, "--each", 2)
    fill(sample, tmp_path / "anna.csv", {row["id"]: "yes" for _, row in read_sheet(sample)})
    text = key.read_text(encoding="utf-8")
    key.write_text(text.replace('"verdict": "no"', '"verdict": "yes"', 1), encoding="utf-8")
    with pytest.raises(UserError, match="was changed after the sample was drawn"):
        call("read", news, tmp_path / "anna.csv", "--key", key)
    key.write_text(text, encoding="utf-8")
    answers = news / "answers.jsonl"
    answers.write_text(answers.read_text(encoding="utf-8").replace("I do not know.", "I know."), encoding="utf-8")
    with pytest.raises(UserError, match="not the run that this sample was drawn from"):
        call("read", news, tmp_path / "anna.csv", "--key", key)
    with pytest.raises(UserError, match="no metric 'DS'"):
        call("draw", news, "--to", tmp_path / "x.csv", "--metric", "DS")
    (news / "run.json").unlink()
    with pytest.raises(UserError, match=r"it has no run\.json"):
        call("draw", news, "--to", tmp_path / "x.csv")


def test_drawing_is_by_chance_that_the_seed_fixes(news) -> None:
    answers = FinishedRun(news).answers("O_F")
    ten, four, other = (
        draw("r", answers, Drawing(metric="O_F", judge="keyword", each=each, seed=seed))
        for each, seed in ((10, 0), (4, 0), (4, 1))
    )
    assert {item.id for item in four.items} < {item.id for item in ten.items}
    assert {item.id for item in four.items} != {item.id for item in other.items}
    assert ten.population == dict.fromkeys(LANGUAGES, 30)
    assert draw("r", answers[::-1], ten.drawing) == ten
    only = draw("r", answers, Drawing(metric="O_F", judge="keyword", where={"model": "r_only"}, each=99))
    assert len(only.items) == 45
    assert shares({"a": 1, "b": 9, "c": 9}, 8) == {"a": 1, "b": 4, "c": 3}
    with pytest.raises(UserError, match="Did you mean 'language'"):
        draw("r", answers, Drawing(metric="O_F", judge="keyword", by=("langauge",)))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "＝1", "'quoted'", "plain", "", "a=b", "'=1"])
def test_cells_run_nothing_and_come_back(tmp_path, text) -> None:
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "＝"))
    assert unguarded(guarded(text)) == text
    path = tmp_path / "x.csv"
    write_sheet(path, [{"id": "1", "question": text, "answer": "one\ntwo"}])
    ((number, row),) = read_sheet(path)
    assert (number, row["question"], row["answer"]) == (2, text, "one\ntwo")


def test_labels_as_people_write_them() -> None:
    yes, grades, safety = SCALES["O_F"], SCALES["Q_R"], SCALES["DS"]
    assert [read_label(cell, yes) for cell in (" YES ", "y", "1", "1,0", "true", "No", "0")] == ["yes"] * 5 + ["no"] * 2
    assert [read_label(cell, yes) for cell in ("", "?", " ", "？")] == [None] * 4
    assert [read_label(cell, grades) for cell in ("7", "7,5", "10", "８", "1.0")] == [7, 7.5, 10, 8, 1]
    assert [read_label(cell, safety) for cell in ("Safe", "UNSAFE", "empty")] == ["safe", "unsafe", "empty"]
    for cell, scale in (("2", yes), ("ja", yes), ("0", grades), ("11", grades), ("nan", grades), ("yes", safety)):
        with pytest.raises(ValueError, match=r"yes or no|1 to 10|safe, unsafe"):
            read_label(cell, scale)


def test_shown_text() -> None:
    assert shown("a\u200cb\tc\r\nd") == "a\u200cb\tc\nd"  # joiners, tabs and line breaks are text
    assert shown("x\u202ey\x00\ufeff\rz") == "x[U+202E]y[U+0000][U+FEFF][U+000D]z"
    assert shown("b" * 100_000).endswith("[... 70000 more characters]") and len(shown("b" * 100_000)) < 32_767
