"""Choose the device and the precision."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager

import torch

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.model.hardware import processor_lines


def choose_device(name: str = "auto") -> torch.device:
    """Return the device for `name`: "auto" prefers CUDA, then MPS, then the CPU.

    Raises
    ------
    InputError
        If the device is unknown.
    EnvironmentFault
        If it is not available.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    kind = name.split(":")[0]
    if kind not in available:
        raise InputError(f"There is no device {name!r}: choose auto, cpu, cuda or mps.")
    if not available[kind]:
        raise EnvironmentFault(
            f"The device {name!r} was requested, but PyTorch {torch.__version__} does not find it: "
            "choose --device cpu, or install the PyTorch build for this machine."
        )
    return torch.device(name)


def cpu_multiplies_bf16() -> bool:
    """Whether the processor has matrix units for bfloat16 (AMX).

    Vector instructions alone (AVX512-BF16) are not enough: with torch 2.15 a training step of `compact`
    took 1.6 times as long with them as in float32 (`benchmarks/precision.py`).
    """
    try:
        return bool(torch.cpu._is_amx_tile_supported())
    except (AttributeError, RuntimeError):
        return False


def cpu_predicts_in_bf16() -> bool:
    """Whether convolutions without gradients take half the time in bfloat16 on this processor.

    They do with matrix units (AMX), and on AMD processors with AVX512-BF16, whose vector instructions
    multiply twice as many values. On Intel processors with AVX512-BF16 they took 1.6 times as long.
    """
    if cpu_multiplies_bf16():
        return True
    try:
        return bool(torch.cpu._is_avx512_bf16_supported()) and "AMD" in _processor()
    except (AttributeError, RuntimeError):
        return False


def _processor() -> str:
    """Return the processor's maker and name, if the system gives them."""
    named = [line for line in processor_lines() if not line.startswith("flags")]
    return "".join(named) or platform.processor()


def prediction_dtype(device: torch.device) -> torch.dtype | None:
    """Return the reduced precision for prediction, or None for float32."""
    if device.type == "cpu":
        return torch.bfloat16 if cpu_predicts_in_bf16() else None
    return training_dtype(device)


def training_dtype(device: torch.device) -> torch.dtype | None:
    """Return the reduced precision for forward and backward passes, or None for float32.

    MPS stays in float32: `roi_align` has no half-precision backward there.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    if device.type == "cpu" and cpu_multiplies_bf16():
        return torch.bfloat16
    return None


def memory_format(device: torch.device) -> torch.memory_format:
    """Return the layout of tensors; on a CPU channels_last is slower (`benchmarks/precision.py`)."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def autocast(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[None]:
    """Return `torch.autocast` for `dtype`; it does nothing if `dtype` is None."""
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def check_torchvision() -> None:
    """Raise `EnvironmentFault` if torch and torchvision do not match."""
    try:
        from napari_cupre.model.box_math import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise EnvironmentFault(
            f"torch {torch.__version__} and torchvision {_installed('torchvision')} do not match: "
            'run "pip install --upgrade --force-reinstall torch torchvision".'
        ) from error


def _installed(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
