"""The kinds of experiments, told apart by their spec's ``experiment`` field: what can be done with each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unteach.errors import UserError
from unteach.experiments import estimate as news_estimate
from unteach.experiments import run as news
from unteach.experiments.editing import estimate as editing_estimate
from unteach.experiments.editing import run as editing
from unteach.experiments.editing.spec import EditingSpec
from unteach.experiments.estimate import Estimate
from unteach.experiments.spec import Spec, read_raw
from unteach.experiments.sweep import Point, expand, expand_as
from unteach.progress import Progress
from unteach.records import Row
from unteach.registry import nearest

EDITING = "knowledge_editing"


class AnyExperiment(ABC):
    """One spec file, read and checked."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name."""

    @abstractmethod
    def run(self, store: Path, out: Path, progress: Progress) -> list[Row]:
        """Do it; gives the table's rows."""

    @abstractmethod
    def estimate(self, store: Path) -> Estimate:
        """What it will cost. Starts nothing."""


@dataclass(frozen=True)
class News(AnyExperiment):
    """Fake news, taught and unlearned (paper A)."""

    points: Sequence[Point[Spec]]

    @property
    def name(self) -> str:
        return self.points[0].spec.name

    def run(self, store: Path, out: Path, progress: Progress) -> list[Row]:
        return news.run(news.prepare(self.points, store), out, progress)

    def estimate(self, store: Path) -> Estimate:
        return news_estimate.estimate(news_estimate.prepare_to_plan(self.points, store))


@dataclass(frozen=True)
class Editing(AnyExperiment):
    """Guarded items, edited and attacked (paper B)."""

    points: Sequence[Point[EditingSpec]]

    @property
    def name(self) -> str:
        return self.points[0].spec.name

    def run(self, store: Path, out: Path, progress: Progress) -> list[Row]:
        return editing.run(editing.prepare(self.points, store), out, progress)

    def estimate(self, store: Path) -> Estimate:
        return editing_estimate.estimate(editing_estimate.prepare_to_plan(self.points, store))


def read_experiment(path: Path, overrides: Sequence[str] = ()) -> AnyExperiment:
    """Read a spec of any kind.

    Raises:
        UserError: everything that is wrong with it, or its kind is unknown.
    """
    raw = read_raw(path, overrides)
    kind = raw.get("experiment")
    if kind is None and {"articles", "endpoint"} <= raw.keys():
        raise UserError(f"{path} is the spec of a corpus to be made: use `unteach corpus build {path}`.")
    if kind is None:
        return News(expand(raw, str(path)))
    if kind == EDITING:
        return Editing(expand_as(EditingSpec, raw, str(path)))
    raise UserError(
        f"{path}: experiment: there is no kind {kind!r}. {nearest(str(kind), [EDITING])} Without this field it is an "
        "experiment with news."
    )
