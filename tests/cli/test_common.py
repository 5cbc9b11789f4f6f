from __future__ import annotations

import argparse
import errno
import json
from pathlib import Path

import numpy as np
import pytest

from napari_cupre.cli import options as common
from napari_cupre.errors import EnvironmentFault, InputError, ModelFileError


def run_raising(error: BaseException, debug: bool = False) -> int:
    def run(args: argparse.Namespace) -> int:
        raise error

    return common.run_guarded(argparse.Namespace(run=run, debug=debug, json=False), prog="prog")


@pytest.mark.parametrize("kind", [InputError, ModelFileError, EnvironmentFault])
def test_our_errors_are_one_sentence_and_exit_code_2(kind: type[Exception], capsys) -> None:
    assert run_raising(kind("the folder x holds no image.")) == 2
    assert capsys.readouterr().err == "prog: the folder x holds no image.\n"


def test_debug_shows_the_traceback(capsys) -> None:
    assert run_raising(InputError("no."), debug=True) == 2
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_is_130(capsys) -> None:
    assert run_raising(KeyboardInterrupt()) == 130


def test_a_fault_of_ours_is_not_blamed_on_the_input(capsys) -> None:
    assert run_raising(ValueError("odd")) == 1
    message = capsys.readouterr().err
    assert "ValueError: odd" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("operator torchvision::nms does not exist"), "torch and torchvision do not match"),
        (OSError(errno.ENOSPC, "No space left on device", "out.tif"), '"out.tif": the disk is full'),
        (PermissionError(errno.EACCES, "denied", "out"), '"out": access is denied'),
        (FileNotFoundError(errno.ENOENT, "no", "gone.png"), '"gone.png": there is no such file'),
        (NotADirectoryError(errno.ENOTDIR, "no", "a/b"), '"a/b": part of that path is a file'),
        (OSError(errno.ENAMETOOLONG, "no", "a"), "too long"),
        (OSError(errno.EIO, "Input/output error"), "the disk reports an error"),
        (OSError(errno.ENOTTY, "Inappropriate ioctl", "a"), '"a": Inappropriate ioctl'),
        (ModuleNotFoundError("no", name="distributed"), "pip install distributed"),
    ],
)
def test_the_machines_errors_are_explained(error: Exception, words: str, capsys) -> None:
    assert run_raising(error) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


def test_a_missing_module_of_ours_is_a_fault_of_ours() -> None:
    assert common.explain(ModuleNotFoundError("no", name="napari_cupre.gone")) is None


def test_last_line_is_strict_json(capsys) -> None:
    figures = {
        "ap": np.float32(0.5),
        "n": np.int64(3),
        "none": float("nan"),
        "path": Path("a"),
        "list": (1, 2),
    }
    common.report(argparse.Namespace(json=True), "for people", figures)
    first, last = capsys.readouterr().out.splitlines()
    assert first == "for people"
    assert json.loads(last) == {"ap": 0.5, "n": 3, "none": None, "path": "a", "list": [1, 2]}


def test_without_json_only_the_text_is_printed(capsys) -> None:
    common.report(argparse.Namespace(json=False), "for people", {"ap": 1})
    assert capsys.readouterr().out == "for people\n"


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many"])
def test_positive_number_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="above zero"):
        common.positive_number(text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", ""])
def test_positive_count_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
        common.positive_count(text)


@pytest.mark.parametrize("text", ["1.1", "-0.1", "nan", "x"])
def test_share_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="between 0 and 1"):
        common.share(text)
