"""Questions put to a model, answers back: in every language, in batches, never losing one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from unteach.ask.prompts import render, resolve
from unteach.models.generate import Generated, generate
from unteach.models.source import Loaded
from unteach.progress import Progress
from unteach.records import Answer, Question, Reply, Request
from unteach.registry import Runtime, Settings


class Asking(Settings):
    """How questions are asked."""

    format: Literal["auto", "plain", "chat"] = Field(
        "auto", description="The tokeniser's chat template where it has one, or the plain base-model format."
    )
    max_new_tokens: int = Field(32, ge=1)
    batch_size: Annotated[int, Runtime()] = Field(32, ge=1)


Around = Callable[[Sequence[int]], contextlib.AbstractContextManager[object]]
"""A scope for a batch, from the numbers of its prompts, row by row: the edits of those rows, for instance."""


@dataclass(frozen=True)
class Completed:
    """One prompt's completion, or why there is none."""

    prompt: str
    output: Generated | None
    unasked: str | None

    def fields(self) -> dict[str, Any]:
        """As the fields of an ``Answer`` or a ``Reply``."""
        return {
            "prompt": self.prompt,
            "text": self.output.text if self.output else "",
            "tokens": self.output.tokens if self.output else 0,
            "finished": self.output.finished if self.output else False,
            "unasked": self.unasked,
        }


def complete(
    loaded: Loaded,
    texts: Sequence[tuple[str, str]],
    settings: Asking,
    *,
    around: Around | None = None,
    progress: Progress | None = None,
    label: str = "asking",
) -> list[Completed]:
    """Put texts, each with its language, to the model in the run's format, greedily; results in the same order.

    A text that does not fit into the model's context with room for an answer is not asked; the result says so.
    """
    form = resolve(loaded.tokenizer, settings.format)
    prompts = [render(loaded.tokenizer, form, text, language) for text, language in texts]
    room = loaded.context_length - settings.max_new_tokens
    lengths = [len(loaded.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    asked = [index for index, length in enumerate(lengths) if length <= room]
    outputs = generate(
        loaded,
        [prompts[index] for index in asked],
        max_new_tokens=settings.max_new_tokens,
        batch_size=settings.batch_size,
        stop_at_line_end=form == "plain",
        around=(lambda batch: around([asked[index] for index in batch])) if around else None,
        progress=progress,
        label=label,
    )
    by_index = dict(zip(asked, outputs, strict=True))
    return [
        Completed(
            prompt,
            by_index.get(index),
            None
            if index in by_index
            else f"the question has {lengths[index]} tokens; with {settings.max_new_tokens} for the answer the model's "
            f"context of {loaded.context_length} is exceeded",
        )
        for index, prompt in enumerate(prompts)
    ]


def ask(
    loaded: Loaded,
    questions: Sequence[Question],
    settings: Asking,
    *,
    progress: Progress | None = None,
    label: str = "asking",
) -> list[Answer]:
    """Put every question to the model and give the answers in the order of the questions; see `complete`."""
    texts = [(question.text, question.language) for question in questions]
    done = complete(loaded, texts, settings, progress=progress, label=label)
    return [Answer(question=question, **made.fields()) for question, made in zip(questions, done, strict=True)]


def reply(
    loaded: Loaded,
    requests: Sequence[Request],
    settings: Asking,
    *,
    suffix: Callable[[str], str | None] = lambda _: None,
    around: Around | None = None,
    progress: Progress | None = None,
    label: str = "attacking",
) -> list[Reply]:
    """Put requests to the model, each followed by the suffix of its language if there is one; see `complete`."""
    texts = [(" ".join(filter(None, (r.text, suffix(r.language)))), r.language) for r in requests]
    done = complete(loaded, texts, settings, around=around, progress=progress, label=label)
    return [Reply(request=request, **made.fields()) for request, made in zip(requests, done, strict=True)]
