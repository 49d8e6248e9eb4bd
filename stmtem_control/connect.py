"""From a station file to connected devices: the one place that knows which driver goes where."""

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmtem_control.devices import Anc300, Keithley2400

from .clock import StationClock
from .config import Station
from .errors import TransportError
from .link import Link
from .mend_links import ANSWER_S, mend_links
from .station_lock import StationLock
from .station_tables import BENCH
from .timeline import Timeline
from .transport import Transport

if TYPE_CHECKING:  # ophyd and NumPy only where they are needed: the guard process is light
    from stmtem_control.devices import (
        BeamBlanker,
        BiasSource,
        ClockAlignment,
        FrameCamera,
        Interlocks,
        Merlin,
        PiezoProbe,
        SafeState,
    )

    from .session_dose import SessionDose

Addresses = Mapping[str, Mapping[str, Any]]
#: Makes the link to an instrument: from what opens it, its name, its address, and what closes it.
MakeLink = Callable[[Callable[[], Transport], str, str, contextlib.ExitStack], Link]


def _places(station: Station, addresses: Addresses | None) -> tuple[str, str, str, int, int]:
    """Return where the source, the probe, and the camera's host, control and data ports are."""
    bench = addresses or {}
    resource, port, camera = station.bias_source.resource, station.probe.port, station.camera
    host, control, data = camera.host, camera.control_port, camera.data_port
    if resource == BENCH:
        resource = str(bench["bias_source"]["resource"])
    if port == BENCH:
        port = str(bench["probe"]["serial"])
    if host == BENCH:
        place = bench["camera"]
        host, control, data = str(place["host"]), int(place["control"]), int(place["data"])
    return resource, port, host, control, data


def instrument_addresses(station: Station, addresses: Addresses | None) -> list[str]:
    """Return the addresses by which a station is locked, and found."""
    resource, port, host, control, _ = _places(station, addresses)
    return [resource, port, f"{host}:{control}"]


@dataclass(frozen=True)
class Drivers:
    """A driver for each instrument; connecting, but not yet asked who they are."""

    source: Keithley2400
    controller: Anc300
    merlin: "Merlin"

    def identify(self) -> list[tuple[str, Callable[[], str]]]:
        """Return, by role, a call that asks an instrument who it is; it raises TransportError."""

        def ask(link: Link, start: Callable[[], "Future[Any]"]) -> str:
            link.open(ANSWER_S)
            found = start().result(ANSWER_S)
            version = getattr(found, "version", None)
            return str(version[0] if version else getattr(found, "text", found))

        return [
            ("bias_source", lambda: ask(self.source.link, self.source.open)),
            ("probe", lambda: ask(self.controller.link, self.controller.open)),
            ("camera", lambda: ask(self.merlin.link, self.merlin.open)),
        ]


@dataclass(frozen=True)
class Devices:
    """The devices of a station, connected."""

    bias: "BiasSource"
    probe: "PiezoProbe"
    camera: "FrameCamera"
    beam: "BeamBlanker"
    alignment: "ClockAlignment"
    dose: "SessionDose"
    interlocks: "Interlocks"
    safe_state: "SafeState"

    def mend_links(self) -> None:
        """Open the connections that broke in an earlier run, see :func:`.mend_links`."""
        mend_links(self.bias, self.beam, self.probe, self.camera)


def _link(
    opener: Callable[[], Transport], name: str, address: str, opened: contextlib.ExitStack
) -> Link:
    made = Link(opener, name=name, address=address)
    opened.callback(made.close)
    return made


def _no_link(
    _opener: Callable[[], Transport], name: str, address: str, opened: contextlib.ExitStack
) -> Link:
    """Return a link that is broken from the start: nothing is opened, whatever is asked of it."""

    def refuse() -> Transport:
        raise TransportError(f"{name}: the station is only described here; open a session")

    return _link(refuse, name, address, opened)


def open_source(
    station: Station,
    clock: StationClock,
    addresses: Addresses | None,
    opened: contextlib.ExitStack,
    link: MakeLink = _link,
) -> Keithley2400:
    """Return a driver of the biasing source; see :func:`open_drivers`."""
    source, beam = station.bias_source, station.beam
    line_bit = 1 << (beam.line - 1)
    resource = _places(station, addresses)[0]

    def transport() -> Transport:
        from .visa import VisaTransport

        return VisaTransport(resource, library=source.visa_library, baud_rate=source.baud_rate)

    return Keithley2400(
        link(transport, "bias_source", resource, opened),
        model=source.model,
        serial_number=source.serial_number,
        now=clock.now,
        speed=clock.speed,
        line_frequency_Hz=source.line_frequency_Hz,
        # A reset sets all lines high; the beam must not open for that.
        digital_word_after_reset=15 if beam.blanked_level == "high" else 15 & ~line_bit,
        dead_man_s=source.dead_man_s,
    )


def open_controller(
    station: Station,
    addresses: Addresses | None,
    opened: contextlib.ExitStack,
    link: MakeLink = _link,
) -> Anc300:
    """Return a driver of the probe's controller; see :func:`open_drivers`."""
    probe, port = station.probe, _places(station, addresses)[1]

    def transport() -> Transport:
        from .serial_port import SerialTransport

        return SerialTransport(port)

    return Anc300(
        link(transport, "probe", port, opened), axes=probe.axes, password=probe.password or None
    )


def open_drivers(
    station: Station,
    clock: StationClock,
    addresses: Addresses | None,
    opened: contextlib.ExitStack,
    link: MakeLink = _link,
) -> Drivers:
    """Open a link to each instrument of a station; nothing is sent but what a log-in needs.

    Parameters
    ----------
    station : Station
    clock : StationClock
        Readings are stamped with its time.
    addresses : mapping, optional
        Of the simulated bench, for the instruments whose address is "bench".
    opened : ExitStack
        Closes the links.
    link : callable
        Makes each link.
    """
    from stmtem_control.devices import Merlin

    host, control, data = _places(station, addresses)[2:]

    def transport() -> Transport:
        from .tcp import TcpTransport

        return TcpTransport(host, control)

    return Drivers(
        source=open_source(station, clock, addresses, opened, link),
        controller=open_controller(station, addresses, opened, link),
        merlin=Merlin(
            link(transport, "camera", f"{host}:{control}", opened), host=host, data_port=data
        ),
    )


def _make_devices(
    station: Station, clock: StationClock, timeline: Timeline, drivers: Drivers
) -> "tuple[BiasSource, PiezoProbe, FrameCamera, BeamBlanker, ClockAlignment]":
    """Return the devices of a station on their drivers; nothing is asked of an instrument."""
    from stmtem_control.devices import (
        BeamBlanker,
        BiasSource,
        ClockAlignment,
        FrameCamera,
        PiezoProbe,
    )

    source = station.bias_source
    reading_s = drivers.source.longest_reading_s(source.nplc)
    bias = BiasSource(
        name="bias",
        labels={"motors", "detectors"},
        source=drivers.source,
        clock=clock,
        timeline=timeline,
        max_bias_V=source.max_bias_V,
        compliance_A=source.compliance_A,
        nplc=source.nplc,
    )
    probe = PiezoProbe(
        name="probe",
        labels={"motors"},
        controller=drivers.controller,
        clock=clock,
        timeline=timeline,
        axes=station.probe.axes,
        frequency_Hz=station.probe.frequency_Hz,
        amplitude_V=station.probe.amplitude_V,
        max_fine_V=station.probe.max_fine_V,
        max_steps=station.probe.max_steps,
    )
    camera = FrameCamera(
        name="camera",
        labels={"cameras"},
        merlin=drivers.merlin,
        clock=clock,
        timeline=timeline,
        pixel_size_nm=station.camera.pixel_size_nm,
        dose_rate_e_per_A2_s=station.beam.dose_rate_e_per_A2_s,
        frames_per_file=station.camera.frames_per_file,
        reading_s=reading_s,
        ring_MB=station.camera.ring_MB,
        look_back_s=station.camera.look_back_s,
        method=station.camera.method,
        compression=station.camera.compression or None,
        tiff=station.camera.tiff,
    )
    beam = BeamBlanker(
        name="beam",
        labels={"shutters"},
        source=drivers.source,
        clock=clock,
        timeline=timeline,
        line=station.beam.line,
        blanked_level=station.beam.blanked_level,
        dose_rate_e_per_A2_s=station.beam.dose_rate_e_per_A2_s,
        energy_keV=station.beam.energy_keV or 0.0,
    )
    alignment = ClockAlignment(
        name="alignment",
        camera=camera,
        clock=clock,
        timeline=timeline,
        delay_s=station.beam.delay_s,
        delay_uncertainty_s=station.beam.delay_uncertainty_s,
        rise_s=station.beam.rise_s,
    )
    camera.alignment = alignment
    return bias, probe, camera, beam, alignment


def describe(station: Station, opened: contextlib.ExitStack) -> dict[str, Any]:
    """Return the devices of a station by name, connected to nothing.

    For those who want to know what there is: their names, their parts, what can be set and read.
    No connection is opened, and none can be.

    Parameters
    ----------
    station : Station
    opened : ExitStack
        Ends the links' threads.
    """
    nowhere: Addresses = {
        "bias_source": {"resource": "nowhere"},
        "probe": {"serial": "nowhere"},
        "camera": {"host": "nowhere", "control": 0, "data": 0},
    }
    clock = StationClock()
    drivers = open_drivers(station, clock, nowhere, opened, _no_link)
    devices = _make_devices(station, clock, Timeline(), drivers)
    return {device.name: device for device in devices}


def connect(
    station: Station,
    clock: StationClock,
    timeline: Timeline,
    addresses: Addresses | None,
    opened: contextlib.ExitStack,
    *,
    attached: bool = False,
) -> Devices:
    """Connect every instrument of a station, see that it is the right one, and configure it.

    Raises
    ------
    TransportError
        An instrument does not answer, or is another than the station file names.
    InstrumentError
        An instrument refuses its settings.
    RecordingError
        The dose ledger cannot be used.
    """
    from stmtem_control.devices import Interlocks, SafeState

    from .session_dose import SessionDose
    from .station_dose import fresh_specimen

    lock = StationLock(instrument_addresses(station, addresses))
    opened.callback(lock.release)
    drivers = open_drivers(station, clock, addresses, opened)
    bias, probe, camera, beam, alignment = _make_devices(station, clock, timeline, drivers)
    for device in (bias, beam, probe, camera):
        opened.callback(device.disconnect)
        device.connect()
    opened.callback(alignment.stop)
    specimen = fresh_specimen(station, attached=attached)
    dose = SessionDose(station, clock, beam, camera, specimen=specimen, opened=opened)
    safe_state = SafeState(bias, beam, probe, camera, retract_steps=station.safe.retract_steps)
    interlocks = Interlocks(
        bias=bias,
        beam=beam,
        probe=probe,
        camera=camera,
        safe_state=safe_state,
        clock=clock,
        timeline=timeline,
        table=station.interlocks,
        reading_s=drivers.source.longest_reading_s(station.bias_source.nplc),
        data=Path(station.station.data),
    )
    opened.callback(interlocks.close)
    interlocks.start()
    dose.on_limit = lambda text: interlocks.trip_now("dose", text)
    return Devices(bias, probe, camera, beam, alignment, dose, interlocks, safe_state)
