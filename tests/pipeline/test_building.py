"""A corpus is built from articles: what is made, kept, made again, and missing; and a run can use it."""

import json
import math
from pathlib import Path

import pytest
import yaml
from author import Author, Served, Writer, mirrored

from unteach.corpora.check import check_corpus
from unteach.corpora.load import load_corpus
from unteach.corpora.samples import fake_sample, real_sample
from unteach.endpoints.contract import ENDPOINTS
from unteach.endpoints.service import BudgetReached, Unfinished
from unteach.errors import UserError, UserErrors
from unteach.experiments.building.run import build, prepare, write
from unteach.experiments.building.spec import BuildSpec, read_build_spec
from unteach.experiments.run import prepare as prepare_run
from unteach.experiments.run import run
from unteach.experiments.spec import Spec
from unteach.learn.teach import teaching_samples
from unteach.makers.translators.llm import ByTextModel
from unteach.progress import NoProgress
from unteach.unlearn.run import forget_pairs

ARTICLES = Path(__file__).parents[2] / "experiments" / "corpora" / "articles"
SOME = {"real": {"teach": 3, "unlearn": 2}, "fake": {"teach": 2, "unlearn": 2}}


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


def spec(articles: Path | None, to: Path, **more) -> BuildSpec:
    author = more.pop("author", Author())
    translator = ByTextModel(endpoint=author, checks={"language": False})
    group = {"languages": ["de", "fr"], "translator": translator}
    fields = {
        "name": "test",
        "articles": {"source": str(articles)} if articles else None,
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
    assert asked > 20
    assert all(amount.left == 0 for amount in first.amounts())
    made(tmp_path, spec(articles, to))
    assert len(Writer.asked) == asked and to.read_text() == content
    # Without its store, a build has every reply still.
    prepared = prepare(spec(articles, to), tmp_path / "another store")
    assert all(amount.left for amount in prepared.amounts())
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
        "name: x\narticles: {sorce: here, language: Klingon}\nendpoint: {name: scripted}\nqa: {count: -1}\n"
        "endpoints: {qa: {name: opnai}, injekt: scripted}\n"
        "translate:\n  questions: {languages: [xx, de, yy], translator: files}\n"
        "  samples: {languages: [de], translator: niutrns, round_trip: false, back: {name: nllb}}\n"
        "  articles: {languages: [], translator: {name: llm, endpoint: {name: openai, model: m, budget: {money: 1}}}}\n"
        "to: x.csv\n"
    )
    with pytest.raises(UserError) as caught:
        read_build_spec(path)
    told = str(caught.value)
    for field in (
        "articles.sorce: unknown field. Did you mean 'source'",
        "articles.language: unknown language 'Klingon'",
        "endpoint.rules: this field is required",
        "endpoints.qa: unknown endpoint 'opnai'. Did you mean 'openai'",
        "endpoints.injekt",
        "qa.count",
        "translate.questions.languages.0: unknown language 'xx'",
        "translate.questions.languages.2: unknown language 'yy'",
        "translate.questions.translator.paths: this field is required",
        "translate.samples.translator: unknown translator 'niutrns'. Did you mean 'niutrans'",
        "translate.samples.back: with round_trip: false nothing is translated back",
        "translate.articles.languages",
        "translate.articles.translator: budget.money: 1.0 USD cannot be kept without prices",
        "to: a corpus is written as JSON lines",
    ):
        assert field in told, field
    path.write_text("name: x\nendpoint: {name: scripted, rules: [{when: a, say: b}]}\nqa: {count: x}\n")
    with pytest.raises(UserError, match=r"(?s)scenarios: give either articles.*qa.count"):
        read_build_spec(path)


def test_the_specs_that_are_shipped_can_be_read():
    for path in sorted(ARTICLES.parent.glob("*.yaml")):
        target = read_build_spec(path).target
        wanted = (
            yaml.safe_load((ARTICLES.parents[1] / path.name).read_text())["corpus"]["path"]
            if path.stem != "small"
            else ""
        )
        assert str(target).startswith(wanted or "corpora/small.jsonl")  # where the experiment of that name looks for it


def test_what_stands_in_the_way_is_told_before_anything_is_asked(articles, tmp_path, monkeypatch):
    monkeypatch.delenv("NIUTRANS_API_KEY", raising=False)
    monkeypatch.delenv("A_KEY", raising=False)
    files = {"name": "files", "paths": [str(tmp_path / "ready.jsonl")]}
    keyed = {"name": "openai", "model": "m", "base_url": "http://localhost/v1", "key_variable": "A_KEY"}
    translate = {
        "questions": {"languages": ["de"], "translator": {"name": "llm", "endpoint": keyed}},
        "samples": {"languages": ["de"], "translator": files},
    }
    wanted = spec(articles, tmp_path / "c.jsonl", translate=translate)
    with pytest.raises(UserErrors, match=r"ready\.jsonl"):
        build(prepare(wanted, tmp_path / "store"))
    niutrans = {"name": "niutrans", "codes": {"luo": "x"}}  # the way back has no code for it
    translate["samples"] = {"languages": ["luo"], "translator": niutrans, "back": "niutrans"}
    wanted = spec(articles, tmp_path / "c.jsonl", translate=translate)
    with pytest.raises(UserErrors) as caught:
        build(prepare(wanted, tmp_path / "store"))
    assert "A_KEY" in str(caught.value) and "NIUTRANS_API_KEY" in str(caught.value)
    assert "no code of NiuTrans is known for 'luo'" in str(caught.value)
    assert Writer.asked == []
    # What is done already needs no key.
    made(tmp_path, spec(articles, tmp_path / "c.jsonl", translate={}))
    prepared = prepare(spec(articles, tmp_path / "c.jsonl", translate={}, endpoint=keyed), tmp_path / "store")
    with pytest.raises(UserErrors, match="A_KEY"):
        build(prepared)


def test_a_plan_needs_neither_weights_nor_keys(articles, tmp_path):
    nllb = {"languages": ["de", "fr"], "translator": {"name": "nllb", "model": str(tmp_path / "nowhere")}}
    wanted = spec(articles, tmp_path / "c.jsonl", translate={"questions": nllb, "samples": nllb})
    amounts = {amount.step: (amount.every, amount.left) for amount in prepare(wanted, tmp_path / "store").amounts()}
    assert amounts["translate samples"] == amounts["translate questions"] == (4, 4)
    with pytest.raises(UserErrors, match="there is no folder"):
        build(prepare(wanted, tmp_path / "store"))
    assert Writer.asked == []


def test_a_corpus_is_not_written_over_what_it_is_made_from(articles, tmp_path):
    with pytest.raises(UserError, match="which is read"):
        prepare(spec(articles, articles / "c.jsonl"), tmp_path / "store")
    source = tmp_path / "scenarios.jsonl"
    source.write_text("{}")
    with pytest.raises(UserError, match="which is read"):
        prepare(spec(None, source, scenarios={"path": source}), tmp_path / "store")


def test_samples_that_cannot_be_made_are_missing_for_both_uses_alike(articles, tmp_path):
    counts = {"real": {"teach": 4, "unlearn": 4}, "fake": {"teach": 1, "unlearn": 3}}
    # versions 1 to 4 are copies, and 6 to 30 the same as version 1 would be; the fake has versions 1 to 4
    author = Author(copied=(1, 2, 3, 4), repeated=tuple(range(6, 31)))
    to = tmp_path / "c.jsonl"
    _, built = made(tmp_path, spec(articles, to, author=author, paraphrase=counts, translate={}))
    english = load_corpus(to).by_id["tidal-clock"].texts["en"]
    assert (len(english.real_samples.teach), len(english.real_samples.unlearn)) == (1, 1)
    assert not set(english.real_samples.teach) & set(english.real_samples.unlearn)
    assert not english.fake_samples
    reasons = [lack.reason for lack in built.lacks if (lack.article, lack.what) == ("tidal-clock", "real samples")]
    assert len(reasons) == 6
    assert sum("too much of the text was copied" in reason for reason in reasons) == 4
    assert sum("nearly the same as another sample" in reason for reason in reasons) == 2
    assert sum(lack.what == "fake samples" for lack in built.lacks) == 2 * 4
    assert built.rejected["real samples: nearly the same as another sample"] > 4


def test_near_copies_are_told_anew(articles, tmp_path):
    author = Author(repeated=(3,))
    _, built = made(tmp_path, spec(articles, tmp_path / "c.jsonl", author=author, translate={}))
    (clock,) = (s.texts["en"] for s in built.scenarios if s.id == "tidal-clock")
    samples = [*clock.real_samples.teach, *clock.real_samples.unlearn]
    assert built.lacks == [] and len(set(samples)) == 5
    assert built.rejected["real samples: nearly the same as another sample"] == 2  # one an article


def test_nothing_wanted_is_nothing_asked(articles, tmp_path):
    none = {"teach": 0, "unlearn": 0}
    wanted = spec(
        articles, tmp_path / "c.jsonl", paraphrase={"real": none, "fake": none}, qa={"count": 0}, translate={}
    )
    prepared, built = made(tmp_path, wanted)
    assert [amount.step for amount in prepared.amounts()] == ["inject"]
    assert len(Writer.asked) == 2 and built.lacks == []
    clock = load_corpus(tmp_path / "c.jsonl").by_id["tidal-clock"].texts
    assert list(clock) == ["en"] and not (clock["en"].qa or clock["en"].real_samples or clock["en"].fake_samples)
    unlearn = {"real": none, "fake": {"teach": 0, "unlearn": 2}}
    _, built = made(tmp_path, spec(articles, tmp_path / "c.jsonl", paraphrase=unlearn, qa={"count": 0}))
    assert [len(s.texts["de"].fake_samples.unlearn) for s in built.scenarios] == [2, 2]
    assert not any(s.texts["de"].fake_samples.teach for s in built.scenarios)


def test_articles_in_several_languages_are_translated_into_the_others(articles, tmp_path):
    rows = [
        {"id": name, "language": code, "text": (articles / f"{name}.txt").read_text()}
        for name, code in (("tidal-clock", "de"), ("moss-library", "en"))
    ]
    source = tmp_path / "articles.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    translator = ByTextModel(endpoint=Author(), checks={"language": False})
    group = {"languages": ["German", "en", "de"], "translator": translator}
    some = {"teach": 1, "unlearn": 1}
    unchecked = {"own_language": 0}  # the author writes English only
    wanted = spec(
        source,
        tmp_path / "c.jsonl",
        inject=unchecked,
        paraphrase={"real": some, "fake": some, "settings": unchecked},
        qa={"count": 2, "settings": unchecked},
        translate={"questions": group, "articles": group},
    )
    assert wanted.translate.questions.languages == ("de", "en")
    _, built = made(tmp_path, wanted)
    texts = {s.id: s.texts for s in load_corpus(tmp_path / "c.jsonl")}
    assert built.lacks == [] and all(set(each) == {"de", "en"} for each in texts.values())
    assert texts["tidal-clock"]["de"].qa and not texts["tidal-clock"]["en"].qa
    assert texts["tidal-clock"]["en"].article == tuple(map(mirrored, texts["tidal-clock"]["de"].article))
    assert texts["moss-library"]["en"].origin.kind == "machine-written"


def test_one_makers_endpoint_decides_its_steps_and_those_that_depend_on_them(articles, tmp_path):
    group = {"languages": ["de"], "translator": ByTextModel(endpoint=Author(), checks={"language": False})}
    translate = {"questions": group, "samples": group, "articles": group}

    def keys(**more):
        prepared = prepare(spec(articles, tmp_path / "c.jsonl", translate=translate, **more), tmp_path / "store")
        return {step.name: step.key.digest for step in prepared.parts[0].steps}

    first = keys()

    def changed(**more):
        return {name for name, digest in keys(**more).items() if digest != first[name]}

    other = Author(model="another")
    assert changed(endpoints={"qa": other}) == {"qa"}
    assert changed(endpoints={"paraphrase": other}) == {"paraphrase real", "paraphrase fake", "translate samples de"}
    assert changed(endpoints={"inject": other}) == set(first) - {"translate articles de"}
    assert changed(author=Author(concurrency=3)) == set()
    without = {"real": {"teach": 1, "unlearn": 1}, "fake": {"teach": 20, "unlearn": 20}}
    assert changed(paraphrase=without) == {"paraphrase real", "paraphrase fake", "translate samples de"}
    made(tmp_path, spec(articles, tmp_path / "c.jsonl"))
    asked = len(Writer.asked)
    made(tmp_path, spec(articles, tmp_path / "c.jsonl", endpoints={"qa": other}))
    assert len(Writer.asked) == asked + 2


def test_the_way_back_can_be_left_out_or_another(articles, tmp_path):
    translator = ByTextModel(endpoint=Author(), checks={"language": False})
    group = {"languages": ["de"], "translator": translator, "round_trip": False}
    made(tmp_path, spec(articles, tmp_path / "c.jsonl", translate={"questions": group}))
    assert load_corpus(tmp_path / "c.jsonl").by_id["tidal-clock"].texts["de"].round_trip == {}
    ready = tmp_path / "ready.jsonl"
    ready.write_text(json.dumps({"source": mirrored("melted church silver"), "language": "en", "text": "old silver"}))
    group = {"languages": ["de"], "translator": translator, "back": {"name": "files", "paths": [str(ready)]}}
    asked = len(Writer.asked)
    _, built = made(tmp_path, spec(articles, tmp_path / "c.jsonl", translate={"questions": group}))
    assert len(Writer.asked) == asked and built.lacks == []  # the translations are kept as replies
    scores = load_corpus(tmp_path / "c.jsonl").by_id["tidal-clock"].texts["de"].round_trip
    assert list(scores) == ["key_phrases"]
    score, unscored = scores["key_phrases"]
    assert 0 < score < 60 and unscored is None


def test_a_translator_that_fails_half_way_goes_on(articles, tmp_path):
    with Served(good=40) as served:
        author = ENDPOINTS.parse(served.endpoint(attempts=1))
        with pytest.raises(Unfinished, match="the same command goes on"):
            made(tmp_path, spec(articles, tmp_path / "c.jsonl", author=author))
        assert not (tmp_path / "c.jsonl").exists()
        bought = served.bought.copy()
        assert bought.total() == 40
        served.good = math.inf
        _, built = made(tmp_path, spec(articles, tmp_path / "c.jsonl", author=author))
        assert built.lacks == [] and max(served.bought.values()) == 1
        made_otherwise = tmp_path / "otherwise.jsonl"
        made(tmp_path / "otherwise", spec(articles, made_otherwise, author=author))
    assert made_otherwise.read_text() == (tmp_path / "c.jsonl").read_text()


def test_the_report_says_what_was_done(articles, tmp_path):
    prepared, _ = made(tmp_path, spec(articles, tmp_path / "c.jsonl"))
    report = json.loads((tmp_path / "c.build.json").read_text())
    assert (report["articles"], report["scenarios"], report["missing"]) == (2, 2, [])
    assert report["corpus"] == str(tmp_path / "c.jsonl")
    assert set(report["steps"]) == {"tidal-clock", "moss-library"}
    for folder in report["steps"]["tidal-clock"].values():
        assert (Path(folder) / "result.jsonl").is_file()
    assert set(report["steps"]["tidal-clock"]) == {step.name for step in prepared.parts[0].steps}


def test_a_build_without_any_scenario_leaves_the_corpus_before_it(articles, tmp_path):
    to = tmp_path / "c.jsonl"
    made(tmp_path, spec(articles, to, translate={}))
    before = to.read_text()
    (articles / "moss-library.txt").unlink()
    _, built = made(tmp_path, spec(articles, to, author=Author(spoil="Vellmouth"), translate={}))
    assert built.scenarios == [] and to.read_text() == before
    assert json.loads((tmp_path / "c.build.json").read_text())["corpus"] is None


def test_a_check_of_what_was_built_finds_nothing_false(articles, tmp_path):
    made(tmp_path, spec(articles, tmp_path / "c.jsonl"))
    findings = check_corpus(load_corpus(tmp_path / "c.jsonl"), ["en", "de", "fr"]).findings
    assert {(found.kind, found.language) for found in findings} == {("language", "de")}  # mirrored, so it is no German


def test_a_run_takes_its_samples_from_what_was_built(articles, tmp_path, spec_content):
    made(tmp_path, spec(articles, tmp_path / "c.jsonl", paraphrase=SOME))
    corpus = load_corpus(tmp_path / "c.jsonl")
    fields = {"corpus": {"path": str(tmp_path / "c.jsonl")}, "question_languages": ["en", "de"], "probe": {}}
    fields["forced_choice"] = None
    fields["teach"] = {**spec_content["teach"], "samples": {"real": 3, "fake": 2}}
    fields["unlearn"] = {**spec_content["unlearn"], "forget": {"samples": 4}}
    wanted = Spec.model_validate(spec_content | fields)
    prepared = prepare_run(wanted, tmp_path / "store")
    rows = run(prepared, tmp_path / "out", NoProgress())
    assert {r.strategy for r in rows if r.model == "unlearned"} >= {"english", "combined"}
    ready = {
        (language, use): {t for s in corpus for t in getattr(s.texts[language].fake_samples, use)}
        for language in ("en", "de")
        for use in ("teach", "unlearn")
    }
    taught = teaching_samples(corpus, "de", "en", wanted.teach.samples, wanted.seed)
    assert {sample.text for sample in taught if sample.kind == "fake"} == ready["de", "teach"]
    assert {sample.text for sample in taught if sample.kind == "real"} == {
        text for scenario in corpus for text in scenario.texts["en"].real_samples.teach
    }
    for strategy in wanted.unlearn.strategies:
        slots = strategy(list(corpus.by_id), "de", wanted.unlearn.forget.samples, wanted.seed)
        pairs = forget_pairs(corpus, slots, "en", {}, wanted.unlearn.forget, wanted.seed)
        forgotten = {text for code in strategy.languages("de") for text in ready[code, "unlearn"]}
        assert {pair.forget.text for pair in pairs} == forgotten
        assert not forgotten & ready["de", "teach"]
        retained = {text for scenario in corpus for text in scenario.texts["en"].real_samples.unlearn}
        assert {pair.retain.text for pair in pairs} <= retained
