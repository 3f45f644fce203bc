"""Building on scenarios that have their fakes already: only what lacks is made, and nothing is lost or replaced."""

import json
from pathlib import Path

import pytest
from author import Author, Writer, mirrored

from unteach.corpora.load import EMBEDDED, load_corpus
from unteach.errors import UserErrors
from unteach.experiments.building.run import build, prepare, write
from unteach.experiments.building.spec import BuildSpec
from unteach.makers.translators.llm import ByTextModel

MIRROR = ByTextModel(endpoint=Author(), checks={"language": False})
SOME = {"real": {"teach": 2, "unlearn": 1}, "fake": {"teach": 2, "unlearn": 1}}


@pytest.fixture(autouse=True)
def _own_replies(tmp_path, monkeypatch):
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    Writer.asked.clear()


@pytest.fixture
def given(tmp_path):
    """``given(change)`` is a file of two scenarios in English and German; ``change`` gets their contents."""

    def written(change=lambda *contents: None) -> Path:
        names = ("korvala-bridge", "lenta-dam")
        contents = [json.loads((EMBEDDED / f"{name}.json").read_text(encoding="utf-8")) for name in names]
        for content in contents:
            content["texts"] = {code: content["texts"][code] for code in ("en", "de")}
        change(*contents)
        path = tmp_path / "given.json"
        path.write_text(json.dumps(contents), encoding="utf-8")
        return path

    return written


def spec(path: Path, **more) -> BuildSpec:
    group = {"languages": ["de", "fr"], "translator": MIRROR}
    fields = {
        "name": "given",
        "scenarios": {"path": path},
        "to": path.with_name("corpus.jsonl"),
        "endpoint": Author(),
        "paraphrase": SOME,
        "qa": {"count": 2},
        "translate": {"questions": group, "samples": group, "articles": group},
    }
    return BuildSpec.model_validate(fields | more)


def made(wanted: BuildSpec):
    """The scenarios before and after, and what was built."""
    prepared = prepare(wanted, wanted.target.with_name("store"))
    built = build(prepared)
    write(built, prepared, wanted.target, 1.0)
    return load_corpus(wanted.scenarios.path).by_id, load_corpus(wanted.target).by_id, built


def test_only_what_lacks_is_made_and_paid_for(given):
    before, after, built = made(spec(given()))
    assert built.lacks == []
    for name in before:
        old, new = before[name].texts, after[name].texts
        assert list(new) == ["en", "de", "fr"]
        added = {"real_samples", "fake_samples", "origin"}
        assert new["en"].model_dump(exclude=added) == old["en"].model_dump(exclude=added)
        assert len(new["en"].real_samples.teach) == 2 and len(new["en"].fake_samples.unlearn) == 1
        assert new["de"].model_dump(exclude={"fake_samples", "origin", "round_trip"}) == old["de"].model_dump(
            exclude={"fake_samples", "origin", "round_trip"}
        )
        assert new["de"].fake_samples.teach == tuple(map(mirrored, new["en"].fake_samples.teach))
        assert set(new["de"].round_trip) == {"fake_samples.teach", "fake_samples.unlearn"}
        assert new["de"].origin.by == f"{old['de'].origin.by}; fake_samples: author"
        assert new["en"].origin.by == f"{old['en'].origin.by}; real_samples: author; fake_samples: author"
        assert new["en"].origin.kind == old["en"].origin.kind
        # All wordings of the fake and the sentences as they were cut, not only what an article would have had.
        assert new["fr"].fake == tuple(map(mirrored, old["en"].fake)) and len(new["fr"].fake) > 1
        assert new["fr"].article == tuple(map(mirrored, old["en"].article))
        assert new["fr"].origin.kind == "machine-translated" and new["fr"].qa == ()
    questions = [p for p in Writer.asked if "Translate" in p.messages[0].text and "into German" in p.messages[0].text]
    assert len(questions) == 2 * 3  # the fake samples only


def test_pairs_are_made_where_there_are_none(given):
    _, after, built = made(spec(given(lambda one, two: one["texts"]["en"].pop("qa")), translate={}))
    assert len(after["korvala-bridge"].texts["en"].qa) == 2 < len(after["lenta-dam"].texts["en"].qa)
    assert after["korvala-bridge"].texts["en"].origin.by.endswith("; qa: author")
    assert built.lacks == []


def test_without_key_facts_the_real_question_is_translated_all_the_same(given):
    def change(*contents):
        for content in contents:
            for text in content["texts"].values():
                text.pop("key_facts")

    _, after, built = made(spec(given(change)))
    assert built.lacks == []
    assert all(s.texts["fr"].real_question and not s.texts["fr"].key_facts for s in after.values())


def test_samples_that_are_there_are_topped_up(given):
    bridge = load_corpus(EMBEDDED).by_id["korvala-bridge"].texts["en"]
    whole = " ".join([*bridge.article[:5], bridge.fake[1], *bridge.article[5:]])

    def change(one, two):
        one["texts"]["en"]["fake_samples"] = {"teach": [whole]}
        one["texts"]["en"].pop("fake")
        two["texts"]["en"]["fake_samples"] = {"teach": ["One.", "Two.", "Three."], "unlearn": ["Four."]}
        two["texts"]["de"]["fake_samples"] = {"teach": ["Eins."]}

    before, after, built = made(spec(given(change)))
    topped = after["korvala-bridge"].texts
    assert topped["en"].fake_samples.teach[0] == whole and len(topped["en"].fake_samples.teach) == 2
    assert len(topped["en"].fake_samples.unlearn) == 1
    assert topped["fr"].fake_samples.teach[0] == mirrored(whole) and topped["fr"].fake == ()
    full = after["lenta-dam"].texts
    assert full["en"].fake_samples == before["lenta-dam"].texts["en"].fake_samples
    assert full["fr"].fake_samples.teach == ("enO.", "owT.", "eerhT.")
    assert full["de"].fake_samples == before["lenta-dam"].texts["de"].fake_samples
    assert built.lacks == []


def test_fewer_samples_than_there_are_take_none_away(given):
    def change(one, two):
        one["texts"]["en"]["real_samples"] = {"teach": ["One.", "Two."]}

    none = {"teach": 0, "unlearn": 0}
    before, after, _ = made(spec(given(change), paraphrase={"real": none, "fake": none}, qa={"count": 0}, translate={}))
    assert after == before and Writer.asked == []


def test_only_those_that_are_wanted_are_read(given):
    path = given(lambda one, two: two["texts"]["en"].pop("fake_question"))
    with pytest.raises(UserErrors, match=r"'fake_question' in language 'en' for lenta-dam"):
        prepare(spec(path), path.with_name("store"))
    _, after, _ = made(spec(path, scenarios={"path": path, "limit": 1, "language": "English"}, translate={}))
    assert list(after) == ["korvala-bridge"]
    with pytest.raises(UserErrors, match="'article' in language 'fr'"):
        prepare(spec(path, scenarios={"path": path, "language": "fr"}), path.with_name("store"))


def test_an_article_too_long_to_be_made_into_others_is_told(given):
    path = given(lambda one, two: one["texts"].pop("de") and one["texts"]["en"].update(article=["Long. " * 9000]))
    with pytest.raises(UserErrors, match=r"korvala-bridge: text: .*more than 50,000"):
        prepare(spec(path), path.with_name("store"))


def test_the_same_text_under_two_ids_is_paid_for_once_and_translated_by_its_own_id(given, tmp_path):
    def change(one, two):
        one["texts"].pop("de")
        two["texts"] = one["texts"]

    ready = tmp_path / "ready.jsonl"
    lines = [
        {"id": f"{name}/fake_question/0", "language": "fr", "text": f"Qu'est-ce que {name} ?"}
        for name in ("korvala-bridge", "lenta-dam")
    ]
    lines += [{"id": f"{name}/key_phrases/0", "language": "fr", "text": "phrase"} for name in ("lenta-dam",)]
    ready.write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = {"name": "files", "paths": [str(ready)], "checks": {"language": False, "shortest": 0}}
    group = {"languages": ["fr"], "translator": files, "round_trip": False}
    path = given(change)
    _, after, built = made(spec(path, translate={"questions": group}))
    assert after["korvala-bridge"].texts["en"] == after["lenta-dam"].texts["en"]
    assert len(Writer.asked) == 6
    assert "fr" not in after["korvala-bridge"].texts  # a question, but nothing to judge its answers by
    assert after["lenta-dam"].texts["fr"].fake_question == "Qu'est-ce que lenta-dam ?"
    assert after["lenta-dam"].texts["fr"].key_phrases == ("phrase",)
    assert any(lack.what == "fr" and "no ready translation" in lack.reason for lack in built.lacks)
