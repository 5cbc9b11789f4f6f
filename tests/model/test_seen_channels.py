from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from napari_cupre.data.image import CellImage
from napari_cupre.data.shot import Shot
from napari_cupre.io.shot_store import load_shots, save_shots
from napari_cupre.model.seen_channels import SeenChannels

STAINS = ("CD3", "CD8", "DAPI", "CK")


def shot(channels: tuple[int, ...] = (), names: tuple[str, ...] = (), annotated: bool = True) -> Shot:
    labels = np.full((8, 9), int(annotated), np.int32)
    image = np.random.default_rng(len(channels)).random((8, 9, 3), np.float32)
    return Shot(image, labels, labels > 0, channels=channels, channel_names=names)


def image_of(count: int, names: tuple[str, ...] = (), chosen: tuple[int, ...] | None = None) -> CellImage:
    image = CellImage.from_array(np.zeros((count, 8, 9), np.uint8), "CYX", name="a")
    image.channels, image.channel_names = chosen, names
    return image


@pytest.mark.parametrize(
    ("shots", "seen"),
    [
        ([shot()], SeenChannels()),
        ([shot((2,)), shot()], SeenChannels((2,))),
        ([shot((2,), ("DAPI",)), shot((0,), ("DAPI",))], SeenChannels((2,), ("DAPI",))),
        ([shot((2,), ("DAPI",)), shot((2,), ("Hoechst",))], SeenChannels((2,))),
        ([shot((2,)), shot((1,))], SeenChannels()),
        ([shot((2,)), shot((1,), annotated=False)], SeenChannels((2,))),
    ],
    ids=["one channel", "the same", "by name", "by number", "they differ", "not annotated"],
)
def test_what_annotated_images_have_in_common(shots: list[Shot], seen: SeenChannels) -> None:
    assert SeenChannels.of_shots(shots) == seen
    assert SeenChannels.of_training(seen.as_dict()) == seen


@pytest.mark.parametrize(
    "training",
    [None, [], {}, {"channels": "2"}, {"channels": [True]}, {"channels": [-1]}, {"channels": [0, 1, 2, 3]}],
)
def test_a_description_that_says_nothing_usable(training: Any) -> None:
    assert SeenChannels.of_training(training) == SeenChannels()


def test_names_that_do_not_fit_are_ignored() -> None:
    assert SeenChannels.of_training({"channels": [1], "channel_names": ["a", "b"]}) == SeenChannels((1,))


@pytest.mark.parametrize(
    ("seen", "image", "chosen", "said"),
    [
        (SeenChannels(), image_of(4), None, ""),
        (SeenChannels((2,)), image_of(1), None, ""),
        (SeenChannels((0, 1, 2)), image_of(4), None, ""),
        (SeenChannels((2,)), image_of(4), (2,), "learned from channel 2: channel 2 is used"),
        (SeenChannels((3,)), image_of(2), None, 'but "a" has only 2 channels: channels 0, 1 are used'),
        (
            SeenChannels((0,), ("DAPI",)),
            image_of(4, STAINS),
            (2,),
            "channel 0 (DAPI): channel 2 (DAPI) is used",
        ),
        (
            SeenChannels((0,), ("Hoechst",)),
            image_of(4, STAINS),
            (0,),
            "no channel of that name: channel 0 (CD3)",
        ),
        (SeenChannels((0,), ("DAPI",)), image_of(4), (0,), "channel 0 (DAPI): channel 0 is used"),
    ],
    ids=["none", "grey", "the first three", "by number", "too few", "by name", "other names", "no names"],
)
def test_what_a_model_is_given(
    seen: SeenChannels, image: CellImage, chosen: tuple[int, ...] | None, said: str
) -> None:
    found, sentence = seen.given(image, "mine")
    assert found == chosen
    assert said in sentence
    assert bool(said) == bool(sentence)
    assert seen.on(image).chosen_channels == chosen
    assert seen.on(image).data is image.data
    assert image.chosen_channels is None, "the image itself stays as it is"


def test_what_a_person_chose_stays() -> None:
    image = image_of(4, STAINS, chosen=(3,))
    assert SeenChannels((0,), ("DAPI",)).on(image) is image


@given(
    numbers=st.lists(st.integers(0, 6), min_size=1, max_size=3, unique=True),
    count=st.integers(1, 6),
    named=st.booleans(),
)
def test_it_is_never_given_what_an_image_does_not_have(numbers: list[int], count: int, named: bool) -> None:
    names = tuple(f"stain {each}" for each in numbers) if named else ()
    image = image_of(count, tuple(f"stain {each}" for each in reversed(range(count))) if named else ())
    chosen, _ = SeenChannels(tuple(numbers), names).given(image, "mine")
    assert chosen is None or all(0 <= each < count for each in chosen)
    SeenChannels(tuple(numbers), names).on(image).normalised()


def test_the_store_of_annotated_images_keeps_them(tmp_path: Path) -> None:
    given_shots = [shot((2, 0), ("DAPI", "CD3")), shot((1,)), shot()]
    save_shots(tmp_path, given_shots)
    kept = [(each.channels, each.channel_names) for each in load_shots(tmp_path)]
    assert kept == [((2, 0), ("DAPI", "CD3")), ((1,), ()), ((), ())]


def test_annotated_files_tell_their_channels(tmp_path: Path) -> None:
    from dataclasses import replace

    from napari_cupre.io.annotated import collect_shots

    pixels = np.random.default_rng(0).integers(0, 255, (4, 20, 30)).astype(np.uint8)
    stains = {"axes": "CYX", "Channel": {"Name": list(STAINS)}}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, ome=True, metadata=stains)
    tifffile.imwrite(tmp_path / "b.tif", np.eye(20, 30, dtype=np.uint8))
    given_files = str(tmp_path / "a.ome.tif"), str(tmp_path / "b.tif")
    (first,) = collect_shots(*given_files).shots
    assert (first.channels, first.channel_names) == ((0, 1, 2), STAINS[:3])
    (chosen,) = collect_shots(*given_files, choose=lambda image: replace(image, channels=(3, 2))).shots
    assert (chosen.channels, chosen.channel_names) == ((3, 2), ("CK", "DAPI"))
    np.testing.assert_array_equal(chosen.image[..., 1], first.image[..., 2])
