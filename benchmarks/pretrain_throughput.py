"""Iterations of AMT2 beside a plain loop around torchvision's Mask R-CNN of the same layout and crops.

    python benchmarks/pretrain_throughput.py                 # CPU: one thread, CPU seconds
    python benchmarks/pretrain_throughput.py --device cuda   # wall-clock seconds
    python benchmarks/pretrain_throughput.py --files 1000000 # how long an index of so many files takes

All loops see the same drawn fields (`--batch` of 256 px) and, for the contrastive step, the same 32 pairs of
views of 96 px, made beforehand: what is compared is the training, not the loading. The plain loop is
torchvision's `MaskRCNN` with the backbone, pyramid, anchors, head sizes and samples of the preset, its masks
one full-size plane for each instance, with AdamW, gradient clipping and nothing else.
"""

from __future__ import annotations

import itertools
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from script import script_parser
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from napari_cupre.io.unlabelled import UnlabelledIndex
from napari_cupre.model.backbone import Backbone
from napari_cupre.model.config import ModelConfig, preset
from napari_cupre.model.contrast import ContrastSettings, make_objective
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.targets import Target
from napari_cupre.model.views import ViewSettings, make_view
from napari_cupre.pretraining.amt2 import Amt2
from napari_cupre.pretraining.labelled_sources import FieldBatch, MixedFields, SyntheticSource, collate_fields
from napari_cupre.pretraining.pretrain_run import make_fabric
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.pretraining.ranks import Ranks
from napari_cupre.pretraining.view_pairs import ViewBatch, ViewPair, collate_views


def settings(name: str, device: str, objective: str) -> PretrainSettings:
    return PretrainSettings(
        preset=name,
        synthetic=1.0,
        unlabelled=("-",),
        iterations=1,
        objective=objective,
        device=device,
        cosine_every=0,
    )


def field_batches(config: ModelConfig, count: int, size: int) -> list[FieldBatch]:
    fields = MixedFields([(SyntheticSource(256, 0, config.diameter), 1.0)], config.classes, seed=0)
    return [collate_fields([fields[size * batch + i] for i in range(size)]) for batch in range(count)]


def view_batch(size: int = 32) -> ViewBatch:
    """Pairs of views of drawn fields; their content does not change the cost."""
    source = SyntheticSource(160, 1, 24.0)
    pairs = []
    for number in range(size):
        rng = np.random.default_rng(number)
        crop = source.draw(rng, []).image
        pairs.append(ViewPair(make_view(crop, rng, ViewSettings()), make_view(crop, rng, ViewSettings()), []))
    return collate_views(pairs)


def amt2_step(name: str, device: str, objective: str, fields: list[FieldBatch]) -> Callable[[], None]:
    """One iteration of AMT2 or of its supervised half."""
    chosen = settings(name, device, objective)
    ranks = Ranks(make_fabric(chosen))
    torch.manual_seed(0)
    network = CellRCNN(preset(name)).to(ranks.fabric.device)
    contrast = None
    if objective == "amt2":
        queue = ContrastSettings(queue=4096, bn_splits=chosen.bn_splits)
        contrast = make_objective("mocov2", network.backbone, queue, torch.Generator().manual_seed(0))
        contrast.to(ranks.fabric.device)
    learner = Amt2(network, contrast, chosen, ranks)
    views, batches, steps = itertools.repeat(view_batch()), itertools.cycle(fields), itertools.count()
    return lambda: void(learner.iterate(next(steps), 0.5, views, batches))


class TimmForTorchvision(BackboneWithFPN):
    """The same backbone and pyramid, as torchvision's detectors take them."""

    def __init__(self, config: ModelConfig) -> None:
        nn.Module.__init__(self)
        inner = CellRCNN(config)
        self.body: Backbone = inner.backbone
        self.fpn = inner.neck
        self.out_channels = config.fpn_channels

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.fpn(self.body(images))


def plain_step(name: str, device: str, fields: list[FieldBatch]) -> Callable[[], None]:
    """One step of a plain loop around torchvision's Mask R-CNN."""
    config = preset(name)
    torch.manual_seed(0)
    anchors = AnchorGenerator(config.anchor_sizes, (config.aspect_ratios,) * len(config.anchor_sizes))
    network = MaskRCNN(
        TimmForTorchvision(config),
        rpn_anchor_generator=anchors,
        rpn_pre_nms_top_n_train=config.rpn_candidates[0],
        rpn_post_nms_top_n_train=config.rpn_candidates[1],
        rpn_batch_size_per_image=config.rpn_batch,
        rpn_fg_iou_thresh=config.rpn_iou[1],
        rpn_bg_iou_thresh=config.rpn_iou[0],
        box_batch_size_per_image=config.roi_batch,
        box_head=TwoMLPHead(config.fpn_channels * 49, config.box_hidden),
        box_predictor=FastRCNNPredictor(config.box_hidden, 2),
        mask_head=MaskRCNNHeads(config.fpn_channels, (config.mask_channels,) * config.mask_convs, 1),
        mask_predictor=MaskRCNNPredictor(config.mask_channels, config.mask_channels, 2),
        num_classes=None,
        min_size=256,
        max_size=256,
        box_detections_per_img=3000,
    )
    network.to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4)
    batches = itertools.cycle(fields)

    def step() -> None:
        batch = next(batches)
        losses = network(
            [image.to(device) for image in batch.images], [stock_target(t, device) for t in batch.targets]
        )
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()

    return step


def stock_target(target: Target, device: str) -> dict[str, Tensor]:
    """A label image as torchvision wants it: one plane for each instance."""
    masks = (target.instances[None] == target.ids[:, None, None]).to(torch.uint8)
    return {"boxes": target.boxes.to(device), "labels": target.classes.to(device), "masks": masks.to(device)}


def void(_: object) -> None:
    """Nothing is made of a result."""


def seconds(step: Callable[[], None], device: str, repeats: int) -> float:
    """Median seconds of a step: of CPU time, which other work does not move; wall-clock on a GPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    step()
    taken = []
    for _ in range(repeats):
        start = clock()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        taken.append(clock() - start)
    return float(np.median(taken))


def time_index(count: int) -> None:
    """List a folder of many empty files."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        for number in range(count):
            if number % 10_000 == 0:
                (images / str(number // 10_000)).mkdir(parents=True)
            (images / str(number // 10_000) / f"{number}.png").touch()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, cpu = time.perf_counter(), time.process_time()
        index = UnlabelledIndex.build(Path(folder) / "index.sqlite", [images])
        taken, cpu = time.perf_counter() - start, time.process_time() - cpu
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"index of {len(index)} files: {taken:.1f} s ({cpu:.1f} s CPU), {grown:.0f} MiB more memory")


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--preset", default="compact")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4, help="fields of a step")
    parser.add_argument("--files", type=int, help="measure the index instead")
    args = parser.parse_args()
    if args.files:
        time_index(args.files)
        return
    torch.set_num_threads(1)
    fields = field_batches(preset(args.preset), args.repeats + 1, args.batch)
    where = (
        torch.cuda.get_device_name() if args.device != "cpu" else f"{platform.machine()}, 1 thread, CPU time"
    )
    print(f"preset {args.preset}, {where}, torch {torch.__version__}")
    loops = {
        "plain torchvision loop": lambda: plain_step(args.preset, args.device, fields),
        "AMT2, supervised step alone": lambda: amt2_step(args.preset, args.device, "supervised", fields),
        "AMT2, both steps": lambda: amt2_step(args.preset, args.device, "amt2", fields),
    }
    for name, make in loops.items():
        taken = seconds(make(), args.device, args.repeats)
        print(f"{name:30s} {taken:7.3f} s   {1 / taken:5.2f} steps/s   {args.batch / taken:6.1f} images/s")


if __name__ == "__main__":
    main()
