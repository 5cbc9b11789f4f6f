"""`napari-cupre-pretrain`: options, settings files, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import yaml

from napari_cupre.cli.pretrain import main, pretrain_parser, read_pretrain_settings
from napari_cupre.errors import InputError

TINY: dict[str, Any] = {
    "preset": "tiny",
    "synthetic": 1.0,
    "batch": 2,
    "crop": 64,
    "contrastive_batch": 4,
    "view": 32,
    "context": 40,
    "bn_splits": 2,
    "dim": 16,
    "validate_every": 0,
    "workers": 0,
    "device": "cpu",
    "precision": "32-true",
    "log_every": 1,
}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with unlabelled noise and a settings file."""
    (tmp_path / "unlabelled").mkdir()
    for number in range(24):
        rng = np.random.default_rng(number)
        pixels = np.repeat(np.repeat(rng.integers(0, 255, (8, 8)), 6, 0), 6, 1).astype(np.uint8)
        iio.imwrite(tmp_path / "unlabelled" / f"{number}.png", pixels)
    settings = {**TINY, "unlabelled": [str(tmp_path / "unlabelled")]}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def parsed(*options: str) -> Any:
    return read_pretrain_settings(pretrain_parser().parse_args(["--out", "run", *options]))


def test_options_go_before_assignments_and_these_before_the_file(world: Path) -> None:
    config = str(world / "tiny.yaml")
    settings = parsed(
        "--config", config, "--set", "batch=6", "--set", "seed=5", "--seed", "7", "--minutes", "2"
    )
    assert (settings.batch, settings.seed, settings.minutes, settings.crop) == (6, 7, 2.0, 64)
    assert parsed("--config", config, "--set", "seed=5").seed == 5


def test_settings_that_ship_go_by_name_and_numbers_are_numbers() -> None:
    settings = parsed("--config", "paper-moco", "--set", "contrastive_lr=3e-4", "--set", "lr=1")
    assert (settings.preset, settings.objective, settings.contrastive_batch) == ("paper", "moco", 256)
    assert settings.contrastive_lr == 3e-4  # which YAML takes for text
    assert isinstance(settings.lr, float)


def test_a_single_text_is_a_list_of_one(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("unlabelled: plates\nexclude: 7\n")
    one = parsed("--config", str(tmp_path / "one.yaml"), "--set", "exclude=test_set.txt")
    assert (one.unlabelled, one.exclude) == (("plates",), ("test_set.txt",))
    assert parsed("--config", str(tmp_path / "one.yaml"), "--set", "unlabelled=").exclude == ("7",)


def test_sources_come_with_their_images_and_weights() -> None:
    two = parsed("--source", "a.json", "--source-images", "a", "--source", "b.json", "--source-images", "b")
    assert [(s.json, s.images, s.weight) for s in two.source] == [("a.json", "a", 1.0), ("b.json", "b", 1.0)]
    with pytest.raises(InputError, match="1 --source, 0 --source-images"):
        parsed("--source", "a.json")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--set", "batch"], "NAME=VALUE"),
        (["--set", "bacth=4"], "bacth is not a setting"),
        (["--set", "batch=many"], "batch cannot be 'many'"),
        (["--config", "nowhere.yaml"], "no settings file nowhere.yaml"),
        (["--synthetic", "1", "--unlabelled", "x"], "needs a budget"),
        (["--minutes", "1", "--unlabelled", "x"], "needs a labelled source"),
        (["--minutes", "1", "--synthetic", "1"], "needs unlabelled images"),
        (["--minutes", "1", "--synthetic", "1", "--unlabelled", "nowhere"], "nowhere does not exist"),
        (
            ["--minutes", "1", "--synthetic", "1", "--unlabelled", "x", "--norm", "frozen"],
            "no BatchNorm statistics",
        ),
        (
            ["--minutes", "1", "--synthetic", "1", "--unlabelled", "x", "--set", "bn_splits=5"],
            "bn_splits is 5",
        ),
    ],
)
def test_unusable_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    code = main(["--out", str(tmp_path / "run"), "--preset", "tiny", "--device", "cpu", *options])
    said = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert sentence in said[-1]
    assert "Traceback" not in "".join(said)


def test_help_has_an_example_and_needs_no_torch() -> None:
    code = "import sys; from napari_cupre.cli.pretrain import pretrain_parser as parser"
    code += "; h = parser().format_help(); print('torch' in sys.modules, 'example' in h)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_run_and_its_last_line(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--config", str(world / "tiny.yaml"), "--out", str(world / "run"), "--json"]
    assert main([*options, "--iterations", "1"]) == 0
    figures = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert figures["iterations"] == 1
    assert Path(figures["model"]).is_file()
    assert main([*options, "--iterations", "1"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["--out", str(world / "run"), "--resume", "--iterations", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1])["iterations"] == 2


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGTERM ends a process at once on Windows")
def test_sigterm_saves_and_stops_with_130(world: Path) -> None:
    run = world / "run"
    command = [sys.executable, "-m", "napari_cupre.cli.pretrain", "--config", str(world / "tiny.yaml")]
    process = subprocess.Popen([*command, "--out", str(run), "--iterations", "100000", "--workers", "1"])
    try:
        wait_for(
            lambda: (run / "metrics.csv").exists() and len((run / "metrics.csv").read_text().splitlines()) > 2
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 130
    finally:
        process.kill()
    assert (run / "state.safetensors").is_file()
    assert (run / "model.safetensors").is_file()
