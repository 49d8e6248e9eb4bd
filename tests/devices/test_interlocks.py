"""Interlocks on devices: what they do at once, what they refuse, and how they are cleared."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps

from stmtem_control.devices import (
    BeamBlanker,
    BiasSource,
    FrameCamera,
    Interlocks,
    PiezoProbe,
    Trip,
    suspend_on_current,
    suspend_on_dose,
)
from stmtem_control.errors import InterlockError, LimitError
from stmtem_control.interlock_table import InterlocksTable
from stmtem_control.timeline import Timeline

W = 5.0  # wall seconds that a test waits at most

Make = Callable[..., Interlocks]


class Told:
    """Takes the trips that are told, and lets a test wait for one."""

    def __init__(self) -> None:
        self.trips: list[Trip] = []
        self._come = threading.Condition()

    def __call__(self, trip: Trip) -> None:
        with self._come:
            self.trips.append(trip)
            self._come.notify_all()

    def wait(self, count: int = 1) -> Trip:
        with self._come:
            assert self._come.wait_for(lambda: len(self.trips) >= count, W)
            return self.trips[count - 1]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def make(
    bias: BiasSource,
    beam: BeamBlanker,
    probe: PiezoProbe,
    camera: FrameCamera,
    clock: Any,
    timeline: Timeline,
    told: Told,
) -> Iterator[Make]:
    """Make interlocks that watch; the station's clock stands still unless a test moves it."""
    made: list[Interlocks] = []

    def start(**keys: Any) -> Interlocks:
        options = {k: keys.pop(k) for k in ("data", "safe_state") if k in keys}
        interlocks = Interlocks(
            bias=bias,
            beam=beam,
            probe=probe,
            camera=camera,
            clock=clock,
            timeline=timeline,
            # Nothing that depends on how busy the computer is, unless a test wants it.
            table=InterlocksTable(**{"watch_s": 10.0, "probe_look_s": "off", **keys}),
            reading_s=0.045,
            **options,
        )
        interlocks.on_trip = told
        made.append(interlocks)
        interlocks.start()
        return interlocks

    yield start
    for interlocks in made:
        interlocks.close()


def hold(bias: BiasSource, clock: Any, volts: float = -5.0) -> None:
    """Set a level, and let the time pass in which no reading is judged."""
    bias.set(volts).wait(W)
    clock.t += 1.0


def short(bias: BiasSource, smu: Any) -> None:
    """Take a reading of a short."""
    smu.current, smu.status = -9e-9, 1 << 3
    bias.trigger().wait(W)
    smu.status = 0


def test_a_short_switches_the_output_off_before_it_is_told(
    make: Make, bias: BiasSource, beam: BeamBlanker, smu: Any, clock: Any, told: Told
) -> None:
    interlocks = make()
    assert repr(interlocks) == "<interlocks: none has tripped>"
    hold(bias, clock)
    beam.set("open").wait(W)
    seen: list[bool] = []

    def look(trip: Trip) -> None:
        seen.append(smu.output)
        told(trip)

    interlocks.on_trip = look
    short(bias, smu)
    trip = told.wait()
    assert seen == [False]
    assert (trip.kind, trip.unsafe) == ("short", "")
    assert trip.t == clock.t
    assert 0.0 <= trip.reaction_s < W
    assert smu.state[":SOUR:VOLT"] == 0.0
    assert beam.blanked.get()
    assert bias.timeline.last("interlock") == trip.text
    assert trip.text == (
        "interlock short: -9.00e-09 A at -5 V (limit 5e-09 A, [interlocks] short_A)"
    )
    assert interlocks.trip == trip
    assert "TRIPPED: interlock short" in repr(interlocks)


def test_the_output_goes_off_though_the_guard_is_held_up(
    make: Make, bias: BiasSource, smu: Any, clock: Any, told: Told
) -> None:
    """The order leaves from the thread in which the reading arrived."""
    go = threading.Event()
    parts = SimpleNamespace(parts=[])
    make(safe_state=SimpleNamespace(make_safe=lambda reason: (go.wait(W), parts)[1]))
    hold(bias, clock)
    short(bias, smu)
    bias.source.link.call(lambda transport: None, timeout=W)  # behind what was sent
    assert not smu.output
    assert not told.trips
    go.set()
    told.wait()


def test_a_reading_that_waits_is_dropped_without_a_deadlock(
    make: Make, bias: BiasSource, smu: Any, clock: Any, told: Told
) -> None:
    """What a stop drops is noted in the timeline, whose listeners judge."""
    make()
    hold(bias, clock)
    smu.current, smu.status = -9e-9, 1 << 3
    gate = smu.gate = threading.Event()
    statuses = [bias.trigger() for _ in range(5)]
    assert smu.held.wait(W)
    smu.gate = None
    gate.set()
    assert told.wait().kind == "short"
    for status in statuses:
        status.exception(W)
    assert not smu.output


def test_until_a_person_clears_it_nothing_can_hurt(
    make: Make,
    bias: BiasSource,
    beam: BeamBlanker,
    probe: PiezoProbe,
    smu: Any,
    clock: Any,
    told: Told,
) -> None:
    interlocks = make()
    probe.z.fine.set(20.0).wait(W)
    probe.z.coarse.set(5).wait(W)
    hold(bias, clock)
    short(bias, smu)
    told.wait()
    before = list(smu.sent)
    sequence = {"levels_V": [1.0], "step_s": 0.1, "nplc": 0.01}
    for refused in (
        lambda: bias.set(1.0),
        lambda: bias.set(0.0),
        lambda: bias.check_value(1.0),
        lambda: bias.sequence.prepare(sequence),
        lambda: bias.sequence.kickoff(),
        lambda: beam.set("open"),
        lambda: probe.z.coarse.set(6),
        lambda: probe.z.fine.set(21.0),
        lambda: probe.x.fine.set(0.0),
    ):
        with pytest.raises(InterlockError) as caught:
            refused()
        assert "since the interlock short tripped at 1.000 s: -9.00e-09 A at -5 V" in str(
            caught.value
        )
        assert str(caught.value).endswith("then clear it with session.interlocks.clear()")
    assert smu.sent == before
    # What makes safer may always be done.
    probe.z.fine.set(0.0).wait(W)
    probe.z.coarse.set(0).wait(W)
    beam.set("blanked").wait(W)
    bias.stop()
    interlocks.clear()
    assert interlocks.trip is None
    assert bias.timeline.last("interlock") == "cleared"
    smu.current = -2e-10
    hold(bias, clock)
    bias.trigger().wait(W)
    assert smu.output
    assert len(told.trips) == 1


def test_a_level_that_was_on_its_way_does_not_stay(
    make: Make, bias: BiasSource, smu: Any, clock: Any, told: Told
) -> None:
    interlocks = make()
    hold(bias, clock)
    gate = smu.gate = threading.Event()
    status = bias.set(-4.0)
    assert smu.held.wait(W)  # being sent
    interlocks.trip_now("short", "seen by somebody else")
    smu.gate = None
    gate.set()
    told.wait()
    status.exception(W)
    assert interlocks.wait(W)
    assert not smu.output
    assert smu.state[":SOUR:VOLT"] == 0.0


def test_the_dose_blanks_the_beam_and_leaves_the_bias(
    make: Make, bias: BiasSource, beam: BeamBlanker, smu: Any, clock: Any, told: Told
) -> None:
    interlocks = make()
    hold(bias, clock)
    beam.set("open").wait(W)
    interlocks.trip_now("dose", "5001 e/A^2 at site 3", "5000 e/A^2, [dose] hard_e_per_A2")
    trip = told.wait()
    assert not trip.ends_run
    assert beam.blanked.get()
    assert smu.output
    bias.set(-3.0).wait(W)
    with pytest.raises(InterlockError, match="opening the beam is refused since the interlock dos"):
        beam.set("open")
    # What is graver still trips.
    clock.t += 1.0
    short(bias, smu)
    assert told.wait(2).kind == "short"
    assert [t.kind for t in interlocks.trips] == ["short", "dose"]
    interlocks.clear()
    beam.set("open").wait(W)


def test_the_first_reason_is_the_one_that_is_told(
    make: Make, bias: BiasSource, smu: Any, clock: Any, told: Told
) -> None:
    interlocks = make()
    hold(bias, clock)
    short(bias, smu)
    interlocks.trip_now("camera silent", "and more")
    told.wait()
    assert interlocks.wait(W)
    assert [t.kind for t in told.trips] == ["short"]


def test_what_cannot_be_made_safe_is_told(
    make: Make, bias: BiasSource, smu: Any, clock: Any, told: Told
) -> None:
    make()
    hold(bias, clock)
    smu.dead = True
    make_trip = told
    bias.timeline.record("probe_z_V", clock.t, 130.0)  # more than the station's 100 V
    trip = make_trip.wait()
    assert trip.kind == "probe travel"
    assert "bias: 0 V and output off not confirmed" in trip.unsafe
    assert "NOT SAFE" in trip.text
    smu.dead = False


def test_the_probe_is_stopped_when_the_current_jumps_while_it_steps(
    make: Make, bias: BiasSource, probe: PiezoProbe, smu: Any, console: Any, clock: Any, told: Told
) -> None:
    make()
    hold(bias, clock, 0.5)
    console.endless = True
    status = probe.z.coarse.set(150)
    probe.controller.link.call(lambda transport: None, timeout=W)
    assert probe.z.heading == 1
    smu.current = 6e-9
    bias.trigger().wait(W)
    trip = told.wait()
    assert trip.kind == "approach overshoot"
    assert "stop 3" in console.sent
    assert not probe.z.moving
    assert isinstance(status.exception(W), InterlockError)


def test_over_the_contact_band_the_probe_may_not_go_on(
    make: Make, bias: BiasSource, probe: PiezoProbe, smu: Any, clock: Any, told: Told
) -> None:
    make()
    probe.z.coarse.set(10).wait(W)
    hold(bias, clock, 0.5)
    smu.current = 6e-9
    bias.trigger().wait(W)
    with pytest.raises(InterlockError, match=r"over the contact band \(5e-09 A, \[interlocks\]"):
        probe.z.coarse.set(11)
    probe.z.coarse.set(5).wait(W)  # back, at any time
    assert not told.trips


def test_an_axis_that_moves_unbidden_is_stopped(
    make: Make, probe: PiezoProbe, console: Any, told: Told
) -> None:
    make(probe_look_s=0.1)
    console.moving.add("3")
    trip = told.wait()
    assert trip.kind == "probe over-travel"
    assert "probe_z is 17.5 V" in trip.seen
    assert "stop 3" in console.sent


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


# ---- suspenders --------------------------------------------------------------------------------


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
