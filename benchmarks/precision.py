"""CPU seconds of one training step's backbone in float32 and bfloat16, contiguous and channels_last.

python benchmarks/precision.py [BACKBONE ...]
"""

from __future__ import annotations

import platform
import sys
import time

import timm
import torch


def seconds(backbone: torch.nn.Module, images: torch.Tensor, bf16: bool, repeats: int = 5) -> float:
    """Least CPU seconds of forward and backward; CPU time is not moved by what else the machine does."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            maps = backbone(images)
        sum(m.float().mean() for m in maps).backward()
        best = min(best, time.process_time() - start)
    return best


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, torch {torch.__version__}, 1 thread, 4 crops of 256 px")
    for name in names:
        backbone = timm.create_model(name, features_only=True, out_indices=(1, 2, 3, 4)).train()
        for layout in (torch.contiguous_format, torch.channels_last):
            backbone.to(memory_format=layout)
            images = torch.randn(4, 3, 256, 256).contiguous(memory_format=layout)
            for bf16 in (False, True):
                kind = "bfloat16" if bf16 else "float32"
                print(f"{name:14s} {str(layout)[6:]:18s} {kind:9s} {seconds(backbone, images, bf16):.2f} s")


if __name__ == "__main__":
    main(sys.argv[1:] or ["resnest14d"])
