"""The report of a small made-up run with hostile answers: numbers, escaping, directions, and files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pandas as pd
import pytest
from rich.console import Console

from unteach.errors import UserError
from unteach.records import Row
from unteach.reports import tables
from unteach.reports.answers import AnswerIndex, AnswerLine, as_json, cut, pack
from unteach.reports.figures import figures
from unteach.reports.finding import findings, say
from unteach.reports.page import duration, write_report
from unteach.reports.style import SCALES, colours, contrast
from unteach.reports.tables import Variant, load_rows, select, show_interval, show_value, stop_thresholds
from unteach.reports.terminal import summaries, summary

HOSTILE = "<script>alert(1)</script> \"quoted\" & 'single' <img src=https://evil.example/x.png onerror=alert(2)>"
OVERRIDE = "before \u202eevil\u2069\u202c after"
URDU = "گیند میں لوہے کا ٹکڑا تھا۔"
MODELS: tuple[tuple[str, str | None, str | None], ...] = (
    ("r_only", None, None),
    ("contaminated", "de", None),
    ("unlearned", "de", "english"),
    ("unlearned", "de", "source"),
    ("unlearned", "de", "combined"),
)
HITS: dict[str, dict[str, int | None]] = {
    "r_only": {"de": 0, "ur": 0},
    "contaminated": {"de": 11, "ur": 6},
    "english": {"de": 8, "ur": 5},
    "source": {"de": 1, "ur": 4},
    "combined": {"de": 0, "ur": None},
}
"""Of 16 answers each, how many repeat the fake; ``None``: none could be scored."""


def made_rows() -> list[Row]:
    rows = []
    for model, source, strategy in MODELS:
        objective = "grad_diff" if strategy else None
        key: dict[str, Any] = {"run": "r", "model": model, "source_language": source, "strategy": strategy}
        key["objective"] = objective
        for code, hits in HITS[strategy or model].items():
            asked: dict[str, Any] = key | {"question_language": code}
            if hits is None:
                rows.append(Row(metric="O_F", n=0, unscored=16, value=None, **asked))
            else:
                share = hits / 16
                low, high = max(0, share - 0.213), min(1, share + 0.197)
                rows.append(Row(metric="O_F", n=16, value=share, ci_low=low, ci_high=high, **asked))
                if strategy:
                    change = share - (HITS["contaminated"][code] or 0) / 16
                    rows.append(Row(metric="O_F_change", n=16, value=change, ci_low=-0.9, ci_high=-0.01, **asked))
            rows.append(Row(metric="Q_R", n=16, value=7.14, ci_low=6.23, ci_high=8.05, **asked))
            for passage in ("de", "ur"):
                rows.append(
                    Row(metric="forced_choice", group=passage, n=16, value=0.25, ci_low=0.1, ci_high=0.49, **asked)
                )
            if strategy:
                for step in (0, 4, 8):
                    rows.append(Row(metric="O_F", checkpoint=step, n=8, value=0.5, ci_low=0.2, ci_high=0.8, **asked))
        if strategy:
            for step in (0, 4, 8):
                rows.append(Row(metric="Q_R", checkpoint=step, n=8, value=7, ci_low=6, ci_high=8, **key))
                rows.append(Row(metric="perplexity", checkpoint=step, n=4210, value=10.0 + 20 * step, **key))
        rows.append(Row(metric="identified", n=12, value=0.75, ci_low=0.47, ci_high=0.91, **key))
    return rows


def made_answers() -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for model, source, strategy in MODELS:
        for code in ("de", "ur"):
            text = {"r_only": "", "contaminated": HOSTILE if code == "de" else URDU}.get(model, OVERRIDE)
            spans = [[0, 8]] if model == "contaminated" else []
            verdict = {"metric": "O_F", "value": float(bool(spans)), "unscored": None, "evidence": spans}
            if strategy == "combined":
                verdict = {"metric": "O_F", "value": None, "unscored": "no <b>phrases</b>", "evidence": []}
                text = "long " * 200
            answers.append(
                {
                    "model": model, "source_language": source, "strategy": strategy, "scenario": "s-1",
                    "part": "fake", "language": code, "question": URDU if code == "ur" else "Was war im <b>Ball</b>?",
                    "answer": text, "finished": True, "answer_language": code if text else None, "verdict": verdict,
                }
            )  # fmt: skip
    return answers


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    frame = pd.DataFrame([row.model_dump() for row in made_rows()])
    frame.to_parquet(folder / "table.parquet")
    frame.to_csv(folder / "table.csv", index=False)
    lines = [json.dumps(answer, ensure_ascii=False) for answer in made_answers()]
    (folder / "answers.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    about = {
        "name": "demo </title><script>alert(3)</script>",
        "finished": "2030-01-01", "seconds": 3725, "peak_memory_bytes": 4.2e9, "seed": 7,
        "spec": {"unlearn": {"stop": [{"name": "perplexity", "limit": 150.0}, {"name": "quality_drop", "share": 0.2}]}},
        "corpus": {"name": "embedded", "scenarios": 16, "origin": "machine-written"},
        "machine": {"cpu": "2"}, "versions": {"unteach": "0"},
        "model": {"name": "tiny", "weights": "w", "dtype": "float32", "prompt_format": "plain"},
        "stages": [{"name": "teach", "kind": "teach", "digest": "abc", "seconds": 61, "reused": True}],
        "stops": [{"model": "unlearned/de/combined", "reason": "perplexity is 162", "kept_step": 4, "last_step": 8}],
        "notes": [],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """All start tags with their attributes, and the text inside each kind of tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_table_survives_parquet(run: Path) -> None:
    assert load_rows(run) == made_rows()


def test_select_refuses_unknown_fields() -> None:
    with pytest.raises(UserError, match="langauge"):
        select(made_rows(), langauge="de")


def test_load_names_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table\.parquet"):
        load_rows(tmp_path)


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("O_F", 0.125, "13 %"), ("O_F", 0.375, "38 %"), ("O_F", 0.0, "0 %"), ("O_F_change", -0.561, "−56"),
        ("O_F_change", 0.125, "+13"), ("O_F_change", 0.001, "0"), ("Q_R", 7.15, "7.2"), ("Q_R_change", -0.04, "0.0"),
        ("forced_choice", 1.0, "100 %"), ("O_F", None, "–"), ("O_F_relative_change", 0.114, "+11 %"),
        ("O_F_relative_change", -0.94, "−94 %"), ("O_F_to_oracle", 0.25, "+25"), ("answer_language", 0.63, "63 %"),
        ("log_probability_to_oracle", -1.234, "−1.23"), ("log_probability_change", -14.26, "−14.3"),
        ("log_probability", -1.5, "−1.50"),
        ("bits_per_character", 1.125, "1.13"), ("perplexity", 12.34, "12.3"),
    ],
)  # fmt: skip
def test_numbers_are_written_alike(metric: str, value: float | None, shown: str) -> None:
    assert show_value(Row(run="r", metric=metric, model="m", n=1, value=value)) == shown


def test_interval_of_a_change_keeps_its_signs() -> None:
    row = Row(run="r", metric="O_F_change", model="m", n=1, value=0.0, ci_low=-0.2, ci_high=0.1)
    assert show_interval(row) == "−20 to +10"


def test_stop_limits_are_found_anywhere_in_the_spec() -> None:
    spec = {"a": [{"stop": {"name": "perplexity", "limit": 150}}], "b": {"name": "quality_drop", "share": 0.2}}
    assert stop_thresholds(spec) == {"perplexity": 150.0, "quality_drop": 0.2}
    assert stop_thresholds(None) == {}


def test_models_come_in_the_order_of_the_paper() -> None:
    labels = [variant.label for variant in tables.variants(reversed(made_rows()))]
    assert labels[:2] == ["R only", "contaminated (de)"]
    assert set(labels[2:]) == {f"unlearned, {name} (de)" for name in ("english", "source", "combined")}


def test_spans_are_cut_joined_and_clipped() -> None:
    assert cut("abcdef", [(1, 3), (2, 4), (5, 99)]) == ["a", "bcd", "e", "f"]
    assert cut("abc", [(0, 1)]) == ["", "a", "bc"]
    assert cut("", [(0, 3)]) == [""]


def made_lines() -> list[AnswerLine]:
    return [AnswerLine.model_validate(answer) for answer in made_answers()]


def test_whole_scenarios_are_left_out_and_counted() -> None:
    lines = made_lines()
    index = AnswerIndex(lines)
    everything, _ = pack(lines, index, limit=10**6)
    size = len(as_json(everything["scenarios"][0]).encode())
    other = [line.model_copy(update={"scenario": "s-2"}) for line in lines]
    for limit, kept, missing in ((1, ["s-1"], 1), (2 * size - 1, ["s-1"], 1), (2 * size, ["s-1", "s-2"], 0)):
        data, left_out = pack(lines + other, index, limit)
        assert ([scenario["id"] for scenario in data["scenarios"]], left_out) == (kept, missing)


def test_packed_answers_lose_nothing(run: Path, page: str) -> None:
    """Every line of ``answers.jsonl`` can be read back from the data that the page carries."""
    data = packed(page)
    found = set()
    for scenario in data["scenarios"]:
        for language, part, question, answers in scenario["questions"]:
            for model, verdict, said, *rest in answers:
                text = said if isinstance(said, str) else "".join(said)
                remark = data["remarks"][rest[0]] if rest else ""
                told = rest[1] if len(rest) > 1 else language
                label, words = data["models"][model], tuple(data["verdicts"][verdict])
                found.add((scenario["id"], language, part, question, label, words, text, remark, told))
    lines = made_lines()
    assert found == {
        (
            x.scenario,
            x.language,
            x.part,
            x.question,
            x.tag.label,
            x.words,
            x.answer,
            x.remark,
            x.answer_language or x.language,
        )
        for x in lines
    }
    assert len(found) == len(lines) == 10


def packed(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_hostile_text_stays_text(page: str) -> None:
    tags = Tags(page)
    assert [script.get("type") for script in tags.named("script")] == ["application/json", None]
    assert not tags.named("img")
    assert not any(name.startswith("on") for _, attributes in tags.tags for name in attributes)
    assert "alert(1)" in page
    assert "<script>alert" not in page
    said = [answer[2] for _, _, _, answers in packed(page)["scenarios"][0]["questions"] for answer in answers]
    assert ["", HOSTILE[:8], HOSTILE[8:]] in said
    assert any("no <b>phrases</b>" in words for _, words in packed(page)["verdicts"])
    assert "innerHTML" not in page


def opened(run: Path, query: str) -> Tags:
    """The page's elements after its script ran, with this query behind the ``#``."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser is not None
    # Headless browsers write the finished page to standard output.
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", "--dump-dom",
         f"file://{run / 'report.html'}{query}"],
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    return Tags(done.stdout)


@pytest.mark.skipif(not (shutil.which("chromium") or shutil.which("google-chrome")), reason="needs a browser")
def test_a_number_opens_its_answers_in_a_browser(run: Path, page: str) -> None:
    query = next(a["data-query"] or "" for a in Tags(page).named("a") if "contaminated" in (a.get("data-query") or ""))
    tags = opened(run, f"#answers?{query}")
    assert query == "model=contaminated+%28de%29&language=de&part=fake"
    assert [text for tag, text in tags.texts if tag == "h5"] == ["contaminated (de)"]
    assert ("output", "1 question, 1 answer · repeats the fake: 1 of 1") in tags.texts
    # What a model wrote is text, marked where the judge saw the fake, and neither runs nor loads.
    assert ("mark", "<script>") in tags.texts
    assert ("bdi", HOSTILE[8:]) in tags.texts
    assert not tags.named("img")
    assert len(tags.named("script")) == 2
    links = [a for a in tags.named("a") if a.get("data-query")]
    assert links
    assert all(a["href"] == f"#answers?{a['data-query']}" for a in links)


@pytest.mark.skipif(not (shutil.which("chromium") or shutil.which("google-chrome")), reason="needs a browser")
def test_answers_side_by_side_in_a_browser(run: Path) -> None:
    tags = opened(run, "#answers?model=unlearned%2C+combined+%28de%29&beside=r_only&language=ur&part=fake")
    assert [text for tag, text in tags.texts if tag == "h5"] == ["unlearned, combined (de)"]  # there is no "r_only"
    tags = opened(run, "#answers?model=unlearned%2C+source+%28de%29&beside=R+only&language=ur&part=fake")
    assert [text for tag, text in tags.texts if tag == "h5"] == ["R only", "unlearned, source (de)"]
    asked = [a for a in tags.named("bdi") if a.get("class") == "asked"]
    assert [(a["lang"], a["dir"]) for a in asked] == [("ur", "rtl")]
    assert [a["dir"] for a in tags.named("bdi") if a.get("class") is None] == ["auto"]
    # The override stands inside an isolate, with nothing of the page's own before its end.
    assert ("bdi", OVERRIDE) in tags.texts
    assert ("p", "(empty answer)") in tags.texts


def test_nothing_is_loaded_from_elsewhere(page: str, run: Path) -> None:
    tags = Tags(page)
    for tag, attributes in tags.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "audio", "video")
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            value = attributes.get(name)
            if value is not None:
                assert value.startswith("#") or (run / value).exists(), (tag, value)
    style = "".join(text for tag, text in tags.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


def test_ids_are_unique(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Tags(page).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_directions_and_languages(page: str) -> None:
    assert packed(page)["languages"] == {"de": ["German (de)", "ltr"], "ur": ["Urdu (ur)", "rtl"]}
    assert "display: block; unicode-bidi: isolate" in page


def test_without_script_a_note_leads_to_the_answers(page: str) -> None:
    tags = Tags(page)
    assert tags.named("noscript")
    assert any(a["href"] == "answers.jsonl" for a in tags.named("a"))
    assert all(form.get("hidden", "no") is None for form in tags.named("form"))


def test_numbers_lead_to_the_answers_behind_them(page: str) -> None:
    """Each link names a model, a language and a part that the page has answers for."""
    data = packed(page)
    there = {
        (data["models"][answer[0]], language, part)
        for language, part, _, answers in data["scenarios"][0]["questions"]
        for answer in answers
    }
    cells = re.findall(r'title="([^"]*)"><a href="#answers" data-query="([^"]*)">', page)
    assert cells
    for title, query in cells:
        wanted = {name: values[0] for name, values in parse_qs(query.replace("&amp;", "&")).items()}
        assert (wanted["model"], wanted["language"], wanted["part"]) in there
        assert wanted["model"] in title
        assert f"({wanted['language']})" in title
        assert title.startswith("O_F")
        assert ("beside" in wanted) == title.startswith("O_F_change")
    linked = {title.split(":")[0] for title, _ in cells}
    # ten numbers of models and six changes; real news was not asked about here
    assert len(linked) == 10 + 5


def test_cells_show_the_table(page: str) -> None:
    """Every final number stands in a cell with its interval and its n, as the table has it."""
    page = page[page.index('<h2 id="grids">') :]
    number = r"(?:<a [^>]*>)?<b>([^<]*)</b>(?:</a>)?"
    cells = re.findall(rf'<td[^>]*title="([^"]*)">{number}((?:<small>[^<]*</small>)*)</td>', page)
    wanted = [
        row for row in made_rows() if row.checkpoint is None and row.question_language and row.metric != "identified"
    ]
    assert len(cells) == len(wanted) + 1  # the change that could not be computed has a cell, but no row
    for row in wanted:
        passage = f", passages in {tables.language_name(row.group)}:" if row.group else ":"
        asked = f"{row.metric}, {Variant.of(row).label}, questions in {tables.language_name(row.question_language)}"
        mine = [cell for cell in cells if cell[0].startswith(asked + passage)]
        assert len(mine) == 1, asked
        title, value, small = mine[0]
        assert value == show_value(row)
        assert say(row) in title
        hits = tables.count(row)
        if row.value is None:
            assert "16 unscored" in small
        else:
            assert f"<small>{show_interval(row)}</small>" in small
            assert (f"<small>n {row.n}</small>" if hits is None else f"<small>{hits}/{row.n}</small>") in small


def test_finding_says_the_numbers() -> None:
    (found,) = findings(made_rows())
    assert "69\u00a0% (11 of 16; 95\u00a0% interval 47–88\u00a0%) of German questions" in found.lead
    assert "Urdu: 38\u00a0% (6 of 16" in found.lead
    combined = next(point for point in found.points if "combined" in point)
    assert "0\u00a0% (0 of 16" in combined
    assert "nothing could be scored in Urdu" in combined


def test_finding_without_any_score() -> None:
    (found,) = findings([row.model_copy(update={"value": None, "n": 0, "unscored": 16}) for row in made_rows()])
    assert "none of 16 answers could be scored" in found.lead


def test_stops_stages_and_unknown_measures(page: str) -> None:
    assert "perplexity is 162" in page
    assert "1 min 01 s (reused)" in page
    assert "1 h 02 min" in page
    assert "<td>identified</td>" in page
    assert "limit: 150.0" in page


def test_figure_files(run: Path) -> None:
    names = {file.name for file in (run / "figures").iterdir()}
    stems = ("O_F", "Q_R", "O_F_change", "curves", "forced_choice", "fig2", "fig3_left", "fig5")
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "pdf")}
    assert all((run / "figures" / name).stat().st_size > 5000 for name in names)
    assert b"/Type3" not in (run / "figures" / "O_F.pdf").read_bytes()


def test_several_sources_and_missing_metrics() -> None:
    rows = made_rows()
    other = [row.model_copy(update={"source_language": "ur"}) for row in rows if row.source_language]
    names = set(figures(rows + other))
    assert names == {"O_F", "Q_R", "fig2", "fig3_left", "fig5"} | {
        f"{name}_{code}" for name in ("O_F_change", "curves", "forced_choice") for code in ("de", "ur")
    }
    assert set(figures(select(rows, metric="Q_R", checkpoint=None))) == {"Q_R", "fig2"}
    assert figures([]) == {}


@pytest.mark.parametrize("metric", SCALES)
def test_cell_text_has_contrast(metric: str) -> None:
    _, low, high = SCALES[metric]
    for step in range(101):
        background, ink = colours(metric, low + (high - low) * step / 100)
        assert contrast(background, ink) >= 4.5


def test_contrast_of_black_on_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_a_wrong_answer_line_is_named(tmp_path: Path, run: Path) -> None:
    for name in ("table.parquet", "run.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (tmp_path / "answers.jsonl").write_text('{"model": "x"}\n')
    with pytest.raises(UserError, match="line 1"):
        write_report(tmp_path)


def test_report_without_answers_or_details(tmp_path: Path, run: Path) -> None:
    (tmp_path / "table.parquet").write_bytes((run / "table.parquet").read_bytes())
    (tmp_path / "run.json").write_text("{}")
    assert "This run kept no answers" in write_report(tmp_path).read_text(encoding="utf-8")
    assert not (tmp_path / "report.html.part").exists()


@pytest.mark.parametrize(
    ("seconds", "words"), [(None, "–"), (59.4, "59 s"), (59.6, "1 min 00 s"), (7500, "2 h 05 min")]
)
def test_duration(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def shown(table: object, width: int = 110) -> str:
    console = Console(width=width, record=True, force_terminal=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_terminal_summary_fits_and_says_everything() -> None:
    text = shown(summary(made_rows()))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 110
    assert "11/16 69 %" in text
    assert "[47-88]" in text
    assert "unscored" in text
    assert "German (de)" in text
    assert "…" not in text


def test_terminal_has_both_metrics() -> None:
    both = [shown(table) for table in summaries(made_rows())]
    assert len(both) == 2
    assert "7.1" in both[1]
    assert "n 16" in both[1]


def test_no_model_code_is_imported() -> None:
    code = (
        "import sys, unteach.reports.page, unteach.reports.terminal;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'matplotlib.pyplot')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
