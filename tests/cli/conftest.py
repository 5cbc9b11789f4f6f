from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from napari_cupre.cli.main import main


@dataclass
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def figures(self) -> dict[str, Any]:
        """The last line, as --json promises it."""
        return json.loads(self.out.splitlines()[-1])


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs `napari-cupre ...` in this process."""

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as left:
            code = int(left.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of the preset that is made for tests, with random weights."""
    from napari_cupre.model.checkpoint import new_model, save_model

    return save_model(new_model("tiny"), tmp_path_factory.mktemp("model") / "tiny.safetensors")
