"""Devices on the simplest instruments that answer: no clock, no physics, faults on demand."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("OPHYD_CONTROL_LAYER", "dummy")

import numpy as np
import pytest

from stmtem_control.clock import StationClock
from stmtem_control.devices import BeamBlanker, BiasSource, FrameCamera, PiezoProbe
from stmtem_control.devices.anc300 import Anc300
from stmtem_control.devices.keithley import Keithley2400
from stmtem_control.devices.merlin import Merlin, control_message
from stmtem_control.errors import TransportError
from stmtem_control.link import Link
from stmtem_control.tcp import TcpTransport
from stmtem_control.timeline import Timeline
from stmtem_control.transport import BufferedTransport

W = 5.0  # wall seconds that a test waits at most


class HandClock(StationClock):
    """A station clock that a test moves by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.t = 0.0

    def now(self) -> float:
        """Return what the test says."""
        return self.t


class FakeInstrument(BufferedTransport):
    """A line-based instrument in memory."""

    def __init__(self) -> None:
        super().__init__("fake")
        self.sent: list[str] = []
        self.dead = False  # answers nothing
        self.unplugged = False
        self.gate: threading.Event | None = None  # holds up whatever is sent next
        self.held = threading.Event()  # something is being held up
        self._arrived = bytearray()

    def answer(self, line: str) -> str:
        """Return what the instrument answers to a line."""
        raise NotImplementedError

    def _send(self, data: bytes) -> None:
        if self.unplugged:
            raise TransportError("fake: pulled out")
        for line in data.decode().splitlines():
            if self.gate is not None:
                self.held.set()
                assert self.gate.wait(W)
            self.sent.append(line)
            if not self.dead:
                self._arrived += self.answer(line).encode()

    def _receive(self, seconds: float) -> bytes:
        if self.unplugged:
            raise TransportError("fake: pulled out")
        data = bytes(self._arrived)
        self._arrived.clear()
        return data

    def _close(self) -> None:
        pass


class FakeSource(FakeInstrument):
    """Enough of a 6430 for the driver."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {
            ":SENS:CURR:PROT": 1.05e-4,
            ":SENS:CURR:RANG": 1.05e-4,
            ":SOUR:VOLT:RANG": 21.0,
            ":SENS:CURR:NPLC": 1.0,
            ":SOUR:VOLT": 0.0,
            ":SOUR2:TTL": 15.0,
            ":SYST:TIME": 0.0,
            "*ESE": 0.0,
        }
        self.output = False
        self.current = 2e-10
        self.status = 0
        self.error = '0,"No error"'

    def answer(self, line: str) -> str:
        """Carry out the commands of a message; answer its queries in one line."""
        answers = [self.carry_out(command) for command in line.split(";")]
        answers = [answer.rstrip("\n") for answer in answers if answer]
        return ";".join(answers) + "\n" if answers else ""

    def carry_out(self, command: str) -> str:
        """Set, or answer a query."""
        name, _, value = command.partition(" ")
        if name == "*IDN?":
            return "KEITHLEY INSTRUMENTS INC.,MODEL 6430,1117422,C27\n"
        if name == ":SYST:ERR?":
            error, self.error = self.error, '0,"No error"'
            return error + "\n"
        if name == ":OUTP?":
            return f"{self.output:d}\n"
        if name == ":READ?":
            volts = self.state[":SOUR:VOLT"]
            return f"{volts:+.6E},{self.current:+.6E},+1.0E+00,{self.status:+.6E}\n"
        if name.endswith("?"):
            return f"{self.state[name[:-1]]:.6E}\n"
        if name == ":OUTP":
            self.output = value == "ON"
        elif name == "*RST":
            self.output = False
            self.state[":SOUR:VOLT"], self.state[":SOUR2:TTL"] = 0.0, 15.0
        elif name in self.state:
            self.state[name] = float(value)
        return ""


class FakeConsole(FakeInstrument):
    """Enough of an ANC300 for the driver; steps end at once, or when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.module = "ANM300A-M-1545-3010041"
        self.endless = False
        self.moving: set[str] = set()
        self.values: dict[str, str] = {}
        self.refuse = ""

    def answer(self, line: str) -> str:
        """Set, or answer a query."""
        command, *rest = line.split()
        axis = rest[0] if rest else ""
        if self.refuse and line.startswith(self.refuse):
            return "Axis not in computer control mode\r\nERROR\r\n"
        if command == "ver":
            return "attocube ANC300 controller version 1.1.0\r\nOK\r\n"
        if command == "getser":
            return f"{self.module}\r\nOK\r\n"
        if command in ("setm", "seta", "setf", "setv"):
            self.values[command[3] + axis] = rest[1]
        if command in ("stepu", "stepd") and self.endless:
            self.moving.add(axis)
        if command in ("stop", "setm"):
            self.moving.discard(axis)
        if command == "geto":
            return f"voltage = {17.5 if axis in self.moving else 0.0:.6f} V\r\nOK\r\n"
        for letter, text in (
            ("m", "mode = {}"),
            ("a", "voltage = {} V"),
            ("f", "frequency = {} Hz"),
            ("v", "voltage = {} V"),
        ):
            if command == "get" + letter:
                return text.format(self.values.get(letter + axis, "0")) + "\r\nOK\r\n"
        return "OK\r\n"


class FakeMerlin:
    """Control and data sockets; frames come when the test sends them."""

    def __init__(self, size: tuple[int, int] = (8, 6)) -> None:
        self.size = size
        self.control = socket.create_server(("127.0.0.1", 0))
        self.data = socket.create_server(("127.0.0.1", 0))
        self.data.settimeout(W)
        self.commands: list[str] = []
        self.refuse: dict[str, int] = {}
        self.mute = False
        self.started = threading.Semaphore(0)
        self.sequence = 0
        self.stream: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="fake merlin")
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._peer, _ = self.control.accept()
            with self._peer as peer:
                while head := peer.recv(14, socket.MSG_WAITALL):
                    body = peer.recv(int(head[4:]), socket.MSG_WAITALL).decode()
                    if not self.mute:
                        peer.sendall(self._answer(*body[1:].split(",")))
        except OSError:
            return  # the test closed it

    def _answer(self, kind: str, name: str, value: str = "") -> bytes:
        self.commands.append(name if kind == "CMD" else f"{kind} {name} {value}".strip())
        if code := self.refuse.get(name, 0):
            return bytes(control_message(kind, name, code))
        if kind == "GET":
            known = {
                "IMAGEX": self.size[1],
                "IMAGEY": self.size[0],
                "DETECTORSTATUS": 0,
                "ACQUISITIONTIME": 10,
            }
            return bytes(control_message(kind, name, f"{known.get(name, '0.67.0.9')},0"))
        if name == "STARTACQUISITION":
            self.sequence = 0
            if self.stream is None:
                self.stream, _ = self.data.accept()
            head = b"HDR,\tTime:\tnow\nEnd\n".ljust(2047, b" ")
            self.stream.sendall(b"MPX,%010d," % (len(head) + 1) + head)
            self.started.release()
        return bytes(control_message(kind, name, 0))

    def frame(self, stamp_s: float, *, exposure_s: float = 0.035, lost: int = 0) -> None:
        """Send a frame whose first pixel is its number, after losing some."""
        assert self.stream is not None
        self.sequence += 1 + lost
        rows, columns = self.size
        whole, nanoseconds = divmod(round(stamp_s * 1e9), 10**9)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        text = (
            f"MQ1,{self.sequence:06d},00384,01,{columns:04d},{rows:04d},U16,   1x1,01,"
            f"{moment.replace('T', ' ')}.000000,{exposure_s:.6f},0,0,0,"
            f"MQ1A,{moment}.{nanoseconds:09d}Z,{round(exposure_s * 1e9)}ns,12,"
        )
        image = np.full(self.size, self.sequence, ">u2")
        body = text.encode().ljust(384, b"\0") + image.tobytes()
        self.stream.sendall(b"MPX,%010d," % (len(body) + 1) + body)

    def hang_up(self) -> None:
        """Close the data connection."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def drop_stream(self) -> None:
        """Forget the data connection, so that the next start takes a new one."""
        self.hang_up()

    def close(self) -> None:
        """Close everything and end the thread."""
        self.hang_up()
        with contextlib.suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)  # or who waits for a client waits on
        self.control.close()
        self.data.close()
        if self._peer is not None:
            with contextlib.suppress(OSError):
                self._peer.shutdown(socket.SHUT_RDWR)
        self._thread.join(W)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


@pytest.fixture
def links() -> Iterator[Callable[[Any], Link]]:
    """A function that makes a link to a transport; all are closed at the end."""
    made: list[Link] = []

    def make(transport: Any) -> Link:
        made.append(Link(lambda: transport, name="source"))
        return made[-1]

    yield make
    for link in made:
        link.close()


@pytest.fixture
def smu() -> FakeSource:
    return FakeSource()


@pytest.fixture
def driver(smu: FakeSource, clock: HandClock, links: Callable[[Any], Link]) -> Keithley2400:
    return Keithley2400(links(smu), model="6430", now=clock.now, timeout_s=0.1)


@pytest.fixture
def bias(driver: Keithley2400, clock: HandClock, timeline: Timeline) -> BiasSource:
    """A connected source, limited to 10 V."""
    made = BiasSource(name="bias", source=driver, clock=clock, timeline=timeline, max_bias_V=10.0)
    made.connect(W)
    return made


@pytest.fixture
def beam(bias: BiasSource, clock: HandClock, timeline: Timeline) -> BeamBlanker:
    """A connected blanker on line 2 of the source."""
    made = BeamBlanker(
        name="beam",
        source=bias.source,
        clock=clock,
        timeline=timeline,
        line=2,
        dose_rate_e_per_A2_s=20.0,
    )
    made.connect(W)
    return made


@pytest.fixture
def console() -> FakeConsole:
    return FakeConsole()


@pytest.fixture
def probe(
    console: FakeConsole, clock: HandClock, timeline: Timeline, links: Callable[[Any], Link]
) -> PiezoProbe:
    """A connected probe with 1000 Hz, 30 V, 100 V of fine travel and 200 steps."""
    made = PiezoProbe(
        name="probe",
        controller=Anc300(links(console), timeout_s=0.1),
        clock=clock,
        timeline=timeline,
        max_fine_V=100.0,
    )
    made.connect(W)
    return made


@pytest.fixture
def merlin() -> Iterator[FakeMerlin]:
    fake = FakeMerlin()
    yield fake
    fake.close()


@pytest.fixture
def make_camera(
    merlin: FakeMerlin, clock: HandClock, timeline: Timeline
) -> Iterator[Callable[..., FrameCamera]]:
    """Make a connected camera of 8 x 6 pixels, dose rate 20 e/A^2/s, four frames in a file.

    Its recorder is a thread, unless the test wants a process.
    """
    made: list[FrameCamera] = []

    def make(**options: Any) -> FrameCamera:
        port = merlin.control.getsockname()[1]
        link = Link(lambda: TcpTransport("127.0.0.1", port), name="camera")
        data_port = merlin.data.getsockname()[1]
        settings: dict[str, Any] = {
            "name": "camera",
            "merlin": Merlin(link, host="127.0.0.1", data_port=data_port, timeout_s=2.0),
            "clock": clock,
            "timeline": timeline,
            "pixel_size_nm": 2.5,
            "dose_rate_e_per_A2_s": 20.0,
            "frames_per_file": 4,
            "ring_MB": 1.0,
            "process": False,
        }
        camera = FrameCamera(**{**settings, **options})
        made.append(camera)
        camera.settle_s = 0.05
        camera.connect(W)
        return camera

    yield make
    for camera in made:
        camera.disconnect()


@pytest.fixture
def camera(make_camera: Callable[..., FrameCamera]) -> FrameCamera:
    """A connected camera."""
    return make_camera()
