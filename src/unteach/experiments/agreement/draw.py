"""Which answers are drawn: equal numbers a cell, by chance that a seed fixes; and the key, which people do not see."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from unteach.errors import UserError
from unteach.experiments.agreement.scored import TAGS, Scored
from unteach.experiments.agreement.sheet import shown
from unteach.metrics.agreement import Label
from unteach.metrics.rated import About, SampleItem
from unteach.records import Record
from unteach.registry import Settings, nearest
from unteach.store import write_atomically

Balance = Literal["none", "verdicts"]


class Drawing(Settings):
    """How a sample is drawn. ``where`` keeps only answers with these tags."""

    metric: str
    judge: str
    by: tuple[str, ...] = ("language",)
    where: Mapping[str, str] = {}
    each: int = 10
    balance: Balance = "none"
    seed: int = 0


class KeyItem(SampleItem):
    """An answer of the sample, with its texts as people see them."""

    question: str
    answer: str


class Key(Record):
    """What a sample was drawn from and what the judge says of it. ``sha256`` is that of all the rest."""

    unteach_key: Literal[1] = 1
    run: str
    drawing: Drawing
    population: dict[str, int]
    items: tuple[KeyItem, ...]
    sha256: str = ""

    def digest(self) -> str:
        """What ``sha256`` has to be."""
        content = self.model_dump(mode="json", exclude={"sha256"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def about(self) -> About:
        """The sample as reports know it."""
        drawing = self.drawing
        return About(
            sample=self.sha256, run=self.run, metric=drawing.metric, judge=drawing.judge, by=drawing.by,
            balance=drawing.balance, population=self.population,
        )  # fmt: skip


def draw(run: str, answers: Sequence[Scored], drawing: Drawing) -> Key:
    """A sample of the scored answers: ``each`` from every cell, or all of a smaller cell, in an order by chance.

    Within a cell every answer has the same chance, so that the sample is like the run. Balanced by verdicts, equal
    numbers of each of the judge's labels are drawn where there are so many (grades: below 4, 4 to 7, above), so that
    rare verdicts are seen; the key says how many answers each one stands for. Who comes first is decided by a hash of
    seed and id: the same in every version of Python, and a larger sample holds the smaller one.

    Raises:
        UserError: an unknown tag or judge, or nothing to draw from.
    """
    for tag in (*drawing.by, *drawing.where):
        if tag not in TAGS:
            raise UserError(f"answers cannot be told apart by {tag!r}. {nearest(tag, TAGS)}")
    judges = list(dict.fromkeys(judge for answer in answers for judge in answer.verdicts))
    if drawing.judge not in judges:
        raise UserError(f"{run} was not judged by {drawing.judge!r}. {nearest(drawing.judge, judges)}")
    kept = [a for a in answers if all(a.tags[tag] == value for tag, value in drawing.where.items())]
    cells: dict[tuple[str, ...], dict[str, list[Scored]]] = {}
    for answer in kept:
        verdict = answer.verdicts.get(drawing.judge)
        if verdict is not None:
            layer = _layer(verdict) if drawing.balance == "verdicts" else ""
            cells.setdefault(tuple(answer.tags[tag] for tag in drawing.by), {}).setdefault(layer, []).append(answer)
    if not cells:
        raise UserError(f"{run} has no scored answers for {drawing.metric} with {drawing.where or 'any tags'}")
    population, items = dict[str, int](), list[KeyItem]()
    for cell, layers in sorted(cells.items()):
        taken = shares({layer: len(found) for layer, found in layers.items()}, drawing.each)
        for layer, found in sorted(layers.items()):
            stratum = " | ".join(filter(None, [*(part or "-" for part in cell), layer]))
            if taken[layer]:
                population[stratum] = len(found)
            first = sorted(found, key=lambda answer: _chance(drawing.seed, "draw", answer.id))[: taken[layer]]
            items += [_item(answer, cell, stratum, drawing.judge) for answer in first]
    items.sort(key=lambda item: _chance(drawing.seed, "order", item.id))
    key = Key(run=run, drawing=drawing, population=population, items=tuple(items))
    return key.model_copy(update={"sha256": key.digest()})


def shares(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """``total`` spread evenly over layers of these sizes; what a small one cannot give, the others do."""
    taken = dict.fromkeys(sizes, 0)
    while sum(taken.values()) < min(total, sum(sizes.values())):
        layer = min((name for name in sorted(sizes) if taken[name] < sizes[name]), key=lambda name: taken[name])
        taken[layer] += 1
    return taken


def write_key(key: Key, path: Path) -> None:
    """Write it as JSON."""
    write_atomically(path, key.model_dump_json(indent=1))


def read_key(path: Path) -> Key:
    """A sample's key.

    Raises:
        UserError: there is none, it is no key, or it was changed.
    """
    try:
        key = Key.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"there is no key {path}. It was written beside the sample; name it with --key.") from None
    except ValidationError as error:
        raise UserError(f"{path} is no key of a sample: {error.errors()[0]['msg']}") from None
    if key.sha256 != key.digest():
        raise UserError(f"{path} was changed after the sample was drawn; put the original back")
    return key


def _layer(verdict: Label) -> str:
    if isinstance(verdict, str):
        return verdict
    return "below 4" if verdict < 4 else "4 to 7" if verdict <= 7 else "above 7"


def _chance(seed: int, what: str, identifier: str) -> str:
    return hashlib.sha256(f"{seed} {what} {identifier}".encode()).hexdigest()


def _item(answer: Scored, cell: tuple[str, ...], stratum: str, judge: str) -> KeyItem:
    verdict = answer.verdicts[judge]
    assert verdict is not None
    return KeyItem(
        id=answer.id, language=answer.tags["language"], cell=cell, stratum=stratum, verdict=verdict,
        question=shown(answer.question), answer=shown(answer.answer),
    )  # fmt: skip
