"""What was found in large images is kept on disk, up to a limit, and never deleted while it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_cupre.errors import EnvironmentFault
from napari_cupre.service.slides import clear_slides, hold_slide, is_slide_in_use, kept_slides, slides_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_CUPRE_SLIDES", str(tmp_path / "slides"))
    return slides_folder()


def keep(folder: Path, name: str, size: int = 1000, used: float = 1e8) -> Path:
    """A result of so many bytes, with its table and what is written beside it on the way."""
    path = folder / f"{name}-0123456789ab.zarr"
    (path / "0").mkdir(parents=True)
    (path / "0" / "0.0").write_bytes(b"x" * size)
    for part in (f"{path.stem}_cells.csv", f".{path.stem}_cells.csv.gz", f"{path.name}.progress"):
        (folder / part).write_text("")
    os.utime(path, (used, used))
    return path


def test_results_are_listed_with_their_size_the_last_used_first(folder: Path) -> None:
    assert kept_slides() == [], "there is not even a folder"
    old, new = keep(folder, "old", 1000, 1e8), keep(folder, "new", 3000, 2e8)
    assert [(each.path, each.size) for each in kept_slides()] == [(new, 3000), (old, 1000)]
    hold_slide(old)
    assert kept_slides()[0].path == old, "opening one is using it"


def test_the_oldest_go_until_the_rest_fits(folder: Path) -> None:
    paths = [keep(folder, name, 1000, used) for name, used in (("a", 1e8), ("b", 2e8), ("c", 3e8))]
    assert clear_slides(5000) == 0
    assert clear_slides(2500) == 1000
    assert [path.exists() for path in paths] == [False, True, True]
    assert not list(folder.glob("*a-*")), "nothing of it is left, hidden files neither"
    assert clear_slides() == 2000
    assert list(folder.iterdir()) == []


def test_a_result_of_a_name_that_begins_alike_stays(folder: Path) -> None:
    keep(folder, "plate", 1000, 1e8)
    other = keep(folder, "plate-0123456789ab-copy", 1000, 2e8)
    assert clear_slides(1500) == 1000
    assert other.exists()
    assert len(list(folder.iterdir())) == 4


def test_what_is_in_use_stays_and_is_free_again_afterwards(folder: Path) -> None:
    path = keep(folder, "a")
    first, second = hold_slide(path), hold_slide(path)
    first.release()
    assert is_slide_in_use(path), "another window still shows it"
    assert clear_slides() == 0
    second.release()
    assert clear_slides() == 1000
    assert not path.exists()


def test_a_process_that_dies_holds_nothing(folder: Path) -> None:
    path = keep(folder, "a")
    program = (
        "import os, sys; from pathlib import Path; from napari_cupre.service.slides import hold_slide\n"
        "held = hold_slide(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read(); os._exit(9)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "held"
        assert clear_slides() == 0
        other.kill()
    assert clear_slides() == 1000


def test_a_folder_that_cannot_be_written_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep(folder, "a")

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(EnvironmentFault, match="could not be written"):
        clear_slides()
    assert path.exists()


def test_a_deletion_that_was_cut_short_is_finished_the_next_time(folder: Path) -> None:
    rest = folder / ".a-0123456789ab.zarr.deleted"
    rest.mkdir(parents=True)
    (rest / "0.0").write_bytes(b"x")
    assert clear_slides(1000) == 0
    assert not rest.exists()
