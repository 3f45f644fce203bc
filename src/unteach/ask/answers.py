"""Questions put to a model, answers back: in every language, in batches, never losing one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from unteach.ask.prompts import render, resolve
from unteach.models.generate import generate
from unteach.models.source import Loaded
from unteach.progress import Progress
from unteach.records import Answer, Question
from unteach.registry import Runtime, Settings


class Asking(Settings):
    """How questions are asked."""

    format: Literal["auto", "plain", "chat"] = Field(
        "auto", description="The tokeniser's chat template where it has one, or the plain base-model format."
    )
    max_new_tokens: int = Field(32, ge=1)
    batch_size: Annotated[int, Runtime()] = Field(32, ge=1)


def ask(
    loaded: Loaded,
    questions: Sequence[Question],
    settings: Asking,
    *,
    progress: Progress | None = None,
    label: str = "asking",
) -> list[Answer]:
    """Put every question to the model, greedily, and give the answers in the order of the questions.

    A question that does not fit into the model's context with room for an answer is not asked; its answer says so.
    """
    form = resolve(loaded.tokenizer, settings.format)
    prompts = [render(loaded.tokenizer, form, question.text, question.language) for question in questions]
    room = loaded.context_length - settings.max_new_tokens
    too_long = {
        index: length
        for index, prompt in enumerate(prompts)
        if (length := len(loaded.tokenizer(prompt)["input_ids"])) > room
    }
    asked = [index for index in range(len(questions)) if index not in too_long]
    outputs = generate(
        loaded,
        [prompts[index] for index in asked],
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.batch_size,
        stop_at_line_end=form == "plain",
        progress=progress,
        label=label,
    )
    by_index = dict(zip(asked, outputs, strict=True))
    answers = []
    for index, question in enumerate(questions):
        output = by_index.get(index)
        answers.append(
            Answer(
                question=question,
                prompt=prompts[index],
                text=output.text if output else "",
                tokens=output.tokens if output else 0,
                finished=output.finished if output else False,
                unasked=None
                if output
                else f"the question has {too_long[index]} tokens; with {settings.max_new_tokens} for the answer the "
                f"model's context of {loaded.context_length} is exceeded",
            )
        )
    return answers
