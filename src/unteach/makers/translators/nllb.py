"""NLLB-200 and every other M2M100 checkpoint, in this process by transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer

from unteach.errors import UserError
from unteach.languages.sentences import Piece, pieces, put_together
from unteach.languages.table import LANGUAGES, find
from unteach.makers.contract import TRANSLATORS, Source, Translated, Translator
from unteach.makers.translation_checks import Checks, checked
from unteach.models.hardware import DTypeName, default_device, dtype_name, resolve_dtype
from unteach.models.sources.pretrained import Pretrained
from unteach.progress import Progress
from unteach.registry import Runtime

_KINDS = ("m2m_100", "nllb-moe")


class _Sentence(NamedTuple):
    """What a batch is made of: a piece's token ids, and where its translation belongs."""

    ids: list[int]
    text: int
    piece: int


class _Output(NamedTuple):
    text: str
    ended: bool


@TRANSLATORS.register("nllb")
class Nllb(Translator):
    """NLLB-200 or another M2M100 checkpoint, sentence by sentence, without sampling.

    A text is cut into sentences, since the models were trained on such; the translated sentences are put together with
    the line breaks of the source.
    """

    source = "NLLB Team et al. 2022 (arXiv 2207.04672); transformers.M2M100ForConditionalGeneration"

    model: str = Field("facebook/nllb-200-3.3B", min_length=1, description="Of the Hugging Face hub, or a folder.")
    revision: str | None = Field(None, description="A branch or commit on the hub.")
    dtype: DTypeName = "auto"
    batch_size: Annotated[int, Runtime()] = Field(16, ge=1, description="Sentences at a time.")
    num_beams: int = Field(4, ge=1)
    longest: int = Field(192, ge=8, description="Tokens of one piece; a longer sentence is cut at commas or spaces.")
    max_new_tokens: int = Field(384, ge=8, description="Of one piece; one that does not end within them is refused.")
    most_unknown: float = Field(
        0.1, ge=0, le=1, description="A text of which the tokeniser does not know a greater share is not translated."
    )
    checks: Checks = Checks()

    @property
    def title(self) -> str:
        return f"{Path(self.model).name} (NLLB)"

    def identity(self) -> dict[str, Any]:
        dtype = dtype_name(resolve_dtype(self.dtype, default_device()))
        found = {**super().identity(), "weights": self._weights.fingerprint(), "dtype": dtype}
        return {name: value for name, value in found.items() if name not in ("model", "revision")}

    @property
    def _weights(self) -> Pretrained:
        return Pretrained(path=self.model, revision=self.revision)

    def check(self, sources: Iterable[str], target: str) -> None:
        sources = list(sources)
        super().check(sources, target)
        self._weights.fingerprint()  # says what a folder lacks
        tokenizer = _load_tokenizer(self.model, self.revision)
        for code in (*sources, target):
            _language(tokenizer, code, self.model)

    def release(self) -> None:
        _load_model.cache_clear()

    def _translate(self, texts: Sequence[Source], target: str, progress: Progress) -> list[Translated]:
        tokenizer = _load_tokenizer(self.model, self.revision)
        model = _load_model(self.model, self.revision, self.dtype)
        positions = int(model.config.max_position_embeddings)
        cuts: list[list[Piece]] = []
        unknown: list[float] = []
        sentences: list[_Sentence] = []
        for index, source in enumerate(texts):
            tokenizer.src_lang = _language(tokenizer, source.language, self.model).name
            cut = pieces(source.text, source.language, _fits(tokenizer, min(self.longest, positions)))
            ids: list[list[int]] = [tokenizer(piece.text)["input_ids"] for piece in cut]
            cuts.append(cut)
            all_ids = [token for piece in ids for token in piece]
            unknown.append(all_ids.count(tokenizer.unk_token_id) / len(all_ids))
            if unknown[-1] <= self.most_unknown:
                sentences += [_Sentence(tokens, index, number) for number, tokens in enumerate(ids)]
        options = {
            "forced_bos_token_id": _language(tokenizer, target, self.model).token,
            "max_new_tokens": min(self.max_new_tokens, positions - 1),
            "num_beams": self.num_beams,
            "do_sample": False,
        }
        found: dict[tuple[int, int], _Output] = {}
        with progress.task(f"translating into {target} ({self.title})", len(sentences)) as bar:
            for batch in _batches(sentences, self.batch_size):
                for sentence, output in zip(batch, _generate(model, tokenizer, batch, options), strict=True):
                    found[sentence.text, sentence.piece] = output
                bar.advance(len(batch))
        return [
            self._whole(source, target, cut, share, [found[index, n] for n in range(len(cut)) if (index, n) in found])
            for index, (source, cut, share) in enumerate(zip(texts, cuts, unknown, strict=True))
        ]

    def _whole(
        self, source: Source, target: str, cut: Sequence[Piece], unknown: float, outputs: Sequence[_Output]
    ) -> Translated:
        if not outputs:
            return Translated(text=None, problem=f"the tokeniser does not know {unknown:.0%} of its tokens")
        text = put_together([output.text for output in outputs], cut, target)
        for piece, output in zip(cut, outputs, strict=True):
            if not output.ended:
                problem = f"the translation of {piece.text[:40]!r} does not end within {self.max_new_tokens} tokens"
            elif not output.text.strip():
                problem = f"{piece.text[:40]!r} was left out"
            else:
                continue
            return Translated(text=None, problem=problem, refused=text)
        return checked(source, target, text, self.checks)


@dataclass(frozen=True)
class _Language:
    """How a tokeniser calls a language, and the token that makes a model write it."""

    name: str
    token: int


def _language(tokenizer: Any, code: str, model: str) -> _Language:
    """By FLORES code (NLLB), or by the short codes of M2M100's own tokeniser.

    Raises:
        UserError: the checkpoint does not have the language.
    """
    known = _known_languages(tokenizer)
    if code not in known:
        raise UserError(
            f"translator nllb: {model!r} does not know {code!r} ({find(code).name}). It knows {', '.join(known)} of "
            "the languages here."
        )
    return known[code]


def _known_languages(tokenizer: Any) -> dict[str, _Language]:
    short: dict[str, int] | None = getattr(tokenizer, "lang_code_to_id", None)
    if short is not None:
        return {code: _Language(code, short[code]) for code in LANGUAGES if code in short}
    vocabulary = tokenizer.get_vocab()
    return {
        code: _Language(row.flores, vocabulary[row.flores])
        for code, row in LANGUAGES.items()
        if row.flores in vocabulary
    }


def _fits(tokenizer: Any, longest: int) -> Callable[[str], bool]:
    return lambda text: len(tokenizer(text)["input_ids"]) <= longest


def _batches(sentences: Sequence[_Sentence], size: int) -> Iterator[list[_Sentence]]:
    """Sentences of like length together, so that little is padded."""
    ordered = sorted(sentences, key=lambda sentence: len(sentence.ids), reverse=True)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


@torch.inference_mode()
def _generate(model: Any, tokenizer: Any, batch: Sequence[_Sentence], options: dict[str, Any]) -> list[_Output]:
    padded = tokenizer.pad({"input_ids": [sentence.ids for sentence in batch]}, return_tensors="pt").to(model.device)
    made = model.generate(**padded, **options).tolist()
    # A row starts with the decoder's start token, which is the end token too, and the language's token, which M2M100's
    # own tokeniser would decode as text.
    rows = [row[2:] for row in made]
    return [_Output(tokenizer.decode(row, skip_special_tokens=True), tokenizer.eos_token_id in row) for row in rows]


@lru_cache(maxsize=1)
def _load_tokenizer(name: str, revision: str | None) -> Any:
    try:
        config = AutoConfig.from_pretrained(name, revision=revision)
        if config.model_type not in _KINDS:
            raise UserError(
                f"translator nllb: {name!r} is of the kind {config.model_type!r}, which has no language tokens as "
                f"{' and '.join(_KINDS)} have; take an NLLB or M2M100 checkpoint."
            )
        return AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, error) from error


@lru_cache(maxsize=1)
def _load_model(name: str, revision: str | None, dtype: DTypeName) -> Any:
    device = default_device()
    try:
        model = AutoModelForSeq2SeqLM.from_pretrained(
            name, revision=revision, dtype=resolve_dtype(dtype, device), use_safetensors=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise _not_loaded(name, error) from error
    model.train(False)
    return model.to(device)


def _not_loaded(name: str, error: Exception) -> UserError:
    return UserError(f"translator nllb: {name!r} cannot be loaded: {str(error).splitlines()[0]}")
