"""The session's side of the recorder: starting it, steering it, hearing from it."""

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmtem_control.clock import StationClock
from stmtem_control.errors import RecordingError
from stmtem_control.recording.ring import FrameRing, shared_memory

from .recorder_protocol import Line, Message, error_of

log = logging.getLogger(__name__)

END_S = 12.0  # wall seconds that the recorder may take for what is left when all ends
WORDS = 400  # characters of a crash that are told
PROCESS = hasattr(os, "memfd_create") or os.name == "posix"  # whether descriptors can be inherited


class RecorderClient:
    """A recorder that lives as long as this object, or as this process.

    Parameters
    ----------
    name : str
        The camera's name, for messages.
    ring : mapping
        Shape, dtype, slots and slot_bytes of a FrameRing.
    clock : StationClock
        Of the station.
    hear : callable
        Called, in the receiving thread, with every message that is no reply.
    gone : callable
        Called once, in the receiving thread, with the error when the recorder dies of itself.
    process : bool
        Whether it is a process of its own, or a thread of this one.

    Raises
    ------
    RecordingError
        It cannot be started.
    """

    def __init__(
        self,
        *,
        name: str,
        ring: dict[str, Any],
        clock: StationClock,
        hear: Callable[[Message], None],
        gone: Callable[[RecordingError], None],
        process: bool = PROCESS,
    ) -> None:
        self.name = name
        self.dead = False
        self._hear = hear
        self._gone = gone
        self._lock = threading.Lock()
        self._replies: dict[int, Future[Message]] = {}
        self._number = 0
        self._closing = False
        self._process: subprocess.Popen[bytes] | None = None
        self._words: Any = None
        self._worker: threading.Thread | None = None
        ours, theirs = socket.socketpair()
        try:
            memory = shared_memory(FrameRing.size(ring["slots"], ring["slot_bytes"]))
            try:
                if process:
                    self._start_process(theirs, memory, ring, clock)
                else:
                    from .recorder_process import run_in_thread

                    owned = FrameRing(**ring, descriptor=memory, owner=True)
                    self._worker = run_in_thread(theirs, owned, clock, name)
                self._ring = FrameRing(**ring, descriptor=memory, owner=False)
            finally:
                os.close(memory)
        except OSError as error:
            ours.close()
            theirs.close()
            raise RecordingError(f"{name}: the recorder cannot be started: {error}") from error
        self._line = Line(ours, f"{name} orders")
        self._thread = threading.Thread(target=self._receive, name=f"{name} rows", daemon=True)
        self._thread.start()

    def _start_process(
        self, theirs: socket.socket, memory: int, ring: dict[str, Any], clock: StationClock
    ) -> None:
        about = {"name": self.name, "ring": ring, "clock": clock.mapping()}
        # A file, not a pipe: nobody reads it while all is well, and a full pipe would block.
        self._words = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-m", "stmtem_control.devices.recorder_process"]
        command += ["--socket", str(theirs.fileno()), "--memory", str(memory)]
        self._process = subprocess.Popen(
            [*command, "--about", json.dumps(about)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
            pass_fds=(theirs.fileno(), memory),
            # Ctrl-C at the terminal is for the session, which ends the recorder when it has ended.
            start_new_session=True,
        )
        theirs.close()

    @property
    def pid(self) -> int | None:
        """Process id of the recorder, if it is a process of its own."""
        return None if self._process is None else self._process.pid

    def tell(self, do: str, **more: Any) -> None:
        """Order something, and do not wait."""
        self._line.post({"do": do, **more})

    def ask(self, do: str, **more: Any) -> "Future[Message]":
        """Order something; the Future has the reply, or the error."""
        reply: Future[Message] = Future()
        with self._lock:
            if self.dead or self._closing:
                reply.set_exception(RecordingError(f"{self.name}: the recorder has ended"))
                return reply
            self._number += 1
            number = self._number
            self._replies[number] = reply
        self._line.post({"do": do, "id": number, **more})
        return reply

    def request(self, do: str, timeout: float, **more: Any) -> Message:
        """Order something and wait for the reply, at most `timeout` wall seconds.

        Raises
        ------
        StmTemError
            What the recorder says of it, or that it does not answer.
        """
        try:
            return self.ask(do, **more).result(timeout)
        except TimeoutError:
            raise RecordingError(
                f"{self.name}: the recorder did not answer '{do}' within {timeout:g} s; a disk may "
                "hang"
            ) from None

    def newest(self) -> NDArray[Any] | None:
        """Return a copy of the newest frame in the ring, also while frames come; None if none."""
        found = self._ring.newest()
        return None if found is None else np.asarray(found[0])

    def close(self) -> bool:
        """End the recorder, which writes what has come; tell whether it ended in time."""
        with self._lock:
            closing, self._closing = self._closing, True
        if closing:
            return True
        self._line.hang_up()
        ended = True
        if self._process is not None:
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                log.error("%s: the recorder did not end; a disk may hang", self.name)
                ended = False
                self._process.kill()
        if self._worker is not None:
            self._worker.join(END_S)
            ended = not self._worker.is_alive()
        self._thread.join(END_S)
        self._line.close()
        self._ring.close()
        if self._words is not None:
            self._words.close()
        return ended

    # The receiving thread

    def _receive(self) -> None:
        for message in self._line.messages():
            try:
                if message["say"] == "reply":
                    self._take_reply(message)
                elif message["say"] == "log":
                    log.log(message["level"], "%s", message["text"])
                else:
                    self._hear(message)
            except Exception:
                log.exception("%s: a message of the recorder could not be taken", self.name)
        with self._lock:
            self.dead = True
            replies, self._replies = list(self._replies.values()), {}
            expected = self._closing
        error = RecordingError(
            f"{self.name}: the recorder has ended{self._how()}; what is on disk is safe, 'stmtem "
            "recover' completes its table; run the plan again"
        )
        if not expected:
            log.error("%s", error)
            self._gone(error)
        for reply in replies:
            reply.set_exception(error)

    def _take_reply(self, message: Message) -> None:
        with self._lock:
            reply = self._replies.pop(message["id"], None)
        if reply is None:
            return
        if "error" in message:
            reply.set_exception(error_of(message["error"]))
        else:
            reply.set_result(message)

    def _how(self) -> str:
        if self._process is None:
            return ""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return ""
        if code < 0:
            return f" (killed by signal {-code})"
        self._words.seek(0)
        words = self._words.read().decode(errors="replace").strip().splitlines()
        return f" ({words[-1][:WORDS]})" if words else f" (exit code {code})"
