"""What a plan will cost: work by kind, time, memory and money, on this machine or on an accelerator. Starts nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch

from unteach.corpora.load import Corpus
from unteach.corpora.planned import planned_corpus
from unteach.experiments.memory import ACCELERATOR, PROCESSOR, Longest, Phase, phases
from unteach.experiments.model_stages import Learn, Unlearn
from unteach.experiments.plan import all_stages
from unteach.experiments.planning import Accelerator, Services
from unteach.experiments.run import Prepared, prepare, read_corpus
from unteach.experiments.services import Cost, costs
from unteach.experiments.spec import Experiment, Spec, probe_languages, resolve_languages
from unteach.experiments.speed import Checkpoints, Machine, Reckoner
from unteach.experiments.stage import Stage
from unteach.experiments.sweep import Point
from unteach.models.hardware import default_device


@dataclass(frozen=True)
class Line:
    """One stage of a plan. ``seconds`` is 0 if it is done; ``measured`` says whether the rate was measured here.

    ``read`` is what an unlearning asks at its checkpoints, beside its own work.
    """

    stage: Stage
    done: bool
    amount: int
    seconds: float
    measured: bool
    read: Checkpoints | None = None


@dataclass(frozen=True)
class Estimate:
    """A whole plan: its lines, the phases with what they hold in memory, money, and what it stands on.

    Seconds are those of one device; ``accelerator`` is ``None`` for this machine.
    """

    lines: tuple[Line, ...]
    phases: tuple[Phase, ...]
    accelerator: Accelerator | None
    services: Services | None
    costs: tuple[Cost, ...]
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Time for what is not done yet, on one device."""
        return sum(line.seconds for line in self.lines)

    @property
    def fullest(self) -> Phase:
        """The phase that needs most memory."""
        return max(self.phases, key=lambda phase: phase.total)

    @property
    def peak_bytes(self) -> int:
        """Memory of that phase."""
        return self.fullest.total

    @property
    def money(self) -> float:
        """All costs together."""
        return sum(cost.money for cost in self.costs)

    @property
    def prompts_at_checkpoints(self) -> int:
        """Answers that unlearning not yet done generates at its checkpoints."""
        return sum(line.read.prompts for line in self.lines if line.read and not line.done)

    def amount(self, unit: str) -> int:
        """Work that is not done yet, in a unit; readings at checkpoints are apart."""
        return sum(line.amount for line in self.lines if line.stage.unit == unit and not line.done)


def prepare_to_plan(spec: Spec | Sequence[Point[Spec]], store: Path) -> Prepared:
    """``prepare`` for a plan alone: without the model's weights or the corpus, if the spec says what they will be.

    Raises:
        UserError: something is missing that the spec gives no stand-in for.
    """
    points = (Point(spec),) if isinstance(spec, Spec) else tuple(spec)
    languages = dict.fromkeys(code for point in points for code in needed_languages(point.spec))
    asked = {code for point in points for code in (*point.spec.question_languages, *probe_languages(point.spec))}

    def corpus_of(wanted: Spec) -> Corpus:
        planned = wanted.corpus.planned
        if planned is None or not corpus_is_planned(wanted):
            return read_corpus(wanted)
        if wanted.corpus.limit:
            planned = planned.model_copy(update={"scenarios": min(planned.scenarios, wanted.corpus.limit)})
        return planned_corpus(planned, languages, asked, str(wanted.corpus.path))

    def stood_in(wanted: Spec) -> Spec:
        return wanted.model_copy(update={"model": wanted.model.for_planning(), "judge": wanted.judge.for_planning()})

    ready = [replace(point, spec=stood_in(point.spec)) for point in points]
    return prepare(ready, store, corpus_of)


def corpus_is_planned(spec: Spec) -> bool:
    """Whether there is nothing at the corpus's path yet but its size is given."""
    corpus = spec.corpus
    return corpus.planned is not None and corpus.path is not None and not corpus.path.exists()


def needed_languages(spec: Spec) -> tuple[str, ...]:
    """Every language in which a spec reads texts of its corpus."""
    found = [spec.real_language, *spec.sources, *spec.question_languages, *spec.fake_question_languages]
    found += probe_languages(spec)
    for source in spec.sources:
        if spec.unlearn is not None:
            found += [code for strategy in spec.unlearn.strategies for code in strategy.languages(source)]
        if spec.forced_choice is not None:
            both = (spec.forced_choice.question_languages or (), spec.forced_choice.passage_languages or ())
            found += [code for codes in both for code in resolve_languages(codes, source)]
    return tuple(dict.fromkeys(found))


def estimate(prepared: Prepared) -> Estimate:
    """Count the work of every stage and turn it into time, memory and money.

    On this machine the rate of a kind of stage is the median over finished stages of the same model in the store, where
    there are some; otherwise, and always for an accelerator, it follows from arithmetic (``speed.Reckoner``).
    """
    spec = prepared.context.spec
    accelerator, services = spec.planning.accelerator, spec.planning.services
    reckoners: dict[str, Reckoner] = {}
    history: dict[tuple[str, str], float | None] = {}
    longest: dict[tuple[str, str], int] = defaultdict(int)
    lines = []
    for stage in all_stages(prepared.models):
        model = repr(stage.spec.model)
        if model not in reckoners:
            reckoners[model] = reckoner_of(stage.spec, accelerator)
        reckoner = reckoners[model]
        reckoner.tokenizer.longest = 0
        amount, done = stage.amount(reckoner.counter), stage.done
        if isinstance(stage, Learn | Unlearn):
            longest[model, stage.kind] = max(longest[model, stage.kind], reckoner.tokenizer.longest)
        if (model, stage.kind) not in history:
            history[model, stage.kind] = None if accelerator else measured_rate(stage)
        rate = history[model, stage.kind]
        seconds = reckoner.seconds(stage, amount) if rate is None else rate * amount
        read = reckoner.checkpoints(stage) if isinstance(stage, Unlearn) else None
        lines.append(Line(stage, done, amount, 0.0 if done else seconds, rate is not None, read))
    found: list[Phase] = []
    for context in prepared.contexts:
        model = repr(context.spec.model)
        reckoner = reckoners[model]
        room = int(getattr(reckoner.skeleton.config.get_text_config(), "max_position_embeddings", 0) or 2048)
        sizes = Longest(
            min(room, longest[model, "learn"]), min(room, longest[model, "unlearn"]), reckoner.longest_prompt
        )
        on_device = accelerator is not None or default_device().type != "cpu"
        device = ACCELERATOR if on_device else PROCESSOR
        found += phases(context.spec, reckoner.skeleton, sizes, reckoner.width, device)
    verdicts = sum(line.amount for line in lines if line.stage.unit == "verdicts" and not line.done)
    at_checkpoints = sum(line.read.verdicts for line in lines if line.read and not line.done)
    planned = corpus_is_planned(spec)
    money = (
        costs(services, spec, len(prepared.context.corpus), verdicts, at_checkpoints, made=not planned)
        if services
        else []
    )
    return Estimate(tuple(lines), tuple(found), accelerator, services, tuple(money), tuple(_notes(spec, planned)))


def measured_rate(stage: Stage) -> float | None:
    """Median seconds a unit over finished stages of this kind for the same model, or ``None``."""
    store, model = stage.context.store, stage.key.settings.get("model")
    rates = [
        marker["seconds"] / marker["amount"]
        for marker in store.markers(stage.kind)
        if marker.get("amount") and marker["key"]["settings"].get("model") == model
    ]
    return median(rates) if rates else None


def reckoner_of(spec: Experiment, accelerator: Accelerator | None) -> Reckoner:
    """What turns work with a spec's model into seconds."""
    # an accelerator computes in bfloat16 unless the spec says otherwise
    dtype = torch.bfloat16 if accelerator and spec.model.dtype == "auto" else spec.model.resolved_dtype()
    machine = Machine.of(accelerator) if accelerator else Machine.this(dtype)
    return Reckoner(spec.model, machine, torch.finfo(dtype).bits // 8)


def _notes(spec: Spec, planned: bool) -> list[str]:
    notes = spec.model.notes()
    if planned:
        notes.append(f"there is no corpus at {spec.corpus.path} yet: its size is from corpus.planned")
    return notes
