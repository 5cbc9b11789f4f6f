"""Reports as JSON, CSV and as a page with the worst cells."""

from __future__ import annotations

import base64
import csv
import json
import re

import imageio.v3 as iio
import numpy as np
import pytest

from napari_cupre.errors import InputError
from napari_cupre.evaluation import evaluate
from napari_cupre.evaluation.faults import worst_faults
from napari_cupre.evaluation.page import write_page
from napari_cupre.evaluation.report_files import write_report_csv, write_report_json


@pytest.fixture
def case():
    """One image with an exact cell, a poor one (IoU .6), a missed one and an invented one."""
    truth, predicted = np.zeros((2, 90, 100), np.int32)
    truth[5:15, 5:15], predicted[5:15, 5:15] = 1, 4
    truth[5:15, 30:40], predicted[5:11, 30:40] = 2, 5
    truth[70:80, 5:25] = 3
    predicted[60:80, 60:90] = 6
    image = np.random.default_rng(0).integers(0, 4000, truth.shape).astype(np.uint16)
    return evaluate([truth], [predicted], names=["a<b>.tif"]), [image], [truth], [predicted]


def test_json_and_csv_hold_the_figures(case, tmp_path):
    report = case[0]
    write_report_json(report, tmp_path / "report.json")
    write_report_csv(report, tmp_path / "report.csv")
    assert json.loads((tmp_path / "report.json").read_text()) == report.as_dict()
    rows = list(csv.DictReader((tmp_path / "report.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == ["a<b>.tif", "pooled"]
    assert float(rows[0]["f1"]) == report.f1
    assert float(rows[0]["ap_0.65"]) == pytest.approx(1 / 5)


def test_worst_cells_are_the_wrong_ones(case):
    _, _, truth, predicted = case
    faults = worst_faults(truth, predicted)
    assert [fault.label for fault in faults["missed"]] == [3]
    assert [fault.label for fault in faults["invented"]] == [6]
    (poor,) = faults["badly outlined"]
    assert (poor.label, poor.partner) == (2, 5)
    assert poor.iou == pytest.approx(0.6)


def test_unknown_area_invents_nothing(case):
    _, _, truth, predicted = case
    known = truth[0] > 0
    assert worst_faults(truth, predicted, [known])["invented"] == []


def test_page_is_self_contained_and_shows_the_cells(case, tmp_path):
    report, images, truth, predicted = case
    write_page(report, images, truth, predicted, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "a&lt;b&gt;.tif" in page
    assert "a<b>" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    pictures = [base64.b64decode(data) for data in re.findall(r"base64,([^\"]+)", page)]
    assert len(pictures) == 3
    missed = iio.imread(pictures[0])
    assert missed.shape[2] == 3
    assert min(missed.shape[:2]) >= 48
    green = (missed == (25, 229, 89)).all(axis=-1)
    assert green.sum() > 50  # the missed cell's outline at full strength


def test_page_of_other_sizes_is_refused(case, tmp_path):
    report, images, truth, predicted = case
    with pytest.raises(InputError, match=r"\(50, 50\)"):
        write_page(report, [images[0][:50, :50]], truth, predicted, tmp_path / "page.html")
    with pytest.raises(InputError, match="each of the 1 images"):
        write_page(report, [], truth, predicted, tmp_path / "page.html")
