"""A station, opened: instruments connected, devices by name, a RunEngine that keeps every run."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import bluesky
from bluesky import RunEngine
from bluesky.utils import FailedPause, RunEngineInterrupted

from stmtem_control.plans import without_exit

from . import __version__
from .bench_process import BenchProcess
from .clock import StationClock
from .config import Station, load_station
from .declare_rest import declare_rest
from .end_signals import on_end_signals
from .errors import InterlockError, RecordingError, StmTemError
from .page_validation import pages_checked_by_columns
from .run_folder import RunFolder, check_writable, count_rows, write_outcome
from .timeline import Timeline

if TYPE_CHECKING:
    from stmtem_control.devices import (
        BeamBlanker,
        BiasSource,
        ClockAlignment,
        FrameCamera,
        Interlocks,
        PiezoProbe,
        Trip,
    )

    from .session_dose import SessionDose


log = logging.getLogger(__name__)

ABORT_TRIES = 20
END_S = 10.0  # wall seconds that ending a plan may take before the session goes on without it


@dataclass(frozen=True)
class Outcome:
    """How a plan ended.

    `folder` is None when the plan was refused before a run began; `error` is what ended it.
    """

    folder: Path | None
    status: str
    reason: str
    safe: str
    frames: int = 0
    dropped: int = 0
    readings: int = 0
    total_dose_e_per_A2: float = 0.0
    error: BaseException | None = None

    @property
    def exit_code(self) -> int:
        """0 done; 1 ended early."""
        return 0 if self.status == "success" and self.error is None else 1

    def as_dict(self) -> dict[str, Any]:
        """Return what is kept in the run folder."""
        return {
            "status": self.status,
            "reason": self.reason,
            "safe": self.safe,
            "frames": self.frames,
            "dropped": self.dropped,
            "readings": self.readings,
            "total_dose_e_per_A2": self.total_dose_e_per_A2,
        }

    def refusal(self) -> StmTemError:
        """Return the error of a plan that never began a run."""
        if isinstance(self.error, StmTemError):
            return self.error
        return InterlockError(f"nothing was run: {self.reason or self.status}")


class Session:
    """Open a station and hold it until `close`, or until the end of a with block.

    Parameters
    ----------
    station : Station, str or Path
        A station, the name of one that comes with the package, or a station file.
    addresses : mapping, optional
        What a simulated bench that runs already prints with ``--json``; without it, a station
        with a [bench] table starts a bench of its own.

    Attributes
    ----------
    RE : bluesky.RunEngine
        Every run that it makes is kept in a folder of its own.
    bias, probe, camera, beam : ophyd devices
    clock : StationClock
    timeline : Timeline
    alignment : ClockAlignment
    dose : SessionDose
        What is in the beam, what it has had, and what it may still have.
    interlocks : Interlocks
        What has tripped, and how to clear it.

    Raises
    ------
    ConfigError, TransportError, RecordingError
        The station cannot be opened; what was open is closed again, and nothing has moved.
    """

    def __init__(
        self,
        station: Station | str | Path = "sim",
        *,
        addresses: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.station = station if isinstance(station, Station) else load_station(station)
        self.root = Path(self.station.station.data)
        check_writable(self.root)
        self._started = False
        self._ended_by: str = ""
        self._run_began = 0.0
        with contextlib.ExitStack() as opened:
            self.bench: BenchProcess | None = None
            if self.station.bench is not None and addresses is None:
                self.bench = BenchProcess(self.station.bench)
                opened.callback(self.bench.close)
                addresses = self.bench.addresses
            self.clock = StationClock(self.station.bench.speed if self.station.bench else 1.0)
            self.timeline = Timeline()
            self.bias: BiasSource
            self.probe: PiezoProbe
            self.camera: FrameCamera
            self.beam: BeamBlanker
            self.alignment: ClockAlignment
            self.dose: SessionDose
            self.interlocks: Interlocks
            self._dating: threading.Thread | None = None
            self._connect(addresses, opened)
            self.run_folder = RunFolder(
                self.root,
                station_toml=self.station.to_toml(),
                run_time=lambda moment: self.timeline.run_time(self.clock.station_time(moment)),
                marks=lambda moment: self.timeline.mark_at(self.clock.station_time(moment)),
                on_open=self._run_opened,
            )
            opened.enter_context(pages_checked_by_columns())
            self.RE = RunEngine({})
            self.RE.md.update(self.dose.metadata)
            self.dose.metadata = self.RE.md
            self.dose.busy = lambda: self.RE.state != "idle"
            self.RE.md["station"] = self.station.station.name
            self.RE.md["versions"] = {
                "stmtem-control": __version__,
                "bluesky": bluesky.__version__,
            }
            self.RE.preprocessors.append(without_exit)
            opened.callback(self._end_run_engine)
            # The record of truth comes first: if it cannot be written, nothing else is told.
            self.RE.subscribe(self.run_folder)
            self.RE.subscribe(self._run_closed, "stop")
            self.interlocks.on_trip = self.trip
            self._opened = opened.pop_all()

    def _connect(
        self,
        addresses: Mapping[str, Mapping[str, Any]] | None,
        opened: contextlib.ExitStack,
    ) -> None:
        """Open the links, make the devices, and see that the right instruments answer."""
        from .connect import connect

        attached = self.station.bench is not None and self.bench is None
        devices = connect(
            self.station, self.clock, self.timeline, addresses, opened, attached=attached
        )
        self.bias, self.probe = devices.bias, devices.probe
        self.camera, self.beam = devices.camera, devices.beam
        self.alignment, self.dose = devices.alignment, devices.dose
        self.interlocks, self._mend_links = devices.interlocks, devices.mend_links
        opened.callback(self.wait_until_complete)
        # Whatever happens from here on, closing makes the station safe first.
        opened.callback(self.safe_state)

    def _run_opened(self, folder: Path, start: dict[str, Any]) -> None:
        self._started = True
        self.wait_until_complete()
        self.alignment.begin_run()
        self.timeline.start_run(self.clock.now())
        self.dose.begin_run(start)
        self.camera.directory = folder

    def _run_closed(self, _name: str, _stop: dict[str, Any]) -> None:
        self.dose.end_run()
        folder = self.run_folder.folder
        if folder is not None and (
            self.alignment.model is not None or self.camera.undeclared or self.camera.running
        ):
            # Not here: what makes the station safe comes first, and waits for this.
            self._dating = threading.Thread(
                target=self._complete, args=(folder,), name="completing the run", daemon=True
            )
            self._dating.start()

    def _complete(self, folder: Path) -> None:
        """Declare what a closed run had no time to, and date its frames by the final model."""
        deadline = time.monotonic() + END_S
        waiting = threading.Event()  # never set: only to wait on
        while self.camera.running and time.monotonic() < deadline:
            waiting.wait(0.02)
        try:
            if self.camera.running:
                raise RecordingError(f"{folder}: frames are still being taken")
            if self.camera.undeclared:
                declare_rest(folder, self._unix_time)
            if self.alignment.model is not None:
                self.alignment.finish_run(folder)
        except StmTemError as error:
            log.error("the run is not completed, frames keep the times they had: %s", error)

    def _unix_time(self, run_time_s: float) -> float:
        return self.clock.wall_time(self.timeline.run_start + run_time_s)

    def wait_until_complete(self) -> None:
        """Wait until the last run is complete on disk: frames declared, and dated for good."""
        if self._dating is not None:
            self._dating.join()
            self._dating = None

    @property
    def devices(self) -> dict[str, Any]:
        """The devices by name."""
        devices = (self.bias, self.probe, self.camera, self.beam, self.alignment)
        return {d.name: d for d in devices}

    @property
    def specimen(self) -> str:
        """Name of the specimen in the beam; its dose is booked under it, see :attr:`dose`."""
        return self.dose.specimen

    @specimen.setter
    def specimen(self, name: str) -> None:
        self.dose.specimen = name

    @property
    def site(self) -> str:
        """Name of the site in the beam; set it when the stage has moved."""
        return self.dose.site

    @site.setter
    def site(self, name: str) -> None:
        self.dose.site = name

    def identities(self) -> str:
        """Return who the instruments say they are, in one line."""
        source = ", ".join(str(self.bias.identity.get()).split(",")[:2])
        controller = self.probe.controller.controller
        probe = "" if controller is None else controller.version[0]
        return f"{source}; {probe}; Merlin {self.camera.software_version.get()}"

    def run(self, plan: Generator[Any, Any, Any]) -> Outcome:
        """Run a plan to its end, and say how it ended.

        Ctrl-C, once or twice, SIGTERM and SIGHUP end the plan; the outcome says so.
        """
        self._started = False
        self._ended_by = ""
        self._run_began = self.clock.now()
        before = self.run_folder.folder
        error: BaseException | None = None
        with self.ended_by_signals():
            try:
                self._mend_links()
                self.RE(plan)
            except RunEngineInterrupted:
                if self.RE.state == "paused":
                    self._ended_by = self._ended_by or "Ctrl-C"
                    self._abort(self._ended_by)
                # Else RE.abort, RE.stop or RE.halt was called, or a plan raised KeyboardInterrupt.
                self._ended_by = self._ended_by or "the RunEngine was told to end the plan"
            except (FailedPause, KeyboardInterrupt) as failure:
                error, self._ended_by = failure, self._ended_by or "Ctrl-C"
            except Exception as failure:
                error = failure
            outcome = self._outcome(before, error)
        if outcome.folder is not None:
            write_outcome(outcome.folder, outcome.as_dict())
        return outcome

    def trip(self, trip: "Trip") -> None:
        """End the running plan, because an interlock has tripped; the outcome says why."""
        if trip.ends_run and self.RE.state != "idle":
            threading.Thread(
                target=self._abort, args=(trip.text,), name="interlock", daemon=True
            ).start()

    def _abort(self, reason: str) -> None:
        """Abort, and see it through even when Ctrl-C is pressed again meanwhile."""
        for _ in range(ABORT_TRIES):
            try:
                self.RE.abort(reason)
            except KeyboardInterrupt:
                continue
            except Exception:
                # Somebody else ends it already, or the plan's own clean-up failed; the safe
                # state is made once more, whatever the RunEngine says.
                return
            return

    def _outcome(self, before: Path | None, error: BaseException | None) -> Outcome:
        # A plan that a trip made fail may end before the trip is told.
        self.interlocks.wait(END_S)
        held = self.interlocks.trip
        if held is not None and held.ends_run and held.t >= self._run_began:
            error, self._ended_by = InterlockError(held.text), ""
        unsafe = [part for part in self.safe_state() if not part[1]]
        self.wait_until_complete()
        safe = (
            "bias 0 V, output off, beam blanked, probe stopped"
            if not unsafe
            else "NOT SAFE: " + "; ".join(f"{part}: {text}" for part, _, text in unsafe)
        )
        folder = self.run_folder.folder
        reason = self._ended_by or (one_line(error) if error else self.dose.limit)
        status = "aborted" if self._ended_by else ("failed" if error else "success")
        if not self._started or folder is None or folder == before:
            return Outcome(None, status, reason, safe, error=error)
        if unsafe:
            error = error or InterlockError(safe)
        return Outcome(
            folder=folder,
            status=status,
            reason=reason,
            safe=safe,
            # A disk that was pulled out cannot be asked any more.
            frames=count_rows(folder / "frames.csv") or int(self.camera.frames_written.get()),
            dropped=int(self.camera.dropped.get()),
            readings=count_rows(folder / "bias.csv"),
            total_dose_e_per_A2=float(self.camera.total_dose.get()),
            error=error,
        )

    def safe_state(self) -> list[tuple[str, bool, str]]:
        """Make the station safe, with or without the RunEngine; harmless at any time.

        Bias to 0 V and the output off, beam blanked, probe and camera stopped, in this order;
        every part is tried even if one fails.

        Returns
        -------
        list of (part, done, what happened)
        """
        report: list[tuple[str, bool, str]] = []
        for device in (self.bias, self.beam, self.probe, self.camera):
            try:
                device.stop(success=False)
                problem = getattr(device, "unsafe", None)
                report.append((device.name, problem is None, str(problem or "safe")))
            except Exception as error:
                report.append((device.name, False, one_line(error)))
        return report

    @contextlib.contextmanager
    def ended_by_signals(self, *, leave: bool = False) -> Iterator[None]:
        """Let SIGTERM and SIGHUP end the running plan as Ctrl-C would, while the block runs.

        The first signal counts; more of them change nothing while the plan is being ended.
        With no plan running, SystemExit is raised, so that the session closes and with it makes
        the station safe; with `leave`, that happens after an ended plan, too.  Outside the main
        thread signals cannot be caught, and nothing is done.
        """
        ending = threading.Event()

        def end(number: int, _frame: object) -> None:
            name = signal.Signals(number).name
            if ending.is_set() and self.RE.state != "idle":
                return
            if self.RE.state == "idle":
                if ending.is_set() and not leave:
                    return  # the plan has just ended; its outcome is being told
                raise SystemExit(f"stmtem: ended by {name}; the station was made safe")
            ending.set()
            self._ended_by = name
            # Not here: the handler runs in the thread that the RunEngine blocks.
            threading.Thread(target=abort, args=(number, name), name=name, daemon=True).start()

        def abort(number: int, name: str) -> None:
            self._abort(name)
            if leave:
                deadline = time.monotonic() + END_S
                while self.RE.state != "idle" and time.monotonic() < deadline:
                    idle.wait(0.05)
                os.kill(os.getpid(), number)

        idle = threading.Event()  # never set: only to wait on
        with on_end_signals(end):
            yield

    def _end_run_engine(self) -> None:
        # Before anything that could hang.
        self.safe_state()
        if self.RE.state != "idle":
            aborter = threading.Thread(
                target=self._abort, args=("the session was closed",), name="abort", daemon=True
            )
            aborter.start()
            aborter.join(END_S)
        self.run_folder.close()
        loop, thread = self.RE.loop, getattr(self.RE, "_th", None)
        loop.call_soon_threadsafe(loop.stop)
        if thread is not None:
            thread.join(5.0)
        if not loop.is_running():
            loop.close()

    def close(self) -> None:
        """Make the station safe and close everything; harmless when called again."""
        self._opened.close()

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the session."""
        self.close()


def one_line(error: BaseException) -> str:
    """Return what an error says, without the RunEngine's wrapping."""
    for cause in (error.__cause__, *error.args):
        if isinstance(cause, StmTemError):
            return str(cause)
    text = " ".join(str(error).split())
    return text if isinstance(error, StmTemError) else f"{type(error).__name__}: {text}"
