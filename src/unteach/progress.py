"""Progress of long steps, told to whoever watches: the command line shows bars, tests and libraries show nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Task(Protocol):
    """One bar: ``advance`` it as work is done."""

    def advance(self, amount: float = 1) -> None:
        """``amount`` more units are done."""


class Progress(Protocol):
    """Where bars are opened; ``total`` is in the unit that is advanced."""

    def task(self, description: str, total: float) -> contextlib.AbstractContextManager[Task]:
        """A bar for one long step, closed when the scope ends."""


class _Silent:
    def advance(self, amount: float = 1) -> None:
        pass


class NoProgress:
    """Shows nothing."""

    @contextlib.contextmanager
    def task(self, description: str, total: float) -> Iterator[Task]:
        """A bar that nobody sees."""
        yield _Silent()
