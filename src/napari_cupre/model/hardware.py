"""Describe this machine without importing torch."""

from __future__ import annotations

import itertools
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "failed to allocate memory",
    "bad allocation",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that there was not enough memory, on any device and by any library."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    is_of_runtime = type(error).__module__.startswith("onnxruntime")
    return (isinstance(error, RuntimeError) or is_of_runtime) and any(
        words in text for words in _OUT_OF_MEMORY
    )


def may_have_gpu() -> bool:
    """Whether torch might have a GPU; only torch itself knows for certain."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "x") in ("", "-1") or _torch_build().endswith("+cpu"):
        return False
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / "System32" / "nvcuda.dll").is_file()
    return any(Path(place).exists() for place in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg"))


def gains_from_bf16() -> bool | None:
    """Whether bfloat16 halves torch's prediction time here; None if the system does not tell.

    See `device.cpu_predicts_in_bf16`, which asks torch.
    """
    if sys.platform == "darwin":
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    lines = processor_lines()
    flags = next((line.split() for line in lines if line.startswith("flags")), None)
    if flags is None:
        return None
    is_amd = any("AMD" in line for line in lines if not line.startswith("flags"))
    return "amx_tile" in flags or ("avx512_bf16" in flags and is_amd)


def processor_lines() -> list[str]:
    """Return Linux's description of the first processor; nothing on other systems."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as stream:
            lines = list(itertools.islice(stream, 30))
    except OSError:
        return []
    return [line for line in lines if line.startswith(("vendor_id", "model name", "flags"))]


def thread_count() -> int:
    """Return the threads for arithmetic: `OMP_NUM_THREADS`, as for torch, else the number of processors."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _torch_build() -> str:
    """Return the version of torch with its build, such as 2.6.0+cpu; "" if it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
