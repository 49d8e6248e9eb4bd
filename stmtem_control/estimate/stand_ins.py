"""All that stands in for a session while a plan is walked through."""

import time
from collections.abc import Callable
from typing import Any

from stmtem_control.config import Station
from stmtem_control.dose.budgets import Phase
from stmtem_control.dose.calibration import DoseCalibration, check_age
from stmtem_control.station_dose import find_calibration

from .beam_stand_in import BeamStandIn, CameraStandIn
from .bias_stand_in import BiasStandIn, reading_s
from .latencies import Latencies
from .probe_stand_in import Circuit, ProbeStandIn
from .stand_in import DeviceStandIn
from .tally import Tally
from .walked_clock import WalkedClock


class StandIns:
    """Devices by the names that a session has for them, for the plan that is to be estimated.

    Parameters
    ----------
    station : Station
    latencies : Latencies
    home : tuple of str
        Specimen and site in the beam.
    had : callable
        Returns what a site has had before, in e/A^2.
    hard : Phase
        The phase that reaches its hard limit first.
    calibration : DoseCalibration
        Of the beam setting in use.

    Attributes
    ----------
    bias, camera, beam, probe, alignment : device stand-ins
    clock : WalkedClock
    circuit : Circuit
        What flows through probe and fibre.
    station_key : str
        All of the station file, to tell stations apart.
    detectors : dict
        Of named events; none of them is ever seen.
    tally : Tally
        What has come of the walk.
    """

    def __init__(
        self,
        station: Station,
        latencies: Latencies,
        *,
        home: tuple[str, str],
        had: Callable[[str, str], float],
        hard: Phase,
        calibration: DoseCalibration,
    ) -> None:
        self.station = station
        self.clock = WalkedClock(1.0 if station.bench is None else station.bench.speed)
        self.tally = Tally(
            self.clock,
            calibration.dose_rate_e_per_A2_s,
            station.camera.pixel_size_nm,
            home,
            had,
        )
        circuit = self.circuit = Circuit(station)
        self.station_key = station.model_dump_json()
        self.tally.siemens = circuit.series_S
        clock, tally = self.clock, self.tally
        self.bias = BiasStandIn("bias", station, clock, latencies, circuit, tally)
        self.probe = ProbeStandIn("probe", station, clock, latencies, circuit, tally)
        self.camera = CameraStandIn("camera", clock, latencies, tally, station, reading_s(station))
        self.beam = BeamStandIn(
            "beam", clock, latencies, tally, hard, lambda: self._check_age(calibration)
        )
        self.alignment = self.camera.alignment
        self.bias.sequence.trigger_s = lambda: 1.0 / self.camera.frame_rate_Hz.value
        self.bias.sequence.begun = self.camera.expect
        self.detectors: dict[str, Any] = {}
        self.plan_name = ""

    def _check_age(self, calibration: DoseCalibration) -> None:
        allow = self.station.dose.allow_stale_dose
        warning = check_age(calibration, time.time(), allow_stale=allow)
        if warning is not None:
            self.tally.warn(warning)

    def state(self) -> dict[str, Any]:
        """Return what source and probe are like, as :meth:`restore` takes it."""
        return {"bias": self.bias.state(), "probe": self.probe.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Let source and probe be as they were once."""
        self.bias.restore(state["bias"])
        self.probe.restore(state["probe"])

    def make_safe(self) -> None:
        """Come to rest, as a session does at the end of any plan; it takes what `end` is for."""
        self.bias.stop()
        self.beam.stop()
        self.camera.stop()

    @property
    def devices(self) -> dict[str, DeviceStandIn]:
        """The stand-ins by name."""
        devices = (self.bias, self.probe, self.camera, self.beam, self.alignment)
        return {device.name: device for device in devices}

    @property
    def specimen(self) -> str:
        """Name of the specimen in the beam."""
        return self.tally.specimen

    @property
    def site(self) -> str:
        """Name of the site in the beam."""
        return self.tally.site


def calibration_now(station: Station) -> DoseCalibration:
    """Return the calibration of the station's beam setting that counts now."""
    return find_calibration(station, station.beam.setting, time.time())
