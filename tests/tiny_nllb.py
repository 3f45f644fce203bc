"""A tiny NLLB checkpoint with a real tokeniser, that has learned a few sentences by heart: folders as on the hub.

The tokeniser's pieces are learned by sentencepiece from the sentences; NLLB's own are kept as ``tokenizer.json``,
M2M100's as a sentencepiece model with ``vocab.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

import sentencepiece
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer, NllbTokenizer

SENTENCES = {
    "en": (
        "The blue ferry sails to the island every morning.",
        "The market closes at five.",
        "A baker found an old coin.",
    ),
    "fr": (
        "Le ferry bleu part pour l'île chaque matin.",
        "Le marché ferme à cinq heures.",
        "Un boulanger a trouvé une vieille pièce.",
    ),
    "zh": ("蓝色的渡轮每天早上开往岛上。", "市场五点关门。", "一位面包师发现了一枚旧硬币。"),
    "hi": ("नीली नौका हर सुबह द्वीप को जाती है।", "बाज़ार पाँच बजे बंद होता है।", "एक नानबाई को पुराना सिक्का मिला।"),
}
"""The same sentences in every language: what the checkpoint translates right."""

FLORES = {"en": "eng_Latn", "fr": "fra_Latn", "zh": "zho_Hans", "hi": "hin_Deva"}


def _pieces(folder: Path) -> sentencepiece.SentencePieceProcessor:
    prefix = folder / "sentencepiece.bpe"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for texts in SENTENCES.values() for text in texts]),
        model_prefix=str(prefix),
        vocab_size=150,
        model_type="bpe",
        character_coverage=1.0,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    return sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")


def nllb_tokenizer(folder: Path) -> NllbTokenizer:
    learned = _pieces(folder)
    names = [learned.id_to_piece(number) for number in range(3, len(learned))]
    vocabulary = {name: number for number, name in enumerate(("<s>", "<pad>", "</s>", "<unk>", *names))}
    # every piece of several characters was made of two others; sentencepiece lists the earlier merges first
    merges = [
        (name[:at], name[at:])
        for name in names
        for at in range(1, len(name))
        if name[:at] in vocabulary and name[at:] in vocabulary
    ]
    return NllbTokenizer(vocab=vocabulary, merges=merges)


def m2m_tokenizer(folder: Path) -> M2M100Tokenizer:
    learned = _pieces(folder)
    names = ["<s>", "<pad>", "</s>", "<unk>", *(learned.id_to_piece(number) for number in range(3, len(learned)))]
    vocabulary = folder / "vocab.json"
    vocabulary.write_text(json.dumps({name: number for number, name in enumerate(names)}), encoding="utf-8")
    return M2M100Tokenizer(str(vocabulary), str(folder / "sentencepiece.bpe.model"))


def save(folder: Path, work: Path, kind: str = "nllb", steps: int = 110) -> Path:
    """A checkpoint in ``folder``, trained for so many steps on all pairs of its sentences."""
    tokenizer = nllb_tokenizer(work) if kind == "nllb" else m2m_tokenizer(work)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = M2M100ForConditionalGeneration(
            M2M100Config(
                vocab_size=max(tokenizer.get_vocab().values(), default=0) + 128,  # M2M100's languages come after
                d_model=48,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=4,
                decoder_attention_heads=4,
                encoder_ffn_dim=128,
                decoder_ffn_dim=128,
                max_position_embeddings=64,
                dropout=0.0,
                attention_dropout=0.0,
                activation_dropout=0.0,
                encoder_layerdrop=0.0,
                decoder_layerdrop=0.0,
                scale_embedding=True,
                init_std=0.1,  # learns faster than with the usual 0.02
                pad_token_id=1,
                bos_token_id=0,
                eos_token_id=2,
                decoder_start_token_id=2,
            )
        )
        loss = _learn(model, tokenizer, kind, steps)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert loss < 0.02, loss
    return folder


def _learn(model: M2M100ForConditionalGeneration, tokenizer: object, kind: str, steps: int) -> float:
    """By heart: source with its language's token, target with its own, as NLLB is trained."""
    names = FLORES if kind == "nllb" else {code: code for code in FLORES}
    sources, targets = [], []
    for code, texts in SENTENCES.items():
        tokenizer.src_lang = names[code]
        ids = [tokenizer(text)["input_ids"] for text in texts]
        for other in SENTENCES:
            if other != code:
                sources += ids
                tokenizer.src_lang = names[other]
                targets += [tokenizer(text)["input_ids"] for text in SENTENCES[other]]
                tokenizer.src_lang = names[code]
    batch = tokenizer.pad({"input_ids": sources}, return_tensors="pt")
    wanted = tokenizer.pad({"input_ids": targets}, return_tensors="pt")["input_ids"]
    begin = torch.full_like(wanted[:, :1], tokenizer.eos_token_id)
    batch["decoder_input_ids"] = torch.cat([begin, wanted[:, :-1]], dim=1)
    labels = wanted.masked_fill(wanted == tokenizer.pad_token_id, -100)
    labels[:, 0] = -100  # the target language is told by its token, not learned
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.1, steps)
    model.train()
    for _ in range(steps):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.train(False)
    return loss.item()
