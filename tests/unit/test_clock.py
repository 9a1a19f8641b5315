"""
Which clock decides: the one that runs on while the machine is suspended, for the library and for its engine alike.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from leadership import _clock
from leadership._runtime.process import _Loop


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no such clock")
def test_deadlines_are_on_the_clock_that_runs_through_a_suspend(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After a suspend the monotonic clock is behind by as long as it took, and the wall clock is what somebody has set.

    On a machine that was never suspended the monotonic clock tells the same: no other test would see it in this one's
    place.
    """
    clocks = {time.CLOCK_BOOTTIME: 5000.0, time.CLOCK_MONOTONIC: 200.0, time.CLOCK_REALTIME: 1.7e9}
    machine = SimpleNamespace(
        clock_gettime=clocks.__getitem__,
        monotonic=lambda: clocks[time.CLOCK_MONOTONIC],
        time=lambda: clocks[time.CLOCK_REALTIME],
        CLOCK_BOOTTIME=time.CLOCK_BOOTTIME,
    )
    monkeypatch.setattr(_clock, "time", machine)
    assert 5000.0 == _clock.now()


def test_the_engine_is_on_the_clock_of_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The loop's timers and moments are on it, too; asyncio's own would be the monotonic one.
    """
    monkeypatch.setattr(_clock, "now", lambda: 5000.0)
    loop = _Loop()
    try:
        assert 5000.0 == loop.time()
    finally:
        loop.close()
