"""`napari-cupre cache`: the disk space of what was found in large images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_cupre.cli.main import main


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "slides" / "slide-0123456789ab.zarr"
    path.mkdir(parents=True)
    (path / "0.0").write_bytes(b"x" * 2_000_000)
    monkeypatch.setenv("NAPARI_CUPRE_SLIDES", str(path.parent))
    return path


def test_results_are_listed_and_cleared(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "list"]) == 0
    said = capsys.readouterr().out
    assert "2.0 MB" in said
    assert kept.name in said
    assert str(kept.parent) in said
    assert main(["cache", "clear", "--keep-gb", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"freed": 0, "bytes": 2_000_000}
    assert main(["cache", "clear"]) == 0
    assert "2.0 MB freed, 0.0 MB left." in capsys.readouterr().out
    assert not kept.exists()
    assert main(["cache", "clear"]) == 0, "a second time there is nothing to do"


@pytest.mark.parametrize("size", ["-1", "much", "nan"])
def test_a_size_that_is_none_is_refused(kept: Path, size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["cache", "clear", f"--keep-gb={size}"])
    assert ended.value.code == 2
    assert "is not a size in GB" in capsys.readouterr().err
    assert kept.exists()
