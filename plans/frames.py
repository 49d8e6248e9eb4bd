"""Frames while something is done to the sample; every frame taken is collected, come what may."""

import contextlib
from collections.abc import Callable
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.utils import IllegalMessageSequence

from .roles import Plan, Source
from .stubs import carry_out, collect_last, mark, set_bias


def declare_frames(camera: Any) -> Plan:
    """Announce the stream of frames; once in a run, before the first of them."""
    yield from bps.declare_stream(camera, name="frames", collect=True)


def with_frames(
    bias: Source,
    camera: Any,
    beam: Any,
    during: Callable[[], Plan],
    *,
    phase: str = "pre-roll",
    keep_bias: bool = False,
    open_first: bool = False,
    lit: bool = True,
    frame_count: int = 0,
) -> Plan:
    """Take frames, beam on, while `during` runs, and blank the beam again.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, the frame camera, the beam blanker.
    during : callable
        Returns what is done while frames are taken.
    phase : str
        Of the first frames.
    keep_bias : bool
        Leave the bias as it is when `during` ends well.  Otherwise, and whenever it does not, the
        bias goes to 0 V before the beam is blanked, and the last frames are of the phase "end".
    open_first : bool
        Open the beam before the camera starts, so that no frame is dark, instead of after it.
    lit : bool
        False: the beam stays blanked, until `during` opens it.
    frame_count : int
        Frames that the camera takes by itself, no more and no less: all of them are recorded, or
        known to be lost, before this ends.  0: as many as come until then.
    """
    done: list[bool] = []
    counted = frame_count > 0

    def body() -> Plan:
        yield from mark(camera, phase, 0)
        if counted:
            yield from carry_out("prepare", camera, {"frame_count": frame_count})
        if lit and open_first:
            yield from carry_out("set", beam, "open")
        yield from carry_out("kickoff", camera)
        # A resume must not start the camera a second time.
        yield Msg("checkpoint")
        if lit and not open_first:
            yield from carry_out("set", beam, "open")
        yield from during()
        done.append(True)

    def drain() -> Plan:
        if not done:
            # An error between create and save leaves a bundle open, and nothing can be collected.
            with contextlib.suppress(IllegalMessageSequence):
                yield Msg("drop")
        # Made one by one: of plans that were made and never begun, as at a halt, bluesky warns.
        parts: list[Callable[[], Plan]] = [
            lambda: carry_out("set", beam, "blanked"),
            lambda: carry_out("complete", camera),
            lambda: collect_last(camera),
        ]
        if counted and not done:
            # What was cut short is not waited for.
            parts.insert(1, lambda: carry_out("prepare", camera, {"frame_count": 0}))
        elif counted:
            parts.append(lambda: carry_out("prepare", camera, {"frame_count": 0}))
        if not (done and keep_bias):
            # With the output off at once where something failed: a camera may be slow to end.
            parts = [
                lambda: set_bias(bias, 0.0) if done else bps.stop(bias),
                lambda: mark(camera, "end", 0),
                *parts,
            ]
        problems = []
        for part in parts:
            try:
                yield from part()
            except Exception as error:
                problems.append(error)
        if done and problems:
            # After a failure the first error is the one to tell; the rest is made safe outside.
            raise problems[0]

    yield from bpp.finalize_wrapper(body(), drain)


def snapshot_s(frames: int, frame_rate_Hz: float) -> float:
    """Return how long the beam is open for a snapshot, in s, beside what devices take to answer."""
    return (frames + 0.5) / frame_rate_Hz


def snapshot(bias: Source, camera: Any, beam: Any, phase: str, frames: int) -> Plan:
    """Open the beam for a few frames and blank it again; the bias stays as it is.

    The beam is open from just before the first exposure to just behind the last of exactly
    `frames` frames, and the time that the camera and the blanker take to answer.
    """
    lasts_s = snapshot_s(frames, camera.frame_rate_Hz.get())

    def wait() -> Plan:
        yield from bias.clock.sleep(lasts_s)

    yield from with_frames(
        bias,
        camera,
        beam,
        wait,
        phase=phase,
        keep_bias=True,
        open_first=True,
        frame_count=frames,
    )
    # Without a checkpoint here, a resumed pause would take the snapshot again.
    yield Msg("checkpoint")
