from __future__ import annotations

import io

import pytest

from napari_cupre.cli.listen import BarListener, LineListener, clock, follow, make_listener
from napari_cupre.events import (
    Event,
    Finished,
    Notice,
    Progress,
    RunState,
    Saved,
    StateChanged,
    StepDone,
    Validated,
)

STREAM: list[Event] = [
    StateChanged(RunState.RUNNING),
    Notice("x.png was skipped"),
    StepDone(step=1, fraction=0.25, remaining=90.0, losses={"total": 2.5}),
    Validated(step=1, ap50=0.5, ap=0.3, loss=1.0, cells=12, is_best=True),
    Progress(done=2, total=2, message="b.png"),
    Saved(path="best.safetensors", kind="best", step=1),
    Saved(path="model.safetensors", kind="final", step=1),
    Finished(verdict="better than the start"),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_elsewhere() -> None:
    stream = io.StringIO()
    last = follow(STREAM, LineListener(stream, seconds=0))
    assert last == STREAM[-1]
    assert stream.getvalue().splitlines() == [
        "x.png was skipped",
        " 25 %  step 1  loss 2.500  1:30 left",
        "step 1: held-out AP@.5 0.50 on 12 cells, the best so far",
        "100 %  2 of 2  b.png",
        "saved model.safetensors",
        "better than the start",
    ]


def test_lines_are_rare_but_the_end_is_told() -> None:
    stream = io.StringIO()
    follow([Progress(done=i, total=100) for i in range(1, 101)], LineListener(stream, seconds=60))
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["1", "100"]


def test_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    listener = make_listener(stream)
    assert isinstance(listener, BarListener)
    follow(STREAM, listener)
    text = stream.getvalue()
    assert " 25%|" in text
    assert "1:30 left" in text
    assert "x.png was skipped" in text
    assert "better than the start" in text
    assert listener.bar is None


def test_the_bar_is_closed_when_the_stream_breaks() -> None:
    def broken():
        yield Progress(done=1, total=2)
        raise ValueError("broken")

    listener = BarListener(Terminal())
    with pytest.raises(ValueError, match="broken"):
        follow(broken(), listener)
    assert listener.bar is None


def test_clock() -> None:
    assert clock(65.4) == "1:05"
    assert clock(-1) == "0:00"
