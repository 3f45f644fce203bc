"""The NLLB translator: the code that loads and runs any M2M100 checkpoint, on a tiny one with a real tokeniser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_nllb
import torch
from tiny_nllb import SENTENCES
from transformers import PreTrainedModel

from unteach.errors import UserError
from unteach.makers.contract import TRANSLATORS, Source, Translated, Translator
from unteach.makers.round_trip import round_trip

EVERY = [Source(text=text, language=code) for code, texts in SENTENCES.items() for text in texts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Callable[[str], Path]:
    """``folder("nllb")``, ``folder("m2m")``: checkpoints as on the hub, not to be changed."""
    made: dict[str, Path] = {}

    def saved(kind: str) -> Path:
        if kind not in made:
            made[kind] = tiny_nllb.save(tmp_path_factory.mktemp(kind), tmp_path_factory.mktemp("pieces"), kind)
        return made[kind]

    return saved


@pytest.fixture
def nllb(folder) -> Callable[..., Translator]:
    """``nllb(kind, setting=...)``; the tiny model makes short sentences, which checks leave alone."""

    def translator(kind: str = "nllb", **settings: object) -> Translator:
        return TRANSLATORS.parse({"name": "nllb", "model": str(folder(kind)), "dtype": "float32", **settings})

    return translator


@pytest.mark.parametrize("kind", ["nllb", "m2m"])
@pytest.mark.parametrize("target", SENTENCES)
def test_every_language_is_written_by_its_own_token(nllb, kind: str, target: str) -> None:
    """The model knows the same sentences in every language: only the forced token says which comes out."""
    sources = [source for source in EVERY if source.language != target]
    found = nllb(kind, checks={"longest": 5, "language": False})(sources, target)
    assert [each.text for each in found] == list(SENTENCES[target]) * 3


def test_the_source_language_is_told_to_the_tokeniser(nllb, monkeypatch) -> None:
    from unteach.makers.translators import nllb as module

    batches = []
    generate = module._generate

    def watched(model, tokenizer, batch, options):
        batches.extend((tokenizer.convert_ids_to_tokens(s.ids)[0], options["forced_bos_token_id"]) for s in batch)
        return generate(model, tokenizer, batch, options)

    monkeypatch.setattr(module, "_generate", watched)
    french = [Source(text=text, language="fr") for text in SENTENCES["fr"]]
    hindi = [Source(text=text, language="Hindi") for text in SENTENCES["hi"]]
    translator = nllb()
    translator([french[0], hindi[0], french[1]], "eng_Latn")
    tokenizer = module._load_tokenizer(translator.model, None)
    assert sorted({name for name, _ in batches}) == ["fra_Latn", "hin_Deva"] and len(batches) == 3
    assert {token for _, token in batches} == {tokenizer.convert_tokens_to_ids("eng_Latn")}


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_gives_what_its_texts_give_alone(nllb, beams: int) -> None:
    together = nllb(num_beams=beams, batch_size=16)(EVERY, "fr")
    alone = nllb(num_beams=beams, batch_size=1)
    assert together == [each for source in EVERY for each in alone([source], "fr")]
    assert nllb(num_beams=beams, batch_size=5)(EVERY, "fr") == together


def test_batch_size_and_place_are_no_part_of_the_key(nllb, folder, tmp_path) -> None:
    import shutil

    moved = shutil.copytree(folder("nllb"), tmp_path / "moved")
    assert nllb(batch_size=3).identity() == nllb().identity() == nllb(model=str(moved)).identity()
    assert nllb(num_beams=2).identity() != nllb().identity() != nllb("m2m").identity()


def test_a_long_article_is_cut_and_put_together_as_the_scripts_want(nllb) -> None:
    english, chinese, french = SENTENCES["en"], SENTENCES["zh"], SENTENCES["fr"]
    article = f"{english[0]} {english[1]}\n\n{english[2]} {english[0]}\n{english[1]}"
    (found,) = nllb(checks={"longest": 5})([Source(text=article, language="en")], "zh")
    assert found.text == f"{chinese[0]}{chinese[1]}\n\n{chinese[2]}{chinese[0]}\n{chinese[1]}"
    (back,) = nllb()([Source(text=found.text, language="zh")], "fr")
    assert back.text == f"{french[0]} {french[1]}\n\n{french[2]} {french[0]}\n{french[1]}"
    (scored,) = round_trip([Source(text=article, language="en")], [found], "zh", nllb(checks={"longest": 5}))
    assert scored.score == pytest.approx(100) and scored.back == article


def test_no_piece_has_more_tokens_than_the_model_has_places(nllb, monkeypatch) -> None:
    from unteach.makers.translators import nllb as module

    lengths = []
    monkeypatch.setattr(
        module,
        "_generate",
        lambda model, tokenizer, batch, options: [
            lengths.append(len(s.ids)) or module._Output("Bien.", True) for s in batch
        ],
    )
    endless = " ".join(["the blue ferry sails to the island,"] * 40)
    nllb(longest=1000)([Source(text=endless, language="en")], "fr")
    assert len(lengths) > 5 and max(lengths) <= 64  # max_position_embeddings of the tiny model
    lengths.clear()
    nllb(longest=20)([Source(text=endless, language="en")], "fr")
    assert max(lengths) <= 20


def test_a_translation_that_does_not_end_is_refused(nllb) -> None:
    (found,) = nllb(max_new_tokens=8)([EVERY[0]], "fr")
    assert found.text is None and "does not end within 8 tokens" in (found.problem or "")
    assert found.refused and SENTENCES["fr"][0].startswith(found.refused)


def test_a_text_that_the_tokeniser_does_not_know_is_refused(nllb) -> None:
    found = nllb()([Source(text="Քաղաքը մեծ է։", language="hy"), EVERY[0]], "fr")
    assert found[0].text is None and "does not know" in (found[0].problem or "")
    assert found[1].text == SENTENCES["fr"][0]


def test_texts_without_work_are_given_back(nllb) -> None:
    found = nllb()([Source(text="12:30", language="en"), Source(text="Déjà.", language="fr")], "fr")
    assert found == [Translated(text="12:30"), Translated(text="Déjà.")]


def test_a_language_that_the_checkpoint_lacks_is_told_before_the_model_loads(nllb, monkeypatch) -> None:
    from unteach.makers.translators import nllb as module

    monkeypatch.setattr(module, "_load_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UserError, match=r"does not know 'zh-Hant' \(Chinese \(Traditional\)\). It knows en, de"):
        nllb("m2m")([EVERY[0]], "zh-Hant")
    with pytest.raises(UserError, match="does not know 'kam'"):
        nllb("m2m")([Source(text="Nzeo.", language="kam"), EVERY[0]], "fr")
    nllb().check(["zh-Hant", "kam"], "fr")  # NLLB has both


def test_a_model_that_is_no_translator_is_told(tiny_folder, tmp_path) -> None:
    for path, told in ((tiny_folder("llama"), "of the kind 'llama'"), (tmp_path, "has no config.json")):
        with pytest.raises(UserError, match=told):
            TRANSLATORS.parse({"name": "nllb", "model": str(path)})([EVERY[0]], "fr")


def test_pickled_weights_are_refused(folder, tmp_path) -> None:
    import shutil

    copy = shutil.copytree(folder("nllb"), tmp_path / "pickled")
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled only"):
        TRANSLATORS.parse({"name": "nllb", "model": str(copy)})([EVERY[0]], "fr")


def test_the_model_is_loaded_once_until_it_is_given_back(nllb, monkeypatch) -> None:
    from unteach.makers.translators import nllb as module

    translator = nllb()
    translator.release()
    loads = []
    load = module.AutoModelForSeq2SeqLM.from_pretrained

    def counted(*arguments: object, **options: object) -> PreTrainedModel:
        loads.append(options["use_safetensors"])
        return load(*arguments, **options)

    monkeypatch.setattr(module.AutoModelForSeq2SeqLM, "from_pretrained", counted)
    for target in ("fr", "zh", "hi"):
        translator([EVERY[0]], target)
    assert loads == [True]
    translator.release()
    translator([EVERY[0]], "fr")
    assert loads == [True, True]
