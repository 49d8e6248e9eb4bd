"""A Merlin that sends frames made beforehand, as fast as it is asked to: for tests of speed.

``python -m stmtem_control.simulators.merlin_replay --size 256 --json`` prints its ports.  Control
port, headers and pixels are those of the bench's camera.  Unlike that it looks at nothing, has no
trigger lines, and its detector needs no time to read out.  It has one data client at a time.
"""

import argparse
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from . import merlin_frames as wire
from .camera import ControlPort
from .clock import WallClock
from .merlin_plan import BOARD_C, Plan, make_plan
from .merlin_settings import FAILED, OK, Settings
from .merlin_stream import QUEUE_BYTES, QUEUE_FRAMES
from .merlin_triggers import TriggerOutputs
from .replay_frames import FrameHead, pictures
from .server import LOOPBACK, TcpEndpoint
from .service import EndOfService

SEND_BUFFER = 4 << 20  # bytes, asked of the operating system
SOFT = 5
LONGEST_s = 60.0  # of one wait


@dataclass
class _Run:
    """An acquisition under way."""

    plan: Plan
    stopping: bool = False
    aborted: bool = False
    triggers: int = 0
    changed: threading.Event = field(default_factory=threading.Event)


class ReplayCamera:
    """A Merlin on two TCP ports of the loopback address.

    Parameters
    ----------
    frames : sequence of array of uint16, shape (size, size)
        Sent in turns, top row first here.
    flat_out : bool
        Send as fast as the client reads, whatever period is set; the stamps keep to the period.
        Otherwise frames leave at the ends of their exposures, each at its own time since the
        start, so that nothing adds up; and those that a client is too slow for are lost.
    keep_times : bool
        Keep in :attr:`times` when each frame was handed to the operating system.
    control_port, data_port : int
        0 takes free ones.

    Attributes
    ----------
    sent, lost : int
        Frames since power-up.
    times : list of (int, float)
        Number of the frame, and ``time.monotonic()`` when its last byte had been handed over.

    Raises
    ------
    OSError
        A port is taken.
    ValueError
        No frames, or not square frames of one size.
    """

    def __init__(
        self,
        frames: Sequence[NDArray[np.uint16]],
        *,
        flat_out: bool = False,
        keep_times: bool = False,
        control_port: int = 0,
        data_port: int = 0,
    ) -> None:
        shapes = {picture.shape for picture in frames}
        if len(shapes) != 1 or len(set(next(iter(shapes)))) != 1:
            raise ValueError(f"frames of shapes {shapes}; give square ones of one size")
        self._frames = frames
        self._flat_out = flat_out
        self._keep_times = keep_times
        self._size = len(frames[0])
        self._settings = Settings()
        self.board_C = BOARD_C
        self._changed = threading.Condition()
        self._run: _Run | None = None
        self._waiting: _Run | None = None  # for the sender
        self._client: socket.socket | None = None
        self._open = True
        self._pixels: tuple[int, list[bytes]] = (0, [])
        self.sent = self.lost = 0
        self.times: list[tuple[int, float]] = []
        outputs = TriggerOutputs(WallClock(), self._settings)
        self.control = TcpEndpoint(
            ControlPort(self._settings, outputs, self, self._size), control_port
        )
        try:
            self._listener = socket.create_server((LOOPBACK, data_port))
        except OSError:
            self.control.close()
            raise
        self.data_port: int = self._listener.getsockname()[1]
        self._threads = [
            threading.Thread(target=target, name=f"replay-{target.__name__}", daemon=True)
            for target in (self._accept, self._send)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def addresses(self) -> dict[str, dict[str, str | int]]:
        """Where to attach, as the bench tells it."""
        return {"camera": {"host": LOOPBACK, "control": self.control.port, "data": self.data_port}}

    # What the control port commands

    @property
    def busy(self) -> bool:
        """True from the start of an acquisition to its end."""
        return self._run is not None

    def start(self, *, scan: bool = False) -> int:
        """Start an acquisition; return an error code."""
        plan = make_plan(self._settings, size=self._size, wafer=500, scan=False)
        with self._changed:
            if self._run is not None or scan or plan.sequence.start not in (0, SOFT):
                return FAILED
            period_s = max(plan.exposure_s, self._settings.real("ACQUISITIONPERIOD") * 1e-3)
            self._run = self._waiting = _Run(replace(plan, period_s=period_s))
            self._changed.notify_all()
        return OK

    def trigger(self) -> int:
        """Take a soft trigger; return an error code."""
        with self._changed:
            run = self._run
            if run is None or run.plan.sequence.start != SOFT:
                return FAILED
            run.triggers += 1
            run.changed.set()
        return OK

    def stop(self) -> int:
        """End the acquisition with the frame that is being exposed; return an error code."""
        with self._changed:
            if self._run is not None:
                self._run.stopping = True
                self._run.changed.set()
            if self._waiting is not None:  # there is no data client: nothing has begun
                self._run = self._waiting = None
        return OK

    def abort(self) -> int:
        """End at once; return an error code."""
        with self._changed:
            if self._run is not None:
                self._run.aborted = True
        return self.stop()

    def process(self, seconds: float) -> int:
        """Refuse: there is no detector to equalise."""
        return FAILED

    def close(self) -> None:
        """End everything; harmless when called again."""
        self.abort()
        with self._changed:
            self._open = False
            client, self._client = self._client, None
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        _hang_up(client)
        for thread in self._threads:
            thread.join()
        self.control.close()

    # The threads

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            with self._changed:
                old, self._client = self._client, connection
                kept = self._open
                self._changed.notify_all()
            _hang_up(old)
            if not kept:
                _hang_up(connection)

    def _send(self) -> None:
        while True:
            with self._changed:
                while self._open and (self._waiting is None or self._client is None):
                    self._changed.wait()
                run, client = self._waiting, self._client
                if not self._open or run is None or client is None:
                    return
                if _gone(client):
                    self._client = None
                    client.close()
                    continue
                self._waiting = None
            try:
                self._acquire(run, client)
            except OSError:  # the client has gone: the frames go nowhere
                with self._changed:
                    if self._client is client:
                        self._client = None
                client.close()
            self._ended(run)

    def _ended(self, run: _Run) -> None:
        with self._changed:
            if self._run is run:
                self._run = None

    def _acquire(self, run: _Run, client: socket.socket) -> None:
        plan = run.plan
        begun_ns = time.time_ns()
        client.sendall(
            wire.message(
                wire.acquisition_header(plan.head, plan.sequence, plan.thresholds_keV, begun_ns)
            )
        )
        images = self._rendered(plan.head.depth)
        head = FrameHead(plan, len(images[0]))
        number: int | None = 1
        while number is not None and (plan.sequence.start != SOFT or self._await_trigger(run)):
            number = self._burst(run, client, head, images, number)

    def _burst(
        self, run: _Run, client: socket.socket, head: FrameHead, images: list[bytes], number: int
    ) -> int | None:
        """Send the frames of a trigger; return the number of the next one, if there is one."""
        plan, index = run.plan, 0
        zero, zero_ns = time.monotonic(), time.time_ns()
        # As many as a camera keeps for a slow client.
        room = max(QUEUE_FRAMES, QUEUE_BYTES // len(images[0]))
        while index < plan.burst:
            if not self._flat_out:
                behind = self._wait(run, zero + index * plan.period_s)
                if behind is None:
                    return None
                if behind > room:
                    self.lost += behind - room
                    index, number = index + behind - room, number + behind - room
            if run.aborted or number > plan.frames:
                return None
            last = number >= plan.frames or run.stopping
            if last:  # who has received the last frame may start again
                self._ended(run)
            start_ns = zero_ns + round(index * plan.period_s * 1e9)
            _send_both(client, head.show(number, start_ns), images[number % len(images)])
            if self._keep_times:
                self.times.append((number, time.monotonic()))
            self.sent += 1
            if last:
                return None
            index, number = index + 1, number + 1
        return number

    def _wait(self, run: _Run, start: float) -> int | None:
        """Wait for the end of the exposure that begins at `start`; None when there is none.

        It returns how many more exposures have ended since.  A stop lets an exposure that has
        begun come to its end.
        """
        due = start + run.plan.exposure_s
        while True:
            run.changed.clear()  # before looking, so that nothing goes unnoticed
            now = time.monotonic()
            if run.aborted or (run.stopping and now < start):
                return None
            if now >= due:
                return int((now - due) / run.plan.period_s)
            run.changed.wait(min(LONGEST_s, due - now))

    def _await_trigger(self, run: _Run) -> bool:
        """Return whether a soft trigger has come; False when the acquisition was stopped."""
        while True:
            with self._changed:
                if run.stopping or run.aborted:
                    return False
                if run.triggers:
                    run.triggers -= 1
                    return True
                run.changed.clear()
            run.changed.wait(LONGEST_s)

    def _rendered(self, depth: int) -> list[bytes]:
        """Return the pixels as they are sent with counters of `depth` bits."""
        if self._pixels[0] != depth:
            self._pixels = depth, [wire.pixels(picture, depth) for picture in self._frames]
        return self._pixels[1]


def _send_both(client: socket.socket, head: bytearray, pixels: bytes) -> None:
    """Send two pieces one after the other without putting them together."""
    sent = client.sendmsg((head, pixels))
    if sent < len(head):
        client.sendall(memoryview(head)[sent:])
        sent = len(head)
    if sent < len(head) + len(pixels):
        client.sendall(memoryview(pixels)[sent - len(head) :])


def _gone(client: socket.socket) -> bool:
    """Return whether a client has closed its end."""
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _hang_up(connection: socket.socket | None) -> None:
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the camera until it is told to end; return the exit code."""
    options = argparse.ArgumentParser(prog="merlin_replay", description=__doc__)
    options.add_argument("--size", type=int, default=256, choices=(256, 512, 1024, 2048))
    options.add_argument("--frames", type=int, default=16, help="different frames (default 16)")
    options.add_argument("--flat-out", action="store_true", help="as fast as the client reads")
    options.add_argument("--control-port", type=int, default=0, help="0 takes a free one")
    options.add_argument("--data-port", type=int, default=0, help="0 takes a free one")
    options.add_argument("--times", metavar="FILE", help="write when each frame left (.npy)")
    options.add_argument("--json", action="store_true", help="print the ports as one JSON line")
    options.add_argument("--until-eof", action="store_true", help="end when standard input closes")
    asked = options.parse_args(arguments)
    with EndOfService(until_eof=asked.until_eof) as end:
        try:
            camera = ReplayCamera(
                pictures(asked.size, max(1, asked.frames)),
                flat_out=asked.flat_out,
                keep_times=asked.times is not None,
                control_port=asked.control_port,
                data_port=asked.data_port,
            )
        except OSError as error:
            print(f"merlin_replay: {error}", file=sys.stderr)
            return 2
        with contextlib.closing(camera):
            found = camera.addresses
            print(json.dumps(found) if asked.json else f"camera: {found['camera']}", flush=True)
            end.wait()
        if asked.times is not None:
            np.save(asked.times, np.array(camera.times, np.float64).reshape(-1, 2))
        print(json.dumps({"sent": camera.sent, "lost": camera.lost}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
