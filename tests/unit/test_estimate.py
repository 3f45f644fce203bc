"""Estimates of work, time, memory and money against numbers worked out by hand on the tiny models."""

from __future__ import annotations

import pytest
import tiny
import torch
from pydantic import ValidationError

from unteach.corpora.planned import PlannedCorpus, planned_corpus
from unteach.corpora.schema import Scenario
from unteach.errors import UserError
from unteach.experiments.estimate import estimate, needed_languages, prepare_to_plan
from unteach.experiments.memory import Device, Longest, kept_by_a_layer, phases
from unteach.experiments.model_stages import Unlearn
from unteach.experiments.planning import Accelerator, Call, Services
from unteach.experiments.run import prepare
from unteach.experiments.services import costs, price
from unteach.experiments.spec import Spec
from unteach.experiments.speed import Machine, Reckoner
from unteach.learn.loop import Schedule
from unteach.models.counting import BYTES_PER_TOKEN, ByBytes, Counting, script_of
from unteach.models.logprobs import headless
from unteach.models.source import MODELS, skeleton_of
from unteach.models.sources.pretrained import NotAtHand
from unteach.models.tuning import TUNINGS

# The tiny llama: two layers with q 32-32, k and v 32-16, o 32-32, gate and up 32-64, down 64-32 and two norms of 32;
# 259 words, embedding and head apart; a last norm.
LINEAR = 32 * 32 + 32 * 16 + 32 * 16 + 32 * 32 + 3 * 32 * 64
BODY = 2 * (LINEAR + 2 * 32)
HEAD = 259 * 32
ALL = BODY + 2 * HEAD + 32
ADAPTERS = 4 * 2 * (64 + 48 + 48 + 64 + 96 + 96 + 96)  # rank 4: rank * (in + out) of seven maps in two layers
KEPT_NUMBERS = 256 + 256 + 7 * 4  # inputs, outputs and inner values of a layer's seven maps
LORA = TUNINGS.parse({"name": "lora", "rank": 4})
FULL = TUNINGS.parse("full")
ARCHITECTURE = {
    "model_type": "llama",
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def skeleton(architecture="llama"):
    return skeleton_of(tiny.config(architecture))


def small_spec(model, **changes) -> Spec:
    """Three scenarios, three languages, two strategies; ``changes`` replace whole groups."""
    content = {
        "name": "small",
        "corpus": {"limit": 3},
        "model": model,
        "sources": ["de"],
        "question_languages": ["en", "de", "ur"],
        "teach": {
            "tuning": {"name": "lora", "rank": 4},
            "schedule": {"lr": 1e-3, "batch_size": 2},
            "samples": {"real": 5, "fake": 1, "keep": 0.25, "keep_fake": 0.0},
            "instruct": {"mode": "mixed"},
        },
        "unlearn": {
            "strategies": ["english", "combined"],
            "objective": "grad_diff",
            "tuning": {"name": "lora", "rank": 4},
            "schedule": {"lr": 1e-3, "batch_size": 2, "max_steps": 4},
            "forget": {"samples": 2, "keep": 0.0, "keep_real": 0.25},
            "checkpoint_every": 2,
        },
        "probe": {"languages": ["en", "@source"], "retain_texts": 2},
        "ask": {"max_new_tokens": 3, "batch_size": 4},
        "judge": "keyword",
    }
    return Spec.model_validate(content | changes)


@pytest.fixture
def tiny_model(tiny_folder):
    return {"name": "pretrained", "path": str(tiny_folder("llama")), "dtype": "float32"}


@pytest.fixture
def reckoner(tiny_model):
    return Reckoner(MODELS.parse(tiny_model), Machine(1e6), 2)


# operations and seconds


def test_sizes_of_the_model(reckoner):
    assert (reckoner.body, reckoner.head) == (BODY, HEAD) == (18_560, 8_288)


def test_operations_a_training_token(reckoner):
    plain = Schedule(lr=1e-3)
    saving = Schedule(lr=1e-3, gradient_checkpointing=True)
    # forward and backward through layers and adapters, 2 more for each number that learns, the head twice
    assert reckoner.training_flops(LORA, plain) == 4 * (BODY + ADAPTERS) + 2 * ADAPTERS + 4 * HEAD == 131_968
    assert reckoner.training_flops(LORA, saving) == 6 * (BODY + ADAPTERS) + 2 * ADAPTERS + 4 * HEAD
    assert reckoner.training_flops(FULL, plain) == 6 * BODY + 4 * HEAD


def test_seconds_of_a_prompt_by_arithmetic_or_by_memory(reckoner, tiny_model):
    spec = small_spec(tiny_model)
    reading, writing = 10 * 2 * BODY / 1e6, 3 * 2 * (BODY + HEAD) / 1e6
    assert reckoner.prompt_seconds(10, spec.ask) == pytest.approx(reading + writing)
    # two bytes a weight, read once for the four answers of a batch, at 1000 bytes a second
    reckoner.machine = Machine(1e6, 1000.0)
    assert reckoner.prompt_seconds(10, spec.ask) == pytest.approx(reading + 3 * 2 * (BODY + HEAD) / 4 / 1000)


def test_an_accelerators_speed_is_its_peak_times_its_use():
    device = Accelerator(name="some", tflops=100, memory_gib=1, utilisation=0.25, bandwidth_gb_s=2000)
    assert Machine.of(device) == Machine(25e12, 500e9)


def test_readings_at_checkpoints_are_counted(tiny_model, tmp_path):
    result = estimate(prepare_to_plan(small_spec(tiny_model), tmp_path))
    (first, _) = [line.read for line in result.lines if line.stage.kind == "unlearn"]
    # after steps 2 and 4; three fake questions in English and German, three real ones in English; and before step 1
    assert (first.number, first.prompts, first.verdicts) == (2, 18, 27)
    assert result.prompts_at_checkpoints == 36
    assert result.amount("prompts") == 4 * 3 * 6


def test_answers_known_from_checkpoints_take_no_time(tiny_model, tmp_path):
    prepared = prepare_to_plan(small_spec(tiny_model), tmp_path)
    reckoner = Reckoner(prepared.context.spec.model, Machine(1e6), 4)
    seconds = {}
    for model in prepared.models:
        for judged in model.judged:
            seconds[model.tag.name, judged.asked.language] = reckoner.seconds(judged.asked, 6)
    assert seconds["unlearned/de/english", "en"] == 0
    assert seconds["unlearned/de/english", "de"] == pytest.approx(seconds["contaminated/de", "de"] / 2, rel=0.2)
    assert seconds["unlearned/de/english", "ur"] == seconds["contaminated/de", "ur"] > 0


def test_time_on_an_accelerator_is_work_over_speed(tiny_model, tmp_path):
    device = {"name": "some", "tflops": 1e-6, "memory_gib": 1, "utilisation": 0.5}
    spec = small_spec(tiny_model, planning={"accelerator": device}, unlearn=None)
    result = estimate(prepare_to_plan(spec, tmp_path))
    learned = [line for line in result.lines if line.stage.kind == "learn"]
    assert [line.seconds for line in learned] == [
        pytest.approx(line.amount * (4 * (BODY + ADAPTERS) + 2 * ADAPTERS + 4 * HEAD) / 0.5e6) for line in learned
    ]
    assert not any(line.measured for line in result.lines)


# memory


def test_what_a_layer_keeps(load):
    assert kept_by_a_layer(skeleton(), LORA, 2) == 2 * KEPT_NUMBERS + 4 * 64 + 2 * 2 * 32 == 1464
    assert kept_by_a_layer(skeleton(), FULL, 4) == 4 * 512 + 4 * 64 + 2 * 4 * 32


def test_gpt2s_transposed_maps_are_counted_the_right_way_round():
    # c_attn 32-96, c_proj 32-32, c_fc 32-128, c_proj 128-32; biases are of the maps, two norms with weight and bias
    inputs, outputs = 32 + 32 + 32 + 128, 96 + 32 + 128 + 32
    assert kept_by_a_layer(skeleton("gpt2"), LORA, 2) == 2 * (inputs + outputs + 4 * 4) + 4 * 128 + 2 * 2 * 32


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma3"])
def test_what_autograd_holds_is_what_a_layer_is_said_to_keep(load, architecture):
    """All that the backward pass needs, for 4 x 64 tokens in bfloat16, apart from weights and their copies."""
    loaded = load(architecture, "bfloat16")
    batch, length = 4, 64
    held: dict[int, int] = {}
    kept = []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and (length in tensor.shape or batch * length in tensor.shape):
            held[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)  # alive, so that no place in memory is used twice
        return tensor

    ids = torch.randint(3, 250, (batch, length))
    with LORA.attach(loaded.model, 0) as model:
        model.train()
        weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16),
            headless(loaded.model),
        ):
            model(input_ids=ids, use_cache=False)
    measured = sum(held.values()) / (2 * batch * length)
    assert kept_by_a_layer(skeleton(architecture), LORA, 2) == pytest.approx(measured, rel=0.25)


def test_every_phase_holds_what_it_must(tiny_model):
    spec = small_spec(
        tiny_model,
        teach={
            "tuning": {"name": "lora", "rank": 4},
            "schedule": {"lr": 1e-3, "batch_size": 2},
            "instruct": {
                "mode": "after",
                "tuning": {"name": "lora", "rank": 4, "targets": ["q_proj"]},
                "schedule": {"lr": 1e-3, "batch_size": 1, "gradient_checkpointing": True},
            },
        },
    )
    device = Device(program=1000, word=10, slack=1, head_columns=100)
    found = {phase.name: phase for phase in phases(spec, skeleton(), Longest(10, 7, 20), 4, device)}
    always = {"program": 1000 + 2590, "weights": 4 * ALL}
    layer = 4 * KEPT_NUMBERS + 4 * 64 + 2 * 4 * 32
    training = {
        "adapters": 4 * ADAPTERS,
        "gradient and optimiser": 16 * ADAPTERS,
        "output layer": 512 * 100 * 16,
    }
    assert found["teaching"].parts == always | training | {"activations": 2 * 10 * (3 * layer + 32 * 12)}
    # the layers' inputs are kept, and one layer at a time is computed again; only q has an adapter
    saving = 4 * (256 + 32 + 4) + 4 * 64 + 2 * 4 * 32
    assert found["instruction tuning"].parts["activations"] == 10 * (2 * 32 * 4 + 2 * saving + 32 * 12)
    assert found["instruction tuning"].parts["undo copy"] == 4 * 2 * LINEAR
    assert found["instruction tuning"].parts["adapters"] == 4 * 4 * 2 * 64
    # forget and retain samples of a pair at once
    assert found["unlearning"].parts["activations"] == 2 * 2 * 7 * (3 * layer + 32 * 12)
    reading = found["reading a checkpoint"].parts
    assert reading["copy to unmerge"] == 4 * 2 * LINEAR
    assert reading["adapters and optimiser"] == 3 * 4 * ADAPTERS
    # keys and values of two heads of eight in two layers for 20 + 3 tokens, and logits three times, for four prompts
    assert reading["keys, values and logits"] == 4 * (2 * 2 * 8 * 2 * 4 * 23 + 259 * 12)
    assert found["asking"].total == sum(found["asking"].parts.values())


def test_full_rank_holds_gradients_in_the_models_format_and_a_copy_to_restore():
    spec = small_spec(
        {"name": "pretrained", "path": "none", "architecture": ARCHITECTURE},
        teach={"tuning": "full", "schedule": {"lr": 1e-3}},
        unlearn=None,
    )
    parts = phases(spec, skeleton(), Longest(10, 0, 0), 2, Device(0, 0, 1, 100))[0].parts
    assert parts["gradient and optimiser"] == 4 * 2 * BODY
    assert parts["copy to restore"] == 2 * BODY
    assert "adapters" not in parts


# money

SERVICES = Services(
    name="some",
    price_in=10,
    price_out=30,
    fake_passage=Call(tokens_in=1000, tokens_out=0),
    paraphrase=Call(tokens_in=700, tokens_out=600),
    question_translation=Call(tokens_in=0, tokens_out=100),
    judge=Call(tokens_in=900, tokens_out=100),
)


def test_a_calls_price_is_by_the_million():
    assert price(SERVICES, Call(tokens_in=1_000_000, tokens_out=500_000)) == 10 + 15


def test_costs_by_kind_of_call(tiny_model):
    spec = small_spec(tiny_model, fake_question_languages=["es"])
    found = {cost.what: (cost.calls, round(cost.money, 6)) for cost in costs(SERVICES, spec, 100, 50, 20, made=False)}
    assert found == {
        "writing fake passages into articles": (100, 1.0),
        "paraphrasing real articles": (500, 12.5),
        "paraphrasing fake articles": (100, 2.5),
        "paraphrasing both for unlearning": (400, 10.0),
        # both questions into German and Urdu, that on the fake into Spanish too
        "translating questions": (500, 1.5),
        "judging final answers": (50, 0.6),
        "judging answers at checkpoints": (20, 0.24),
    }  # calls without tokens in the settings are left out


def test_a_corpus_that_is_there_costs_nothing_more(tiny_model):
    found = costs(SERVICES, small_spec(tiny_model), 100, 50, 0, made=True)
    assert [cost.what for cost in found] == ["judging final answers"]


# tokens without a tokeniser


@pytest.mark.parametrize(
    ("text", "script", "tokens"),
    [
        ("The cat sat.", "English", 1 + 3),  # 12 / 4.5
        ("Die Katze sass.", "Latn", 1 + 5),  # 15 / 3.0
        ("мир", "Cyrl", 1 + 2),  # 6 / 5.2
        ("Հայ", "Armn", 1 + 6),  # 6 / 1.14
        ("خبر", "Arab", 1 + 3),  # 6 / 2.6
        ("新闻", "Hans", 1 + 2),  # 6 / 3.1
        ("新聞です", "Jpan", 1 + 4),  # 12 / 3.8
        ("ትግርኛ", "Ethi", 1 + 12),  # 12 / 1.06
        ("Café “noir”", "Latn", 1 + 6),  # 16 / 3.0: quotation marks are no letters
        ("", "Latn", 1),
    ],
)
def test_tokens_by_bytes_and_script(text, script, tokens):
    assert script_of(text) == script
    assert ByBytes().count(text) == tokens
    assert len(ByBytes()(text)["input_ids"]) == tokens
    assert [len(ids) for ids in ByBytes()([text, "x"])["input_ids"]] == [tokens, 2]


def test_every_script_of_the_language_table_has_its_number():
    from unteach.languages.table import LANGUAGES

    scripts = {language.script for language in LANGUAGES.values()}
    assert scripts - {"Hant"} <= set(BYTES_PER_TOKEN)


def test_counting_asks_the_tokeniser_once_for_each_text():
    asked = []

    def tokenizer(texts):
        asked.extend(texts)
        return {"input_ids": [text.split() for text in texts]}

    counting = Counting(tokenizer)
    assert [len(ids) for ids in counting(["a b", "c", "a b"])["input_ids"]] == [2, 1, 2]
    assert len(counting("c d e")["input_ids"]) == 3
    assert len(counting("a b")["input_ids"]) == 2
    assert asked == ["a b", "c", "c d e"]
    assert counting.longest == 3


# a corpus that is not there yet


def test_a_planned_corpus_has_the_sizes_that_were_asked_for():
    planned = PlannedCorpus(
        scenarios=4, article_sentences=5, sentence_bytes=100, fake_bytes=300, wordings=3, qa=2, question_bytes=50
    )
    corpus = planned_corpus(planned, ["en", "ru", "kab"], {"en"}, "some/where")
    assert (len(corpus), corpus.name) == (4, "some/where")
    texts = corpus.scenarios[2].texts
    assert {code: len(text.article) for code, text in texts.items()} == {"en": 5, "ru": 5, "kab": 5}
    assert all(len(text.fake) == 3 and len(text.qa) == 2 for text in texts.values())
    assert all(98 <= len(sentence.encode()) <= 100 for sentence in texts["en"].article)  # less spaces at its ends
    assert all(298 <= len(wording.encode()) <= 300 for wording in texts["en"].fake)
    assert all(515 <= len(wording.encode()) <= 519 for wording in texts["ru"].fake)  # 1.73 times the English
    assert set(texts["kab"].article[0].split()) <= {"Taqbaylit", *("Taqbaylit"[n:] for n in range(9))} | {
        "Taqbaylit"[:n] for n in range(9)
    }
    assert texts["en"].real_question and texts["ru"].real_question is None and texts["ru"].fake_question
    assert len({scenario.texts["en"].article for scenario in corpus}) == 4


def test_a_planned_corpus_survives_the_checks_of_a_real_one():
    corpus = planned_corpus(PlannedCorpus(scenarios=2), ["en", "hy", "ti", "zh"], {"en", "zh"}, "x")
    for scenario in corpus:
        assert Scenario.model_validate(scenario.model_dump()) == scenario


def test_needed_languages_are_all_that_is_read(tiny_model):
    unlearn = small_spec(tiny_model).unlearn
    assert unlearn is not None
    spec = small_spec(
        tiny_model,
        fake_question_languages=["es"],
        unlearn={**unlearn.model_dump(), "strategies": ["family"]},
        forced_choice={"question_languages": ["fr"], "passage_languages": ["@source", "ru"]},
    )
    assert set(needed_languages(spec)) == {"en", "de", "ur", "es", "nl", "fr", "ru"}


def test_plan_goes_ahead_without_the_corpus_and_run_names_it(tiny_model, tmp_path):
    where = tmp_path / "not yet"
    spec = small_spec(tiny_model, corpus={"path": str(where), "planned": {"scenarios": 7}})
    result = estimate(prepare_to_plan(spec, tmp_path))
    assert result.amount("prompts") == 4 * 3 * 14
    assert any(str(where) in note for note in result.notes)
    with pytest.raises(UserError, match=r"no corpus at .*not yet.*unteach plan"):
        prepare(spec, tmp_path)
    with pytest.raises(UserError, match=r"there is nothing at .*not yet"):
        prepare_to_plan(small_spec(tiny_model, corpus={"path": str(where)}), tmp_path)


def test_a_corpus_that_is_there_is_planned_with_itself(tiny_model, tmp_path):
    spec = small_spec(tiny_model, corpus={"limit": 3, "planned": {"scenarios": 7}})
    result = estimate(prepare_to_plan(spec, tmp_path))
    assert result.amount("prompts") == 4 * 3 * 6
    assert not result.notes


def test_planning_settings_decide_no_result_and_no_folder(tiny_model, tmp_path):
    device = {"name": "some", "tflops": 1, "memory_gib": 1}
    plain, other = small_spec(tiny_model), small_spec(tiny_model, planning={"accelerator": device})
    assert plain.model_dump() == other.model_dump()
    keys = [[model.made_by.key.digest for model in prepare(spec, tmp_path).models] for spec in (plain, other)]
    assert keys[0] == keys[1]


# a model that is not here


def test_a_model_that_is_not_here_is_planned_with_its_shape(tmp_path):
    source = MODELS.parse({"name": "pretrained", "path": "nobody/nothing", "architecture": ARCHITECTURE})
    planned = source.for_planning()
    assert isinstance(planned, NotAtHand)
    assert sum(p.numel() for p in planned.skeleton().parameters()) == ALL
    assert all(p.device.type == "meta" for p in planned.skeleton().parameters())
    assert isinstance(planned.tokenizer(), ByBytes)
    assert (
        planned.identity()
        != MODELS.parse(
            {"name": "pretrained", "path": "nobody/nothing", "architecture": {**ARCHITECTURE, "hidden_size": 64}}
        )
        .for_planning()
        .identity()
    )
    assert any("nobody/nothing" in note for note in planned.notes())
    assert any("LLaMA 3" in note and "Armn 1.14" in note for note in planned.notes())
    with pytest.raises(UserError, match="not on this machine"):
        planned.load()
    with pytest.raises(UserError, match="nobody/nothing"):
        source.load()


def test_a_model_that_is_here_is_planned_with_itself(tiny_folder):
    source = MODELS.parse({"name": "pretrained", "path": str(tiny_folder("llama")), "architecture": ARCHITECTURE})
    assert source.for_planning() is source
    assert source.notes() == []


def test_a_tokeniser_without_weights_is_used(tmp_path):
    tiny.tokenizer().save_pretrained(tmp_path)
    tiny.config("llama").save_pretrained(tmp_path)
    planned = MODELS.parse({"name": "pretrained", "path": str(tmp_path), "architecture": ARCHITECTURE}).for_planning()
    assert isinstance(planned, NotAtHand)
    assert planned.tokenizer()("abc")["input_ids"] == [tiny.BOS, *tiny.ids_of("abc")]
    assert len(planned.notes()) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "lama"}, "model_type must be one"),
        ({"hiden_size": 3}, "Did you mean 'hidden_size'"),
    ],
)
def test_a_misspelt_architecture_is_refused(change, words):
    with pytest.raises(ValidationError, match=words):
        MODELS.parse({"name": "pretrained", "path": "x", "architecture": {**ARCHITECTURE, **change}})


def test_an_architecture_that_does_not_fit_together_is_explained():
    source = MODELS.parse(
        {"name": "pretrained", "path": "no/such", "architecture": {**ARCHITECTURE, "hidden_size": "wide"}}
    )
    with pytest.raises(UserError, match=r"model\.architecture"):
        source.for_planning().skeleton()


def test_unlearn_stages_of_a_plan_are_those_of_a_run(tiny_model, tmp_path):
    spec = small_spec(tiny_model)
    planned, real = prepare_to_plan(spec, tmp_path), prepare(spec, tmp_path)
    keys = [
        [m.made_by.key.digest for m in prepared.models if isinstance(m.made_by, Unlearn)]
        for prepared in (planned, real)
    ]
    assert keys[0] == keys[1] and len(keys[0]) == 2
