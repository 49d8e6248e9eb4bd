"""Judgements on links, camera and computer; each is asked a few times a second.

Where something must come within a time, only time counts in which the guard itself ran: a computer
that stood still cannot blame the others.
"""

import math

from stmtem_control.interlock_table import InterlocksTable

from .trip import Finding

LONGEST_TICK_S = 0.5  # wall seconds between two looks that count, at most
PERIODS = 10.0  # frames that may be missing before a camera is silent
FRAMES = 100  # over which the share of lost ones is taken
RATE_S = 2.0  # wall seconds over which the rate of data is taken, at least


class Silence:
    """Something that should come does not: counts what the guard was awake for."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._mark: object = None
        self._silent_s = 0.0

    def see(self, now: float, mark: object, expected: bool) -> float:
        """Return for how many seconds nothing has come.

        Parameters
        ----------
        now : float
            Monotonic s.
        mark : object
            Changes whenever something comes.
        expected : bool
            Whether anything should come.
        """
        passed = 0.0 if self._last is None else min(now - self._last, LONGEST_TICK_S)
        self._last = now
        if mark != self._mark or not expected:
            self._mark, self._silent_s = mark, 0.0
        else:
            self._silent_s += passed
        return self._silent_s


class StaleReadings:
    """No new reading for ``stale_s`` while the output is on."""

    def __init__(self, table: InterlocksTable) -> None:
        self._limit_s = table.limit("stale_s")
        self._silence = Silence()

    def see(self, now: float, readings: int, expected: bool) -> Finding | None:
        """Judge how many readings there were until `now` (monotonic s)."""
        silent = self._silence.see(now, readings, expected)
        if silent < self._limit_s:
            return None
        return Finding(
            "stale readings",
            f"no reading for {silent:.1f} s with the output on",
            f"{self._limit_s:g} s, [interlocks] stale_s",
        )


class LinkLost:
    """A link that broke while it matters, or that lets one reading after the other time out."""

    def __init__(self, table: InterlocksTable) -> None:
        self._most = table.limit("link_timeouts")

    def see(self, name: str, alive: bool, timeouts: int = 0) -> Finding | None:
        """Judge a link by whether it is alive, and by its time-outs in a row."""
        if math.isinf(self._most):
            return None
        if not alive:
            return Finding("link lost", f"the connection to {name} broke", "")
        if timeouts < self._most:
            return None
        return Finding(
            "link lost",
            f"{timeouts} readings of {name} in a row timed out",
            f"{self._most:g}, [interlocks] link_timeouts",
        )


class CameraSilent:
    """No frame for ``camera_silent_s``, or ten periods, while frames should come."""

    def __init__(self, table: InterlocksTable) -> None:
        self._limit_s = table.limit("camera_silent_s")
        self._silence = Silence()

    def see(self, now: float, frames: int, period_s: float, expected: bool) -> Finding | None:
        """Judge how many frames came until `now` (monotonic s); `period_s` is in wall s."""
        silent, limit = self._silence.see(now, frames, expected), self._limit_s
        limit = max(limit, PERIODS * period_s)
        if silent < limit:
            return None
        return Finding(
            "camera silent",
            f"no frame for {silent:.1f} s",
            f"{limit:g} s, [interlocks] camera_silent_s or {PERIODS:g} periods",
        )


class FramesLost:
    """More than ``lost_share`` of the last hundred frames were lost."""

    def __init__(self, table: InterlocksTable) -> None:
        self._limit = table.limit("lost_share")
        self._start: tuple[int, int] = (0, 0)

    def see(self, captured: int, lost: int) -> Finding | None:
        """Judge the counts of a run: frames that came, and that did not."""
        if captured < self._start[0] or lost < self._start[1]:
            self._start = (0, 0)  # another run
        came, missing = captured - self._start[0], lost - self._start[1]
        if came + missing < FRAMES:
            return None
        self._start = (captured, lost)
        share = missing / (came + missing)
        if share <= self._limit:
            return None
        return Finding(
            "frames lost",
            f"{missing} of {came + missing} frames did not come",
            f"a share of {self._limit:g}, [interlocks] lost_share",
        )


class DiskRoom:
    """Less than ``disk_free_GB``, or than ``disk_left_s`` at the present rate, is free."""

    def __init__(self, table: InterlocksTable) -> None:
        self._least = 1e9 * table.limit("disk_free_GB")
        self._least_s = table.limit("disk_left_s")
        self._since: tuple[float, int] | None = None
        self._rate = 0.0

    def see(self, now: float, free: int, frames: int, frame_bytes: int) -> Finding | None:
        """Judge the room on the disk.

        Parameters
        ----------
        now : float
            Monotonic s.
        free : int
            Bytes that are free.
        frames : int
            That came in this run.
        frame_bytes : int
            Of one frame.
        """
        if self._since is None or frames < self._since[1]:
            self._since, self._rate = (now, frames), 0.0
        elif now - self._since[0] >= RATE_S:
            self._rate = (frames - self._since[1]) * frame_bytes / (now - self._since[0])
            self._since = (now, frames)
        if math.isfinite(self._least) and free < self._least:
            return Finding(
                "disk nearly full",
                f"{free / 1e9:.3g} GB are free",
                f"{self._least / 1e9:g} GB, [interlocks] disk_free_GB",
            )
        left_s = free / self._rate if self._rate > 0.0 else math.inf
        if math.isfinite(self._least_s) and left_s < self._least_s:
            return Finding(
                "disk nearly full",
                f"{free / 1e9:.3g} GB are free, {left_s:.1f} s at {self._rate / 1e6:.3g} MB/s",
                f"{self._least_s:g} s, [interlocks] disk_left_s",
            )
        return None


class ClockJump:
    """The computer's clock steps against its monotonic clock, or the computer sleeps."""

    def __init__(self, table: InterlocksTable) -> None:
        self._limit_s = table.limit("clock_jump_s")
        self._last: tuple[float, float, float] | None = None

    def see(self, monotonic: float, wall: float, boot: float, matters: bool) -> Finding | None:
        """Judge three clocks of one moment, in s: monotonic, wall, and one that counts sleep."""
        last, self._last = self._last, (monotonic, wall, boot)
        if last is None or not matters:
            return None
        passed = monotonic - last[0]
        slept, jumped = boot - last[2] - passed, wall - last[1] - passed
        limit = f"{self._limit_s:g} s, [interlocks] clock_jump_s"
        if slept >= self._limit_s:
            return Finding("clock jump", f"the computer slept for {slept:.1f} s", limit)
        if abs(jumped) >= self._limit_s:
            return Finding("clock jump", f"the computer's clock jumped by {jumped:+.1f} s", limit)
        return None
