"""What this machine computes with: device, and the number format it runs natively."""

from __future__ import annotations

import os
import platform
from typing import Literal

import torch

DTypeName = Literal["auto", "float32", "bfloat16", "float16"]


def default_device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    if torch.cuda.is_available():
        # each process of a launch has a card of its own
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def native_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is native here; emulated bfloat16 is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        flags = _cpu_flags()
        return "avx512_bf16" in flags or "amx_bf16" in flags or "bf16" in flags
    return False


def _cpu_flags() -> frozenset[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            line = next((row for row in info if row.lower().startswith(("flags", "features"))), "")
    except OSError:
        return frozenset()
    return frozenset(line.split(":", 1)[-1].split())


def resolve_dtype(name: DTypeName, device: torch.device) -> torch.dtype:
    """The number format to load weights in; ``auto`` is bfloat16 where it is native, else float32."""
    if name == "auto":
        return torch.bfloat16 if native_bfloat16(device) else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def dtype_name(dtype: torch.dtype) -> str:
    """``torch.bfloat16`` as ``bfloat16``."""
    return str(dtype).removeprefix("torch.")


def machine() -> dict[str, str]:
    """What the result was computed on, for the report: processor, cores, memory, accelerator."""
    cpu = platform.processor() or platform.machine()
    with_name = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            with_name = next((row.split(":", 1)[1].strip() for row in info if row.startswith("model name")), "")
    except OSError:
        pass
    facts = {
        "processor": with_name or cpu,
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "system": platform.platform(terse=True),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    if torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name()
    return facts
