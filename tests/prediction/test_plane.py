"""One plane of any size: scale, tiles, odd sizes, cancelling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from predict_oracle import disc_image, disc_labels, scattered_discs, seeing_model
from scipy.ndimage import gaussian_filter

from napari_cupre.data.image import normalise
from napari_cupre.data.labels import USUAL_SCORE
from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.evaluation.matching import match_instances
from napari_cupre.model.checkpoint import new_model
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction import detecting as detecting_module
from napari_cupre.prediction.choice import Choice, choose
from napari_cupre.prediction.detector import Detector, resized
from napari_cupre.prediction.diameter import DENSE_SIDE, WORKING_SIDE, ScaleTrial, estimate
from napari_cupre.prediction.plan import aligned, plan_plane
from napari_cupre.prediction.plane import predict_plane
from napari_cupre.prediction.stitch import Found


def f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    right, extra, missed = match_instances(truth, predicted).counts(0.5)
    return 2 * right / (2 * right + extra + missed)


@pytest.mark.parametrize("radius", [(4, 5), (11, 13), (40, 48)])
def test_cells_are_scaled_to_the_network(radius: tuple[float, float]) -> None:
    shape = (300, 360)
    discs = scattered_discs(1, shape, radius, 60, 4.0)
    model = seeing_model()
    cells = predict_plane(model, disc_image(discs, shape), diameter=2 * np.mean(radius))
    assert f1(disc_labels(discs, shape), cells.labels) >= 0.98
    assert cells.diameter == pytest.approx(2 * np.mean(radius))
    assert len(model.network.calls) == 1


@pytest.mark.parametrize("tile", [256, 300])
def test_tiled_equals_one_piece(tile: int) -> None:
    shape = (500, 430)
    discs = scattered_discs(2, shape, (9, 14), 150, 3.0)
    image = disc_image(discs, shape)
    whole = predict_plane(seeing_model(24.0), image)
    done = []
    tiled = predict_plane(seeing_model(24.0), image, tile=tile, on_tile=done.append)
    assert len(done) == len(plan_plane(shape, 24.0, 24.0, tile).tiles) > 3
    grown = np.zeros(shape, np.int32)
    for part in done:
        rows, columns = part.labels.shape
        grown[part.y0 : part.y0 + rows, part.x0 : part.x0 + columns] = part.labels
    np.testing.assert_array_equal(grown > 0, tiled.labels > 0)
    assert len(tiled) == len(whole)
    assert f1(whole.labels, tiled.labels) >= 0.99


def test_tiles_of_one_batch_share_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cupre.prediction.detector.PIXELS_AT_ONCE", {"cpu": 4 * 256 * 256})
    shape = (300, 900)
    image = disc_image(scattered_discs(2, shape, (9, 14), 80, 3.0), shape)
    model = seeing_model(24.0)
    predict_plane(model, image, tile=256, diameter=24.0)
    # Two rows of six tiles of one size and a narrower one.
    assert [call[0] for call in model.network.calls] == [4, 2, 1, 4, 2, 1]


def test_one_channel_of_a_grey_image_is_resized_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.random.default_rng(0).random((60, 80, 1), dtype=np.float32).repeat(3, axis=2)
    detector = Detector(new_model("tiny"))
    found = detector.look(grey, 0.6, 0.0)
    monkeypatch.setattr("napari_cupre.prediction.detector.is_grey", lambda piece: False)
    as_colours = detector.look(grey, 0.6, 0.0)
    assert len(found)
    np.testing.assert_allclose(found.boxes, as_colours.boxes, atol=1e-4)
    np.testing.assert_allclose(found.masks, as_colours.masks, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (33, 7), (65, 64)])
def test_odd_and_tiny_images_with_a_real_network(shape: tuple[int, int]) -> None:
    cells = predict_plane(new_model("tiny"), np.zeros((*shape, 3), np.float32), diameter=20, score=0.0)
    assert cells.labels.shape == shape
    assert cells.labels.max() == len(cells)
    assert predict_plane(new_model("tiny"), np.zeros((*shape, 3), np.float32)).labels.shape == shape


def test_stopping_keeps_what_is_done() -> None:
    shape = (500, 430)
    image = disc_image(scattered_discs(2, shape, (9, 14), 80, 3.0), shape)
    cells = predict_plane(seeing_model(24.0), image, tile=256, should_stop=lambda: True)
    assert not cells.complete
    assert 0 < len(cells) < len(predict_plane(seeing_model(24.0), image))


def test_a_network_in_training_stays_in_training() -> None:
    model = new_model("tiny")
    model.network.train()
    predict_plane(model, np.zeros((40, 40, 3), np.float32), diameter=20)
    assert model.network.training


@pytest.mark.parametrize("radius", [3, 6, 12, 30, 70])
def test_diameter_is_estimated(radius: float) -> None:
    shape = (500, 640)
    discs = scattered_discs(4, shape, (0.9 * radius, 1.1 * radius), 300, 4.0)
    seen = estimate(Detector(seeing_model()), [disc_image(discs, shape)])
    assert seen is not None
    assert seen.diameter == pytest.approx(2 * radius, rel=0.2)


class ClumpSeer:
    """From afar it takes clumps of 40 px for cells; from near it sees their 10 px cells."""

    diameter = 24.0

    def __call__(self, pieces: list[np.ndarray], factor: float, score: float) -> list[Found]:
        size, spacing = (40.0, 100) if factor < 0.9 else (10.0, 25)
        height, width = pieces[0].shape[:2]
        centres = np.mgrid[0:height:spacing, 0:width:spacing].reshape(2, -1).T[:, ::-1].astype(np.float32)
        boxes = np.concatenate([centres - size / 2, centres + size / 2], axis=1)
        count = len(boxes)
        return [Found(boxes, np.full(count, 0.9), np.ones(count), np.ones((count, 28, 28)))]

    def look(self, piece: np.ndarray, factor: float, score: float) -> Found:
        return self([piece], factor, score)[0]

    def glance(self, piece: np.ndarray, factor: float, score: float, most: int) -> Found:
        found = self([piece], factor, score)[0]
        return found.take(np.arange(len(found))[:most])


class Unsure(ClumpSeer):
    """Gives every cell the same score."""

    info = new_model("tiny").info
    level = 0.95

    def __call__(self, pieces: list[np.ndarray], factor: float, score: float) -> list[Found]:
        found = super().__call__(pieces, factor, score)[0]
        found.scores[:] = self.level
        return [found]


def test_clumps_are_not_taken_for_cells() -> None:
    image = np.zeros((600, 1200, 3), np.float32)
    seen = estimate(ClumpSeer(), [image])  # type: ignore[arg-type]
    assert seen is not None
    assert seen.diameter == pytest.approx(2 * np.sqrt(100 / np.pi), rel=0.01)


def test_noise_that_looks_like_many_cells_from_near_is_no_clump_taken_apart() -> None:
    class NoiseSeer(ClumpSeer):
        def __call__(self, pieces: list[np.ndarray], factor: float, score: float) -> list[Found]:
            found = super().__call__(pieces, factor, score)[0]
            found.scores[:] = 0.8 if factor < 0.9 else 0.5
            if factor < 0.9:
                found.scores[::5] = 0.95
            return [found]

    seen = estimate(NoiseSeer(), [np.zeros((600, 1200, 3), np.float32)])  # type: ignore[arg-type]
    assert seen is not None
    assert seen.diameter == pytest.approx(2 * np.sqrt(1600 / np.pi), rel=0.01)


@pytest.mark.parametrize(("level", "looks"), [(0.95, 2), (0.85, 4)])
def test_cells_that_are_sure_are_not_looked_at_twice_as_close(level: float, looks: int) -> None:
    class Counting(Unsure):
        count = 0

        def __call__(self, pieces: list[np.ndarray], factor: float, score: float) -> list[Found]:
            self.count += 1
            return super().__call__(pieces, factor, score)

    seer = Counting()
    seer.level = level
    assert estimate(seer, [np.zeros((600, 1200, 3), np.float32)]) is not None
    assert seer.count == looks  # else a third, closer look, and one more at the scale of what it shows


class Watched(Detector):
    """Notes the scales that it glances and looks at; its glances are off, as another machine's may be."""

    off = 0.0

    def __init__(self) -> None:
        super().__init__(seeing_model())
        self.glances: list[float] = []
        self.looks: list[float] = []

    def glance(self, piece: np.ndarray, factor: float, score: float, most: int) -> Found:
        self.glances.append(factor)
        found = super().glance(piece, factor, score, most)
        found.boxes[:, 2:] += self.off
        return found

    def look(self, piece: np.ndarray, factor: float, score: float) -> Found:
        self.looks.append(factor)
        return super().look(piece, factor, score)


@pytest.mark.parametrize(
    ("side", "radius", "glances", "looks"),
    [(500, 14, [], [0.768]), (1000, 18, [0.384], [2 ** (-5 / 8)]), (1000, 30, [0.384], [0.384])],
    ids=["small", "large", "large with large cells, as the glance showed them"],
)
@pytest.mark.parametrize("off", [0.0, 0.02])
def test_a_large_image_is_glanced_at_before_it_is_looked_at(
    side: int, radius: float, glances: list[float], looks: list[float], off: float
) -> None:
    discs = scattered_discs(4, (side, side), (0.9 * radius, 1.1 * radius), 200, 4.0)
    detector = Watched()
    detector.off = off
    seen = estimate(detector, [disc_image(discs, (side, side))])
    assert seen is not None
    assert seen.diameter == pytest.approx(2 * radius, rel=0.1)
    assert detector.glances == pytest.approx(glances)
    assert detector.looks == pytest.approx(looks)


@pytest.mark.parametrize(("side", "looked_at"), [(1200, DENSE_SIDE), (900, WORKING_SIDE)])
def test_the_look_after_a_glance_at_many_cells_is_smaller(side: int, looked_at: int) -> None:
    """There are 144 cells in the large image and 81 in the small one; a glance draws 100."""

    class Measuring(Unsure):
        seen: tuple[float, ...] = ()

        def look(self, piece: np.ndarray, factor: float, score: float) -> Found:
            self.seen += (piece.shape[0] * factor,)
            return super().look(piece, factor, score)

    seer = Measuring()
    assert estimate(seer, [np.zeros((side, side, 3), np.float32)]) is not None
    assert seer.seen == pytest.approx((looked_at,), abs=1)


def test_a_glance_that_shows_too_little_decides_nothing() -> None:
    detector = Watched()
    seen = estimate(detector, [disc_image(np.array([[400.0, 500.0, 40.0]]), (1000, 1000))])
    assert seen is not None
    assert len(detector.glances) == 1
    assert detector.looks[0] == detector.glances[0]
    assert seen.diameter == pytest.approx(80, rel=0.1)


@pytest.mark.parametrize("tile", [None, 256])
@pytest.mark.parametrize("radius", [(4, 5), (38, 42)])
def test_cells_of_another_size_than_trained_for_are_found(radius: tuple[float, float], tile: int) -> None:
    """One annotated image says little about the magnification of the next."""
    shape = (700, 760)
    discs = scattered_discs(3, shape, radius, 90, 4.0)
    image, truth = disc_image(discs, shape), disc_labels(discs, shape)
    cells = predict_plane(seeing_model(24.0), image, tile=tile)
    assert cells.diameter == pytest.approx(sum(radius), rel=0.1)
    assert f1(truth, cells.labels) >= 0.98
    as_asked = predict_plane(seeing_model(24.0), image, tile=tile, diameter=24.0)
    assert as_asked.diameter == 24.0
    assert len(as_asked) == 0


def test_cells_of_the_size_trained_for_cost_no_second_look() -> None:
    shape = (300, 360)
    discs = scattered_discs(1, shape, (10, 16), 60, 4.0)
    model = seeing_model(26.0)
    cells = predict_plane(model, disc_image(discs, shape))
    assert cells.diameter == 26.0
    assert len(model.network.calls) == 1
    assert f1(disc_labels(discs, shape), cells.labels) >= 0.98


@pytest.mark.parametrize("shape", [(90, 80), (1500, 1400)])
def test_an_image_without_a_cell_keeps_the_diameter_trained_for(shape: tuple[int, int]) -> None:
    cells = predict_plane(seeing_model(31.0), np.zeros((*shape, 3), np.float32))
    assert len(cells) == 0
    assert cells.diameter == 31.0


@pytest.mark.parametrize("tile", [None, 256])
@pytest.mark.parametrize("cells", [1, 2, 3, 4])
def test_a_few_specks_do_not_outweigh_the_cells_beside_them(cells: int, tile: int | None) -> None:
    """Each image has four to twelve times as many specks of a third of the diameter."""
    shape = (300, 360)
    discs = np.array([(70 + 150 * (n // 2), 80 + 180 * (n % 2), 12.0) for n in range(cells)])
    specks = np.array([(20 + 80 * (n // 4), 30 + 90 * (n % 4), 4.0) for n in range(4 * cells)])
    image = disc_image(np.concatenate([discs, specks]), shape)
    found = predict_plane(seeing_model(24.0), image, tile=tile)
    assert found.diameter == 24.0
    assert f1(disc_labels(discs, shape), found.labels) == 1.0


@pytest.mark.parametrize("tile", [None, 256])
def test_a_single_cell_may_be_larger_than_trained_for(tile: int | None) -> None:
    shape = (400, 450)
    discs = np.array([(200.0, 220.0, 60.0)])
    found = predict_plane(seeing_model(24.0), disc_image(discs, shape), tile=tile)
    assert found.diameter == pytest.approx(120, rel=0.1)
    assert f1(disc_labels(discs, shape), found.labels) == 1.0


def test_many_doubtful_cells_of_another_size_change_nothing() -> None:
    """Noise looks like cells of any size, but like none that the network is sure of."""
    detector = Unsure()
    detector.info = replace(detector.info, diameter=100.0)
    detector.level = 0.8
    image = np.zeros((600, 1200, 3), np.float32)
    assert choose(detector, [image], None, None) == Choice(100.0, USUAL_SCORE)  # type: ignore[arg-type]
    detector.level = 0.95
    assert choose(detector, [image], None, None).diameter < 50  # type: ignore[arg-type]


def test_diameter_of_an_empty_image_is_unknown() -> None:
    empty = np.zeros((90, 80, 3), np.float32)
    assert estimate(Detector(seeing_model()), [empty]) is None
    cells = predict_plane(seeing_model(), empty)
    assert len(cells) == 0
    assert cells.diameter == 24.0


def test_scale_is_bounded_and_halo_fits() -> None:
    tiny = plan_plane((100, 100), 24, 0.5)
    assert tiny.factor == 8
    huge = plan_plane((9000, 9000), 24, 900)
    assert huge.factor == 1 / 8
    assert max(huge.tiles[0].read.shape) <= 4096
    small_tile = plan_plane((1000, 1000), 24, 24, tile=64)
    assert small_tile.tiles[0].read.shape[0] >= 3 * 64


@pytest.mark.parametrize("options", [{"diameter": 0}, {"diameter": np.nan}, {"tile": 0}, {"score": 1.5}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    image = np.zeros((20, 20, 3), np.float32)
    with pytest.raises(InputError, match="cannot be used"):
        predict_plane(seeing_model(20.0), image, **options)
    with pytest.raises(InputError, match="normalise"):
        predict_plane(seeing_model(20.0), image[..., 0])


def test_out_of_memory_halves_the_batch_then_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    model = seeing_model(24.0)
    detector = Detector(model)
    look = model.network.detect

    def scarce(images: torch.Tensor, **options: float) -> list:
        if len(images) > limit:
            raise torch.OutOfMemoryError("out of memory")
        return look(images, **options)

    monkeypatch.setattr(model.network, "detect", scarce)
    pieces = [np.zeros((32, 32, 3), np.float32)] * 4
    limit = 1
    assert len(detector(pieces, 1.0, 0.5)) == 4
    limit = 0
    with pytest.raises(EnvironmentFault, match="smaller tile"):
        detector(pieces, 1.0, 0.5)


def test_the_score_is_what_was_asked_for_else_follows_how_sure_the_network_is() -> None:
    image = np.zeros((600, 1200, 3), np.float32)

    detector = Unsure()
    assert choose(detector, [image], None, 0.8).score == 0.8  # type: ignore[arg-type]
    assert choose(detector, [image], 12.0, None) == Choice(12.0, USUAL_SCORE)  # type: ignore[arg-type]
    assert choose(detector, [image], None, None).score == pytest.approx(0.55)  # type: ignore[arg-type]
    detector.level = 0.6  # nothing that it is sure of: it may be noise
    assert choose(detector, [image], None, None).score == pytest.approx(0.7)  # type: ignore[arg-type]
    detector.info = replace(detector.info, diameter=17.0)
    assert choose(detector, None, None, None) == Choice(17.0, USUAL_SCORE, doubt=True)  # type: ignore[arg-type]
    assert choose(detector, [], None, None) == Choice(17.0, USUAL_SCORE)  # type: ignore[arg-type]
    assert choose(detector, [image], None, None) == Choice(17.0, USUAL_SCORE)  # type: ignore[arg-type]


def _sure_view(share: float) -> ScaleTrial:
    """A hundred cells, so large a share of them sure."""
    scores = np.where(np.arange(100) < round(100 * share), 0.95, 0.6)
    return ScaleTrial(1.0, 1e6, scores, np.full(100, 20.0))


@given(st.floats(0.05, 1), st.floats(0.05, 1))
def test_the_surer_the_network_the_more_is_asked_of_a_cell(one: float, other: float) -> None:
    less, more = (_sure_view(sure).asked for sure in sorted((one, other)))
    assert USUAL_SCORE <= less <= more <= 0.55


@pytest.mark.slow
@pytest.mark.parametrize("smooth", [0.0, 0.7, 1.5])
def test_little_is_found_in_an_empty_well(smooth: float) -> None:
    """Its noise is stretched over all grey values, and resembles hundreds of doubtful cells."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(400, 400)), smooth)
    empty = normalise(100 + 4 * noise / noise.std())
    detector = Detector(open_model("cupre", "cpu"))
    assert len(predict_plane(detector, empty)) <= 2
    known = Detector(open_model("cupre", "cpu"))
    known.info = replace(known.info, diameter=10.0)
    assert len(predict_plane(known, empty)) <= 2
    # of these 81 pieces of 106 px two or three pass for more than noise, with some 20 doubtful cells each
    assert len(predict_plane(known, empty, tile=256)) <= 15
    assert len(predict_plane(known, empty, score=0.1)) > 2, "who asks for a score gets what it asks for"


@given(st.floats(1 / 8, 8))
def test_scales_fit_tiles_to_the_grid_of_the_network(factor: float) -> None:
    near, step = aligned(factor)
    assert near == pytest.approx(factor, rel=0.0051)
    assert near * step % 32 == pytest.approx(0, abs=1e-6) or near * step % 32 == pytest.approx(32, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.floats(1 / 6, 6), st.integers(1, 4), st.integers(1, 90), st.integers(1, 90))
def test_a_tile_is_resampled_as_the_same_part_of_the_whole(
    factor: float, steps: int, height: int, width: int
) -> None:
    factor, step = aligned(factor)
    start = steps * step
    image = torch.rand(1, 3, start + height, start + width, generator=torch.Generator().manual_seed(0))
    whole, part = resized(image, factor), resized(image[..., start:, start:], factor)
    first = round(start * factor)
    same = whole[..., first:, first:]
    assert part.shape == same.shape
    margin = 2 + round(2 * factor)  # pixels beyond its border the tile does not see
    torch.testing.assert_close(part[..., margin:, margin:], same[..., margin:, margin:], atol=2e-3, rtol=0)


@pytest.mark.parametrize("factor", [0.125, 0.3, 0.84, 1.0, 2.7, 8.0])
@pytest.mark.parametrize("side", [1, 2, 31, 100])
def test_resampling_covers_the_image(factor: float, side: int) -> None:
    out = resized(torch.rand(1, 3, side, side), factor)
    assert out.shape[-1] >= max(1, side * factor - 1e-6)
    assert out.shape[-1] <= side * factor + 1


def test_gaps_in_memory_are_given_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    monkeypatch.setattr(detecting_module, "trim", lambda: trims.append(1))
    monkeypatch.setattr(detecting_module, "PIXELS_BETWEEN_TRIMS", 3 * 64 * 64)
    detector = Detector(new_model("tiny", seed=0))
    for _ in range(7):
        detector([np.zeros((64, 64, 3), np.float32)], 1.0, 0.5)
    assert len(trims) == 2
