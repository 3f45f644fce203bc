"""The terminal: where results and messages go, and progress bars with the time that remains."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from unteach.progress import NoProgress, Progress, Task

console = Console()
errors = Console(stderr=True)


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
    """Bars with counts, elapsed and remaining time, on ``console``; nothing if not ``shown``."""
    if not shown:
        yield NoProgress()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
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
