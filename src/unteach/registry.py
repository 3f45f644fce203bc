"""Components: one file per extension, whose typed settings are its name, its parsing and its part in a run's key.

A component is a frozen pydantic class; its fields are its settings and calling it does its job. A registry knows
the components of one family by name. In YAML a component is its name, or a mapping with ``name`` and settings:

    objective: grad_diff
    objective: {name: grad_diff, forget_weight: 0.5}
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class Runtime:
    """Marks a setting that changes how a result is computed but not the result: it stays out of the stage key."""


class Settings(BaseModel):
    """Frozen settings that refuse unknown fields.

    Every field is identity (part of a result's key) unless it is annotated ``Runtime()``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def identity(self) -> dict[str, Any]:
        """The settings that decide the result, as plain JSON values, without those marked ``Runtime``."""
        return {
            name: _identity_of(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if not any(isinstance(mark, Runtime) for mark in field.metadata)
        }


def _identity_of(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.identity()
    if isinstance(value, tuple | list):
        return [_identity_of(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _identity_of(item) for key, item in value.items()}
    return str(value) if isinstance(value, PurePath) else value


class Component(Settings):
    """Base of everything that is chosen by name in a spec."""

    registered_name: ClassVar[str] = ""
    source: ClassVar[str] = ""
    """Where the method comes from: a paper's section or a public description."""

    def identity(self) -> dict[str, Any]:
        return {"name": self.registered_name, **super().identity()}


class UnknownName(ValueError):
    """A name that no component of the family has; the message suggests the nearest."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A "did you mean" sentence for an unknown name, listing all known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(known)}."


C = TypeVar("C", bound=Component)
D = TypeVar("D", bound=Component)


class Registry(Generic[C]):
    """The components of one family, by name. Refuses a second component under the same name."""

    def __init__(self, family: str, base: type[Any], package: str) -> None:
        self.family = family
        self.base = base
        self._package = package
        self._classes: dict[str, type[C]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[D]], type[D]]:
        """Class decorator: make the class known under ``name``."""

        def add(cls: type[D]) -> type[D]:
            if name in self._classes:
                raise ValueError(f"two {self.family} components are called {name!r}: {self._classes[name]} and {cls}")
            cls.registered_name = name
            self._classes[name] = cast("type[C]", cls)
            return cls

        return add

    def _load(self) -> None:
        """Import every module of the family's folder once: dropping a file there is all it takes to add one."""
        if not self._loaded:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._loaded = True

    def __iter__(self) -> Iterator[tuple[str, type[C]]]:
        self._load()
        return iter(sorted(self._classes.items()))

    def parse(self, value: Any) -> C:
        """A component from its name, from a mapping with ``name``, or as it is.

        Raises:
            UnknownName: no component has that name.
            pydantic.ValidationError: a setting is unknown or of the wrong type.
        """
        self._load()
        if isinstance(value, self.base):
            return cast(C, value)
        settings = {"name": value} if isinstance(value, str) else value
        if not isinstance(settings, dict) or not isinstance(settings.get("name"), str):
            raise UnknownName(f"expected the name of a {self.family}, or a mapping with 'name', got {value!r}")
        rest = {key: item for key, item in settings.items() if key != "name"}
        if settings["name"] not in self._classes:
            raise UnknownName(f"unknown {self.family} {settings['name']!r}. {nearest(settings['name'], self._classes)}")
        return self._classes[settings["name"]].model_validate(rest)

    @property
    def annotation(self) -> Any:
        """For use in specs: ``Annotated[Objective, OBJECTIVES.annotation]`` parses by name."""
        return _ParsedBy(self)


def component_registry(field: FieldInfo) -> Registry[Any] | None:
    """The registry by which one field of a settings class is parsed, ``None`` if it is no component."""
    arguments = [argument for option in get_args(field.annotation) for argument in get_args(option)]
    marks = [mark for mark in (*field.metadata, *arguments) if isinstance(mark, _ParsedBy)]
    return marks[0].registry if marks else None


class _ParsedBy:
    def __init__(self, registry: Registry[Any]) -> None:
        self.registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.registry.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda component: {"name": component.registered_name, **component.model_dump(mode="json")}
            ),
        )

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A name, or a mapping with the name and that component's settings."""
        options: list[dict[str, Any]] = [{"enum": [name for name, _ in self.registry]}]
        for name, cls in self.registry:
            # By the handler, so that groups inside the settings are defined where their references look for them.
            own = dict(handler.resolve_ref_schema(handler(cls.__pydantic_core_schema__)))
            own.pop("title", None)
            own["properties"] = {"name": {"const": name}, **own.get("properties", {})}
            own["required"] = ["name", *own.get("required", [])]
            options.append(own)
        return {"anyOf": options}


def label(component: Component) -> str:
    """The component's name, with those settings that are not the default: ``npo(beta=0.5)``."""
    fields = type(component).model_fields
    chosen = {
        n: v for n, v in component if fields[n].is_required() or v != fields[n].get_default(call_default_factory=True)
    }
    settings = ", ".join(f"{name}={value}" for name, value in chosen.items())
    return f"{component.registered_name}({settings})" if settings else component.registered_name


def describe(cls: type[Component]) -> str:
    """The first paragraph of a component's docstring, on one line."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


__all__ = [
    "Component",
    "Registry",
    "Runtime",
    "Settings",
    "UnknownName",
    "describe",
    "label",
    "nearest",
]
