"""The claims of paper B: each finds its rows, in a sweep over both models and in a run of one; whose judge counts."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from unteach.errors import UserErrors
from unteach.languages.table import PAPER_B
from unteach.metrics.claims import Claim, read_claims
from unteach.metrics.contract import MEASURES, Evidence, ModelEvidence, ModelTag
from unteach.metrics.decide import answer, check, choose
from unteach.metrics.intervals import wilson
from unteach.metrics.table import build
from unteach.records import GENERALISATION, Defence, EditRecord, KnownAnswer, Row

FILE = Path(__file__).parents[2] / "experiments" / "claims" / "paper-b.yaml"
LLAMA = "model=pretrained(path=meta-llama/Llama-2-7b-chat-hf, dtype=bfloat16)"
MISTRAL = "model=pretrained(path=mistralai/Mistral-7B-v0.1, dtype=bfloat16)"
COMPARE_BOTH = {
    "llama-safer-than-mistral-direction",
    "llama-gains-more-than-mistral-direction",
    "carry-over-hangs-on-the-model-direction",
}


@pytest.fixture(scope="module")
def claims() -> dict[str, Claim]:
    return {found.id: found for found in read_claims(FILE)}


def share(hits: int, n: int, **columns) -> Row:
    low, high = wilson(hits, n)
    key = {"run": "r", "metric": "DS", "model": "edited", "editor": "dinm", "judge": "claude", "group": "attack"}
    return Row(**key | {"source_language": "en"} | columns, n=n, value=hits / n, ci_low=low, ci_high=high)


def change(value: float, half: float, n: int = 50, **columns) -> Row:
    key = {"run": "r", "metric": "DS_change", "model": "edited", "editor": "dinm", "judge": "claude", "group": "attack"}
    key |= {"source_language": "en"} | columns
    return Row(**key, n=n, value=value, ci_low=value - half, ci_high=value + half)


def claim(rows: dict, **test) -> Claim:
    words = {"id": "c", "paper": "B", "section": "5", "says": "Something.", "why": "The number."}
    return Claim.model_validate(words | {"test": {"rows": rows, **test}})


# --- a whole run ---


def made_up(variants: tuple[str | None, ...]) -> Evidence:
    """A run as the paper's, with four items: nine edit languages, the three other layers, the controls, two judges."""
    models: dict[str, ModelEvidence] = {}

    def add(asked: tuple[str, ...], tag: ModelTag, **fields) -> str:
        chance = Random(len(models))
        said = [
            Defence(
                item=f"i{number}",
                input=kind,
                language=language,
                outcome=chance.choice(("safe", "unsafe", "degenerate")),
                reason="made up",
                refuses=chance.random() < 0.5,
            )
            for language in asked
            for kind in ("attack", *GENERALISATION, "knowledge")
            for number in range(4)
        ]
        known = [
            KnownAnswer(item=f"i{number}", language=code, log_probability=-chance.random(), tokens=3, characters=9)
            for code in asked
            for number in range(4)
        ]
        judges = {"claude-3-5-haiku": said, "SafeEdit-RoBERTa": [each for each in said if each.language == "en"]}
        models[tag.name] = ModelEvidence(tag, defences=judges, known=known, **fields)
        return tag.name

    for variant in variants:
        before = add(PAPER_B, ModelTag("unedited", variant=variant))
        suffix = ModelTag("edited", editor="suffix_only", variant=variant)
        prompt_only = add(PAPER_B, suffix, before=before)
        for editor in ("dinm", "dinm layer -2", "dinm layer -1", "random_layer", "sft", "dpo"):
            for source in PAPER_B if editor == "dinm" else ("en",):
                edits = [
                    EditRecord(item=f"i{number}", language=source, layer=30, layers=32, distances=(0.0,) * 32)
                    for number in range(4 if editor == "dinm" else 0)
                ]
                tag = ModelTag("edited", source, editor=editor, variant=variant)
                asked = PAPER_B if source == "en" else ("en", source)
                add(asked, tag, before=before, prompt_only=prompt_only, edits=edits)
    return Evidence("made", models, PAPER_B)


MEASURED = ("defence", "defence_change", "defence_pooled", "side_effects", "located_layers")


def rows_of(*variants: str | None) -> list[Row]:
    return build(made_up(variants), [MEASURES.parse(name) for name in MEASURED])


def test_every_claim_is_decided_in_a_run_of_both_models(claims):
    answers = check(rows_of(LLAMA, MISTRAL), claims.values())
    assert {found.claim.id: found.reason for found in answers if found.verdict == "not tested"} == {}
    for found in answers:
        assert not [part.reason for part in found.parts if part.value is None], found.claim.id
        meant = {LLAMA} if "llama" in found.claim.id else {MISTRAL} if "mistral" in found.claim.id else None
        used = {row.variant for part in found.parts for row in part.rows}
        if found.claim.id in COMPARE_BOTH or (meant is None and not found.claim.test.sides[0].get("variant")):
            assert used == {LLAMA, MISTRAL}, found.claim.id
        elif meant:
            assert used == meant, found.claim.id


def test_every_claim_but_comparisons_is_decided_in_a_run_of_one_model(claims):
    answers = {found.claim.id: found for found in check(rows_of(None), claims.values())}
    assert {name for name, found in answers.items() if found.verdict == "not tested"} == COMPARE_BOTH
    assert all("Mistral" in answers[name].reason or "Llama" in answers[name].reason for name in COMPARE_BOTH)
    assert [dict(part.where) for part in answers["own-language-pooled-direction"].parts] == [{}]


def test_seeds_of_one_model_are_taken_together(claims):
    rows = []
    for seed, hits in ((0, 45), (1, 47)):
        rows.append(share(hits, 50, question_language="en", seed=seed))
    rows.append(share(46, 50, question_language="en", variant="over 2 seeds"))
    found = answer(rows, claims["table-1-llama-main-judge-size"])
    assert found.deciding.value == 0.92
    assert answer(rows, claims["fifty-items-are-enough-size"]).deciding.where == {"variant": "over 2 seeds"}


def test_claims_say_where_their_bound_is_from(claims):
    assert len(claims) >= 40
    for name, found in claims.items():
        low, high = found.test.bounds
        assert found.paper == "B" and name.endswith(("-direction", "-size"))
        if name.endswith("-direction"):
            assert {low, high} & {0.0}, name
        else:
            assert 0.0 not in (low, high), name
        assert name.startswith("control-") == (found.section == "ours"), name
        # a claim that names one of the models is about its rows only
        for word in ("llama", "mistral"):
            for side in found.test.sides if name.startswith(f"{word}-") and name not in COMPARE_BOTH else ():
                assert word in str(side["variant"]).lower(), name


# --- a few by hand ---


@pytest.mark.parametrize(
    ("main", "roberta", "verdict"),
    [
        # Wilson 23/50 .330 to .596, 44/50 .762 to .944: difference .42, low .42 - hypot(.118, .136) = .240
        (23, 44, "supported"),
        (44, 44, "underpowered"),
        (46, 23, "contradicted"),
    ],
)
def test_judges_are_compared(claims, main, roberta, verdict):
    rows = [share(main, 50, question_language="en", variant=MISTRAL)]
    rows.append(share(roberta, 50, question_language="en", variant=MISTRAL, judge="SafeEdit-RoBERTa"))
    found = answer(rows, claims["judges-part-on-mistral-direction"])
    assert found.verdict == verdict and found.deciding.value == pytest.approx((roberta - main) / 50)
    assert answer(rows, claims["judges-agree-on-llama-size"]).verdict == "not tested"


def test_the_papers_own_numbers_support_its_table(claims):
    rows = []
    for variant, main, roberta in ((LLAMA, 94, 100), (MISTRAL, 46, 88)):
        key = {"question_language": "en", "variant": variant}
        rows += [share(4 * main, 400, **key), share(4 * roberta, 400, **key, judge="SafeEdit-RoBERTa")]
    named = [found for name, found in claims.items() if name.startswith(("table-1", "judges-agree", "judges-part"))]
    verdicts = {found.claim.id: found.verdict for found in check(rows, named)}
    assert verdicts.pop("judges-part-on-mistral-size") == "underpowered"  # 42 itself cannot be told from 42
    assert len(verdicts) == 6 and set(verdicts.values()) == {"supported"}


def test_the_edit_carries_over_but_to_bengali(claims):
    others = [change(0.6, 0.2, question_language=code) for code in ("es", "fr", "zh", "hi", "th", "ms", "vi")]
    rows = [*others, change(0.0, 0.05, question_language="bn")]
    names = ("carries-over-direction", "not-to-bengali-size")
    wanted = [claims[f"llama-english-edit-{name}"] for name in names] + [claims["llama-bengali-gains-least-direction"]]
    assert [found.verdict for found in check(rows, wanted)] == ["supported"] * 3
    # the one model of this run is then not like Mistral
    assert answer(rows, claims["mistral-english-edit-stays-size"]).verdict == "contradicted"
    rows[-1] = change(0.6, 0.2, question_language="bn")
    assert [found.verdict for found in check(rows, wanted)] == ["supported", "contradicted", "underpowered"]


def test_few_items_are_not_enough(claims):
    enough = claims["fifty-items-are-enough-size"]
    # 47/50: .838 to .979, so 0 -+ hypot(.102, .039) = .109; 188/200: .898 to .965, so hypot(.042, .025) = .049
    for hits, n, verdict in ((47, 50, "underpowered"), (188, 200, "supported"), (10, 20, "underpowered")):
        found = answer([share(hits, n, question_language="en")], enough)
        assert (found.verdict, found.deciding.value) == (verdict, 0.0)


@pytest.mark.parametrize(("always", "verdict"), [(450, "supported"), (400, "underpowered"), (200, "contradicted")])
def test_located_layers(claims, always, verdict):
    rows = [
        share(hits, 450, metric="located_layer", source_language="any", group=f"layer {layer}", judge=None)
        for layer, hits in ((29, 450 - always), (30, always), (31, 0))
    ]
    # Wilson 400/450: .856 to .915, around the bound of .9; with 200 of 450 no other layer passes it either
    for name in ("llama-located-layer-is-the-31st-size", "llama-located-layer-is-one-size"):
        assert answer(rows, claims[name]).verdict == verdict


# --- which rows a claim reads ---

ENGLISH = {"metric": "DS", "question_language": "en", "group": "attack"}


def test_a_claim_without_a_judge_reads_the_first_one_in_the_table():
    first = change(0.1, 0.05, question_language="en")
    rows = [first, share(45, 50, question_language="en"), share(5, 50, question_language="en", judge="other")]
    assert answer(rows, claim(ENGLISH, at_least=0.5)).deciding.rows == (rows[1],)
    # the order of the rows of one metric does not matter, the first judge of all does
    assert answer([first, rows[2], rows[1]], claim(ENGLISH, at_least=0.5)).deciding.rows == (rows[1],)
    assert answer([rows[2], rows[1], first], claim(ENGLISH, at_least=0.5)).deciding.rows == (rows[2],)
    for name in ("other", "oth*", "OTHER*"):
        assert answer(rows, claim(ENGLISH | {"judge": name}, at_least=0.5)).deciding.rows == (rows[2],)
    both = answer(rows, claim(ENGLISH, each="judge", at_least=0.5))
    assert [dict(part.where) for part in both.parts] == [{"judge": "claude"}, {"judge": "other"}]


def test_another_judge_does_not_stand_in_for_the_main_one():
    rows = [share(45, 50, question_language="fr"), share(45, 50, question_language="en", judge="other")]
    found = answer(rows, claim(ENGLISH, at_least=0.5))
    assert found.verdict == "not tested" and "question_language en" in found.reason


def test_rows_without_a_judge_are_read_by_every_claim():
    plain = share(45, 50, question_language="en", judge=None)
    rows = [share(5, 50, question_language="fr"), plain]
    assert answer(rows, claim(ENGLISH, at_least=0.5)).deciding.rows == (plain,)
    assert answer([plain], claim(ENGLISH, at_least=0.5)).deciding.rows == (plain,)


def test_a_variant_may_be_one_of_several_in_order():
    wanted = ENGLISH | {"variant": ("*llama-2-7b-chat*", None)}
    plain = share(1, 50, question_language="en")
    llama, mistral = (plain.model_copy(update={"variant": name}) for name in (LLAMA, MISTRAL))
    assert choose([mistral, llama], wanted) == llama
    assert choose([plain], wanted) == plain
    assert "variant *llama-2-7b-chat* or empty" in choose([mistral], wanted)
    twice = [llama, llama.model_copy(update={"variant": f"{LLAMA}, edit.lr=1"})]
    assert choose(twice, wanted) == "2 rows fit; they differ in variant"
    over = llama.model_copy(update={"variant": f"{LLAMA}, over 3 seeds"})
    assert choose([mistral, over], wanted) == over


def test_only_variants_take_a_list(tmp_path):
    text = FILE.read_text(encoding="utf-8").replace("editor: dinm\n", "editor: [dinm, sft]\n", 1)
    (tmp_path / "claims.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserErrors, match="only `variant` takes a list"):
        read_claims(tmp_path / "claims.yaml")


def test_a_pool_of_edits_asked_in_english_leaves_the_english_edit_out():
    rows = [share(5, 50, source_language=code, group="attack: english") for code in ("en", "fr", "bn")]
    rows += [share(5, 50, source_language="zh", group="attack: english", editor="sft")]
    rows += [share(9, 90, source_language="any", group=f"attack: {group}") for group in ("english", "same")]
    for group, sources in (("english", ("fr", "bn")), ("same", ("en", "fr", "bn"))):
        wanted = {"metric": "DS", "editor": "dinm", "source_language": "any", "group": f"attack: {group}"}
        assert answer(rows, claim(wanted, at_least=0.5)).sources == sources
