"""Trains StarDist or Cellpose from random weights and predicts; runs in an environment of their own.

    PEER/bin/python benchmarks/peer_training.py case.npz found.npz 60

Called by `peers.py`. The case holds grey or colour images, scaled so that the annotated cells have the
diameter that the package works at, and the label images of those that teach. The seconds are CPU time of
training, from after its first step on, so that building the network does not count.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
SEED = 0
CELLPOSE_DIAMETER = 30.0


def main() -> None:
    case, out, seconds = np.load(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    images = [case[f"image_{number}"] for number in range(int(case["taught"]))]
    labels = [case[f"labels_{number}"].astype(np.uint16) for number in range(int(case["taught"]))]
    np.random.seed(SEED)  # what both packages draw from
    try:
        import stardist  # noqa: F401

        predict, steps = train_stardist(images, labels, seconds)
    except ModuleNotFoundError:
        predict, steps = train_cellpose(images, labels, seconds)
    found = {f"found_{number}": predict(case[f"test_{number}"]) for number in range(int(case["tested"]))}
    np.savez_compressed(out, steps=steps, **found)


def train_stardist(images: list[np.ndarray], labels: list[np.ndarray], seconds: float) -> tuple[Predict, int]:
    """As in StarDist's own notebook: 32 rays, grid 2, flips, turns and intensity, tuned thresholds."""
    import tensorflow as tf
    from csbdeep.utils import normalize
    from stardist import fill_label_holes
    from stardist.models import Config2D, StarDist2D

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.random.set_seed(SEED)
    axes = (0, 1)
    normal = [normalize(image, 1, 99.8, axis=axes) for image in images]
    filled = [fill_label_holes(each) for each in labels]
    channels = 3 if images[0].ndim == 3 else 1
    side = min(256, *(length // 16 * 16 for image in images for length in image.shape[:2]))
    config = Config2D(
        n_rays=32,
        grid=(2, 2),
        n_channel_in=channels,
        train_patch_size=(side, side),
        train_batch_size=4,
        train_tensorboard=False,
        train_reduce_lr=None,
    )
    model = StarDist2D(config, name="peer", basedir=tempfile.mkdtemp())
    rng = np.random.default_rng(SEED)

    def augmented(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turns = int(rng.integers(4))
        image, truth = np.rot90(image, turns, axes), np.rot90(truth, turns, axes)
        if rng.random() < 0.5:
            image, truth = image[::-1], truth[::-1]
        return image * rng.uniform(0.6, 2) + rng.uniform(-0.2, 0.2), truth

    check = ([normal[0][:side, :side]], [filled[0][:side, :side]])
    model.train(normal, filled, check, augmenter=augmented, epochs=1, steps_per_epoch=1)
    begin, steps = time.process_time(), 1
    while time.process_time() - begin < seconds:
        model.train(normal, filled, check, augmenter=augmented, epochs=1, steps_per_epoch=20)
        steps += 20
    model.optimize_thresholds(normal, filled)

    def predict(image: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_instances(normalize(image, 1, 99.8, axis=axes))[0])

    return predict, steps


def train_cellpose(images: list[np.ndarray], labels: list[np.ndarray], seconds: float) -> tuple[Predict, int]:
    """Cellpose 3's own `train_seg` with AdamW and its usual rates; as many epochs as fit."""
    import torch
    from cellpose import models, train

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    grey = [_grey(image) for image in images]
    folder = tempfile.mkdtemp()

    def trained(epochs: int) -> models.CellposeModel:
        model = models.CellposeModel(gpu=False, pretrained_model="", diam_mean=CELLPOSE_DIAMETER)
        train.train_seg(
            model.net,
            train_data=grey,
            train_labels=labels,
            channels=[0, 0],
            n_epochs=epochs,
            learning_rate=0.005,
            weight_decay=1e-5,
            SGD=False,
            batch_size=4,
            min_train_masks=1,
            rescale=False,
            normalize=True,
            save_path=folder,
            model_name="peer",
        )
        return model

    trained(1)
    begin = time.process_time()
    trained(2)
    an_epoch = (time.process_time() - begin) / 2
    epochs = max(1, round(seconds / an_epoch))
    model = trained(epochs)

    def predict(image: np.ndarray) -> np.ndarray:
        return np.asarray(model.eval(_grey(image), channels=[0, 0], diameter=CELLPOSE_DIAMETER)[0])

    return predict, epochs


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else image.mean(axis=-1)


if __name__ == "__main__":
    main()
