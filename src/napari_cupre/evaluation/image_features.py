"""One short feature vector per image from a backbone; similar images have similar vectors."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.events import Progress
from napari_cupre.io.images import read_image
from napari_cupre.model.checkpoint import Model
from napari_cupre.model.network import MEAN, STD

_SIDE = 256
"""Whole images are shrunk to at most this many px a side."""

_LENGTH = 256
"""Length of a vector. A random projection of the backbone's channels preserves their angles
(Johnson-Lindenstrauss)."""


Partly = dict[tuple[str, str], list[str]]
"""Images of which only a part is used, by what they contain and which part is used."""


@dataclass
class ImageFeatures:
    """Vectors of a set of images.

    Attributes
    ----------
    paths : list of Path
        Paths of the images that could be read.
    vectors : numpy.ndarray
        float32 (N, 256), unit length, with the mean look of the set subtracted.
    thumbnails : list of numpy.ndarray
        uint8 (64, 64, 3) of each, for pages.
    skipped : list of tuple of (Path, str)
        Images that could not be read, with the reason.
    notices : list of str
        One sentence about each kind of image of which only a part was used.
    """

    paths: list[Path]
    vectors: np.ndarray
    thumbnails: list[np.ndarray] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def part(self, numbers: Sequence[int] | np.ndarray) -> ImageFeatures:
        """Return some of the images, in the given order."""
        chosen = [int(number) for number in numbers]
        return ImageFeatures(
            [self.paths[n] for n in chosen], self.vectors[chosen], [self.thumbnails[n] for n in chosen]
        )


def extract_features(
    paths: Sequence[Path], model: Model, *, seed: int = 0
) -> Generator[Progress, None, ImageFeatures]:
    """Compute the features of images one by one; yields the progress and returns the features.

    Parameters
    ----------
    paths : sequence of Path
        Image files; unreadable ones are skipped and named in the result.
    model : Model
        Its backbone computes the features.
    seed : int, optional
        Seed of the projection.

    Raises
    ------
    InputError
        If no image can be read.
    """
    projection = projection_for(model, seed)
    found = ImageFeatures([], np.zeros((0, _LENGTH), np.float32))
    raw: list[np.ndarray] = []
    partly: Partly = {}
    for number, path in enumerate(paths, start=1):
        try:
            image = read_image(path)
            small = _small(image)
        except InputError as error:
            found.skipped.append((path, str(error)))
        else:
            found.paths.append(path)
            found.notices += image.notices
            note_partly(image, partly)
            found.thumbnails.append(thumbnail_of(small))
            raw.append(look_of(small, model, projection))
        yield Progress(number, len(paths), "images")
    found.notices += partly_notices(partly)
    if not raw:
        first = found.skipped[0][1] if found.skipped else "give other images."
        raise InputError(f"None of the {len(paths)} images can be read: {first}")
    found.vectors = centred(np.stack(raw))
    return found


def projection_for(model: Model, seed: int = 0) -> torch.Tensor:
    """Return the random projection of a model's backbone channels, for `look_of`."""
    width = sum(model.network.backbone.channels[1:])
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(width, _LENGTH, generator=generator) / width**0.5).to(model.device)


def note_partly(image: CellImage, partly: Partly) -> None:
    """Note an image of which only a part is used."""
    if math.prod(image.result_shape[:-2]) > 1:
        partly.setdefault(("several planes", "only the first is used"), []).append(image.name)
    if image.unseen():
        partly.setdefault(("many channels", "only the first three are used"), []).append(image.name)


def partly_notices(partly: Partly) -> list[str]:
    """Return one sentence about each kind of image of which only a part is used."""
    notices = []
    for (what, used), (first, *more) in partly.items():
        whose = f'{len(more) + 1} images have {what}, such as "{first}"' if more else f'"{first}" has {what}'
        notices.append(f"{whose}: {used}.")
    return notices


def _small(image: CellImage) -> np.ndarray:
    """Return the first plane, normalised and shrunk, float32 (3, Y, X)."""
    plane = image.lazy_plane()
    # Decimate before reading, so that a slide computes only the pixels that are kept.
    step = step_for(plane.shape[:2])
    return shrunk(image.stretch()(np.asarray(plane[::step, ::step])))


def step_for(shape: tuple[int, ...]) -> int:
    """Return the step between rows and columns that still shows how a plane looks."""
    return max(1, max(shape) // (2 * _SIDE))


def shrunk(image: np.ndarray) -> np.ndarray:
    """Shrink a normalised image (Y, X, 3) to the size for comparing looks, float32 (3, Y, X)."""
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    factor = min(1.0, _SIDE / max(pixels.shape[1:]))
    size = [max(32, round(length * factor)) for length in pixels.shape[1:]]
    return F.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0].numpy()


def thumbnail_of(image: np.ndarray) -> np.ndarray:
    """Return a small square picture of a shrunk image, uint8 (64, 64, 3)."""
    small = F.interpolate(torch.from_numpy(image)[None], (64, 64), mode="area")[0]
    return (small.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()


@torch.inference_mode()
def look_of(image: np.ndarray, model: Model, projection: torch.Tensor) -> np.ndarray:
    """Return how a shrunk image looks to the backbone: the projected mean of the three coarser maps.

    Parameters
    ----------
    image : numpy.ndarray
        float32 (3, Y, X), see `shrunk`.
    projection : torch.Tensor
        See `projection_for`.

    Returns
    -------
    numpy.ndarray
        float32 (256,); angles between two vectors are meaningful only after `centred`.
    """
    model.network.eval()
    pixels = torch.from_numpy(image)[None].to(model.device)
    pixels = F.pad(pixels, (0, -pixels.shape[3] % 32, 0, -pixels.shape[2] % 32), mode="replicate")
    maps = model.network.backbone((pixels - MEAN) / STD)[1:]
    pooled = torch.cat([F.normalize(level.float().mean((2, 3)), dim=1) for level in maps], dim=1)
    return (pooled @ projection)[0].cpu().numpy()


def centred(raw: np.ndarray) -> np.ndarray:
    """Subtract the mean look, because raw features all point in nearly the same direction."""
    if len(raw) > 2:
        raw = raw - raw.mean(axis=0)
    norm = np.linalg.norm(raw, axis=1, keepdims=True)
    return (raw / np.maximum(norm, 1e-12)).astype(np.float32)
