"""Labelled sources of the shipped models as COCO JSON, and the images that no pretraining may see.

    python benchmarks/bundled/prepare.py runs/sources

writes `coco_free.json` (the photographs of `coco_mini` under the licences 4, 5 and 7: neither non-commercial
nor without derivatives), one JSON for the training part of each labelled set, `bbbc038.json` for that of
BBBC038, `bbbc038_but_dev.json` for the same without the images that choices are made on, and
`kept_back.txt`, the BBBC038 images of the test part. Whole photographs and fields of view go to one part.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from few_shot import parts
from split import EVALUATION_ONLY, LABELLED, bbbc038_split, data_folder, labelled_split

from napari_cupre.io.writers.coco_writer import CocoWriter, coco_records
from napari_cupre.io.writers.output_cells import collect

FREE_LICENCES = (4, 5, 7)
DEVELOPMENT = {"fluorescence": 24, "histology": 16}
"""Images of BBBC038 that stage 4 does not learn from, so that it can be judged on them."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    write_free_photographs(out / "coco_free.json")
    for name in LABELLED:
        if name not in EVALUATION_ONLY:
            write_set(out / f"{name}.json", data_folder() / "labelled" / name, labelled_split(name)[0])
    split = bbbc038_split(seed=0)
    shots = sorted(stem for part, stems in split.items() if part.startswith("shots") for stem in stems)
    write_set(out / "bbbc038.json", data_folder() / "bbbc038", shots)
    development = {stem for kind, count in DEVELOPMENT.items() for stem in parts(kind, "dev", count)[1]}
    write_set(
        out / "bbbc038_but_dev.json",
        data_folder() / "bbbc038",
        [stem for stem in shots if stem not in development],
    )
    kept = sorted(stem for part, stems in split.items() if part.startswith("test") for stem in stems)
    (out / "kept_back.txt").write_text("\n".join(kept + sorted(split["unused"])) + "\n", encoding="utf-8")


def write_free_photographs(path: Path) -> None:
    document = json.loads((data_folder() / "coco_mini" / "instances.json").read_text(encoding="utf-8"))
    document["images"] = [image for image in document["images"] if image["license"] in FREE_LICENCES]
    kept = {image["id"] for image in document["images"]}
    document["annotations"] = [entry for entry in document["annotations"] if entry["image_id"] in kept]
    path.write_text(json.dumps(document), encoding="utf-8")
    print(f"{path.name}: {len(kept)} images")


def write_set(path: Path, folder: Path, stems: list[str]) -> None:
    """The instances of some images of a folder with `images/` and `labels/`, all called "cell"."""
    files = {file.stem: file.name for file in (folder / "images").iterdir()}
    path.unlink(missing_ok=True)
    with CocoWriter(path) as writer:
        for stem in stems:
            labels = iio.imread(folder / "labels" / f"{stem}.png").astype(np.int32)
            (record,) = coco_records(collect(labels, name=stem))
            record["image"]["file_name"] = files[stem]
            writer.add_records([record])
    print(f"{path.name}: {len(stems)} images")


if __name__ == "__main__":
    main()
