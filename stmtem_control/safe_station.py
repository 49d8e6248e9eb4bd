"""Making a station safe through connections of one's own: no session, no device, no RunEngine."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from stmtem_control.devices import Anc300, Keithley2400, SafeReport, SafeStep, carry_out

from .clock import StationClock
from .config import Station
from .connect import Addresses, open_controller, open_source
from .errors import StmTemError, TransportError

PART_S = 2.5  # wall seconds for a part, with its connection
RETRACT_S = 10.0  # for the orders of a retraction; the steps end by themselves


class StationSafety:
    """Drivers for the instruments that can hurt the sample, ready to connect at once.

    Connections are opened when they are needed, and closed again afterwards: ports and sockets
    that only one program can have belong to the session.

    Parameters
    ----------
    station : Station
    addresses : mapping, optional
        Of the simulated bench.
    """

    def __init__(self, station: Station, addresses: Addresses | None = None) -> None:
        self._station = station
        self._addresses = addresses
        self._clock = StationClock(station.bench.speed if station.bench else 1.0)
        self._opened = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._make_drivers()

    def _make_drivers(self) -> None:
        self._source = open_source(self._station, self._clock, self._addresses, self._opened)
        self._controller = open_controller(self._station, self._addresses, self._opened)

    def make_safe(self, reason: str, *, retract: bool = True, excuse_probe: str = "") -> SafeReport:
        """Bias to 0 V and the output off, beam blanked, probe stopped, and retracted if configured.

        Parameters
        ----------
        reason : str
            For the report.
        retract : bool
            Whether the probe goes back by ``[safe] retract_steps``.
        excuse_probe : str
            Why a probe whose port is held by another process is at rest all the same; "" if
            nobody knows.
        """
        with self._lock:
            try:
                return carry_out(self._steps(retract, excuse_probe), reason)
            finally:
                # A connection that is used later must be a fresh one, and drivers know too much of
                # the old one.
                self._opened.close()
                self._make_drivers()

    def close(self) -> None:
        """End the drivers' threads."""
        self._opened.close()

    def _steps(self, retract: bool, excuse_probe: str) -> list[SafeStep]:
        source, controller = self._source, self._controller
        steps = [
            SafeStep("bias", lambda: _bias_off(source), PART_S),
            SafeStep("beam", lambda: self._blank(source), PART_S),
            SafeStep("probe", lambda: _stop_probe(controller, excuse_probe), PART_S),
        ]
        count = self._station.safe.retract_steps
        if retract and count and not excuse_probe:
            back = SafeStep(
                "retraction", lambda: self._retract(controller), PART_S + RETRACT_S, "bias"
            )
            steps.append(back)
        return steps

    def _blank(self, source: Keithley2400) -> str:
        beam = self._station.beam
        if source.identity is None:
            source.open().result(PART_S)
        source.set_line(beam.line, beam.blanked_level == "high", safe=True).result(PART_S)
        return "blanked"

    def _retract(self, controller: Anc300) -> str:
        """Send the steps; whoever approached before must begin anew."""
        axis, steps = self._station.probe.axes[2], self._station.safe.retract_steps
        with contextlib.suppress(StmTemError):  # no offset in the mode that it is in
            controller.seta(axis, 0.0).result(PART_S)
        controller.step(axis, -steps).result(PART_S)
        return f"by {steps} steps"


def _bias_off(source: Keithley2400) -> str:
    # At once, and without asking who is there: this was the source's address a moment ago.
    with contextlib.suppress(StmTemError):
        source.say_off().result(PART_S)
    source.open().result(PART_S)
    source.zero_and_off().result(PART_S)
    return "0 V, output off"


def _stop_probe(controller: Anc300, excuse: str) -> str:
    try:
        controller.open().result(PART_S)
    except TransportError:
        if excuse:
            return excuse
        raise
    controller.stop().result(PART_S)
    return "stopped"


def prewarm(station: Station) -> None:
    """Import now what opening the connections would import later, and load the VISA library."""
    import pyvisa
    import serial

    from . import serial_port, visa

    del serial, serial_port, visa
    loaded: Callable[[], Any] = pyvisa.ResourceManager(station.bias_source.visa_library).close
    loaded()
