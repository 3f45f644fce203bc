"""Sweeps: a list where a spec wants one value becomes a grid of experiments, ``seed: [0, 1, 2]`` for instance."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from unteach.errors import UserErrors
from unteach.experiments.spec import Experiment, Spec, explain_spec, read_raw
from unteach.registry import Settings, component_registry

Place = tuple[str, ...]

S = TypeVar("S", bound=Experiment)


@dataclass(frozen=True)
class Point(Generic[S]):
    """One experiment of a sweep: its spec, what tells it from the others (seeds apart), and its seed if those vary."""

    spec: S
    variant: str | None = None
    seed: int | None = None


def read_points(path: Path, overrides: Sequence[str] = ()) -> list[Point[Spec]]:
    """Every experiment with news of a spec file: one, or the whole grid if a list stands where one value is wanted.

    Raises:
        UserErrors: everything that is wrong, each problem once.
    """
    return expand(read_raw(path, overrides), str(path))


def expand(raw: Mapping[str, Any], where: str) -> list[Point[Spec]]:
    """All combinations of the values of all swept fields, the last field varying fastest."""
    return expand_as(Spec, raw, where)


def expand_as(cls: type[S], raw: Mapping[str, Any], where: str) -> list[Point[S]]:
    """The same for any kind of experiment.

    A field ``points`` lists experiments that differ in several fields at once: each is a mapping with its name
    (``variant``) and the fields that it replaces.
    """
    if "points" not in raw:
        return _grid(cls, raw, where, None)
    listed, shared = raw["points"], {name: value for name, value in raw.items() if name != "points"}
    named = isinstance(listed, list) and all(
        isinstance(p, Mapping) and isinstance(p.get("variant"), str) for p in listed
    )
    if not named or not listed or len({p["variant"] for p in listed}) < len(listed):
        raise UserErrors(
            f"the spec {where} has problems",
            ["points: a list of mappings is wanted, each with its own `variant` (a name) and the fields it replaces"],
        )
    found: list[Point[S]] = []
    for point in listed:
        own = {name: value for name, value in point.items() if name != "variant"}
        found += _grid(cls, {**shared, **own}, f"{where}, {point['variant']}", point["variant"])
    return found


def _grid(cls: type[S], raw: Mapping[str, Any], where: str, name: str | None) -> list[Point[S]]:
    found = list(_axes(raw, cls, ()))
    empty = {".".join(place): "an empty list leaves nothing to run" for place, values in found if not values}
    twice = {".".join(place): f"a value is given twice in {values}" for place, values in found if _repeats(values)}
    problems = [f"{name}: {why}" for name, why in (empty | twice).items()]
    axes = [(place, values) for place, values in found if values]
    points = []
    for values in itertools.product(*(values for _, values in axes)):
        chosen = dict(zip((place for place, _ in axes), values, strict=True))
        try:
            spec = cls.model_validate(_with(raw, chosen))
        except ValidationError as error:
            problems += [line for line in explain_spec(error, cls) if line.split(":")[0] not in empty]
            continue
        words = [f"{'.'.join(place)}={_word(value)}" for place, value in chosen.items() if place != ("seed",)]
        words = [name, *words] if name else words
        points.append(Point(spec, ", ".join(words) or None, spec.seed if ("seed",) in chosen else None))
    if problems:
        raise UserErrors(f"the spec {where} has problems", dict.fromkeys(problems))
    return points


def dump_points(points: Sequence[Point[Any]]) -> dict[str, Any]:
    """The points as plain values: a single spec as it is, a sweep as its list of points."""
    if len(points) == 1 and points[0].variant is None and points[0].seed is None:
        single: dict[str, Any] = points[0].spec.model_dump(mode="json")
        return single
    return {
        "name": points[0].spec.name,
        "points": [{"variant": p.variant, "seed": p.seed, "spec": p.spec.model_dump(mode="json")} for p in points],
    }


def load_points(content: Mapping[str, Any]) -> list[Point[Spec]]:
    """What ``dump_points`` wrote of experiments with news."""
    return load_points_as(Spec, content)


def load_points_as(cls: type[S], content: Mapping[str, Any]) -> list[Point[S]]:
    """The same for any kind of experiment."""
    if "points" not in content:
        return [Point(cls.model_validate(content))]
    return [Point(cls.model_validate(p["spec"]), p["variant"], p["seed"]) for p in content["points"]]


def _axes(raw: Mapping[str, Any], cls: type[Settings], at: Place) -> Iterator[tuple[Place, list[Any]]]:
    """Places where a list stands for one value, with that list, in the order of the file."""
    for name, value in raw.items():
        field = cls.model_fields.get(str(name))
        if field is None:
            continue
        place = (*at, str(name))
        if isinstance(value, list) and not _takes_list(field):
            yield place, value
        elif isinstance(value, Mapping):
            inner = _settings_of(field, value)
            if inner is not None:
                yield from _axes(value, inner, place)


def _takes_list(field: FieldInfo) -> bool:
    options = [field.annotation, *get_args(field.annotation)]
    return any(get_origin(option) in (tuple, list, set, frozenset) for option in options)


def _settings_of(field: FieldInfo, value: Mapping[str, Any]) -> type[Settings] | None:
    """The settings class that a mapping at this field is read by."""
    registry = component_registry(field)
    if registry is not None:
        return dict(registry).get(str(value.get("name")))
    options = [field.annotation, *get_args(field.annotation)]
    return next((cls for cls in options if isinstance(cls, type) and issubclass(cls, Settings)), None)


def _with(raw: Mapping[str, Any], chosen: Mapping[Place, Any]) -> dict[str, Any]:
    made = dict(raw)
    for (first, *rest), value in chosen.items():
        made[first] = _with(made[first], {tuple(rest): value}) if rest else value
    return made


def _repeats(values: Sequence[Any]) -> bool:
    return len({json.dumps(value, sort_keys=True, default=str) for value in values}) < len(values)


def _word(value: Any) -> str:
    """A value as a part of a point's name: a component by its name and the settings that are given."""
    if not (isinstance(value, Mapping) and "name" in value):
        return str(value)
    settings = ", ".join(f"{name}={given}" for name, given in value.items() if name != "name")
    return f"{value['name']}({settings})" if settings else str(value["name"])
