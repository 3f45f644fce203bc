"""Declared tests of what a paper claims: a file of claims and a run's table -> supported, contradicted, or why not.

A claims file is a YAML list. Each claim says in words what is claimed and names the rows and the bound that test it:

    - id: english-from-every-source
      paper: A
      section: "2.2, Fig. 2"
      says: Fakes taught in any language turn up in English questions, in 20 of 100 answers or more.
      why: The paper's number, as a share.
      test:
        rows: {metric: O_F, model: contaminated, question_language: en}
        each: source_language
        at_least: 0.20
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from unteach.errors import UserError, UserErrors
from unteach.languages.table import LANGUAGES
from unteach.records import Row
from unteach.registry import Settings, nearest

SOURCE_SETS = ("any", "not en", "high", "low")
"""What stands for a source language in rows that pool several models."""

_NUMBERS = ("n", "unscored", "value", "ci_low", "ci_high")
COLUMNS = tuple(name for name in Row.model_fields if name not in _NUMBERS)
"""Columns that a selector may name."""

Cell = str | int | None
Selector = Mapping[str, Cell | tuple[Cell, ...]]
"""Column -> value. ``metrics.decide.choose`` says what columns left out mean.

A ``*`` in the name of a judge or a variant stands for any characters: these names are made by a run's spec. ``variant``
may be a list, of which the first counts that there are rows for: ``["*Llama-2*", null]`` is the sweep's point with that
model, or the only model of a run without a sweep.
"""


class Difference(Settings):
    """Two rows: the value of one less the value of the other."""

    of: Selector
    minus: Selector


class Test(Settings):
    """Which number is tested, and against which bounds. Bounds are in the table's units: shares are 0..1."""

    __test__ = False  # no test case, whatever pytest may think of the name

    rows: Selector | None = Field(None, description="Column: value; one row must fit (one for each value of `each`).")
    difference: Difference | None = Field(None, description="`of` and `minus`: the selectors of two rows.")
    each: Mapping[str, tuple[Cell, ...] | None] = Field(
        default_factory=dict,
        description="A column, or columns with the values that are needed; without values, all that the table has.",
    )
    holds: Literal["all", "some"] = Field("all", description="With `each`: whether all must fulfil it, or one.")
    fewest: int | None = Field(None, ge=1, description="How many values of `each` must be there; all, if left out.")
    at_least: float | None = None
    at_most: float | None = None
    between: tuple[float, float] | None = None

    @field_validator("each", mode="before")
    @classmethod
    def _columns(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        return dict.fromkeys(names) if isinstance(names, list | tuple) else names

    @field_validator("rows")
    @classmethod
    def _selector(cls, selector: Selector | None) -> Selector | None:
        return None if selector is None else _checked(selector)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.rows is None) == (self.difference is None):
            raise ValueError("give either `rows` or `difference`")
        if sum(bound is not None for bound in (self.at_least, self.at_most, self.between)) != 1:
            raise ValueError("give one of `at_least`, `at_most` and `between`")
        if self.between is not None and not self.between[0] < self.between[1]:
            raise ValueError("`between` goes from the smaller to the larger number")
        for side in self.sides:
            _checked(side)
        _checked_each(self.each)
        for column in self.each:
            if all(column in side for side in self.sides):
                raise ValueError(f"{column} is fixed by the selector, so it cannot vary with `each`")
        return self

    @property
    def sides(self) -> tuple[Selector, ...]:
        """The selectors: of one row, or of the two of a difference."""
        if self.difference is not None:
            return self.difference.of, self.difference.minus
        return (self.rows or {},)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound, both inclusive; infinite where there is none."""
        low, high = self.between or (self.at_least, self.at_most)
        return float("-inf") if low is None else low, float("inf") if high is None else high


class Claim(Settings):
    """One claim of a paper, in our words, and the test of it."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=80)]
    paper: str
    section: str = Field(description="Section, figure or table of the paper.")
    says: str = Field(min_length=1, description="The claim, in words of our own.")
    why: str = Field(min_length=1, description="Where the bound comes from.")
    test: Test
    opposes: str | None = Field(None, description="A claim of the same paper that cannot hold together with this one.")


def _checked(selector: Selector) -> Selector:
    _known_columns(selector)
    if "metric" not in selector:
        raise ValueError("a selector names the metric")
    for column, value in selector.items():
        if isinstance(value, tuple):
            if column != "variant" or not value:
                raise ValueError(f"{column}: give one value; only `variant` takes a list")
            continue
        _known_language(column, value)
    return selector


def _checked_each(each: Mapping[str, tuple[Cell, ...] | None]) -> None:
    _known_columns(each)
    for column, values in each.items():
        if column in ("metric", "run", "checkpoint", "seed"):
            raise ValueError(f"`each` cannot go over {column}")
        if values is not None and not values:
            raise ValueError(f"`each`: {column} has no values")
        for value in values or ():
            _known_language(column, value)


def _known_columns(columns: Mapping[str, Any]) -> None:
    for column in columns:
        if column not in COLUMNS:
            raise ValueError(f"rows have no column {column!r} to select by. {nearest(column, COLUMNS)}")


def _known_language(column: str, value: Cell) -> None:
    if column not in ("source_language", "question_language") or value is None:
        return
    known = (*LANGUAGES, *SOURCE_SETS) if column == "source_language" else tuple(LANGUAGES)
    if value not in known:
        raise ValueError(f"{column}: unknown language {value!r}. {nearest(str(value), known)}")


def read_claims(path: Path) -> list[Claim]:
    """All claims of a file.

    Raises:
        UserError: there is no such file, or it is no list.
        UserErrors: everything that is wrong with its claims.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no claims file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, list) or not raw:
        raise UserError(f"{path}: a claims file is a list of claims")
    claims: list[Claim] = []
    problems: list[str] = []
    for place, item in enumerate(raw, start=1):
        name = item.get("id", "without id") if isinstance(item, dict) else "no mapping"
        try:
            claims.append(Claim.model_validate(item))
        except ValidationError as error:
            problems += [f"claim {place} ({name}): {line}" for line in _explained(error)]
    problems += _problems_between(claims) if not problems else []
    if problems:
        raise UserErrors(f"the claims file {path} has problems", problems)
    return claims


def _explained(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        words = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            inner: dict[str, type[Settings]] = {"test": Test, "test.difference": Difference}
            known = inner.get(".".join(map(str, problem["loc"][:-1])), Claim).model_fields
            words = f"unknown field. {nearest(str(problem['loc'][-1]), known)}"
        yield f"{place}: {words}" if place else words


def _problems_between(claims: Sequence[Claim]) -> list[str]:
    names = [claim.id for claim in claims]
    problems = [f"two claims are called {name!r}" for name in dict.fromkeys(names) if names.count(name) > 1]
    for claim in claims:
        if claim.opposes is not None and claim.opposes not in names:
            problems.append(f"claim {claim.id}: `opposes` names no claim. {nearest(claim.opposes, names)}")
    return problems
