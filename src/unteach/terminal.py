"""The terminal: where results and messages go, and progress bars with the time that remains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.progress import Task as RichTask
from rich.text import Text

from unteach.progress import NoProgress, Progress, Task

console = Console()
errors = Console(stderr=True)


class _Rate(ProgressColumn):
    """Units a second, over the last minutes: ``12.3/s``."""

    def render(self, task: RichTask) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text()
        return Text(f"{speed:,.0f}/s" if speed >= 100 else f"{speed:.3g}/s")


class _Bar:
    def __init__(self, progress: RichProgress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, amount: float = 1) -> None:
        self._progress.advance(self._task, amount)


class _Bars:
    def __init__(self, progress: RichProgress, console: Console) -> None:
        self._progress, self._console = progress, console

    @contextlib.contextmanager
    def task(self, description: str, total: float) -> Iterator[Task]:
        """A bar while the scope lasts; without a terminal, a line when it begins."""
        if not self._console.is_terminal:
            self._console.print(f"{description} ({total:g})", highlight=False)
        identifier = self._progress.add_task(description, total=total)
        try:
            yield _Bar(self._progress, identifier)
        finally:
            self._progress.remove_task(identifier)


@contextlib.contextmanager
def bars(console: Console, shown: bool = True) -> Iterator[Progress]:
    """Bars with counts, elapsed time, rate and remaining time, on ``console``; nothing if not ``shown``."""
    if not shown:
        yield NoProgress()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _Rate(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with RichProgress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=300,  # rich's own half minute knows no rate of what comes once a minute
    ) as progress:
        yield _Bars(progress, console)


def escaped(text: str) -> str:
    """Text in which rich finds no markup."""
    return text.replace("[", r"\[")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep libraries' bars and notices from breaking ours; errors still come through."""
    import warnings

    import transformers

    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
