"""What a model finds in unlabelled images, twice alike, as a COCO JSON that it can learn from.

    python benchmarks/bundled/pseudo.py cupre runs/sources/pseudo.json --exclude runs/sources/kept_back.txt

No label of a person is read. Each image is looked at as it is, and turned by 180 degrees and a quarter
closer. What is sure in the first look and has the same outline in the second is a cell; whatever else
either look finds, however doubtful, is a crowd region, which teaches nothing; the rest is background. Of
large images only the middle is looked at. Images in which little is sure are left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).parents[1]))
from split import data_folder

from napari_cupre.data.rle import encode_labels
from napari_cupre.io.images import read_image
from napari_cupre.io.unlabelled import UnlabelledIndex
from napari_cupre.io.writers.coco_writer import CocoWriter, coco_records
from napari_cupre.io.writers.output_cells import collect
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.instances import Instances
from napari_cupre.prediction.plane import predict_plane

FOLDERS = ("unlabelled", "bbbc038/images")
MOST = {"images": 700}
MOST_OF_OTHERS = 80
"""Images of each folder."""

WINDOW = 480
"""Side of what is looked at, px."""

SURE, DOUBTFUL = 0.75, 0.15
ALIKE = 0.6
"""IoU of the outlines of one cell in both looks."""

CLOSER = 1.25
LEAST_SURE = 0.5
"""Share of the cells with a score above 0.5 that both looks must agree on, or the image is left out."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--exclude", type=Path, required=True, help="stems of the images of the test part")
    parser.add_argument("--images", type=int, default=300, help="how many to learn from")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    detector = Detector(open_model(options.model, "cpu"))
    root = data_folder()
    excluded = frozenset(options.exclude.read_text(encoding="utf-8").split())
    kept = cells = 0
    options.out.unlink(missing_ok=True)
    chosen = files(root, excluded, options.out.with_suffix(".sqlite"))
    with CocoWriter(options.out) as writer:
        for number, path in enumerate(chosen, start=1):
            found = taught(detector, path)
            if found is None:
                continue
            record = as_record(path.resolve().relative_to(root.resolve()).as_posix(), *found)
            writer.add_records([record])
            kept, cells = kept + 1, cells + len(record["annotations"]) - 1
            if kept % 20 == 0:
                print(f"{kept} of {number} images, {cells} cells", flush=True)
            if kept == options.images:
                break
    print(f"{options.out}: {kept} images, {cells} cells")


def files(root: Path, excluded: frozenset[str], index_path: Path) -> list[Path]:
    """Some images of each folder, mixed, so that a part of the list has every kind."""
    index = UnlabelledIndex.build(index_path, [root / name for name in FOLDERS], excluded)
    rng, taken, chosen = np.random.default_rng(0), {}, []
    for number in rng.permutation(len(index)):
        path = index[int(number)]
        taken[path.parent] = taken.get(path.parent, 0) + 1
        if taken[path.parent] <= MOST.get(path.parent.name, MOST_OF_OTHERS):
            chosen.append(path)
    return chosen


def taught(detector: Detector, path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Label image of the cells that both looks agree on, and bool where there is doubt; None to leave out."""
    image = read_image(path)
    if len(list(image.plane_indices())) != 1:
        return None
    whole = image.normalised()
    middle = tuple(slice(max(0, (side - WINDOW) // 2), (side + WINDOW) // 2) for side in whole.shape[:2])
    pixels = np.ascontiguousarray(whole[middle])
    first = predict_plane(detector, pixels, score=DOUBTFUL)
    if not (first.scores > SURE).any():
        return None
    turned = np.ascontiguousarray(pixels[::-1, ::-1])
    second = predict_plane(detector, turned, diameter=first.diameter / CLOSER, score=DOUBTFUL)
    second_labels = np.ascontiguousarray(second.labels[::-1, ::-1])
    labels, likely = agreed(first, second_labels)
    if not labels.any() or len(np.unique(labels)) - 1 < LEAST_SURE * likely:
        return None
    placed, doubt = np.zeros(whole.shape[:2], np.int32), np.ones(whole.shape[:2], bool)
    placed[middle] = labels
    doubt[middle] = ((first.labels > 0) | (second_labels > 0)) & (labels == 0)
    return placed, doubt


def agreed(first: Instances, second: np.ndarray) -> tuple[np.ndarray, int]:
    """The sure cells of `first` that `second` outlines alike, and how many cells `first` takes for likely."""
    count = len(first.scores)
    areas = np.bincount(first.labels.ravel(), minlength=count + 1)
    others = np.bincount(second.ravel())
    pairs, shared = np.unique(np.stack([first.labels.ravel(), second.ravel()]), axis=1, return_counts=True)
    iou = np.zeros(count + 1)
    for (own, other), pixels in zip(pairs.T, shared):
        if own and other:
            iou[own] = max(iou[own], pixels / (areas[own] + others[other] - pixels))
    sure = np.concatenate([[False], first.scores > SURE]) & (iou >= ALIKE)
    return np.where(sure[first.labels], first.labels, 0).astype(np.int32), int((first.scores > 0.5).sum())


def as_record(name: str, labels: np.ndarray, doubt: np.ndarray) -> dict:
    """A record of `CocoWriter`; where there is doubt, a crowd region."""
    (record,) = coco_records(collect(labels, name=name))
    record["image"]["file_name"] = name
    if doubt.any():
        _, (rle,) = encode_labels(doubt.astype(np.int32))
        left, top, width, height = (float(side) for side in coco_mask.toBbox(rle))
        record["annotations"].append(
            {
                "category_id": 1,
                "segmentation": rle,
                "bbox": [left, top, width, height],
                "area": int(doubt.sum()),
                "iscrowd": 1,
            }
        )
    return record


if __name__ == "__main__":
    main()
