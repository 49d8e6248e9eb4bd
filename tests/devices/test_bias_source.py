"""The biasing source: what is set, what is noted, and what a stop leaves behind."""

import math
import threading
from operator import attrgetter
from typing import Any

import pytest
from bluesky.protocols import (
    Configurable,
    Locatable,
    Movable,
    Pausable,
    Readable,
    Stageable,
    Stoppable,
    Triggerable,
)
from ophyd import Device

from stmtem_control.devices import BiasSource
from stmtem_control.errors import (
    InstrumentError,
    LimitError,
    StmTemError,
    TransportError,
    TransportTimeout,
)
from stmtem_control.link import DroppedError
from stmtem_control.recording.bias_rows import READINGS, SEQUENCE
from stmtem_control.recording.columns import BIAS_COLUMNS
from stmtem_control.timeline import Timeline

W = 5.0  # wall seconds that a test waits at most


@pytest.mark.parametrize(
    "protocol",
    [Readable, Triggerable, Movable, Locatable, Stoppable, Pausable, Stageable, Configurable],
)
def test_it_is_what_bluesky_expects(bias: BiasSource, protocol: Any) -> None:
    assert isinstance(bias, protocol)


def test_connecting_leaves_it_off_at_zero(bias: BiasSource, smu: Any) -> None:
    assert not smu.output
    assert smu.state[":SENS:CURR:PROT"] == 1e-8
    assert ":OUTP:SMOD HIMP" in smu.sent
    assert "MODEL 6430" in bias.identity.get()
    assert bias.compliance.get() == 1e-8
    assert bias.timeline.last("bias_set_V") == 0.0


def test_a_level_switches_the_output_on_and_is_noted(
    bias: BiasSource, smu: Any, timeline: Timeline, clock: Any
) -> None:
    clock.t = 3.0
    bias.set(-5.0).wait(W)
    assert smu.output
    assert smu.state[":SOUR:VOLT"] == -5.0
    assert smu.sent.index(":SOUR:VOLT -5.0000000E+00") < smu.sent.index(":OUTP ON")
    assert timeline.at("bias_set_V", 3.0) == -5.0
    assert bias.setpoint.get() == -5.0
    assert bias.setpoint.timestamp == clock.wall_time(3.0)
    assert bias.output.get() is True
    assert bias.locate() == {"setpoint": -5.0, "readback": 0.0}


def test_zero_leaves_the_output_on(bias: BiasSource, smu: Any) -> None:
    bias.set(0.0).wait(W)
    assert smu.output


@pytest.mark.parametrize("value", [10.001, -11.0, float("nan"), "5 V", None])
def test_beyond_the_limits_nothing_is_sent(bias: BiasSource, smu: Any, value: Any) -> None:
    before = list(smu.sent)
    for call in (bias.set, bias.check_value):
        with pytest.raises(LimitError) as caught:
            call(value)
        assert str(caught.value).startswith("bias: ")
        assert "-10 to 10 V ([bias_source] max_bias_V in the station file)" in str(caught.value)
    assert smu.sent == before


def test_a_reading_is_published_and_noted(
    bias: BiasSource, smu: Any, timeline: Timeline, clock: Any
) -> None:
    bias.set(1.0).wait(W)
    clock.t = 7.0
    smu.current, smu.status = 1e-8, 1 << 3
    bias.trigger().wait(W)
    read: Any = bias.read()
    assert read["bias_voltage"] == {"value": 1.0, "timestamp": clock.wall_time(7.0)}
    assert read["bias_current"]["value"] == 1e-8
    assert read["bias_in_compliance"]["value"] is True
    assert timeline.at("voltage_V", 7.0) == 1.0
    assert timeline.at("current_A", 7.0) == 1e-8
    assert timeline.at("compliance", 7.0) is True


def test_times_are_noted_with_their_uncertainty(
    bias: BiasSource, beam: Any, smu: Any, timeline: Timeline, clock: Any
) -> None:
    """Half a second passes on every answer: so long is what happened uncertain."""
    answer = smu.answer

    def slow(line: str) -> str:
        clock.t += 0.5
        return str(answer(line))

    smu.answer = slow
    bias.set(-5.0).wait(W)
    beam.set("open").wait(W)
    bias.trigger().wait(W)
    for channel, value in (("bias_set_V", -5.0), ("blanked", False)):
        _, values, sure = timeline.entries(channel)
        assert (values[-1], sure[-1]) == (value, 0.5)  # the command, and its question
    _, _, sure = timeline.entries("voltage_V")
    assert sure[-1] == bias.time_uncertainty.get() == pytest.approx(0.25 - 0.02)
    assert bias.instrument_time.get() == 1.0
    bias.stop()
    _, values, sure = timeline.entries("bias_set_V")
    assert (values[-1], sure[-1]) == (0.0, 0.75)  # two commands, and one question


def test_at_rest_there_is_no_reading_and_the_output_stays_off(
    bias: BiasSource, smu: Any, timeline: Timeline
) -> None:
    """As in ``bp.count([bias])``: NaN, which is no reading for the interlocks either."""
    bias.trigger().wait(W)
    assert math.isnan(bias.current.get())
    assert math.isnan(bias.voltage.get())
    assert not bias.output.get()
    assert timeline.entries("current_A")[1] == []
    assert repr(bias) == "<BiasSource bias: 0 V, output off>"


def test_a_reading_fails_where_a_stop_took_the_level_away(bias: BiasSource) -> None:
    bias.set(2.0).wait(W)
    bias.stop()
    with pytest.raises(InstrumentError, match="nothing to measure"):
        bias.trigger().wait(W)


def test_what_the_instrument_refuses_fails_the_status(bias: BiasSource, smu: Any) -> None:
    smu.error = '-222,"Parameter data out of range"'
    with pytest.raises(InstrumentError, match="-222"):
        bias.set(5.0).wait(W)


def test_documents_carry_units_and_limits(bias: BiasSource) -> None:
    keys: Any = bias.describe()
    assert keys["bias_voltage"]["units"] == "V"
    assert keys["bias_current"]["units"] == "A"
    assert keys["bias_setpoint"]["lower_ctrl_limit"] == -10.0
    assert keys["bias_in_compliance"]["dtype"] == "boolean"
    assert set(keys) == set(bias.read())
    configuration: Any = bias.describe_configuration()
    assert configuration["bias_compliance"]["units"] == "A"
    assert set(configuration) == set(bias.read_configuration())
    assert bias.hints == {"fields": ["bias_voltage", "bias_current"]}


def test_nothing_is_sent_to_look(bias: BiasSource, smu: Any) -> None:
    before = list(smu.sent)
    for look in (bias.read, bias.describe, bias.read_configuration, bias.voltage.get):
        look()
    assert smu.sent == before


@pytest.mark.parametrize("name", [walk.dotted_name for walk in BiasSource.walk_components()])
def test_every_signal_says_what_it_is(bias: BiasSource, name: str) -> None:
    signal = attrgetter(name)(bias)
    if isinstance(signal, Device):
        return  # its signals follow
    assert signal.about.endswith(".")
    assert signal.kind is not None


def test_compliance_can_be_configured(bias: BiasSource, smu: Any) -> None:
    bias.configure({"compliance": 1e-7})
    assert smu.state[":SENS:CURR:PROT"] == 1e-7
    assert bias.compliance.get() == 1e-7
    for value in (0.0, -1e-9, 2e-6):
        with pytest.raises(LimitError, match="compliance"):
            bias.compliance.set(value)


# Stopping


def test_stop_goes_to_zero_and_off(bias: BiasSource, smu: Any, timeline: Timeline) -> None:
    bias.set(5.0).wait(W)
    bias.stop(success=True)
    assert not smu.output
    assert smu.state[":SOUR:VOLT"] == 0.0
    assert smu.sent[-3:] == [":SOUR:VOLT 0", ":OUTP OFF", ":SYST:ERR?;:SOUR:VOLT?;:OUTP?"]
    assert timeline.last("bias_set_V") == 0.0
    assert (bias.setpoint.get(), bias.output.get(), bias.unsafe) == (0.0, False, None)
    bias.stop()
    assert bias.unsafe is None


@pytest.mark.parametrize("success", [True, False])
def test_a_stop_overtakes_a_set_that_waits(bias: BiasSource, smu: Any, success: bool) -> None:
    bias.set(1.0).wait(W)
    smu.gate = threading.Event()
    reading = bias.trigger()
    assert smu.held.wait(W)  # the question is on its way, the rest waits behind it
    first = bias.set(2.0)
    status = bias.set(5.0)
    stopper = threading.Thread(target=bias.stop, kwargs={"success": success})
    stopper.start()
    for volts, dropped in ((2, first), (5, status)):
        if success:
            dropped.wait(W)
        else:
            with pytest.raises(DroppedError, match=f"{volts} V was dropped"):
                dropped.wait(W)
    assert not reading.done
    smu.gate.set()
    stopper.join(W)
    reading.wait(W)  # asked before the stop, and answered: a true reading
    assert bias.voltage.get() == 1.0
    for volts in (2, 5):
        assert f":SOUR:VOLT {volts}.0000000E+00" not in smu.sent
    assert not smu.output
    assert bias.setpoint.get() == 0.0


@pytest.mark.parametrize("success", [True, False])
def test_a_reading_that_a_stop_drops_is_no_reading(
    bias: BiasSource, smu: Any, timeline: Timeline, clock: Any, success: bool
) -> None:
    """What was read before must not pass as new, but Bluesky must be able to go on."""
    bias.set(1.0).wait(W)
    bias.trigger().wait(W)
    assert bias.voltage.get() == 1.0
    clock.t = 6.0
    smu.gate = threading.Event()
    held = bias.source.set_line(4, True)
    assert smu.held.wait(W)
    heard: list[tuple[str, float]] = []
    end = timeline.listen(lambda channel, t, *_: heard.append((channel, t)))
    dropped = bias.trigger()
    stopper = threading.Thread(target=bias.stop, kwargs={"success": success})
    stopper.start()
    if success:
        dropped.wait(W)
        read: Any = bias.read()
        for key in ("bias_voltage", "bias_current"):
            assert math.isnan(read[key]["value"])
            assert read[key]["timestamp"] == clock.wall_time(6.0)
        assert math.isnan(timeline.at("current_A", 6.0))
        # Not the whole of a reading: the interlocks would judge it.
        assert ("current_A", 6.0) in heard
        assert ("compliance", 6.0) not in heard
    else:
        with pytest.raises(DroppedError, match="a reading was dropped"):
            dropped.wait(W)
        assert bias.voltage.get() == 1.0
    smu.gate.set()
    stopper.join(W)
    held.result(W)
    end()
    assert ":READ?" not in smu.sent[-5:]


def test_a_stop_does_not_wait_for_a_source_that_is_busy(
    bias: BiasSource, driver: Any, smu: Any
) -> None:
    """The reading would take five seconds; then the source would answer who it is."""
    driver._scpi.timeout_s = W
    bias.set(5.0).wait(W)
    asked, answer = threading.Event(), smu.answer

    def busy(line: str) -> str:
        if line == ":READ?":
            smu.dead = True  # until the output goes off
            asked.set()
        return "" if smu.dead else str(answer(line))

    send = smu._send

    def sent(data: bytes) -> None:
        if b":OUTP OFF" in data:
            smu.dead = False
        send(data)

    smu.answer, smu._send = busy, sent
    reading = bias.trigger()
    assert asked.wait(W)
    bias.stop()
    assert bias.unsafe is None
    assert not smu.output
    reading.wait(W)
    assert math.isnan(bias.voltage.get())
    first = smu.sent.index(":READ?") + 1
    assert smu.sent[first : first + 3] == [":SOUR:VOLT 0", ":OUTP OFF", "*ESE 1;*ESE?;*IDN?"]


def test_a_stop_is_sent_to_a_source_that_does_not_answer(bias: BiasSource, smu: Any) -> None:
    bias.set(5.0).wait(W)
    smu.dead = True
    with pytest.raises(TransportTimeout):
        bias.trigger().wait(W)
    before = len(smu.sent)
    bias.stop()
    assert bias.unsafe is not None
    assert smu.sent[before : before + 3] == [":SOUR:VOLT 0", ":OUTP OFF", "*ESE 1;*ESE?;*IDN?"]


def test_a_dead_instrument_does_not_hold_up_a_stop(
    bias: BiasSource, smu: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bias.set(5.0).wait(W)
    smu.dead = True
    bias.stop()
    assert bias.setpoint.get() == 0.0
    assert bias.unsafe is not None
    assert "0 V and output off not confirmed" in bias.unsafe
    assert "NOT confirmed" in caplog.text
    assert "within" in bias.unsafe
    with pytest.raises(StmTemError, match="not confirmed"):
        bias.output_off()


def test_an_unplugged_instrument_neither(bias: BiasSource, smu: Any) -> None:
    bias.set(5.0).wait(W)
    smu.unplugged = True
    for _ in range(2):
        bias.stop()
        assert bias.unsafe is not None
        assert "pulled out" in bias.unsafe
    assert not bias.source.link.alive
    with pytest.raises(TransportError, match="pulled out"):
        bias.set(1.0).wait(W)


def test_connecting_again_mends_a_broken_link(bias: BiasSource, smu: Any) -> None:
    smu.unplugged = True
    bias.stop()
    smu.unplugged = False
    with pytest.raises(TransportError, match="pulled out"):
        bias.set(1.0).wait(W)
    bias.connect(W)
    bias.set(1.0).wait(W)
    assert smu.output


def test_a_source_that_was_switched_off_meanwhile_gets_no_bias(bias: BiasSource, smu: Any) -> None:
    """Its compliance is that of the factory then, ten thousand times ours."""
    smu.unplugged = True
    bias.stop()
    smu.unplugged = False
    smu.state[":SENS:CURR:PROT"] = 1.05e-4
    with pytest.raises(TransportError, match=r"compliance was 1e-08 A and is now 0.000105 A"):
        bias.source.link.reopen(W)
    with pytest.raises(TransportError, match=r"so does bias\.connect\(\)"):
        bias.set(1.0).wait(W)
    assert not smu.output
    bias.connect(W)
    bias.set(1.0).wait(W)
    assert smu.output


@pytest.mark.parametrize("what", ["connecting", "resuming"])
def test_waiting_too_long_is_told_in_one_line(
    bias: BiasSource, smu: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias.set(1.0).wait(W)
    bias.pause()
    smu.gate = threading.Event()
    try:
        if what == "connecting":
            with pytest.raises(
                TransportTimeout,
                match=r"^source: identification did not end within 0.05 s; no answer from fake$",
            ):
                bias.source.open().result(0.05)
            with pytest.raises(TransportTimeout, match=r"^source: opening did not end within"):
                bias.connect(0.05)
        else:
            monkeypatch.setattr("stmtem_control.devices.bias_source.STOP_S", 0.05)
            with pytest.raises(
                TransportTimeout, match=r"^bias: back to 1 V was not confirmed within 0.05 s$"
            ):
                bias.resume()
    finally:
        smu.gate.set()


def test_an_instrument_that_comes_back_is_safe_again(bias: BiasSource, smu: Any) -> None:
    bias.set(5.0).wait(W)
    smu.dead = True
    bias.stop()
    smu.dead = False
    bias.stop()
    assert bias.unsafe is None
    assert not smu.output


# Pausing: Bluesky stops what was set, then pauses


def test_a_pause_takes_the_bias_off_and_resuming_restores_it(
    bias: BiasSource, smu: Any, clock: Any
) -> None:
    bias.set(-5.0).wait(W)
    clock.t = 10.0
    bias.stop(success=True)
    bias.pause()
    assert not smu.output
    clock.t = 14.0
    assert bias.paused_s == 4.0
    bias.resume()
    assert smu.output
    assert smu.state[":SOUR:VOLT"] == -5.0
    clock.t = 20.0
    assert bias.paused_s == 4.0
    bias.pause()
    clock.t = 21.0
    bias.resume()
    assert bias.paused_s == 5.0


def test_a_pause_without_a_bias_restores_none(bias: BiasSource, smu: Any) -> None:
    bias.pause()
    bias.resume()
    assert not smu.output


@pytest.mark.parametrize("between", ["stage", "unstage", "trigger", "output_off"])
def test_a_stop_that_belongs_to_something_else_restores_nothing(
    bias: BiasSource, smu: Any, between: str
) -> None:
    bias.set(5.0).wait(W)
    bias.stop()
    done = getattr(bias, between)()
    if between == "trigger":
        assert done.exception(W) is not None
    bias.pause()
    bias.resume()
    assert not smu.output
    if between == "stage":
        bias.unstage()


def test_a_stop_in_a_pause_is_final(bias: BiasSource, smu: Any) -> None:
    bias.set(5.0).wait(W)
    bias.pause()
    bias.stop()
    bias.resume()
    assert not smu.output


def test_a_set_in_a_pause_ends_it(bias: BiasSource, smu: Any, clock: Any) -> None:
    """The finalizer of an aborted plan sets 0 V: it is never followed by a resume."""
    bias.set(5.0).wait(W)
    bias.pause()
    clock.t = 2.0
    bias.set(0.0).wait(W)
    clock.t = 9.0
    assert bias.paused_s == 2.0
    bias.resume()
    assert smu.state[":SOUR:VOLT"] == 0.0


def test_unstaging_takes_the_bias_off(bias: BiasSource, smu: Any) -> None:
    bias.stage()
    bias.set(5.0).wait(W)
    bias.unstage()
    assert not smu.output


def test_disconnecting_takes_the_bias_off(bias: BiasSource, smu: Any) -> None:
    bias.set(5.0).wait(W)
    bias.disconnect()
    bias.disconnect()
    assert not smu.output
    with pytest.raises(TransportError, match="closed"):
        bias.set(1.0).wait(W)


def test_the_table_of_readings_knows_the_data_keys(bias: BiasSource, camera: Any) -> None:
    triggered = {*bias.describe(), camera.phase.name, camera.cycle.name}
    assert set(READINGS.values()) <= triggered
    assert set(SEQUENCE.values()) <= set(bias.sequence.describe_collect())
    assert set(READINGS) | {"run_time_s", "time_s"} == {column.name for column in BIAS_COLUMNS}
