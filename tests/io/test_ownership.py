"""What a person made is told from what this package wrote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_cupre.errors import EnvironmentFault
from napari_cupre.io.ownership import (
    RECORD,
    as_named,
    may_write,
    next_free,
    note_written,
    owned_write,
    reason_against,
)


def ours(path: Path, text: str = "ours") -> Path:
    with owned_write(path) as temporary:
        temporary.write_text(text)
    return path


def test_a_free_name_may_be_written(tmp_path: Path) -> None:
    assert may_write(tmp_path / "new" / "a.tif") is None


def test_what_a_person_made_may_not(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("by hand")
    reason = may_write(tmp_path / "a.tif")
    assert reason is not None
    assert "a.tif" in reason
    assert "not written by" in reason
    assert may_write(tmp_path / "a.tif", overwrite=True) is None


def test_what_we_wrote_may_be_replaced_until_somebody_changes_it(tmp_path: Path) -> None:
    path = ours(tmp_path / "a.tif")
    assert may_write(path) is None
    ours(path, "again")
    assert may_write(path) is None
    state = path.stat()
    path.write_text("AGAIN")  # as long, and as old
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    reason = may_write(path)
    assert reason is not None
    assert "changed" in reason


def test_a_folder_may_be_copied_with_its_record(tmp_path: Path) -> None:
    import shutil

    ours(tmp_path / "out" / "a.tif")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    assert may_write(tmp_path / "copy" / "a.tif") is None


@pytest.mark.parametrize("damage", ["", "\n{", '\n{"name": 3}', "\nnull", "\n\x00\x00", "\n[1]"])
def test_a_damaged_record_costs_nothing_but_its_lines(tmp_path: Path, damage: str) -> None:
    path = ours(tmp_path / "a.tif")
    with (tmp_path / RECORD).open("a") as stream:
        stream.write(damage)
    note_written(path)
    assert may_write(path) is None


def test_without_its_record_a_file_is_a_persons(tmp_path: Path) -> None:
    path = ours(tmp_path / "a.tif")
    (tmp_path / RECORD).unlink()
    assert may_write(path) is not None


def test_a_folder_is_ours_until_a_file_in_it_changes(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    (store / "0").mkdir(parents=True)
    (store / "0" / "0").write_bytes(b"labels")
    assert may_write(store) is not None
    note_written(store)
    assert may_write(store) is None
    (store / "0" / "1").write_bytes(b"")
    assert may_write(store) is not None


def test_images_are_never_replaced(tmp_path: Path) -> None:
    image = ours(tmp_path / "a.tif")
    (tmp_path / "sub").mkdir()
    for spelling in (image, tmp_path / "sub" / ".." / "a.tif", os.path.relpath(image)):
        assert may_write(spelling, [image], overwrite=True) is not None
    link = tmp_path / "link.tif"
    link.hardlink_to(image)
    reason = may_write(link, [image], overwrite=True)
    assert reason is not None
    assert "same file" in reason


def test_nothing_is_written_into_an_image_that_is_a_folder(tmp_path: Path) -> None:
    image = tmp_path / "a.zarr"
    image.mkdir()
    assert may_write(image / "out" / "a.tif", [image]) is not None
    assert may_write(tmp_path / "out" / "a.tif", [image]) is None


def test_of_many_files_the_first_is_named_and_the_rest_counted(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    for path in paths[1:]:
        path.write_text("by hand")
    reason = reason_against(paths)
    assert reason is not None
    assert "b.tif" in reason
    assert "1 more file " in reason


def test_a_process_killed_before_the_file_has_its_name_leaves_it_as_it_was(tmp_path: Path) -> None:
    path = ours(tmp_path / "a.tif")
    (tmp_path / "next").write_text("next")
    note_written(path, tmp_path / "next")
    assert may_write(path) is None
    (tmp_path / "next").replace(path)
    assert may_write(path) is None


def test_a_dangling_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to(tmp_path / "away.tif")
    assert may_write(tmp_path / "a.tif") is not None


def test_a_folder_in_place_of_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    assert may_write(tmp_path / "a.tif") is not None
    with pytest.raises(EnvironmentFault, match="a folder"), owned_write(tmp_path / "a.tif") as temporary:
        temporary.write_text("x")


@pytest.mark.parametrize(
    ("taken", "wanted", "free"),
    [
        ([], "a.tif", "a.tif"),
        (["a.tif"], "a.tif", "a-2.tif"),
        (["a.tif", "a-2.tif"], "a.tif", "a-3.tif"),
        (["a.ome.tif"], "a.ome.tif", "a-2.ome.tif"),
        (["a"], "a", "a-2"),
    ],
)
def test_next_free(tmp_path: Path, taken: list[str], wanted: str, free: str) -> None:
    for name in taken:
        (tmp_path / name).write_text("")
    assert next_free(tmp_path / wanted) == tmp_path / free


def test_a_stem_is_free_when_all_its_files_are(tmp_path: Path) -> None:
    (tmp_path / "v1.5_rois.zip").write_text("")
    (tmp_path / "v1.5-2.tif").write_text("")
    assert next_free(tmp_path / "v1.5", (".tif", "_rois.zip")) == tmp_path / "v1.5-3"


def test_what_a_dialog_did_not_ask_about_is_not_replaced(tmp_path: Path) -> None:
    wanted, beside = tmp_path / "out.csv", ["_images.csv"]
    assert as_named(tmp_path / "out", ".csv", beside) == wanted
    assert as_named(wanted, ".csv", beside) == wanted
    (tmp_path / "out_images.csv").touch()
    assert as_named(wanted, ".csv", beside) == tmp_path / "out-2.csv"
    wanted.touch()
    assert as_named(wanted, ".csv", beside) == wanted, "the dialog asked, and both are of one kind"
    assert as_named(tmp_path / "out", ".csv", beside) == tmp_path / "out-2.csv"
    assert as_named(tmp_path / "v1.5", ".csv") == tmp_path / "v1.5.csv"
