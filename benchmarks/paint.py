"""Painting 2,000 instances at 520 x 704: ours beside torchvision's `paste_masks_in_image`.

Run: python benchmarks/paint.py [--stock]     (--stock needs 3 GB and some seconds)
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from measure import best_of, machine, watched_memory
from torchvision.models.detection.roi_heads import paste_masks_in_image

from napari_cupre.model.paint import falling_order, paint_masks
from napari_cupre.prediction.tidy import tidy_labels

SHAPE = (520, 704)


def instances(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of LIVECell's size, round masks, and scores."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform((0, 0), SHAPE[::-1], (count, 2))
    extent = rng.uniform(10, 26, (count, 2))
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1).astype(np.float32)
    grid = (np.arange(28) + 0.5) / 28 * 2 - 1
    disc = 1 / (1 + np.exp(8 * (np.hypot(*np.meshgrid(grid, grid)) - 0.95)))
    return boxes, np.repeat(disc[None].astype(np.float32), count, axis=0), rng.random(count)


def stock(boxes: np.ndarray, masks: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Labels by way of one full plane per instance."""
    planes = paste_masks_in_image(torch.from_numpy(masks)[:, None], torch.from_numpy(boxes), SHAPE)
    labels = np.zeros(SHAPE, dtype=np.int32)
    for index in falling_order(scores)[::-1]:
        labels[planes[index, 0].numpy() >= 0.5] = index + 1
    return labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stock", action="store_true", help="also torchvision's way")
    args = parser.parse_args()
    boxes, masks, scores = instances(2000)
    print(machine())
    wall, cpu = best_of(5, lambda: paint_masks(boxes, masks, scores, SHAPE))
    with watched_memory(0.001) as memory:
        labels = paint_masks(boxes, masks, scores, SHAPE)
    print(f"paint: {1e3 * wall:.0f} ms wall, {1e3 * cpu:.0f} ms cpu, {memory.above_start:.0f} MB above start")
    wall, cpu = best_of(5, lambda: tidy_labels(labels.copy()))
    print(f"tidy: {1e3 * wall:.0f} ms wall, {1e3 * cpu:.0f} ms cpu")
    if args.stock:
        with watched_memory() as memory:
            wall, cpu = best_of(1, lambda: stock(boxes, masks, scores))
        print(f"torchvision: {wall:.1f} s wall, {cpu:.1f} s cpu, {memory.above_start:.0f} MB above start")


if __name__ == "__main__":
    main()
