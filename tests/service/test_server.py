"""The child's own end: jobs one by one, errors as sentences, an orderly end when the window goes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, StepDone
from napari_cupre.service import server as server_module
from napari_cupre.service.jobs import Training
from napari_cupre.service.protocol import FinetuneRequest, PreviewRequest, Request, Stop, encode
from napari_cupre.service.server import Server


class FakeJob:
    """Counts until it is stopped, or raises what it was given."""

    may_end_while_loading = True

    def __init__(self, error: BaseException | None = None, steps: int = 3) -> None:
        self.error, self.steps = error, steps
        self.stopped, self.is_done = threading.Event(), False
        self.previews: list[PreviewRequest] = []

    def events(self) -> Iterator[Event]:
        if self.error is not None:
            raise self.error
        for step in range(1, self.steps + 1):
            yield StepDone(step, step / self.steps, 0.0, {"total": 1.0})
            if self.steps > 100 and self.stopped.wait(5):
                break
        self.is_done = True
        yield Finished("saved")

    def stop(self) -> None:
        self.stopped.set()

    def forgo(self) -> None:
        """Has made nothing yet."""

    def preview(self, request: PreviewRequest) -> None:
        self.previews.append(request)


def serve(
    monkeypatch: pytest.MonkeyPatch, folder: Path, jobs: list[FakeJob], requests: list[Request]
) -> list[dict]:
    """What a server answers to requests whose end is the end of the window."""
    folder.mkdir()
    waiting = list(jobs)
    monkeypatch.setattr(server_module, "job_for", lambda request, detectors: waiting.pop(0))
    lines = [json.dumps(encode(request, folder)) for request in requests]
    replies = io.StringIO()
    Server(lines, replies, folder).serve()
    return [json.loads(line) for line in replies.getvalue().splitlines()]


JOB = FinetuneRequest(start="scratch", shots="", out="")


def test_a_job_reports_and_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = serve(monkeypatch, tmp_path / "x", [FakeJob()], [JOB])
    assert [a["type"] for a in answers] == ["StateChanged", *["StepDone"] * 3, "Finished", "JobEnded"]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("error", "sentence", "has_traceback"),
    [
        (InputError("the labels do not fit"), "the labels do not fit", False),
        (MemoryError(), "Memory ran out", False),
        (ZeroDivisionError("oops"), "ZeroDivisionError: oops", True),
    ],
)
def test_an_error_becomes_a_sentence_and_the_next_job_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, sentence: str, has_traceback: bool
) -> None:
    answers = serve(monkeypatch, tmp_path / "x", [FakeJob(error), FakeJob()], [JOB, JOB])
    failed = next(a for a in answers if a["type"] == "Failed")
    assert sentence in failed["message"]
    assert ("Traceback" in failed["details"]) is has_traceback
    assert [a["type"] for a in answers].count("JobEnded") == 2
    assert answers[-2]["verdict"] == "saved"


def test_the_end_of_the_window_stops_a_job_that_would_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = FakeJob(steps=10**9)
    answers = serve(monkeypatch, tmp_path / "x", [job], [JOB])
    assert job.stopped.is_set()
    assert answers[-2]["verdict"] == "saved"


def test_stop_and_preview_reach_the_latest_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = FakeJob(steps=10**9)
    preview = PreviewRequest(np.zeros((2, 2, 3), np.float32))
    serve(monkeypatch, tmp_path / "x", [job], [JOB, preview, Stop()])
    assert job.stopped.is_set()
    assert len(job.previews) == 1


class SlowToLoad(FakeJob):
    """Loads until the test lets it go on, then has an event, or an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__(error)
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.was_closed = self.is_forgone = False

    def events(self) -> Iterator[Event]:
        self.begun.set()
        assert self.go_on.wait(60)
        try:
            yield from super().events()
        finally:
            self.was_closed = True

    def forgo(self) -> None:
        self.is_forgone = True


@pytest.mark.parametrize("error", [None, InputError("a file that was not needed any more")])
def test_a_stop_while_the_model_loads_ends_the_job_for_the_window_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException | None
) -> None:
    loading, waiting, last = SlowToLoad(error), SlowToLoad(), FakeJob()
    jobs = [loading, waiting, last]
    monkeypatch.setattr(server_module, "job_for", lambda request, detectors: jobs.pop(0))
    replies = io.StringIO()
    ended: list[int] = []

    def requests() -> Iterator[str]:
        def line(request: Request) -> str:
            return json.dumps(encode(request, tmp_path))

        yield line(JOB)
        assert loading.begun.wait(60)
        for _ in range(2):  # who presses twice is answered once
            yield line(Stop())
            ended.append(replies.getvalue().count("JobEnded"))
        yield line(JOB)
        yield line(Stop())
        ended.append(replies.getvalue().count("JobEnded"))
        yield line(JOB)
        loading.go_on.set()

    Server(requests(), replies, tmp_path).serve()
    answers = [json.loads(each)["type"] for each in replies.getvalue().splitlines()]
    assert ended == [1, 1, 2]
    assert loading.stopped.is_set()
    assert loading.was_closed
    assert waiting.is_forgone
    assert not waiting.begun.is_set()
    assert answers == [
        *["StateChanged", "JobEnded", "JobEnded"],
        *["StateChanged", "StepDone", "StepDone", "StepDone", "Finished", "JobEnded"],
    ]


def test_a_job_that_owes_answers_ends_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(FakeJob, "may_end_while_loading", False)
    answers = serve(monkeypatch, tmp_path / "x", [FakeJob()], [JOB, Stop()])
    assert [a["type"] for a in answers] == ["StateChanged", *["StepDone"] * 3, "Finished", "JobEnded"]


def test_a_window_that_is_gone_does_not_break_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    (tmp_path / "x").mkdir()
    job = FakeJob()
    monkeypatch.setattr(server_module, "job_for", lambda request, detectors: job)
    lines = [json.dumps(encode(JOB, tmp_path / "x"))]
    Server(lines, Closed(), tmp_path / "x").serve()
    assert job.is_done
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "nice"), reason="POSIX priorities")
def test_the_real_child_starts_yields_to_the_window_and_leaves_at_the_end_of_its_input(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "exchange"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "napari_cupre.service", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        request = encode(FinetuneRequest(start="no such model", shots=str(folder), out=""), folder)
        assert child.stdin is not None
        assert child.stdout is not None
        print(json.dumps(request), file=child.stdin, flush=True)
        answers = [json.loads(child.stdout.readline()) for _ in range(3)]
        assert os.getpriority(os.PRIO_PROCESS, child.pid) >= min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)
        child.stdin.close()
        assert child.wait(300) == 0
    assert [a["type"] for a in answers] == ["StateChanged", "Failed", "JobEnded"]
    assert "no such model" in answers[1]["message"]
    assert answers[1]["details"] == ""
    assert not folder.exists()


def test_a_preview_that_fails_ends_neither_the_job_nor_the_engine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = FakeJob()
    monkeypatch.setattr(job, "preview", lambda request: np.zeros(1)[request.image.shape[2]])
    preview = PreviewRequest(np.zeros((2, 2, 3), np.float32))
    answers = serve(monkeypatch, tmp_path / "x", [job, FakeJob()], [JOB, preview, preview, JOB])
    assert [a["type"] for a in answers].count("Finished") == 2
    job.preview = lambda request: 1 / 0  # type: ignore[method-assign]
    answers = serve(monkeypatch, tmp_path / "y", [job], [JOB, preview])
    assert any("continues (ZeroDivisionError" in a.get("message", "") for a in answers)
    assert any(a["type"] == "Finished" for a in answers)


def test_a_request_that_makes_no_sense_is_answered(tmp_path: Path) -> None:
    replies = io.StringIO()
    lines = ["{", '{"type": "Nonsense"}', '{"type": "PreviewRequest"}', '{"type": "FinetuneRequest"}']
    Server(lines, replies, tmp_path).serve()
    answers = [json.loads(line)["type"] for line in replies.getvalue().splitlines()]
    assert answers == ["Notice", "Notice", "Notice", "Failed", "JobEnded"]


def test_a_training_goes_on_with_the_time_and_device_of_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from napari_cupre.finetuning.finetune_folder import RunFolder
    from napari_cupre.finetuning.finetune_run import FinetuneRun
    from napari_cupre.finetuning.finetune_settings import FinetuneSettings
    from napari_cupre.model import zoo

    folder = RunFolder(tmp_path / "m.safetensors")
    folder.create([], FinetuneSettings(minutes=1, diameter=20, device="cuda"), "tiny")
    opened = []
    monkeypatch.setattr(zoo, "open_model", lambda *given: opened.append(given))
    monkeypatch.setattr(FinetuneRun, "resume", lambda *given: given)
    settings = {"minutes": 5.0, "device": "cpu"}
    request = FinetuneRequest("", "", str(folder.out), settings, resume=True)
    _, _, chosen, given = Training(request)._resumed()
    assert (chosen.minutes, chosen.device, chosen.diameter, given) == (5, "cpu", 20, None)
    assert opened == [("tiny", "cpu", 0)]


def test_libraries_are_imported_until_a_job_comes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    imported: list[str] = []
    is_time = threading.Event()

    def requests() -> Iterator[str]:
        assert is_time.wait(60)
        yield json.dumps(encode(JOB, tmp_path))

    def slow_import(name: str) -> None:
        imported.append(name)
        if name == "second":
            is_time.set()
            while server._jobs.empty():
                time.sleep(0.01)
        raise ImportError("a broken library is the job's to tell")

    monkeypatch.setattr(server_module, "import_module", slow_import)
    monkeypatch.setattr(server_module, "job_for", lambda request, detectors: FakeJob())
    replies = io.StringIO()
    server = Server(requests(), replies, tmp_path)
    server.serve(["first", "second", "third"])
    assert imported == ["first", "second"]
    assert "saved" in replies.getvalue()
