"""Suspenders: a pause before the limit at which an interlock ends the run."""

import threading
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps

from stmtem_control.devices import (
    BiasSource,
    FrameCamera,
    suspend_on_current,
    suspend_on_dose,
)
from stmtem_control.errors import LimitError
from stmtem_control.interlock_table import InterlocksTable

from .trips import Make, Told, W


def test_a_suspender_pauses_before_the_interlock_trips(
    make: Make, bias: BiasSource, smu: Any, clock: Any, told: Told
) -> None:
    make()
    suspender = suspend_on_current(bias, InterlocksTable())
    engine = RunEngine({})
    paused = threading.Event()
    done: list[float] = []
    try:
        engine.install_suspender(suspender)

        def plan() -> Any:
            yield from bps.checkpoint()
            yield from bps.mv(bias, -5.0)
            clock.t += 1.0
            smu.current = -3e-9
            yield from bps.checkpoint()
            yield from bps.trigger(bias, wait=True)
            yield from bps.checkpoint()
            yield from bps.sleep(0.01)
            done.append(bias.current.get())

        stop = bias.pause

        def pause() -> None:
            stop()
            paused.set()

        bias.pause = pause  # type: ignore[method-assign]

        def person() -> None:
            assert paused.wait(W)
            assert not smu.output
            smu.current = -2e-10
            suspender.remove()

        thread = threading.Thread(target=person)
        thread.start()
        engine(plan())
        thread.join(W)
    finally:
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        engine._th.join(W)
        engine.loop.close()
    assert paused.is_set()
    assert done
    assert not told.trips


def test_suspenders_say_what_they_cannot_take(bias: BiasSource, camera: FrameCamera) -> None:
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(LimitError, match="between 0 and 1"):
            suspend_on_current(bias, InterlocksTable(), share=share)
    with pytest.raises(LimitError, match="positive dose"):
        suspend_on_dose(camera, 0.0)
    dose = suspend_on_dose(camera, 500.0)
    assert dose._should_suspend(500.0)
    assert not dose._should_suspend(499.0)
