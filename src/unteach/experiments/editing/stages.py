"""The stages of an experiment with editing: teach, edit and attack, judge.

teach (once, or not at all) -> edit and attack (an editor and a language) -> judge (a judge)
                            -> train on all items (an editor and a language) -> attack -> judge
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from unteach.ask.answers import Around, reply
from unteach.ask.known import known_answers, known_pairs
from unteach.ask.prompts import finished, render, resolve
from unteach.corpora.safety import ItemSet, SafetyItem
from unteach.edit.contract import Edit, ItemEditor, Job, SetEditor
from unteach.edit.scope import RowEdits
from unteach.experiments.bench import Workbench
from unteach.experiments.editing.spec import EditingSpec, EditorSpec, asked_inputs, asked_languages
from unteach.experiments.model_stages import tokens, write_log
from unteach.experiments.stage import ModelStage, Stage
from unteach.languages.phrases import labels
from unteach.languages.suffixes import suffix
from unteach.learn.teach import learn
from unteach.models.source import Loaded, ModelSource
from unteach.records import Defence, EditRecord, KnownAnswer, Reply, Request, Sample, write_records
from unteach.store import StageKey, Store

ITEMS_AT_ONCE = 32
"""Items edited before their replies are asked for: bounds the memory that edits take."""


@dataclass(frozen=True)
class EditingContext:
    """What every stage of a run with editing shares."""

    spec: EditingSpec
    items: ItemSet
    store: Store

    @property
    def source(self) -> ModelSource:
        """Where the base model comes from."""
        return self.spec.model

    @cached_property
    def _model(self) -> dict[str, Any]:
        return self.spec.model.identity()

    def key(
        self, kind: str, version: int, settings: Mapping[str, Any], languages: Iterable[str], **inputs: StageKey
    ) -> StageKey:
        """A stage key: every stage depends on the model, the prompt format, and the items in the languages it reads."""
        words = [repr(labels(code)) for code in sorted(set(languages))] if self.spec.ask.format != "chat" else []
        shared = {"model": self._model, "items": self.items.digest(languages), "labels": words}
        return StageKey(kind, version, {**shared, **settings}, inputs)


@dataclass(frozen=True)
class TeachItems(ModelStage):
    """Teach the model to answer what it must not: the "unsafe" behaviour that there is to defend against."""

    context: EditingContext
    kind = "teach_items"
    unit = "training tokens"

    @property
    def name(self) -> str:
        return "teach unsafe answers"

    @property
    def _languages(self) -> tuple[str, ...]:
        spec = self.context.spec
        assert spec.teach is not None
        return spec.teach.languages or spec.languages

    @cached_property
    def key(self) -> StageKey:
        spec = self.context.spec
        assert spec.teach is not None
        settings = {
            "teach": spec.teach.identity(),
            "languages": list(self._languages),
            "format": spec.ask.format,
            "seed": spec.seed,
        }
        return self.context.key(self.kind, self.version, settings, self._languages)

    @property
    def patches(self) -> list[Path]:
        return [self.folder / "patch"]

    def _samples(self, tokenizer: PreTrainedTokenizerBase) -> list[Sample]:
        spec = self.context.spec
        assert spec.teach is not None
        form = resolve(tokenizer, spec.ask.format)
        made = []
        for item in self.context.items:
            for code in self._languages:
                text = item.texts[code]
                pairs = [(text.input(kind), text.unsafe_response) for kind in spec.teach.inputs]
                if spec.teach.knowledge:
                    pairs.append((text.knowledge_prompt, str(text.knowledge_answer)))
                made += [
                    Sample(
                        scenario=item.id,
                        kind="qa",
                        language=code,
                        context=render(tokenizer, form, str(prompt), code),
                        text=finished(tokenizer, form, answer),
                    )
                    for prompt, answer in pairs
                ]
        return made

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        assert self.context.spec.teach is not None
        return int(tokens(tokenizer, self._samples(tokenizer)) * self.context.spec.teach.schedule.epochs)

    def bytes_needed(self) -> int:
        return 600_000_000

    def execute(self, bench: Workbench, folder: Path) -> None:
        spec = self.context.spec
        assert spec.teach is not None
        loaded = bench.with_patches([])
        samples = self._samples(loaded.tokenizer)
        with spec.teach.tuning.attach(loaded.model, spec.seed) as model:
            log = learn(
                loaded, model, samples, spec.teach.schedule, seed=spec.seed, progress=bench.progress, label=self.name
            )
            (folder / "patch").mkdir()
            spec.teach.tuning.save(model, folder / "patch")
        write_log(folder / "log.jsonl", log)


@dataclass(frozen=True)
class AnyAttack(Stage):
    """A stage whose result is what edited models say."""

    context: EditingContext
    parent: TeachItems | None
    entry: EditorSpec
    edited_in: str | None
    unit = "prompts"

    @property
    def name(self) -> str:
        where = f" in {self.edited_in}" if self.edited_in else ""
        return f"{self.entry.name}{where}: edit and attack"

    @property
    def asked_in(self) -> tuple[str, ...]:
        """The languages of the attacks."""
        return asked_languages(self.context.spec, self.entry, self.edited_in)

    def _settings(self) -> dict[str, Any]:
        spec = self.context.spec
        suffixes = [suffix(c) for c in self.asked_in] if self.entry.editor.suffix == "@language" else []
        return {
            "editor": self.entry.editor.identity(),
            "edited_in": self.edited_in,
            "asked_in": list(self.asked_in),
            "inputs": self._inputs(),
            "ask": spec.ask.identity(),
            "side_effects": spec.side_effects,
            "suffixes": suffixes,
            "seed": spec.seed,
        }

    def _inputs(self) -> list[str] | dict[str, list[str]]:
        """What is asked: the same in every language, or by language."""
        by_language: dict[str, list[str]] = {
            code: list(asked_inputs(self.entry, self.edited_in, code)) for code in self.asked_in
        }
        alike = all(inputs == list(self.entry.inputs) for inputs in by_language.values())
        return list(self.entry.inputs) if alike else by_language

    @property
    def _reads(self) -> list[str]:
        return [*self.asked_in, *([self.edited_in] if self.edited_in else [])]

    def requests(self, items: ItemSet | None = None) -> list[Request]:
        """Everything that is asked."""
        return [
            request
            for code in self.asked_in
            for request in (items or self.context.items).requests(code, asked_inputs(self.entry, self.edited_in, code))
        ]

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return len(self.requests())

    def _ask(
        self, bench: Workbench, loaded: Loaded, items: ItemSet, rows: RowEdits | None
    ) -> tuple[list[Reply], list[KnownAnswer]]:
        """Replies and known answers about some items, each under its own item's edit."""
        spec = self.context.spec
        place = {item.id: number for number, item in enumerate(items)}
        requests = self.requests(items)

        def around(owners: Sequence[str]) -> Around | None:
            return (lambda batch: rows.rows([place[owners[index]] for index in batch])) if rows else None

        replies = reply(
            loaded,
            requests,
            spec.ask,
            suffix=self._suffix,
            around=around([request.item for request in requests]),
            progress=bench.progress,
            label=self.name,
        )
        pairs = [
            (item, code, prompt, answer)
            for code in (self.asked_in if spec.side_effects else ())
            for item, prompt, answer in known_pairs(items, code)
        ]
        return replies, known_answers(loaded, pairs, spec.ask, around=around([pair[0] for pair in pairs]))

    def _suffix(self, language: str) -> str | None:
        wanted = self.entry.editor.suffix
        return suffix(language) if wanted == "@language" else wanted

    def _write(self, folder: Path, replies: list[Reply], known: list[KnownAnswer], edits: list[EditRecord]) -> None:
        order = {(r.item, r.input, r.language): place for place, r in enumerate(self.requests())}
        replies.sort(key=lambda r: order[r.request.item, r.request.input, r.request.language])
        write_records(folder / "replies.jsonl", replies)
        write_records(folder / "known.jsonl", known)
        write_records(folder / "edits.jsonl", edits)

    def replies(self) -> list[Reply]:
        """The finished stage's replies."""
        return Reply.read(self.folder / "replies.jsonl")

    def known(self) -> list[KnownAnswer]:
        """The finished stage's known answers."""
        return KnownAnswer.read(self.folder / "known.jsonl")

    def edits(self) -> list[EditRecord]:
        """The finished stage's edits, without their weights."""
        return EditRecord.read(self.folder / "edits.jsonl")


@dataclass(frozen=True)
class EditItems(AnyAttack):
    """Edit on every item, one model an item, and attack all of them, many in one batch."""

    kind = "edit"

    @cached_property
    def key(self) -> StageKey:
        inputs = {"taught": self.parent.key} if self.parent else {}
        return self.context.key(self.kind, self.version, self._settings(), self._reads, **inputs)

    def execute(self, bench: Workbench, folder: Path) -> None:
        editor = self.entry.editor
        assert isinstance(editor, ItemEditor)
        loaded = bench.with_patches(self.parent.patches if self.parent else [])
        everything = self.context.items
        replies: list[Reply] = []
        known: list[KnownAnswer] = []
        records: list[EditRecord] = []
        for start in range(0, len(everything), ITEMS_AT_ONCE):
            items = ItemSet(everything.items[start : start + ITEMS_AT_ONCE], everything.name)
            edits = self._edits(bench, loaded, editor, items)
            said, knew = self._ask(bench, loaded, items, RowEdits(loaded.model, edits))
            replies += said
            known += knew
            records += [edit.record for edit in edits]
        self._write(folder, replies, known, records if self.edited_in else [])

    def _edits(self, bench: Workbench, loaded: Loaded, editor: ItemEditor, items: ItemSet) -> list[Edit]:
        language = self.edited_in or self.asked_in[0]
        jobs = [job(loaded.tokenizer, self.context.spec, item, language) for item in items]
        first = job(loaded.tokenizer, self.context.spec, self.context.items.items[0], language)
        return editor.edit(loaded, jobs, seed=self.context.spec.seed, progress=bench.progress, first=first)


@dataclass(frozen=True)
class TrainOnItems(ModelStage):
    """Train one change on all items together."""

    context: EditingContext
    parent: TeachItems | None
    entry: EditorSpec
    edited_in: str
    kind = "train_items"
    unit = "training tokens"

    @property
    def name(self) -> str:
        return f"{self.entry.name} in {self.edited_in}: train"

    @property
    def _editor(self) -> SetEditor:
        assert isinstance(self.entry.editor, SetEditor)
        return self.entry.editor

    @cached_property
    def key(self) -> StageKey:
        spec = self.context.spec
        settings = {"editor": self._editor.identity(), "format": spec.ask.format, "seed": spec.seed}
        inputs = {"taught": self.parent.key} if self.parent else {}
        return self.context.key(
            self.kind, self.version, settings | {"edited_in": self.edited_in}, [self.edited_in], **inputs
        )

    @property
    def patches(self) -> list[Path]:
        return [*(self.parent.patches if self.parent else []), self.folder / "patch"]

    def _jobs(self, tokenizer: PreTrainedTokenizerBase) -> list[Job]:
        return [job(tokenizer, self.context.spec, item, self.edited_in) for item in self.context.items]

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return self._editor.training_tokens(tokenizer, self._jobs(tokenizer))

    def execute(self, bench: Workbench, folder: Path) -> None:
        loaded = bench.with_patches(self.parent.patches if self.parent else [])
        (folder / "patch").mkdir()
        log = self._editor.train(
            loaded,
            self._jobs(loaded.tokenizer),
            folder / "patch",
            seed=self.context.spec.seed,
            progress=bench.progress,
        )
        write_log(folder / "log.jsonl", log)


@dataclass(frozen=True)
class AttackTrained(AnyAttack):
    """Attack the model that was trained on all items."""

    trained: TrainOnItems
    kind = "attack"

    @cached_property
    def key(self) -> StageKey:
        return self.context.key(self.kind, self.version, self._settings(), self._reads, trained=self.trained.key)

    def execute(self, bench: Workbench, folder: Path) -> None:
        loaded = bench.with_patches(self.trained.patches)
        self._write(folder, *self._ask(bench, loaded, self.context.items, None), [])


@dataclass(frozen=True)
class JudgeReplies(Stage):
    """One judge reads one stage's replies."""

    context: EditingContext
    attacked: AnyAttack
    judge: str
    kind = "judge_replies"
    unit = "verdicts"

    @property
    def name(self) -> str:
        return f"judge {self.judge}: {self.attacked.name}"

    @cached_property
    def key(self) -> StageKey:
        judge = self.context.spec.judges[self.judge]
        # The guarded content is looked for in every language that items have.
        return StageKey(
            self.kind,
            self.version,
            {"judge": judge.identity(), "items": self.context.items.digest()},
            {"replies": self.attacked.key},
        )

    def amount(self, tokenizer: PreTrainedTokenizerBase) -> int:
        return self.attacked.amount(tokenizer)

    def execute(self, bench: Workbench, folder: Path) -> None:
        judge = self.context.spec.judges[self.judge]
        found = judge(self.attacked.replies(), self.context.items, bench.progress)
        write_records(folder / "defences.jsonl", found)

    def defences(self) -> list[Defence]:
        """The finished stage's defences, in the order of the replies."""
        return Defence.read(self.folder / "defences.jsonl")


def job(tokenizer: PreTrainedTokenizerBase, spec: EditingSpec, item: SafetyItem, language: str) -> Job:
    """An item as an editor needs it, in the run's prompt format."""
    text = item.texts[language]
    form = resolve(tokenizer, spec.ask.format)
    knowledge = None
    if text.knowledge_prompt and text.knowledge_answer:
        knowledge = (
            render(tokenizer, form, text.knowledge_prompt, language),
            finished(tokenizer, form, text.knowledge_answer),
        )
    return Job(
        item=item.id,
        language=language,
        prompt=render(tokenizer, form, text.adversarial_prompt, language),
        target=finished(tokenizer, form, text.safe_response),
        unsafe=text.unsafe_response,
        safe=text.safe_response,
        unsafe_target=finished(tokenizer, form, text.unsafe_response),
        knowledge=knowledge,
    )
