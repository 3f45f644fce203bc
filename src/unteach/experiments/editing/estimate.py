"""What a run with editing will cost: work, time and memory, here or on an accelerator. Starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from unteach.corpora.safety import ItemSet, ItemText, SafetyItem
from unteach.corpora.schema import Origin
from unteach.edit.contract import Job
from unteach.edit.descend import Descent
from unteach.edit.editors.dpo import Dpo
from unteach.edit.editors.sft import Sft
from unteach.experiments.editing.plan import all_stages
from unteach.experiments.editing.run import PreparedEditing, prepare, read_items
from unteach.experiments.editing.spec import EditingSpec, PlannedItems, needed_languages
from unteach.experiments.editing.stages import ITEMS_AT_ONCE, AnyAttack, EditItems, TeachItems, TrainOnItems, job
from unteach.experiments.estimate import Estimate, Line, measured_rate, reckoner_of
from unteach.experiments.memory import ACCELERATOR, PROCESSOR, Device, Longest, Phase, always_held, answering, training
from unteach.experiments.speed import Reckoner
from unteach.experiments.stage import Stage
from unteach.experiments.sweep import Point
from unteach.learn.loop import Schedule
from unteach.models.hardware import default_device
from unteach.models.structure import decoder_layers, output_projection

_VERDICT_SECONDS = 1e-3  # the offline judge; a classifier takes longer


def prepare_to_plan(points: Sequence[Point[EditingSpec]], store: Path) -> PreparedEditing:
    """``prepare`` for a plan alone: without the model's weights or the items, if the spec says what they will be."""

    def items_of(spec: EditingSpec) -> ItemSet:
        planned = spec.items.planned
        if planned is None or spec.items.path is None or spec.items.path.exists():
            return read_items(spec)
        number = min(planned.items, spec.items.limit or planned.items)
        return planned_items(planned.model_copy(update={"items": number}), needed_languages(spec))

    return prepare([replace(point, spec=_at_hand(point.spec)) for point in points], store, items_of)


def _at_hand(spec: EditingSpec) -> EditingSpec:
    """The spec with stand-ins for what is not on this machine."""
    judges = {name: judge.for_planning() for name, judge in spec.judges.items()}
    return spec.model_copy(update={"model": spec.model.for_planning(), "judges": judges})


def planned_items(planned: PlannedItems, languages: Sequence[str]) -> ItemSet:
    """Items of the planned size, without meaning."""
    prompt, response = _words(planned.prompt_characters), _words(planned.response_characters)
    text = ItemText(
        origin=Origin(kind="authored", by="placeholder"),
        question=prompt[: max(1, len(prompt) // 4)].strip(),
        adversarial_prompt=prompt,
        unsafe_response=response,
        safe_response=response,
        other_attack=prompt,
        other_question=prompt,
        other_question_attack=prompt,
        knowledge_prompt=response,
        knowledge_answer=response,
    )
    made = (SafetyItem(id=f"item-{n:05}", texts=dict.fromkeys(languages, text)) for n in range(planned.items))
    return ItemSet(made, "planned")


def _words(characters: int) -> str:
    return ("word " * (characters // 5 + 1))[:characters].strip()


def estimate(prepared: PreparedEditing) -> Estimate:
    """Count the work of every stage and turn it into time and memory; rates as in ``experiments.estimate``."""
    accelerator = prepared.contexts[0].spec.planning.accelerator
    device = ACCELERATOR if accelerator is not None or default_device().type != "cpu" else PROCESSOR
    reckoners: dict[str, Reckoner] = {}
    history: dict[tuple[str, str], float | None] = {}
    lines: list[Line] = []
    for stage in all_stages(prepared.models):
        model = repr(stage.context.source)
        if model not in reckoners:
            spec = next(c.spec for c in prepared.contexts if c.source == stage.context.source)
            reckoners[model] = reckoner_of(spec, accelerator)
        amount = stage.amount(reckoners[model].counter)
        if (model, stage.kind) not in history:
            history[model, stage.kind] = None if accelerator else measured_rate(stage)
        rate = history[model, stage.kind]
        seconds = _seconds(reckoners[model], stage, amount) if rate is None else rate * amount
        lines.append(Line(stage, stage.done, amount, 0.0 if stage.done else seconds, rate is not None))
    found: list[Phase] = []
    for context in prepared.contexts:
        found += _phases(context.spec, context.items, reckoners[repr(context.source)], device)
    notes = list(dict.fromkeys(note for context in prepared.contexts for note in context.source.notes()))
    if any(context.items.name == "planned" for context in prepared.contexts):
        where = prepared.contexts[0].spec.items.path
        notes.append(f"there are no items at {where} yet: their size is from items.planned")
    return Estimate(tuple(lines), tuple(found), accelerator, None, (), tuple(notes))


def _seconds(reckoner: Reckoner, stage: Stage, amount: int) -> float:
    if isinstance(stage, TeachItems):
        teach = stage.context.spec.teach
        assert teach is not None
        return amount * reckoner.training_flops(teach.tuning, teach.schedule) / reckoner.machine.flops
    if isinstance(stage, TrainOnItems):
        editor = stage.entry.editor
        assert isinstance(editor, Sft | Dpo)
        schedule = editor.schedule if isinstance(editor, Sft) else Schedule(lr=editor.lr)
        return amount * reckoner.training_flops(editor.tuning, schedule) / reckoner.machine.flops
    if isinstance(stage, AnyAttack):
        requests = stage.requests()
        lengths = [len(ids) for ids in reckoner.tokenizer([request.text for request in requests])["input_ids"]]
        answers = amount * reckoner.prompt_seconds(fmean(lengths), stage.context.spec.ask)
        return answers + (_edit_seconds(reckoner, stage) if isinstance(stage, EditItems) else 0.0)
    return amount * _VERDICT_SECONDS


def _edit_seconds(reckoner: Reckoner, stage: EditItems) -> float:
    """All items of a stage, from the cache: one forward pass; at each step the matrix, a layer above and the head.

    Locating is one forward pass over both responses.
    """
    editor = stage.entry.editor
    if not isinstance(editor, Descent):
        return 0.0
    layers = decoder_layers(reckoner.skeleton)
    layer = sum(p.numel() for p in layers[-1].parameters())
    jobs = _jobs(reckoner, stage)
    whole = fmean(len(ids) for ids in reckoner.tokenizer([j.prompt + j.target for j in jobs])["input_ids"])
    target = fmean(len(ids) for ids in reckoner.tokenizer([j.target for j in jobs])["input_ids"])
    once = 2.0 * reckoner.body * (whole + 2 * target)
    step = 4.0 * layer * whole + 2.0 * layer * whole + 4.0 * reckoner.head * target
    return len(jobs) * (once + editor.steps * step) / reckoner.machine.flops


def _jobs(reckoner: Reckoner, stage: EditItems) -> list[Job]:
    language = stage.edited_in or stage.asked_in[0]
    return [job(reckoner.counter, stage.context.spec, item, language) for item in stage.context.items]


def _phases(spec: EditingSpec, items: ItemSet, reckoner: Reckoner, device: Device) -> list[Phase]:
    """Every phase with what it holds."""
    skeleton, width = reckoner.skeleton, reckoner.width
    always = always_held(skeleton, width, device)
    requests = items.requests(spec.languages[0], ("attack",))
    prompt = max(len(ids) for ids in reckoner.tokenizer([request.text for request in requests])["input_ids"])
    longest = Longest(teach=2 * prompt, prompt=prompt)
    hidden = skeleton.config.get_text_config().hidden_size
    found = []
    if spec.teach:
        held = training(
            skeleton,
            spec.teach.tuning,
            spec.teach.schedule,
            longest.teach,
            width,
            device,
            skeleton.config.get_text_config().vocab_size,
        )
        found.append(Phase("teaching", always | held))
    descents: list[Descent] = []
    for entry in spec.editors:
        if isinstance(entry.editor, Descent):
            descents.append(entry.editor)
    at_once = min(len(items), ITEMS_AT_ONCE)
    kept = {}
    if descents:
        matrix = output_projection(decoder_layers(skeleton)[-1], hidden)[1].weight.numel()
        beside = min(at_once, max(editor.batch_items for editor in descents))
        # the matrices, their gradients and Adam's two moments, in float32, and the rounded ones
        own = {"matrices, gradients and optimiser": beside * matrix * (16 + 2 * width)}
        kept = {"finished edits": at_once * matrix * (4 + width)}
        found.append(Phase("editing", always | kept | own))
    return [*found, Phase("attacking", always | kept | answering(spec.ask, skeleton, longest, width, device))]
