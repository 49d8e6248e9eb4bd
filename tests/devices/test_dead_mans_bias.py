"""A bias that nobody renews is gone in time: the simulated source itself is asked."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stmtem_control.clock import StationClock
from stmtem_control.devices import BiasSource
from stmtem_control.devices.keithley import Keithley2400
from stmtem_control.errors import InstrumentError, InterlockError
from stmtem_control.link import DroppedError, Link
from stmtem_control.serial_port import SerialTransport
from stmtem_control.simulators import Bench, Fault, HandClock
from stmtem_control.simulators.bias_source import SourceMeter
from stmtem_control.simulators.server import Channel
from stmtem_control.tcp import TcpTransport
from stmtem_control.timeline import Timeline
from stmtem_control.transport import BufferedTransport

W = 5.0  # wall seconds that a test waits at most
MODELS = ("2400", "2450", "6430")


class Chart:
    """What is on the terminals of a source: every change, with its time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.entries: list[tuple[float, float | None]] = []
        self.last: float | None = None

    def note(self, volts: float | None) -> None:
        """Note a level; None for high impedance, as at the beginning."""
        if volts != self.last:
            self.entries.append((self.now(), volts))
        self.last = volts

    @property
    def levels(self) -> list[float | None]:
        """The levels in their order."""
        return [volts for _, volts in self.entries]


class Rig:
    """A device on a bench that goes by the wall's time, and a chart of what it does."""

    def __init__(
        self, patch: pytest.MonkeyPatch, *, model: str = "6430", speed: float = 1.0,
        serial: bool = False, dead_man_s: float = 0.5, nplc: float = 0.1,
    ) -> None:  # fmt: skip
        self.bench = Bench(model=model, speed=speed, size=256)
        self.chart = Chart(self.bench.clock.now)
        drive = self.bench.specimen.drive

        def driven(volts: float | None, compliance_A: float) -> None:
            self.chart.note(volts)
            drive(volts, compliance_A)

        patch.setattr(self.bench.specimen, "drive", driven)
        port = self.bench.source_tcp.port
        path = self.bench.source_pty.path

        def open_it() -> BufferedTransport:
            return SerialTransport(path) if serial else TcpTransport("127.0.0.1", port)

        self.link = Link(open_it, name="bias_source")
        self.clock = StationClock(speed)
        self.timeline = Timeline()
        self.source = Keithley2400(
            self.link, now=self.clock.now, speed=speed, dead_man_s=dead_man_s
        )
        self.bias = BiasSource(
            source=self.source, clock=self.clock, timeline=self.timeline, max_bias_V=10.0,
            compliance_A=1e-5, nplc=nplc,
        )  # fmt: skip
        self.bias.connect(W)
        self.chart.entries.clear()

    def off_within(self, seconds: float) -> float:
        """Wait until the output is off; return after how long it was, in s of the bench."""
        gone = threading.Event()
        begun = self.bench.clock.now()
        until = time.monotonic() + W
        while self.chart.last is not None and time.monotonic() < until:
            gone.wait(1e-3)
        # The chart has the time at which it was due: this thread may see it later.
        when, volts = self.chart.entries[-1]
        assert volts is None
        took = when - begun
        assert took <= seconds
        return took

    def close(self) -> None:
        """End everything."""
        self.bias.alive = lambda: True
        self.bias.disconnect()
        self.bench.close()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(**options: Any) -> Rig:
        made.append(Rig(monkeypatch, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("serial", [False, True], ids=["tcp", "serial"])
@pytest.mark.parametrize("model", MODELS)
def test_a_level_is_unbroken_while_it_is_renewed(
    rig: Callable[..., Rig], model: str, serial: bool
) -> None:
    """Two starts a reading, and the renewals of nobody's asking: the terminals see none."""
    desk = rig(model=model, serial=serial)
    desk.bias.set(-5.0).wait(W)
    for _ in range(40):
        desk.bias.trigger().wait(W)
    assert desk.bias.voltage.get() == pytest.approx(-5.0, abs=1e-2)
    desk.bias.set(5.0).wait(W)
    desk.bias.trigger().wait(W)
    assert desk.bias.voltage.get() == pytest.approx(5.0, abs=1e-2)
    assert threading.Event().wait(0.7) is False  # nobody reads, longer than a hold
    assert desk.chart.levels == [-5.0, 5.0]
    assert desk.bench.source.output_on
    desk.bias.stop()
    assert desk.bias.unsafe is None
    assert desk.chart.levels == [-5.0, 5.0, 0.0, None]
    assert all(desk.bench.safe().values())


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_a_host_that_does_not_say_it_is_alive(rig: Callable[..., Rig], speed: float) -> None:
    desk = rig(speed=speed)
    told: list[str] = []
    desk.bias.on_lapse = told.append
    desk.bias.set(-5.0).wait(W)
    desk.bias.trigger().wait(W)
    desk.bias.alive = lambda: False
    desk.off_within(desk.source.hold.dead_man_s)
    until = time.monotonic() + W
    while not told and time.monotonic() < until:
        threading.Event().wait(1e-3)
    assert "does not say that it is alive" in told[0]
    assert desk.bias.output.get() is False
    assert desk.bias.setpoint.get() == 0.0
    assert desk.timeline.last("bias_set_V") == 0.0
    with pytest.raises(InterlockError, match="let it go by itself"):
        desk.bias.trigger().wait(W)
    desk.bias.alive = lambda: True
    with pytest.raises(InterlockError, match="stop, then set the bias again"):
        desk.bias.set(-5.0)
    desk.bias.set(0.0).wait(W)  # what a plan's end does: it is 0 V already
    assert not desk.bench.source.output_on
    desk.bias.stop()
    desk.bias.set(-5.0).wait(W)
    assert desk.bench.source.output_on


def test_a_host_that_was_held_up_notices_at_once(rig: Callable[..., Rig]) -> None:
    """As after SIGSTOP: nothing runs for longer than a hold, then everything goes on."""
    desk = rig()
    desk.bias.set(-5.0).wait(W)
    desk.bias.trigger().wait(W)
    go_on = threading.Event()
    stuck = desk.link.submit(lambda transport: go_on.wait(W), name="being held up")
    desk.off_within(0.5)
    waiting = desk.bias.trigger()
    go_on.set()
    assert stuck.result(W)
    with pytest.raises(InterlockError, match="this computer was held up, or the line was"):
        waiting.wait(W)
    assert desk.bias.lapse is not None
    assert desk.chart.levels == [-5.0, None]  # and never on again
    volts, when, sure = (desk.timeline.entries("bias_set_V")[i][-1] for i in (1, 0, 2))
    assert volts == 0.0
    gone = desk.chart.entries[-1][0]
    off = desk.clock.now() - desk.bench.clock.now()
    assert abs(when - (gone + off)) <= sure + 5e-3


def test_a_pulled_cable(rig: Callable[..., Rig]) -> None:
    desk = rig()
    desk.bias.set(-5.0).wait(W)
    desk.bias.trigger().wait(W)
    desk.bench.source_tcp.close()
    desk.off_within(0.5)
    until = time.monotonic() + W
    while desk.bias.lapse is None and time.monotonic() < until:
        threading.Event().wait(1e-3)
    assert desk.bias.output.get() is False
    assert "lets go by itself within 0.5 s" in str(desk.bias.lapse)


def test_a_source_that_hears_but_is_not_heard(rig: Callable[..., Rig]) -> None:
    """Starts that nobody confirms are not repeated for ever."""
    desk = rig()
    desk.source._scpi.timeout_s = 0.1
    desk.bias.set(-5.0).wait(W)
    desk.bench.inject(Fault("bias_source", "drop", count=0))
    desk.off_within(2 * 0.5)  # one more start is heard, at most, before the first holds no more
    until = time.monotonic() + W
    while desk.bias.lapse is None and time.monotonic() < until:
        threading.Event().wait(1e-3)
    assert "was not renewed" in str(desk.bias.lapse)
    desk.bench.clear_faults()


def test_an_interlock_that_opens_is_noticed_by_the_next_renewal(rig: Callable[..., Rig]) -> None:
    desk = rig(dead_man_s=2.0)  # a busy computer must not miss a renewal
    desk.link.call(lambda transport: desk.source._scpi.set(transport, ":OUTP:ENAB ON"))
    desk.bias.set(-5.0).wait(W)
    desk.bench.source.set_output_enable(False)
    until = time.monotonic() + W
    while desk.bias.lapse is None and time.monotonic() < until:
        threading.Event().wait(1e-3)
    assert "its output interlock is open" in str(desk.bias.lapse)
    desk.bias.stop()
    with pytest.raises(InstrumentError, match=r"does not go on: \+802"):
        desk.bias.set(1.0).wait(W)
    desk.bench.source.set_output_enable(True)
    desk.bias.set(1.0).wait(W)


def test_a_dead_session_s_hold_does_not_keep_the_next_one_out(rig: Callable[..., Rig]) -> None:
    """Its source answers nobody before the hold is over: that is waited for."""
    desk = rig(dead_man_s=1.5)
    desk.bias.set(-5.0).wait(W)
    port = desk.bench.source_tcp.port
    with Link(lambda: TcpTransport("127.0.0.1", port), name="bias_source") as second:
        asked = Keithley2400(second, dead_man_s=1.5, timeout_s=0.2).open()
        desk.bias.alive = lambda: False
        assert asked.result(W).model == "6430"


def test_the_beam_is_blanked_in_the_middle_of_a_hold(rig: Callable[..., Rig]) -> None:
    desk = rig()
    desk.bias.set(-5.0).wait(W)
    for high in (False, True) * 10:
        desk.source.set_line(1, high, safe=high).result(W)
        assert desk.bench.source.digital_out[0].level is high
    desk.bias.trigger().wait(W)
    assert desk.chart.levels == [-5.0]


def test_settings_change_in_the_middle_of_a_hold(rig: Callable[..., Rig]) -> None:
    desk = rig()
    desk.bias.set(-5.0).wait(W)
    desk.bias.compliance.set(1e-6).wait(W)
    assert desk.bias.compliance.get() == pytest.approx(1e-6)
    assert desk.chart.levels == [-5.0]


def test_a_sequence_between_two_holds(rig: Callable[..., Rig]) -> None:
    desk = rig()
    desk.bias.set(-5.0).wait(W)
    desk.bias.trigger().wait(W)
    desk.bias.sequence.prepare({"levels_V": (1.0, -1.0), "step_s": 0.05}).wait(W)
    assert not desk.bench.source.output_on
    desk.bias.sequence.kickoff().wait(W)
    desk.bias.sequence.complete().wait(W)
    desk.bias.set(2.0).wait(W)
    desk.bias.trigger().wait(W)
    assert desk.bias.voltage.get() == pytest.approx(2.0, abs=1e-2)
    assert threading.Event().wait(0.6) is False
    assert desk.bench.source.output_on
    desk.bias.alive = lambda: False
    desk.off_within(0.5)
    levels = [volts for volts in desk.chart.levels if volts]
    assert levels == [-5.0, 1.0, -1.0, 2.0]


def test_a_sequence_that_is_stopped_leaves_nothing_on(rig: Callable[..., Rig]) -> None:
    """An abort alone would: its list has not come to its end."""
    desk = rig()
    desk.bias.sequence.prepare({"levels_V": (1.0,) * 100, "step_s": 0.05}).wait(W)
    desk.bias.sequence.kickoff().wait(W)
    desk.bias.stop()
    assert desk.bias.unsafe is None
    assert all(desk.bench.safe().values())
    with pytest.raises(DroppedError):
        desk.bias.sequence.complete().wait(W)


def test_a_reading_is_from_after_it_was_asked_for(
    rig: Callable[..., Rig], stood_still_s: Callable[[], float]
) -> None:
    desk = rig(nplc=1.0, dead_man_s=2.0)
    desk.bias.set(-5.0).wait(W)
    for _ in range(10):
        before = desk.clock.now()
        desk.bias.trigger().wait(W)
        after = desk.clock.now()
        t = desk.clock.station_time(desk.bias.voltage.timestamp)
        sure = desk.bias.time_uncertainty.get()
        assert sure < 5e-3 + stood_still_s()
        assert before + 0.02 - 1e-6 <= t <= after - 0.02 + 1e-6


# In simulated time: any order of events


class Wire(BufferedTransport):
    """A source in memory; its time goes on by a reading while one is waited for."""

    def __init__(self, source: SourceMeter, clock: HandClock, step_s: Callable[[], float]) -> None:
        super().__init__("wire")
        self.heard = 0.0
        self._source, self._clock, self._step_s = source, clock, step_s
        self._arrived = bytearray()
        wire = self

        class _Channel(Channel):
            def _write(self, data: bytes) -> None:
                wire._arrived += data

        self._channel = _Channel("tcp")
        source.opened(self._channel)

    def _send(self, data: bytes) -> None:
        if b":SENS:DATA?" in data:
            self._clock.advance(1.01 * self._step_s())
        self.heard = self._clock.now()
        self._source.received(self._channel, data)

    def _receive(self, seconds: float) -> bytes:
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    def _close(self) -> None:
        pass


class Load:
    """Terminals with nothing between them; they keep a chart."""

    def __init__(self, clock: HandClock) -> None:
        self.chart = Chart(clock.now)

    def charge(self) -> float:
        return 0.0

    def drive(self, volts: float | None, compliance_A: float) -> None:
        self.chart.note(volts)

    def voltage(self) -> float:
        return self.chart.last or 0.0

    def limiting(self) -> bool:
        return False

    def noise(self, bandwidth_Hz: float) -> float:
        return 0.0


DEAD_MAN_S = 0.5
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from([-5.0, 0.0, 3.0])),
        st.tuples(st.sampled_from(["read", "renew", "stop", "line"]), st.just(0.0)),
        st.tuples(st.just("silence"), st.floats(0.0, 0.9)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS, model=st.sampled_from(MODELS))
def test_never_longer_than_the_dead_man_s_time(events: list[tuple[str, float]], model: str) -> None:
    """Whatever came before, and however long the host was silent without knowing it."""
    clock = HandClock()
    load = Load(clock)
    source = SourceMeter(clock, load, model=model)
    wire = Wire(source, clock, lambda: plan.step_s)
    link = Link(lambda: wire, name="bias_source")
    driver = Keithley2400(link, now=clock.now, dead_man_s=DEAD_MAN_S)
    bias = BiasSource(
        source=driver, clock=StationClock(), timeline=Timeline(), max_bias_V=10.0,
        compliance_A=1e-4, nplc=0.01,
    )  # fmt: skip
    try:
        bias.connect(W)
        plan = driver.hold.plan
        assert plan is not None
        for event, value in events:
            was_on, lapsed = source.output_on, bias.lapse is not None
            try:
                if event == "set":
                    bias.set(value).wait(W)
                elif event == "read":
                    bias.trigger().wait(W)
                elif event == "renew":
                    link.call(driver.hold.renew, timeout=W)
                elif event == "stop":
                    bias.stop()
                elif event == "line":
                    driver.set_line(1, True).result(W)
                else:
                    clock.advance(value)
                    if clock.now() - wire.heard >= DEAD_MAN_S:
                        assert not source.output_on
            except InterlockError:
                assert bias.lapse is not None
                assert not source.output_on
            except InstrumentError:  # there is nothing to read
                assert not source.output_on
            if lapsed and event != "stop":
                assert not source.output_on  # it does not come back by itself
            if source.output_on and not was_on:
                assert event == "set"
        # The link renews by the wall's clock, which may strike meanwhile.
        while (left := wire.heard + DEAD_MAN_S - clock.now()) > 0.0:
            clock.advance(left)
        assert not source.output_on
        assert load.chart.last is None
    finally:
        link.close()
        source.close()


def test_thousands_of_renewals_without_a_glitch() -> None:
    clock = HandClock()
    load = Load(clock)
    source = SourceMeter(clock, load)
    plan_step: list[float] = [1e-3]
    wire = Wire(source, clock, lambda: plan_step[0])
    link = Link(lambda: wire, name="bias_source")
    driver = Keithley2400(link, now=clock.now, dead_man_s=2.0)
    try:
        driver.open().result(W)
        driver.configure(compliance_A=1e-4, nplc=0.1).result(W)
        assert driver.hold.plan is not None
        plan_step[0] = driver.hold.plan.step_s
        load.chart.entries.clear()
        driver.set_level(-5.0).result(W)

        def renew(transport: Any) -> None:
            for number in range(5000):
                clock.advance(1.8 if number % 250 == 0 else (number % 7) * 1e-3)
                driver.hold.renew(transport)
                assert driver.hold.running

        link.call(renew, timeout=6 * W)
        assert load.chart.levels == [-5.0]
    finally:
        link.close()
        source.close()
