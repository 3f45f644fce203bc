"""The scored answers of a finished run, of either kind of experiment, by an id that tells nothing of their model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unteach.corpora.load import Corpus
from unteach.corpora.safety import ItemSet
from unteach.errors import UserError
from unteach.experiments.editing.run import read_items
from unteach.experiments.editing.spec import EditingSpec
from unteach.experiments.run import read_corpus
from unteach.experiments.spec import Spec
from unteach.experiments.sweep import load_points_as
from unteach.metrics.agreement import OUTCOMES, Label
from unteach.records import GENERALISATION
from unteach.registry import nearest

TAGS = ("model", "source_language", "strategy", "editor", "variant", "seed", "item", "part", "language")
"""What a sample can be drawn by. ``part`` is what was asked: the fake or the real part, or paper B's input."""

METRICS = {"news": ("O_F", "Q_R"), "editing": ("DS", "DG")}


@dataclass(frozen=True)
class Scored:
    """One answer with what every judge of the run says of it; ``None`` is unscored."""

    id: str
    tags: Mapping[str, str]
    question: str
    answer: str
    finished: bool
    verdicts: Mapping[str, Label | None]

    @property
    def model(self) -> str:
        """The model that gave it, such as ``unlearned/de/combined``."""
        return "/".join(self.tags[tag] for tag in TAGS[:6] if self.tags[tag])


@dataclass(frozen=True)
class FinishedRun:
    """A run's folder."""

    folder: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        """Its spec, or the points of its sweep.

        Raises:
            UserError: it is no folder of a finished run.
        """
        for name in ("spec.json", "run.json", "answers.jsonl"):
            if not (self.folder / name).is_file():
                raise UserError(
                    f"{self.folder} is not the folder of a finished run: it has no {name}. "
                    "Finish it with `unteach run`."
                )
        content: dict[str, Any] = json.loads((self.folder / "spec.json").read_text(encoding="utf-8"))
        return content

    @property
    def _first(self) -> dict[str, Any]:
        first: dict[str, Any] = self.content["points"][0]["spec"] if "points" in self.content else self.content
        return first

    @property
    def kind(self) -> str:
        """``news`` (paper A) or ``editing`` (paper B)."""
        return "editing" if self._first.get("experiment") == "knowledge_editing" else "news"

    def metric(self, wanted: str | None) -> str:
        """The metric that is wanted, or the kind's main one.

        Raises:
            UserError: runs of this kind have no such metric.
        """
        known = METRICS[self.kind]
        if wanted is not None and wanted not in known:
            raise UserError(f"{self.folder} has no metric {wanted!r}. {nearest(wanted, known)}")
        return wanted or known[0]

    def answers(self, metric: str) -> list[Scored]:
        """All answers that count in the metric, in the order of the file."""
        return list(self._read(metric))

    def _read(self, metric: str) -> Iterator[Scored]:
        read = self._reply if self.kind == "editing" else self._answer
        inputs = {"DS": ("attack",), "DG": GENERALISATION, "O_F": ("fake",), "Q_R": ("real",)}[metric]
        seen: set[str] = set()
        path = self.folder / "answers.jsonl"
        with path.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, 1):
                try:
                    found = read(json.loads(text))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise UserError(
                        f"{self.folder / 'answers.jsonl'}, line {number}: cannot be read: {error!r}"
                    ) from error
                if found.tags["part"] in inputs and found.id not in seen:
                    seen.add(found.id)
                    yield found

    def _answer(self, line: Mapping[str, Any]) -> Scored:
        value = line["verdict"]["value"]
        fake = line["verdict"]["metric"] == "O_F"
        label = None if value is None else ("yes" if value >= 0.5 else "no") if fake else float(value)
        tags = {"item": line["scenario"], "part": line["part"]}
        return _scored(line, tags, line["question"], line["answer"], {str(self._first["judge"]["name"]): label})

    def _reply(self, line: Mapping[str, Any]) -> Scored:
        said = {judge: found["outcome"] for judge, found in line["defences"].items()}
        if unknown := {outcome for outcome in said.values() if outcome is not None} - set(OUTCOMES):
            raise ValueError(f"unknown outcome {sorted(unknown)}")
        tags = {"item": line["item"], "part": line["input"]}
        return _scored(line, tags, line["request"], line["reply"], said)

    def corpus(self) -> Corpus:
        """The scenarios of a run with news."""
        found: dict[str, Any] = {}
        points = load_points_as(Spec, self.content)
        corpora = [read_corpus(point.spec) for point in _each(points, lambda spec: spec.corpus)]
        self._check("corpus", corpora[0].digest())
        for corpus in corpora:
            found |= corpus.by_id
        return Corpus(found.values(), corpora[0].name)

    def items(self) -> ItemSet:
        """The items of a run with editing."""
        found: dict[str, Any] = {}
        points = load_points_as(EditingSpec, self.content)
        sets = [read_items(point.spec) for point in _each(points, lambda spec: spec.items)]
        self._check("items", sets[0].digest())
        for items in sets:
            found |= items.by_id
        return ItemSet(found.values(), sets[0].name)

    def _check(self, what: str, digest: str) -> None:
        about = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        if about.get(what, {}).get("digest", digest) != digest:
            raise UserError(
                f"the texts have changed since {self.folder} was made: its {what} had the digest "
                f"{about[what]['digest']}, now it is {digest}. Put the texts of the run back, or run it again."
            )


def _each(points: list[Any], part: Callable[[Any], Any]) -> list[Any]:
    """One point for each different value of a part of the spec."""
    return list({part(point.spec).model_dump_json(): point for point in points}.values())


def _scored(
    line: Mapping[str, Any], tags: dict[str, str], question: str, answer: str, verdicts: Mapping[str, Label | None]
) -> Scored:
    tags = {tag: str(line[tag]) if line.get(tag) is not None else "" for tag in TAGS} | tags
    identifier = hashlib.sha256(json.dumps([*tags.values(), question]).encode()).hexdigest()[:12]
    return Scored(identifier, tags, question, answer, bool(line.get("finished", True)), verdicts)
