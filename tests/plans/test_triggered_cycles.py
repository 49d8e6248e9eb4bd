"""Cycles by trigger on the bench's wires: every edge is in its frame, whoever is the master."""

import csv
import threading
from bisect import bisect_right
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import Msg, RunEngine
from bluesky.utils import RunEngineInterrupted

from stmtem_control.clock import StationClock
from stmtem_control.devices import BeamBlanker, BiasSource, FrameCamera
from stmtem_control.devices.keithley import Keithley2400
from stmtem_control.devices.merlin import Merlin
from stmtem_control.errors import InstrumentError, LimitError
from stmtem_control.link import Link
from stmtem_control.plans import triggered_cycles
from stmtem_control.recording.edges import Edge, edge_frames
from stmtem_control.simulators import Bench, HandClock
from stmtem_control.tcp import TcpTransport
from stmtem_control.timeline import Timeline

W = 5.0  # wall seconds that a test waits at most
TICK_S = 0.01  # of the bench's time


class BenchClock(StationClock):
    """The bench's time, with another zero."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench

    def now(self) -> float:
        """Return the bench's time and 100 s."""
        return 100.0 + self._bench.clock.now()

    def sleep(self, seconds: float) -> Generator[Msg, Any, None]:
        """Move the bench's time: the plan waits for frames that nothing else waits for."""
        self._bench.clock.wait_until(self._bench.clock.now() + seconds)
        threading.Event().wait(1e-3)  # the reader of the frames has no hand that moves it
        yield Msg("null")


class Rig:
    """Source, beam and camera on a bench whose time goes by hand, and what they really did."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        # The hand is faster than any reader.
        patch.setattr("stmtem_control.simulators.merlin_stream.QUEUE_BYTES", 1 << 31)
        patch.setattr("stmtem_control.plans.triggered.LATE_S", 10.0)
        patch.setattr("stmtem_control.plans.triggered.START_S", 0.2)
        self.folder = folder
        self.bench = Bench(clock=HandClock(), size=256)
        self.clock = BenchClock(self.bench)
        self.timeline = Timeline()
        self.levels: list[tuple[float, float]] = []
        self.starts: list[float] = []
        self.blank = np.zeros((256, 256), np.uint16)
        drive = self.bench.specimen.drive

        def driven(volts: float | None, compliance_A: float) -> None:
            level = 0.0 if volts is None else volts
            if (self.levels[-1][1] if self.levels else 0.0) != level:
                self.levels.append((self.clock.now(), level))
            drive(volts, compliance_A)

        def opened(start: float, stop: float, shape: tuple[int, int]) -> None:
            self.starts.append(100.0 + start)

        patch.setattr(self.bench.specimen, "drive", driven)
        patch.setattr(self.bench.specimen, "shutter", opened)
        patch.setattr(self.bench.specimen, "image", lambda *_: self.blank)
        source, camera = self.bench.source_tcp.port, self.bench.camera_control.port
        self.links = [
            Link(lambda: TcpTransport("127.0.0.1", source), name="bias_source"),
            Link(lambda: TcpTransport("127.0.0.1", camera), name="camera"),
        ]
        driver = Keithley2400(self.links[0], now=self.clock.now, timeout_s=2.0)
        known: dict[str, Any] = {"clock": self.clock, "timeline": self.timeline}
        self.bias = BiasSource(source=driver, max_bias_V=10.0, compliance_A=1e-6, nplc=0.1, **known)
        self.beam = BeamBlanker(name="beam", source=driver, dose_rate_e_per_A2_s=20.0, **known)
        self.camera = FrameCamera(
            merlin=Merlin(
                self.links[1], host="127.0.0.1", data_port=self.bench.camera_data.port
            ),
            pixel_size_nm=4.0, dose_rate_e_per_A2_s=20.0, ring_MB=32.0, process=False, **known,
        )  # fmt: skip
        for device in (self.bias, self.beam, self.camera):
            device.connect(W)
        self.levels.clear()
        self.starts.clear()
        self._over = threading.Event()
        self._hand = threading.Thread(target=self._tick, name="hand")
        self.engine = RunEngine({}, context_managers=[])

    def _tick(self) -> None:
        """Move the bench's time while the camera takes frames of its own accord."""
        while not self._over.wait(2e-4):
            self.bench.clock.wait_until(self.bench.clock.now() + TICK_S)

    def run(self, documents: Any = None, **parameters: Any) -> None:
        """Run the plan in the run folder."""
        self.folder.mkdir(exist_ok=True)
        self.timeline.start_run(self.clock.now())
        self.camera.directory = self.folder
        if parameters.get("master") == "camera":
            self._hand.start()
        self.engine(triggered_cycles(self.bias, self.camera, self.beam, **parameters), documents)

    def rows(self) -> list[dict[str, str]]:
        """Return the table of frames."""
        self.camera.disconnect()
        with (self.folder / "frames.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def right(self, edges: list[Edge]) -> list[bool]:
        """Return for each edge whether its frame is the one that truly owns it."""
        assert [edge.to_V for edge in edges] == [volts for _, volts in self.levels]
        return [
            edge.certain and edge.frame == bisect_right(self.starts, t + 1e-9) - 1
            for edge, (t, _) in zip(edges, self.levels, strict=True)
        ]

    def close(self) -> None:
        """End everything."""
        self._over.set()
        if self._hand.ident is not None:
            self._hand.join()
        self.camera.disconnect()
        for link in self.links:
            link.close()
        self.bench.close()
        self.engine.loop.call_soon_threadsafe(self.engine.loop.stop)
        self.engine._th.join(W)
        self.engine.loop.close()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    made = Rig(tmp_path / "run", monkeypatch)
    yield made
    made.close()


LONG = {"deposit_s": 600.0, "strip_s": 600.0, "rest_s": 0.0, "pre_roll_s": 0.0}
FAST = {"frame_rate_Hz": 100.0, "exposure_s": 0.005, "nplc": 0.01}


@pytest.mark.parametrize("master", ["source", "camera"])
def test_of_a_thousand_edges_all_are_in_their_frames(rig: Rig, master: str) -> None:
    step = {"deposit_s": 0.01, "strip_s": 0.01, "rest_s": 0.0, "pre_roll_s": 0.05}
    rig.run(master=master, cycles=501, **step, **FAST)
    rows = rig.rows()
    edges = edge_frames(rig.folder)
    assert len(edges) == 1003
    assert sum(rig.right(edges)) >= 0.999 * len(edges)
    marked = [int(row["frame"]) for row in rows if row["bias_edge"]]
    assert marked == [edge.frame for edge in edges]
    assert {row["bias_edge"] for row in rows} == {"", "edge"}
    assert {row["time_source"] for row in rows} == {"trigger"}


@pytest.mark.parametrize("master", ["source", "camera"])
def test_rows_carry_what_the_source_did_in_its_own_time(rig: Rig, master: str) -> None:
    documents: list[tuple[str, dict[str, Any]]] = []
    frames = 2 if master == "source" else 1
    step = frames / 50.0
    rig.run(
        lambda name, document: documents.append((name, document)),
        master=master, cycles=1, frames_per_step=frames, deposit_s=3 * step, strip_s=2 * step,
        rest_s=step, pre_roll_s=step, frame_rate_Hz=50.0, exposure_s=0.01, nplc=0.01,
    )  # fmt: skip
    rows = rig.rows()[: 7 * frames]
    levels = [0.0] + 3 * [-5.0] + 2 * [5.0] + [0.0]
    phases = ["pre-roll"] + 3 * ["deposit"] + 2 * ["strip"] + ["rest"]
    # The end of an exposure makes the level of the next one.
    behind = 0 if master == "source" else 1
    seen = [row["bias_set_V"] for row in rows][behind:]
    assert [float(volts) for volts in seen[::frames]] == levels[: len(seen[::frames])]
    assert [row["phase"] for row in rows][behind::frames] == phases[: len(seen[::frames])]
    # Each level has its own reading, in the frame that it was read in: none is the neighbour's.
    for place, row in enumerate(rows[behind:]):
        if place % frames == 0 and place // frames < len(levels) - behind:
            level = levels[place // frames]
            assert int(row["n_readings"]) == 1, place
            assert float(row["voltage_V"]) == pytest.approx(level, abs=0.01), place
    edges = edge_frames(rig.folder)
    assert len(edges) == 3
    assert all(rig.right(edges))
    assert rig.bench.safe()["bias 0 V"]
    assert rig.bench.safe()["output off"]
    pages = [
        d for name, d in documents if name == "event_page" and "bias_sequence_level_V" in d["data"]
    ]
    assert pages[0]["data"]["bias_sequence_level_V"] == levels
    stop = documents[-1][1]
    assert stop["exit_status"] == "success"
    assert stop["num_events"]["frames"] == len(rig.rows())


def test_without_the_cable_all_is_recorded_and_told(rig: Rig) -> None:
    """The camera's output falls into nothing, so the source waits until somebody ends it."""
    rig.bench.source.trigger_in[0].drive = lambda level: None  # type: ignore[method-assign]
    triggered_by = rig.bench.camera.trigger_out
    triggered_by._listeners.clear()
    with pytest.raises(InstrumentError, match="did all triggers come"):
        rig.run(
            master="camera",
            cycles=1,
            deposit_s=0.1,
            strip_s=0.1,
            rest_s=0.0,
            pre_roll_s=0.1,
            **FAST,
        )
    assert rig.bench.safe()["output off"]
    assert rig.rows()


def test_a_trigger_that_the_camera_misses_is_told_and_the_rows_are_honest(rig: Rig) -> None:
    pulses = 0
    line = rig.bench.camera.trigger_in
    drive = line.drive

    def missing_one(level: bool) -> None:
        nonlocal pulses
        pulses += not level
        if pulses != 7:
            drive(level)

    line.drive = missing_one  # type: ignore[method-assign]
    rig.bench.source.trigger_out[1]._listeners[:] = [line.drive]
    with pytest.raises(InstrumentError, match="last frame is number"):
        rig.run(cycles=2, deposit_s=0.05, strip_s=0.05, rest_s=0.0, pre_roll_s=0.05, **FAST)
    rows = rig.rows()
    assert {row["time_source"] for row in rows} <= {"arrival", "start"}
    assert "edge" not in {row["bias_edge"] for row in rows}
    assert "ambiguous" in {row["bias_edge"] for row in rows}
    assert {row["phase"] for row in rows} >= {"deposit", "strip"}  # by the source's own times
    assert rig.bench.safe()["output off"]


@pytest.mark.parametrize("master", ["source", "camera"])
def test_an_abort_leaves_all_safe(rig: Rig, master: str) -> None:
    drive = rig.bench.specimen.drive
    asked = threading.Event()

    def driven(volts: float | None, compliance_A: float) -> None:
        drive(volts, compliance_A)
        if volts == -5.0 and not asked.is_set():
            asked.set()
            threading.Thread(target=rig.engine.request_pause, args=(False,), name="ask").start()

    rig.bench.specimen.drive = driven  # type: ignore[method-assign]
    try:
        rig.run(
            master=master,
            cycles=10 if master == "source" else 100,
            deposit_s=0.1,
            strip_s=0.1,
            rest_s=0.0,
            pre_roll_s=0.1,
            **FAST,
        )
    except RunEngineInterrupted:
        rig.engine.abort()
    safe = rig.bench.safe()
    assert safe["bias 0 V"]
    assert safe["output off"]
    assert safe["beam blanked"]
    assert not rig.camera.running
    rows = rig.rows()
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"master": "host"}, "give 'source' or 'camera'"),
        ({"master": "camera", "frames_per_step": 2}, "steps at each frame"),
        ({"deposit_s": 0.055}, "whole number of steps of 0.04 s"),
        ({"strip_s": 0.0}, "strip_s is 0; .*at least 1"),
        ({"deposit_s": 40.0, "strip_s": 80.0}, "has .* levels; the source takes 2500"),
        ({**LONG, "frames_per_step": 25}, "30000 can be tied"),
        ({"exposure_s": 0.039}, "at most 0.0345 s leaves the camera ready"),
        ({"deposit_V": 5.0}, "deposited below zero"),
        ({"strip_V": 11.0}, "max_bias_V"),
        ({"nplc": 10.0}, "shorter than a reading"),
        ({"frame_rate_Hz": 0.0}, "frame_rate_Hz is 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(
    rig: Rig, wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises(LimitError, match=why) as refusal:
        rig.run(**{"deposit_s": 0.2, "strip_s": 0.2, **wrong})
    assert "\n" not in str(refusal.value)
    assert rig.levels == []
