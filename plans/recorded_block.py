"""A block of steps with frames throughout: bias on a timetable, and a number of frames kept.

Steps that follow each other are one acquisition of the camera, so that no frame is missing where
the bias changes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stmtem_control.protocol import Biased, Comment, Cycles, Rest, Step

from .clapperboard import clapperboard as clap
from .coulombs import Coulombs
from .frames import with_frames
from .roles import Plan
from .step_record import StepRecord
from .step_words import words_of
from .stubs import mark, set_bias, watch
from .timetable import Timetable, whole_frames
from .until import Ending

RAMP_STEP_S = 0.1  # station time between two steps of a ramp
RECORDED = ("cycles", "deposit", "strip", "hold", "rest")


@dataclass(frozen=True)
class Lab:
    """The devices of a protocol, as its parts need them."""

    bias: Any
    camera: Any
    beam: Any
    probe: Any = None

    @property
    def others(self) -> Sequence[Any]:
        """What is noted beside each reading."""
        return () if self.probe is None else (self.probe,)


@dataclass(frozen=True)
class Stretch:
    """One time under bias, as it stands in a block.

    Attributes
    ----------
    number : int
        Of its step in the protocol, from 1.
    step : Biased, Rest or Comment
        What is done.
    phase : str
        For frames and readings.
    cycle : int
        From 1; 0 outside of cycles.
    levels : tuple of (float, float)
        Bias in V, and how long in s; of a step with `until` at most.
    """

    number: int
    step: Any
    phase: str
    cycle: int
    levels: tuple[tuple[float, float], ...]

    @property
    def longest_s(self) -> float:
        """How long it lasts at most, in s."""
        return sum(seconds for _, seconds in self.levels)


def stretches_of(number: int, step: Step) -> Iterator[Stretch]:
    """Return what a recorded step, or a comment within a block, is made of."""
    if isinstance(step, Comment):
        yield Stretch(number, step, "", 0, ())
    elif isinstance(step, Rest):
        yield Stretch(number, step, "rest", 0, ((0.0, step.duration_s),))
    elif isinstance(step, Cycles):
        for cycle in range(1, step.repeat + 1):
            for part, pause_s in ((step.deposit, step.between_s), (step.strip, step.rest_s)):
                yield _biased(number, part, cycle)
                if pause_s:
                    rest = Rest(duration_s=pause_s, where=part.where)
                    yield Stretch(number, rest, "rest", cycle, ((0.0, pause_s),))
    elif isinstance(step, Biased):
        yield _biased(number, step, 0)


def _biased(number: int, step: Biased, cycle: int) -> Stretch:
    each = step.longest_s / max(1, len(step.biases_V))
    levels = tuple((volts, each) for volts in step.biases_V)
    return Stretch(number, step, str(getattr(step, "kind", "hold")), cycle, levels)


@dataclass
class Block:
    """Stretches that follow each other, in one acquisition.

    Attributes
    ----------
    stretches : list of Stretch
    pre_roll_s : float
        Frames before the first of them, in s.
    clapperboard : bool
        Blank the beam in a code before and after.
    keep_bias : bool
        Leave the last bias as it is: what follows goes on under bias, without frames.
    """

    pre_roll_s: float
    clapperboard: bool = False
    keep_bias: bool = False
    stretches: list[Stretch] = field(default_factory=list)

    @property
    def longest_s(self) -> float:
        """How long it lasts at most, in s, without clapperboards."""
        return self.pre_roll_s + sum(stretch.longest_s for stretch in self.stretches)

    def frame_count(self, frame_rate_Hz: float) -> int:
        """Return how many frames it has, or 0 if its length is not known beforehand."""
        waits = any(getattr(stretch.step, "until", ()) for stretch in self.stretches)
        if waits or self.clapperboard:
            return 0
        return whole_frames(self.longest_s, frame_rate_Hz)


def run_block(
    block: Block,
    devices: Lab,
    record: StepRecord,
    coulombs: Coulombs,
    detectors: Mapping[str, Any] | None,
    *,
    ended: Callable[[int, str, str], None],
) -> Plan:
    """Run a block inside a run, from the pre-roll to the last frame.

    `ended` is told number, phase and reason when a stretch has ended.
    """
    bias, camera, beam, others = devices.bias, devices.camera, devices.beam, devices.others
    planned = block.frame_count(float(camera.frame_rate_Hz.get()))
    rate = float(beam.dose_rate.get())

    def taken(ending: Ending | None = None) -> Callable[[], bool]:
        def over() -> bool:
            coulombs.take()
            return ending is not None and ending.over()

        return over

    def stretch_of(stretch: Stretch, table: Timetable, level: float) -> Plan:
        """Run one; return the bias that it ends with."""
        step = stretch.step
        about = {"cycle": stretch.cycle, "where": step.where, "planned_frames": planned}
        if isinstance(step, Comment):
            yield from record.begin(stretch.number, "comment", step.text, **about)
            return level
        goal = stretch.levels[-1][0]
        began = table.due
        yield from mark(camera, stretch.phase, stretch.cycle)
        ramp = getattr(step, "ramp_V_per_s", None)
        first = level if ramp else stretch.levels[0][0]
        yield from set_bias(bias, first)
        table.began(stretch.longest_s)
        yield from record.begin(stretch.number, stretch.phase, words_of(step), bias_V=goal, **about)
        ending = None
        conditions = getattr(step, "until", ())
        if conditions:
            ending = Ending(
                conditions, bias, camera, coulombs, lambda: table.passed() - began,
                dose_rate_e_per_A2_s=rate, goal_V=goal, detectors=detectors,
            )  # fmt: skip
        for place, (volts, seconds) in enumerate(stretch.levels):
            if place:
                yield from set_bias(bias, volts)
            table.extend(seconds)
            if ramp:
                level = yield from ramp_to(volts, level, ramp, table, began, taken(ending))
            if ending is None or not ending.reason:
                yield from watch(bias, camera, table.left(), *others, over=taken(ending))
        reason = "its time was over"
        if ending is not None:
            reason = ending.reason or f"time-out after {stretch.longest_s:g} s"
            table.cut()
        yield from record.end(reason, charge_C=coulombs.charge_C)
        ended(stretch.number, stretch.phase, reason)
        return level if ramp else goal

    def ramp_to(
        goal: float,
        level: float,
        ramp: float,
        table: Timetable,
        began: float,
        over: Callable[[], bool],
    ) -> Plan:
        """Go to a bias in small steps; return the one that was reached."""
        way = 1.0 if goal >= level else -1.0
        ended: list[bool] = []

        def watched() -> bool:
            if over():
                ended.append(True)
            return bool(ended)

        start = level
        while level != goal and not ended and table.left() > 0.0:
            passed = max(0.0, table.passed() - began)
            # The middle of the step that is made now lies on the line.
            reached = start + way * ramp * (passed + 0.5 * RAMP_STEP_S)
            level = min(goal, reached) if way > 0.0 else max(goal, reached)
            yield from set_bias(bias, level)
            yield from watch(bias, camera, min(RAMP_STEP_S, table.left()), *others, over=watched)
        return level

    def during() -> Plan:
        if block.clapperboard:
            yield from clap(bias, camera, beam)
        table, level = Timetable(bias, camera), 0.0
        yield from watch(bias, camera, table.extend(block.pre_roll_s), *others, over=taken())
        table.began()
        for stretch in block.stretches:
            level = yield from stretch_of(stretch, table, level)
        if block.clapperboard:
            yield from set_bias(bias, 0.0)
            yield from mark(camera, "end", 0)
            # What is recorded by now shall not fail for want of the drift.
            yield from clap(bias, camera, beam, required=False)

    yield from with_frames(
        bias, camera, beam, during, keep_bias=block.keep_bias, frame_count=planned
    )
