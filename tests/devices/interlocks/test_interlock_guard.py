"""What the interlocks' guard finds by itself: nobody reads, links and disks that fail, clocks."""

import threading
from pathlib import Path
from typing import Any

from stmtem_control.devices import (
    BiasSource,
    FrameCamera,
    PiezoProbe,
)

from .trips import Make, Told, W, hold


def test_the_guard_reads_when_nobody_else_does(
    make: Make, bias: BiasSource, smu: Any, clock: Any, told: Told
) -> None:
    make(watch_s=0.01)
    hold(bias, clock)
    smu.current = -9e-9
    assert told.wait().kind == "short"


def test_a_suspicious_reading_is_confirmed_at_once(
    make: Make, bias: BiasSource, smu: Any, clock: Any, told: Told
) -> None:
    """The guard would not read by itself before ten seconds are over."""
    make(watch_s=10.0)
    hold(bias, clock)
    answer = smu.answer

    def later(line: str) -> str:
        clock.t += 0.01
        return str(answer(line))

    smu.answer = later
    smu.current = -9e-9
    bias.trigger().wait(W)
    assert told.wait().kind == "short"


def test_readings_that_time_out_in_a_row_are_a_lost_link(
    make: Make, bias: BiasSource, smu: Any, clock: Any, told: Told
) -> None:
    make(watch_s=0.01, link_timeouts=2)
    hold(bias, clock)
    smu.dead = True
    trip = told.wait()
    assert trip.kind == "link lost"
    assert "2 readings of bias_source in a row timed out" in trip.seen
    smu.dead = False


def test_a_cable_that_is_pulled_trips_when_something_is_on(
    make: Make, bias: BiasSource, probe: PiezoProbe, console: Any, clock: Any, told: Told
) -> None:
    make()
    hold(bias, clock)
    console.unplugged = True
    assert probe.x.fine.set(1.0).exception(W) is not None
    trip = told.wait()
    assert trip.seen == "the connection to probe broke"
    assert "probe: stop not confirmed" in trip.unsafe
    assert not bias.output.get()
    console.unplugged = False


def test_a_clock_that_jumps_trips_only_while_something_is_on(
    make: Make, bias: BiasSource, clock: Any, told: Told
) -> None:
    interlocks = make()
    true = interlocks.watch.clocks
    looked = threading.Semaphore(0)
    ahead = [0.0]

    def stepped() -> tuple[float, float, float]:
        looked.release()
        monotonic, wall, boot = true()
        return monotonic, wall + ahead[0], boot

    interlocks.watch.clocks = stepped
    ahead[0] = 100.0
    for _ in range(2):
        assert looked.acquire(timeout=W)
    assert interlocks.trip is None
    hold(bias, clock)
    ahead[0] = 0.0
    assert told.wait().kind == "clock jump"


def test_a_guard_that_fails_does_not_fail_open(
    make: Make, bias: BiasSource, clock: Any, smu: Any, told: Told, caplog: Any
) -> None:
    interlocks = make()
    hold(bias, clock)

    def broken() -> tuple[float, float, float]:
        raise RuntimeError("no clock")

    interlocks.watch.clocks = broken
    assert told.wait().kind == "guard"
    assert "no clock" in told.trips[0].seen
    assert not smu.output


def test_a_disk_that_fills_trips_while_frames_are_taken(
    make: Make,
    bias: BiasSource,
    camera: FrameCamera,
    merlin: Any,
    clock: Any,
    told: Told,
    tmp_path: Path,
) -> None:
    interlocks = make(data=tmp_path)
    interlocks.watch.free_bytes = lambda folder: 100_000_000
    hold(bias, clock)
    camera.directory = tmp_path
    assert not told.trips
    camera.kickoff().wait(W)
    assert camera.expecting
    assert camera.frame_bytes == 8 * 6 * 2
    trip = told.wait()
    assert trip.kind == "disk nearly full"
    assert "0.1 GB are free" in trip.seen


def test_a_camera_that_falls_silent_trips(
    make: Make, bias: BiasSource, camera: FrameCamera, clock: Any, told: Told, tmp_path: Path
) -> None:
    make(camera_silent_s=0.1)
    hold(bias, clock)
    camera.exposure_s.set(0.0005).wait(W)
    camera.frame_rate_Hz.set(1000.0).wait(W)
    camera.directory = tmp_path
    camera.kickoff().wait(W)
    assert told.wait().kind == "camera silent"
