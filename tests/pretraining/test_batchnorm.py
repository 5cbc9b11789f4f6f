"""BatchNorm over two domains."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from napari_cupre.model.config import preset
from napari_cupre.model.contrast import in_groups
from napari_cupre.model.network import CellRCNN
from napari_cupre.pretraining.amt2 import Amt2
from napari_cupre.pretraining.batchnorm import DomainStatistics
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.pretraining.ranks import Ranks


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


CELLS = torch.randn(8, 3, 4, 4) * 0.1
SOURCE = torch.randn(8, 3, 4, 4) * 3.0 + 5.0


def train(net: nn.Module, statistics: DomainStatistics, steps: int = 60) -> None:
    for _ in range(steps):
        with statistics.training("cells"):
            net(CELLS)
        with statistics.training("source"):
            net(SOURCE)


def means(net: nn.Sequential) -> Tensor:
    return net[1].running_mean.clone()


def test_dual_keeps_a_set_for_each_domain() -> None:
    net = network()
    statistics = DomainStatistics(net, "dual")
    train(net, statistics)
    with torch.no_grad():
        expected = {
            name: net[0](images).mean((0, 2, 3)) for name, images in (("cells", CELLS), ("source", SOURCE))
        }
    assert torch.allclose(means(net), expected["cells"], atol=1e-2)
    with statistics.standing_in("source"):
        assert torch.allclose(means(net), expected["source"], atol=2e-2)
    assert torch.allclose(means(net), expected["cells"], atol=1e-2)
    assert set(net.state_dict()) == set(network().state_dict())


def test_shared_is_a_mixture_of_both() -> None:
    net = network()
    train(net, DomainStatistics(net, "shared"))
    dual = network()
    statistics = DomainStatistics(dual, "dual")
    train(dual, statistics)
    with statistics.standing_in("source"):
        source = means(dual)
    between = (means(net) - means(dual)) / (source - means(dual))
    assert bool(((between > 0.2) & (between < 0.8)).all())


def test_frozen_statistics_stay_and_are_used() -> None:
    net = network()
    before = copy.deepcopy(net.state_dict())
    statistics = DomainStatistics(net, "frozen")
    with statistics.training("cells"):
        assert net.training
        assert not net[1].training
        used = net(CELLS)
    assert torch.equal(used, net.eval()(CELLS))
    train(net, statistics, 3)
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


def test_neck_and_heads_have_the_sources_statistics_whichever_set_is_kept() -> None:
    """Only the backbone sees cells; neck and heads of presets with `fpn_norm` see the source alone."""
    torch.manual_seed(0)
    net = CellRCNN(replace(preset("tiny"), fpn_norm=True))
    learner = Amt2(net, None, PretrainSettings(average=0.0), Ranks(Fabric(accelerator="cpu", devices=1)))
    images = torch.rand(2, 3, 64, 64)
    with learner.statistics.training("cells"):
        net.backbone(images)
    with learner.statistics.training("source"):
        net.features(images + 2.0)
    learner.average.take_in(net, learner.statistics, 1)
    saved = learner.average.network
    for part, is_alike in ((saved.neck, True), (saved.backbone, False)):
        cells = copy.deepcopy(part.state_dict())
        with learner.average.statistics.standing_in("source"):
            source = part.state_dict()
            same = [torch.equal(cells[name], source[name]) for name in cells if "running_mean" in name]
        assert same
        assert all(same) == is_alike
    assert any(bool((t != 0).any()) for name, t in saved.neck.state_dict().items() if "running_mean" in name)


def test_a_backward_pass_may_come_after_the_switch() -> None:
    net = network()
    statistics = DomainStatistics(net, "dual")
    with statistics.training("source"):
        loss = net(SOURCE).square().mean()
    loss.backward()
    assert net[0].weight.grad is not None


def test_groups_see_their_own_part_alone() -> None:
    net = network().train()
    images = torch.cat([CELLS, SOURCE])
    together = in_groups(lambda part: [net(part)], images, 2)[0]
    alone = torch.cat([network().train()(CELLS), network().train()(SOURCE)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(in_groups(lambda part: [net(part)], images, 1)[0], alone, atol=1e-2)


def test_statistics_of_all_processes_become_alike() -> None:
    net = network()
    statistics = DomainStatistics(net, "dual")
    train(net, statistics, 2)
    counts = net[1].num_batches_tracked.clone()
    statistics.average_over(lambda tensor: tensor * 0.5)
    assert torch.equal(net[1].num_batches_tracked, counts)
    assert net[1].running_var.max() < 1.0


@pytest.mark.parametrize("mode", ["dual", "shared", "frozen"])
def test_the_other_set_is_saved_and_loaded(mode: str) -> None:
    net, fresh = network(), network()
    statistics = DomainStatistics(net, mode)  # type: ignore[arg-type]
    train(net, statistics, 2)
    loaded = DomainStatistics(fresh, mode)  # type: ignore[arg-type]
    fresh.load_state_dict(net.state_dict())
    loaded.load_state({key: tensor.clone() for key, tensor in statistics.state().items()})
    with statistics.standing_in("source"), loaded.standing_in("source"):
        assert torch.equal(means(net), means(fresh))
