"""Large images: any file of a result that is damaged comes back, or a sentence says what to do."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from predict_oracle import seeing_model, slide_of_discs
from predict_runs import drained, stored

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.events import Notice
from napari_cupre.prediction.big import BigResult, predict_big
from napari_cupre.prediction.bigfiles import ledger_path
from napari_cupre.prediction.labelstore import cells_table
from napari_cupre.prediction.predict_options import PredictOptions

SHAPE = (300, 320)
OPTIONS = PredictOptions(diameter=24.0, tile=256)


@pytest.fixture
def image() -> CellImage:
    return slide_of_discs(SHAPE, 60)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "exp#1 [a] 100%?" / "slide.zarr"


def run(image: CellImage, out: Path, options: PredictOptions = OPTIONS, **more) -> tuple[str, BigResult]:
    events, result = drained(predict_big(seeing_model(), image, out, options, **more))
    return " ".join(event.message for event in events if isinstance(event, Notice)), result


def half(image: CellImage, out: Path) -> None:
    """Stopped after two tiles."""
    answers = iter([False, True])
    assert not run(image, out, should_stop=lambda: next(answers))[1].complete


def test_a_table_that_was_deleted_is_written_again(image: CellImage, out: Path) -> None:
    run(image, out)
    table = cells_table(out)
    before = table.read_bytes()
    table.unlink()
    notices, result = run(image, out)
    assert "was written again" in notices
    assert table.read_bytes() == before
    assert result.complete


def test_without_table_and_copy_a_sentence_says_what_to_do(image: CellImage, out: Path) -> None:
    run(image, out)
    cells_table(out).unlink()
    next(out.parent.glob(".*.gz")).unlink()
    labels = stored(out)
    with pytest.raises(InputError, match=r"slide_cells\.csv.*is missing: delete"):
        run(image, out)
    assert (stored(out) == labels).all()
    shutil.rmtree(out)  # as it says
    assert run(image, out)[1].complete


def test_a_record_of_progress_that_was_deleted_costs_time_only(image: CellImage, out: Path) -> None:
    whole = run(image, out.parent / "whole.zarr")[1]
    half(image, out)
    ledger_path(out).unlink()
    notices, result = run(image, out)
    assert "slide.zarr.progress" in notices
    assert "from the beginning" in notices
    assert result.complete
    assert result.count == whole.count == len(np.unique(stored(out))) - 1


def test_labels_that_were_deleted_are_found_again(image: CellImage, out: Path) -> None:
    whole = run(image, out.parent / "whole.zarr")[1]
    half(image, out)
    shutil.rmtree(out)
    notices, result = run(image, out)
    assert "from the beginning" in notices
    assert result.count == whole.count == len(pd.read_csv(result.table))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE settings SET document = '{'",
        "UPDATE settings SET document = '3'",
        "UPDATE choice SET diameter = 'x'",
        "DELETE FROM cells WHERE row = 0",
        "DELETE FROM cells",
        "UPDATE cells SET x1 = 'x'",
        "INSERT INTO undo VALUES (0, 0, 0, 5, 5, x'00')",
        "DROP TABLE tiles; CREATE TABLE tiles (a)",
    ],
)
def test_a_record_of_progress_that_was_edited_is_refused(image: CellImage, out: Path, change: str) -> None:
    half(image, out)
    base = sqlite3.connect(ledger_path(out))
    base.executescript(change)
    base.close()
    with pytest.raises(InputError, match=r"slide\.zarr\.progress.*delete it"):
        run(image, out)
    ledger_path(out).unlink()
    assert run(image, out)[1].complete


@pytest.mark.parametrize("size", [0, 10, 5000])
def test_a_record_of_progress_that_was_truncated(image: CellImage, out: Path, size: int) -> None:
    half(image, out)
    ledger_path(out).write_bytes(ledger_path(out).read_bytes()[:size])
    try:
        result = run(image, out)[1]
    except InputError as error:
        assert "delete it" in str(error)
        ledger_path(out).unlink()
        result = run(image, out)[1]
    assert result.complete
    assert result.count == len(np.unique(stored(out))) - 1


@pytest.mark.parametrize("name", [".zattrs", ".zgroup", "0/.zarray", "0/0/0"])
@pytest.mark.parametrize("damage", ["gone", "empty", "text"])
def test_a_file_of_the_labels_that_was_damaged_is_named(
    image: CellImage, out: Path, name: str, damage: str
) -> None:
    run(image, out)
    file = out / name
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "empty" else b'{"napari_cupre": {}}')
    if name == "0/0/0" and damage != "gone":
        return  # the labels are a person's to change
    with pytest.raises(CupreError, match=r"slide\.zarr"):
        run(image, out)


def test_a_table_made_by_hand_is_kept(image: CellImage, out: Path) -> None:
    out.parent.mkdir()
    cells_table(out).write_text("by hand")
    with pytest.raises(InputError, match=r"slide_cells\.csv.*not written by"):
        run(image, out)
    assert cells_table(out).read_text() == "by hand"
    assert run(image, out, overwrite=True)[1].complete


def test_the_result_of_other_options_is_replaced_only_if_asked(image: CellImage, out: Path) -> None:
    run(image, out)
    zarr.open_group(out)["0"][:5, :5] = 7
    other = PredictOptions(diameter=20.0, tile=256)
    with pytest.raises(InputError, match="other options"):
        run(image, out, other)
    assert (stored(out)[:5, :5] == 7).all()
    assert run(image, out, other, overwrite=True)[1].complete
    assert not (stored(out)[:5, :5] == 7).any()


def test_a_folder_that_is_not_ours_is_never_deleted(image: CellImage, out: Path) -> None:
    zarr.create_group(out, zarr_format=2).create_array("0", shape=SHAPE, dtype="int32")
    with pytest.raises(InputError, match="not a label image of this image"):
        run(image, out, overwrite=True)
    assert out.is_dir()
