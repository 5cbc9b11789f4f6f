"""Inputs that people give by mistake: each is named in one sentence, and never an empty success."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

Command = Callable[..., Any]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    plane = np.random.default_rng(0).integers(0, 255, (64, 80), np.uint8)
    Image.fromarray(plane).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    labels = np.zeros((64, 80), np.int32)
    labels[10:20, 10:20], labels[30:40, 30:40] = 1, 2
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "a.tif", labels)
    return tmp_path / "labels"


def test_guessed_planes_are_told(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 255, (5, 64, 80), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", planes, metadata=None, photometric="minisblack")
    options = ("--out", tmp_path / "o", "--diameter", 24)
    ran = command("predict", tiny_model, tmp_path / "a.tif", *options)
    assert ran.code == 0
    assert "does not say what its planes are; they are read as 5 channels (CYX)" in ran.err
    assert "1 file." in ran.err
    ran = command("predict", tiny_model, tmp_path / "a.tif", *options, "--axes", "ZYX")
    assert "does not say" not in ran.err
    (tmp_path / "a.geojson").write_text(
        '{"type": "Polygon", "coordinates": [[[4, 4], [20, 4], [20, 20], [4, 20], [4, 4]]]}'
    )
    imported = ("import", tmp_path / "a.geojson", "--images", tmp_path / "a.tif", "--out")
    assert "they are read as 5 channels (CYX)" in command(*imported, tmp_path / "l").err
    assert "does not say" not in command(*imported, tmp_path / "m", "--axes", "ZYX").err


def test_an_image_of_one_value_is_told(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 50), 7, np.uint8)).save(tmp_path / "a.png")
    ran = command("predict", tiny_model, tmp_path / "a.png", "--out", tmp_path / "o", "--score", 1)
    assert ran.code == 0, ran.err
    assert "All pixels of a.png have the same value" in ran.err


def test_no_results_are_promised_where_there_are_none(
    command: Command, tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    ran = command("predict", tiny_model, tmp_path / "a.png", "--out", tmp_path / "o")
    assert ran.code == 2
    assert "results are in" not in ran.out
    assert "1 of 1 image failed" in ran.out


def test_a_read_only_folder_is_told_once(
    command: Command, tiny_model: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "o"
    out.mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != out and allowed(path, mode))
    ran = command("predict", tiny_model, picture, "--out", out)
    assert ran.code == 2
    assert f'"{out}" could not be written: access is denied' in ran.err
    assert os.strerror(errno.EACCES) not in ran.err


def test_scenes_are_named_with_their_file(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    plane = np.zeros((64, 80), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", plane)
    ran = command("predict", tiny_model, tmp_path / "a.tif", "--series", "7", "--out", tmp_path / "o")
    assert ran.code == 2
    assert "1 failed (a.tif 7)" in ran.err


def test_a_truth_compared_with_itself_is_told(command: Command, truth: Path) -> None:
    ran = command("evaluate", truth, truth)
    assert ran.code == 2
    assert "both the truth and the prediction" in ran.err


def test_evaluate_doubts_pictures_and_masks(
    command: Command, truth: Path, picture: Path, tmp_path: Path
) -> None:
    ran = command("evaluate", truth, picture)
    assert ran.code == 2
    assert "is a picture, not a label image" in ran.err
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(
        tmp_path / "masks" / "a.tif", (tifffile.imread(truth / "a.tif") > 0).astype(np.uint8) * 255
    )
    ran = command("evaluate", truth, tmp_path / "masks")
    assert ran.code == 0
    assert "shared by 2 parts that do not touch" in ran.err


def test_a_folder_is_not_called_an_image(
    command: Command, tiny_model: Path, picture: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "p.csv"
    prompts.write_text("x0,y0,x1,y1\n10,10,40,40\n")
    for image, given, out in (
        (tmp_path, prompts, tmp_path / "o.tif"),
        (picture, tmp_path, tmp_path / "o.tif"),
    ):
        ran = command("outline", tiny_model, image, given, "--out", out)
        assert ran.code == 2
        assert "is a folder" in ran.err
    ran = command("outline", tiny_model, picture, prompts, "--out", prompts)
    assert ran.code == 2
    assert "contains the prompts" in ran.err
    assert prompts.read_text().startswith("x0")


def test_suggest_says_why_nothing_can_be_read(command: Command, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    for name, more in (("suggest", ("--model", tiny_model)), ("diversity", ("--model", tiny_model))):
        ran = command(name, tmp_path / "a.png", *more)
        assert ran.code == 2
        assert "is empty (0 bytes)" in ran.err


def test_images_beside_labels_of_others_can_be_suggested(
    command: Command, tiny_model: Path, tmp_path: Path
) -> None:
    for stem in "abc":
        plane = np.random.default_rng(ord(stem)).integers(0, 255, (64, 80), np.uint8)
        Image.fromarray(plane).save(tmp_path / f"{stem}.png")
    Image.fromarray(np.eye(64, 80, dtype=np.uint8)).save(tmp_path / "a_mask.png")
    ran = command("suggest", tmp_path, "--labelled", tmp_path, "--model", tiny_model, "--json")
    assert ran.code == 0, ran.err
    assert {Path(each["image"]).name for each in ran.figures["suggestions"]} == {"b.png", "c.png"}
