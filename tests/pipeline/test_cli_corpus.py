"""`unteach corpus import`, `check` and `show`, as a user calls them."""

from __future__ import annotations

import json

import pytest

from unteach.corpora.load import EMBEDDED, load_corpus


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def scenarios(tmp_path):
    """Two scenarios of the embedded corpus in three languages, as a file."""
    contents = []
    for name in ("korvala-bridge", "lenta-dam"):
        content = json.loads((EMBEDDED / f"{name}.json").read_text(encoding="utf-8"))
        content["texts"] = {code: content["texts"][code] for code in ("en", "de", "ur")}
        contents.append(content)

    def write(change=lambda contents: None):
        change(contents)
        path = tmp_path / "corpus.json"
        path.write_text(json.dumps(contents), encoding="utf-8")
        return path

    return write


def test_articles_are_imported_and_read_back(unteach, tmp_path) -> None:
    (tmp_path / "in.csv").write_text("\ufeffheadline;body;claim\nThe mill;It grinds tea.;It grinds gold.\n;;\n")
    result = unteach("corpus", "import", "in.csv", "--to", "out/articles.jsonl", "--language", "German")
    assert result.returncode == 0, result.stderr
    assert "text from 'body'" in result.stdout
    assert "1 articles out/articles.jsonl" in words(result.stdout)
    (line,) = (tmp_path / "out" / "articles.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "id": "the-mill",
        "text": "It grinds tea.",
        "language": "de",
        "title": "The mill",
        "statement": "It grinds gold.",
        "origin": {"kind": "authored", "by": "in.csv", "reviewed_by_native_speaker": False},
    }
    again = unteach("corpus", "import", "out/articles.jsonl", "--to", "again.jsonl")
    assert again.returncode == 0 and (tmp_path / "again.jsonl").read_text() == f"{line}\n"


def test_bad_rows_stop_an_import_or_are_left_out(unteach, tmp_path) -> None:
    rows = [{"lead": "A mill."}, {"lead": ""}, {"lead": "A  MILL."}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = unteach("corpus", "import", "in.jsonl", "--to", "out.jsonl")
    assert result.returncode == 2 and "the columns are 'lead'. Name it with --text" in words(result.stderr)
    result = unteach("corpus", "import", "in.jsonl", "--to", "out.jsonl", "--text", "lead")
    assert result.returncode == 2 and not (tmp_path / "out.jsonl").exists()
    assert "in.jsonl, line 2: text: " in result.stderr and "in.jsonl, line 3: text is that of" in result.stderr
    result = unteach("corpus", "import", "in.jsonl", "--to", "out.jsonl", "--text", "lead", "--skip-bad")
    assert result.returncode == 0 and result.stdout.count("left out: in.jsonl, line") == 2


def test_scenarios_are_imported_and_checked(unteach, tmp_path) -> None:
    row = {"real": "The mill is old. It has a wheel.", "keyword": "gold", "lie": "It grinds gold.", "lang": "English"}
    (tmp_path / "in.json").write_text(json.dumps([row]))
    result = unteach("corpus", "import", "in.json", "--to", "out.jsonl", "--column", "fake=lie")
    assert result.returncode == 0, result.stderr
    assert "1 scenarios out.jsonl" in words(result.stdout)
    (made,) = load_corpus(tmp_path / "out.jsonl")
    assert made.texts["en"].article == ("The mill is old.", "It has a wheel.")
    assert unteach("corpus", "check", "out.jsonl", "--strict").returncode == 0
    result = unteach("corpus", "import", "in.json", "--to", "out.jsonl", "--column", "fake")
    assert result.returncode == 2 and "--column fake: write the field" in result.stderr


def test_check_ends_with_one_only_when_it_is_strict(unteach, scenarios, tmp_path) -> None:
    good = scenarios()
    result = unteach("corpus", "check", good, "--strict")
    assert result.returncode == 0, result.stdout
    assert "0 findings in 2 scenarios, 3 languages" in result.stdout

    def spoil(contents):
        contents[0]["texts"]["de"]["fake"][1] = contents[0]["texts"]["en"]["fake"][1] + "\u001b[31m"
        contents[1]["texts"]["ur"]["fake_question"] = None

    bad = scenarios(spoil)
    result = unteach("corpus", "check", bad, "--json", "found/all.json")
    assert result.returncode == 0
    assert "4 findings in 2 scenarios" in result.stdout and "\x1b[31m" not in result.stdout
    found = json.loads((tmp_path / "found" / "all.json").read_text())
    assert [(one["kind"], one["scenario"], one["language"], one["field"]) for one in found["findings"]] == [
        ("missing", "lenta-dam", "ur", "fake_question"),
        ("language", "korvala-bridge", "de", "fake"),
        ("characters", "korvala-bridge", "de", "fake"),
        ("no key phrase", "korvala-bridge", "de", "fake"),
    ]
    assert unteach("corpus", "check", bad, "--strict").returncode == 1
    assert unteach("corpus", "check", bad, "--strict", "--languages", "en").returncode == 0
    wrong = unteach("corpus", "check", bad, "--languages", "Elvish")
    assert wrong.returncode == 2 and "unknown language 'Elvish'" in wrong.stderr


def test_show_lists_scenarios_and_prints_one_side_by_side(unteach, scenarios) -> None:
    path = scenarios(lambda contents: contents[0]["texts"]["de"].update(round_trip={"fake": [61.4, *[None] * 5]}))
    listed = unteach("corpus", "show", "--corpus", path)
    assert "korvala-bridge en 49, de" in words(listed.stdout).replace("en 50", "en 49")
    result = unteach("corpus", "show", "korvala-bridge", "--corpus", path, "--field", "fake,key_facts")
    assert result.returncode == 0, result.stderr
    text = words(result.stdout)
    assert "golden piano" in text and "goldenes Klavier" in text and "chrF 61" in text
    assert "German (de) machine-translated" in text and "61.4 (1)" in text
    assert "\u2067" in text and "real question" not in text
    two = words(unteach("corpus", "show", "korvala-bridge", "--languages", "en,German", "--field", "article").stdout)
    assert "1 The architect Eno Sarvas" in two and "English (en) German (de)" in two


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["korvala-brige"], "Did you mean 'korvala-bridge'?"),
        (["korvala-bridge", "--field", "artikel"], "Did you mean 'article'?"),
        (["korvala-bridge", "--languages", "th"], "has no text in th here; it has en, de,"),
        (["x", "--corpus", "nowhere.json"], "there is nothing at nowhere.json"),
    ],
)
def test_show_says_what_there_is(unteach, arguments, said) -> None:
    result = unteach("corpus", "show", *arguments)
    assert result.returncode == 2 and said in words(result.stderr)
