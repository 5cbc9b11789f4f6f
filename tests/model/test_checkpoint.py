"""One safetensors file per model: round trips, and every kind of wrong file named in one sentence."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from napari_cupre.errors import EnvironmentFault, InputError, ModelFileError
from napari_cupre.model import zoo
from napari_cupre.model.checkpoint import (
    HEADER_KEY,
    Model,
    ModelInfo,
    new_model,
    read_info,
    read_model,
    save_model,
)
from napari_cupre.model.config import preset
from napari_cupre.model.network import CellRCNN


@pytest.fixture
def model():
    return new_model("tiny", seed=3)


def test_a_model_survives_the_file(model, tmp_path: Path) -> None:
    path = save_model(model, tmp_path / "deep" / "model.safetensors")
    again = read_model(path, "cpu")
    assert again.info == model.info
    for key, value in model.network.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        torch.testing.assert_close(again.network.state_dict()[key], expected)
    assert list(path.parent.iterdir()) == [path]


def test_the_same_seed_gives_the_same_weights(model) -> None:
    again = new_model("tiny", seed=3)
    for a, b in zip(model.network.parameters(), again.network.parameters()):
        torch.testing.assert_close(a, b)


def test_a_copy_shares_nothing(model) -> None:
    copy = model.copy(name="other")
    with torch.no_grad():
        next(copy.network.parameters()).zero_()
    assert next(model.network.parameters()).any()
    assert (copy.info.name, model.info.name) == ("other", "scratch")


def wrong_files(tmp_path: Path, model) -> dict[str, Path]:
    good = save_model(model, tmp_path / "good.safetensors").read_bytes()
    files = {
        "is not a complete safetensors": b"this is no model",
        "not a complete": good[:6],
        "(?i)metadata.?incomplete|incomplete metadata": good[: len(good) // 2],
    }
    paths = {}
    for number, (sentence, content) in enumerate(files.items()):
        paths[sentence] = tmp_path / f"wrong{number}.safetensors"
        paths[sentence].write_bytes(content)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    later = tmp_path / "later.safetensors"
    document = {**model.info.as_dict(), "format_version": 99}
    save_file({"weight": torch.zeros(2)}, later, metadata={HEADER_KEY: json.dumps(document)})
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other, metadata={HEADER_KEY: json.dumps(model.info.as_dict())})
    return paths | {
        "not a napari-cupre model": foreign,
        "format version 99": later,
        "does not fit its own settings": other,
        "There is no model file": tmp_path / "nowhere.safetensors",
    }


def test_wrong_files_are_named_in_one_sentence(model, tmp_path: Path) -> None:
    for sentence, path in wrong_files(tmp_path, model).items():
        with pytest.raises(ModelFileError, match=sentence) as caught:
            read_model(path, "cpu")
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_the_old_file(model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_model(model, tmp_path / "model.safetensors")
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        save_model(model.copy(name="new"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_diverged_model_is_not_saved(model, tmp_path: Path) -> None:
    with torch.no_grad():
        next(model.network.parameters()).fill_(float("nan"))
    with pytest.raises(ModelFileError, match="diverged"):
        save_model(model, tmp_path / "model.safetensors")


def test_the_zoo_lists_adds_and_removes(model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_CUPRE_MODELS", str(tmp_path / "models"))
    path = save_model(model, tmp_path / "mine.safetensors")
    assert zoo.add_model(path).name == "mine"
    assert zoo.add_model(path).name == "mine-2"
    names = [entry.name for entry in zoo.list_models()]
    assert names[-2:] == ["mine", "mine-2"]
    assert "scratch" in names
    assert zoo.open_model("mine", "cpu").info.config.preset == "tiny"
    assert zoo.describe("mine") == read_info(path)
    assert zoo.free_name("a cell/model ") == "a-cell-model"
    zoo.remove_model("mine")
    with pytest.raises(ModelFileError, match="no model 'mine'"):
        zoo.find_model("mine")
    with pytest.raises(InputError, match="not one of your models"):
        zoo.remove_model("cupre")
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(ModelFileError):
        zoo.add_model(tmp_path / "bad.safetensors")


def test_shipped_models_have_names_and_the_users_own_of_a_name_goes_before(
    model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_CUPRE_MODELS", str(tmp_path))
    names = [entry.name for entry in zoo.list_models()]
    assert names[:3] == ["cupre", "nuclei", "cells"]
    for name in names[:3]:
        info = zoo.describe(name)
        assert info.name == name
        assert info.config.backbone == "efficientnet_lite0"
        assert "Apache-2.0" in info.licence
    assert zoo.free_name("cells") == "cells-2"
    assert zoo.free_name("nuclei") == "nuclei-2"
    with pytest.raises(InputError, match="not one of your models"):
        zoo.remove_model("cells")
    mine = save_model(model, tmp_path / "cells.safetensors")
    assert zoo.find_model("cells").path == mine
    assert [entry.name for entry in zoo.list_models()].count("cells") == 1
    zoo.remove_model("cells")
    assert zoo.find_model("cells").path == zoo.bundled_path("cells")


def test_a_model_on_another_backbone_than_its_presets_of_today_loads(tmp_path: Path) -> None:
    network = CellRCNN(preset("compact", backbone="resnest14d"))
    path = save_model(Model(network, ModelInfo("old", network.config)), tmp_path / "old.safetensors")
    loaded = read_model(path, "cpu")
    assert loaded.info.config.backbone == "resnest14d"
    assert loaded.copy().network.backbone.channels == network.backbone.channels
