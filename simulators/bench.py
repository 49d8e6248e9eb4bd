"""The simulated bench: one specimen, one clock, three instruments, and the wires between them."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Self

from .bias_source import SourceMeter
from .black_box import BEAM, BIAS, OUTPUT, PROBE, BlackBox
from .camera import MerlinCamera
from .clock import Clock, WallClock
from .fault import Fault
from .fault_board import FaultBoard, FaultEvent, LiveFault, Undo
from .fault_kinds import SERVERS
from .fault_readings import Spoiler
from .fault_states import begin
from .fault_tap import Tap
from .lines import wire
from .optics import Optics
from .probe import ProbeController
from .server import LOOPBACK, PtyEndpoint, Talker, TcpEndpoint
from .specimen import Specimen
from .truth_log import TruthLog

PASSWORD = "123456"  # the one the probe controller leaves the factory with
SIZES = (256, 512, 1024, 2048)
MODELS = ("2400", "2450", "6430")


@dataclass(frozen=True)
class Addresses:
    """Where the instruments of a bench listen; ready to be printed as JSON."""

    bias_source: dict[str, Any]
    probe: dict[str, Any]
    camera: dict[str, Any]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return plain dictionaries."""
        return asdict(self)


class Bench:
    """All simulated instruments around one specimen, each on its real wire.

    Parameters
    ----------
    preset : str
        Preset of the kinetic model.
    seed : int
        Fixes everything random: two benches with the same seed that get the same commands at the
        same simulated times are identical.
    speed : float
        Simulated seconds in one second of wall time.
    model : {"6430", "2400", "2450"}
        What the biasing source says it is.
    size : {256, 512, 1024, 2048}
        Edge of the camera's image in pixels; the field of view stays the same.
    clock : Clock, optional
        Another clock, for instance one advanced by hand; `speed` is then ignored.
    bias_source_port, probe_port, control_port, data_port : int
        TCP ports on the loopback address; 0 takes free ones.
    camera_clock_offset_s, camera_clock_drift, camera_loss : float
        What is wrong with the camera's clock and its link, see :class:`.camera.MerlinCamera`.
    truth : path, optional
        File for the ground truth of every frame; see :class:`.truth_log.TruthLog`.
    faults : iterable of Fault or str
        Injected at the start, in this order.

    Raises
    ------
    ValueError
        An unknown preset, model or size, a speed that is not positive, or a fault that there is
        not.
    OSError
        A port is taken, or the file of the ground truth cannot be written.

    Notes
    -----
    Wired as on a real station: line 1 of the source's digital port blanks the beam (high:
    blanked), trigger link output 2 of the source triggers the camera, and the camera's shutter
    output is trigger link input 1 of the source.
    """

    def __init__(
        self,
        *,
        preset: str = "fig2",
        seed: int = 1,
        speed: float = 1.0,
        model: str = "6430",
        size: int = 512,
        clock: Clock | None = None,
        bias_source_port: int = 0,
        probe_port: int = 0,
        control_port: int = 0,
        data_port: int = 0,
        camera_clock_offset_s: float = 0.0,
        camera_clock_drift: float = 0.0,
        camera_loss: float = 0.0,
        truth: str | os.PathLike[str] | None = None,
        faults: Iterable[Fault | str] = (),
    ) -> None:
        if size not in SIZES:
            raise ValueError(f"image size is {size}; choose one of {', '.join(map(str, SIZES))}")
        self.clock: Clock = WallClock(speed) if clock is None else clock
        with contextlib.ExitStack() as made:
            made.callback(self.clock.close)
            self.specimen = Specimen(self.clock, preset=preset, seed=seed)
            if truth is not None:
                self.specimen.truth = TruthLog(truth)
                made.callback(self.specimen.truth.close)
            self.source = SourceMeter(self.clock, self.specimen, model=model, seed=seed)
            made.callback(self.source.close)
            self.probe = ProbeController(self.clock, self.specimen, password=PASSWORD, seed=seed)
            made.callback(self.probe.close)
            self.camera = MerlinCamera(
                self.clock,
                self.specimen,
                size=size,
                seed=seed,
                clock_offset_s=camera_clock_offset_s,
                clock_drift=camera_clock_drift,
                loss=camera_loss,
            )
            made.callback(self.camera.close)
            self.specimen.before_looking = self.probe.settle
            wire(self.source.digital_out[0], self.specimen.blank)
            wire(self.source.trigger_out[1], self.camera.trigger_in)
            wire(self.camera.trigger_out, self.source.trigger_in[0])
            self._board = FaultBoard(self.clock, seed, self._begin, self._watch)
            self.taps: dict[str, list[Tap]] = {server: [] for server in SERVERS}
            self.source_tcp = self._tcp("bias_source", self.source, bias_source_port, made)
            self.source_pty = self._pty("bias_source", self.source, made)
            self.probe_tcp = self._tcp("probe", self.probe.network, probe_port, made)
            self.probe_pty = self._pty("probe", self.probe.console, made)
            self.camera_control = self._tcp("camera", self.camera.control, control_port, made)
            self.camera_data = self._tcp("camera_data", self.camera.data, data_port, made)
            made.callback(self.clear_faults)
            self.black_box = BlackBox(self.clock)
            self.source.core.output.on_change = self._note_source
            self.specimen.on_blank = lambda blanked: self.black_box.note(BEAM, not blanked)
            self.probe.on_motion = lambda moving: self.black_box.note(PROBE, moving)
            self._note_source()
            self.black_box.note(BEAM, not self.specimen.blanked)
            self.black_box.note(PROBE, False)
            core = self.source.core
            core.meter.spoil = Spoiler(self._board, self.taps["bias_source"][0], core.settings)
            # First of all wake who waits for a time, or the endpoints wait for them.
            made.callback(self.clock.close)
            for fault in faults:
                self.inject(fault)
            self._made = made.pop_all()

    def _tap(self, where: str, talker: Talker) -> Tap:
        tap = Tap(where, talker, self.clock, self._board)
        self.taps[where].append(tap)
        return tap

    def _tcp(
        self, where: str, talker: Talker, port: int, made: contextlib.ExitStack
    ) -> TcpEndpoint:
        tap = self._tap(where, talker)
        tap.endpoint = TcpEndpoint(tap, port)
        made.callback(tap.endpoint.close)
        return tap.endpoint

    def _pty(self, where: str, talker: Talker, made: contextlib.ExitStack) -> PtyEndpoint:
        endpoint = PtyEndpoint(self._tap(where, talker))
        made.callback(endpoint.close)
        return endpoint

    def _note_source(self) -> None:
        self.black_box.note(BIAS, self.source.level)
        self.black_box.note(OUTPUT, self.source.output_on)

    # -- the column -------------------------------------------------------------------------

    def turn(self, mode: str, value: float | None = None) -> None:
        """Turn the column to another mode, as a person does by hand: no wire can.

        Parameters
        ----------
        mode : {"imaging", "survey", "diffraction"}
            What the camera shows from now on; see :class:`.optics.Optics`.
        value : float, optional
            Of the survey its field of view in nm, of diffraction the camera length in m.

        Raises
        ------
        ValueError
            There is no such mode, or no such value of it.
        """
        self.specimen.turn(Optics.turned(mode, value))

    # -- faults -----------------------------------------------------------------------------

    def _begin(self, live: LiveFault) -> Undo:
        return begin(self, live)

    def _watch(self, server: str, watched: bool) -> None:
        for tap in self.taps[server]:
            tap.watch(watched)

    def inject(self, fault: Fault | str) -> None:
        """Let a fault wait for its time and its exchange; it strikes at once if it has neither.

        Parameters
        ----------
        fault : Fault or str
            The fault, or its text; see :meth:`.fault.Fault.parse`.

        Raises
        ------
        ConfigError
            The text cannot be read, or there is no such fault.
        """
        self._board.inject(Fault.parse(fault) if isinstance(fault, str) else fault)

    def clear_faults(self) -> None:
        """End all faults that last, and forget all that wait; what they did stays done."""
        self._board.clear()
        for taps in self.taps.values():
            for tap in taps:
                tap.disarm()

    @property
    def fault_log(self) -> tuple[FaultEvent, ...]:
        """What struck, when, at which exchange and message; and when what lasts was over."""
        return self._board.log

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults that may still strike, and the states that last."""
        return self._board.faults

    def exchanges(self, where: str) -> int:
        """Return how many messages a server has received since the bench was made."""
        return sum(tap.messages for tap in self.taps[where])

    @property
    def addresses(self) -> Addresses:
        """Where to attach."""
        return Addresses(
            bias_source={
                "resource": f"TCPIP::{LOOPBACK}::{self.source_tcp.port}::SOCKET",
                "serial": self.source_pty.path,
            },
            probe={
                "serial": self.probe_pty.path,
                "host": LOOPBACK,
                "port": self.probe_tcp.port,
                "password": PASSWORD,
            },
            camera={
                "host": LOOPBACK,
                "control": self.camera_control.port,
                "data": self.camera_data.port,
            },
        )

    def safe(self) -> dict[str, bool]:
        """Tell, from the instruments themselves, what of the safe state holds."""
        return {
            BIAS: self.source.level == 0.0,
            OUTPUT: not self.source.output_on,
            BEAM: self.specimen.blanked,
            PROBE: not self.probe.moving,
        }

    def close(self) -> None:
        """End every server and thread; harmless when called again.

        Raises
        ------
        RuntimeError
            Something in the bench itself failed while it ran.
        """
        self._made.close()
        failure = getattr(self.clock, "failure", None)
        if failure is not None:
            raise RuntimeError(f"the simulated bench failed: {failure}") from failure

    def __enter__(self) -> Self:
        """Return the bench."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bench."""
        self.close()
