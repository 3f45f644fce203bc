"""An estimate in the terminal: a table of stages, then work, time, memory, money, and what the numbers stand on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.table import Table

from unteach.experiments.estimate import Estimate

_GIB = 2**30
_UNITS = ("training tokens", "edits", "prompts", "verdicts", "choices", "texts")
_WORK = {
    "learn": "teach",
    "unlearn": "unlearn",
    "ask": "ask",
    "judge": "judge answers",
    "choose": "forced choice",
    "score": "likelihood of texts",
    "teach_items": "teach unsafe answers",
    "edit": "edit and attack",
    "train_items": "train on all items",
    "attack": "attack",
    "judge_replies": "judge replies",
}


def plan_table(result: Estimate, title: str, every: bool) -> Table:
    """Every stage with its state, work and time, or one line a kind of stage."""
    table = Table("stage" if every else "stages", "", "work", "time", title=title)
    if every:
        for line in result.lines:
            time = "" if line.done else f"{duration(line.seconds)}{'' if line.measured else ' *'}"
            state = "done" if line.done else "to do"
            table.add_row(line.stage.name, state, f"{line.amount:,} {line.stage.unit}", time)
        return table
    order = {kind: place for place, kind in enumerate(_WORK)}
    ordered = sorted(result.lines, key=lambda line: (order.get(line.stage.kind, len(order)), line.stage.kind))
    for kind, group in groupby(ordered, key=lambda line: line.stage.kind):
        lines = list(group)
        done = sum(line.done for line in lines)
        state = f"{len(lines) - done} to do" + (f", {done} done" if done else "")
        amount = f"{sum(line.amount for line in lines if not line.done):,} {lines[0].stage.unit}"
        measured = all(line.measured or line.done for line in lines)
        time = f"{duration(sum(line.seconds for line in lines))}{'' if measured else ' *'}"
        table.add_row(_WORK.get(kind, kind), state, amount, time)
    return table


def plan_lines(result: Estimate, free_bytes: int) -> Iterator[str]:
    """What follows the table, a line each."""
    amounts = {unit: result.amount(unit) for unit in _UNITS}
    to_do = [f"{amount:,} {unit}" for unit, amount in amounts.items() if amount]
    if result.prompts_at_checkpoints:
        to_do.append(f"{result.prompts_at_checkpoints:,} prompts at checkpoints")
    yield f"to do: {', '.join(to_do) or 'nothing'}"
    yield from _machine(result, free_bytes)
    parts = sorted(result.fullest.parts.items(), key=lambda part: -part[1])
    shown = ", ".join(f"{name} {size / _GIB:.1f}" for name, size in parts if size >= 0.05 * _GIB)
    yield f"memory is fullest while {result.fullest.name} (GiB): {shown}"
    yield from _money(result)
    if any(not line.measured and not line.done for line in result.lines):
        speed = "the accelerator's" if result.accelerator else "this machine's"
        rest = "" if result.accelerator else "; measured rates replace it after a first run"
        yield f"* from arithmetic and {speed} speed, roughly{rest}"
    for note in result.notes:
        yield f"note: {note}"


def _machine(result: Estimate, free_bytes: int) -> Iterator[str]:
    device, memory = result.accelerator, result.peak_bytes / _GIB
    if device is None:
        yield (
            f"estimate for this machine: {duration(result.seconds)}, {memory:.1f} GiB of memory; "
            f"{free_bytes / _GIB:.0f} GiB of disk are free"
        )
        return
    hours = result.seconds / 3600
    shared = f", {hours / device.count:.1f} h if {device.count} share the stages evenly" if device.count > 1 else ""
    full = " (unlearning that no stop rule ends early)" if any(line.read for line in result.lines) else ""
    yield f"estimate for {device.name}: {hours:,.1f} device-hours{shared}{full}"
    fits = (
        "" if memory <= device.memory_gib else ": IT DOES NOT FIT. Smaller batches, ranks or a larger device are needed"
    )
    yield f"memory of each device: {memory:.1f} of {device.memory_gib:g} GiB{fits}"


def _money(result: Estimate) -> Iterator[str]:
    services = result.services
    if services is None or not result.costs:
        return
    yield (
        f"estimate of what {services.name} would cost ({services.currency} {services.price_in:g} a million tokens "
        f"read, {services.price_out:g} written), whoever the spec's own judge is:"
    )
    for cost in result.costs:
        yield f"  {cost.money:>10,.2f}  {cost.what}: {cost.calls:,} calls"
    yield f"  {result.money:>10,.2f}  {services.currency} in all"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
