from __future__ import annotations

import errno
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_cupre.data.rle import encode_labels
from napari_cupre.io.shot_store import load_shots
from napari_cupre.model.checkpoint import read_info

Command = Callable[..., Any]


def disks(seed: int, count: int = 8, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A picture of bright disks on dark ground, and their labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.uint16)
    for i in range(count):
        centre = 12 + 24 * (i % 4), 16 + 32 * (i // 4)
        labels[(y - centre[1]) ** 2 + (x - centre[0]) ** 2 < 64] = i + 1
    image = np.where(labels > 0, 180, 20) + rng.normal(0, 8, labels.shape)
    return np.clip(image, 0, 255).astype(np.uint8), labels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for seed, stem in enumerate("abc"):
        image, marked = disks(seed)
        Image.fromarray(image).save(images / f"{stem}.png")
        tifffile.imwrite(labels / f"{stem}_mask.tif", marked)
    (images / "Thumbs.db").write_bytes(b"junk")
    return images, labels


@pytest.fixture
def finetune(command: Command, folders: tuple[Path, Path], tiny_model: Path, tmp_path: Path) -> Command:
    """Trains for two steps unless told otherwise."""

    def run(*more: object, images: object = None, labels: object = None) -> Any:
        first, second = images or folders[0], labels or folders[1]
        options = ["--model", tiny_model, "--out", tmp_path / "new.safetensors", "--steps", 2, "--json"]
        return command("finetune", first, second, *options, *more)

    return run


def shots_of(folder: Path) -> list[Any]:
    return load_shots(folder / "new.run" / "shots")


def test_a_model_comes_out(finetune: Command, tmp_path: Path) -> None:
    ran = finetune()
    assert ran.code == 0, ran.err
    assert ran.figures["steps"] == 2
    assert not ran.figures["left_out"]
    info = read_info(tmp_path / "new.safetensors")
    assert info.diameter == pytest.approx(16, abs=1)
    assert info.training["parent"] == "scratch"
    assert all(shot.known.all() for shot in shots_of(tmp_path))


def test_nothing_trained_is_overwritten_and_resume_goes_on(finetune: Command, tmp_path: Path) -> None:
    assert finetune().code == 0
    again = finetune()
    assert again.code == 2
    assert "new.safetensors already exists" in again.err
    resumed = finetune("--resume")
    assert resumed.code == 0, resumed.err
    assert resumed.figures["steps"] == 4


def test_resume_needs_neither_the_model_nor_the_settings_again(
    command: Command, finetune: Command, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    assert finetune("--diameter", 20, "--seed", 3, "--set", "crop=64").code == 0
    out = tmp_path / "new.safetensors"
    resumed = command("finetune", *folders, "--out", out, "--resume", "--steps", 3, "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.figures["steps"] == 3
    info = read_info(out)
    assert (info.training["seed"], info.diameter) == (3, 20)
    _, marked = disks(0)
    tifffile.imwrite(folders[1] / "a_mask.tif", np.where(marked == 1, 0, marked))
    changed = command("finetune", *folders, "--out", out, "--resume", "--steps", 4)
    assert "The annotation has changed since this training started" in changed.err
    one_sentence(command("finetune", *folders, "--out", out, "--resume", "--diameter", 30), "diameter 20")


def test_partial_and_regions(finetune: Command, tmp_path: Path) -> None:
    regions = tmp_path / "regions.json"
    regions.write_text(json.dumps({"b": [[[0, 0], [0, 50], [50, 50], [50, 0]]]}))
    assert finetune("--regions", regions).code == 0
    by_name = {shot.name[0]: shot.known for shot in shots_of(tmp_path)}
    assert by_name["b"][:50, :50].all()
    assert not by_name["b"].all()
    assert not by_name["a"][:50, :50].all()


def test_limit_is_drawn_by_seed(finetune: Command, tmp_path: Path) -> None:
    assert finetune("--limit", 1, "--partial", "--seed", 3).code == 0
    (shot,) = shots_of(tmp_path)
    assert not shot.known.all()


def test_coco_labels(finetune: Command, tmp_path: Path) -> None:
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for number, stem in enumerate("ab", start=1):
        labels = disks(0)[1]
        document["images"].append({"id": number, "file_name": f"{stem}.png", "height": 96, "width": 96})
        for rle in encode_labels(labels)[1]:
            entry = {"id": len(document["annotations"]), "image_id": number, "category_id": 1, "iscrowd": 0}
            document["annotations"].append(entry | {"segmentation": rle})
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(document))
    ran = finetune(labels=file)
    assert ran.code == 0, ran.err
    assert [len(np.unique(shot.labels)) for shot in shots_of(tmp_path)] == [9, 9]


def test_coco_images_in_subfolders(finetune: Command, folders: tuple[Path, Path], tmp_path: Path) -> None:
    """As LIVECell has them: the JSON names the file alone."""
    deep = tmp_path / "deep" / "A172"
    deep.mkdir(parents=True)
    (folders[0] / "a.png").rename(deep / "a.png")
    file = tmp_path / "truth.json"
    images = [
        {"id": 1, "file_name": "a.png", "height": 96, "width": 96},
        {"id": 2, "file_name": "gone.png", "height": 96, "width": 96},
    ]
    annotations = {
        str(number): {"id": number, "image_id": image, "category_id": 1, "segmentation": rle}
        for image in (1, 2)
        for number, rle in enumerate(encode_labels(disks(0)[1])[1], start=100 * image)
    }
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))
    ran = finetune(images=tmp_path / "deep", labels=file)
    assert ran.code == 2, ran.err  # some of the annotation is not used
    assert [shot.name for shot in shots_of(tmp_path)] == ["a.png"]
    assert "1 of the 2 images" in ran.err
    assert "gone.png" in ran.err


def test_settings_from_a_file_and_by_name(finetune: Command, tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text("batch: 3\ncrop: 96\nrehearse: 0\ndiameter: 20")
    assert finetune("--config", config, "--set", "crop=64", "--diameter", 18).code == 0
    kept = json.loads((tmp_path / "new.run" / "settings.json").read_text())
    assert (kept["batch"], kept["crop"], kept["rehearse"], kept["diameter"]) == (3, 64, 0, 18)
    assert kept["minutes"] is None
    assert kept["steps"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "btach=3"), ("btach", "batch")),
        (("--set", "batch=many"), ("batch", "'many'", "a whole number")),
        (("--set", "batch"), ("NAME=VALUE",)),
        (("--config", "papre"), ("papre", "paper-finetune")),
    ],
)
def test_settings_that_are_none(finetune: Command, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    one_sentence(finetune(*options), *words)


def test_random_weights_of_a_preset(command: Command, folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    ran = command("finetune", *folders, "--model", "scratch:tiny", "--out", out, "--steps", 1)
    assert ran.code == 0, ran.err
    assert read_info(out).config.preset == "tiny"
    one_sentence(command("finetune", *folders, "--model", "scratch:huge", "--out", out, "--resume"), "huge")


def test_ctrl_c_saves_and_stops(finetune: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_cupre.finetuning.finetune_run import FinetuneRun

    step = FinetuneRun._one_step

    def press(self: FinetuneRun) -> Any:
        yield from step(self)
        if self.step == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(FinetuneRun, "_one_step", press)
    ran = finetune("--steps", 500)
    assert ran.code == 130
    assert ran.figures["stopped"]
    assert ran.figures["steps"] == 3
    assert (tmp_path / "new.safetensors").is_file()


# --- what bad input gets ---------------------------------------------------------------------------


def one_sentence(ran: Any, *words: str) -> None:
    assert ran.code == 2, ran.err
    assert "Traceback" not in ran.err
    last = ran.err.splitlines()[-1]
    for word in words:
        assert word in last


def test_size_mismatch_names_both(finetune: Command, folders: tuple[Path, Path]) -> None:
    tifffile.imwrite(folders[1] / "b_mask.tif", disks(0)[1][:80])
    one_sentence(finetune(), "(96, 96)", "(80, 96)", "b.png")


def test_no_annotated_cell(finetune: Command, folders: tuple[Path, Path], tmp_path: Path) -> None:
    for path in folders[1].iterdir():
        tifffile.imwrite(path, np.zeros((96, 96), np.uint16))
    one_sentence(finetune(), "No cell is annotated")
    assert not (tmp_path / "new.safetensors").exists()


def test_empty_folder(finetune: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    one_sentence(finetune(images=tmp_path / "empty"), "empty", "no image")


def test_a_truncated_file_is_named_and_the_rest_goes_on(
    finetune: Command, folders: tuple[Path, Path]
) -> None:
    path = folders[0] / "b.png"
    path.write_bytes(path.read_bytes()[:200])
    ran = finetune()
    assert ran.code == 2
    assert "b.png" in ran.err
    assert ran.figures["left_out"] == [str(path)]
    assert ran.figures["training"]["images"] == 2


def test_all_truncated(finetune: Command, folders: tuple[Path, Path]) -> None:
    for path in folders[0].glob("*.png"):
        path.write_bytes(path.read_bytes()[:100])
    one_sentence(finetune(), "none of the 3")


def test_an_image_of_nan(finetune: Command, folders: tuple[Path, Path]) -> None:
    (folders[0] / "b.png").unlink()
    tifffile.imwrite(folders[0] / "b.tif", np.full((96, 96), np.nan, np.float32))
    ran = finetune()
    assert ran.code == 2
    assert "left out" in ran.err
    assert "b.tif" in ran.err
    assert ran.figures["training"]["images"] == 2
    for stem in "ac":
        (folders[0] / f"{stem}.png").unlink()
    one_sentence(finetune("--out", folders[0] / "new.safetensors"), "b.tif", "NaN")


def test_a_region_without_image(finetune: Command, tmp_path: Path) -> None:
    regions = tmp_path / "regions.json"
    regions.write_text(json.dumps({"z": [[[0, 0], [0, 9], [9, 9]]]}))
    one_sentence(finetune("--regions", regions), "'z'", "no such image")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x10\x00\x00\x00\x00\x00\x00\x00{broken"])
def test_a_corrupt_model(
    command: Command, folders: tuple[Path, Path], tmp_path: Path, content: bytes
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(content)
    out = tmp_path / "x.safetensors"
    one_sentence(command("finetune", *folders, "--model", broken, "--out", out, "--steps", 1), str(broken))


def test_another_format_version(
    command: Command, folders: tuple[Path, Path], tmp_path: Path, tiny_model: Path
) -> None:
    newer = tmp_path / "newer.safetensors"
    content = tiny_model.read_bytes()
    assert b'\\"format_version\\": 1' in content
    newer.write_bytes(content.replace(b'\\"format_version\\": 1', b'\\"format_version\\": 9'))
    out = tmp_path / "x.safetensors"
    ran = command("finetune", *folders, "--model", newer, "--out", out, "--steps", 1)
    one_sentence(ran, "version 9", "update")


def test_a_full_disk(finetune: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    one_sentence(finetune(), "space")


def test_the_start_is_never_overwritten(
    command: Command, folders: tuple[Path, Path], tiny_model: Path
) -> None:
    before = tiny_model.read_bytes()
    ran = command("finetune", *folders, "--model", tiny_model, "--out", tiny_model, "--steps", 1)
    assert ran.code == 2
    assert tiny_model.read_bytes() == before
    assert command("finetune", *folders, "--model", tiny_model, "--out", tiny_model, "--resume").code == 2
    assert tiny_model.read_bytes() == before


def test_resume_of_nothing(finetune: Command) -> None:
    one_sentence(finetune("--resume"), "new.run", "start a new one")


def test_images_without_annotation_take_part(finetune: Command, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    for name, seed in (("a.png", 0), ("x.png", 7), ("y.png", 8)):
        Image.fromarray(disks(seed)[0]).save(folder / name)
    (folder / "z.png").write_bytes(b"no picture")
    ran = finetune("--unlabelled", folder)
    assert ran.code == 2  # one was left out
    assert "z.png" in ran.err
    shots = shots_of(tmp_path)
    assert [shot.is_unlabelled for shot in shots] == [False] * 3 + [True] * 2
    assert "beside 2 images without annotation" in ran.err + ran.out
    resumed = finetune("--resume", "--unlabelled", folder, "--steps", 4)
    assert "no longer given" not in resumed.err + resumed.out
    assert len(shots_of(tmp_path)) == 5


def test_a_folder_without_other_images_is_refused(
    finetune: Command, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    ran = finetune("--unlabelled", folders[0])
    assert ran.code == 2
    assert "given as not annotated" in ran.err
    assert not (tmp_path / "new.safetensors").exists()


def test_an_interruption_before_the_first_step_leaves_nothing_behind(
    finetune: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cupre.finetuning.finetune_run import FinetuneRun

    begin = FinetuneRun.events

    def interrupted(run: FinetuneRun) -> Any:
        signal.raise_signal(signal.SIGINT)
        return begin(run)

    monkeypatch.setattr(FinetuneRun, "events", interrupted)
    ran = finetune()
    assert ran.code == 130
    assert "Stopped before the first step" in ran.err
    assert not list(tmp_path.glob("new.*"))


@pytest.fixture
def stained(folders: tuple[Path, Path], tmp_path: Path) -> Path:
    """The disks in the last of four channels, the others dark."""
    folder = tmp_path / "stained"
    folder.mkdir()
    for seed, stem in enumerate("abc"):
        pixels = np.stack([np.zeros((96, 96), np.uint8)] * 3 + [disks(seed)[0]])
        names = {"axes": "CYX", "Channel": {"Name": ["CD3", "CD8", "CK", "DAPI"]}}
        tifffile.imwrite(folder / f"{stem}.ome.tif", pixels, ome=True, metadata=names)
    return folder


def test_channels_are_chosen_and_the_next_training_takes_them_from_the_model(
    command: Command, finetune: Command, folders: tuple[Path, Path], stained: Path, tmp_path: Path
) -> None:
    assert finetune("--channels", "3", images=stained).code == 0
    model = tmp_path / "new.safetensors"
    seen = {"channels": [3], "channel_names": ["DAPI"]}
    assert read_info(model).training.items() >= seen.items()
    again = command(
        *("finetune", stained, folders[1], "--model", model, "--steps", 2),
        *("--out", tmp_path / "second.safetensors"),
    )
    assert again.code == 0
    said = '"new" learned from channel 3 (DAPI): channel 3 (DAPI) is used; --channels names others.'
    assert again.err.count(said) == 1, "once for all images"
    assert read_info(tmp_path / "second.safetensors").training.items() >= seen.items()
    for one, other in zip(shots_of(tmp_path), load_shots(tmp_path / "second.run" / "shots")):
        np.testing.assert_array_equal(one.image, other.image)


def test_a_channel_that_is_not_there_is_named(finetune: Command, stained: Path) -> None:
    ran = finetune("--channels", "7", images=stained)
    assert ran.code == 2
    assert "has no channel 7: choose from 0 to 3" in ran.err


def test_a_resumed_training_takes_the_channels_of_its_start(
    command: Command, finetune: Command, folders: tuple[Path, Path], stained: Path, tmp_path: Path
) -> None:
    assert finetune("--channels", "3", images=stained).code == 0
    given = *("finetune", stained, folders[1], "--out", tmp_path / "second.safetensors"), "--steps"
    assert command(*given, 2, "--model", tmp_path / "new.safetensors").code == 0
    (tmp_path / "second.safetensors").unlink()
    ran = command(*given, 2, "--resume")
    assert ran.code == 0
    assert "annotation" not in ran.err, "it is the same"
