"""What training needs to continue, and the averaged weights: shared by fine-tuning and pretraining."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from napari_cupre.errors import EnvironmentFault, ModelFileError
from napari_cupre.model import training_state
from napari_cupre.model.average import WeightAverage
from napari_cupre.model.checkpoint import new_model
from napari_cupre.model.schedule import LAST_RATE, learning_rate_factor
from napari_cupre.model.training_state import fitting, moments_of, read_state, restore_moments, write_state


def trained(width: int = 3, seed: int = 0) -> tuple[torch.nn.Linear, torch.optim.AdamW]:
    torch.manual_seed(seed)
    layer = torch.nn.Linear(width, 2)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(4, width)).sum().backward()
    optimiser.step()
    return layer, optimiser


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    groups = {"network": {"a.b": torch.arange(3)}, "task": {"0/step": torch.tensor(2.0)}, "empty": {}}
    write_state(path, groups, {"counters": {"step": 3, "name": "ä"}})
    found, documents = read_state(path)
    assert found.keys() == {"network", "task"}
    assert torch.equal(found["network"]["a.b"], torch.arange(3))
    assert found["task"]["0/step"] == 2
    assert documents == {"counters": {"step": 3, "name": "ä"}}


def test_states_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    tensors = {"network.layer.weight": torch.ones(2), "optimiser.0.exp_avg": torch.zeros(2)}
    save_file(tensors, path, metadata={"counters": "{}"})
    found, _ = read_state(path)
    assert list(found["network"]) == ["layer.weight"]
    assert list(found["optimiser"]) == ["0.exp_avg"]


def test_an_optimiser_goes_on_as_if_it_had_not_been_interrupted(tmp_path: Path) -> None:
    layer, optimiser = trained()
    write_state(tmp_path / "s.safetensors", {"optimiser": moments_of(optimiser)}, {})
    other = copy.deepcopy(layer)
    resumed = torch.optim.AdamW(other.parameters(), lr=0.1)
    restore_moments(resumed, read_state(tmp_path / "s.safetensors")[0]["optimiser"])
    for module, steps in ((layer, optimiser), (other, resumed)):
        steps.zero_grad()
        module(torch.ones(4, 3)).square().sum().backward()
        steps.step()
    assert torch.equal(layer.weight, other.weight)


def test_a_full_disk_is_said_and_the_old_state_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    write_state(path, {}, {"step": 1})

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(training_state, "save_file", full)
    with pytest.raises(EnvironmentFault, match=r"state\.safetensors.*the disk is full"):
        write_state(path, {}, {"step": 2})
    assert read_state(path)[1] == {"step": 1}


def test_a_damaged_or_foreign_state_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"no tensors")
    with (
        pytest.raises(ModelFileError, match=r"state\.safetensors is damaged.*: start anew"),
        fitting(path, "start anew"),
    ):
        read_state(path)
    _, optimiser = trained(5)
    with pytest.raises(ModelFileError, match="another network"), fitting(path, "start anew"):
        restore_moments(trained(3)[1], moments_of(optimiser))


def test_the_average_follows_soon_at_first_and_slowly_later() -> None:
    network = new_model("tiny").network
    average = WeightAverage(network, decay=0.9)
    begun = {key: value.clone() for key, value in average.network.state_dict().items()}
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor += 1
    average.update(network, 1)
    for key, value in average.network.state_dict().items():
        share = average.share_of(1) if value.is_floating_point() else 1
        torch.testing.assert_close(value, begun[key] + share, rtol=0, atol=1e-5, check_dtype=False)
    assert average.share_of(1) == pytest.approx(9 / 11)
    assert average.share_of(10_000) == pytest.approx(0.1)
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_rates_warm_up_and_fall_to_a_share_of_their_peak() -> None:
    warming = [learning_rate_factor(step, 0.0, 4) for step in range(6)]
    assert warming == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    falling = [learning_rate_factor(100, fraction / 10, 4) for fraction in range(13)]
    assert falling == sorted(falling, reverse=True)
    assert math.isclose(falling[-1], LAST_RATE)
