"""Tiny random causal language models with a byte-level tokeniser, for tests of everything that runs a model.

Token ids: 0 ``<pad>``, 1 ``<bos>``, 2 ``<eos>``, and byte b is ``b + 3``. Every text starts with ``<bos>``.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

PAD, BOS, EOS = 0, 1, 2
SPECIAL = ("<pad>", "<bos>", "<eos>")
VOCABULARY = 256 + len(SPECIAL)

_COMMON = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
# Large initial weights: with the usual 0.02 every prediction would be nearly uniform and mistakes would not show.
_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
_GEMMA = {"num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 8}


def config(architecture: str) -> PreTrainedConfig:
    """``llama`` has its own output head, ``qwen2``, ``gpt2`` and the Gemmas tie it to the embedding, ``phi`` has a
    bias in it, ``gemma2`` caps its logits, ``gemma3`` slides a window of 8 tokens in its first layer."""
    match architecture:
        case "llama":
            return LlamaConfig(**_COMMON, **_SHAPE, num_key_value_heads=2, tie_word_embeddings=False)
        case "qwen2":
            return Qwen2Config(**_COMMON, **_SHAPE, num_key_value_heads=2, tie_word_embeddings=True)
        case "gemma3":
            layers = ["sliding_attention", "full_attention"]
            return Gemma3TextConfig(**_COMMON, **_SHAPE, **_GEMMA, sliding_window=8, layer_types=layers)
        case "gemma2":
            return Gemma2Config(**_COMMON, **_SHAPE, **_GEMMA, final_logit_softcapping=3.0, attn_logit_softcapping=None)
        case "phi":
            return PhiConfig(**_COMMON, **_SHAPE, tie_word_embeddings=False)
        case "gpt2":
            return GPT2Config(**_COMMON, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.3)
    raise ValueError(architecture)


def model(architecture: str, seed: int = 0) -> PreTrainedModel:
    """A randomly initialised model in float32; biases are random too, so that leaving one out shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = AutoModelForCausalLM.from_config(config(architecture))
        with torch.no_grad():
            for name, parameter in made.named_parameters():
                if name.endswith("bias"):
                    parameter.normal_(std=0.3)
    return made


def tokenizer(merges: Sequence[tuple[str, str]] = ()) -> PreTrainedTokenizerFast:
    """Byte-level; ``merges`` are pairs in byte-level letters, each of which becomes one further token (259, ...)."""
    vocabulary = {name: index for index, name in enumerate(SPECIAL)}
    vocabulary |= {letter: byte + len(SPECIAL) for byte, letter in enumerate(byte_letters())}
    vocabulary |= {left + right: VOCABULARY + index for index, (left, right) in enumerate(merges)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
    )


def byte_letters() -> list[str]:
    """The printable letter that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]


def ids_of(text: str) -> list[int]:
    """The ids of a text without ``<bos>``."""
    return [byte + len(SPECIAL) for byte in text.encode()]


def save(architecture: str, folder: Path, seed: int = 0) -> Path:
    """Model and tokeniser as a folder that ``pretrained`` can load."""
    model(architecture, seed).save_pretrained(folder, safe_serialization=True)
    tokenizer().save_pretrained(folder)
    return folder
