from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from pictures import write_pictures

Command = Callable[..., Any]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = write_pictures(tmp_path / "images", {stem: rng.integers(0, 255, (64, 80)) for stem in "ab"})
    (folder / "Thumbs.db").write_bytes(b"junk")
    (folder / "._a.png").write_bytes(b"junk")
    return folder


@pytest.fixture
def predict(command: Command, tiny_model: Path, images: Path, tmp_path: Path) -> Command:
    """Predicts the images into `results`; `--score 0` finds things even with random weights."""

    def run(*more: object, given: object = None) -> Any:
        options = ["--out", tmp_path / "results", "--diameter", 24, "--score", 0, "--json"]
        return command("predict", tiny_model, given or images, *options, *more)

    return run


def test_results_keep_the_stem_and_are_skipped_the_second_time(predict: Command, tmp_path: Path) -> None:
    ran = predict("--format", "tif,roi,coco,geojson,csv")
    assert ran.code == 0, ran.err
    assert ran.figures["done"] == 2
    endings = [".tif", "_rois.zip", ".geojson", ".csv"]
    written = {path.name for path in (tmp_path / "results").iterdir() if not path.name.startswith(".")}
    assert written == {f"{stem}{ending}" for stem in "ab" for ending in endings} | {"predictions.json"}
    labels = tifffile.imread(tmp_path / "results" / "a.tif")
    assert labels.dtype == np.int32
    assert labels.shape == (64, 80)
    again = predict("--format", "tif,roi,coco,geojson,csv")
    assert (again.code, again.figures["skipped"], again.figures["done"]) == (0, 2, 0)


def test_looking_twice_is_another_prediction(predict: Command, tmp_path: Path) -> None:
    assert predict().code == 0
    once = tifffile.imread(tmp_path / "results" / "a.tif")
    ran = predict("--augment")
    assert (ran.code, ran.figures["done"]) == (0, 2), ran.err
    assert (tifffile.imread(tmp_path / "results" / "a.tif") != once).any()
    assert predict("--augment").figures["skipped"] == 2


def test_labels_made_by_hand_are_replaced_only_if_asked(predict: Command, tmp_path: Path) -> None:
    labels = tmp_path / "results" / "a.tif"
    labels.parent.mkdir()
    tifffile.imwrite(labels, np.full((64, 80), 7, np.int32))
    refused = predict()
    assert refused.code == 2
    assert "a.tif" in refused.err
    assert "--overwrite" in refused.err
    assert (tifffile.imread(labels) == 7).all()
    assert predict("--overwrite").code == 0
    assert not (tifffile.imread(labels) == 7).all()


def test_a_truncated_file_is_named_and_the_rest_goes_on(
    predict: Command, images: Path, tmp_path: Path
) -> None:
    (images / "a.png").write_bytes((images / "a.png").read_bytes()[:60])
    ran = predict()
    assert ran.code == 2
    assert "a.png" in ran.err
    assert "a.png" in ran.out
    assert "Traceback" not in ran.err
    assert [path for path, _ in ran.figures["failed"]] == [str(images / "a.png")]
    assert (tmp_path / "results" / "b.tif").is_file()


def test_an_image_of_nan_is_a_failure_with_a_reason(predict: Command, images: Path) -> None:
    tifffile.imwrite(images / "c.tif", np.full((32, 32), np.nan, np.float32))
    ran = predict()
    assert ran.code == 2
    assert ran.figures["done"] == 2
    assert "c.tif" in ran.out
    assert "NaN" in ran.out


def test_axes_and_stacks(predict: Command, images: Path, tmp_path: Path) -> None:
    stack = np.random.default_rng(1).integers(0, 999, (5, 40, 40), np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", stack)
    assert predict("--axes", "ZYX", given=tmp_path / "stack.tif").code == 0
    assert tifffile.imread(tmp_path / "results" / "stack.tif").shape == (5, 40, 40)
    assert predict("--axes", "CYX", "--channels", "0,2", given=tmp_path / "stack.tif").code == 0
    assert tifffile.imread(tmp_path / "results" / "stack.tif").shape == (40, 40)
    ran = predict("--axes", "QQ")
    assert ran.code == 2
    assert ran.err.count("cannot be used") == 1, "not once for each file"


def test_ctrl_c_keeps_what_is_done(predict: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_cupre.prediction import runners

    real = runners.iter_file

    def interrupted(job: Any, path: str) -> Any:
        if path.endswith("b.png"):
            raise KeyboardInterrupt
        return (yield from real(job, path))

    monkeypatch.setattr(runners, "iter_file", interrupted)
    ran = predict()
    assert ran.code == 130
    assert "repeat the command to continue" in ran.err
    assert "Those in work are done again" in ran.err
    files = {path.name for path in (tmp_path / "results").iterdir() if not path.name.startswith(".")}
    assert files == {"a.tif"}, "nothing is half written"
    monkeypatch.undo()
    assert (predict().figures["skipped"], predict().figures["skipped"]) == (1, 2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--format", "bmp"], "bmp"),
        (["--score", "2"], "between 0 and 1"),
        (["--channels", "red"], "list of channels"),
        (["--workers", "2", "--scheduler", "tcp://x:1"], "not allowed"),
        (["--device", "mps"], "mps"),
    ],
)
def test_unusable_options(predict: Command, more: list[str], words: str) -> None:
    ran = predict(*more)
    assert ran.code == 2
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_an_empty_folder_and_a_missing_model(predict: Command, command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no image" in predict(given=tmp_path / "empty").err
    ran = command("predict", "gone", tmp_path, "--out", tmp_path / "results")
    assert ran.code == 2
    assert "no image" in ran.err


def test_another_working_directory_does_not_matter(
    command: Command, images: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(tiny_model.read_bytes())
    ran = command("predict", "m.safetensors", "images/*.png", "--out", "here", "--diameter", 24)
    assert ran.code == 0, ran.err
    assert (tmp_path / "here" / "b.tif").is_file()


def test_results_beside_the_images_are_no_images(predict: Command, images: Path) -> None:
    for _ in range(2):  # the second time they are there
        ran = predict("--out", images)
        assert ran.code == 0, ran.err
    assert (ran.figures["done"], ran.figures["skipped"]) == (0, 2)
    assert "2 files are results of napari-cupre and left out, such as a.tif" in ran.err
    assert predict("--out", images / "o", given=images / "a.tif").code == 0
    tifffile.imwrite(images / "a.tif", np.ones((64, 80), np.int32))  # corrected, yet the result of a.png
    assert predict("--out", images).figures["skipped"] == 2
    for picture in images.glob("*.png"):
        picture.unlink()
    (images / "a.tif").unlink()
    ran = predict("--out", images / "o")
    assert ran.code == 2
    assert "1 file is a result" in ran.err


def test_a_model_is_given_the_channels_it_learned_from(
    command: Command, tiny_model: Path, tmp_path: Path
) -> None:
    from napari_cupre.model.checkpoint import read_model, save_model

    model = read_model(tiny_model, "cpu").copy(training={"channels": [2], "channel_names": ["DAPI"]})
    file = save_model(model, tmp_path / "dapi.safetensors")
    pixels = np.random.default_rng(0).integers(0, 200, (4, 40, 50)).astype(np.uint16)
    stains = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD3", "CD8", "CK"]}}
    tifffile.imwrite(tmp_path / "named.ome.tif", pixels, ome=True, metadata=stains)
    tifffile.imwrite(tmp_path / "two.tif", pixels[:2], metadata={"axes": "CYX"}, ome=True)
    ran = command("predict", file, tmp_path / "named.ome.tif", tmp_path / "two.tif", "--out", tmp_path / "o")
    assert '"dapi" learned from channel 2 (DAPI): channel 0 (DAPI) is used; --channels' in ran.err + ran.out
    assert "has only 2 channels: channels 0, 1 are used" in ran.err + ran.out
    ran = command("predict", file, tmp_path / "named.ome.tif", "--channels", "1", "--out", tmp_path / "other")
    assert "learned from" not in ran.err + ran.out
