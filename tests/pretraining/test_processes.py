"""Two processes on the CPU train as one does on the same global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from napari_cupre.pretraining.pretrain_folder import PretrainFolder
from napari_cupre.pretraining.pretrain_settings import PretrainSettings


def pretrain(settings: PretrainSettings, out: Path, tmp_path: Path, *options: str) -> list[dict[str, float]]:
    config = tmp_path / f"{out.name}.yaml"
    config.write_text(yaml.safe_dump(settings.as_dict()))
    command = [sys.executable, "-m", "napari_cupre.cli.pretrain", "--config", str(config), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return PretrainFolder(out).read_metrics()


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_two_processes_have_the_losses_of_one(small: Callable[..., PretrainSettings], tmp_path: Path) -> None:
    settings = small(contrast="densecl", iterations=2)  # half of which is MoCo v2
    one = pretrain(settings, tmp_path / "one", tmp_path)
    two = pretrain(settings, tmp_path / "two", tmp_path, "--devices", "2")
    for alone, together in zip(one, two, strict=True):
        for name in ("contrast", "rpn_score", "rpn_box", "score", "box", "mask"):
            assert together[name] == pytest.approx(alone[name], rel=2e-3, abs=1e-5), (name, alone["step"])
        assert together["contrast_accuracy"] == pytest.approx(alone["contrast_accuracy"])
