"""A station, opened: instruments connected, devices by name, a RunEngine that keeps every run."""

import atexit
import contextlib
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import bluesky
from bluesky.utils import RunEngineInterrupted

from stmtem_control.plans import covered

from . import __version__
from .bench_process import BenchProcess
from .catalog_feed import CatalogFeed
from .clock import StationClock
from .config import Station, load_station
from .during_task import PollingDuringTask
from .end_signals import signals_held
from .ending import END_S, PlanEnding
from .errors import InterlockError, StmTemError
from .judge import TOLD_TO_END, Judge
from .outcome import STATUSES, Verdict
from .outcome import Outcome as Outcome
from .outcome import one_line as one_line
from .page_validation import pages_checked_by_columns
from .publish import publish_documents
from .run_completion import RunCompletion
from .run_engine import StationRunEngine
from .run_folder import RunFolder, check_writable, count_rows, write_outcome
from .timeline import Timeline
from .watch import Watch

if TYPE_CHECKING:
    from stmtem_control.devices import (
        BeamBlanker,
        BiasSource,
        ClockAlignment,
        FrameCamera,
        Interlocks,
        PiezoProbe,
        SafeState,
        Trip,
    )
    from stmtem_control.plans import Detector

    from .session_dose import SessionDose


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
    safe_state : SafeState
        Makes the station safe when it is called, with or without the RunEngine.
    watch : Watch
        Heartbeat and guard process, which make it safe if this process dies or hangs.
    catalog : CatalogFeed
        Registers the runs with a Tiled server, where the station names one.
    detectors : dict
        What sees the events that protocols wait for, by name; put yours in.
    closed : bool

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
        self.closed = False
        self.detectors: dict[str, Detector] = {}
        self._started = False
        self._before: Path | None = None  # folder of the run before the plan that runs
        self._stop: dict[str, Any] = {}  # of the last run, if it is closed
        self._closed: Path | None = None  # folder of that run
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
            self.safe_state: SafeState
            self.watch = Watch(
                self.station,
                addresses,
                bench=None if self.bench is None else self.bench.pid,
                root=self.root,
                opened=opened,
            )
            self._connect(addresses, opened)
            self.run_folder = RunFolder(
                self.root,
                station_toml=self.station.to_toml(),
                run_time=lambda moment: self.timeline.run_time(self.clock.station_time(moment)),
                marks=lambda moment: self.timeline.mark_at(self.clock.station_time(moment)),
                on_open=self._run_opened,
            )
            self.catalog = opened.enter_context(CatalogFeed(self.station.catalog, self.root))
            opened.enter_context(pages_checked_by_columns())
            self.ending = PlanEnding(self.safe_state)
            self._judge = Judge(self.ending, self.interlocks, self.dose)
            self.RE = self.ending.RE = StationRunEngine(
                {},
                resume_failed=self.ending.resume_failed,
                judge=self._judge.run,
                preprocessors=[self._cover],
                context_managers=[self._kept, self.ending.interrupts],
                during_task=PollingDuringTask(self.ending.run_engine_lives),
            )
            self.RE.md.update(self.dose.metadata)
            self.dose.metadata = self.RE.md
            self.dose.busy = lambda: self.RE.state != "idle"
            self.RE.md["station"] = self.station.station.name
            self.RE.md["versions"] = {
                "stmtem-control": __version__,
                "bluesky": bluesky.__version__,
            }
            opened.callback(self._end_run_engine)
            self.watch.begin(self.RE, self.safe_state, self.ending, self.timeline, opened)
            self.bias.alive = self.watch.alive  # a hold is renewed by the same judgement
            self.bias.on_lapse = lambda why: self.trip(f"{self.bias.name}: {why}")
            # The record of truth comes first: if it cannot be written, nothing else is told.
            self.RE.subscribe(self.run_folder)
            self.RE.subscribe(self._completion)
            self.RE.subscribe(self._run_closed, "stop")
            self.publisher = publish_documents(
                self.station.publish, self.RE, lambda t: self.dose.tell(t), opened
            )
            self.interlocks.on_trip = self._tripped
            self._opened = opened.pop_all()
        # For scripts without a with block.
        atexit.register(self.close)

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
        self._completion = RunCompletion(self.camera, self.alignment, self._unix_time)
        opened.callback(self.wait_until_complete)
        self.safe_state = self.bias.safe_state = devices.safe_state
        # Whatever happens from here on, closing makes the station safe first.
        opened.callback(self.safe_state.make_safe, "the session is closed")

    def _run_opened(self, folder: Path, start: dict[str, Any]) -> None:
        self.wait_until_complete()
        if self._started and self._stop and self._closed is not None:
            # The plan's end will be told in the folder of its last run.
            self._keep_earlier(self._closed)
        self._started, self._stop = True, {}
        self.alignment.begin_run()
        self.timeline.start_run(self.clock.now())
        self.dose.begin_run(start)
        self.camera.directory = folder
        self.watch.run_folder(folder)

    def _run_closed(self, _name: str, stop: dict[str, Any]) -> None:
        self._stop = stop
        self.dose.end_run()
        self._closed = self.run_folder.folder
        if self._closed is not None:
            self._completion.begin(self._closed)

    def _unix_time(self, run_time_s: float) -> float:
        return self.clock.wall_time(self.timeline.run_start + run_time_s)

    def wait_until_complete(self) -> None:
        """Wait until the last run is complete on disk: frames declared, and dated for good."""
        self._completion.wait()

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

        Ctrl-C, SIGTERM, SIGHUP and :meth:`trip` end the plan; the outcome says so.
        """
        self._begin()
        error: BaseException | None = None
        ending = self.ending
        ending.begin()
        ending.to_the_end = True
        try:
            with ending.by_signals(), ending.interrupts(self.RE):
                try:
                    self._mend_links()
                    ending.go(plan)
                except RunEngineInterrupted:
                    if self.RE.state == "paused":
                        ending.reason = ending.reason or "paused by the plan"
                        ending.abort(ending.reason)
                    elif not self.RE.told_to_end:
                        ending.reason = ending.reason or TOLD_TO_END
                except (Exception, KeyboardInterrupt) as failure:
                    error = failure
                outcome = self._outcome(error)
                if outcome.folder is not None:
                    write_outcome(outcome.folder, outcome.as_dict())
        finally:
            ending.to_the_end = False
        return outcome

    def _begin(self) -> None:
        """Note that a plan begins."""
        self._started, self._stop = False, {}
        self._judge.began = self.clock.now()
        self._before = self.run_folder.folder

    @contextlib.contextmanager
    def _kept(self, _engine: StationRunEngine) -> Iterator[None]:
        """Keep how a plan at the prompt ended, in its run folder; :meth:`run` does it for its own.

        A context manager of the RunEngine: entered when a plan begins, is resumed, or is ended.
        """
        error: BaseException | None = None
        try:
            yield
        except BaseException as failure:
            error = failure
            raise
        finally:
            if not self.ending.to_the_end and self.RE.state == "idle":
                outcome = self._outcome(error)
                self.ending.told = outcome.reason
                if outcome.folder is not None:
                    write_outcome(outcome.folder, outcome.as_dict())

    def _outcome(self, error: BaseException | None) -> Outcome:
        # A plan that a trip made fail may end before the trip is told.
        self.interlocks.wait(END_S)
        # Who asks from here on comes too late: the plan has ended.
        verdict = self._judge.plan(error)
        # Files may have failed when they were closed, after the plan's last look.
        failure = self.camera.failure() if verdict.error is None else None
        if failure is not None:
            verdict = verdict._replace(error=failure)
            if verdict.status == "success":
                verdict = Verdict("failed", one_line(failure), failure)
        status, reason, error, by_person = verdict.beside(self._stop)
        # At its end, or when a person wanted it to end, the contact is kept.
        retract = bool(reason) and not by_person
        report = self.safe_state.make_safe(reason or "the plan is done", retract=retract)
        self.wait_until_complete()
        report = self.watch.settled(report)
        folder = self.run_folder.folder
        if not self._started or folder is None or folder == self._before:
            return Outcome(None, status, reason, report.line(), error=error)
        if not report.ok:
            error = error or InterlockError(report.line())
        return self._of_run(folder, Verdict(status, reason, error), report.line())

    def _keep_earlier(self, folder: Path) -> None:
        """Keep how a run ended after which its plan went on with another one."""
        status, reason = STATUSES[self._stop["exit_status"]], self._stop.get("reason", "")
        outcome = self._of_run(folder, Verdict(status, reason), "the plan went on with another run")
        write_outcome(folder, outcome.as_dict())

    def _of_run(self, folder: Path, verdict: Verdict, safe: str) -> Outcome:
        return Outcome(
            folder=folder,
            status=verdict.status,
            reason=verdict.reason,
            safe=safe,
            # A disk that was pulled out cannot be asked any more.
            frames=count_rows(folder / "frames.csv") or int(self.camera.frames_written.get()),
            dropped=int(self.camera.dropped.get()),
            readings=count_rows(folder / "bias.csv"),
            total_dose_e_per_A2=float(self.camera.total_dose.get()),
            error=verdict.error,
        )

    def trip(self, reason: object) -> None:
        """End the running plan for a reason, which its outcome then gives; from any thread.

        Nothing is waited for.  It does not make safe by itself: the plan's end does.
        """
        self.ending.trip(str(reason))

    def _tripped(self, trip: "Trip") -> None:
        if trip.ends_run:
            self.trip(trip.text)

    def _cover(self, plan: Any) -> Any:
        """Preprocess any plan, see :func:`.covered`."""
        if not self.ending.to_the_end:
            self.ending.begin()
            self._begin()
            try:
                self._mend_links()
            except StmTemError as error:  # whoever needs it fails; another plan must not
                print(f"stmtem: {error}", file=sys.stderr, flush=True)
        return covered(plan, self.safe_state, self.watch.why_not_go_on)

    def ended_by_signals(self, *, leave: bool = False) -> AbstractContextManager[None]:
        """Let SIGTERM and SIGHUP end the running plan, see :meth:`.PlanEnding.by_signals`."""
        return self.ending.by_signals(leave=leave)

    def _end_run_engine(self) -> None:
        # Before anything that could hang.
        self.safe_state.make_safe("the session is closed")
        self.ending.end_plan("the session was closed")
        self.run_folder.close()
        self.ending.end_run_engine()

    def close(self) -> None:
        """Make the station safe and close everything; harmless when called again.

        Ctrl-C, SIGTERM and SIGHUP meanwhile count when all is closed.
        """
        atexit.unregister(self.close)
        self.closed = True
        with signals_held():
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
