"""The simulated camera: a Quantum Detectors Merlin with its control port and its data port."""

import threading
from functools import partial
from typing import Protocol

from .clock import Clock
from .lines import Line
from .merlin_engine import Engine
from .merlin_frames import CHIP, message
from .merlin_plan import SOFTWARE
from .merlin_run import Stamps
from .merlin_settings import FAILED, OK, OUT_OF_RANGE, UNKNOWN, VARIABLES, BadValueError, Settings
from .merlin_stream import DataStream
from .merlin_triggers import TriggerOutputs
from .ports import View
from .server import Channel

REVISION = "0.67"
# What the processes take that send no frames, in seconds.
PROCESSES = {"SELFTEST": 2.0, "NOISEEQUALISATION": 10.0, "FLATFIELDCORRECTION": 5.0}
LONGEST_MESSAGE = 4096


class MerlinCamera:
    """A Merlin: control Talker, data Talker, trigger lines.

    Parameters
    ----------
    clock : Clock
        Whose time it follows; its time stamps are the wall's time at the clock's zero plus the
        simulated seconds.
    view : View
        What it looks at.
    size : int
        Edge of the image in pixels, a multiple of 256: 256 is one chip, 512 a quad.
    seed : int
        Which unit it is: the wafer that its chips are from.  The noise is the view's.
    epoch_ns : int, optional
        Time stamp (ns since 1970) of the clock's zero, for reproducible frames.
    clock_offset_s, clock_drift : float
        By how much the clock of the camera's own computer, which stamps the frames, is ahead of
        the bench's at its zero, in s, and how much it gains in a second.
    loss : float
        Share of the frames that are exposed but never sent, as when a cable or a computer is bad.

    Raises
    ------
    ValueError
        A size that no number of chips gives, a clock that runs backwards, or a share that is none.
    """

    def __init__(
        self,
        clock: Clock,
        view: View,
        *,
        size: int = 512,
        seed: int = 1,
        epoch_ns: int | None = None,
        clock_offset_s: float = 0.0,
        clock_drift: float = 0.0,
        loss: float = 0.0,
    ) -> None:
        if size % CHIP or not CHIP <= size <= 2048:
            raise ValueError(f"image size is {size}; give a multiple of {CHIP} up to 2048")
        if not abs(clock_drift) <= 0.01 or not abs(clock_offset_s) <= 1e8:
            raise ValueError(
                f"camera clock: offset {clock_offset_s} s, drift {clock_drift}; give an offset of "
                "some years at most and a drift of 0.01 at most"
            )
        if not 0.0 <= loss < 1.0:
            raise ValueError(f"loss of frames is {loss}; give a share from 0 up to 1")
        self._settings = Settings()
        self._outputs = TriggerOutputs(clock, self._settings)
        self._engine = Engine(
            clock,
            view,
            self._settings,
            self._outputs,
            size=size,
            wafer=500 + seed % 500,
            epoch_ns=epoch_ns,
            stamps=Stamps(clock_offset_s, clock_drift),
            loss=loss,
        )
        self.control = ControlPort(self._settings, self._outputs, self._engine, size)
        self.data: DataStream = self._engine.stream
        self.trigger_in = Line("camera trigger in TTL")
        self.trigger_in_lvds = Line("camera trigger in LVDS")
        self.trigger_in.listen(partial(self._engine.input_changed, False))
        self.trigger_in_lvds.listen(partial(self._engine.input_changed, True))
        self.trigger_out = self._outputs.ttl
        self.trigger_out_lvds = self._outputs.lvds

    @property
    def busy(self) -> bool:
        """True from the start of an acquisition to its end."""
        return self._engine.busy

    @property
    def frames_sent(self) -> int:
        """Frames that at least one data client was given, since power-up."""
        return self.data.sent

    @property
    def frames_dropped(self) -> int:
        """Frames that a slow client, or a slow computer, has lost since power-up."""
        return self.data.dropped + self._engine.lost

    @property
    def engine(self) -> Engine:
        """What takes the frames, for who lets it fail."""
        return self._engine

    def close(self) -> None:
        """End the acquisition and all threads; harmless when called again."""
        self._engine.close()


class Acquirer(Protocol):
    """What the control port commands; every command returns an error code."""

    board_C: float

    @property
    def busy(self) -> bool:
        """True from the start of an acquisition or a process to its end."""
        ...

    def start(self, *, scan: bool = False) -> int:
        """Start an acquisition, or a threshold scan."""
        ...

    def trigger(self) -> int:
        """Take a soft trigger."""
        ...

    def stop(self) -> int:
        """End the acquisition with the frame that is being exposed."""
        ...

    def abort(self) -> int:
        """End everything at once."""
        ...

    def process(self, seconds: float) -> int:
        """Be busy for a while with something that sends no frames."""
        ...


class ControlPort:
    """The control port; a Talker.  ``MPX,<length>,<TYPE>,<NAME>[,<value>]``, no terminator."""

    def __init__(
        self, settings: Settings, outputs: TriggerOutputs, engine: Acquirer, size: int
    ) -> None:
        self._settings = settings
        self._outputs = outputs
        self._engine = engine
        self._size = size
        self._lock = threading.Lock()
        self._buffers: dict[Channel, bytearray] = {}

    def opened(self, channel: Channel) -> None:
        """Take a new client."""
        with self._lock:
            self._buffers[channel] = bytearray()

    def closed(self, channel: Channel) -> None:
        """Forget a client that has gone."""
        with self._lock:
            self._buffers.pop(channel, None)

    def received(self, channel: Channel, data: bytes) -> None:
        """Take bytes as they come, cut anywhere."""
        with self._lock:
            buffer = self._buffers[channel]
        buffer += data
        while (request := _next_request(buffer)) is not None:
            channel.send(message(self._answer(request)))

    def _answer(self, request: bytes) -> bytes:
        text = request.decode("latin-1").strip(" \r\n\t\0")
        kind, _, rest = text.partition(",")
        name, _, value = rest.partition(",")
        kind, name, value = kind.strip(), name.strip(), value.strip()
        key = name.upper()
        if kind == "GET":
            reading, code = self._get(key)
            return f"GET,{name},{reading},{code}".encode("latin-1", "replace")
        if kind == "SET":
            code = self._set(key, value)
        elif kind == "CMD":
            code = self._command(key)
        else:
            code = UNKNOWN
        return f"{kind},{name},{code}".encode("latin-1", "replace")

    def _get(self, name: str) -> tuple[str, int]:
        if name in VARIABLES:
            return self._settings.text(name), OK
        match name:
            case "DETECTORSTATUS":
                return str(int(self._engine.busy)), OK
            case "SOFTWAREVERSION":
                return SOFTWARE, OK
            case "GETSOFTWAREREVISION":
                return REVISION, OK
            case "TEMPERATURE":
                return f"{self._engine.board_C:.6f}", OK
            case "IMAGEX" | "IMAGEY":
                return str(self._size), OK
        return "0", UNKNOWN

    def _set(self, name: str, value: str) -> int:
        if name not in VARIABLES:  # what can only be read is not known to SET
            return UNKNOWN
        try:
            self._settings.set(name, value)
        except BadValueError:
            return OUT_OF_RANGE
        if name.startswith("TRIGGEROUT"):
            self._outputs.follow()
        return OK

    def _command(self, name: str) -> int:
        match name:
            case "STARTACQUISITION":
                return self._engine.start()
            case "STOPACQUISITION":
                return self._engine.stop()
            case "ABORT":
                return self._engine.abort()
            case "SOFTTRIGGER":
                return self._engine.trigger()
            case "THSCAN":
                return self._engine.start(scan=True)
            case "RESET":
                if self._engine.busy:
                    return FAILED
                self._settings.restore()
                self._outputs.follow()
                return OK
        if name in PROCESSES:
            return self._engine.process(PROCESSES[name])
        return UNKNOWN


def _next_request(buffer: bytearray) -> bytes | None:
    """Take the next whole request out of a client's buffer.

    The length counts from the comma that follows it.  Clients pad it to two or to ten digits,
    and some end a message with a line end; whatever stands before the next ``MPX,`` is skipped.
    """
    while True:
        start = buffer.find(b"MPX,")
        if start < 0:
            del buffer[: max(0, len(buffer) - 3)]
            return None
        del buffer[:start]
        comma = buffer.find(b",", 4)
        if comma < 0:
            if len(buffer) > 4 + 20:
                del buffer[:4]
                continue
            return None
        digits = bytes(buffer[4:comma])
        if not digits.isdigit() or not 1 < int(digits) <= LONGEST_MESSAGE:
            del buffer[:4]
            continue
        end = comma + int(digits)
        following = buffer.find(b"MPX,", comma + 1, end)
        if following >= 0:  # the length promised more than came
            end = following
        elif len(buffer) < end:
            return None
        request = bytes(buffer[comma + 1 : end])
        del buffer[:end]
        return request
