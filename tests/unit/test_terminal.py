"""The progress bars of the command line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from unteach.terminal import _Rate, bars


@pytest.mark.parametrize(
    ("done", "seconds", "shown"), [(25, 2, "12.5/s"), (1, 40, "0.025/s"), (9000, 2, "4,500/s"), (0, 2, "")]
)
def test_the_rate_is_units_a_second(done, seconds, shown) -> None:
    now = [0.0]
    with bars(Console(file=io.StringIO(), force_terminal=True)) as shows, shows.task("asking", 10_000) as bar:
        (task,) = shows._progress.tasks
        task._get_time = lambda: now[0]
        assert _Rate().render(task).plain == ""
        shows._progress.get_time = lambda: now[0]
        bar.advance(done)  # where the count begins
        now[0] = float(seconds)
        bar.advance(done)
        assert _Rate().render(task).plain == shown


def test_bars_show_counts_rate_and_remaining_time() -> None:
    out = io.StringIO()
    with bars(Console(file=out, force_terminal=True, width=160)) as progress, progress.task("asking", 100) as bar:
        bar.advance(10)
        bar.advance(10)
        progress._progress.refresh()
    assert "asking" in out.getvalue() and "20/100" in out.getvalue() and "/s" in out.getvalue()
    assert "left" in out.getvalue()


def test_without_a_terminal_there_is_a_line_a_task() -> None:
    out = io.StringIO()
    with bars(Console(file=out)) as progress, progress.task("asking", 100) as bar:
        bar.advance(100)
    assert out.getvalue() == "asking (100)\n"
