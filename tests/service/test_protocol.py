"""Messages survive the pipe, and nothing hostile gets through it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_cupre.errors import InputError
from napari_cupre.events import Finished, Preview, RunState, StateChanged, StepDone
from napari_cupre.service.protocol import PlaneDone, PreviewRequest, decode, encode


def through_the_pipe(message: object, folder: Path) -> Any:
    return decode(json.loads(json.dumps(encode(message, folder))), folder)


def test_events_come_out_as_they_went_in(tmp_path: Path) -> None:
    step = StepDone(3, 0.5, 12.5, {"total": 1.5, "mask": float("inf")}, {"rate": 1e-3})
    assert through_the_pipe(step, tmp_path) == step
    state = through_the_pipe(StateChanged(RunState.STOPPING, "bitte warten — µ"), tmp_path)
    assert state == StateChanged(RunState.STOPPING, "bitte warten — µ")
    assert isinstance(state.state, RunState)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    labels=hnp.arrays(
        np.int32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9),
        elements=st.integers(0, 99),
    )
)
def test_arrays_keep_shape_type_and_values_and_leave_no_file(tmp_path: Path, labels: np.ndarray) -> None:
    preview = through_the_pipe(Preview(7, labels), tmp_path)
    assert preview.labels.dtype == np.int32
    np.testing.assert_array_equal(preview.labels, labels)
    assert list(tmp_path.iterdir()) == []


def test_numpy_scalars_in_a_result_become_plain(tmp_path: Path) -> None:
    event = Finished("done", {"ap": np.float32(0.5), "n": np.int64(3), "history": [{"step": np.int32(1)}]})
    back = through_the_pipe(event, tmp_path)
    assert back.result == {"ap": 0.5, "n": 3, "history": [{"step": 1}]}
    assert type(back.result["n"]) is int


def test_a_request_with_an_image(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((4, 5, 3), np.float32)
    back = through_the_pipe(PreviewRequest(image), tmp_path)
    np.testing.assert_array_equal(back.image, image)
    assert back.image.dtype == np.float32


def test_an_array_file_outside_the_folder_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.npy"
    np.save(secret, np.zeros(3))
    inner = tmp_path / "inner"
    inner.mkdir()
    for name in ("../secret.npy", str(secret)):
        with pytest.raises(InputError, match="outside its folder"):
            decode({"type": "Preview", "step": 1, "labels": {"$npy": name}}, inner)
    assert secret.exists()


def test_a_pickle_in_place_of_an_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        decode({"type": "Preview", "step": 1, "labels": {"$npy": "x.npy"}}, tmp_path)


@pytest.mark.parametrize("document", [{}, {"type": "Path"}, {"type": "StepDone"}, {"type": "Event2"}])
def test_unknown_and_incomplete_messages_are_named(document: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        decode(document, tmp_path)


def test_plane_done_keeps_half_precision_masks(tmp_path: Path) -> None:
    ids, boxes = np.array([1], np.int32), np.zeros((1, 4), np.float32)
    masks = np.full((1, 28, 28), 0.25, np.float16)
    event = PlaneDone(
        {"Z": 2}, np.ones((3, 3), np.int32), ids, boxes, np.ones(1, np.float32), ids, masks, 9.5, ("a", "b")
    )
    back = through_the_pipe(event, tmp_path)
    assert back.index == {"Z": 2}
    assert back.masks.dtype == np.float16
    assert back.diameter == 9.5
    assert list(back.class_names) == ["a", "b"]
