"""Momentum contrast: what is drawn together, what is pushed apart, and that nothing leaks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from napari_cupre.errors import InputError
from napari_cupre.model.contrast import (
    LEAST_BATCHES,
    LONG_QUEUE,
    OBJECTIVES,
    SHORT_QUEUE,
    ContrastSettings,
    OneProcess,
    Queue,
    info_nce,
    make_objective,
    oldest_sound_key,
    queue_length,
)


class Body(nn.Module):
    """A backbone of one convolution with BatchNorm."""

    channels = (4, 4, 4, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.norm(self.conv(images))] * 4


ALONE = OneProcess()


def make(name: str, **changes: float) -> tuple[Body, nn.Module]:
    torch.manual_seed(0)
    body = Body()
    settings = ContrastSettings(**{"queue": 16, "dim": 8, "bn_splits": 2, **changes})  # type: ignore[arg-type]
    return body, make_objective(name, body, settings, torch.Generator().manual_seed(1))


def views() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    query = torch.randn(8, 3, 16, 16, generator=generator)
    return query, query + 0.1 * torch.randn(8, 3, 16, 16, generator=generator)


@given(st.integers(0, 200_000), st.integers(1, 512), st.one_of(st.none(), st.integers(1, 100_000)))
def test_a_queue_is_never_longer_than_is_sound(distinct: int, batch: int, asked: int | None) -> None:
    try:
        length, remark = queue_length(distinct, batch, asked)
    except InputError:
        wanted = asked if asked is not None else SHORT_QUEUE
        assert min(wanted, distinct - batch) < LEAST_BATCHES * batch
        return
    assert length % batch == 0
    assert LEAST_BATCHES * batch <= length <= min(distinct - batch, LONG_QUEUE)
    assert (remark != "") == (
        length < (asked or (LONG_QUEUE if distinct >= 20_000 else SHORT_QUEUE)) // batch * batch
    )


def test_a_few_thousand_images_get_a_short_queue() -> None:
    assert queue_length(5_000, 32) == (4_096, "")
    assert queue_length(1_000_000, 256)[0] == 65_536
    length, remark = queue_length(1_000, 32)
    assert length == 960
    assert "960" in remark
    assert "1000" in remark


def test_no_key_waits_longer_than_the_key_encoder_remembers() -> None:
    assert oldest_sound_key(0.996, 2) == 63
    assert queue_length(100_000, 32, oldest=63) == (63 * 32, "")
    # The published settings keep to it: MoCo v2, and the official one for small data.
    assert oldest_sound_key(0.999, 1) * 256 >= 65_536
    assert oldest_sound_key(0.99, 1) * 512 >= 4_096
    # Who asks for a length gets it, up to the number of crops, and is told if it is too long.
    length, remark = queue_length(100_000, 32, 4_096, oldest=10)
    assert length == 4_096
    assert "for 128 iterations, but the key encoder is stable for only 10" in remark


def test_too_few_images_are_refused() -> None:
    with pytest.raises(InputError, match=r"30 distinct crops.*batches of 32"):
        queue_length(30, 32)


def test_the_oldest_keys_are_replaced() -> None:
    queue = Queue(6, 4, torch.Generator().manual_seed(0))
    assert torch.allclose(queue.keys.norm(dim=1), torch.ones(6))
    first = queue.keys.clone()
    new = [torch.full((2, 4), float(number)) for number in range(4)]
    for keys in new[:2]:
        queue.put(keys)
    assert torch.equal(queue.keys[:4], torch.cat(new[:2]))
    assert torch.equal(queue.keys[4:], first[4:])
    for keys in new[2:]:
        queue.put(keys)
    assert torch.equal(queue.keys, torch.cat([new[3], new[1], new[2]]))


def test_info_nce_is_the_cross_entropy_of_finding_the_key() -> None:
    query = nn.functional.normalize(torch.randn(5, 8), dim=1)
    key = nn.functional.normalize(torch.randn(5, 8), dim=1)
    negatives = nn.functional.normalize(torch.randn(7, 8), dim=1)
    loss, accuracy = info_nce(query, key, negatives, 0.2)
    expected, right = 0.0, 0
    for q, k in zip(query, key):
        logits = torch.stack([q @ k, *(q @ n for n in negatives)]) / 0.2
        expected -= float(torch.log_softmax(logits, 0)[0]) / 5
        right += int(logits.argmax() == 0)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(accuracy) == pytest.approx(right / 5)
    perfect, all_found = info_nce(query, query, -query, 0.2)
    assert float(all_found) == 1.0
    assert float(perfect) < float(loss)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_the_key_encoder_gets_no_gradient_and_follows_slowly(name: str) -> None:
    body, objective = make(name, momentum=0.75)
    query, key = views()
    before = [parameter.clone() for parameter in objective.key_backbone.parameters()]
    result = objective.contrast(body, query, key, torch.randperm(8), ALONE)
    result.loss.backward()
    assert all(
        p.grad is None for p in (*objective.key_backbone.parameters(), *objective.key_head.parameters())
    )
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.trained())
    assert body.conv.weight.grad is not None
    with torch.no_grad():
        body.conv.weight.add_(1.0)
    objective.follow(body)
    moved = next(iter(objective.key_backbone.parameters()))
    assert torch.allclose(moved, before[0] + 0.25, atol=1e-6)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_keys_come_back_in_the_order_of_their_queries(name: str) -> None:
    body, objective = make(name)
    query, key = views()
    body.eval()  # without batch statistics the order of the keys must not matter at all
    objective.eval()
    straight = objective.contrast(body, query, key, torch.arange(8), ALONE)
    shuffled = objective.contrast(body, query, key, torch.randperm(8), ALONE)
    for a, b in zip(straight.keys, shuffled.keys, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert straight.loss.item() == pytest.approx(shuffled.loss.item(), rel=1e-5)


def test_a_query_and_its_key_do_not_share_batch_statistics() -> None:
    body, objective = make("mocov2")
    body.train()
    query, _ = views()
    seen: list[Tensor] = []
    hooks = [m.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for m in (body.norm,)]
    hooks.append(
        objective.key_backbone.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    )
    objective.contrast(body, query, query, torch.tensor([0, 4, 1, 5, 2, 6, 3, 7]), ALONE)
    for hook in hooks:
        hook.remove()
    assert [len(part) for part in seen] == [4, 4, 4, 4]
    queries, keys = torch.cat(seen[:2]), seen[2:]
    # The companions of image 0 among the queries are 1, 2, 3; among the keys 4, 1, 5.
    assert torch.allclose(keys[0][0], queries[0])
    assert torch.allclose(keys[0][1], queries[4])


def test_a_few_steps_find_the_key() -> None:
    body, objective = make("mocov2", queue=64, momentum=0.9)
    body.eval()  # colour is all that these images have, and batch statistics would shift it
    optimiser = torch.optim.Adam([*body.parameters(), *objective.trained()], 5e-3)
    generator = torch.Generator().manual_seed(5)
    losses = []
    for _ in range(120):
        images = torch.randn(8, 3, 1, 1, generator=generator).expand(-1, -1, 16, 16)
        noisy = [images + 0.1 * torch.randn(8, 3, 16, 16, generator=generator) for _ in range(2)]
        result = objective.contrast(body, *noisy, torch.randperm(8, generator=generator), ALONE)
        optimiser.zero_grad()
        result.loss.backward()
        optimiser.step()
        objective.enqueue(result.keys)
        objective.follow(body)
        losses.append(float(result.loss.detach()))
    assert sum(losses[-10:]) < 0.7 * sum(losses[9:19])
