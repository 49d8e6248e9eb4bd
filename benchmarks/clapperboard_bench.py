"""The clapperboard on the simulated instruments, with a truth to compare with.

Source, specimen and camera of the bench run under a clock that is advanced by hand.  The camera's
own clock is off and drifts, frames are lost, commands are late, and every exchange with the source
takes its time on both ways.  What comes out of it goes to the estimator as it would in a session;
the truth is known to the bench alone.
"""

import threading
from dataclasses import dataclass

import numpy as np

from stmtem_control.clock_model import ClockModel
from stmtem_control.devices.merlin import control_message
from stmtem_control.devices.merlin_stream import FrameHeader, parse_frame_header
from stmtem_control.recording.aligned_clock import align_clock
from stmtem_control.recording.blank_edges import BlankEdge, coded_pattern
from stmtem_control.recording.clapperboard import PatternFit, fit_pattern
from stmtem_control.recording.facts import FrameFacts
from stmtem_control.simulators.bias_source import SourceMeter
from stmtem_control.simulators.camera import MerlinCamera
from stmtem_control.simulators.clock import HandClock
from stmtem_control.simulators.lines import wire
from stmtem_control.simulators.server import Channel
from stmtem_control.simulators.specimen import Specimen

EPOCH_NS = 1_790_000_000_000_000_000
WAIT_S = 20.0  # wall seconds for frames that are under way
AHEAD_S = 5000.0  # station time minus bench time


@dataclass(frozen=True)
class Skewed:
    """What is wrong in one run, drawn from a seed."""

    offset_s: float
    drift: float
    loss: float
    trip_s: float
    apart_s: float
    dose_rate_e_per_A2_s: float

    @classmethod
    def drawn(cls, random: np.random.Generator) -> "Skewed":
        """Draw one."""
        return cls(
            offset_s=float(random.uniform(-30.0, 30.0)),
            drift=float(random.uniform(-1e-4, 1e-4)),
            loss=float(random.choice([0.0, 0.02, 0.1])),
            trip_s=float(random.choice([0.2e-3, 0.5e-3, 1.5e-3])),
            apart_s=float(random.uniform(20.0, 200.0)),
            dose_rate_e_per_A2_s=float(random.choice([0.05, 1.0, 20.0])),
        )


@dataclass(frozen=True)
class Judged:
    """A run, and what was found beside what is true.

    Attributes
    ----------
    skewed : Skewed
        What was wrong.
    fits : list of PatternFit
        At the start, and at the end.
    errors_s : list of float
        Of their offsets, in s.
    model : ClockModel
        Of both.
    model_error_s, middle_error_s, drift_error : float
        Of the model at its reference and half way between the patterns, in s, and of its drift.
    middle_width_s : float
        Half width that is stated half way, in s.
    frames, lost : int
        That came, and that did not.
    """

    skewed: Skewed
    fits: list[PatternFit]
    errors_s: list[float]
    model: ClockModel
    model_error_s: float
    middle_error_s: float
    middle_width_s: float
    drift_error: float
    frames: int
    lost: int


class _Client(Channel):
    """A client in this process that keeps the headers, and the means of the pixels."""

    def __init__(self) -> None:
        super().__init__("benchmark")
        self.frames: list[tuple[FrameHeader, float]] = []
        self.grown = threading.Condition()

    def _write(self, data: bytes) -> None:
        body = data[15:]
        if not body.startswith(b"MQ1,"):
            return
        header = parse_frame_header(body[: int(body[11:16])])
        pixels = np.frombuffer(body, ">u2", offset=int(body[11:16]))
        with self.grown:
            self.frames.append((header, float(pixels.mean())))
            self.grown.notify_all()

    def hang_up(self) -> None:
        """Nothing to close."""


class Rig:
    """A source that blanks the beam, a specimen and a camera, under a clock moved by hand.

    Parameters
    ----------
    skewed : Skewed
        What is wrong.
    random : Generator
        For the rest.
    """

    def __init__(self, skewed: Skewed, random: np.random.Generator) -> None:
        self.skewed = skewed
        self.random = random
        self.clock = HandClock()
        seed = int(random.integers(1, 10**6))
        self.specimen = Specimen(
            self.clock, seed=seed, dose_rate_e_per_A2_s=skewed.dose_rate_e_per_A2_s
        )
        self.source = SourceMeter(self.clock, self.specimen, model="6430", seed=seed)
        self.camera = MerlinCamera(
            self.clock,
            self.specimen,
            size=256,
            seed=seed,
            epoch_ns=EPOCH_NS,
            clock_offset_s=skewed.offset_s,
            clock_drift=skewed.drift,
            loss=skewed.loss,
        )
        wire(self.source.digital_out[0], self.specimen.blank)
        self.client, self.talk = _Client(), _Client()
        self.camera.control.opened(self.talk)
        self.camera.data.opened(self.client)
        self.source.opened(self.talk)
        self.edges: list[BlankEdge] = []

    def close(self) -> None:
        """End all threads."""
        self.camera.close()
        self.source.close()
        self.clock.close()

    def truth(self, camera_time_s: float) -> float:
        """Return station time minus camera time, in s, when the camera's clock shows that."""
        since = camera_time_s - EPOCH_NS * 1e-9 - self.skewed.offset_s
        return since / (1.0 + self.skewed.drift) + AHEAD_S - camera_time_s

    def turn(self, *, dark: bool) -> None:
        """Blank or open the beam by a command over a line that takes its time."""
        sent = self.clock.now()
        self.clock.advance(float(self.random.exponential(0.5 * self.skewed.trip_s)))
        self.source.received(self.talk, b":SOUR2:TTL %d\n" % (15 if dark else 14))
        self.clock.advance(float(self.random.exponential(0.5 * self.skewed.trip_s)))
        answered = self.clock.now()
        edge = BlankEdge(AHEAD_S + 0.5 * (sent + answered), 0.5 * (answered - sent), dark)
        self.edges.append(edge)

    def clap(self, rate_Hz: float, exposure_s: float) -> PatternFit:
        """Take frames, blank in the code, and find it again."""
        period = 1.0 / rate_Hz
        self.edges = []
        first = len(self.client.frames)
        lost = self.camera.frames_dropped
        sent = self.camera.frames_sent
        self._tell("SET", "ACQUISITIONTIME", f"{1e3 * exposure_s:g}")
        self._tell("SET", "ACQUISITIONPERIOD", f"{1e3 * period:g}")
        self._tell("SET", "NUMFRAMESTOACQUIRE", "0")
        self.turn(dark=True)
        self._tell("CMD", "STARTACQUISITION")
        self.clock.advance(float(self.random.uniform(2.0, 4.0)) * period)
        self.turn(dark=False)
        self.clock.advance(4.0 * period)
        dark = True
        for duration in (*coded_pattern(period, exposure_s, shortest_s=0.01), 4.0 * period):
            due = self.clock.now() + duration
            self.turn(dark=dark)
            self.clock.advance(max(0.0, due - self.clock.now()))
            self.clock.advance(float(self.random.exponential(1.5e-3)))  # the plan is late
            dark = not dark
        self._tell("CMD", "STOPACQUISITION")
        self.clock.advance(2.0 * period)
        self.turn(dark=True)
        expected = self.camera.frames_sent - sent
        with self.client.grown:
            came = self.client.grown.wait_for(
                lambda: len(self.client.frames) - first >= expected, WAIT_S
            )
        if not came:
            raise RuntimeError("frames of the simulated camera did not come")
        self.lost = self.camera.frames_dropped - lost
        frames = [
            FrameFacts(
                number=number,
                sequence=header.sequence,
                dropped_before=0,
                camera_time_s=header.unix_time_s,
                host_monotonic_s=0.0,
                start_s=0.0,
                uncertainty_s=float("nan"),
                time_source="arrival",
                exposure_s=header.exposure_s,
                period_s=period,
                mean_counts=mean,
            )
            for number, (header, mean) in enumerate(self.client.frames[first:])
        ]
        rough = self.truth(frames[0].camera_time_s) + float(self.random.uniform(-0.25, 0.25))
        return fit_pattern(frames, self.edges, expected_offset_s=rough, search_s=0.35)

    def _tell(self, kind: str, name: str, value: str = "") -> None:
        self.camera.control.received(self.talk, control_message(kind, name, value or None))


def run_seed(seed: int, *, rate_Hz: float = 25.0, exposure_s: float = 0.035) -> Judged:
    """Run the clapperboard at the start and at the end, and compare with the truth."""
    random = np.random.default_rng(seed)
    skewed = Skewed.drawn(random)
    rig = Rig(skewed, random)
    try:
        fits = [rig.clap(rate_Hz, exposure_s)]
        lost = rig.lost
        rig.clock.advance(skewed.apart_s)
        fits.append(rig.clap(rate_Hz, exposure_s))
        lost += rig.lost
    finally:
        rig.close()
    model = align_clock(fits)
    middle = 0.5 * (fits[0].reference_s + fits[1].reference_s)

    def error(camera_time_s: float) -> float:
        return model.station_time(camera_time_s)[0] - camera_time_s - rig.truth(camera_time_s)

    return Judged(
        skewed=skewed,
        fits=fits,
        errors_s=[fit.offset_s - rig.truth(fit.reference_s) for fit in fits],
        model=model,
        model_error_s=error(model.reference_s),
        middle_error_s=error(middle),
        middle_width_s=model.uncertainty_s(middle),
        # Station time gains 1 / (1 + drift) on the camera's.
        drift_error=model.drift - (1.0 / (1.0 + skewed.drift) - 1.0),
        frames=len(rig.client.frames),
        lost=lost,
    )
