from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_cupre.model.checkpoint import read_info, read_model


def test_add_list_info_export_remove(command: Callable[..., Any], tiny_model: Path, tmp_path: Path) -> None:
    added = command("models", "add", tiny_model, "--name", "my nuclei", "--json")
    assert (added.code, added.figures["name"]) == (0, "my-nuclei")

    listed = command("models", "list", "--json")
    assert {"scratch", "my-nuclei"} <= {entry["name"] for entry in listed.figures["models"]}

    info = command("models", "info", "my-nuclei", "--json")
    assert "random weights" in info.out
    assert info.figures["config"]["preset"] == "tiny"

    target = tmp_path / "handed on.safetensors"
    assert command("models", "export", "my-nuclei", target).code == 0
    again = command("models", "export", "my-nuclei", target)
    assert again.code == 2
    assert "handed on.safetensors" in again.err
    assert command("models", "export", "my-nuclei", target, "--overwrite").code == 0
    assert read_info(target).config.preset == "tiny"

    renamed = command("models", "rename", "my-nuclei", "plates", "--json")
    assert (renamed.code, renamed.figures["name"]) == (0, "plates")
    assert command("models", "rename", "plates", "cupre").code == 2

    assert command("models", "remove", "plates").code == 0
    assert "my-nuclei" not in command("models", "list").out


def test_what_trainings_take_is_listed_and_goes_with_the_model(
    command: Callable[..., Any], tiny_model: Path, own_models: Path
) -> None:
    command("models", "add", tiny_model, "--name", "mine")
    (own_models / "mine.run").mkdir()
    (own_models / "mine.run" / "state.safetensors").write_bytes(bytes(3_000_000))
    (own_models / "killed.run").mkdir()
    listed = command("models", "list", "--json")
    sizes = {entry["name"]: entry["run_bytes"] for entry in listed.figures["models"]}
    assert sizes["mine"] == 3_000_000
    assert sizes["killed"] == 0
    assert "3 MB to resume its training" in listed.out
    assert command("models", "remove", "mine").code == 0
    assert command("models", "remove", "killed").code == 0
    assert not list(own_models.iterdir())


@pytest.mark.timeout(1200)  # quantising takes half a minute of processor time
def test_export_to_openvino_gives_a_model_with_figures(
    command: Callable[..., Any], tiny_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    target = tmp_path / "light.safetensors"
    ran = command("models", "export", tiny_model, target, "--format", "openvino", "--json")
    assert ran.code == 0
    assert 0 <= ran.figures["openvino f1"] <= 1
    assert ran.figures["openvino speed"] > 0
    info = command("models", "info", target, "--json")
    assert info.figures["metrics"]["openvino f1"] == ran.figures["openvino f1"]


@pytest.mark.timeout(1200)
def test_the_fastest_format_must_keep_the_cells(
    command: Callable[..., Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    monkeypatch.setattr("napari_cupre.cli.lighter.SAME", 1.1)
    target = tmp_path / "light.safetensors"
    ran = command("models", "export", tiny_model, target, "--format", "fastest")
    assert "finds other cells, so the file keeps the format safetensors" in ran.out
    assert not read_model(target, "cpu").graphs


def test_export_to_openvino_says_what_is_missing(
    command: Callable[..., Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cupre.model.openvino.find_spec", lambda name: None)
    ran = command("models", "export", tiny_model, tmp_path / "light.safetensors", "--format", "openvino")
    assert ran.code == 2
    assert "napari-cupre[fast]" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("action", ["info", "export", "remove"])
def test_a_model_that_is_not_there(command: Callable[..., Any], tmp_path: Path, action: str) -> None:
    more = [tmp_path / "x.safetensors"] if action == "export" else []
    ran = command("models", action, "gone", *more)
    assert ran.code == 2
    assert "'gone'" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\xff" * 64])
def test_a_foreign_file_is_no_model(command: Callable[..., Any], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    ran = command("models", "add", path)
    assert ran.code == 2
    assert str(path) in ran.err
    assert "Traceback" not in ran.err
    assert command("models", "info", path).code == 2


def test_the_bundled_model_cannot_be_removed(command: Callable[..., Any]) -> None:
    assert command("models", "remove", "cupre").code == 2
