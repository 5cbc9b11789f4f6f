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
    Texts,
    check_ranges,
    validated,
)

Mode = Literal["dual", "shared", "frozen"]
Domain = Literal["cells", "source"]
Objective = Literal["amt2", "moco", "supervised"]

#: What may differ between the parts of one run: how long it goes on, on what it computes, what is saved of
#: it.
FREE_ON_RESUME = (
    "iterations",
    "minutes",
    "workers",
    "device",
    "checkpoint_minutes",
    "log_every",
    "norm_kept",
)


@dataclass(frozen=True)
class SourceSpec:
    """A labelled source in COCO format.

    Attributes
    ----------
    json : the annotation file.
    images : folder of its images.
    weight : how often it is drawn, relative to the other sources.
    scaled : scale each image by the median of its instances, from half to 1.6 times the network's cell
        diameter, in place of a jitter about its own size: for images of cells, whose size says nothing.
    """

    # Its values are checked wherever a run's settings are, however it was made.
    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", revalidate_instances="always")

    json: str
    images: str
    weight: Positive = 1.0
    scaled: bool = False


@dataclass(frozen=True)
class PretrainSettings:
    """Everything that fixes a pretraining run.

    Attributes
    ----------
    source : labelled sources in COCO format.
    synthetic : weight of the synthetic source among them; 0 leaves it out.
    looks : weight of each look of the synthetic fields; None = the looks' own.
    look_modules : Python modules that register further looks (see `data.synthetic.register_look`).
    unlabelled : folders or images.
    exclude : stems of unlabelled images to leave out (a held-out test set), or text files that list them.
    preset, init : the network, and where its weights start: scratch, imagenet, coco or a checkpoint.
    objective : amt2, or one of its two halves alone.
    contrast : the contrastive objective, mocov2 or densecl.
    norm : how BatchNorm treats the two domains, see `napari_cupre.pretraining.batchnorm`.
    norm_kept : which set of statistics the finished model gets if `norm` is dual: cells or source. The
        baselines have but one.
    seed : of weights, data and sampling.
    iterations, minutes : the budget; minutes count if both are given, whichever ends first.
    contrastive_steps, supervised_steps : updates of each task in one iteration (the step ratio).
    contrastive_weight : factor on the contrastive learning rate; a factor on the loss would cancel in Adam.
    supervised_weight : the same for the backbone in the supervised step.
    batch, crop : fields per supervised step and their side in px.
    source_groups : parts of the supervised batch with BatchNorm statistics and a loss of their own.
    contrastive_batch, view : samples per contrastive step and side of a view in px.
    context : side in px of the piece of an image that two views are cut from.
    bn_splits : parts of the contrastive batch with BatchNorm statistics of their own.
    queue : length of the queue of negatives; None = sized from the number of distinct crops and the momentum.
    momentum, temperature, dim : of momentum contrast.
    lr, backbone_lr, contrastive_lr : AdamW learning rates of neck and heads, of the backbone in the
    supervised
        step, and of the contrastive step.
    warmup, contrastive_warmup : iterations of linear warm-up of each task.
    weight_decay : of both optimisers.
    clip : largest gradient norm of either step.
    average : decay of the running average of the weights, which is what is saved as the model.
    balance : draw unlabelled images evenly over clusters of looks instead of evenly over files.
    cosine_every : iterations between measurements of the cosine of the two tasks' gradients; 0 = never.
    validate_every, validation_fields : iterations between, and fields of, held-out AP on the source; 0 =
    never.
    checkpoint_minutes : minutes between checkpoints.
    log_every : iterations averaged into a row of metrics.csv.
    workers : loader processes for each of the two data streams; None = from the number of processors.
    device, precision, devices, nodes : see Lightning Fabric.
    """

    source: Annotated[tuple[SourceSpec, ...], BeforeValidator(lambda value: value or ())] = ()
    synthetic: NotNegative = 0.0
    looks: dict[str, float] | None = None
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
    device: str = "auto"
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1

    @property
    def contrastive(self) -> bool:
        return self.objective in ("amt2", "moco")

    @property
    def supervised(self) -> bool:
        return self.objective in ("amt2", "supervised")

    @property
    def saved_domain(self) -> Domain:
        """Whose BatchNorm statistics the finished model gets: a baseline has seen one domain alone."""
        if self.objective == "amt2":
            return self.norm_kept
        return "cells" if self.objective == "moco" else "source"

    def check(self) -> None:
        """Raise `InputError` with one sentence for the first setting that cannot work."""
        check_ranges(self)
        self._check_data()
        self._check_batches()

    def _check_data(self) -> None:
        """The budget, the images and the start that an objective needs."""
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
        if self.norm == "frozen" and self.init == "scratch":
            raise InputError(
                "norm is 'frozen', but random weights have no BatchNorm statistics to freeze: choose dual or "
                "shared, or start from --init imagenet, coco or a checkpoint."
            )

    def _check_batches(self) -> None:
        """Sizes that depend on each other."""
        if self.view > self.context:
            raise InputError(
                f"view is {self.view} and context {self.context}, but views are cut from their context: make "
                "it as large as a view or larger."
            )
        ranks = self.devices * self.nodes
        for name, is_used, batch, groups in (
            ("bn_splits", self.contrastive, self.contrastive_batch, self.bn_splits),
            ("source_groups", self.supervised, self.batch, self.source_groups),
        ):
            if is_used and (batch % groups or groups % ranks):
                raise InputError(
                    f"{name} is {groups}, which must divide its batch of {batch} and be a multiple of the "
                    f"{ranks} processes."
                )

    def differences(self, other: PretrainSettings) -> list[str]:
        """Settings that must agree for `other` to be continued with these, as "name: theirs -> ours"."""
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
        """Settings from the values of a YAML file or of options; inverse of `as_dict`.

        Raises
        ------
        InputError
            If a name is no setting or a value is of the wrong type or out of range.
        """
        return validated(cls, values, "pretraining")


def read_settings(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file of settings.

    Raises
    ------
    InputError
        If the file is missing, not YAML, or no mapping.
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
        raise InputError(f"The settings file {path} must hold 'name: value' lines.")
    return values
