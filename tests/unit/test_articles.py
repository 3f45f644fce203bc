"""Reading articles from folders, tables of every form, and the hub; all texts are invented."""

import csv
import json
import sys
import types

import pyarrow as pa
import pytest
from pyarrow import parquet

from unteach.corpora.articles import LONGEST, Article, read_articles, slug, unique_ids
from unteach.corpora.columns import find_columns
from unteach.errors import UserError, UserErrors

TEXT = "The old mill of Dorrim grinds tea.\n\nIt has two wheels."
OTHER = "The new mill of Dorrim grinds salt."


def file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def lines(tmp_path, *rows, name="a.jsonl"):
    return file(tmp_path, name, "".join(json.dumps(row) + "\n" for row in rows))


def problems(source, **options):
    with pytest.raises(UserErrors) as caught:
        read_articles(str(source), **options)
    return [problem.removeprefix(f"{source}, ") for problem in caught.value.problems]


def test_a_folder_of_texts(tmp_path):
    file(tmp_path, "Old Mill.txt", "The mill\r\n\r\n" + TEXT)
    file(tmp_path, "salt.md", "# A title\n\n" + OTHER)
    file(tmp_path, "wide.txt", b"\xef\xbb\xbfNo title here,\nfor a line follows.")
    (tmp_path / "more").mkdir()
    file(tmp_path, "notes.pdf", "-")
    file(tmp_path, ".hidden.txt", "-")
    found = read_articles(str(tmp_path), language="German")
    assert [(one.id, one.title) for one in found] == [("old-mill", "The mill"), ("salt", "A title"), ("wide", None)]
    assert [one.text for one in found] == [TEXT, OTHER, "No title here,\nfor a line follows."]
    assert {one.language for one in found} == {"de"}
    assert found.articles[0].origin.model_dump() == {
        "kind": "authored",
        "by": str(tmp_path),
        "reviewed_by_native_speaker": False,
    }
    assert found.notes == (f"not read in {tmp_path}: more/, notes.pdf",)


def test_json_lines_with_every_field_come_back_as_they_were(tmp_path):
    article = Article.model_validate(
        {
            "id": "mill",
            "text": TEXT,
            "language": "fr",
            "title": "The mill",
            "statement": "The mill grinds gold.",
            "origin": {"kind": "translated", "by": "A. Translator", "reviewed_by_native_speaker": True},
        }
    )
    found = read_articles(file(tmp_path, "a.jsonl", article.model_dump_json()))
    assert found.articles == (article,) and found.notes == ()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_csv_with_quotes_line_breaks_and_other_separators(tmp_path, separator, mark):
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, delimiter=separator)
        writer.writerows(
            [["Headline", "Body"], ['Mill, "old"; new', TEXT + ' "Yes," they said.'], ["", ""], ["", OTHER]]
        )
    path.write_bytes(mark + path.read_bytes())
    found = read_articles(str(path))
    assert [(one.id, one.title) for one in found] == [("mill-old-new", 'Mill, "old"; new'), ("article-00002", None)]
    assert found.articles[0].text == TEXT + ' "Yes," they said.'
    assert set(found.notes) == {"text from 'Body'", "title from 'Headline'"}


def test_a_cell_longer_than_csv_reads_by_itself(tmp_path):
    before = csv.field_size_limit()
    path = file(tmp_path, "a.csv", f"id,text\na,{'x' * 200_000}\nb,{OTHER}\n")
    assert problems(path) == [
        f"line 2: text: has 200,000 characters, more than {LONGEST:,}; "
        f"give one article a row or file (got {'x' * 80!r})"
    ]
    assert csv.field_size_limit() == before


def test_csv_rows_that_do_not_fit_are_named_by_the_line_they_begin_on(tmp_path):
    path = file(tmp_path, "a.csv", f'id,text\na,"{TEXT}"\nb,one,two\nc,"{OTHER}\n')
    assert problems(path) == [
        "line 5: 3 cells, where the header has 2",
        "line 6: cannot be parsed: unexpected end of data; is a quotation mark unpaired?",
    ]
    path = file(tmp_path, "b.tsv", "text\ttext\nx\ty\n")
    assert problems(path)[0] == "line 1: every column needs a name of its own, got ['text', 'text']"


def test_parquet(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"news": [TEXT, OTHER, None], "id": [3, 4, 5]}), path)
    assert problems(path) == ["row 3: text: String should have at least 1 character (got '')"]
    found = read_articles(str(path), limit=2)
    assert [(one.id, one.text) for one in found] == [("article-00003", TEXT), ("article-00004", OTHER)]
    (broken,) = problems(file(tmp_path, "b.parquet", "no parquet"))
    assert "cannot be read as Parquet" in broken


def test_all_bad_rows_are_listed_at_once_and_can_be_left_out(tmp_path):
    path = lines(
        tmp_path,
        {"id": "good", "text": TEXT},
        {"id": "empty", "text": " \n"},
        {"id": "good", "text": OTHER},
        {"id": "twin", "text": "THE OLD MILL of  Dorrim grinds tea.\n\nIt has two wheels."},
        {"id": "number", "text": 7},
        {"id": "where", "text": "A text.", "language": "Elvish"},
        {"id": "half", "text": "A text \ud800."},
        {"id": "last", "text": "The last text."},
    )
    raw = (tmp_path / "a.jsonl").read_bytes() + b'["list"]\n{"id": \n'
    (tmp_path / "a.jsonl").write_bytes(raw)
    expected = [
        "line 9: expected an object with named fields, got list",
        "line 10: cannot be parsed",
        "line 2: text: String should have at least 1 character",
        f"line 3: id 'good' is that of {path}, line 1 already",
        f"line 4: text is that of {path}, line 1 already",
        "line 5: text: Input should be a valid string",
        "line 6: language: unknown language 'Elvish'",
        "line 7: text: ",
    ]
    said = problems(path)
    assert sorted(place for place in expected if not any(one.startswith(place) for one in said)) == []
    assert len(said) == len(expected)
    found = read_articles(path, skip_bad=True)
    assert [one.id for one in found] == ["good", "last"]
    assert sum(note.startswith(f"left out: {path}, line ") for note in found.notes) == 8


def test_wrong_utf8_names_file_and_line(tmp_path):
    path = file(tmp_path, "a.csv", "text\nMühle\n".encode("latin-1"))
    assert problems(path) == ["line 2: not valid UTF-8 (byte 6); save the file as UTF-8"]
    file(tmp_path, "b.txt", TEXT)
    assert len(read_articles(str(tmp_path), skip_bad=True)) == 1


def test_nothing_usable_is_an_error_even_when_bad_rows_are_left_out(tmp_path):
    with pytest.raises(UserErrors):
        read_articles(lines(tmp_path, {"text": ""}), skip_bad=True)
    assert problems(file(tmp_path, "e.jsonl", ""))[0].endswith("no articles found")


def test_columns_are_found_by_usual_names_then_by_near_ones(tmp_path):
    chosen, notes = find_columns(
        ["realNews", "fake_news", "Label"], {"text": ("text", "real news"), "title": ("title",)}
    )
    assert chosen == {"text": "realNews"}
    assert notes == ["text from 'realNews'", "not used: 'fake_news', 'Label'"]
    found = read_articles(lines(tmp_path, {"cleaned_article_v2": TEXT, "fake_article": "-", "article_id": "x"}))
    assert found.articles[0].text == TEXT and found.articles[0].id == "x"
    assert "text is taken from 'cleaned_article_v2', the only column whose name is near" in found.notes


def test_no_column_fits_and_the_error_lists_them(tmp_path):
    path = lines(tmp_path, {"lead": TEXT, "x": 1})
    with pytest.raises(UserError, match=r"the columns are 'lead', 'x'\. Name it with --text"):
        read_articles(path)
    assert read_articles(path, columns={"text": "lead"}).articles[0].text == TEXT
    with pytest.raises(UserError, match=r"no column 'leed'\. Did you mean 'lead'"):
        read_articles(path, columns={"text": "leed"})
    with pytest.raises(UserError, match=r"'txt' is no field\. Did you mean 'text'"):
        read_articles(path, columns={"txt": "lead"})


def test_paragraphs_as_a_list_and_an_origin_as_a_name(tmp_path):
    (one,) = read_articles(lines(tmp_path, {"text": ["One.", "Two."], "origin": "The Dorrim Mail"}))
    assert one.text == "One.\n\nTwo."
    assert (one.origin.kind, one.origin.by) == ("authored", "The Dorrim Mail")


def test_json_lines_that_are_called_json(tmp_path):
    path = file(tmp_path, "a.json", f'{{"text": "{OTHER}"}}\n{{"text": "b"}}\n')
    assert "end in .jsonl" in problems(path)[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("The Bridge's End — über Größe!", "the-bridges-end-uber-grosse"),
        ("ÉCOLE nº 4", "ecole-no-4"),
        ("a" * 80, "a" * 60),
        ("word " * 20, "-".join(["word"] * 12)),
        ("мост 42", None),
        ("桥", None),
        ("--", None),
        ("", None),
    ],
)
def test_slugs(name, expected):
    assert slug(name) == expected


def test_ids_are_unique_and_given_ones_stay():
    names = [
        ("17", None),
        (None, "Hello"),
        (None, "hello!"),
        (None, "桥"),
        ("hello-2", None),
        ("桥", None),
        ("B c", "x"),
    ]
    assert unique_ids(names, "article") == [
        "article-00017",
        "hello",
        "hello-3",
        "article-00004",
        "hello-2",
        "article-00006",
        "b-c",
    ]
    long = [(None, "x" * 60)] * 3
    made = unique_ids(long, "article")
    assert len(set(made)) == 3 and max(map(len, made)) <= 60


def test_the_hub(monkeypatch):
    asked = []

    def load_dataset(name, **options):
        asked.append((name, options))
        if name == "no/access":
            raise OSError("gated data set\nand more")
        return [{"real_news": TEXT}] if options else {"train": [{"real_news": TEXT}], "test": []}

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    found = read_articles("invented/news", split="train")
    assert [(one.text, one.origin.by) for one in found] == [(TEXT, "invented/news")]
    assert asked == [("invented/news", {"split": "train"})]
    with pytest.raises(UserError, match=r"splits 'train', 'test'; choose one with --split"):
        read_articles("invented/news")
    with pytest.raises(UserError, match="cannot be read from the hub: gated data set\\. Is the network there"):
        read_articles("no/access")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="pip install datasets"):
        read_articles("invented/news")


def test_a_data_set_with_one_split_needs_none_named(monkeypatch):
    loaded = {"train": [{"article": TEXT}, {"article": OTHER}]}
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=lambda name: loaded))
    assert [one.text for one in read_articles("invented/news")] == [TEXT, OTHER]


@pytest.mark.parametrize("source", ["nowhere", "news/articles.csv", "a/b/c"])
def test_nothing_there(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"there is nothing at {source}"):
        read_articles(source)


def test_a_folder_or_file_of_another_kind(tmp_path):
    with pytest.raises(UserError, match=r"expected a file ending in"):
        read_articles(file(tmp_path, "a.pdf", "x"))
    with pytest.raises(UserError, match=r"has no files ending in .*; it has \['a.pdf'\]"):
        read_articles(str(tmp_path))
