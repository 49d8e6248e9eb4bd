"""The recorder: a process that does nothing but read frames, write them, and keep their rows.

The session starts it, steers it over a pair of sockets, and ends it.  When the session dies, it
writes what has come, closes its files, and ends by itself.  It can also run in a thread of the
session, where a platform cannot share memory and sockets with a child.
"""

import argparse
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

from stmtem_control.clock import StationClock
from stmtem_control.clock_model import ClockModel
from stmtem_control.errors import InterlockError, StmTemError, TransportError
from stmtem_control.exchanges import Exchange
from stmtem_control.recording.ring import FrameRing
from stmtem_control.recording.site_dose import SiteDose
from stmtem_control.tcp import TcpTransport
from stmtem_control.timeline import START, Timeline

from .frame_reader import FrameReader
from .frame_recorder import FrameRecorder
from .merlin_stream import FrameStream
from .recorder_protocol import Line, Message, error_message

log = logging.getLogger(__name__)

SWITCH_S = 5e-4  # between two threads that compute: reading must not wait for rows
GARBAGE = 200_000  # objects after which circles are looked for all the same
RECEIVE_BUFFER = 1 << 23  # bytes asked of the operating system for what comes
END_S = 10.0  # wall seconds that a disk may take for what is left when all ends


class _ToSession(logging.Handler):
    """Hands what is logged here to the session, which knows where its log is."""

    def __init__(self, recorder: "Recorder") -> None:
        super().__init__(logging.WARNING)
        self._recorder = recorder

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record, as text."""
        text = self.format(record)
        self._recorder.say({"say": "log", "level": record.levelno, "text": text})


class Recorder:
    """Carries out what the session orders.

    Parameters
    ----------
    end : socket
        The recorder's end of the line to the session.
    ring : FrameRing
        Where frames land; the recorder owns its slots.
    clock : StationClock
        The session's, or one that tells the same time.
    name : str
        The camera's name, for messages.
    """

    def __init__(self, end: socket.socket, ring: FrameRing, clock: StationClock, name: str) -> None:
        self._name = name
        self._line = Line(end, f"{name} recorder")
        self.say = self._line.post
        self._timeline = Timeline()
        self._status: Future[str] | None = None
        self._frames = FrameRecorder(
            name=name, ring=ring, clock=clock, timeline=self._timeline, say=self._line.post
        )
        self._reader = FrameReader(
            name=name,
            ring=ring,
            clock=clock,
            ask_status=self._ask_status,
            make_room=self._frames.make_room,
            on_frame=self._frames.receive,
            on_lost=self._frames.lost,
            on_twice=self._frames.came_twice,
            on_come=lambda t: self._line.post({"say": "come", "t": t}),
            on_end=self._frames.reading_ended,
        )

    def serve(self) -> None:
        """Take orders until the session hangs up, and then end well."""
        self._line.post({"say": "ready", "pid": os.getpid()})
        for order in self._line.messages():
            try:
                self._carry_out(order)
            except Exception as error:
                if not isinstance(error, StmTemError):
                    log.exception("order %s failed", order.get("do"), exc_info=error)
                self._reply(order, error)
        self._reader.leave()
        if not self._frames.quit(END_S):
            log.error("the disk did not take what was left within %.0f s", END_S)
        self._line.hang_up()
        self._line.close()

    def _reply(self, order: Message, error: Exception | None = None, **more: object) -> None:
        if "id" in order:
            failed = {} if error is None else {"error": error_message(error)}
            self._line.post({"say": "reply", "id": order["id"], **failed, **more})

    def _carry_out(self, order: Message) -> None:
        do = order["do"]
        if do == "entries":
            for channel, t, value, uncertainty_s in order["entries"]:
                if channel == START:
                    self._timeline.start_run(t)
                else:
                    self._timeline.record(channel, t, value, uncertainty_s)
            return
        if do in ("run", "record", "clock_model", "close"):
            self._in_turn(order)
            return
        if do == "finish":
            self._reader.finish()
            self._frames.finish(order["id"])
            return
        if do == "samples":
            self._reply(order, samples=self._reader.samples()[-order["most"] :])
            return
        self._steer(do, order)
        self._reply(order)

    def _steer(self, do: str, order: Message) -> None:
        reader = self._reader
        if do == "open":
            self._open(order)
        elif do == "again":
            reader.begin_again(order.get("frames", 0))
        elif do == "started":
            reader.started(_exchange(order))
        elif do == "stopped" and (exchange := _exchange(order)) is not None:
            reader.stopped(exchange)
        elif do == "expect":
            reader.expect(order["frames"])
        elif do == "cut":
            reader.cut()
        elif do == "status":
            self._take_status(order["status"])
        elif do == "look_back":
            self._frames.look_back(order["seconds"])

    def _in_turn(self, order: Message) -> None:
        """Have the writing thread carry out an order, between two frames."""
        frames = self._frames

        def job() -> None:
            try:
                if order["do"] == "run":
                    folder = Path(order["folder"])
                    site = SiteDose.from_about(order.get("site_dose", {}))
                    frames.begin_run(order["run"], folder, order["dose_rate_e_per_A2_s"], site)
                    self._reply(order)
                elif order["do"] == "record":
                    self._reply(order, **frames.begin_recording(order))
                elif order["do"] == "clock_model":
                    frames.dating.model = _model(order)
                    self._reply(order)
                else:
                    frames.close_files()
                    self._reply(order)
            except Exception as error:  # who waits must hear of it, whatever it is
                if not isinstance(error, StmTemError):
                    log.exception("order %s failed", order["do"], exc_info=error)
                self._reply(order, error)

        frames.do(job)

    def _open(self, order: Message) -> None:
        if self._reader.running:
            raise InterlockError(f"{self._name}: frames are being read already")
        transport = TcpTransport(order["host"], order["port"], receive_buffer=RECEIVE_BUFFER)
        self._frames.reading_begins()
        self._reader.begin(
            FrameStream(transport), order["exposure_s"], order["period_s"], order.get("frames", 0)
        )

    def _ask_status(self) -> "Future[str]":
        # Kept here: the answer may be taken, in another thread, before this returns.
        asked = self._status = Future()
        self._line.post({"say": "ask_status"})
        return asked

    def _take_status(self, status: str | None) -> None:
        asked, self._status = self._status, None
        if asked is None:
            return
        if status is None:
            asked.set_exception(TransportError("the camera does not say whether it is idle"))
        else:
            asked.set_result(status)


def _exchange(order: Message) -> Exchange | None:
    return None if order["sent"] is None else Exchange(order["sent"], order["answered"])


def _model(order: Message) -> tuple[ClockModel, str] | None:
    model = order["model"]
    return None if model is None else (ClockModel.from_dict(model), order["time_source"])


def main() -> int:
    """Run as a child of the session, with the descriptors that it inherited."""
    parser = argparse.ArgumentParser(description="Record frames for a session that started this.")
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--about", type=json.loads, required=True)
    options = parser.parse_args()
    # Ctrl-C goes to all processes of a terminal; the session ends this one when it has ended.
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_S)
    # Nothing here refers to itself in a circle, and looking for it costs a tenth of the work.
    gc.freeze()
    gc.set_threshold(GARBAGE)
    about = options.about
    ring = FrameRing(**about["ring"], descriptor=options.memory, owner=True)
    os.close(options.memory)
    end = socket.socket(fileno=options.socket)
    recorder = Recorder(end, ring, StationClock.restored(about["clock"]), about["name"])
    logging.getLogger().addHandler(_ToSession(recorder))
    recorder.serve()
    # A disk that hangs holds a thread, and must not hold the process.
    os._exit(0)


def run_in_thread(
    end: socket.socket, ring: FrameRing, clock: StationClock, name: str
) -> threading.Thread:
    """Run a recorder in a thread of this process; it ends when the other end hangs up."""
    recorder = Recorder(end, ring, clock, name)
    thread = threading.Thread(target=recorder.serve, name=f"{name} recorder", daemon=True)
    thread.start()
    return thread


if __name__ == "__main__":
    raise SystemExit(main())
