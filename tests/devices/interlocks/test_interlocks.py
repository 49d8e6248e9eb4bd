"""Interlocks on devices: what they do at once, what they refuse, and how they are cleared."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from stmtem_control.devices import (
    BeamBlanker,
    BiasSource,
    PiezoProbe,
    SafePart,
    SafeReport,
    Trip,
)
from stmtem_control.errors import InterlockError
from stmtem_control.timeline import Timeline

from .trips import Make, Told, W, hold, short


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
    part = SafePart("bias", True, "0 V, output off", 0.1)
    report = SafeReport("short", (part,), 0.1, 0.0)
    make(safe_state=SimpleNamespace(make_safe=lambda reason: (go.wait(W), report)[1]))
    hold(bias, clock)
    short(bias, smu)
    bias.source.link.call(lambda transport: None, timeout=W)  # behind what was sent
    assert not smu.output
    assert not told.trips
    go.set()
    told.wait()


def test_a_trip_is_acted_on_though_its_first_order_and_its_note_fail(
    make: Make,
    bias: BiasSource,
    smu: Any,
    clock: Any,
    timeline: Timeline,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make()
    hold(bias, clock)
    send, tries = bias.source.zero_and_off, []

    def fails_once() -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("can't start new thread")
        return send()

    def full(channel: str, *_: object) -> None:
        if channel == "interlock":
            raise OSError("no space left on device")

    monkeypatch.setattr(bias.source, "zero_and_off", fails_once)
    timeline.listen(full)
    short(bias, smu)
    assert told.wait().unsafe == ""
    assert not smu.output


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
