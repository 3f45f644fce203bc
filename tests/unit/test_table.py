"""The one table, and the records that make it, on disk."""

import csv
import math

import pandas as pd
import pytest

from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.table import COLUMNS, build, write_table
from unteach.records import (
    Answer,
    Choice,
    Defence,
    EditLoss,
    EditRecord,
    KnownAnswer,
    Question,
    Reading,
    Reply,
    Request,
    Row,
    Sample,
    Verdict,
    write_records,
)

FULL = Row(
    run="r",
    metric="O_F",
    model="unlearned",
    source_language="de",
    strategy="combined",
    objective="grad_diff",
    editor="rome",
    judge="keywords",
    variant="unlearn.tuning.rank=8, over 3 seeds",
    seed=0,
    checkpoint=4,
    question_language="zh-Hant",
    group="g",
    n=16,
    unscored=2,
    value=0.25,
    ci_low=0.1,
    ci_high=0.5,
)
BARE = Row(run="r", metric="Q_R", model='with, comma and "quotes"\nand a line', n=0, value=None)
ROWS = [FULL, BARE, FULL.model_copy(update={"checkpoint": None, "seed": None, "value": 1 / 3, "ci_low": None})]


def from_parquet(folder):
    frame = pd.read_parquet(folder / "table.parquet")
    return [
        Row(**{name: None if pd.isna(value) else value for name, value in record.items()})
        for record in frame.to_dict("records")
    ]


def test_columns_are_those_of_the_design():
    assert COLUMNS == (
        "run",
        "metric",
        "model",
        "source_language",
        "strategy",
        "objective",
        "editor",
        "judge",
        "variant",
        "seed",
        "checkpoint",
        "question_language",
        "group",
        "n",
        "unscored",
        "value",
        "ci_low",
        "ci_high",
    )


def test_parquet_gives_the_rows_back_exactly(tmp_path):
    write_table(ROWS, tmp_path)
    assert from_parquet(tmp_path) == ROWS


def test_csv_has_six_digits_and_empty_fields_for_what_is_missing(tmp_path):
    write_table(ROWS, tmp_path)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == COLUMNS
    method, point = ["de", "combined", "grad_diff", "rome", "keywords"], ["unlearn.tuning.rank=8, over 3 seeds", "0"]
    assert lines[0] == ["r", "O_F", "unlearned", *method, *point, "4", "zh-Hant", "g", "16", "2", "0.25", "0.1", "0.5"]
    assert lines[1] == ["r", "Q_R", BARE.model, *[""] * 10, "0", "0", "", "", ""]
    assert lines[2][9:11] == ["", ""] and lines[2][15:] == ["0.333333", "", "0.5"]


def test_csv_and_parquet_say_the_same(tmp_path):
    write_table(ROWS, tmp_path)
    frame = pd.read_parquet(tmp_path / "table.parquet")
    texts = {name: str(kind) for name, kind in frame.dtypes.items()}
    again = pd.read_csv(tmp_path / "table.csv", dtype=texts)
    pd.testing.assert_frame_equal(again, frame, rtol=1e-5)


def test_types_do_not_depend_on_what_is_in_the_table(tmp_path):
    kinds = []
    for number, rows in enumerate((ROWS, [BARE], [])):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_table(rows, folder)
        frame = pd.read_parquet(folder / "table.parquet")
        assert tuple(frame.columns) == COLUMNS and len(frame) == len(rows)
        kinds.append([str(kind) for kind in frame.dtypes])
    assert kinds[0] == kinds[1] == kinds[2]


def test_table_is_built_measure_by_measure():
    said = [
        Verdict(scenario="a", part="fake", language="en", metric="O_F", value=1),
        Verdict(scenario="a", part="real", language="en", metric="Q_R", value=5),
    ]
    evidence = Evidence("r", {"r_only": ModelEvidence(ModelTag("r_only"), said)})
    for names in (["occurrence", "quality"], ["quality", "occurrence"]):
        rows = build(evidence, [MEASURES.parse(name) for name in names])
        assert [row.metric for row in rows] == [{"occurrence": "O_F", "quality": "Q_R"}[name] for name in names]


REQUEST = Request(item="a", input="otherAQ", language="th", text="ทำ\u2028\n")
QUESTION = Question(scenario="a", part="fake", language="ur", text="کیا؟\u2028\n\x85")
RECORDS = [
    QUESTION,
    Sample(scenario="a", kind="qa", language="zh", text=" 甲\n", context="乙\r\n"),
    Answer(question=QUESTION, prompt="p\n", text="\u0000\u2028\x85", tokens=3, finished=False, unasked="too long"),
    Verdict(scenario="a", part="real", language="en", metric="Q_R", value=1 / 3, evidence=((0, 3), (5, 9))),
    Choice(right="a", question_language="en", passage_language="de", scores={"b": -0.1, "a": -1e-300}),
    Reading(step=3, perplexity=1e300, quality=None, verdicts=()),
    REQUEST,
    Reply(request=REQUEST, prompt="p\n", text="\u0000", tokens=3, finished=True),
    Defence(item="a", input="attack", language="bn", outcome=None, reason="", unscored="no answer", evidence=((0, 3),)),
    KnownAnswer(item="a", language="en", log_probability=-1 / 3, tokens=1, characters=2),
    EditRecord(
        item="a",
        language="en",
        layer=None,
        layers=4,
        distances=(1 / 3, 0.0),
        losses=(EditLoss(total=0.1, nll=1.0, kl=None),),
    ),
    FULL,
    BARE,
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_come_back_from_disk_as_they_were(tmp_path, record):
    write_records(tmp_path / "a.jsonl", [record, record])
    assert type(record).read(tmp_path / "a.jsonl") == [record, record]


def test_a_perplexity_that_is_no_number_comes_back_from_disk(tmp_path):
    write_records(tmp_path / "a.jsonl", [Reading(step=3, perplexity=float("nan"), quality=None)])
    (again,) = Reading.read(tmp_path / "a.jsonl")
    assert math.isnan(again.perplexity)


def test_no_records_is_an_empty_file(tmp_path):
    write_records(tmp_path / "a.jsonl", [])
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    assert Row.read(tmp_path / "a.jsonl") == []


def test_records_are_frozen_and_strict_about_their_fields():
    with pytest.raises(ValueError, match="frozen"):
        FULL.value = 0.5
    with pytest.raises(ValueError, match="Extra inputs"):
        Row(run="r", metric="m", model="m", n=1, value=None, colour="red")


def test_order_of_scores_is_kept_so_ties_stay_the_same(tmp_path):
    tied = Choice(right="a", question_language="en", passage_language="de", scores={"b": -1.0, "a": -1.0})
    write_records(tmp_path / "a.jsonl", [tied])
    assert tied.chosen == Choice.read(tmp_path / "a.jsonl")[0].chosen == "b"
