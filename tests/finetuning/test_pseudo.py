"""Pseudo-background: only of unknown pixels, and only where a teacher that can be trusted sees nothing."""

from __future__ import annotations

import numpy as np
from finding_network import FindsBoxes
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import are_equal, copied

from napari_cupre.data.sample import Sample
from napari_cupre.finetuning.pseudo import DOUBT, MARGIN, WINDOW, PseudoBackground


def field(size: int = 64) -> Sample:
    """One annotated cell with a rim of one pixel; the rest is unknown."""
    labels = np.zeros((size, size), np.int32)
    labels[8:16, 8:16] = 5
    known = np.zeros(labels.shape, bool)
    known[7:17, 7:17] = True
    return Sample(np.zeros((size, size, 3), np.float32), labels, known)


ANNOTATED = ((8, 8, 16, 16), 0.95)


def look(sample: Sample, *found: tuple[tuple[int, int, int, int], float]) -> list[Sample] | None:
    return PseudoBackground([sample], [1.0], np.random.default_rng(0)).look(FindsBoxes(list(found)), None, 12)


def test_what_may_be_a_cell_stays_unknown_and_the_rest_is_background() -> None:
    results = look(field(), ANNOTATED, ((30, 30, 40, 40), 0.9), ((50, 10, 58, 20), DOUBT))
    assert results is not None
    (result,) = results
    for top, left, bottom, right in ((30, 30, 40, 40), (10, 50, 20, 58)):
        margin = int(MARGIN)
        assert not result.known[top:bottom, left - margin : right + margin].any()
        assert not result.known[top - margin : bottom + margin, left:right].any()
    assert result.known[45:64, 20:64].all()
    np.testing.assert_array_equal(result.labels, field().labels)


def test_a_teacher_that_misses_the_annotated_cells_is_not_listened_to() -> None:
    assert look(field(), ((30, 30, 40, 40), 0.9)) is None
    assert look(field()) is None


def test_what_was_annotated_is_left_as_it_was() -> None:
    sample = field()
    before = copied(sample)
    look(sample, ANNOTATED, ((12, 12, 30, 30), 0.99))
    assert are_equal(sample, before)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(41, 64), st.integers(41, 64)),
            st.floats(0.1, 1.0),
        ),
        max_size=4,
    ),
    st.integers(0, 10),
)
def test_known_only_grows_and_annotation_stays(found, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sample = field()
    sample.known[rng.integers(20, 60) :] = True
    results = look(sample, ANNOTATED, *found)
    assert results is not None
    (result,) = results
    assert (result.known >= sample.known).all()
    np.testing.assert_array_equal(result.labels, sample.labels)


def test_of_a_large_image_only_windows_with_annotated_cells_are_looked_at() -> None:
    sample = field(2 * WINDOW)
    results = look(sample, ANNOTATED)
    assert results is not None
    assert results[0].known[40:WINDOW, 40:WINDOW].all()
    assert not results[0].known[WINDOW:].any()
    assert not results[0].known[:, WINDOW:].any()


def test_windows_are_looked_at_in_turn_and_the_latest_look_counts() -> None:
    whole = field(2 * WINDOW)
    whole.labels[WINDOW + 8 : WINDOW + 16, 8:16] = 6
    unknown = PseudoBackground([whole], [1.0], np.random.default_rng(0))
    shares = []
    for _ in range(3):
        results = unknown.look(FindsBoxes([ANNOTATED]), None, 1)
        assert results is not None
        shares.append(results[0].known.mean())
    assert shares[0] < shares[1] == shares[2]
    blind = unknown.look(FindsBoxes([]), None, 2)
    assert blind is None
