"""One camera's recording, as the session sees it: orders, counts, rows and errors."""

import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.clock import StationClock
from stmtem_control.clock_model import ClockModel
from stmtem_control.errors import RecordingError, StmTemError
from stmtem_control.exchanges import Exchange
from stmtem_control.recording.page_writer import padded_bytes
from stmtem_control.recording.ring import FrameRing
from stmtem_control.recording.site_dose import SiteDose
from stmtem_control.timeline import START, Timeline

from .frame_documents import Columns, with_nan
from .frame_samples import Sample
from .recorder_client import PROCESS, RecorderClient
from .recorder_protocol import ROWS, Message, error_of
from .remote_stream import RemoteStream

log = logging.getLogger(__name__)

ANSWER_S = 10.0  # wall seconds for an answer, the recorder's start and slow disks included
JOIN_S = 1.0  # the same, for a data connection


class FrameRecording:
    """Steers the recorder of a camera, and keeps what it tells of the present run.

    Parameters
    ----------
    name : str
        The camera's name, for messages.
    clock, timeline : StationClock, Timeline
        The station's; the recorder hears every entry.
    ask_status : callable
        Asks the camera for its DETECTORSTATUS; returns a Future.
    on_rows : callable
        Called with the recording and new rows, which are on disk.
    on_counts : callable
        Called with the recording when frames came or were lost, and at the end.
    ring_bytes : int
        Of memory for frames that wait for the disk, or for look-back.
    process : bool
        Whether the recorder is a process of its own.
    """

    def __init__(
        self,
        *,
        name: str,
        clock: StationClock,
        timeline: Timeline,
        ask_status: Callable[[], "Future[str]"],
        on_rows: Callable[["FrameRecording", Columns], None],
        on_counts: Callable[["FrameRecording"], None],
        ring_bytes: int,
        process: bool | None = None,
    ) -> None:
        self.name = name
        self.captured = self.dropped = 0
        self.frames_per_file = 0
        self.folder: Path | None = None
        self._clock = clock
        self._timeline = timeline
        self._ask_status = ask_status
        self._on_rows = on_rows
        self._on_counts = on_counts
        self._ring_bytes = ring_bytes
        self._process = PROCESS if process is None else process
        self._lock = threading.Lock()
        self._error: Exception | None = None
        self._reported: Exception | None = None
        self._client: RecorderClient | None = None
        self._ring: dict[str, Any] | None = None
        self._look_back_s = 0.0
        self._dose_rate = 0.0
        self._site_dose = SiteDose()
        self._run = 0
        self._rows: list[Columns] = []
        self._count = 0  # rows that were told
        self._taken = 0
        self._running = False
        self._open = False  # whether there are files to close
        self._writer: RecorderClient | None = None  # that has written frames of this run
        self._model: tuple[dict[str, Any], str] | None = None  # of the camera's clock, in this run
        self._come = threading.Event()
        self._come_s: float | None = None
        self._end_listening: Callable[[], None] | None = None

    # Life

    def connect(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        """Start the recorder for frames of that kind; harmless when it runs already.

        Raises
        ------
        ConfigError
            The ring has no room for enough of them.
        RecordingError
            It cannot be started.
        """
        slot_bytes = padded_bytes(shape, dtype)
        ring = {
            "shape": list(shape),
            "dtype": np.dtype(dtype).str,
            "slots": FrameRing.count(shape, dtype, slot_bytes, self._ring_bytes),
            "slot_bytes": slot_bytes,
        }
        if self._client is not None and not self._client.dead and ring == self._ring:
            return
        self.close()
        self._ring = ring
        self._client = self._started()

    def _started(self) -> RecorderClient:
        assert self._ring is not None
        client = RecorderClient(
            name=self.name,
            ring=self._ring,
            clock=self._clock,
            hear=self._hear,
            gone=self._gone,
            process=self._process,
        )
        start = self._timeline.run_start
        client.tell("entries", entries=[[START, start, None, 0.0]])

        def hear(channel: str, t: float, value: Any, uncertainty_s: float) -> None:
            if hasattr(value, "item"):  # of NumPy
                value = value.item()
            client.tell("entries", entries=[[channel, t, value, uncertainty_s]])

        self._end_listening = self._timeline.listen(hear, since=start - self._look_back_s)
        client.tell("look_back", seconds=self._clock.wall_seconds(self._look_back_s))
        return client

    def close(self) -> None:
        """End the recorder; what is recorded stays readable."""
        if self._end_listening is not None:
            self._end_listening()
            self._end_listening = None
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._running = False

    @property
    def client(self) -> RecorderClient:
        """The recorder; one that has died is replaced by a new one.

        Raises
        ------
        RecordingError
            It was never started, or cannot be.
        """
        if self._client is None:
            raise RecordingError(f"{self.name}: not connected")
        if self._client.dead:
            self.close()
            self._client = self._started()
            if self.folder is not None:
                self._tell_run()
        return self._client

    @property
    def slots(self) -> int:
        """How many frames the ring has room for; 0 before it is connected."""
        return 0 if self._ring is None else int(self._ring["slots"])

    @property
    def running(self) -> bool:
        """Whether frames are being read, or wait to be written."""
        return self._running

    # Runs

    def begin_run(
        self, folder: Path, dose_rate_e_per_A2_s: float, site_dose: SiteDose | None = None
    ) -> None:
        """Go on to another run, in another folder; counts begin anew, and no clock is known."""
        with self._lock:
            self.folder = folder
            self._writer = self._model = None
            self._dose_rate = dose_rate_e_per_A2_s
            self._site_dose = site_dose or SiteDose()
            self._run += 1
            self.captured = self.dropped = self._count = self._taken = 0
            self._rows = []
            self._error = self._reported = None
        if self._client is not None and not self._client.dead:
            self._tell_run()
        elif self._client is not None:
            self.client  # noqa: B018 - starts a new one, which hears of the run

    def _tell_run(self) -> None:
        assert self._client is not None
        known = {k: v for k, v in self._site_dose.about().items() if not math.isnan(v)}
        self._client.tell(
            "run",
            run=self._run,
            folder=str(self.folder),
            dose_rate_e_per_A2_s=self._dose_rate,
            site_dose=known,
        )
        if self._model is not None:
            self._client.tell("clock_model", model=self._model[0], time_source=self._model[1])

    def record(self, settings: dict[str, Any]) -> None:
        """Open the files, for the first time or again, and record what comes.

        Raises
        ------
        RecordingError
            They cannot be written, or whoever has written frames of this run is gone: what it
            had not told yet is on disk, so numbers could not go on where they are.
        """
        if self._writer is not None and (self._writer is not self._client or self._writer.dead):
            raise RecordingError(
                f"{self.name}: the recorder of this run has ended, so no frames can be added to "
                f"it; begin a new run, and complete this one by 'stmtem recover {self.folder}'"
            )
        client = self.client
        reply = client.request("record", ANSWER_S, **settings)
        self._open, self._writer = True, client
        self.frames_per_file = reply["frames_per_file"]
        with self._lock:
            self._error = self._reported = None

    def take(self) -> tuple[int, list[Columns]]:
        """Return the number of the first row that was not yet taken, and all rows from there."""
        with self._lock:
            first, rows = self._taken, self._rows
            self._rows, self._taken = [], self._count
            return first, rows

    @property
    def count(self) -> int:
        """How many rows of this run there are, taken or not."""
        with self._lock:
            return self._count

    def fail(self, error: Exception) -> None:
        """Note an error that ends the recording, to be told by who asks next."""
        with self._lock:
            self._error = self._error or error

    def unreported(self) -> Exception | None:
        """Return what ended the recording, if nobody was told yet: an error is told once."""
        with self._lock:
            if self._error is None or self._error is self._reported:
                return None
            self._reported = self._error
            return self._error

    # Acquisitions

    def open_stream(
        self, host: str, port: int, exposure_s: float, period_s: float, frames: int = 0
    ) -> RemoteStream:
        """Have the recorder connect to the camera's data socket; it reads what comes.

        `frames` says how many will come; 0: until the camera is stopped.

        Raises
        ------
        TransportError
            Nothing listens there.
        """
        client = self.client
        self._come.clear()
        self._come_s = None
        self._running = True
        try:
            client.request(
                "open", ANSWER_S, host=host, port=port, exposure_s=exposure_s, period_s=period_s,
                frames=frames,
            )  # fmt: skip
        except BaseException:
            self._running = False
            raise
        return RemoteStream(self._wait_for_first_byte, self._give_up)

    def _give_up(self, then: Callable[[], None]) -> None:
        self.finish(then)
        self.cut()

    def _wait_for_first_byte(self, seconds: float) -> float | None:
        self._come.wait(max(0.0, seconds))
        return self._come_s

    def started(self, exchange: Exchange | None) -> None:
        """Say when the acquisition was started, in station time; None if nobody knows."""
        self._steer("started", exchange)

    def begin_again(self, frames: int = 0) -> None:
        """Say that the stopped acquisition is about to be started again, on the same stream."""
        self.client.request("again", JOIN_S, frames=frames)

    def stopped(self, exchange: Exchange) -> None:
        """Say that the acquisition was stopped, by a STOPACQUISITION with these times."""
        self._steer("stopped", exchange)

    def _steer(self, do: str, exchange: Exchange | None) -> None:
        sent, answered = (None, None) if exchange is None else (exchange.sent, exchange.answered)
        self._tell(do, sent=sent, answered=answered)

    def expect(self, frames: bool) -> None:
        """Say whether frames are on their way, so that silence is an error, or not."""
        self._tell("expect", frames=frames)

    def finish(self, then: Callable[[], None]) -> None:
        """Call `then` when what is under way has come and is on disk, with its rows."""
        if self._client is None:
            then()
            return
        self._client.ask("finish").add_done_callback(lambda _: then())

    def cut(self) -> None:
        """End reading at once, in the middle of a frame if need be."""
        self._tell("cut")

    def end(self, timeout: float) -> bool:
        """End reading and close the files within `timeout` wall seconds, half of it for frames."""
        client = self._client
        if client is None or client.dead:
            return True
        if self._running:
            finished = threading.Event()
            self.finish(finished.set)
            if not finished.wait(0.5 * timeout):
                self.cut()
                if not finished.wait(0.5 * timeout):
                    client.ask("close")
                    return False
        if not self._open:
            return True
        self._open = False
        try:
            client.ask("close").result(timeout)
        except TimeoutError:
            return False
        except RecordingError as error:
            self.fail(error)
            log.error("%s", error)
        return True

    # What is asked of the recorder at any time

    def look_back(self, seconds: float) -> None:
        """Keep the frames of so many station seconds while nobody records."""
        self._look_back_s = seconds
        self._tell("look_back", seconds=self._clock.wall_seconds(seconds))

    def set_clock(self, model: ClockModel | None, time_source: str) -> None:
        """Date frames of this run by a model of the camera's clock from now on; None ends that."""
        told = None if model is None else model.to_dict()
        client = self.client  # a new one hears of the model before
        self._model = None if told is None else (told, time_source)
        client.request("clock_model", ANSWER_S, model=told, time_source=time_source)

    def samples(self, most: int = 0) -> list[Sample]:
        """Return what is known of the newest (0: all) frames of the present acquisition."""
        reply = self.client.request("samples", ANSWER_S, most=most)
        return [Sample(*sample) for sample in reply["samples"]]

    def newest(self) -> NDArray[Any] | None:
        """Return a copy of the newest frame; None when there is none."""
        return None if self._client is None else self._client.newest()

    # From the recorder

    def _hear(self, message: Message) -> None:
        say = message["say"]
        if say == "come":
            self._come_s = message["t"]
            self._come.set()
        elif say == "ask_status":
            try:
                self._ask_status().add_done_callback(self._tell_status)
            except StmTemError:  # the link is closed
                self._tell("status", status=None)
        elif say == "ended":
            self._running = False
            self._on_counts(self)
        elif message.get("run") == self._run:
            if say == "error":
                self.fail(error_of(message))
                return
            self.captured, self.dropped = message["captured"], message["dropped"]
            if say == ROWS:
                columns = with_nan(message["columns"])
                with self._lock:
                    self._rows.append(columns)
                    self._count += len(columns["frame"])
                self._on_rows(self, columns)
            self._on_counts(self)

    def _tell_status(self, asked: "Future[str]") -> None:
        self._tell("status", status=asked.result() if asked.exception() is None else None)

    def _tell(self, do: str, **more: Any) -> None:
        if self._client is not None:
            self._client.tell(do, **more)

    def _gone(self, error: RecordingError) -> None:
        self.fail(error)
        self._running = False
        self._come.set()
        self._on_counts(self)
