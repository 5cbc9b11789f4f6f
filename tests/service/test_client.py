"""The child process from the window's side, with small programs in place of the engine."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.events import Finished, StepDone
from napari_cupre.service import child as child_module
from napari_cupre.service.client import EngineProcess
from napari_cupre.service.protocol import Failed, FinetuneRequest

REQUEST = FinetuneRequest(start="scratch", shots="", out="")
ANSWER = """
import json, sys
def say(**message): print(json.dumps(message), flush=True)
for line in sys.stdin:
    request = json.loads(line)
"""
WORKS = (
    ANSWER
    + """
    if request["type"] == "FinetuneRequest":
        say(type="StepDone", step=1, fraction=0.5, remaining=1.0, losses={"total": 2.0})
        say(type="Finished", verdict="fine")
        say(type="JobEnded")
    if request["type"] == "Quit":
        break
"""
)
WAITS_FOR_STOP = (
    ANSWER
    + """
    if request["type"] == "Stop":
        say(type="Finished", verdict="stopped")
        say(type="JobEnded")
"""
)
DIES = (
    ANSWER
    + """
    say(type="StepDone", step=1, fraction=0.1, remaining=1.0, losses={"total": 2.0})
    print("the last words", file=sys.stderr, flush=True)
    sys.exit(3)
"""
)
IS_KILLED = (
    ANSWER
    + """
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""
)
BABBLES = (
    ANSWER
    + """
    print("no json at all", flush=True)
    say(type="JobEnded")
"""
)


@pytest.fixture
def engine_of(request: pytest.FixtureRequest) -> Iterator:
    engines = []

    def make(program: str) -> EngineProcess:
        engines.append(EngineProcess([sys.executable, "-c", program]))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close(wait=10)


def read(engine: EngineProcess) -> list[Any]:
    return [event for event in engine.events(REQUEST) if event is not None]


def test_events_of_two_jobs_come_from_one_process(engine_of) -> None:
    engine = engine_of(WORKS)
    for _ in range(2):
        events = read(engine)
        assert [type(event) for event in events] == [StepDone, Finished]
        assert not engine.is_busy
    folder = engine.folder
    engine.close(wait=10)
    assert not engine.is_running
    wait_until(lambda: not folder.exists())


def test_stop_reaches_the_running_job(engine_of) -> None:
    engine = engine_of(WAITS_FOR_STOP)
    seen = []
    for event in engine.events(REQUEST):
        if event is None:
            engine.stop()
        else:
            seen.append(event)
    assert seen == [Finished("stopped")]


def test_a_second_job_is_refused_while_one_runs(engine_of) -> None:
    engine = engine_of(WAITS_FOR_STOP)
    first = engine.events(REQUEST)
    next(first)
    with pytest.raises(InputError, match="busy"):
        next(engine.events(REQUEST))
    first.close()


def test_giving_up_the_iterator_stops_the_job_and_frees_the_engine(engine_of) -> None:
    engine = engine_of(WAITS_FOR_STOP)
    first = engine.events(REQUEST)
    next(first)
    first.close()
    wait_until(lambda: not engine.is_busy)
    assert engine.is_running


def test_a_process_that_dies_is_explained_and_the_next_job_gets_a_new_one(engine_of) -> None:
    engine = engine_of(DIES)
    for _ in range(2):
        step, failed = read(engine)
        assert isinstance(step, StepDone)
        assert isinstance(failed, Failed)
        assert "exit code 3" in failed.message
        assert "Resume" in failed.message
        assert "the last words" in failed.details
        assert not engine.is_busy


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_kill_is_told_as_memory_running_out(engine_of) -> None:
    (failed,) = read(engine_of(IS_KILLED))
    assert "memory" in failed.message


def test_what_is_no_message_is_reported_and_does_not_end_the_reading(engine_of) -> None:
    (failed,) = read(engine_of(BABBLES))
    assert "unreadable" in failed.message
    assert "no json at all" in failed.details


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="could not be started"):
        EngineProcess([str(tmp_path / "nothing")]).start()


def wait_until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_an_idle_process_ends_with_its_window(engine_of) -> None:
    """Importing takes seconds, more on a loaded machine: closed windows must not leave a crowd."""
    engine = engine_of("import time; time.sleep(600)")
    engine.start()
    process = engine._child.process
    engine.close()
    assert process.wait(30) != 0


def test_the_child_does_not_keep_processors_busy_with_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    assert child_module._child_environment().items() >= child_module.SHORT_WAITS.items()
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert child_module._child_environment()["GOMP_SPINCOUNT"] == "7"
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "KMP_BLOCKTIME" not in child_module._child_environment()
