"""The model of an instrument's clock: the truth lies inside what it states, and no tighter."""

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.clock_model import (
    Z95,
    ClockFit,
    ClockModel,
    StampedExchange,
    fit_clock,
)
from stmtem_control.errors import InstrumentError, LimitError, RecordingError


class Instrument:
    """A clock with a known error, asked over a line with unequal delays and a long tail."""

    def __init__(self, seed: int, *, unix: bool = False) -> None:
        self.random = random.Random(seed)
        draw = self.random
        self.offset = draw.uniform(-2e9, -1e9) if unix else draw.uniform(-1e4, 1e4)
        self.drift = draw.uniform(-1.5e-4, 1.5e-4)
        self.time = -self.offset + draw.uniform(0.0, 900.0) if unix else draw.uniform(0.0, 900.0)
        self.resolution = draw.choice((0.0, 1e-6, 1e-4, 1e-3))
        self.there = draw.uniform(5e-6, 300e-6)  # the shortest delays, not the same both ways
        self.back = draw.uniform(5e-6, 300e-6)
        self.first = self.time

    def station(self, instrument_s: float) -> float:
        since = instrument_s - self.first
        return (self.first + self.offset) + since + self.drift * since

    def exchange(self) -> StampedExchange:
        draw = self.random
        self.time += draw.expovariate(0.5)
        late = 1e-2 * draw.paretovariate(1.5) if draw.random() < 0.2 else 0.0
        there = self.there + draw.expovariate(2e4) + late
        late = 1e-2 * draw.paretovariate(1.5) if draw.random() < 0.2 else 0.0
        back = self.back + draw.expovariate(5e3) + late
        stamp = self.time
        if self.resolution:
            stamp = round(stamp / self.resolution) * self.resolution
        t = self.station(self.time)
        return StampedExchange(t - there, t + back, stamp, 0.5 * self.resolution)


@pytest.mark.parametrize("unix", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_the_truth_lies_in_the_interval(n: int, unix: bool) -> None:
    inside = total = 0
    for seed in range(100):
        instrument = Instrument(seed, unix=unix)
        exchanges = [instrument.exchange() for _ in range(n)]
        model = fit_clock(exchanges, source="test")
        last = instrument.time
        for stamp in (exchanges[0].instrument_s, 0.5 * (instrument.first + last), last + 20.0):
            t, uncertainty = model.station_time(stamp)
            total += 1
            inside += abs(t - instrument.station(stamp)) <= uncertainty
    assert inside >= 0.95 * total
    assert inside == total  # these clocks run evenly: then it holds always


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 30))
def test_never_narrower_than_what_the_exchanges_allow(seed: int, n: int) -> None:
    instrument = Instrument(seed)
    exchanges = [instrument.exchange() for _ in range(n)]
    model = fit_clock(exchanges, source="test", max_drift=1.5e-4)
    for drift in (-1.5e-4, 0.3 * instrument.drift, instrument.drift, 1.5e-4):
        # With the drift given, each exchange bounds the offset by itself.
        first = exchanges[0].instrument_s
        turned = [drift * (one.instrument_s - first) + one.instrument_s for one in exchanges]
        slack = exchanges[0].resolution_s
        low = max(one.sent - t for one, t in zip(exchanges, turned, strict=True)) - slack
        high = min(one.answered - t for one, t in zip(exchanges, turned, strict=True)) + slack
        if low > high:
            continue  # the exchanges rule this drift out
        for stamp in (first, instrument.time, instrument.time + 50.0):
            t, uncertainty = model.station_time(stamp)
            at = stamp + drift * (stamp - first)
            assert t - uncertainty <= at + low + 1e-12
            assert t + uncertainty >= at + high - 1e-12


def test_one_exchange_gives_its_middle_and_its_half() -> None:
    model = fit_clock([StampedExchange(10.0, 10.2, 3.0, 0.01)], source="test")
    t, uncertainty = model.station_time(3.0)
    assert t == pytest.approx(10.1)
    assert 0.11 <= uncertainty <= 0.11 * math.sqrt(2.0) * 1.001  # a box in its ellipse
    assert model.uncertainty_s(1003.0) > 0.2  # nothing is known of the drift but its limit


def test_short_round_trips_decide() -> None:
    short = [StampedExchange(t, t + 1e-4, t - 4.0 + 4e-5) for t in (100.0, 101.0, 102.0, 103.0)]
    long = [StampedExchange(t - 2.0, t + 0.5, t - 4.0 + 4e-5) for t in (100.5, 101.5)]
    alone, together = fit_clock(short, source="test"), fit_clock(short + long, source="test")
    assert together.station_time(98.0) == pytest.approx(alone.station_time(98.0), abs=1e-9)
    assert together.uncertainty_s(98.0) < 1e-4


def test_many_exchanges_narrow_the_offset_and_find_the_drift() -> None:
    instrument = Instrument(11)
    instrument.resolution = 0.0
    model = fit_clock([instrument.exchange() for _ in range(300)], source="test")
    assert model.drift == pytest.approx(instrument.drift, abs=3e-6)
    found = math.sqrt(model.covariance[1][1])
    assert abs(model.drift - instrument.drift) <= Z95 * found < 5e-6
    assert model.uncertainty_s(0.5 * (instrument.first + instrument.time)) < (
        0.75 * (instrument.there + instrument.back)
    )


def test_stamps_in_unix_time_keep_their_digits() -> None:
    unix = 1.8e9
    exchanges = [
        StampedExchange(t - 2e-5, t + 2e-5, unix + t) for t in (0.125 * i for i in range(40))
    ]
    model = fit_clock(exchanges, source="camera")
    t, uncertainty = model.station_time(unix + 2.5)
    assert t == pytest.approx(2.5, abs=1e-6)
    assert 2e-5 <= uncertainty < 3e-5


def test_frames_bound_one_side_each() -> None:
    started = StampedExchange(50.0, math.inf, 7.0)
    arrived = [StampedExchange(-math.inf, 50.0 + t + 1e-3, 7.0 + t) for t in (0.1, 0.2, 0.3)]
    t, uncertainty = fit_clock([started, *arrived], source="camera").station_time(7.0)
    assert abs(t - 50.0) <= uncertainty < 3e-3
    with pytest.raises(LimitError, match="camera: 3 exchanges do not bound"):
        fit_clock(arrived, source="camera")
    with pytest.raises(LimitError, match="0 exchanges"):
        fit_clock([], source="camera")


@pytest.mark.parametrize("jump", [-3.0, 0.01])
def test_a_clock_that_was_set_is_told(jump: float) -> None:
    def at(t: float, ahead: float) -> StampedExchange:
        return StampedExchange(t, t + 1e-4, t + ahead)

    with pytest.raises(InstrumentError, match=r"source: its times contradict.*set or reset"):
        fit_clock([at(1.0, 0.0), at(2.0, 0.0), at(3.0, jump)], source="source")


def test_back_and_forth() -> None:
    instrument = Instrument(5)
    model = fit_clock([instrument.exchange() for _ in range(20)], source="test")
    t, uncertainty = model.station_time(instrument.time)
    back, also = model.instrument_time(t)
    assert back == pytest.approx(instrument.time, abs=1e-9)
    assert also == pytest.approx(uncertainty, rel=1e-3)


def test_a_model_goes_through_json() -> None:
    model = fit_clock([Instrument(3).exchange()], source="camera, 1 exchange")
    assert ClockModel.from_dict(json.loads(json.dumps(model.to_dict()))) == model


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"reference_s": 0, "offset_s": 0, "drift": 0, "covariance": [[1, 0]], "source": ""},
        {"reference_s": "x", "offset_s": 0, "drift": 0, "covariance": [[1, 0], [0, 1]],
         "source": ""},
        {"reference_s": 0, "offset_s": 0, "drift": 0, "covariance": [[1, 2], [2, 1]],
         "source": ""},
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RecordingError, match="is not a clock model"):
        ClockModel.from_dict(wrong)


@pytest.mark.parametrize(
    ("drift", "covariance"),
    [
        (0.0, ((-1.0, 0.0), (0.0, 1.0))),
        (0.0, ((1.0, 0.5), (0.4, 1.0))),
        (0.0, ((1.0, 1.5), (1.5, 1.0))),
        (math.nan, ((1.0, 0.0), (0.0, 1.0))),
        (-1.0, ((1.0, 0.0), (0.0, 1.0))),
    ],
)
def test_impossible_models_are_refused(
    drift: float, covariance: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    with pytest.raises(LimitError, match="clock model of x"):
        ClockModel(0.0, 0.0, drift, covariance, "x")


class TestRunningFit:
    """The fit that goes along with a run."""

    def test_it_agrees_with_the_fit_of_all(self) -> None:
        instrument, fit = Instrument(8), ClockFit("test", bins=8)
        exchanges = [instrument.exchange() for _ in range(120)]
        for one in exchanges:
            fit.add(one)
        model = fit.model
        assert model is not None
        assert fit.model is model  # nothing new: nothing to do
        whole = fit_clock(exchanges, source="test")
        t, uncertainty = model.station_time(instrument.time)
        assert abs(t - instrument.station(instrument.time)) <= uncertainty
        assert uncertainty < 2.0 * whole.uncertainty_s(instrument.time)

    def test_what_is_old_is_forgotten(self) -> None:
        fit = ClockFit("test", window_s=60.0, bins=6)
        for i in range(1000):
            # Drifts this way, then that way: too much for one straight line.
            ahead = 1e-4 * min(i, 1000 - i)
            fit.add(StampedExchange(i + ahead - 1e-4, i + ahead + 1e-4, float(i)))
            model = fit.model
            assert model is not None
            if not 440 < i < 570:
                t, uncertainty = model.station_time(float(i))
                assert abs(t - i - ahead) <= uncertainty < 1e-3
        assert fit.resets <= 3

    def test_a_reset_of_the_timer_begins_anew(self) -> None:
        fit = ClockFit("test")
        assert fit.model is None
        for t in (1.0, 2.0, 3.0):
            fit.add(StampedExchange(t, t + 1e-4, t + 100.0))
        fit.add(StampedExchange(4.0, 4.0001, 0.5))
        model = fit.model
        assert model is not None
        assert fit.resets == 1
        assert model.station_time(0.5)[0] == pytest.approx(4.0, abs=1e-3)
        fit.reset()
        assert (fit.model, fit.resets) == (None, 2)
        fit.add(StampedExchange(-math.inf, 5.0, 1.5))
        assert fit.model is None
