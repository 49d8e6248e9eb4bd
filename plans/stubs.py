"""The parts that the plans are made of; none of them opens a run."""

from collections.abc import Callable
from typing import Any

from bluesky import Msg

from stmtem_control.clock import READING_PERIOD_S

from .roles import Camera, Plan, Source

COLLECT_PERIOD_S = 0.5  # wall time between two collects: each costs over 1 ms, however few frames


def announce_exposure(beam: Any, open_s: float, md: dict[str, Any] | None = None) -> Plan:
    """Before anything moves: refuse the plan if the specimen has not so much dose left.

    The message says how long the beam will be open, for whoever wants to know what a plan costs
    without running it.

    Parameters
    ----------
    beam : device
        The beam blanker.
    open_s : float
        Seconds of station time that the beam will be open.
    md : dict, optional
        Of the plan: "sample" and "site" say where, if not at those of the session.

    Raises
    ------
    InterlockError
        There is less left of the dose budget, or the dose rate was calibrated too long ago.
    """
    check = getattr(beam, "check_exposure", None)
    if check is not None:
        check(open_s, md)
    yield Msg("null", beam, planned_open_s=open_s)


def read_bias(bias: Source, *others: Any, stream: str = "readings") -> Plan:
    """Take one reading of the source, and note it with the state of `others` as an event."""
    # Raw messages: the stubs of bluesky cost more than the reading itself.
    yield Msg("trigger", bias, group="reading")
    yield Msg("wait", None, group="reading")
    yield Msg("create", None, name=stream)
    yield Msg("read", bias)
    for device in others:
        yield Msg("read", device)
    yield Msg("save")


def carry_out(command: str, device: Any, *arguments: Any) -> Plan:
    """Send one message that takes its time, as "set" or "kickoff" do, and wait until it is done.

    The stubs of bluesky do the same, and note each time from where they were called.
    """
    yield Msg(command, device, *arguments, group=command)
    yield Msg("wait", None, group=command)


def collect_last(camera: Camera) -> Plan:
    """Hand the last frames of an acquisition to the documents, when nothing can be resumed."""
    yield Msg("collect", camera, stream=False, return_payload=False, name="frames")


def collect_frames(camera: Camera) -> Plan:
    """Hand the frames that are on disk to the documents."""
    yield from collect_last(camera)
    # Without a checkpoint here, a resumed pause would collect new frames under old numbers.
    yield Msg("checkpoint")


def mark(camera: Camera, phase: str, cycle: int) -> Plan:
    """Say what phase of which cycle begins now; each frame and reading carries it."""
    yield Msg("set", camera.phase, phase, group="mark")
    yield Msg("set", camera.cycle, cycle, group="mark")
    yield Msg("wait", None, group="mark")


def set_bias(bias: Source, volts: float) -> Plan:
    """Apply a bias and wait until the source has taken it."""
    yield Msg("checkpoint")
    yield Msg("set", bias, volts, group="bias")
    yield Msg("wait", None, group="bias")


def watch(
    bias: Source,
    camera: Camera,
    seconds: float,
    *others: Any,
    collect: bool = True,
    over: Callable[[], bool] | None = None,
) -> Plan:
    """Hold everything as it is for `seconds` of station time; read, and collect frames.

    Time spent in a pause, with the bias at 0 V, does not count.  Without `collect` no frames are
    expected.  `over` is asked after each reading, and ends it early.
    """
    clock = bias.clock
    end = clock.now() + seconds
    paused = bias.paused_s
    slow = clock.speed * clock.pace
    period = READING_PERIOD_S * slow
    cost = period
    seen = False
    collected = clock.now() - COLLECT_PERIOD_S * slow
    while True:
        begun, paused_before = clock.now(), bias.paused_s
        left = end + (bias.paused_s - paused) - begun
        if left <= 0.0 or (seen and left < 1.2 * cost):
            # Another reading would overrun the end.
            yield from clock.sleep(left)
            if clock.now() >= end + (bias.paused_s - paused):
                return
            continue
        if bias.output.get() or getattr(bias, "lapse", None):
            # With the output off there is nothing to measure, and the source refuses to.  One that
            # it switched off by itself is told by that refusal.
            yield from read_bias(bias, camera.phase, camera.cycle, *others)
            if over is not None and over():
                return
        if collect and clock.now() - collected >= COLLECT_PERIOD_S * slow:
            collected = clock.now()
            yield from collect_frames(camera)
        else:
            yield Msg("checkpoint")
        seen = True
        took = clock.now() - begun - (bias.paused_s - paused_before)
        cost = 0.5 * (cost + took)
        yield from clock.sleep(min(period - took, left - took))
