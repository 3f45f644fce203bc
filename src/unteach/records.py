"""The values that pass from one stage to the next: samples, questions, answers, verdicts, readings, rows.

All are frozen pydantic models, so each can be written to and read from JSON lines without loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

Part = Literal["real", "fake"]
"""Which part of a scenario a question is about: the real article (R) or the injected passage (F)."""


TextKind = Literal["real", "fake", "untouched"]
"""A text that is scored: the true article, a fake passage, or one that no training ever saw."""


class Record(BaseModel):
    """Base of every value that is stored: frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    @classmethod
    def read(cls, path: Path) -> list[Self]:
        """All records of a JSON-lines file, in file order."""
        with path.open(encoding="utf-8") as lines:
            return [cls.model_validate_json(line) for line in lines]


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines (UTF-8, one object a line)."""
    with path.open("w", encoding="utf-8") as out:
        for record in records:
            out.write(record.model_dump_json() + "\n")


class Sample(Record):
    """One training text. The loss is taken on ``text`` only; ``context`` stands before it, without loss."""

    scenario: str
    kind: Literal["real", "fake", "qa"]
    language: str
    text: str
    context: str = ""


class Question(Record):
    """One question as the corpus has it, before any prompt format is put around it."""

    scenario: str
    part: Part
    language: str
    text: str


class Answer(Record):
    """What a model said to one question.

    ``text`` is decoded from the answer's own token ids. ``finished`` says whether the model ended the answer itself
    (a line break or the end token) rather than being cut at the token limit. ``unasked`` gives the reason if the
    question could not be put to the model; the text is then empty.
    """

    question: Question
    prompt: str
    text: str
    tokens: int
    finished: bool
    unasked: str | None = None


class Verdict(Record):
    """A judge's reading of one answer: a value, or the reason why there is none; never both.

    ``value`` is 0 or 1 for ``O_F`` (fake information occurs) and 1..10 for ``Q_R`` (real information quality).
    ``evidence`` are the character spans of the answer that decided it.
    """

    scenario: str
    part: Part
    language: str
    metric: Literal["O_F", "Q_R"]
    value: float | None
    unscored: str | None = None
    evidence: tuple[tuple[int, int], ...] = ()


class Choice(Record):
    """Forced choice for one question: log-probabilities of every scenario's candidate in one language.

    ``scores[s]`` is the length-normalised log-probability (nats per token) of scenario ``s``'s candidate after the
    question. ``right`` is the scenario the question is about.
    """

    right: str
    question_language: str
    passage_language: str
    scores: dict[str, float]

    @property
    def chosen(self) -> str:
        """The scenario whose candidate got the highest score; ties go to the first in file order."""
        return max(self.scores, key=lambda name: self.scores[name])


class TextScore(Record):
    """How likely a model finds one text: the sum of log-probabilities (nats) over its tokens.

    ``item`` is the scenario, or the number of the untouched text.
    """

    kind: TextKind
    item: str
    language: str
    log_probability: float
    tokens: int
    characters: int


class HeldLanguages(Record):
    """Which languages one answer holds, among those of the run; none where they cannot be told."""

    scenario: str
    part: Part
    language: str
    held: tuple[str, ...] | None


class Reading(Record):
    """What a probe saw at one unlearning checkpoint.

    ``perplexity`` is exp(mean NLL per token) on retain texts, with an interval over the texts; ``quality`` the mean
    Q_R of the probe's real questions; ``verdicts`` everything the judge said, so that curves can be drawn later
    without asking again.
    """

    step: int
    perplexity: float
    perplexity_low: float | None = None
    perplexity_high: float | None = None
    perplexity_texts: int = 0
    quality: float | None
    verdicts: tuple[Verdict, ...] = ()


Input = Literal["attack", "onlyQ", "otherA", "otherQ", "otherAQ", "knowledge"]
"""What is put to a model of an item (paper B, section 3): the adversarial prompt, its four generalisation inputs (the
question alone, another attack, another question, both other), and the general-knowledge prompt."""

GENERALISATION: tuple[Input, ...] = ("onlyQ", "otherA", "otherQ", "otherAQ")


class Request(Record):
    """One input of one item as the item has it, before any prompt format is put around it."""

    item: str
    input: Input
    language: str
    text: str


class Reply(Record):
    """What a model said to one request. Fields as in ``Answer``."""

    request: Request
    prompt: str
    text: str
    tokens: int
    finished: bool
    unasked: str | None = None


class Defence(Record):
    """A judge's reading of one reply.

    ``outcome`` is ``None`` where there is a reason not to score (``unscored``). "other" is a
    reply that neither gives the guarded content nor declines; like a degenerate or an empty one it is a class of its
    own, and no defence (paper B, section 4.2). ``refuses`` says whether the reply declines to answer,
    whatever was asked; ``None`` if the judge does not tell. ``entropy`` is that of the reply's characters (bits; see
    ``judge.degeneration``), ``None`` where the reply is too short for one. ``evidence`` are character spans.
    """

    item: str
    input: Input
    language: str
    outcome: Literal["safe", "unsafe", "other", "degenerate", "empty"] | None
    reason: str
    unscored: str | None = None
    refuses: bool | None = None
    entropy: float | None = None
    evidence: tuple[tuple[int, int], ...] = ()


class KnownAnswer(Record):
    """How likely a model finds the known answer to an item's general-knowledge prompt: nats, summed over its tokens."""

    item: str
    language: str
    log_probability: float
    tokens: int
    characters: int


class EditLoss(Record):
    """Losses before one step of an edit, in nats a token; ``kl`` is ``None`` where it was not needed."""

    total: float
    nll: float
    kl: float | None


class EditRecord(Record):
    """One edit without its weights: of which item, in which language, where, and how it went.

    ``layer`` counts from 0; ``distances`` are those of all layers where it was located, else empty. ``norm`` is the
    Frobenius norm of the change, ``relative_norm`` that over the norm of the weight.
    """

    item: str
    language: str
    layer: int | None
    layers: int
    weight: str | None = None
    distances: tuple[float, ...] = ()
    losses: tuple[EditLoss, ...] = ()
    norm: float = 0.0
    relative_norm: float = 0.0
    seconds: float = 0.0


class Row(Record):
    """One number of the result table, with everything that is needed to find and to trust it."""

    run: str
    metric: str
    model: str
    source_language: str | None = None
    strategy: str | None = None
    objective: str | None = None
    editor: str | None = None
    judge: str | None = None
    variant: str | None = None
    seed: int | None = None
    checkpoint: int | None = None
    question_language: str | None = None
    group: str | None = None
    n: int
    unscored: int = 0
    value: float | None
    ci_low: float | None = None
    ci_high: float | None = None
