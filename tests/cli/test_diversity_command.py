from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import write_pictures
from PIL import Image

Command = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three copies of one picture, and two others."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    first = rng.integers(0, 255, (64, 64))
    pictures = {"a": first, "b": first, "c": first, "d": x * 3, "e": (y // 8 % 2) * 200}
    return write_pictures(tmp_path / "plates", pictures)


def test_copies_are_found(command: Command, folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ran = command("diversity", folder, "--model", tiny_model, "--out", page, "--json")
    assert ran.code == 0, ran.err
    assert ran.figures["images"] == 5
    assert ran.figures["near_duplicates"] == 2
    assert 1 < ran.figures["looks"] < 4
    assert page.read_text().startswith("<!doctype html>")


def test_what_new_images_would_add(command: Command, folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "again.png").write_bytes((folder / "a.png").read_bytes())
    y, x = np.mgrid[:64, :64]
    Image.fromarray(((x - 32) ** 2 + (y - 32) ** 2 < 200).astype(np.uint8) * 255).save(new / "disk.png")
    ran = command("diversity", folder, "--new", new, "--model", tiny_model, "--json")
    assert ran.code == 0, ran.err
    assert ran.figures["images"] == 5
    assert ran.figures["new"]["images"] == 2
    assert ran.figures["new"]["looks_after"] > ran.figures["new"]["looks_before"]


def test_subfolders_copies_by_name_and_new_pictures(
    command: Command, folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.png").rename(folder / "deep" / "er" / "a.png")
    new = tmp_path / "new"
    new.mkdir()
    y, x = np.mgrid[:64, :64]
    Image.fromarray(((x - 32) ** 2 + (y - 32) ** 2 < 200).astype(np.uint8) * 255).save(new / "disk.png")
    page = tmp_path / "page.html"
    ran = command("diversity", folder, "--new", new, "--model", tiny_model, "--out", page, "--json")
    assert ran.figures["images"] == 5
    (group,) = ran.figures["near_duplicate_groups"]
    assert sorted(Path(path).name for path in group) == ["a.png", "b.png", "c.png"]
    assert "3 alike: " in ran.out
    assert "<h2>1 new images</h2>" in page.read_text()
    novel = [Path(path).name for path in ran.figures["new"]["novel_images"]]
    assert len(novel) == ran.figures["new"]["novel"]
    assert set(novel) <= {"disk.png"}


def test_an_unreadable_file_is_named(command: Command, folder: Path, tiny_model: Path) -> None:
    (folder / "e.png").write_bytes(b"\x89PNG broken")
    ran = command("diversity", folder, "--model", tiny_model, "--json")
    assert ran.code == 2
    assert "e.png" in ran.err
    assert ran.figures["images"] == 4
