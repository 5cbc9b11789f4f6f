"""The start of a run: the network's weights, its sources and its unlabelled images."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from math import log
from pathlib import Path

import numpy as np
import torch
from torch import nn

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.io.coco import CocoSource
from napari_cupre.io.unlabelled import UnlabelledCrops, UnlabelledIndex
from napari_cupre.model.checkpoint import Model, ModelInfo
from napari_cupre.model.coco_start import load_coco
from napari_cupre.model.config import preset
from napari_cupre.model.contrast import (
    ContrastiveObjective,
    ContrastSettings,
    make_objective,
    oldest_sound_key,
    queue_length,
)
from napari_cupre.model.efficientnet import LITE
from napari_cupre.model.imagenet_start import lite_weights
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.views import ViewSettings
from napari_cupre.model.zoo import BUNDLED, bundled_path, open_model
from napari_cupre.pretraining.adapt import RealLight
from napari_cupre.pretraining.labelled_sources import (
    CocoFields,
    LabelledSource,
    MixedFields,
    SyntheticSource,
    split_numbers,
)
from napari_cupre.pretraining.monitor import HeldOut
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.pretraining.view_pairs import ViewPairs
from napari_cupre.words import some_of

SILENT = 10.0
"""The score of a class without training data is lowered by this many logits."""


def stream_seed(seed: int, name: str) -> int:
    """Return the seed of a named random stream of a run."""
    return zlib.crc32(f"{seed}/{name}".encode())


@dataclass
class Sources:
    """The labelled sources of a run.

    Attributes
    ----------
    mixed : list of tuple
        The sources to train on, with their weights.
    held_out : list of tuple
        The parts of them that are held out, with the same weights.
    notices : list of str
        What was left out of the sources, and why.
    """

    mixed: list[tuple[LabelledSource, float]]
    held_out: list[tuple[LabelledSource, float]]
    notices: list[str]

    @property
    def teach_cells(self) -> bool:
        """Whether a source teaches "cell"; also True if there is no source, since it then does not change."""
        return not self.mixed or any("cell" in source.classes for source, _ in self.mixed)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return all sources' classes, each once, and "cell", which the finished model keeps."""
        names = [name for source, _ in self.mixed for name in source.classes]
        return tuple(dict.fromkeys([*names, "cell"]))


def make_sources(settings: PretrainSettings, diameter: float) -> Sources:
    """Open the labelled sources of a run.

    Parameters
    ----------
    settings : PretrainSettings
        The settings of the run.
    diameter : float
        The network's cell diameter in px.

    Raises
    ------
    InputError
        If a COCO-format source cannot be used.
    """
    sources = Sources([], [], [])
    for spec in settings.source:
        coco = CocoSource(spec.json, spec.images, settings.cache * 2**20 // len(settings.source))
        sources.notices += coco.notices
        trained, held = split_numbers(len(coco), stream_seed(settings.seed, "held out"))
        wanted = diameter if spec.scaled else None
        sources.mixed.append((CocoFields(coco, trained, settings.crop, wanted, spec.jpeg), spec.weight))
        sources.held_out.append((CocoFields(coco, held, settings.crop, wanted), spec.weight))
    if settings.synthetic > 0:
        seeds = [stream_seed(settings.seed, name) for name in ("synthetic", "held-out synthetic")]
        trained_fields, held_fields = (
            SyntheticSource(settings.crop, seed, diameter, settings.looks, settings.look_modules)
            for seed in seeds
        )
        sources.mixed.append((trained_fields, settings.synthetic))
        sources.held_out.append((held_fields, settings.synthetic))
    return sources


def light_fields(settings: PretrainSettings, sources: Sources, index: UnlabelledIndex) -> None:
    """Give the synthetic fields for training the light of unlabelled images."""
    crops = UnlabelledCrops(index, settings.crop, stream_seed(settings.seed, "light"))
    for source, _ in sources.mixed:
        if isinstance(source, SyntheticSource):
            source.light = RealLight(crops, settings.real_light)


def make_network(settings: PretrainSettings, sources: Sources) -> CellRCNN:
    """Make the network with its initial weights and a score for each class of the sources.

    Raises
    ------
    InputError, ModelFileError, EnvironmentFault
        If the preset or the checkpoint is unknown or does not fit, or weights cannot be downloaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(settings.seed, "weights"))
        network = CellRCNN(preset(settings.preset, classes=sources.classes))
    _check_groups(settings, network.config.backbone)
    if settings.init == "imagenet":
        _load_imagenet(network)
    elif settings.init == "coco":
        load_coco(network)
    elif settings.init != "scratch":
        _load_checkpoint(network, settings.init)
    if not sources.teach_cells:
        # Otherwise training would begin by unlearning "cell" on the objects of the source.
        with torch.no_grad():
            network.heads.box.score.bias[network.config.classes.index("cell") + 1] -= SILENT
    return network


def _load_imagenet(network: CellRCNN) -> None:
    name = network.config.backbone
    if name == LITE:
        network.backbone.body.load_state_dict(lite_weights(network.backbone.body))
        return
    import timm

    try:
        pretrained = timm.create_model(name, pretrained=True, features_only=True, out_indices=(1, 2, 3, 4))
    except Exception as error:  # the hub client raises many kinds of errors
        raise EnvironmentFault(
            f"The ImageNet weights of {name} could not be fetched ({type(error).__name__}); connect to the "
            "internet once, or use --init scratch."
        ) from error
    network.backbone.body.load_state_dict(pretrained.state_dict())


def _check_groups(settings: PretrainSettings, backbone: str) -> None:
    """Check that each part has several samples, which the BatchNorm of split attention needs."""
    if settings.norm == "frozen" or not backbone.startswith("resnest"):
        return
    for name, batch, groups in settings.batch_parts():
        if batch < 2 * groups:
            raise InputError(
                f"{name} is {groups} for a batch of {batch}, but {settings.preset} needs two samples or more "
                "in each part: make the batch larger or the parts fewer."
            )


def _load_checkpoint(network: CellRCNN, name: str) -> None:
    start = open_model(name, "cpu").network
    ours, theirs = network.state_dict(), start.state_dict()
    fitting = {
        key: tensor for key, tensor in theirs.items() if key in ours and ours[key].shape == tensor.shape
    }
    backbone = [key for key in ours if key.startswith("backbone.")]
    if not all(key in fitting for key in backbone):
        raise InputError(
            f"The checkpoint {name} has the backbone {start.config.backbone}, but the preset "
            f"{network.config.preset} has {network.config.backbone}; choose a matching --preset."
        )
    network.load_state_dict(fitting, strict=False)
    _load_class_scores(network, start)


@torch.no_grad()
def _load_class_scores(network: CellRCNN, start: CellRCNN) -> None:
    """Copy the scores of the background and of the classes that both networks know.

    All other classes start with the same score; together they are as likely as the classes of the checkpoint.
    So a checkpoint that knows only "cell" can go on to the categories of COCO without taking their objects
    for background.
    """
    ours, theirs = network.heads.box.score, start.heads.box.score
    if ours.in_features != theirs.in_features:
        return
    known = {name: row for row, name in enumerate(("", *start.config.classes))}
    new = [name for name in network.config.classes if name not in known]
    for row, name in enumerate(("", *network.config.classes)):
        if name in known:
            ours.weight[row] = theirs.weight[known[name]]
            ours.bias[row] = theirs.bias[known[name]]
        else:
            ours.weight[row] = theirs.weight[1:].mean(0)
            ours.bias[row] = theirs.bias[1:].mean() + log(len(known) - 1) - log(len(new))


def looking_model(settings: PretrainSettings, network: CellRCNN) -> Model:
    """Return the model that compares unlabelled images: the start, or the bundled one if it is random."""
    if settings.init == "scratch" and bundled_path().is_file():
        return open_model(BUNDLED, settings.device)
    return Model(network, ModelInfo("start", network.config))


def open_index(settings: PretrainSettings, path: Path) -> UnlabelledIndex:
    """Open the index of unlabelled files, which is made once and kept when the run is resumed."""
    if path.exists():
        return UnlabelledIndex(path)
    return UnlabelledIndex.build(path, [Path(folder) for folder in settings.unlabelled], excluded(settings))


def excluded(settings: PretrainSettings) -> frozenset[str]:
    """Return the stems to leave out.

    Raises
    ------
    InputError
        If a list named in `exclude` does not exist.
    """
    stems: set[str] = set()
    for entry in settings.exclude:
        path = Path(entry)
        if path.suffix == ".txt":
            if not path.is_file():
                raise InputError(f"The list of excluded images {path} does not exist; check --exclude.")
            stems.update(
                line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
            )
        else:
            stems.add(entry)
    return frozenset(stems)


def unmet_notice(stems: frozenset[str]) -> str:
    """Report the names in `exclude` that match no unlabelled image; they may be misspelt."""
    return (
        f"{len(stems)} of the names in --exclude match no unlabelled image ({some_of(sorted(stems))}); give "
        "file names without suffix."
    )


def make_contrast(
    settings: PretrainSettings, index: UnlabelledIndex, weights: np.ndarray | None, backbone: nn.Module
) -> tuple[ViewPairs, ContrastiveObjective, str]:
    """Make the data and the objective of the contrastive step.

    Parameters
    ----------
    settings : PretrainSettings
        The settings of the run.
    index : UnlabelledIndex
        The unlabelled files.
    weights : numpy.ndarray or None
        float (len(index),), how often each file is drawn; None = equally often.
    backbone : torch.nn.Module
        The query encoder.

    Returns
    -------
    ViewPairs
        The pairs of views.
    ContrastiveObjective
        The objective with its queue.
    str
        A remark if the queue had to be shortened, else "".
    """
    updates = settings.contrastive_steps + (settings.supervised_steps if settings.supervised else 0)
    distinct = index.distinct_crops(settings.context)
    if weights is not None:
        # If some files are drawn more often than others, there are fewer different crops.
        distinct = int(distinct * weights.sum() ** 2 / (len(weights) * (weights**2).sum()))
    length, remark = queue_length(
        distinct,
        settings.contrastive_batch,
        settings.queue,
        oldest_sound_key(settings.momentum, updates),
    )
    crops = UnlabelledCrops(index, settings.context, stream_seed(settings.seed, "unlabelled"), weights)
    pairs = ViewPairs(crops, replace(ViewSettings(), side=settings.view))
    contrast = ContrastSettings(
        queue=length,
        dim=settings.dim,
        temperature=settings.temperature,
        momentum=settings.momentum,
        bn_splits=settings.bn_splits,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(settings.seed, "heads"))
        generator = torch.Generator().manual_seed(stream_seed(settings.seed, "queue"))
        objective = make_objective(settings.contrast, backbone, contrast, generator)
    return pairs, objective, remark


def make_fields(settings: PretrainSettings, sources: Sources) -> MixedFields:
    """Make the fields of the supervised step."""
    return MixedFields(sources.mixed, sources.classes, stream_seed(settings.seed, "source"))


def make_held_out(settings: PretrainSettings, sources: Sources) -> HeldOut | None:
    """Make the held-out fields, which show forgetting; None if the settings turn validation off."""
    if not settings.supervised or settings.validate_every == 0:
        return None
    dataset = MixedFields(sources.held_out, sources.classes, stream_seed(settings.seed, "held-out fields"))
    return HeldOut(dataset, settings.validation_fields)
