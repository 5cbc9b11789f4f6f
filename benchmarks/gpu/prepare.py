"""Pack what the lent GPU machine needs: archives of at most 50 MB, one for each of the first calls.

    python benchmarks/gpu/prepare.py gpu_data [--sources runs/sources]

`1.tar.xz` holds BBBC038, `2.tar.xz` the labelled sets, `3.tar.xz` half of the unlabelled images, `4.tar.xz`
the others and the free photographs of COCO; `sources.tar.xz` what `bundled/prepare.py` and
`bundled/pseudo.py` made. Unpacked side by side they are a folder for `CUPRE_DATA`. Pixels are those of the
original files, but for TIFFs, which are written anew without compression, since imagecodecs is too large to
travel, and with 8 bits.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))
from split import data_folder

LEAST, MOST = 0.01, 99.99
"""Percentiles that 8 bits reach from and to."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--sources", type=Path, default=Path("runs/sources"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    root = data_folder()
    pack(options.out / "1.tar.xz", root, below(root / "bbbc038"))
    pack(options.out / "2.tar.xz", root, below(root / "labelled"))
    unlabelled = list(below(root / "unlabelled"))
    first = [path for path in unlabelled if path.parent.name.startswith(("mixed", "blood"))]
    others = [path for path in unlabelled if path not in first]
    pack(options.out / "3.tar.xz", root, first)
    pack(options.out / "4.tar.xz", root, [*others, *free_photographs(root, options.sources)])
    pack(options.out / "sources.tar.xz", options.sources, sorted(options.sources.glob("*.[jt][sx][ot]*")))


def below(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def free_photographs(root: Path, sources: Path) -> list[Path]:
    """The annotations of COCO, and the photographs that `bundled/prepare.py` chose for their licence."""
    images = json.loads((sources / "coco_free.json").read_text(encoding="utf-8"))["images"]
    names = sorted(Path(image["file_name"]).name for image in images)
    return [root / "coco_mini" / "instances.json", *(root / "coco_mini" / "images" / name for name in names)]


def pack(archive: Path, root: Path, paths: list[Path] | Iterator[Path]) -> None:
    """Write files, named from `root`, into one archive."""
    with tarfile.open(archive, "w:xz", preset=1) as out:
        for path in paths:
            content = plain_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")


def plain_tiff(path: Path) -> bytes:
    """The file, or where its pixels are compressed or deep, the same with 8 bits and without compression."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        if page.compression == 1 and page.dtype == np.uint8:
            return path.read_bytes()
        pixels = file.asarray()
    low, high = np.percentile(pixels, [LEAST, MOST])
    eight = ((pixels.astype(np.float32) - low) / max(high - low, 1e-6)).clip(0, 1) * 255
    stream = io.BytesIO()
    tifffile.imwrite(stream, eight.round().astype(np.uint8))
    return stream.getvalue()


if __name__ == "__main__":
    main()
