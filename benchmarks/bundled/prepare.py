"""Labelled sources of the shipped models as COCO JSON, and the images that no pretraining may see.

    python benchmarks/bundled/prepare.py runs/sources

writes `coco_free.json` (the photographs of `coco_mini` under the licences 4, 5 and 7: neither non-commercial nor
without derivatives), one JSON for the training part of each labelled set, `bbbc038.json` for that of BBBC038, and
`kept_back.txt`, the BBBC038 images of the test part. Whole photographs and fields of view go to one part.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import imageio.v3 as iio
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from split import bbbc038_split, data_folder  # noqa: E402

from napari_cupre.export.cells import collect  # noqa: E402
from napari_cupre.export.coco import CocoWriter, coco_records  # noqa: E402

FREE_LICENCES = (4, 5, 7)

#: How many images of each labelled set are only tested on, and what names the photograph that one was cut from.
LABELLED = {
    "em_neurites": (3, r".*"),
    "fly_embryos": (8, r"_(\w+)-\d+_t"),
    "mushrooms": (8, r"IMG_.*-(\d\d_\d\d)_\d\d$"),
    "ore_and_pellets": (8, r"_(\d{4})_"),
    "phase_contrast_t98g": (5, r".*"),
    "sem_powder": (4, r"(Sc\dTile_\d+-\d+)"),
    "sem_spheroidite": (4, r".*"),
    "tem_nanoparticles": (8, r".*"),
}

#: Never in the training of weights that ship.
EVALUATION_ONLY = ("em_neurites",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    kept = sorted(stem for part, stems in split.items() if part.startswith("test") for stem in stems)
    (out / "kept_back.txt").write_text("\n".join(kept + split["unused"]) + "\n", encoding="utf-8")


def labelled_split(name: str, seed: int = 0) -> tuple[list[str], list[str]]:
    """Stems to train on, and stems to test on, of a labelled set."""
    count, pattern = LABELLED[name]
    groups: dict[str, list[str]] = defaultdict(list)
    for path in sorted((data_folder() / "labelled" / name / "images").iterdir()):
        found = re.search(pattern, path.stem)
        groups[found[found.lastindex or 0] if found else path.stem].append(path.stem)
    keys = sorted(groups)
    test: list[str] = []
    for number in np.random.default_rng(seed).permutation(len(keys)):
        if len(test) + len(groups[keys[number]]) <= count:
            test += groups[keys[number]]
    every = [stem for key in keys for stem in groups[key]]
    return sorted(set(every) - set(test)), sorted(test)


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
