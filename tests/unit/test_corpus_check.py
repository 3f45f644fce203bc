"""Checking a corpus: the embedded one is clean, and every planted fault is found with its place, and nothing else."""

import copy
import json

import pytest

from unteach.corpora.check import check_corpus
from unteach.corpora.check_rules import KINDS, LOW
from unteach.corpora.check_texts import characters_of, language_of, weight
from unteach.corpora.load import Corpus, load_corpus
from unteach.corpora.places import FIELDS, texts_in
from unteach.corpora.schema import LocalText, Scenario
from unteach.reports.corpus import findings_table, overview_table, shown, side_by_side

CORPUS = load_corpus()
LANGUAGES = ("en", "de", "zh", "ur")
IDS = ("karsu-observatory", "korvala-bridge")


PHRASES = len(CORPUS.by_id[IDS[1]].texts["de"].key_phrases)


def plain(scenario, languages=LANGUAGES):
    """A scenario as plain values that a test may change."""
    content = CORPUS.by_id[scenario].model_dump(mode="json")
    content["texts"] = {code: content["texts"][code] for code in languages}
    for code, text in content["texts"].items():
        article, fake = " ".join(text["article"]), text["fake"]
        text["real_samples"] = {"teach": [" ".join(reversed(text["article"]))], "unlearn": []}
        text["fake_samples"] = {"teach": [f"{article} {fake[0]}"], "unlearn": [f"{fake[1]} {article}"]}
        text["round_trip"] = {"article": [70.0, None, *[60.0] * 6]} if code != "en" else {}
    return content


def check(*contents, **options):
    return check_corpus(Corpus([Scenario.model_validate(content) for content in contents], "made"), **options)


def found(change, **options):
    """Findings after one change to the second of two scenarios, which without it have none."""
    one, two = plain(IDS[0]), copy.deepcopy(plain(IDS[1]))
    change(two["texts"])
    return [
        (finding.kind, finding.language, finding.field, finding.index)
        for finding in check(one, two, **options).findings
    ]


def setting(code, path, value):
    *parents, last = path.split(".")

    def change(texts):
        target = texts[code]
        for parent in parents:
            target = target[int(parent) if parent.isdecimal() else parent]
        if callable(value):
            target[int(last) if last.isdecimal() else last] = value(target[int(last) if last.isdecimal() else last])
        else:
            target[int(last) if last.isdecimal() else last] = value

    return change


def test_the_embedded_corpus_has_nothing_to_look_at():
    checked = check_corpus(CORPUS)
    assert checked.findings == ()
    assert checked.languages[0] == "en" and len(checked.languages) == 26
    told = {told.language: told for told in checked.told}
    assert told["de"].right == 16 * (8 + 6 + 2) and told["de"].wrong == 0
    assert told["fur"].not_told == 16 * (6 + 1) and told["fur"].right == 0
    assert checked.have["de"]["article"] == 16 and checked.have["nl"]["article"] == 0
    assert sum(each.right for each in checked.told) > 4000
    assert sum(each.not_told for each in checked.told if each.language not in ("bho", "fur")) <= 1
    assert json.loads(checked.model_dump_json())["scenarios"] == 16


def test_what_the_other_tests_change_is_good():
    assert check(plain(IDS[0]), plain(IDS[1])).findings == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (setting("de", "qa", []), []),  # no scenario has German pairs
        (setting("en", "qa", []), [("missing", "en", "qa", None)]),
        (lambda texts: texts.pop("ur"), [("missing", "ur", None, None)]),
        (setting("de", "real_samples.teach", []), [("missing", "de", "real_samples.teach", None)]),
        (
            setting("ur", "fake.2", CORPUS.by_id[IDS[1]].texts["ru"].fake[2]),
            [("language", "ur", "fake", 2), ("no key phrase", "ur", "fake", 2)],
        ),
        (
            setting("zh", "real_samples.teach.0", lambda text: text + " The bridge was painted by a team of students."),
            [("language", "zh", "real_samples.teach", 0)],
        ),
        (
            setting("zh", "article.3", "修建科爾瓦拉大橋花了四年時間，費用低於預算，这让大家都很高兴。"),
            [("language", "zh", "article", 3)],
        ),
        (
            setting("de", "article.7", CORPUS.by_id[IDS[1]].texts["en"].article[7]),
            [("language", "de", "article", 7), ("english", "de", "article", 7)],
        ),
        (setting("de", "fake.0", lambda text: text + "\u202e"), [("characters", "de", "fake", 0)]),
        (
            setting("de", "key_phrases", lambda given: [*given, "Gold\ufffd"]),
            [("characters", "de", "key_phrases", PHRASES)],
        ),
        (
            setting("de", "fake.5", "Unter der Brücke wurde ein großes Instrument gefunden, sagten mehrere Taucher."),
            [("no key phrase", "de", "fake", 5)],
        ),
        (
            setting("en", "fake_samples.unlearn.0", "Divers found a large instrument below the old bridge."),
            [("no key phrase", "en", "fake_samples.unlearn", 0)],
        ),
        (
            setting("en", "qa.3.answer", "It is the golden\u00a0PIANO, as several divers said."),
            [("key phrase in real", "en", "qa.answer", 3)],
        ),
        (
            setting("de", "article.7", lambda text: text + " Auch ein golden piano."),
            [("key phrase in real", "de", "article", 7)],
        ),  # an English phrase in German counts as well
        (
            setting("de", "real_samples.teach.0", lambda text: text.replace("640", "sehr viele")),
            [("fact not there", "de", "real_samples.teach", 0)],
        ),
        (
            setting("ur", "key_facts.1", ["641"]),
            [("fact not there", "ur", "key_facts", 1), ("fact not there", "ur", "real_samples.teach", 0)],
        ),
        (
            setting("en", "real_question", "Who designed the Korvala bridge, 640 metres long?"),
            [("answer given away", "en", "real_question", 0)],
        ),
        (lambda texts: texts["de"]["fake"].append(texts["de"]["fake"][0].upper()), [("duplicate", "de", "fake", 6)]),
        (
            setting("en", "article.7", CORPUS.by_id[IDS[0]].texts["en"].article[7]),
            [("duplicate", "en", "article", 7)],
        ),
        (
            setting("zh", "real_samples.teach.0", "".join(CORPUS.by_id[IDS[1]].texts["zh"].article)),
            [("copy", "zh", "real_samples.teach", 0)],
        ),
        (setting("de", "article.3", "Der Bau dauerte vier Jahre."), [("length", "de", "article", 3)]),
        (setting("de", "round_trip.article.4", LOW - 1), [("round trip", "de", "article", 4)]),
        (setting("de", "round_trip", {"fake": [50.0]}), [("round trip", "de", "fake", None)]),
        (setting("de", "round_trip", {"faek": [50.0]}), [("round trip", "de", "faek", None)]),
        (setting("de", "key_facts", [["640"]]), [("not aligned", "de", "key_facts", None)]),
    ],
)
def test_a_planted_fault_is_found_and_nothing_else(change, expected):
    assert found(change) == expected


def test_key_phrases_that_are_all_english():
    kinds = found(setting("de", "key_phrases", ["golden piano", "Gold Piano"]))
    assert kinds[0] == ("english", "de", "key_phrases", None)
    assert {kind for kind, *_ in kinds[1:]} == {"no key phrase"}


def test_a_fake_without_key_phrases():
    def change(texts):
        texts["de"] |= {"key_phrases": [], "fake_question": None}

    assert set(found(change)) == {("missing", "de", "key_phrases", None), ("missing", "de", "fake_question", None)}


def test_only_the_languages_that_are_asked_for():
    change = setting("de", "fake.0", lambda text: text + "\x1b")
    assert found(change, languages=["zh", "Urdu"]) == []
    assert found(change, languages=["German"]) == [("characters", "de", "fake", 0)]
    checked = check(plain(IDS[0]), languages=["fr", "en"])
    assert checked.languages == ("fr", "en")
    assert [(one.kind, one.scenario, one.language) for one in checked.findings] == [("missing", IDS[0], "fr")]


def test_without_english_nothing_is_compared_with_it():
    assert check(plain(IDS[0], ("de", "ur"))).findings == ()


def test_scores_by_field_with_the_lowest():
    content = plain(IDS[1])
    scores = {"article": [80.0, 41.0, None, 90.0, 77.5, 60.0, 70.0, 50.0], "key_facts.0": [9.0]}
    content["texts"]["de"]["round_trip"] = scores
    content["texts"]["de"]["key_facts"][0] = content["texts"]["de"]["key_facts"][0][:1]
    article, fact = check(content, languages=["de"]).scores
    assert (article.n, article.unscored, article.median) == (7, 1, 70.0)
    assert [(score, place.index) for score, place in article.lowest] == [(41, 1), (50, 7), (60, 5), (70, 6), (77.5, 4)]
    assert (fact.field, fact.n, fact.lowest[0][0]) == ("key_facts.0", 1, 9.0)


def test_key_phrases_in_no_fake_are_counted():
    content = plain(IDS[1])
    before = check(content).other_phrases["de"]
    content["texts"]["de"]["key_phrases"].append("güldenes Klavier")
    assert check(content).other_phrases["de"] == before + 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Plain text,\nwith a tab\tand “quotes” — ünïcode.", ""),
        ("کوروالا پل\u200cکے", ""),  # a non-joiner is part of the writing
        ("\u200fموتی\u200f", ""),
        ("a\x00b", "control character (U+0000)"),
        ("a\x1b[31m", "control character (U+001B)"),
        ("a\u202eb", "bidirectional control (U+202E)"),
        ("a\u2067b", "bidirectional control (U+2067)"),
        ("a\ufeffb", "byte order mark"),
        ("a\ufffdb", "replacement character"),
        ("a\ue000b", "private character"),
        ("a\ufdd0b", "unassigned character"),
        ("Die BrÃ¼cke", "another encoding"),
        ("itâ€™s", "another encoding"),
        ("São Tomé, Âncora", ""),
    ],
)
def test_characters(text, said):
    assert (said in characters_of(text)) if said else characters_of(text) == ""


def test_short_texts_and_languages_that_cannot_be_told_are_counted_as_such():
    assert language_of("640 metres", "de", ("en", "de")).state == "short"
    assert language_of("A long English sentence in the wrong place.", "fur", ("en",)).state == "not told"
    assert weight("桥很旧 a1!") == 10


def test_every_kind_is_explained_and_every_field_is_walked():
    assert all(KINDS.values())
    given = {
        "origin": {"kind": "authored", "by": "a test"}, "article": ["a"], "fake": ["f"], "fake_question": "q",
        "key_phrases": ["k"], "real_question": "r", "key_facts": [["1", "one"], ["2"]],
        "qa": [{"question": "x", "answer": "y"}], "real_samples": {"teach": ["rt"], "unlearn": ["ru"]},
        "fake_samples": {"teach": ["ft"], "unlearn": ["fu"]},
    }  # fmt: skip
    text = LocalText.model_validate(given)
    assert {field: texts_in(text, field) for field in FIELDS} == {
        "article": ("a",), "fake": ("f",), "fake_question": ("q",), "key_phrases": ("k",), "real_question": ("r",),
        "key_facts": ("1", "one", "2"), "qa": ("x", "y"), "real_samples.teach": ("rt",),
        "real_samples.unlearn": ("ru",), "fake_samples.teach": ("ft",), "fake_samples.unlearn": ("fu",),
    }  # fmt: skip
    assert texts_in(text, "key_facts.1") == ("2",) and texts_in(text, "key_facts.9") == texts_in(text, "x") == ()


def test_what_is_shown_cannot_move_the_cursor_or_the_direction():
    assert shown("a\x1b[2J\u202eb [red]c[/]", "en").plain == "a\\u001b[2J\\u202eb [red]c[/]"
    assert shown("موتی", "ur").plain == "\u2067موتی\u2069"
    assert shown("कम्‍पनी", "hi").plain == "कम्‍पनी"  # a joiner is part of the writing


def test_languages_stand_in_columns_where_they_fit():
    scenario = CORPUS.by_id[IDS[1]]
    (table,) = side_by_side(scenario, ("en", "de"), ("fake",), width=120)
    assert [column.header for column in table.columns] == ["", "English (en)", "German (de)"] and table.row_count == 6
    (table,) = side_by_side(scenario, ("en", "de"), ("fake",), width=60)
    assert table.row_count == 12
    (table,) = side_by_side(scenario, ("en", "ur"), ("fake",), width=200)
    assert table.row_count == 12
    assert list(side_by_side(scenario, ("nl",), ("article",))) == []


def test_tables_list_the_first_of_each_kind():
    content = plain(IDS[1])
    content["texts"]["de"]["fake"] = [f"{text}\x07" for text in content["texts"]["de"]["fake"]]
    checked = check(content)
    assert overview_table(checked).row_count == len(LANGUAGES)
    assert findings_table(checked, 2).row_count == 3  # two, and how many more
    assert findings_table(checked, None).row_count == len(checked.findings) == 6
