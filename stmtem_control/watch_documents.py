"""``stmtem watch``: what a station does, at another machine: a line for each thing of note."""

import contextlib
import io
import pickle
import sys
from datetime import datetime
from typing import Any, NoReturn

from bluesky.callbacks.zmq import RemoteDispatcher

from .units import si

EVERY_S = 1.0  # between two lines of readings, by the documents' own times


class _PlainUnpickler(pickle.Unpickler):
    """Reads what is plain Python, and nothing that names code."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse: a document that needs a class could run anything here."""
        raise pickle.UnpicklingError(f"{module}.{name} is not read: only plain documents are")


def read_plain(data: bytes) -> Any:
    """Return a document from the wire.

    Bluesky's own receivers unpickle whatever they are sent, which may run code.

    Raises
    ------
    pickle.UnpicklingError
        It is more than plain Python.
    """
    return _PlainUnpickler(io.BytesIO(data)).load()


class Lines:
    """Turns documents into lines of text.

    Parameters
    ----------
    say : callable
        Called with each line.
    """

    def __init__(self, say: Any = print) -> None:
        self._say = say
        self._begun = self._next = 0.0
        self._streams: dict[str, str] = {}
        self._frames = 0
        self._phase = ""

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document."""
        if name == "start":
            self._begun = self._next = float(doc["time"])
            self._streams, self._frames, self._phase = {}, 0, ""
            what = doc.get("protocol") or doc.get("plan_name", "run")
            where = ", ".join(str(doc[key]) for key in ("sample", "site") if key in doc)
            clock = datetime.fromtimestamp(self._begun).strftime("%H:%M:%S")
            self._say(f"{clock}  {what} ({doc['uid'][:8]}){f' on {where}' if where else ''}")
        elif name == "descriptor":
            self._streams[doc["uid"]] = str(doc.get("name", ""))
        elif name == "event":
            self._event(doc)
        elif name == "event_page":
            self._page(doc)
        elif name == "stop":
            reason = " ".join(str(doc.get("reason", "")).split())
            passed = float(doc["time"]) - self._begun
            status = doc.get("exit_status", "ended")
            self._say(f"{passed:8.1f} s  {status}{f': {reason}' if reason else ''}")

    def _event(self, doc: dict[str, Any]) -> None:
        data, stream = doc["data"], self._streams.get(doc["descriptor"], "")
        if "step_text" in data:
            self._line(doc["time"], _step(data))
        elif {"bias_setpoint", "bias_current"} <= set(data):
            if doc["time"] >= self._next:
                self._next = doc["time"] + EVERY_S
                volts, amperes = si(data["bias_setpoint"], "V"), si(data["bias_current"], "A")
                self._line(
                    doc["time"],
                    f"{self._phase:<12} {volts:>8} {amperes:>10} {self._frames:>6} frames",
                )
        elif stream not in ("readings", "step"):
            self._line(doc["time"], stream)

    def _page(self, doc: dict[str, Any]) -> None:
        data = doc["data"]
        if phases := data.get("camera_phase"):
            self._frames += len(phases)
            cycle = data.get("camera_cycle", [0])[-1]
            self._phase = f"{phases[-1]} {cycle}" if cycle else str(phases[-1])

    def _line(self, moment: float, text: str) -> None:
        self._say(f"{moment - self._begun:8.1f} s  {text}")


def _step(data: dict[str, Any]) -> str:
    """Return a step of a protocol in words: what it is as it begins, why it ended at its end."""
    begins = data.get("step_state") != "end"
    text = data["step_text"] if begins else data.get("step_reason") or "done"
    return f"step {data.get('step_number', '')}, {data.get('step_kind', '')}: {text}"


def run_watch(address: str) -> int:
    """Print what is published, until Ctrl-C.

    Parameters
    ----------
    address : str
        Where the proxy hands documents out, for example ``127.0.0.1:5578``.
    """

    def say(line: str) -> None:
        print(line, flush=True)

    dispatcher = RemoteDispatcher(address, deserializer=read_plain)
    dispatcher.subscribe(Lines(say))
    print(f"watching {address}, until Ctrl-C", file=sys.stderr, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        dispatcher.start()
    return 0
