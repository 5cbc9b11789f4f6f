"""Counts what torch is asked to do: operators, multiplications and bytes, which no busy machine changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass
class Work:
    """What was done inside a `counted` block.

    Attributes
    ----------
    operators : int
        Calls of torch's operators.
    products : int
        Multiplications of convolutions and matrix products.
    allocated : int
        Bytes of all results that are no view of what was there.
    """

    operators: int = 0
    products: int = 0
    allocated: int = 0


class counted(TorchDispatchMode):
    """Context that counts, also backward passes; gives a `Work`."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def __enter__(self) -> Work:  # type: ignore[override]
        super().__enter__()
        return self.work

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        known = {tensor.untyped_storage().data_ptr() for tensor in given}
        fresh = [tensor for tensor in made if tensor.untyped_storage().data_ptr() not in known]
        self.work.operators += 1
        self.work.allocated += sum(tensor.nbytes for tensor in fresh)
        self.work.products += _products(func.overloadpacket.__name__, given, made)
        return result


def _products(name: str, given: list[torch.Tensor], made: list[torch.Tensor]) -> int:
    if name in ("convolution", "conv2d", "conv_transpose2d"):
        # A transposed one spreads each input value, a plain one gathers for each output value.
        is_spread = given[1].shape[0] == given[0].shape[1] != made[0].shape[1] or name == "conv_transpose2d"
        return (given[0] if is_spread else made[0]).numel() * given[1][0].numel()
    if name == "convolution_backward":  # of the inputs and of the weights
        return given[0].numel() * given[2][0].numel() * len(made[:2])
    if name == "linear":
        return made[0].numel() * given[1].shape[1]
    if name in ("mm", "addmm", "bmm"):
        return made[0].numel() * given[-2].shape[-1]
    return 0
