"""A bench and a session on it, at a pace that the computer can keep: where faults are tried out.

Nothing of the station is left out: real drivers, links, devices, RunEngine, recorder process and
run folders, on the simulated bench's real wires.  Only the bench's time is made: it jumps over
what a plan sleeps, goes on slowly while nobody sleeps, and never runs ahead of the computer, so
that a slow computer makes no fault of its own.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from unittest import mock

from bluesky import Msg
from ophyd.utils.errors import StatusTimeoutError, WaitTimeoutError

from stmtem_control import devices as devices_module
from stmtem_control import session as session_module
from stmtem_control.clock import StationClock
from stmtem_control.config import Station, load_station
from stmtem_control.devices import FrameCamera
from stmtem_control.errors import StmTemError
from stmtem_control.session import Session
from stmtem_control.simulators import Bench
from stmtem_control.simulators.clock import HandClock
from stmtem_control.simulators.probe_console import RefusedError

__all__ = ["Lab", "PacedClock", "Watch"]

SPEED: Final = 20.0  # simulated seconds in a second while nobody sleeps
TICK_S: Final = 0.002  # wall seconds between two steps of the pace
JUMP_S: Final = 0.25  # simulated seconds over which a sleep jumps at once
LOOK_S: Final = 0.001  # wall seconds between two looks at the bench
CONTACT_GAP_NM: Final = -1.0  # pressed in a little: a contact through the oxide
AWAY_NM: Final = 12.0
#: A second of a busy computer may be many of the bench.
SLOW: Final = {"open_circuit_s": 600.0}
FINE_S: Final = 2.0  # wall seconds in which the piezo is back
OUTPUT_S: Final = 1.0  # simulated seconds in which an output of the piezo drive is at its offset
SIZE: Final = 256  # edge of the image in pixels, the smallest that the camera has
DEAD_MAN_S: Final = 3.0  # where the source does not say
SETTLE_S: Final = 0.01  # wall seconds that a reading needs to the recorder, on this computer


class PacedClock(HandClock):
    """A bench clock that goes on by itself, at most `speed` times the wall's, and can jump.

    Parameters
    ----------
    speed : float
        Simulated seconds in a wall second while nobody advances it; a busy computer makes it
        slower, and nothing on the bench is late for that.
    """

    def __init__(self, speed: float = SPEED) -> None:
        super().__init__()
        self.speed = speed
        self.failure: BaseException | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="sim-pace", daemon=True)
        self._thread.start()

    def _go_on(self) -> None:
        while not self._end.wait(TICK_S):
            try:
                self.advance(TICK_S * self.speed)
            except Exception as error:
                # One instrument's failure must not stop the others; the bench tells at its end.
                self.failure = self.failure or error

    def close(self) -> None:
        """Stand still, and drop all alarms."""
        self._end.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        super().close()


class LabClock(StationClock):
    """The station's clock that tells the bench's time, and whose sleeps make it go on."""

    def __init__(self, bench_clock: PacedClock) -> None:
        super().__init__(bench_clock.speed)
        self._bench_clock = bench_clock

    def now(self) -> float:
        """Return the bench's time in s."""
        return float(self._bench_clock.now())

    def sleep(self, seconds: float) -> Generator[Any, Any, None]:
        """Plan stub: let the bench's time go on by `seconds`; a pause may come in between."""
        end = self.now() + seconds
        while True:
            yield Msg("sleep", None, 0.0)
            left = end - self.now()
            if left <= 0.0:
                return
            self._bench_clock.advance(min(left, JUMP_S))


class Watch:
    """Looks at the bench all the time, and remembers when it was last seen unsafe.

    Parameters
    ----------
    bench : Bench
        It is asked itself, never by way of our devices.

    Attributes
    ----------
    unsafe : dict
        For each part of the bench's safe state the wall seconds, from the last time at which a
        fault struck or :meth:`begin` was called, to the last look at which it did not hold; and
        the bench's time of that look.
    struck : dict
        The bench's time at which each fault struck first, by its text.
    alone_since : float or None
        The bench's time at which nobody was connected to the source any more; None while somebody
        is.
    stood_still_s : float
        The longest time, in wall seconds since :meth:`reset`, in which this computer did not let
        it look.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._begun: float | None = None
        self._seen = 0
        self.unsafe: dict[str, tuple[float, float]] = {}
        self.struck: dict[str, float] = {}
        self.alone_since: float | None = None
        self.stood_still_s = 0.0
        self._lines = [tap for tap in bench.taps["bias_source"] if tap.endpoint is not None]
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._thread.start()

    def unsafe_s(self, beyond: tuple[str, ...] = ()) -> float:
        """Return the wall seconds until all parts held but those in `beyond`."""
        return max((s for part, (s, _) in self.unsafe.items() if part not in beyond), default=0.0)

    def begin(self) -> None:
        """Count from now: somebody wants an end."""
        with self._lock:
            self._begun = time.monotonic()
            self.unsafe = {}

    def reset(self) -> None:
        """Wait for the next fault that strikes, or :meth:`begin`."""
        with self._lock:
            self._begun = None
            self._seen = len(self._bench.fault_log)
            self.unsafe, self.struck = {}, {}
            self.stood_still_s = 0.0

    def go_on(self) -> None:
        """Count from now, if a fault has struck; otherwise from the next that does."""
        with self._lock:
            self._begun = time.monotonic() if self.struck else None
            self.unsafe = {}

    def _look(self) -> None:
        last = time.monotonic()
        while not self._end.wait(LOOK_S):
            now = time.monotonic()
            self.stood_still_s, last = max(self.stood_still_s, now - last - LOOK_S), now
            if any(tap.wires() for tap in self._lines):
                self.alone_since = None
            elif self.alone_since is None:
                self.alone_since = self._bench.clock.now()
            for event in self._bench.fault_log[self._seen :]:
                self._seen += 1
                if event.event == "struck" and str(event.fault) not in self.struck:
                    self.struck[str(event.fault)] = event.t_s
                    self.begin()
            begun = self._begun
            if begun is None:
                continue
            wrong = [part for part, ok in self._bench.safe().items() if not ok]
            found = (time.monotonic() - begun, self._bench.clock.now())
            with self._lock:
                if wrong and self._begun == begun:
                    self.unsafe.update(dict.fromkeys(wrong, found))

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join()


class Lab:
    """A bench in this process and a session on it, for many runs.

    Parameters
    ----------
    root : path
        Folder for the runs.
    seed : int
        Of the bench.
    **tables
        Tables of the station, by name, with what is to be changed in them.
    """

    def __init__(self, root: Path, *, seed: int = 1, **tables: dict[str, Any]) -> None:
        self.root = root
        self._opened = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            self.clock = PacedClock()
            self.bench = opened.enter_context(Bench(clock=self.clock, size=SIZE, seed=seed))
            self.watch = Watch(self.bench)
            opened.callback(self.watch.close)
            self.station = changed(
                load_station("sim").with_bench(speed=SPEED, size=SIZE).with_data(root),
                # A process for each of thousands of sessions; it has tests of its own.
                {"safe": {"guard": False}, "interlocks": SLOW, **tables},
            )
            self.session = self._open()
            opened.callback(lambda: self.session.close())
            self._opened = opened.pop_all()

    def _open(self) -> Session:
        # A recorder in this process: one of its own would go by the wall's time.
        camera = partial(FrameCamera, process=False)
        with (
            mock.patch.object(session_module, "StationClock", return_value=LabClock(self.clock)),
            mock.patch.object(devices_module, "FrameCamera", camera),
        ):
            session = Session(self.station, addresses=self.bench.addresses.as_dict())
        session.camera.settle_s = SETTLE_S
        # The recorder is there before the first run, as it is for a person, who is slower.
        session.camera.samples(1)
        return session

    def reopen(self) -> Session:
        """Close the session and open another one on the same bench."""
        self.session.close()
        self.session = self._open()
        return self.session

    @property
    def dead_man_s(self) -> float:
        """Seconds of the source's time after which it has surely let go by itself."""
        signal = getattr(self.session.bias, "dead_man", None)
        return DEAD_MAN_S if signal is None else 1.1 * float(signal.get()) + 0.5

    def mend(self) -> None:
        """End all faults, as a person would who knows the instruments.

        The offset of a piezo whose cable is off goes to zero before the cable is put on: it would
        jump at once to what was commanded while nothing moved, 20 V into the fibre, and no program
        can keep it from that.
        """
        probe = self.bench.probe
        for axis in probe.axes:
            if not axis.connected:
                try:
                    probe.execute(f"seta {axis.number} 0", lambda: None)
                except RefusedError:  # another fault: then it is switched off
                    probe.power_cycle()
        self.clock.advance(OUTPUT_S)
        self.bench.clear_faults()

    def put_probe(self, *, contact: bool) -> None:
        """Put the probe on the fibre or a little away from it, whatever happened before.

        Its piezo goes back by the device, unless that cannot; the coarse way is without a motion,
        in the specimen's world and in the device's.
        """
        specimen, z = self.bench.specimen, self.session.probe.z
        if specimen.gap_nm < AWAY_NM:
            specimen.step(2, specimen.gap_nm - AWAY_NM)
        if float(z.fine.get()) != 0.0:
            # What a fault has left cannot move before the next run has mended it.
            with contextlib.suppress(StmTemError, StatusTimeoutError, WaitTimeoutError):
                z.fine.set(0.0).wait(FINE_S)
        specimen.step(2, specimen.gap_nm - (CONTACT_GAP_NM if contact else AWAY_NM))
        z.coarse.publish(0)

    def close(self) -> None:
        """Close the session, then the bench."""
        self._opened.close()

    def __enter__(self) -> Self:
        """Return the lab."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


def changed(station: Station, tables: dict[str, dict[str, Any]]) -> Station:
    """Return a station with some keys of some tables changed."""
    update = {name: getattr(station, name).model_copy(update=keys) for name, keys in tables.items()}
    return station.model_copy(update=update)


@contextlib.contextmanager
def quiet() -> Generator[None, None, None]:
    """Keep what is logged off the screen: hundreds of faults say hundreds of things."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
