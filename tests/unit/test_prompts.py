"""How questions are put: the plain format in every language, the chat template, and answers that end as asked."""

from __future__ import annotations

import pytest
import tiny

from unteach.ask.answers import Asking, ask
from unteach.ask.prompts import chat, finished, plain, render, resolve
from unteach.errors import UserError
from unteach.languages.table import PAPER_A, PAPER_B
from unteach.models.batches import encode
from unteach.records import Question

TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[assistant]"


def test_plain_is_two_lines_in_the_questions_language() -> None:
    assert plain("Wer?", "de") == "Frage: Wer?\nAntwort:"
    assert plain("谁？", "zh") == "问题： 谁？\n回答："


@pytest.mark.parametrize("language", sorted({*PAPER_A, *PAPER_B}))
def test_every_question_language_of_the_papers_has_its_own_words(language) -> None:
    text = plain("?", language)
    assert (text == plain("?", "en")) == (language == "en")


def test_a_language_without_words_is_refused_not_asked_in_english() -> None:
    with pytest.raises(UserError, match="'kab' has no question and answer labels"):
        plain("?", "kab")


def test_auto_is_chat_only_with_a_template() -> None:
    tokenizer = tiny.tokenizer()
    assert resolve(tokenizer, "auto") == "plain"
    tokenizer.chat_template = TEMPLATE
    assert resolve(tokenizer, "auto") == "chat"
    assert resolve(tokenizer, "plain") == "plain"


def test_the_beginning_mark_comes_once() -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = TEMPLATE
    prompt = chat(tokenizer, "Who?")
    assert prompt == "[user] Who? [assistant]"
    assert tokenizer(prompt)["input_ids"].count(tiny.BOS) == 1


def test_trained_answers_end_as_generation_stops() -> None:
    tokenizer = tiny.tokenizer()
    assert finished(tokenizer, "plain", "Yes.") == " Yes.\n"
    assert encode(tokenizer, finished(tokenizer, "chat", "Yes."), "Q").ids[-1] == tiny.EOS


def test_a_question_that_does_not_fit_is_unasked_and_the_others_are_answered(load) -> None:
    loaded = load("llama")
    questions = [
        Question(scenario="a", part="fake", language="en", text=text) for text in ("Who?", "why " * 200, "What?")
    ]
    answers = ask(loaded, questions, Asking(max_new_tokens=4))
    assert [answer.unasked is None for answer in answers] == [True, False, True]
    assert "context of 512" in str(answers[1].unasked)
    assert answers[1].text == ""
    assert answers[0].prompt == render(loaded.tokenizer, "plain", "Who?", "en")
