"""Several processes on one experiment, as ``accelerate launch`` starts them: who does what, and who knows what.

Every process runs the whole program. Training is data-parallel; questions are shared out; process 0 alone writes.
With one process all of this does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

T = TypeVar("T")


def processes() -> int:
    """How many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number."""
    return int(os.environ.get("RANK", "0")) if processes() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


def wait() -> None:
    """Go on when every process has come here."""
    if processes() > 1:
        _state().wait_for_everyone()


def from_first(value: T) -> T:
    """Process 0's value, in every process."""
    if processes() == 1:
        return value
    _state()
    (shared,) = broadcast_object_list([value])
    return shared  # type: ignore[no-any-return]


def my_share(items: Sequence[T]) -> list[T]:
    """This process's part of work that is shared out."""
    return list(items[rank() :: processes()])


def put_together(mine: Sequence[T]) -> list[T]:
    """Results of ``my_share`` from every process, in the order of the whole."""
    if processes() == 1:
        return list(mine)
    _state()
    parts: list[list[T]] = gather_object([list(mine)])
    total = sum(map(len, parts))
    return [parts[index % len(parts)][index // len(parts)] for index in range(total)]


def summed(values: Sequence[float], device: torch.device) -> list[float]:
    """Element-wise sum over all processes."""
    if processes() == 1:
        return list(values)
    _state()
    total = torch.tensor(values, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(total)
    return total.tolist()


def _state() -> Any:
    """The process group, joined when first needed."""
    return PartialState(cpu=not torch.cuda.is_available())
