"""Rounds of a project, as the Train dock sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from psygnal import Signal

from napari_cupre.errors import InputError
from napari_cupre.project.project import Project
from napari_cupre.project.recovery import save_as
from napari_cupre.widgets.training_rounds import TrainingRounds


class Keeper:
    """Knows a project and counts what it is told."""

    changed = Signal()
    opened = Signal(object)

    def __init__(self, project: Project | None) -> None:
        self.project, self.touched = project, 0

    def touch(self) -> None:
        self.touched += 1


class Window:
    """What rounds need of a session."""

    models_changed = Signal()

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.model = keeper, "cupre"


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(Project.create(tmp_path / "plate.cupre"))


@pytest.fixture
def rounds(keeper: Keeper) -> TrainingRounds:
    return TrainingRounds(Window(keeper))


def train(rounds: TrainingRounds, start: str = "cupre", **verdict: object) -> Path:
    out = rounds.next_out()
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(np.arange(3).tobytes())
    assert rounds.enter(out, start, dict(verdict)) is not None
    return out


def test_without_a_project_there_are_no_rounds() -> None:
    rounds = TrainingRounds(Window(Keeper(None)))
    assert rounds.entries() == []
    assert rounds.start() is rounds.next_out() is None
    assert rounds.enter(Path("v1.safetensors"), "cupre", {}) is None


def test_the_next_round_starts_from_the_best(rounds: TrainingRounds, keeper: Keeper) -> None:
    first = train(rounds)
    second = train(rounds, str(first), better=True, words="finds 41 of 46")
    third = train(rounds, str(second), better=False)
    assert [out.name for out in (first, second, third)] == [f"v{n}.safetensors" for n in (1, 2, 3)]
    assert rounds.start() == str(second)
    assert [entry.title for entry in rounds.entries()] == ["v2 (best)", "v3", "v1"]
    assert "finds 41 of 46" in rounds.entries()[0].tooltip
    assert keeper.project.document.rounds[1].parent == "v1"
    assert keeper.touched == 3


def test_a_model_of_the_users_called_like_a_round_is_no_round(
    rounds: TrainingRounds, keeper: Keeper, own_models: Path
) -> None:
    (own_models / "v1.safetensors").write_bytes(b"weights")
    first = train(rounds)
    train(rounds, "v1")
    train(rounds, str(first))
    assert keeper.project is not None
    parents = [each.parent for each in keeper.project.document.rounds]
    assert parents == ["cupre", str(own_models / "v1.safetensors"), "v1"]
    tips = {entry.title: entry.tooltip for entry in rounds.entries()}
    assert tips["v2"].endswith("from v1 (not a round)")
    assert tips["v3"].endswith("from v1")


def test_back_to_an_earlier_round(rounds: TrainingRounds) -> None:
    first = train(rounds)
    train(rounds, better=True)
    assert rounds.go_back("v1") == str(first)
    assert rounds.start() == str(first)
    first.unlink()
    with pytest.raises(InputError, match="no round v1"):
        rounds.go_back("v1")


def test_a_training_that_was_broken_off_keeps_its_number(rounds: TrainingRounds) -> None:
    broken = rounds.next_out()
    broken.with_suffix(".run").mkdir(parents=True)
    other = train(rounds)
    assert (broken.stem, other.stem) == ("v1", "v2")
    broken.write_bytes(b"resumed after all")
    assert rounds.enter(broken, "cupre", {}).name == "v1"
    assert rounds.next_out().stem == "v3"


def test_a_model_is_entered_once_and_only_into_its_own_project(
    rounds: TrainingRounds, tmp_path: Path
) -> None:
    out = train(rounds)
    assert rounds.enter(out, "cupre", {}) is None
    elsewhere = tmp_path / "v7.safetensors"
    elsewhere.write_bytes(b"")
    assert rounds.enter(elsewhere, "cupre", {}) is None
    assert rounds.name_of(str(out)) == "v1"
    assert rounds.name_of("cells") == "cells"


def test_a_project_that_gets_a_place_takes_its_models_along(keeper: Keeper, tmp_path: Path) -> None:
    window = Window(keeper)
    rounds = TrainingRounds(window)
    keeper.changed.emit()
    window.model = str(train(rounds))
    keeper.project.save()
    keeper.project = save_as(keeper.project, tmp_path / "kept.cupre")
    keeper.changed.emit()
    assert window.model == str(keeper.project.folder / "models" / "v1.safetensors")
    assert rounds.start() == window.model


def test_a_project_that_is_opened_brings_its_best_round(keeper: Keeper, rounds: TrainingRounds) -> None:
    best = train(rounds)
    train(rounds)
    again = Window(keeper)
    opened = TrainingRounds(again)
    keeper.changed.emit()
    keeper.opened.emit(keeper.project)
    assert again.model == str(best)
    again.model = "nuclei"
    keeper.changed.emit()
    assert again.model == "nuclei", "a choice stays while the project does"
    assert opened.start() == str(best)


def test_a_choice_stays_when_the_project_gets_a_place(keeper: Keeper, tmp_path: Path) -> None:
    window = Window(keeper)
    rounds = TrainingRounds(window)
    keeper.changed.emit()
    train(rounds)
    window.model = "nuclei"
    keeper.project.save()
    keeper.project = save_as(keeper.project, tmp_path / "kept.cupre")
    keeper.changed.emit()
    assert rounds.start() is not None
    assert window.model == "nuclei"


def test_another_project_brings_its_best_round_and_not_one_of_the_same_number(
    keeper: Keeper, tmp_path: Path
) -> None:
    window = Window(keeper)
    rounds = TrainingRounds(window)
    keeper.changed.emit()
    window.model = str(train(rounds))
    keeper.project = Project.create(tmp_path / "other.cupre")
    train(rounds)
    best = train(rounds, better=True)
    keeper.changed.emit()
    keeper.opened.emit(keeper.project)
    assert window.model == str(best)
