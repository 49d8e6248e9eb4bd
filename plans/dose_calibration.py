"""Measure the dose rate of the open beam from frames without specimen."""

import math
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.protocols import Flyable, Movable

from stmtem_control.errors import LimitError

from .frames import declare_frames, with_frames
from .limits import check_count, check_number, check_roles
from .roles import Plan
from .safety import safe
from .stubs import announce_exposure, mark, watch

VACUUM = "vacuum"  # the specimen under which the ledger books what hits none
LEAST_FRAMES, MOST_FRAMES = 5, 100_000


def dose_calibration(
    bias: Movable,
    camera: Flyable,
    beam: Movable,
    *,
    setting: str = "",
    frames: int = 40,
    dark_frames: int = 10,
    frame_rate_Hz: float = 10.0,
    exposure_s: float = 0.05,
    counts_per_electron: float = 1.0,
    gain_uncertainty: float = 0.05,
    dead_time_s: float = 0.0,
    pixel_size_uncertainty: float = 0.02,
    left: int = 0,
    top: int = 0,
    width: int = 0,
    height: int = 0,
    magnification: float = 0.0,
    spot: str = "",
    by: str = "",
    md: dict[str, Any] | None = None,
) -> Plan:
    """Measure the dose rate in vacuum: dark, lit and dark frames, at 0 V.

    The calibration is written into the station's calibration file, with its date and uncertainty,
    and holds from then on.  Move the specimen out of the beam first.  Where that cannot be, give
    a region of the image that is vacuum: then the dose is booked on the site in the beam.

    Parameters
    ----------
    bias, camera, beam : device
        The biasing source, which stays at 0 V, the frame camera, the beam blanker.
    setting : str
        Name of the beam setting that is measured, for example "low"; empty: the one in use.
    frames, dark_frames : int
        Frames with the beam, and without before it and again after it; at least 5 of each.
    frame_rate_Hz, exposure_s : float
        Of the camera.
    counts_per_electron : float
        Counts that one electron makes in the detector, at its threshold.
    gain_uncertainty, pixel_size_uncertainty : float
        Relative 95 % half widths of it, and of the pixel size.
    dead_time_s : float
        Of a pixel after an electron, in s; 0: coincidence is not corrected.
    left, top, width, height : int
        Region of the image that is vacuum, in pixels; without width and height all of it.
    magnification : float
        Of the microscope, to be noted; 0 for none.
    spot, by : str
        Spot size and apertures, and who measures, to be noted.
    md : dict, optional
        Metadata for the start document.

    Raises
    ------
    LimitError
        A parameter is outside what the station or the method allows; nothing has moved.
    InstrumentError
        The frames do not tell a dose rate; the message says why, and nothing was written.
    """
    check_roles(bias=bias, camera=camera, beam=beam)
    source: Any = bias  # Bluesky's protocols are what a queue understands
    blanker: Any = beam
    detector: Any = camera
    check_count("frames", frames, LEAST_FRAMES, MOST_FRAMES)
    check_count("dark_frames", dark_frames, LEAST_FRAMES, MOST_FRAMES)
    for name, count in (("left", left), ("top", top), ("width", width), ("height", height)):
        check_count(name, count, 0)
    for name, value in (
        ("counts_per_electron", counts_per_electron),
        ("frame_rate_Hz", frame_rate_Hz),
        ("exposure_s", exposure_s),
    ):
        if check_number(name, value) <= 0.0:
            raise LimitError(f"{name} is {value:g}; give a positive number")
    for name, value in (
        ("gain_uncertainty", gain_uncertainty),
        ("pixel_size_uncertainty", pixel_size_uncertainty),
        ("dead_time_s", dead_time_s),
        ("magnification", magnification),
    ):
        if check_number(name, value) < 0.0:
            raise LimitError(f"{name} is {value:g}; give 0 or a positive number")
    detector.check_timing(exposure_s=exposure_s, frame_rate_Hz=frame_rate_Hz)
    start = {
        "plan_name": "dose_calibration",
        "plan_args": {
            "setting": setting, "frames": frames, "dark_frames": dark_frames,
            "frame_rate_Hz": frame_rate_Hz, "exposure_s": exposure_s,
            "counts_per_electron": counts_per_electron, "gain_uncertainty": gain_uncertainty,
            "dead_time_s": dead_time_s, "pixel_size_uncertainty": pixel_size_uncertainty,
            "left": left, "top": top, "width": width, "height": height,
            "magnification": magnification, "spot": spot, "by": by,
        },
        **(md or {}),
    }  # fmt: skip
    if not (left or top or width or height):
        start["sample"], start["site"] = VACUUM, setting or "the setting in use"

    def series() -> Plan:
        yield from mark(detector, "dark", 0)
        yield from watch(source, detector, dark_frames / frame_rate_Hz)
        yield from bps.mv(beam, "open")
        yield from mark(detector, "lit", 0)
        yield from watch(source, detector, frames / frame_rate_Hz)
        yield from bps.mv(beam, "blanked")
        yield from mark(detector, "dark", 0)
        yield from watch(source, detector, dark_frames / frame_rate_Hz)

    def body() -> Plan:
        yield from declare_frames(detector)
        yield from with_frames(source, detector, beam, series, lit=False)
        blanker.calibrate(
            detector.directory,
            setting=setting,
            counts_per_electron=counts_per_electron,
            gain_uncertainty=gain_uncertainty,
            dead_time_s=dead_time_s,
            pixel_size_nm=float(detector.pixel_size_nm.get()),
            pixel_size_uncertainty=pixel_size_uncertainty,
            region=(left, top, width, height),
            by=by,
            magnification=magnification or math.nan,
            spot=spot,
        )
        yield Msg("create", None, name="dose_calibration")
        yield Msg("read", blanker.dose_rate)
        yield Msg("save")

    def settings() -> Plan:
        yield from bps.configure(
            detector, {"exposure_s": exposure_s, "frame_rate_Hz": frame_rate_Hz}
        )
        return (yield from bpp.run_wrapper(body(), md=start))

    blanker.calibrating = True
    try:
        yield from announce_exposure(beam, frames / frame_rate_Hz, start)
        staged = bpp.stage_wrapper(settings(), [bias, beam, camera])
        return (yield from safe(staged, bias, beam, camera))
    finally:
        blanker.calibrating = False
