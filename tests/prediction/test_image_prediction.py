"""Whole images: planes, axes, linking, and planes that cannot be read."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from predict_oracle import disc_labels, scattered_discs, seeing_model
from predict_runs import drained

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.events import Finished, Notice, Progress, Steps, TileDone
from napari_cupre.model.checkpoint import Model
from napari_cupre.prediction.filling import PlaneFound
from napari_cupre.prediction.link import Links, Overlap
from napari_cupre.prediction.linker import find_tables
from napari_cupre.prediction.predict_options import PredictOptions
from napari_cupre.prediction.reader import PlaneReader
from napari_cupre.prediction.stack import predict_image

SHAPE = (70, 80)


def moving_discs(steps: int) -> np.ndarray:
    """uint8 (steps, Y, X): one disc that drifts right, and one that is there from step 1 on."""
    planes = []
    for step in range(steps):
        discs = [(20.0, 15.0 + 4 * step, 10.0)]
        if step >= 1:
            discs.append((50.0, 60.0 - 2 * step, 9.0))
        planes.append((disc_labels(np.array(discs), SHAPE) > 0).astype(np.uint8) * 200)
    return np.stack(planes)


def run(image: CellImage, options: PredictOptions | None = None, model: Model | None = None, **more):
    return drained(predict_image(model or seeing_model(20.0), image, options, **more))


def test_planes_of_a_time_series_count_from_one_each() -> None:
    events, result = run(CellImage.from_array(moving_discs(3), "TYX", name="series"))
    assert result.labels.shape == (3, *SHAPE)
    assert result.labels.dtype == np.int32
    assert [int(plane.max()) for plane in result.labels] == [1, 2, 2]
    assert [event.index for event in events if isinstance(event, PlaneFound)] == [{"T": t} for t in range(3)]
    assert isinstance(events[-1], Finished)
    assert events[-1].result["cells"] == result.count == 5
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[-1].done == progress[-1].total


@pytest.mark.parametrize("planes", [1, 3])
def test_it_is_said_where_cells_have_another_size_than_trained_for(planes: int) -> None:
    large = disc_labels(np.array([(y, x, 45.0) for y in (50, 150, 250) for x in (50, 150, 250)]), (300, 320))
    stack = np.stack([(large > 0).astype(np.uint8) * 200] * planes)
    image = CellImage.from_array(stack[0] if planes == 1 else stack, "YX" if planes == 1 else "ZYX")
    events, result = run(image)  # a model trained on 20 px
    assert result.count == 9 * planes
    assert result.diameter == pytest.approx(90, rel=0.05)
    assert "of about 90 px, where the model was trained on 20 px" in events[-1].verdict
    events, result = run(image, PredictOptions(diameter=20.0))
    assert result.count == 0
    assert "trained" not in events[-1].verdict


@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
def test_linking_keeps_identities(axes: str) -> None:
    options = PredictOptions(link_z=axes == "ZYX", link_t=axes == "TYX")
    _, result = run(CellImage.from_array(moving_discs(4), axes), options)
    first = [int(plane[20, 15 + 4 * step]) for step, plane in enumerate(result.labels)]
    second = [int(plane[50, 60 - 2 * step]) for step, plane in enumerate(result.labels)]
    assert set(first) == {first[0]}
    assert second[0] == 0
    assert set(second[1:]) == {second[1]}
    assert result.count == 2
    for plane, ids, (_, instances) in zip(result.labels, result.ids, result.planes):
        assert sorted(ids) == sorted(np.unique(plane[plane > 0]))
        np.testing.assert_array_equal(np.concatenate([[0], ids])[instances.labels], plane)


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX"])
def test_stacks_through_time(axes: str) -> None:
    series = np.stack([moving_discs(3)] * 2)  # (Z, T, Y, X)
    data = series if axes == "ZTYX" else series.swapaxes(0, 1)
    _, both = run(CellImage.from_array(data, axes), PredictOptions(link_z=True, link_t=True))
    assert both.count == 2
    _, flat = run(CellImage.from_array(data, axes), PredictOptions(link_t=True))
    assert flat.count == 4
    _, stacks = run(CellImage.from_array(data, axes), PredictOptions(link_z=True))
    assert stacks.count == 5


def test_channels_are_chosen() -> None:
    plane = moving_discs(2)[1]
    image = CellImage.from_array(np.stack([np.zeros_like(plane), plane]), "CYX")
    _, result = run(image, PredictOptions(channels=(1,)))
    assert result.labels.shape == SHAPE
    assert result.count == 2


def test_an_unreadable_plane_is_named_and_the_rest_goes_on() -> None:
    good = moving_discs(3)

    def fail(block: np.ndarray) -> np.ndarray:
        raise OSError("page is truncated")

    lazy = da.from_array(good, chunks=(1, *SHAPE))
    broken = da.concatenate(
        [lazy[:1], lazy[1:2].map_blocks(fail, dtype=lazy.dtype, meta=np.empty((0, 0, 0), "u1")), lazy[2:]]
    )
    events, result = run(CellImage.from_array(broken, "TYX", name="series"))
    notices = [event.message for event in events if isinstance(event, Notice)]
    assert len(notices) == 1
    assert "T=1" in notices[0]
    assert "truncated" in notices[0]
    assert not result.complete
    assert result.labels[0].any()
    assert not result.labels[1].any()
    assert "partial" in events[-1].verdict
    with pytest.raises(InputError, match="damaged"):
        run(CellImage.from_array(broken[1], "YX"))


def test_a_plane_that_cannot_be_looked_at_as_a_whole_is_predicted_by_tile() -> None:
    """What is not seen beforehand must not be taken for one piece: every other tile is still there."""
    shape = (1100, 1150)
    discs = scattered_discs(2, shape, (10, 14), 200, 4.0)

    def damaged(block: np.ndarray, block_info: dict) -> np.ndarray:
        if block_info[0]["chunk-location"] == (2, 2):
            raise OSError("page is truncated")
        return block

    lazy = da.from_array((disc_labels(discs, shape) > 0).astype(np.uint8) * 200, chunks=(256, 256))
    image = CellImage.from_array(
        lazy.map_blocks(damaged, dtype=lazy.dtype, meta=np.empty((0, 0), "u1")), "YX"
    )
    events, result = run(image, PredictOptions(tile=256), model=seeing_model(24.0))
    assert sum(isinstance(event, Notice) for event in events) > 0
    assert not result.complete
    assert result.labels[:256].any()
    assert result.labels[-200:, :256].any()
    assert result.labels[-200:, -200:].any()
    assert result.count > 0.7 * len(discs)


def test_stopping_returns_what_is_done() -> None:
    answers = iter([False, True])
    image = CellImage.from_array(moving_discs(3), "TYX")
    _, result = run(image, should_stop=lambda: next(answers))
    assert not result.complete
    assert len(result.planes) == 1


def test_big_planes_grow_tile_by_tile() -> None:
    big = np.tile(moving_discs(1)[0], (7, 7))
    events, result = run(CellImage.from_array(big, "YX"), PredictOptions(tile=256))
    grown = np.zeros_like(result.labels)
    for event in events:
        if isinstance(event, TileDone):
            height, width = event.labels.shape
            grown[event.y0 : event.y0 + height, event.x0 : event.x0 + width] = event.labels
    np.testing.assert_array_equal(grown > 0, result.labels > 0)
    assert result.count == 49


@pytest.mark.parametrize("height", [1, 3, 4])
def test_pairs_are_one_to_one_however_they_are_counted(height: int) -> None:
    first, second = np.zeros((4, 12), int), np.zeros((4, 12), int)
    first[:, 0:6], first[:, 6:10] = 1, 2
    second[:, 1:7], second[:, 7:9], second[:, 9:12] = 5, 6, 7
    overlap, nothing = Overlap(), Overlap()
    for top in range(0, 4, height):
        overlap.add(first[top : top + height], second[top : top + height])
        nothing.add(first[top : top + height], np.zeros_like(first)[top : top + height])
    assert overlap.pairs() == [(1, 5), (2, 6)]
    assert overlap.first.tolist() == [8, 24, 16]
    assert nothing.pairs() == [] == Overlap().pairs()


def test_a_cell_that_reappears_is_new() -> None:
    disc = disc_labels(np.array([[20.0, 20.0, 8.0]]), SHAPE)
    planes = [disc, np.zeros_like(disc), disc, disc]
    tables = Steps(find_tables(planes, [{"T": t} for t in range(4)], Links(False, True))).finish()
    linked = [table[plane] for table, plane in zip(tables, planes, strict=True)]
    assert [int(plane.max()) for plane in linked] == [1, 0, 2, 2]


def test_large_planes_are_looked_at_by_their_liveliest_windows() -> None:
    plane = np.zeros((5000, 3000), np.uint8)
    plane[::9] = 60
    plane[2000:2400:7, 500:900] = 200
    image = CellImage.from_array(da.from_array(plane, chunks=1000), "YX")
    views = PlaneReader(image, {}).views()
    assert [view.shape for view in views] == [(1024, 1024, 3)] * 3
    assert views[0].std() > 0
    assert views[0].std() >= views[1].std() >= views[2].std()
    small = PlaneReader(CellImage.from_array(plane[:300, :200], "YX"), {}).views()
    assert [view.shape for view in small] == [(300, 200, 3)]


@pytest.mark.parametrize("padding", [0, 255, 90])
def test_the_size_of_cells_is_estimated_without_the_padding(padding):
    picture = np.random.default_rng(0).integers(60, 120, (60, 80, 3), np.uint8)
    padded = np.pad(picture, ((0, 300), (200, 100), (0, 0)), constant_values=padding)
    reader = PlaneReader(CellImage.from_array(padded, "YXS"), {})
    assert [view.shape for view in reader.views()] == [(60, 80, 3)]
    flat = PlaneReader(CellImage.from_array(np.full((30, 40), 7, np.uint8)), {})
    assert [view.shape for view in flat.views()] == [(30, 40, 3)]
