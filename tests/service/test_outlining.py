"""Outlines in the child: prompts are answered in order and before all else; none is left unanswered."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_cupre.errors import InputError
from napari_cupre.events import Event
from napari_cupre.model.checkpoint import new_model, save_model
from napari_cupre.service import outlining as outlining_module
from napari_cupre.service.outlining import Outlining
from napari_cupre.service.protocol import (
    AimRequest,
    JobEnded,
    Outlined,
    OutlineRequest,
    OutlinesReady,
    PromptRefused,
    PromptRequest,
    Quit,
    Stop,
    WindowReady,
    WindowRequest,
    decode,
    encode,
)
from napari_cupre.service.server import Server


@pytest.fixture
def request_(tmp_path: Path) -> OutlineRequest:
    model, image = tmp_path / "tiny.safetensors", tmp_path / "image.npy"
    save_model(new_model("tiny"), model)
    np.save(image, np.random.default_rng(0).integers(0, 255, (3, 300, 400), np.uint8))
    return OutlineRequest(str(model), str(image), "ZYX", index={"Z": 1}, diameter=20.0, device="cpu")


class Session:
    """A server in a thread, spoken to as the window does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=Server(self._requests(), self, folder).serve, daemon=True)
        self._thread.start()

    def _requests(self) -> Iterator[str]:
        while (line := self._lines.get()) is not None:
            yield line

    def write(self, line: str) -> None:
        self._answers.put(json.loads(line))

    def flush(self) -> None: ...

    def send(self, request: Any) -> None:
        self._lines.put(json.dumps(encode(request, self.folder)))

    def next(self, kind: type) -> Any:
        while True:
            event = decode(self._answers.get(timeout=60), self.folder)
            if isinstance(event, kind):
                return event

    def close(self) -> None:
        self.send(Quit())
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path / "exchange")
    yield session
    session.close()


def test_prompts_are_answered_until_the_window_stops_it(session: Session, request_: OutlineRequest) -> None:
    session.send(request_)
    assert session.next(OutlinesReady).diameter == 20
    session.send(WindowRequest((0, 0, 300, 400)))
    assert session.next(WindowReady).box == [0, 0, 300, 400]
    session.send(PromptRequest(7, boxes=[[10, 20, 40, 60], [300.5, 200, 330, 240]]))
    answer = session.next(Outlined)
    assert answer.number == 7
    assert len(answer.masks) == len(answer.boxes) == len(answer.scores) == len(answer.classes) == 2
    for (x0, y0, x1, y1), mask in zip(answer.boxes, answer.masks):
        assert mask.dtype == bool
        assert mask.shape == (y1 - y0, x1 - x0)
    session.send(PromptRequest(8, points=[[50, 60]]))
    assert len(session.next(Outlined).masks) == 1
    session.send(PromptRequest(9, points=[[50, 60]], all_readings=True))
    readings = session.next(Outlined)
    assert 0 <= readings.best < len(readings.masks)
    session.send(Stop())
    session.next(JobEnded)
    assert not Path(request_.image).exists()


def test_a_bad_prompt_is_refused_and_the_next_one_answered(
    session: Session, request_: OutlineRequest
) -> None:
    session.send(request_)
    for number, bad in enumerate(
        [
            PromptRequest(0, boxes=[[10, 10, 10, 20]]),
            PromptRequest(1, points=[[1000, 1000]]),
            PromptRequest(2, points=[[1, 1], [2, 2]], all_readings=True),
        ]
    ):
        session.send(bad)
        refused = session.next(PromptRefused)
        assert refused.number == number
        assert refused.message
    session.send(PromptRequest(3))
    assert session.next(Outlined).masks == []


def test_a_prompt_without_a_plane_is_refused(session: Session, request_: OutlineRequest) -> None:
    session.send(PromptRequest(1, points=[[5, 5]]))
    assert session.next(PromptRefused).number == 1
    session.send(request_)
    session.next(OutlinesReady)
    session.send(Stop())
    session.next(JobEnded)
    session.send(PromptRequest(2, points=[[5, 5]]))
    assert session.next(PromptRefused).number == 2


class SlowOutliner:
    """Prepares windows as long as it is let, and answers boxes with nothing."""

    diameter = 10.0

    def __init__(self, between: Callable[[int], None]) -> None:
        self._between, self.prepared = between, 0
        self.aimed: list[object] = []

    def prepare(self, region: object) -> Iterator[tuple[int, int]]:
        for done in range(1, 6):
            self.prepared = done
            self._between(done)
            yield done, 5

    def boxes(self, boxes: object) -> list:
        return []

    def aim(self, point: object) -> Iterator[None]:
        self.aimed.append((self.prepared, point))
        yield


@pytest.fixture
def job_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outlining]:
    def make(outliner: Any) -> Outlining:
        monkeypatch.setattr(Outlining, "_outliner", lambda self: outliner)
        return Outlining(OutlineRequest("m", "i", "YX", is_copy=False))

    return make


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events][2:]  # after "running" and "ready"


def test_prompts_go_before_what_is_on_show(job_with) -> None:
    def between(done: int) -> None:
        if done == 2:
            job.hear(PromptRequest(1, boxes=[[1, 1, 2, 2]]))

    outliner = SlowOutliner(between)
    job = job_with(outliner)
    job.hear(WindowRequest((0, 0, 9, 9)))
    seen = []
    for event in job.events():
        seen.append(event)
        if isinstance(event, Outlined):
            assert outliner.prepared == 2
        if isinstance(event, WindowReady):
            job.stop()
    assert kinds(seen) == ["Outlined", "WindowReady", "Finished"]


def test_where_the_mouse_is_goes_before_what_is_on_show(job_with) -> None:
    def between(done: int) -> None:
        if done == 2:
            job.hear(AimRequest((3, 4)))

    outliner = SlowOutliner(between)
    job = job_with(outliner)
    job.hear(WindowRequest((0, 0, 9, 9)))
    for event in job.events():
        if isinstance(event, WindowReady):
            job.stop()
    assert outliner.aimed == [(2, (3, 4))]
    assert outliner.prepared == 5, "the rest of the view follows"


def test_the_next_plane_takes_the_model_that_is_there(
    session: Session, request_: OutlineRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_cupre.model import zoo

    opened = []
    original = zoo.open_model
    monkeypatch.setattr(zoo, "open_model", lambda *given: opened.append(given) or original(*given))
    pixels = np.load(request_.image)
    for plane, changed in ((0, False), (1, False), (2, True)):
        if changed:
            Path(request_.model).touch()  # trained again under its name
        np.save(request_.image, pixels)
        session.send(replace(request_, index={"Z": plane}))
        session.next(OutlinesReady)
        session.send(Stop())
        session.next(JobEnded)
    assert len(opened) == 2


def test_a_click_finds_its_features_where_the_mouse_was(request_: OutlineRequest) -> None:
    from napari_cupre.prediction.outliner import Outliner

    outliner = Outliner(new_model("tiny"), np.zeros((300, 400, 3), np.float32), diameter=20.0)
    assert len(list(outliner.aim((100.0, 120.0)))) > 1
    assert not list(outliner.aim((100.0, 120.0)))
    computed: list[object] = []
    outliner._maps._computed = lambda *key: computed.append(key)  # type: ignore[method-assign,assignment]
    outliner.readings((100.0, 120.0))
    assert not computed


def test_another_window_ends_the_first_ones_preparation(job_with) -> None:
    def between(done: int) -> None:
        if done == 2 and not moved:
            moved.append(job.hear(WindowRequest((5, 5, 9, 9))))

    moved: list[bool] = []
    job = job_with(SlowOutliner(between))
    job.hear(WindowRequest((0, 0, 9, 9)))
    ready = []
    for event in job.events():
        if isinstance(event, WindowReady):
            ready.append(event.box)
            job.stop()
    assert ready == [(5, 5, 9, 9)]


def test_what_is_heard_before_a_stop_is_refused_and_after_it_not_heard(job_with) -> None:
    job = job_with(SlowOutliner(lambda done: None))
    job.stop()
    assert job.hear(PromptRequest(4, boxes=[[1, 1, 2, 2]]))
    seen = list(job.events())
    assert kinds(seen) == ["Finished", "PromptRefused"]
    assert not job.hear(PromptRequest(5, boxes=[[1, 1, 2, 2]]))


def test_a_window_that_cannot_be_read_is_left_to_its_prompts(job_with) -> None:
    def between(done: int) -> None:
        job.stop()
        raise InputError("rows 0-99 cannot be read")

    job = job_with(SlowOutliner(between))
    job.hear(WindowRequest((0, 0, 9, 9)))
    assert kinds(list(job.events())) == ["Finished"]


def test_the_service_names_no_torch_at_import() -> None:
    assert not hasattr(outlining_module, "torch")
