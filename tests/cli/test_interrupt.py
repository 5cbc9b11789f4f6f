from __future__ import annotations

import signal

import pytest

from napari_cupre.cli.interrupt import stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number: int) -> None:
    asked: list[bool] = []
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stopping(lambda: asked.append(True)) as interruption:
        assert not interruption.asked
        signal.raise_signal(number)
        assert interruption.asked
        signal.raise_signal(number)
    assert asked == [True]
    assert signal.getsignal(number) is before
