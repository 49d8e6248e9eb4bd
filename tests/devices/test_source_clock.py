"""Readings dated by a source's own timer: coarse, fast, and stamped at either end."""

import random

import pytest

from stmtem_control.devices import keithley_clock
from stmtem_control.devices.keithley_clock import SourceClock
from stmtem_control.devices.scpi import Scpi
from stmtem_control.errors import ProtocolError
from stmtem_control.exchanges import Exchange
from stmtem_control.transport import BufferedTransport

CYCLE_S = 0.04  # of a reading: two conversions of 20 ms


class TimerOnly(BufferedTransport):
    """An instrument that has nothing but a timer, on a line with delays."""

    def __init__(self, seed: int, rate: float = 1.024, tick_s: float = 1e-3) -> None:
        super().__init__("timer")
        self.random = random.Random(seed)
        self.t = 500.0  # station s
        self.zero = 0.0
        self.rate = rate
        self.tick_s = tick_s
        self.resets = 0
        self._answers = b""

    def shown(self, t: float) -> float:
        """Return what the timer shows at a station time (s)."""
        return (t - self.zero) * self.rate // self.tick_s * self.tick_s

    def delay(self) -> float:
        """Let a message travel; now and then it takes long."""
        late = 5e-3 if self.random.random() < 0.1 else 0.0
        self.t += 4e-5 + self.random.expovariate(2e4) + late
        return self.t

    def _send(self, data: bytes) -> None:
        self.delay()
        for line in data.decode().splitlines():
            if line == ":SYST:TIME:RES":
                self.zero = self.t
                self.resets += 1
            elif line == ":SYST:TIME?":
                self._answers += f"{self.shown(self.t):+.6E}\n".encode()
            else:
                self._answers += b'0,"No error"\n'

    def _receive(self, seconds: float) -> bytes:
        self.delay()
        answers, self._answers = self._answers, b""
        return answers

    def _close(self) -> None:
        pass

    def reading(self, at_end: bool) -> tuple[Exchange, float, float]:
        """Take a reading; return its exchange, its stamp, and the middle of its measurement."""
        sent = self.t
        begun = self.delay()
        self.t = ended = begun + CYCLE_S + self.random.uniform(0.0, 1e-3)
        stamp = float(f"{self.shown(ended if at_end else begun):.6E}")
        self.delay()
        return Exchange(sent, self.t), stamp, 0.5 * (begun + ended)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the timer after every reading, however fast a test takes them."""
    monkeypatch.setattr(keithley_clock, "LOOK_EVERY_S", 0.0)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize(("rate", "tick_s"), [(1.024, 1e-3), (1.0, 1e-6), (0.98, 1e-3)])
def test_the_middle_lies_in_the_interval(at_end: bool, rate: float, tick_s: float) -> None:
    inside, widths = 0, []
    for seed in range(6):
        timer = TimerOnly(seed, rate, tick_s)
        clock = SourceClock(Scpi("source", 1.0, lambda timer=timer: timer.t))
        clock.start(timer)
        for _ in range(40):
            exchange, stamp, middle = timer.reading(at_end)
            t, sure = clock.date(stamp, exchange, CYCLE_S)
            clock.look_now_and_then(timer)
            inside += abs(t - middle) <= sure
            widths.append(sure)
        assert clock.stamps_at_end is at_end
        assert clock.model is not None
        assert clock.model.drift == pytest.approx(1.0 / rate - 1.0, abs=3e-3)
    assert inside == 240
    assert sorted(widths)[216] < 2.1e-3  # nine in ten, though one in five came 5 ms late


@pytest.mark.parametrize("answer", [b"+1.0X0000E+00\n", b"\n", b"nan\n", b"+1E999\n"])
def test_a_damaged_answer_of_the_timer_is_no_time(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    timer = TimerOnly(1)
    clock = SourceClock(Scpi("source", 1.0, lambda: timer.t))
    clock.start(timer)
    before = clock.model
    monkeypatch.setattr(timer, "_send", lambda _: setattr(timer, "_answers", answer))
    with pytest.raises(ProtocolError, match=r"source: :SYST:TIME\? was answered .*, not a number"):
        clock.look(timer)
    assert clock.model == before


def test_a_reading_alone_is_dated_by_its_exchange() -> None:
    """Before the timer was asked: the measurement lies inside, and nothing else is known."""
    clock = SourceClock(Scpi("source", 1.0, lambda: 0.0))
    assert clock.date(1.0, Exchange(10.0, 11.0), 0.4) == pytest.approx((10.5, 0.3))
    assert clock.date(1.0, Exchange(10.0, 10.1), 0.4) == pytest.approx((10.05, 0.0))
    assert clock.station_time(1.0) is None
    t, sure = clock.date_stamp(1.0, 0.4)
    assert t != t
    assert sure == float("inf")


@pytest.mark.usefixtures("eager")
def test_a_timer_that_gets_coarse_is_set_to_zero() -> None:
    timer = TimerOnly(1)
    clock = SourceClock(Scpi("source", 1.0, lambda: timer.t))
    clock.start(timer)
    timer.t += 100.0
    clock.look_now_and_then(timer)
    assert timer.resets == 1
    timer.t += 9000.0
    clock.look_now_and_then(timer)
    assert timer.resets == 2
    assert timer.shown(timer.t) < 1.0


@pytest.mark.usefixtures("eager")
def test_a_timer_that_somebody_set_is_told(caplog: pytest.LogCaptureFixture) -> None:
    timer = TimerOnly(2)
    clock = SourceClock(Scpi("source", 1.0, lambda: timer.t))
    clock.start(timer)
    timer.t += 20.0
    clock.look_now_and_then(timer)
    timer.zero = timer.t  # from its front panel
    timer.t += 0.5
    clock.look_now_and_then(timer)
    assert "source: its timer was set" in caplog.text
    found = clock.station_time(timer.shown(timer.t))
    assert found is not None
    assert found[0] == pytest.approx(timer.t, abs=0.02)
    clock.forget()
    assert clock.model is None


@pytest.mark.parametrize(
    ("stamp", "digit"), [(0.0, 0.0), (0.012, 1e-8), (9.5, 1e-6), (1234.5, 1e-3), (20000.0, 1e-2)]
)
def test_seven_digits(stamp: float, digit: float) -> None:
    assert keithley_clock.digit_s(stamp) == pytest.approx(digit)


def test_a_readings_time_does_not_depend_on_a_late_wake_up() -> None:
    """The same reading, answered at once and answered 0.3 s later: the same time."""
    found = []
    for late in (0.0, 0.3):
        timer = TimerOnly(3, tick_s=1e-6)
        clock = SourceClock(Scpi("source", 1.0, lambda timer=timer: timer.t))
        clock.start(timer)
        for _ in range(4):
            timer.t += 1.0
            clock.look(timer, 4)
            exchange, stamp, _ = timer.reading(at_end=True)
            clock.date(stamp, exchange, CYCLE_S)
        exchange, stamp, middle = timer.reading(at_end=True)
        late_one = Exchange(exchange.sent, exchange.answered + late)
        t, sure = clock.date(stamp, late_one, CYCLE_S)
        assert abs(t - middle) <= sure
        found.append(t)
    assert found[0] == pytest.approx(found[1], abs=2e-3)
