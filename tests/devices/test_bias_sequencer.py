"""Bias sequences on the simulated bench: when each level came, and what a stop leaves."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from bluesky.protocols import EventPageCollectable, Flyable, Pausable, Preparable

from stmtem_control.clock import StationClock
from stmtem_control.devices import BeamBlanker, BiasSource
from stmtem_control.devices.keithley import Keithley2400
from stmtem_control.devices.keithley_sequence import BiasSequence
from stmtem_control.errors import LimitError, StmTemError, TransportTimeout
from stmtem_control.link import DroppedError, Link
from stmtem_control.simulators import Bench, HandClock
from stmtem_control.simulators.source_timer import Timer
from stmtem_control.tcp import TcpTransport
from stmtem_control.timeline import Timeline

W = 5.0  # wall seconds that a test waits at most

ROUNDING = 1e-9
LEVELS = (1.0, -1.0, 2.0, 2.0, -3.0)


class BenchClock(StationClock):
    """The bench's time, with another zero."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def now(self) -> float:
        """Return the bench's time and 100 s."""
        return 100.0 + self._bench.clock.now()


class PatientClock:
    """Time that goes by hand only, also while a client waits for an answer."""

    def __init__(self) -> None:
        self._hand = HandClock()
        self.speed = self._hand.speed
        self.now = self._hand.now
        self.wait_until = self._hand.wait_until
        self.call_at, self.at = self._hand.call_at, self._hand.at
        self.close = self._hand.close


class Rig:
    """A source on a bench, and a chart of what was really at its output."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = bench
        self.clock = BenchClock(bench)
        self.timeline = Timeline()
        self.chart: list[tuple[float, float | None]] = []
        self.changed = threading.Condition()
        drive = bench.specimen.drive

        def watched(volts: float | None, compliance_A: float) -> None:
            with self.changed:
                if not self.chart or self.chart[-1][1] != volts:
                    self.chart.append((self.clock.now(), volts))
                    self.changed.notify_all()
            drive(volts, compliance_A)

        monkeypatch.setattr(bench.specimen, "drive", watched)
        port = bench.source_tcp.port
        self.link = Link(lambda: TcpTransport("127.0.0.1", port), name="bias_source")
        driver = Keithley2400(self.link, now=self.clock.now, timeout_s=2.0)
        self.bias = BiasSource(
            source=driver, clock=self.clock, timeline=self.timeline, max_bias_V=10.0,
            compliance_A=1e-6, nplc=0.1,
        )  # fmt: skip
        self.bias.connect(W)
        self.beam = BeamBlanker(
            name="beam", source=driver, clock=self.clock, timeline=self.timeline,
            dose_rate_e_per_A2_s=20.0,
        )  # fmt: skip
        self.beam.connect(W)
        self.chart.clear()

    def seen(self, volts: float | None) -> None:
        """Wait until a voltage is at the output; None is off."""
        with self.changed:
            assert self.changed.wait_for(lambda: any(v == volts for _, v in self.chart), W)

    def run(self, sequence: BiasSequence) -> Any:
        """Run a sequence to its end and return what came of it."""
        self.bias.sequence.prepare(sequence).wait(W)
        self.bias.sequence.kickoff().wait(W)
        self.bias.sequence.complete().wait(W)
        return self.bias.sequence.run


@pytest.fixture
def rigs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    """A function that makes a rig on a bench; all are closed at the end."""
    made: list[Rig] = []

    def make(timer: Timer | None = None, **kwargs: Any) -> Rig:
        bench = Bench(size=256, **kwargs)
        if timer is not None:
            bench.source._core.timer.rate = timer.rate
            bench.source._core.timer.tick_s = timer.tick_s
        made.append(Rig(bench, monkeypatch))
        return made[-1]

    yield make
    for rig in made:
        rig.link.close()
        rig.bench.close()


@pytest.fixture
def rig(rigs: Callable[..., Rig]) -> Rig:
    """A rig whose time goes by hand."""
    return rigs(clock=HandClock())


def true_edges(rig: Rig) -> list[tuple[float, float]]:
    """Return when each new voltage came to the output, and which, from when it was off."""
    off = next((i for i, (_, volts) in enumerate(rig.chart) if volts is None), 0)
    return [(t, volts) for t, volts in rig.chart[off:] if volts is not None]


@pytest.mark.parametrize("protocol", [Preparable, Flyable, EventPageCollectable, Pausable])
def test_it_is_what_bluesky_expects(rig: Rig, protocol: Any) -> None:
    assert isinstance(rig.bias.sequence, protocol)


@pytest.mark.parametrize(
    "timer", [Timer(), Timer(1.0, 0.0), Timer(0.98, 1e-3)], ids=["real", "perfect", "slow"]
)
@pytest.mark.parametrize(("step_s", "nplc"), [(0.05, 0.1), (0.02, 0.01), (3.0, 1.0)])
def test_each_level_came_when_it_says(
    rigs: Callable[..., Rig], timer: Timer, step_s: float, nplc: float
) -> None:
    rig = rigs(timer=timer, clock=HandClock(5.0))
    rig.bench.clock.wait_until(70.0)
    rig.bias.set(0.0).wait(W)
    for _ in range(3):
        rig.bias.trigger().wait(W)
    rig.chart.clear()
    run = rig.run(BiasSequence(LEVELS, step_s, nplc=nplc))
    assert run.complete
    edges = true_edges(rig)
    came = {volts: t for t, volts in edges}
    assert [volts for _, volts in edges] == [1.0, -1.0, 2.0, -3.0, 0.0]
    assert rig.chart[-1][1] is None  # off by itself
    widest = max(point.edge_uncertainty_s for point in run.points)
    assert widest < 5e-3 + 0.03 * step_s
    for place in (0, 1, 2, 4, 5):
        point = run.points[place]
        assert abs(point.edge_t - came[point.level_V]) <= point.edge_uncertainty_s + ROUNDING
        # Its reading is of this level, and lies inside it.
        assert point.reading.voltage == pytest.approx(point.level_V, abs=2e-3)
        assert came[point.level_V] < point.reading.t + point.reading.uncertainty_s
        assert point.reading.t - point.reading.uncertainty_s < came[point.level_V] + step_s
    assert not rig.bench.source.output_on


def test_the_timeline_holds_what_was_and_not_what_was_planned(
    rigs: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that last 6 % longer than planned: the planned levels were early, ever more."""
    rig = rigs(clock=HandClock())
    planned: list[tuple[float, float]] = []
    levels = (1.0, -1.0) * 10
    rig.bias.sequence.prepare(BiasSequence(levels, 0.05)).wait(W)
    start = rig.clock.now()
    end = rig.timeline.listen(lambda channel, t, value, sure: planned.append((t, value)))
    sequencer = rig.bias.source._sequencer
    wait = sequencer._wait

    def slow(transport: Any, sequence: BiasSequence, sent: float, limit: float, step: Any) -> None:
        for place, level in enumerate(sequence.levels):
            step(sent + 0.047 * place, level)
        wait(transport, sequence, sent, limit, None)

    monkeypatch.setattr(sequencer, "_wait", slow)
    rig.bias.sequence.kickoff().wait(W)
    rig.bias.sequence.complete().wait(W)
    end()
    assert planned[:2] == [(start, 1.0), (start + 0.047, -1.0)]
    edges = true_edges(rig)
    run = rig.bias.sequence.run
    assert run is not None
    wide = max(point.edge_uncertainty_s for point in run.points)
    for (t, volts), (after, _) in pairwise(edges):
        for part in (0.1, 0.3, 0.5, 0.7, 0.9):
            moment = t + part * (after - t)
            if min(moment - t, after - moment) > wide:
                assert rig.timeline.at("bias_set_V", moment) == volts
    times, _, sure = rig.timeline.entries("bias_set_V")
    assert times == sorted(times)
    assert max(sure) <= 0.03 + 2e-3 + wide
    ((_, volts),) = rig.timeline.between("voltage_V", edges[0][0], edges[1][0])
    assert volts == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize(
    ("read_by_s", "delay_s", "wait_s"),
    [
        (None, 0.03499, 0.0),
        (0.04, 0.03499, 0.0),
        (0.024, 0.01899, 0.016),
        (1e-3, 0.00009, 0.0349),
    ],
)
def test_the_reading_may_be_anywhere_in_the_step(
    read_by_s: float | None, delay_s: float, wait_s: float
) -> None:
    sequence = BiasSequence((-5.0, 0.0), 0.04, nplc=0.1, read_by_s=read_by_s)
    reading = sequence.reading_s(50.0)
    assert sequence.delay_s(50.0) == pytest.approx(delay_s, abs=1e-9)
    assert sequence.wait_s(50.0) == pytest.approx(wait_s, abs=1e-9)
    assert sequence.delay_s(50.0) + sequence.wait_s(50.0) + reading == pytest.approx(0.04)
    assert f":TRIG:DEL {wait_s:.4g}" in list(sequence.commands(50.0))


def test_a_long_list_goes_out_in_pieces(rig: Rig) -> None:
    levels = tuple(0.01 * (place % 200 - 100) for place in range(1, 260))
    run = rig.run(BiasSequence(levels, 0.01, nplc=0.01))
    assert run.complete
    assert [point.level_V for point in run.points] == [*levels, 0.0]
    found = [point.reading.voltage for point in run.points]
    assert found == pytest.approx([*levels, 0.0], abs=2e-3)
    edges = true_edges(rig)
    for (t, _), point in zip(edges, run.points, strict=False):
        assert abs(point.edge_t - t) <= point.edge_uncertainty_s + ROUNDING
        assert point.edge_uncertainty_s < 6e-3


def test_steps_by_the_cameras_line(rig: Rig) -> None:
    """Each level waits for a falling edge on input 1, where the camera's shutter is wired."""
    sequence = {"levels_V": [1.0, -2.0], "step_s": 0.02, "nplc": 0.01, "step_line": 1}
    assert rig.bias.sequence.prepare(sequence).wait(W) is None
    rig.bias.sequence.kickoff(deadline_s=W).wait(W)
    shutter = rig.bench.source.trigger_in[0]
    for place, volts in enumerate((1.0, -2.0, 0.0)):
        rig.bench.clock.wait_until(1.0 + 0.3 * place + 0.01 * place**2)
        shutter.pulse()
        rig.seen(volts)
        rig.bench.clock.wait_until(rig.bench.clock.now() + 0.05)
    rig.bias.sequence.complete().wait(W)
    run = rig.bias.sequence.run
    assert run is not None
    assert run.complete
    for (t, _), point in zip(true_edges(rig), run.points, strict=True):
        assert abs(point.edge_t - t) <= point.edge_uncertainty_s + ROUNDING
        assert point.edge_uncertainty_s < 5e-3
    # Nothing was planned: it was not known when the triggers come.
    _, values, _ = rig.timeline.entries("bias_set_V")
    assert values[-3:] == [1.0, -2.0, 0.0]


def test_a_pulse_goes_out_with_each_level(rig: Rig) -> None:
    pulses: list[float] = []
    rig.bench.source.trigger_out[1].listen(
        lambda high: None if high else pulses.append(rig.clock.now())
    )
    rig.run(BiasSequence(LEVELS, 0.05, pulse="source"))
    assert len(pulses) == len(LEVELS) + 1
    edges = {volts: t for t, volts in true_edges(rig)}
    assert [pulses[place] for place in (0, 1, 2, 4, 5)] == [
        edges[volts] for volts in (1.0, -1.0, 2.0, -3.0, 0.0)
    ]


def test_after_a_sequence_levels_and_readings_are_as_before(rig: Rig) -> None:
    rig.run(BiasSequence((5.0,), 0.05, nplc=0.01))
    rig.bias.set(-1.5).wait(W)
    before = rig.bench.clock.now()
    rig.bias.trigger().wait(W)
    assert rig.bias.voltage.get() == pytest.approx(-1.5, abs=2e-3)
    assert rig.bench.clock.now() - before == pytest.approx(2 * (2e-3 + 185e-6) + 0.64e-3, abs=1e-4)
    rig.bias.stop()
    assert rig.bench.safe()["output off"]


@pytest.fixture
def running(rigs: Callable[..., Rig]) -> Rig:
    """A rig in which a sequence of 4 s runs, and has come to its third level."""
    rig = rigs(clock=PatientClock())
    rig.bias.sequence.prepare(BiasSequence((1.0, 2.0, 3.0, 4.0) * 10, 0.1)).wait(W)
    rig.bias.sequence.kickoff().wait(W)
    rig.seen(1.0)
    rig.bench.clock.wait_until(rig.bench.clock.now() + 0.25)
    assert rig.chart[-1][1] == 3.0
    return rig


@pytest.mark.parametrize("how", ["stop", "pause", "unstage"])
def test_a_stop_ends_it_at_once_and_what_there_was_is_read(running: Rig, how: str) -> None:
    bias = running.bias
    published = threading.Event()
    end = running.timeline.listen(
        lambda channel, t, value, sure: published.set() if channel == "voltage_V" else None
    )
    {"stop": bias.stop, "pause": bias.sequence.pause, "unstage": bias.sequence.unstage}[how]()
    off = running.clock.now()
    assert running.bench.safe()["output off"]
    assert bias.unsafe is None
    assert running.chart[-1][1] is None
    with pytest.raises(DroppedError, match="a bias sequence was cut short, a stop came first"):
        bias.sequence.complete().wait(W)
    assert running.timeline.at("bias_set_V", off) == 0.0
    assert published.wait(W)
    end()
    run = bias.sequence.run
    assert run is not None
    assert not run.complete
    edges = true_edges(running)
    for (t, volts), point in zip(edges, run.points, strict=False):
        assert point.level_V == volts
        assert abs(point.edge_t - t) <= point.edge_uncertainty_s + ROUNDING
    assert running.timeline.last("bias_set_V") == 0.0
    # And it can go on.
    bias.set(0.5).wait(W)
    running.seen(0.5)


def test_blanking_ends_it_too(running: Rig) -> None:
    """While it runs the instrument leaves the beam's line for later: so it must not run on."""
    running.beam.set("blanked")
    running.beam.stop()
    assert running.bench.specimen.blanked
    running.bias.sequence.complete().wait(W)
    run = running.bias.sequence.run
    assert run is not None
    assert not run.complete
    assert running.bench.safe()["output off"]


def test_triggers_that_do_not_come(rigs: Callable[..., Rig]) -> None:
    rig = rigs()
    rig.bias.sequence.prepare(BiasSequence((1.0,), 0.02, start_line=2)).wait(W)
    rig.bias.sequence.kickoff(deadline_s=0.15).wait(W)
    with pytest.raises(TransportTimeout, match=r"did not end within 0\.15 s.*did the triggers"):
        rig.bias.sequence.complete().wait(W)
    rig.bias.output_off()
    assert rig.bench.safe()["output off"]
    assert true_edges(rig) == []


def test_a_dead_host_leaves_it_at_zero_and_off(rigs: Callable[..., Rig]) -> None:
    rig = rigs()
    rig.bias.sequence.prepare(BiasSequence((-5.0,), 0.1)).wait(W)
    rig.chart.clear()
    rig.bias.sequence.kickoff().wait(W)
    rig.seen(-5.0)
    rig.link.close()
    rig.seen(None)
    assert [volts for _, volts in rig.chart] == [-5.0, 0.0, None]


def test_beyond_the_limits_nothing_is_sent(rig: Rig) -> None:
    before = rig.chart[:]
    sequence = rig.bias.sequence
    for value in (
        BiasSequence((1.0, 10.5), 0.1),
        {"levels_V": [1.0, -11.0], "step_s": 0.1},
    ):
        for call in (sequence.prepare, sequence.check_value):
            with pytest.raises(LimitError, match=r"bias_sequence: .*outside -10 to 10 V"):
                call(value)
    with pytest.raises(LimitError, match=r"is no sequence: .*argument 'levels'"):
        sequence.prepare({"levels": [1.0], "step": 1.0})
    with pytest.raises(LimitError, match=r"a step of 0\.01 s is shorter than a reading of 0\.041"):
        sequence.prepare(BiasSequence((1.0,), 0.01, nplc=1.0))
    with pytest.raises(StmTemError, match="prepare a sequence before"):
        sequence.kickoff()
    assert rig.chart == before


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"levels_V": ()}, "at least one level"),
        ({"levels_V": (1.0, math.nan)}, "numbers only"),
        ({"levels_V": (1.0,) * 2500}, "2501 levels"),
        ({"nplc": 20.0}, "nplc is 20"),
        ({"step_s": 0.0}, "steps of 0"),
        ({"pulse": "often"}, "pulse is 'often'"),
        ({"step_line": 5}, "trigger line 5"),
    ],
)
def test_what_the_source_cannot_run_is_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(LimitError, match=rf"^bias sequence: .*{why}"):
        BiasSequence(**{"levels_V": (1.0,), "step_s": 0.1, **wrong})


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    made = RunEngine({}, context_managers=[])
    yield made
    made.loop.call_soon_threadsafe(made.loop.stop)
    made._th.join(W)
    made.loop.close()


def test_documents(rig: Rig, engine: RunEngine) -> None:
    documents: list[tuple[str, dict[str, Any]]] = []
    flyer = rig.bias.sequence

    def plan() -> Any:
        yield from bps.open_run()
        yield from bps.declare_stream(flyer, name="bias_sequence", collect=True)
        for _ in range(2):
            yield from bps.prepare(flyer, {"levels_V": [1.0, -1.0], "step_s": 0.05}, wait=True)
            yield from bps.kickoff(flyer, wait=True)
            yield from bps.complete(flyer, wait=True)
            yield from bps.collect(flyer, name="bias_sequence")
        yield from bps.close_run()

    engine(plan(), lambda name, document: documents.append((name, document)))
    pages = [document for name, document in documents if name == "event_page"]
    assert len(pages) == 2
    page = json.loads(json.dumps(pages[1]))
    assert page["seq_num"] == [4, 5, 6]
    assert page["data"]["bias_sequence_level_V"] == [1.0, -1.0, 0.0]
    t0, _ = true_edges(rig)[-3]
    edge = rig.clock.station_time(page["timestamps"]["bias_sequence_level_V"][0])
    assert abs(edge - t0) <= page["data"]["bias_sequence_edge_uncertainty_s"][0] + 1e-6
    read = rig.clock.station_time(page["timestamps"]["bias_sequence_voltage"][0])
    sure = page["data"]["bias_sequence_time_uncertainty"][0]
    assert t0 + 0.025 < read < t0 + 0.05 + sure
    assert documents[-1][1]["num_events"] == {"bias_sequence": 6}
    keys = next(d for name, d in documents if name == "descriptor")["data_keys"]
    assert keys["bias_sequence_instrument_time"]["units"] == "s"
    assert list(flyer.collect_pages()) == []
