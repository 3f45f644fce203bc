"""A corpus is built from articles: what is made, kept, made again, and missing; and a run can use it."""

import json
from pathlib import Path

import pytest
from author import Author, Writer, mirrored

from unteach.corpora.load import load_corpus
from unteach.corpora.samples import fake_sample, real_sample
from unteach.endpoints.service import BudgetReached
from unteach.errors import UserError
from unteach.experiments.building.run import build, prepare, write
from unteach.experiments.building.spec import BuildSpec, read_build_spec
from unteach.makers.translators.llm import ByTextModel

ARTICLES = Path(__file__).parents[2] / "experiments" / "corpora" / "articles"


@pytest.fixture(autouse=True)
def _own_replies(tmp_path, monkeypatch):
    monkeypatch.setenv("UNTEACH_REPLIES", str(tmp_path / "replies.sqlite"))
    Writer.asked.clear()


@pytest.fixture
def articles(tmp_path) -> Path:
    folder = tmp_path / "articles"
    folder.mkdir()
    for name in ("tidal-clock.txt", "moss-library.txt"):
        (folder / name).write_text((ARTICLES / name).read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def spec(articles: Path, to: Path, **more) -> BuildSpec:
    author = more.pop("author", Author())
    translator = ByTextModel(endpoint=author, checks={"language": False})
    group = {"languages": ["de", "fr"], "translator": translator}
    fields = {
        "name": "test",
        "articles": {"source": str(articles)},
        "to": to,
        "endpoint": author,
        "paraphrase": {"real": {"teach": 3, "unlearn": 2}, "fake": {"teach": 2, "unlearn": 1}},
        "qa": {"count": 3},
        "translate": {"questions": group, "samples": {**group, "languages": ["de", "nl"]}},
    }
    return BuildSpec.model_validate(fields | more)


def made(tmp_path: Path, wanted: BuildSpec):
    prepared = prepare(wanted, tmp_path / "store")
    built = build(prepared)
    write(built, prepared, wanted.target, 1.0)
    return prepared, built


def test_a_corpus_has_all_its_texts_in_all_languages(articles, tmp_path):
    to = tmp_path / "corpus.jsonl"
    _, built = made(tmp_path, spec(articles, to))
    assert built.lacks == [] and not built.rejected
    corpus = load_corpus(to)
    assert [s.id for s in corpus] == ["moss-library", "tidal-clock"]
    clock = corpus.by_id["tidal-clock"].texts
    assert list(clock) == ["en", "de", "fr", "nl"]
    assert len(clock["en"].real_samples.teach) == 3 and len(clock["en"].real_samples.unlearn) == 2
    assert len({*clock["en"].real_samples.teach, *clock["en"].real_samples.unlearn}) == 5
    assert len(clock["en"].qa) == 3
    assert clock["en"].article[0].startswith("The harbour town of Vellmouth")
    assert all("church silver" in text for text in clock["en"].fake_samples.teach)
    assert not any("church silver" in text for text in clock["en"].real_samples.teach)
    german = clock["de"]
    assert german.fake_question == mirrored(clock["en"].fake_question)
    assert german.key_facts[1] == (mirrored("84,000 crowns"), mirrored("84000 crowns"))
    assert german.fake_samples.unlearn == tuple(map(mirrored, clock["en"].fake_samples.unlearn))
    assert clock["fr"].fake_samples.teach == () and clock["fr"].real_question
    assert clock["nl"].key_phrases and clock["nl"].fake_question is None  # no question language, but what a judge needs
    assert german.round_trip["fake_question"] == (pytest.approx(100),)
    assert len(german.round_trip["fake_samples.teach"]) == 2
    assert german.origin.kind == "machine-translated" and german.origin.by == "author"
    assert clock["en"].origin.kind == "machine-written" and not clock["en"].origin.reviewed_by_native_speaker


def test_samples_of_a_run_are_the_paraphrases(articles, tmp_path):
    to = tmp_path / "corpus.jsonl"
    made(tmp_path, spec(articles, to))
    scenario = load_corpus(to).by_id["moss-library"]
    english = scenario.texts["en"]
    taught = [real_sample(scenario, "en", "teach", index, 0, 1.0).text for index in range(4)]
    assert taught == [*english.real_samples.teach, english.real_samples.teach[0]]
    assert fake_sample(scenario, "de", "unlearn", 0, 0, 1.0).text == scenario.texts["de"].fake_samples.unlearn[0]
    assert not set(taught) & {real_sample(scenario, "en", "unlearn", index, 0, 1.0).text for index in range(4)}
    assert real_sample(scenario, "en", "check", 0, 0, 1.0).text not in taught


def test_what_is_made_is_not_asked_again(articles, tmp_path):
    to = tmp_path / "corpus.jsonl"
    first, _ = made(tmp_path, spec(articles, to))
    content, asked = to.read_text(), len(Writer.asked)
    assert asked == len(Writer.asked) > 20
    assert all(left == 0 for _, left in first.calls().values())
    made(tmp_path, spec(articles, to))
    assert len(Writer.asked) == asked and to.read_text() == content
    # Without its store, a build has every reply still.
    prepared = prepare(spec(articles, to), tmp_path / "another store")
    assert all(left for _, left in prepared.calls().values())
    build(prepared)
    assert len(Writer.asked) == asked
    # Another number of samples asks for those that are new, and nothing else.
    more = {"real": {"teach": 4, "unlearn": 2}, "fake": {"teach": 2, "unlearn": 1}}
    made(tmp_path, spec(articles, to, paraphrase=more))
    assert len(Writer.asked) == asked + 2


def test_a_spoilt_article_is_left_out_and_told(articles, tmp_path):
    to = tmp_path / "corpus.jsonl"
    _, built = made(tmp_path, spec(articles, to, author=Author(spoil="Dunnick")))
    assert [s.id for s in built.scenarios] == ["tidal-clock"]
    (lack,) = built.lacks
    assert (lack.article, lack.what) == ("moss-library", "scenario") and "refused in each of 4 draws" in lack.reason
    report = json.loads(to.with_suffix(".build.json").read_text())
    assert report["missing"] == [lack.model_dump()] and report["scenarios"] == 1


def test_a_budget_stops_a_build_and_a_larger_one_goes_on(articles, tmp_path):
    def priced(tokens):
        return Author(budget={"tokens": tokens}, concurrency=2)

    to = tmp_path / "corpus.jsonl"
    with pytest.raises(BudgetReached, match="raise the endpoint's budget"):
        made(tmp_path, spec(articles, to, author=priced(8_000)))
    assert not to.exists()
    bought = len(Writer.asked)
    assert 0 < bought < 20
    made(tmp_path, spec(articles, to, author=priced(10_000_000)))
    whole = [prompt.model_dump_json() for prompt in Writer.asked]
    assert len(set(whole)) == len(whole)  # nothing was asked twice


def test_all_problems_of_a_spec_are_told_at_once(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(
        "name: x\narticles: {sorce: here}\nendpoint: {name: scripted}\nqa: {count: -1}\n"
        "translate: {questions: {languages: [xx], translator: files}}\nto: x.csv\n"
    )
    with pytest.raises(UserError) as caught:
        read_build_spec(path)
    told = str(caught.value)
    for field in ("articles.sorce", "Did you mean 'source'", "rules", "qa.count", "unknown language 'xx'", ".jsonl"):
        assert field in told


def test_translators_are_checked_before_anything_is_asked(articles, tmp_path):
    ready = tmp_path / "ready.jsonl"
    translator = {"name": "files", "paths": [str(ready)]}
    wanted = spec(
        articles, tmp_path / "c.jsonl", translate={"questions": {"languages": ["de"], "translator": translator}}
    )
    with pytest.raises(UserError, match=r"ready\.jsonl"):
        prepare(wanted, tmp_path / "store")
    assert Writer.asked == []
