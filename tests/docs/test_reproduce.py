"""Every command of docs/reproduce.md, run on a miniature of LIVECell's and COCO's folders."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from pycocotools import mask as coco_mask

from napari_cupre.cli.configs import read_config, shipped_configs
from napari_cupre.cli.main import build_parser, main
from napari_cupre.cli.pretrain import main as pretrain
from napari_cupre.cli.pretrain import pretrain_parser
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.io.writers.outlines import trace
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.synthetic import SyntheticFields

PAGE = Path(__file__).parents[2] / "docs" / "reproduce.md"
TEXT = PAGE.read_text(encoding="utf-8")
SPLITS = ("0_train2percent", "1_train4percent", "2_train5percent", "3_train25percent", "4_train50percent")
CELL_TYPES = ("A172", "BV2")
# What makes a run of the page's settings one of seconds; the page's own options stay in front of these.
TINY_PRETRAINING = """
    --set preset=tiny --set batch=2 --set crop=64 --set source_groups=2
    --set contrastive_batch=4 --set view=32 --set context=40 --set bn_splits=2 --set dim=16
    --set cosine_every=0 --set validate_every=0
    --iterations 1 --devices 1 --workers 0 --device cpu --precision 32-true
"""
TINY_FINETUNING = "--steps 1 --set batch=2 --set crop=64 --device cpu"


def page_commands() -> list[str]:
    """Every command line of the page, as it stands there."""
    blocks = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("napari-cupre")]


def words_of(command: str) -> list[str]:
    """The words of a command with the environment's variables in them."""
    return [os.path.expandvars(word) for word in shlex.split(command)]


def document(stems: list[str], labels: list[np.ndarray], suffix: str, by_id: bool) -> dict[str, Any]:
    """Polygons in COCO's format; `by_id` gives LIVECell's annotations, an object instead of a list."""
    images, annotations = [], []
    for number, (stem, field) in enumerate(zip(stems, labels), start=1):
        height, width = field.shape
        images.append({"id": number, "file_name": stem + suffix, "height": height, "width": width})
        for parts in trace(field).values():
            polygon = parts[0].exterior.astype(float).ravel().tolist()
            (rle,) = coco_mask.frPyObjects([polygon], height, width)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "segmentation": [polygon],
                    "area": float(coco_mask.area(rle)),
                    "bbox": coco_mask.toBbox(rle).tolist(),
                }
            )
    entries = {str(entry["id"]): entry for entry in annotations} if by_id else annotations
    return {"images": images, "annotations": entries, "categories": [{"id": 1, "name": "cell"}]}


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_livecell(root: Path) -> None:
    """LIVECell's layout: a folder per cell type, annotations by id in the training files."""
    fields = SyntheticFields(size=96, seed=3, diameter=(12.0, 20.0))
    labels = {}
    for part, numbers in (("train_val", range(12)), ("test", range(12, 14))):
        for number in numbers:
            cell_type = CELL_TYPES[number % 2]
            stem = f"{cell_type}_Phase_{number}"
            folder = root / "images" / f"livecell_{part}_images" / cell_type
            folder.mkdir(parents=True, exist_ok=True)
            image = (np.clip(fields[number].image[..., 0], 0, 1) * 255).astype(np.uint8)
            tifffile.imwrite(folder / f"{stem}.tif", image)
            labels[stem] = fields[number].labels
    stems = list(labels)
    annotations = root / "annotations"
    for file, chosen in {
        **{f"LIVECell_dataset_size_split/{split}": stems[:2] for split in SPLITS},
        "LIVECell/livecell_coco_train": stems[:12],
        "LIVECell/livecell_coco_test": stems[12:],
        "LIVECell_single_cells/a172/test": [stem for stem in stems[12:] if stem.startswith("A172")],
    }.items():
        content = document(chosen, [labels[stem] for stem in chosen], ".tif", by_id="test" not in file)
        write_json(annotations / f"{file}.json", content)


def write_coco(root: Path) -> None:
    fields = SyntheticFields(size=96, seed=5, diameter=(12.0, 20.0))
    folder = root / "train2017"
    folder.mkdir(parents=True)
    for number in range(3):
        image = (np.clip(fields[number].image, 0, 1) * 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number:012}.jpg")
    names = [f"{number:012}" for number in range(3)]
    content = document(names, [fields[number].labels for number in range(3)], ".jpg", by_id=False)
    write_json(root / "annotations" / "instances_train2017.json", content)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with both data sets, as the page's variables say."""
    root = tmp_path_factory.mktemp("protocol")
    write_livecell(root / "LIVECell_dataset_2021")
    write_coco(root / "coco")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIVECELL", str(root / "LIVECell_dataset_2021"))
        patch.setenv("COCO", str(root / "coco"))
        patch.setenv("ROW", "cupre")
        patch.setenv("START", "runs/cupre/model.safetensors")
        patch.chdir(root)
        yield root


def run_in_miniature(command: str) -> int:
    """Run a line of the page in this process, made small."""
    program, *words = words_of(command)
    if program == "napari-cupre-pretrain":
        start = words[words.index("--init") + 1] if "--init" in words else "imagenet"
        fetched = ["--init", "scratch"] if start in ("imagenet", "coco") else []
        preset = ["--preset", "tiny"] if "--preset" in words else []
        return pretrain([*words, *shlex.split(TINY_PRETRAINING), *fetched, *preset])
    if words[0] == "finetune":
        return main([*words, *shlex.split(TINY_FINETUNING)])
    return main(words)


@pytest.mark.slow
def test_every_command_runs_on_the_miniature(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = page_commands()
    assert len(commands) == 15
    for command in commands:
        capsys.readouterr()
        code = run_in_miniature(command)
        out, err = capsys.readouterr()
        assert code == 0, f"{command}\n{err}"
        if " evaluate " in command:
            figures = json.loads(out.splitlines()[-1])
            assert figures["boxes"]["max_detections"] == [100, 500, 2000]
            assert figures["boxes"]["areas"] == [18**2, 31**2]
            assert figures["boxes"]["ap"] is not None
            assert not figures["left_out"]
    runs = {path.parent.name for path in Path("runs").glob("*/model.safetensors")}
    assert runs == {"start", "cupre", "moco", "coco", "cupre50", "cupre-100"}
    models = {path.stem for path in Path("models").glob("*.safetensors")}
    assert models == {f"cupre-{share}" for share in (2, 4, 5, 25, 50, 100)}


def test_the_table_is_made_of_those_commands(world: Path, tmp_path: Path) -> None:
    """The loop runs in a real shell, with a program in place of ours that writes down how it was called."""
    (script,) = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    log = tmp_path / "calls"
    recorder = tmp_path / "napari-cupre"
    recorder.write_text(
        f'#!/bin/sh\n{{ for word; do printf "%s\\t" "$word"; done; echo; }} >> {shlex.quote(str(log))}\n'
    )
    recorder.chmod(0o755)
    for row in ("cupre", "moco", "coco", "start", "scratch"):
        for share in (2, 4, 5, 25, 50):
            (world / "results" / f"{row}-{share}").mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-euc", script], cwd=world, env=environment, check=True)
    calls = [line.rstrip("\t").split("\t") for line in log.read_text().splitlines()]
    assert len(calls) == 5 * 5 * 3
    for words in calls:
        args = build_parser().parse_args(words)
        if args.command == "finetune":
            assert Path(args.labels).is_file()
            assert Path(args.images).is_dir()
            assert args.model == "scratch:paper" or args.model.startswith("runs/")
    alike = {" ".join(word for word in words_of(line)[1:] if "cupre" not in word) for line in page_commands()}
    ours = [w for w in calls if w[0] == "predict" and w[1] == "models/cupre-5.safetensors"]
    assert " ".join(word for word in ours[0] if "cupre" not in word) in alike


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_the_settings_files_are_sound(name: str) -> None:
    values = read_config(name)
    if name == "paper-finetune":
        FinetuneSettings(**values)
        return
    data = {"source": [{"json": "a.json", "images": "a"}], "unlabelled": ["b"]}
    settings = PretrainSettings.from_dict({**data, **values})
    settings.check()
    assert settings.preset == "paper"
    assert settings.devices == 8


def test_the_page_names_the_settings_files() -> None:
    for name in shipped_configs():
        assert f"--config {name}" in TEXT
    for options in (pretrain_parser().format_help(), _help("finetune")):
        assert "paper-" in options


def _help(command: str) -> str:
    subparsers = next(a for a in build_parser()._actions if hasattr(a, "choices") and a.choices)
    assert isinstance(subparsers.choices, dict)
    return subparsers.choices[command].format_help()
