from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_cupre.cli.evaluate import distinct_names
from napari_cupre.data.rle import encode_labels

Command = Callable[..., Any]


def squares(count: int, shift: int = 0) -> np.ndarray:
    """`count` squares of 10 px in a row, moved to the right."""
    labels = np.zeros((40, 160), np.int32)
    for i in range(count):
        labels[10:20, 20 * i + 2 + shift : 20 * i + 12 + shift] = i + 1
    return labels


def write(folder: Path, **images: np.ndarray) -> Path:
    folder.mkdir()
    for stem, labels in images.items():
        tifffile.imwrite(folder / f"{stem}.tif", labels)
    return folder


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return write(tmp_path / "truth", a=squares(4), b=squares(5), c=squares(6))


def test_figures_by_hand(command: Command, tmp_path: Path, truth: Path) -> None:
    predicted = write(tmp_path / "predicted", a=squares(4), b=squares(4), c=squares(6, shift=8))
    ran = command("evaluate", truth, predicted, "--json")
    assert ran.code == 0
    assert ran.figures["mean"]["ap50"] == pytest.approx((1 + 4 / 5 + 0) / 3)
    assert ran.figures["pooled"]["truth"] == 15
    assert "mean over images" in ran.out


def test_the_better_of_two(command: Command, tmp_path: Path, truth: Path) -> None:
    worse = write(tmp_path / "worse", a=squares(3), b=squares(4), c=squares(4))
    better = write(tmp_path / "better", a=squares(4), b=squares(5), c=squares(6))
    ran = command("evaluate", truth, worse, "--against", better, "--json")
    assert ran.code == 0
    assert {comparison["better"] for comparison in ran.figures["comparison"]} == {"better"}
    assert "better is better" in ran.out


def test_two_sets_of_one_name_are_told_apart(command: Command, tmp_path: Path, truth: Path) -> None:
    sets = []
    for name, count in (("a", 3), ("b", 4)):
        (tmp_path / name).mkdir()
        sets.append(write(tmp_path / name / "results", a=squares(count), b=squares(count), c=squares(count)))
    ran = command("evaluate", truth, sets[0], "--against", sets[1], "--json")
    assert "a/results\n" in ran.out
    assert "b/results\n" in ran.out
    assert {comparison["better"] for comparison in ran.figures["comparison"]} == {"b/results"}


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("x/a", "x/b", ("a", "b")),
        ("x/r", "y/r", ("x/r", "y/r")),
        ("r", "y/r", None),
        ("r", "r", ("(1)", "(2)")),
        ("r/", "./r", ("(1)", "(2)")),
    ],
)
def test_names_of_two_sets(first: str, second: str, names: tuple[str, str] | None) -> None:
    found = distinct_names(first, second)
    assert found[0] != found[1]
    for part, name in zip(names or (), found):
        assert name.endswith(part)


def test_files_with_the_worst_cells(command: Command, tmp_path: Path, truth: Path) -> None:
    predicted = write(tmp_path / "predicted", a=squares(4), b=squares(4), c=squares(5))
    images = write(tmp_path / "images", **{s: np.full((40, 160), 9, np.uint16) for s in "abc"})
    out = tmp_path / "report"
    assert command("evaluate", truth, predicted, "--images", images, "--out", out).code == 0
    assert sorted(path.name for path in out.glob("[!.]*")) == ["report.csv", "report.html", "report.json"]
    assert command("evaluate", truth, predicted, "--out", out).code == 0  # our own report is renewed
    (out / "report.csv").write_text("my notes")
    again = command("evaluate", truth, predicted, "--out", out)
    assert again.code == 2
    assert "report.csv" in again.err
    assert (out / "report.csv").read_text() == "my notes"
    assert command("evaluate", truth, predicted, "--out", out, "--overwrite").code == 0


def test_a_missing_prediction_is_named_and_not_forgotten(
    command: Command, tmp_path: Path, truth: Path
) -> None:
    predicted = write(tmp_path / "predicted", a=squares(4), c=squares(6))
    ran = command("evaluate", truth, predicted, "--json")
    assert ran.code == 2
    assert "b.tif" in ran.err
    assert len(ran.figures["images"]) == 2
    assert len(ran.figures["left_out"]) == 1


def test_a_truncated_file_is_named_and_the_rest_goes_on(
    command: Command, tmp_path: Path, truth: Path
) -> None:
    predicted = write(tmp_path / "predicted", a=squares(4), b=squares(5), c=squares(6))
    (predicted / "b.tif").write_bytes((predicted / "b.tif").read_bytes()[:400])
    (predicted / "Thumbs.db").write_bytes(b"junk")
    ran = command("evaluate", truth, predicted, "--json")
    assert ran.code == 2
    assert "b.tif" in ran.err
    assert "Traceback" not in ran.err
    assert ran.figures["mean"]["ap"] == 1


def test_different_sizes_are_both_named(command: Command, tmp_path: Path, truth: Path) -> None:
    predicted = write(tmp_path / "predicted", a=squares(4)[:30], b=squares(5), c=squares(6))
    ran = command("evaluate", truth, predicted)
    assert ran.code == 2
    assert "(40, 160)" in ran.err
    assert "(30, 160)" in ran.err


def test_an_empty_folder(command: Command, tmp_path: Path, truth: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = command("evaluate", truth, tmp_path / "empty")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "empty" in ran.err


def coco_json(path: Path, scores: bool, **images: np.ndarray) -> Path:
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for number, (stem, labels) in enumerate(images.items(), start=10):
        height, width = labels.shape
        document["images"].append(
            {"id": number, "file_name": f"{stem}.png", "height": height, "width": width}
        )
        for rle in encode_labels(labels)[1]:
            entry = {"image_id": number, "category_id": 1, "segmentation": rle}
            document["annotations"].append(entry | ({"score": 0.9} if scores else {}))
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_coco_from_label_images_and_from_json(command: Command, tmp_path: Path, truth: Path) -> None:
    found = {"c": squares(6), "b": squares(5), "a": squares(2)}  # in another order than the truth
    folder = write(tmp_path / "labels", **found)
    predictions = coco_json(tmp_path / "results" / "predictions.json", True, **found)
    truth_json = coco_json(tmp_path / "truth.json", False, a=squares(4), b=squares(5), c=squares(6))
    figures = [
        command("evaluate", labels, predicted, "--coco", "--json").figures
        for labels, predicted in [(truth, folder), (truth, predictions.parent), (truth_json, predictions)]
    ]
    assert figures[0]["masks"]["ap"] == pytest.approx(13 / 15, abs=0.01)  # COCO reads recall at 101 points
    assert figures[0] == figures[1] == figures[2]


def test_coco_truth_needs_coco_predictions(command: Command, tmp_path: Path, truth: Path) -> None:
    truth_json = coco_json(tmp_path / "truth.json", False, a=squares(4))
    ran = command("evaluate", truth_json, truth, "--coco")
    assert ran.code == 2
    assert "predictions.json" in ran.err


def test_what_is_not_scored_is_told(command: Command, tmp_path: Path, truth: Path) -> None:
    predicted = write(tmp_path / "predicted", **{stem: squares(4) for stem in "abcd"})
    ran = command("evaluate", truth, predicted)
    assert ran.code == 0
    assert "1 prediction belongs to none of the labels and will not be scored, such as d.tif" in ran.err
    tifffile.imwrite(truth / "a.tif", squares(4) + 1)
    ran = command("evaluate", truth, predicted)
    assert ran.code == 2
    assert '"a.tif" has no background' in ran.err
