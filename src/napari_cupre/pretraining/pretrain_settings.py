"""The settings of a pretraining run: one dataclass, one YAML file, compared on resume."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict

from napari_cupre.errors import InputError, reason_of
from napari_cupre.model.validation import (
    FractionBelowOne,
    NotNegative,
    NotNegativeInt,
    Positive,
    PositiveInt,
    Share,
    Texts,
    check_ranges,
    validated,
)

Mode = Literal["dual", "shared", "frozen"]
Domain = Literal["cells", "source"]
Objective = Literal["amt2", "moco", "supervised"]

FREE_ON_RESUME = (
    "iterations",
    "minutes",
    "workers",
    "cache",
    "device",
    "checkpoint_minutes",
    "log_every",
    "norm_kept",
)
"""Settings that may change when a run is resumed: its budget, its hardware, and what is saved."""


@dataclass(frozen=True)
class SourceSpec:
    """A labelled source in COCO format.

    Attributes
    ----------
    json : str
        The annotation file.
    images : str
        Folder of its images.
    weight : float
        How often it is drawn, relative to the other sources.
    scaled : bool
        Scale each image so that its median instance has 0.5 to 1.6 times the network's cell diameter, instead
        of resizing it by a random factor. For images of cells, whose size in px has no meaning.
    jpeg : float
        Share of the images that get JPEG artefacts, of any quality and exposure.
    """

    # Its values are checked together with the settings of the run, however it was made.
    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", revalidate_instances="always")

    json: str
    images: str
    weight: Positive = 1.0
    scaled: bool = False
    jpeg: Share = 0.0


@dataclass(frozen=True)
class PretrainSettings:
    """The settings of a pretraining run.

    Attributes
    ----------
    source : tuple of SourceSpec
        Labelled sources in COCO format.
    synthetic : float
        Weight of the synthetic source among them; 0 leaves it out.
    looks : dict of str to float or None
        Weight of each look of the synthetic fields; None = the weights with which they were registered.
    real_light : float
        Share of the synthetic fields that get the grey values and slow changes of brightness of an unlabelled
        image (see `napari_cupre.pretraining.adapt`).
    look_modules : tuple of str
        Python modules that register more looks (see `napari_cupre.synthetic.register_look`).
    unlabelled : tuple of str
        Folders or images.
    exclude : tuple of str
        Stems of unlabelled images to leave out (a held-out test set), or text files that list them.
    preset : str
        The network.
    init : str
        Where its weights come from: scratch, imagenet, coco or a checkpoint.
    objective : {"amt2", "moco", "supervised"}
        AMT2, or only one of its two halves.
    contrast : {"mocov2", "densecl"}
        The contrastive objective.
    norm : {"dual", "shared", "frozen"}
        How BatchNorm treats the two domains, see `napari_cupre.pretraining.batchnorm`.
    norm_kept : {"cells", "source"}
        Which set of statistics the finished model gets if `norm` is dual. The baselines have only one set.
    seed : int
        Seed of weights, data and sampling.
    iterations : int or None
        Budget in iterations; if both budgets are given, the run ends with the first.
    minutes : float or None
        Budget in minutes of computing.
    contrastive_steps, supervised_steps : int
        Updates of each task in one iteration (the step ratio).
    contrastive_weight : float
        Factor on the contrastive learning rate; a factor on the loss would cancel in Adam.
    supervised_weight : float
        The same for the backbone in the supervised step.
    batch : int
        Fields per supervised step.
    crop : int
        Side of a field, px.
    source_groups : int
        Parts of the supervised batch with BatchNorm statistics and a loss of their own.
    contrastive_batch : int
        Samples per contrastive step.
    view : int
        Side of a view, px.
    context : int
        Side of the crop that two views are cut from, px.
    bn_splits : int
        Parts of the contrastive batch with BatchNorm statistics of their own.
    queue : int or None
        Length of the queue of negatives; None = set by the number of distinct crops and the momentum.
    momentum : float
        Momentum of the key encoder.
    temperature : float
        Temperature of the contrastive loss.
    dim : int
        Size of an embedding.
    lr, backbone_lr, contrastive_lr : float
        AdamW learning rates of neck and heads, of the backbone in the supervised step, and of the contrastive
        step.
    warmup, contrastive_warmup : int
        Iterations of linear warm-up of each task.
    weight_decay : float
        Weight decay of both optimisers.
    clip : float
        Largest gradient norm of either step.
    average : float
        Decay of the running average of the weights, which becomes the model.
    balance : bool
        Draw unlabelled images evenly over clusters of looks instead of evenly over files.
    cosine_every : int
        Iterations between measurements of the cosine of the two tasks' gradients; 0 = never.
    validate_every : int
        Iterations between measurements of held-out AP on the source; 0 = never.
    validation_fields : int
        Fields for each of these measurements.
    checkpoint_minutes : float
        Minutes between checkpoints.
    log_every : int
        Iterations averaged into one row of metrics.csv.
    workers : int or None
        Loader processes for each of the two data streams; None = set by the number of processors.
    cache : int
        Decoded images that each loader process keeps, MB for all labelled sources together.
    device : str
        Where to compute: auto, cpu, cuda or mps.
    precision : {"auto", "32-true", "bf16-mixed"}
        See Lightning Fabric; auto = bf16 if the device supports it.
    devices : int
        Processes or GPUs on each node.
    nodes : int
        Number of nodes.
    """

    source: Annotated[tuple[SourceSpec, ...], BeforeValidator(lambda value: value or ())] = ()
    synthetic: NotNegative = 0.0
    looks: dict[str, float] | None = None
    real_light: Share = 0.0
    look_modules: Texts = ()
    unlabelled: Texts = ()
    exclude: Texts = ()
    preset: str = "compact"
    init: str = "scratch"
    objective: Objective = "amt2"
    contrast: Literal["mocov2", "densecl"] = "mocov2"
    norm: Mode = "dual"
    norm_kept: Domain = "cells"
    seed: int = 0
    iterations: PositiveInt | None = None
    minutes: Positive | None = None
    contrastive_steps: PositiveInt = 1
    supervised_steps: PositiveInt = 1
    contrastive_weight: NotNegative = 1.0
    supervised_weight: NotNegative = 1.0
    batch: PositiveInt = 4
    crop: PositiveInt = 256
    source_groups: PositiveInt = 1
    contrastive_batch: PositiveInt = 32
    view: PositiveInt = 96
    context: PositiveInt = 160
    bn_splits: PositiveInt = 4
    queue: PositiveInt | None = None
    momentum: FractionBelowOne = 0.996
    temperature: Positive = 0.2
    dim: PositiveInt = 128
    lr: Positive = 1e-3
    backbone_lr: Positive = 5e-4
    contrastive_lr: Positive = 5e-4
    warmup: NotNegativeInt = 100
    contrastive_warmup: NotNegativeInt = 100
    weight_decay: NotNegative = 0.02
    clip: Positive = 5.0
    average: FractionBelowOne = 0.998
    balance: bool = False
    cosine_every: NotNegativeInt = 50
    validate_every: NotNegativeInt = 500
    validation_fields: PositiveInt = 16
    checkpoint_minutes: Positive = 3.0
    log_every: PositiveInt = 10
    workers: NotNegativeInt | None = None
    cache: NotNegativeInt = 512
    device: str = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1

    @property
    def contrastive(self) -> bool:
        """Whether the run learns from unlabelled images."""
        return self.objective in ("amt2", "moco")

    @property
    def supervised(self) -> bool:
        """Whether the run learns from a labelled source."""
        return self.objective in ("amt2", "supervised")

    @property
    def saved_domain(self) -> Domain:
        """Return the domain whose BatchNorm statistics the finished model gets; a baseline has only one."""
        if self.objective == "amt2":
            return self.norm_kept
        return "cells" if self.objective == "moco" else "source"

    def check(self) -> None:
        """Raise `InputError` with one sentence for the first setting that cannot work."""
        check_ranges(self)
        self._check_data()
        self._check_batches()

    def _check_data(self) -> None:
        """Check the budget, the images and the start that the objective needs."""
        if self.iterations is None and self.minutes is None:
            raise InputError("A run needs a budget: give --iterations N or --minutes M.")
        if self.supervised and not self.source and self.synthetic <= 0:
            raise InputError(
                f"The objective {self.objective} needs a labelled source: give --source with "
                "--source-images, or --synthetic WEIGHT."
            )
        if self.contrastive and not self.unlabelled:
            raise InputError(
                f"The objective {self.objective} needs unlabelled images: give --unlabelled DIR."
            )
        if self.real_light and not self.unlabelled:
            raise InputError(
                f"real_light is {self.real_light}, but there is no image to take it from: give "
                "--unlabelled DIR."
            )
        if self.norm == "frozen" and self.init == "scratch":
            raise InputError(
                "norm is 'frozen', but random weights have no BatchNorm statistics to freeze: choose dual or "
                "shared, or start from --init imagenet, coco or a checkpoint."
            )

    def _check_batches(self) -> None:
        """Check sizes that depend on each other."""
        if self.view > self.context:
            raise InputError(
                f"view is {self.view} and context {self.context}, but views are cut from their context: make "
                "context at least as large as view."
            )
        ranks = self.devices * self.nodes
        for name, batch, groups in self.batch_parts():
            if batch % groups or groups % ranks:
                raise InputError(
                    f"{name} is {groups}, which must divide its batch of {batch} and be a multiple of the "
                    f"{ranks} processes."
                )

    def batch_parts(self) -> list[tuple[str, int, int]]:
        """Return for each task of the run the name of the setting, the batch size and the number of parts."""
        parts = []
        if self.contrastive:
            parts.append(("bn_splits", self.contrastive_batch, self.bn_splits))
        if self.supervised:
            parts.append(("source_groups", self.batch, self.source_groups))
        return parts

    def differences(self, other: PretrainSettings) -> list[str]:
        """Return settings that differ but must agree to continue `other`, as "name: theirs -> ours"."""
        return [
            f"{f.name}: {getattr(other, f.name)!r} -> {getattr(self, f.name)!r}"
            for f in fields(self)
            if f.name not in FREE_ON_RESUME and getattr(self, f.name) != getattr(other, f.name)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON."""
        values = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PretrainSettings:
        """Make settings from the values of a YAML file or of options; inverse of `as_dict`.

        Raises
        ------
        InputError
            If a name is unknown, or a value has the wrong type or is out of range.
        """
        return validated(cls, values, "pretraining")


def read_settings(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file of settings.

    Raises
    ------
    InputError
        If the file is missing, is not YAML, or is not a mapping.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The settings file {path} cannot be read ({reason_of(error)}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"The settings file {path} is not YAML: {reason}.") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"The settings file {path} must contain 'name: value' lines.")
    return values
