"""Memory of one training step and one prediction on dense fields, beside stock torchvision's.

    python benchmarks/memory.py            # all cases, each in a process of its own
    python benchmarks/memory.py ours-train # one case: MiB above the idle process, seconds

Every case holds a network with random weights (`compact`, or torchvision's `maskrcnn_resnet50_fpn_v2`) and a
drawn field; "idle" is that process before the step. Predictions keep the 2,000 best detections whatever
their score and turn them into full-size masks (stock) or a label image (ours).
"""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

CASES = {
    "ours-train": ("one training step, 520 x 704, 2,000 cells", "compact"),
    "stock-train": ("one training step, 520 x 704, 2,000 cells", "torchvision"),
    "ours-train-512": ("one training step, 512 x 512, 1,500 cells", "compact"),
    "stock-train-512": ("one training step, 512 x 512, 1,500 cells", "torchvision"),
    "ours-predict": ("prediction, 520 x 704, 2,000 instances", "compact"),
    "stock-predict": ("prediction, 520 x 704, 2,000 instances", "torchvision"),
}


def field(count: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Image float32 (Y, X, 3) and labels int32 of `count` small square cells on a jittered grid."""
    rng = np.random.default_rng(0)
    labels = np.zeros(shape, np.int32)
    step = (shape[0] * shape[1] / count) ** 0.5
    rows, columns = int(shape[0] // step), -(-count // int(shape[0] // step))
    for label in range(count):
        y = int(label % rows * shape[0] / rows)
        x = int(label // rows * shape[1] / columns)
        side = max(4, int(step * rng.uniform(0.6, 0.8)))
        labels[y : y + side, x : x + side] = label + 1
    image = (labels > 0) * 0.7 + rng.normal(0.1, 0.05, shape)
    return np.repeat(image[..., None], 3, axis=2).astype(np.float32), labels


def to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()


def ours_train(count: int, shape: tuple[int, int]) -> Callable[[], None]:
    from napari_cupre.finetuning.judge import hold_batchnorm
    from napari_cupre.model.checkpoint import new_model
    from napari_cupre.model.targets import target_from_labels

    network = new_model("compact").network.train()
    hold_batchnorm(network)  # as in fine-tuning; statistics of a single image are none
    image, labels = field(count, shape)

    def step() -> None:
        losses = network(to_tensor(image)[None], [target_from_labels(labels)])
        torch.stack(list(losses.values())).sum().backward()

    return step


def stock(**options: float) -> torch.nn.Module:
    from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

    torch.manual_seed(0)
    return maskrcnn_resnet50_fpn_v2(
        weights=None, weights_backbone=None, num_classes=2, min_size=512, max_size=704, **options
    )


def stock_train(count: int, shape: tuple[int, int]) -> Callable[[], None]:
    from napari_cupre.model.targets import label_boxes

    network = stock().train()
    image, labels = field(count, shape)

    def step() -> None:
        ids, boxes = label_boxes(labels)
        target = {
            "boxes": torch.from_numpy(boxes).float(),
            "labels": torch.ones(len(ids), dtype=torch.int64),
            "masks": torch.from_numpy(labels[None] == ids[:, None, None]).to(torch.uint8),
        }
        losses = network([to_tensor(image)], [target])
        torch.stack(list(losses.values())).sum().backward()

    return step


def ours_predict(count: int, shape: tuple[int, int]) -> Callable[[], None]:
    from napari_cupre.model.checkpoint import new_model
    from napari_cupre.model.paint import paint_masks

    network = new_model("compact").network.eval()
    image, _ = field(count, shape)

    def step() -> None:
        found = network.detect(to_tensor(image)[None], score=0.0, max_detections=count)[0]
        paint_masks(found.boxes.numpy(), found.masks.numpy(), found.scores.numpy(), shape)
        print(f"{len(found)} instances", file=sys.stderr)

    return step


def stock_predict(count: int, shape: tuple[int, int]) -> Callable[[], None]:
    network = stock(
        box_score_thresh=0.0, box_detections_per_img=count, rpn_post_nms_top_n_test=2 * count
    ).eval()
    image, _ = field(count, shape)

    @torch.no_grad()
    def step() -> None:
        found = network([to_tensor(image)])[0]
        print(f"{len(found['masks'])} instances", file=sys.stderr)

    return step


def measure(case: str) -> None:
    """Run one case in this process and print MiB above idle and seconds."""
    torch.set_num_threads(2)
    who, what = case.split("-")[:2]
    count, shape = (1500, (512, 512)) if case.endswith("512") else (2000, (520, 704))
    step = globals()[f"{who}_{what}"](count, shape)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    step()
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{(peak - idle) / 1024:.0f} {seconds:.1f}")


def main() -> None:
    print(f"{platform.platform()}, torch {torch.__version__}, 2 threads")
    print("| what | network | MiB above idle | s |\n|---|---|---|---|")
    for case, (what, network) in CASES.items():
        done = subprocess.run([sys.executable, __file__, case], capture_output=True, text=True)
        figures = done.stdout.split() if done.returncode == 0 else ["died", f"code {done.returncode}"]
        print(f"| {what} | {network} | {figures[0]} | {figures[1]} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        main()
