"""Pack what a pretraining on the lent GPU machine needs into one ignored folder of at most 30 MB.

    python benchmarks/gpu/prepare.py [--out gpu_data] [--megabytes 30]

`unlabelled/` holds one crop of every unlabelled image (of BBBC038 without what `split.py` keeps back),
`coco/` the photographs of `coco_mini` with `instances.json`, all as JPEG. What does not fit is left out,
the same images each time.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from split import bbbc038_split, data_folder

from napari_cupre.errors import InputError
from napari_cupre.io.files import list_images
from napari_cupre.io.images import read_image

CROP = 384
UNLABELLED_QUALITY, COCO_QUALITY = 85, 75
COCO_SHARE = 0.4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu_data"))
    parser.add_argument("--megabytes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    rng = np.random.default_rng(options.seed)
    budget = int(options.megabytes * 1e6)
    photographs = pack_coco(options.out / "coco", rng, int(COCO_SHARE * budget))
    left = budget - size_of(options.out)
    images = pack_unlabelled(options.out / "unlabelled", rng, left)
    print(f"{options.out}: {photographs} photographs, {images} crops, {size_of(options.out) / 1e6:.1f} MB")


def pack_coco(out: Path, rng: np.random.Generator, budget: int) -> int:
    """Photographs in a lower quality; those that do not fit are counted as missing by the reader."""
    source = data_folder() / "coco_mini"
    (out / "images").mkdir(parents=True)
    shutil.copyfile(source / "instances.json", out / "instances.json")
    paths = sorted((source / "images").iterdir())
    kept = 0
    for number in rng.permutation(len(paths)):
        if size_of(out) > budget:
            break
        with Image.open(paths[number]) as image:
            image.convert("RGB").save(out / "images" / paths[number].name, "JPEG", quality=COCO_QUALITY)
        kept += 1
    return kept


def pack_unlabelled(out: Path, rng: np.random.Generator, budget: int) -> int:
    """A crop of each image, stretched to 8 bits."""
    out.mkdir(parents=True)
    split = bbbc038_split(seed=0)
    kept_back = {i for part, ids in split.items() if part.startswith("test") or part == "unused" for i in ids}
    paths = list_images([str(data_folder() / "bbbc038" / "images")])
    paths = [path for path in paths if path.stem not in kept_back]
    for folder in sorted((data_folder() / "unlabelled").iterdir()):
        if folder.is_dir():
            paths += [path for path in sorted(folder.rglob("*")) if path.is_file()]
    order = [paths[number] for number in rng.permutation(len(paths))]
    kept, bytes_written = 0, 0
    for path in order:
        if bytes_written > budget:
            break
        try:
            image = read_image(path)
        except InputError:
            continue
        plane = image.normalised(next(image.plane_indices()))
        top, left = (int(rng.integers(0, max(1, side - CROP + 1))) for side in plane.shape[:2])
        crop = np.clip(plane[top : top + CROP, left : left + CROP], 0, 1)
        eight = (255 * crop).round().astype(np.uint8)
        grey = (eight == eight[..., :1]).all()
        target = out / f"{kept:05d}.jpg"
        Image.fromarray(eight[..., 0] if grey else eight).save(target, quality=UNLABELLED_QUALITY)
        bytes_written += target.stat().st_size
        kept += 1
    return kept


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
