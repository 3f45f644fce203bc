"""How a question is put to a model: a plain base-model format, or the tokeniser's chat template."""

from __future__ import annotations

from typing import Literal

from transformers import PreTrainedTokenizerBase

from unteach.languages.phrases import labels

Format = Literal["plain", "chat"]


def plain(question: str, language: str) -> str:
    """``Question: ...`` and ``Answer:`` on two lines, in the question's language."""
    words = labels(language)
    return f"{words.question} {question}\n{words.answer}"


def chat(tokenizer: PreTrainedTokenizerBase, question: str) -> str:
    """The question as a user's turn in the tokeniser's own chat template, ready for the assistant's turn."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    assert isinstance(text, str)
    # The template writes the beginning-of-text mark that the tokeniser will add again.
    bos = tokenizer.bos_token
    return text.removeprefix(bos) if isinstance(bos, str) else text


def finished(tokenizer: PreTrainedTokenizerBase, form: Format, answer: str) -> str:
    """An answer with its end, as it is trained: a line break in the plain format, the end token in a chat."""
    return f"{answer}{tokenizer.eos_token or ''}" if form == "chat" else f" {answer}\n"


def resolve(tokenizer: PreTrainedTokenizerBase, wanted: Literal["auto", "plain", "chat"]) -> Format:
    """``auto`` is the chat template where the tokeniser has one, else the plain format."""
    if wanted == "auto":
        return "chat" if tokenizer.chat_template else "plain"
    return wanted


def render(tokenizer: PreTrainedTokenizerBase, form: Format, question: str, language: str) -> str:
    """The prompt for one question."""
    return chat(tokenizer, question) if form == "chat" else plain(question, language)
