"""Settings of a network, and the registry of presets, which are named sets of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from napari_cupre.errors import InputError, ModelFileError


@dataclass(frozen=True)
class ModelConfig:
    """All settings that determine the structure and the behaviour of a `CellRCNN`.

    Attributes
    ----------
    preset : str
        Name under which the settings were registered.
    backbone : str
        A timm model name with `features_only` support and strides 4, 8, 16, 32.
    fpn_channels : int
        Channels of every map of the feature pyramid.
    fpn_norm : bool
        BatchNorm after every convolution of neck and heads (torchvision's "v2" layout).
    anchor_sizes : tuple of tuple[int, ...]
        Anchor side lengths in px, one tuple per pyramid level; one level more than the backbone has adds
        torchvision's max-pooled top level.
    aspect_ratios : tuple of float
        Height / width of the anchors, the same at every level.
    rpn_convs : int
        3 x 3 convolutions in the RPN head.
    box_convs, box_hidden : int
        Convolutions, then width of the fully connected layers, of the box head.
    box_layers : int
        Number of those fully connected layers.
    mask_channels, mask_convs : int
        Width and depth of the mask head; 14 x 14 in, 28 x 28 out.
    rpn_iou : tuple[float, float]
        Anchors at or above the second value are positive, below the first negative.
    rpn_batch, roi_batch, mask_batch : int
        Sampled anchors, boxes and masks per training image.
    rpn_candidates : tuple[int, int]
        Boxes in training: per level before non-maximum suppression, and per image after it.
    detect_candidates : tuple[int, int]
        The same in detection, for a field of 1024 x 1024 px; larger fields get more in proportion to their
        area.
    rpn_nms, box_nms : float
        IoU above which the box with the lower score is dropped, before masks are computed.
    mask_nms : float
        IoU above which one of two masks is dropped.
    diameter : float
        The cell diameter in network px to which images are scaled.
    classes : tuple of str
        Names of the instance classes, without background.
    """

    preset: str
    backbone: str
    fpn_channels: int = 256
    fpn_norm: bool = False
    anchor_sizes: tuple[tuple[int, ...], ...] = ((8, 13), (20, 32), (48, 76), (112, 180))
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    rpn_convs: int = 1
    box_convs: int = 0
    box_hidden: int = 1024
    box_layers: int = 2
    mask_channels: int = 256
    mask_convs: int = 4
    rpn_iou: tuple[float, float] = (0.3, 0.5)
    rpn_batch: int = 256
    roi_batch: int = 128
    mask_batch: int = 32
    rpn_candidates: tuple[int, int] = (1000, 600)
    detect_candidates: tuple[int, int] = (4000, 6000)
    rpn_nms: float = 0.7
    box_nms: float = 0.65
    mask_nms: float = 0.4
    diameter: float = 24.0
    classes: tuple[str, ...] = ("cell",)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Inverse of `as_dict`; an unknown or missing setting raises `ModelFileError`."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ModelFileError(
                f"The model's settings contain {', '.join(unknown)}, which this version of napari-cupre "
                "does not know: update napari-cupre to use this model."
            )
        try:
            return cls(**{key: _tuples(value) for key, value in values.items()})
        except TypeError as error:
            raise ModelFileError(
                f"The model's settings are incomplete ({error}): export it again."
            ) from error


def _tuples(value: Any) -> Any:
    """Turn lists into tuples at any depth, since JSON has no tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list | tuple) else value


_PRESETS: dict[str, Callable[[], ModelConfig]] = {}


def register_preset(factory: Callable[[], ModelConfig]) -> Callable[[], ModelConfig]:
    """Register a function that returns a `ModelConfig` under the function's own name."""
    _PRESETS[factory.__name__] = factory
    return factory


def preset_names() -> list[str]:
    """Return the names of all presets, sorted."""
    return sorted(_PRESETS)


def preset(name: str, **changes: Any) -> ModelConfig:
    """Return the settings registered under `name`, with `changes` applied.

    Raises
    ------
    InputError
        If no preset has that name.
    """
    if name not in _PRESETS:
        raise InputError(f"There is no preset {name!r}: choose one of {', '.join(preset_names())}.")
    return replace(_PRESETS[name](), **changes)


@register_preset
def compact() -> ModelConfig:
    """Return the settings of the models that ship: laptop speed, 11 MB in half precision.

    `efficientnet_lite0` pads the same way at every size; in timm's `tf_efficientnet_lite0` the size shifts
    the maps.
    """
    return ModelConfig(
        preset="compact",
        backbone="efficientnet_lite0",
        fpn_channels=128,
        box_hidden=256,
        mask_channels=64,
        mask_convs=2,
        roi_batch=64,
        mask_batch=24,
    )


@register_preset
def resnest50() -> ModelConfig:
    """Return settings for a workstation with a GPU."""
    return ModelConfig(preset="resnest50", backbone="resnest50d", diameter=32.0)


@register_preset
def paper() -> ModelConfig:
    """Return CUPre's network: ResNeSt-200, FPN-256, and the anchors of LIVECell's anchor-based model.

    LIVECell's six anchor sizes 4..127 px, each with five ratios, are spread over five levels.
    """
    return ModelConfig(
        preset="paper",
        backbone="resnest200e",
        anchor_sizes=((4, 9), (9, 17), (17, 31), (31, 64), (64, 127)),
        aspect_ratios=(0.25, 0.5, 1.0, 2.0, 4.0),
        rpn_batch=512,
        roi_batch=512,
        mask_batch=128,
        rpn_candidates=(2400, 3000),
        detect_candidates=(2400, 6000),
    )


@register_preset
def resnet50() -> ModelConfig:
    """Return torchvision's `maskrcnn_resnet50_fpn_v2`, so that training can start from its COCO weights.

    Anchors have half the size of torchvision's, for cells; the RPN's offsets are relative to the anchor.
    """
    return ModelConfig(
        preset="resnet50",
        backbone="resnet50",
        fpn_norm=True,
        anchor_sizes=((16,), (32,), (64,), (128,), (256,)),
        rpn_convs=2,
        box_convs=4,
        box_layers=1,
        diameter=48.0,
    )


@register_preset
def tiny() -> ModelConfig:
    """Return settings for tests and dry runs: training takes seconds, and finds little."""
    return ModelConfig(
        preset="tiny",
        backbone="test_resnet",
        fpn_channels=32,
        box_hidden=64,
        mask_channels=16,
        mask_convs=1,
        rpn_batch=128,
        roi_batch=64,
        mask_batch=16,
        rpn_candidates=(300, 150),
    )
