"""Cards of models, read without torch; copies and new names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from napari_cupre.errors import InputError, ModelFileError
from napari_cupre.model.cards import copy_model, read_card, rename_model
from napari_cupre.model.runs import run_path
from napari_cupre.model.zoo import BUNDLED, bundled_path, user_path

HEADER = (
    '{"name": "mine", "diameter": 24.0, "licence": "BSD", "training": {"parent": "v1", "cells": 46, '
    '"images": 3, "steps": 70, "seconds": 121, "parent_training": {"parent": "cupre"}}, '
    '"metrics": {"held_out": [{"step": 70, "ap50": 0.81, "cells": 29}]}}'
)


@pytest.fixture
def mine(own_models: Path) -> Path:
    """A model of the user's, with a run beside it."""
    save_file({"a": np.zeros(4, np.float16)}, own_models / "mine.safetensors", {"napari_cupre": HEADER})
    run_path(own_models / "mine.safetensors").mkdir()
    (own_models / "mine.run" / "state.safetensors").write_bytes(b"0" * 1000)
    return own_models / "mine.safetensors"


def test_a_card_says_where_a_model_comes_from(mine: Path) -> None:
    card = read_card(mine)
    lines = dict(card.lines())
    assert lines["learned from"] == "46 cells in 3 images"
    assert lines["started from"] == "v1 ← cupre"
    assert lines["trained"] == "70 steps in 2 min"
    assert lines["figures"] == "AP50 0.81 on 29 held-out cells"
    text = '"cells": 1}]}}'
    save_file({"a": np.zeros(4, np.float16)}, mine, {"napari_cupre": HEADER.replace('"cells": 29}]}}', text)})
    assert dict(read_card(mine).lines())["figures"] == "none, since only 1 cell was held out"
    assert (card.run_size, card.fault, card.parent) == (1000, "", "v1")


def test_the_card_of_a_shipped_model(own_models: Path) -> None:
    lines = dict(read_card(bundled_path("cells")).lines())
    assert lines["learned from"].startswith("bbbc038, ")
    assert re.search(r"AP50 0\.\d\d", lines["figures"])


def test_a_damaged_file_has_a_card_that_says_so(mine: Path) -> None:
    mine.write_bytes(mine.read_bytes()[:-3])
    card = read_card(mine)
    assert "not a complete model file" in card.fault
    assert dict(card.lines()) == {"damaged": card.fault}
    assert read_card(mine.with_name("gone.safetensors")).fault


def test_only_models_are_copied(mine: Path, tmp_path: Path) -> None:
    assert copy_model(mine, tmp_path / "b.safetensors").read_bytes() == mine.read_bytes()
    (tmp_path / "text.safetensors").write_text("no model")
    with pytest.raises(ModelFileError):
        copy_model(tmp_path / "text.safetensors", tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_a_model_is_renamed_with_its_run(mine: Path) -> None:
    assert rename_model("mine", "plate 2").stem == "plate 2"
    assert not mine.exists()
    assert (user_path("plate 2").parent / "plate 2.run" / "state.safetensors").is_file()
    assert rename_model("plate 2", "plate 2.safetensors").stem == "plate 2", "the same name again"


@pytest.mark.parametrize("name", ["", "  ", "../out", "a/b", ".hidden", BUNDLED, "nuclei", "other"])
def test_names_that_cannot_be_are_refused(mine: Path, name: str) -> None:
    copy_model(mine, mine.with_name("other.safetensors"))
    with pytest.raises(InputError):
        rename_model("mine", name)
    assert mine.is_file()


def test_a_shipped_model_keeps_its_name(own_models: Path) -> None:
    with pytest.raises(InputError, match="not one of your models"):
        rename_model(BUNDLED, "mine")


def test_cards_are_read_without_torch() -> None:
    code = (
        "import sys; from napari_cupre.model.cards import read_card\n"
        "from napari_cupre.model.zoo import bundled_path\n"
        "assert read_card(bundled_path()).header\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_model_that_cannot_be_opened_is_not_called_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cupre.model.checkpoint import read_info

    path = tmp_path / "m.safetensors"
    path.write_bytes(b"x")

    def refuse(self: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ModelFileError, match="cannot be read: access is denied"):
        read_info(path)
