"""The leak of holder and cables: measured with the probe away, and subtracted later."""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.protocols import Movable, Readable

from stmtem_control.errors import ApproachError, LimitError

from .current import Sample, read_current, steady_current
from .legs import leg
from .limits import check_count, check_number, check_roles
from .notes import Fact, Notes
from .retraction import AWAY_STEPS, back_off, check_travel
from .roles import Plan
from .safety import safe
from .stubs import set_bias

PROBING_V = 0.5  # at this bias it is seen whether the current depends on the probe
MOST_LEVELS = 50
LEAST_READINGS, MOST_READINGS = 4, 10_000  # at a level
SETTLE_S = 0.1  # after a bias step: the cable's charge dies away
# Holders for biasing are published with 36 GOhm to 1 TOhm; less is a contact, or dirt.
LEAST_GOHM = 10.0

SUMMARY = {
    "leak_S": Fact(0.0, "S", "Conductance of holder and cables."),
    "leak_std_S": Fact(0.0, "S", "Its standard deviation."),
    "offset_A": Fact(0.0, "A", "Current at 0 V."),
    "offset_std_A": Fact(0.0, "A", "Its standard deviation."),
    "noise_A": Fact(0.0, "A", "Standard deviation of one reading."),
    "misfit_A": Fact(0.0, "A", "Largest distance of a level's current from the straight line."),
    "levels": Fact(0, "", "Levels of the bias that were measured."),
    "readings": Fact(0, "", "Readings at each of them."),
    "max_V": Fact(0.0, "V", "Highest level, of both signs."),
    "measured_at": Fact(0.0, "s", "When, Unix time."),
}


class BaselineSettings(NamedTuple):
    """How a leak is measured, see :func:`leakage_baseline`.

    Attributes
    ----------
    max_V : float
        Highest level in V; levels of both signs are measured.
    levels, readings : int
        Levels of each sign, and readings at each.
    longest_s : float
        Longest time to wait at a level until the current has come to rest, in s of station time.
    """

    max_V: float = 5.0
    levels: int = 2
    readings: int = 16
    longest_s: float = 10.0


DEFAULTS = BaselineSettings()


class Leak(NamedTuple):
    """What flows without a contact: a straight line through an offset, with errors.

    Attributes
    ----------
    conductance, conductance_std : float
        In S.
    offset_A, offset_std_A : float
    noise_A : float
        Standard deviation of one reading.
    measured_at : float
        Unix time in s.
    """

    conductance: float
    conductance_std: float
    offset_A: float
    offset_std_A: float
    noise_A: float
    measured_at: float

    def current_A(self, volts: float) -> float:
        """Return the leak in A at a bias."""
        return self.offset_A + self.conductance * volts

    def std_A(self, volts: float) -> float:
        """Return the standard deviation of that, in A."""
        return math.hypot(self.offset_std_A, self.conductance_std * volts)


def leak_of(bias: Any) -> Leak | None:
    """Return what the last `leakage_baseline` found, or None when there was none."""
    known = bias.baseline
    if not known.measured_at.get():
        return None
    return Leak(
        float(bias.leak.get()),
        float(known.leak_std.get()),
        float(known.offset.get()),
        float(known.offset_std.get()),
        float(known.noise.get()),
        float(known.measured_at.get()),
    )


def leak_metadata(bias: Any) -> dict[str, Any]:
    """Return the leak for a start document, with its date and age; empty when none is known."""
    leak = leak_of(bias)
    if leak is None:
        return {}
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(leak.measured_at))
    return {
        "leakage_baseline": {
            "leak_S": leak.conductance,
            "leak_std_S": leak.conductance_std,
            "offset_A": leak.offset_A,
            "offset_std_A": leak.offset_std_A,
            "noise_A": leak.noise_A,
            "measured": date,
            "age_s": round(time.time() - leak.measured_at, 3),
        }
    }


def fit_line(volts: Sequence[float], samples: Sequence[Sample]) -> tuple[Leak, float]:
    """Return the straight line through the samples, and the largest distance from it (A).

    Weighted least squares; the weights are the samples' own errors.  Where the points scatter more
    than these say, the errors of the line are widened by the square root of the reduced chi^2.
    """
    noise = max(1e-18, math.sqrt(sum(s.noise_A**2 for s in samples) / len(samples)))
    errors = [max(noise / math.sqrt(s.readings), 1e-18) for s in samples]
    weights = [1.0 / error**2 for error in errors]
    total = sum(weights)
    mean_V = sum(w * v for w, v in zip(weights, volts, strict=True)) / total
    mean_A = sum(w * s.current_A for w, s in zip(weights, samples, strict=True)) / total
    spread = sum(w * (v - mean_V) ** 2 for w, v in zip(weights, volts, strict=True))
    slope = (
        sum(
            w * (v - mean_V) * (s.current_A - mean_A)
            for w, v, s in zip(weights, volts, samples, strict=True)
        )
        / spread
    )
    offset = mean_A - slope * mean_V
    off = [s.current_A - offset - slope * v for v, s in zip(volts, samples, strict=True)]
    freedom = len(samples) - 2
    chi2 = sum((o / e) ** 2 for o, e in zip(off, errors, strict=True))
    widen = max(1.0, math.sqrt(chi2 / freedom)) if freedom > 0 else 1.0
    slope_std = widen / math.sqrt(spread)
    offset_std = widen * math.sqrt(1.0 / total + mean_V**2 / spread)
    leak = Leak(slope, slope_std, offset, offset_std, noise, time.time())
    return leak, max(abs(o) for o in off)


def leakage_baseline(
    bias: Movable,
    beam: Movable,
    *,
    probe: Readable | None = None,
    max_V: float = DEFAULTS.max_V,
    levels: int = DEFAULTS.levels,
    readings: int = DEFAULTS.readings,
    longest_s: float = DEFAULTS.longest_s,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Measure what flows without a contact, at 0 V and at levels of both signs, beam blanked.

    Currents of lithium are as small as the leak of the best holders.  At each level the charge of
    the cables is waited out, then readings are taken; a straight line gives the leak's conductance
    and the offset of the meter.  `approach_contact` subtracts them, and later runs carry them in
    their metadata.

    With a probe, it is taken back a little at first, and a current that falls as it goes back
    is a contact, not a leak: then nothing is measured.

    Parameters
    ----------
    bias, beam : device
        The biasing source, the beam blanker.
    probe : device, optional
        The piezo probe; without it, it must be away from the fibre already.
    max_V : float
        Highest level in V; levels of both signs are measured.
    levels : int
        How many of each sign, evenly from 0 V.
    readings : int
        At each level, and in each look whether the current has come to rest.
    longest_s : float
        Longest time to wait for that at a level, in s of station time.
    md : dict, optional
        Metadata for the start document.

    Returns
    -------
    dict
        What stands in the event of stream "leak": `leak_S`, `offset_A`, `noise_A`, ...

    Raises
    ------
    LimitError
        A parameter is outside what the station allows; nothing has moved.
    ApproachError
        The probe is in contact, or the insulation is broken; the bias of `bias.leak` is as before.
    """
    check_roles(bias=bias, beam=beam, probe=probe)
    source: Any = bias
    settings = BaselineSettings(max_V, levels, readings, longest_s)
    check_baseline(source, probe, settings)

    def body() -> Plan:
        # Not all of Bluesky's wrappers hand on what a plan returns.
        found.update((yield from measure_leak(source, probe, settings)))

    start = {"plan_name": "leakage_baseline", "plan_args": settings._asdict(), **(md or {})}
    found: dict[str, Any] = {}
    staged = bpp.stage_wrapper(bpp.run_wrapper(body(), md=start), [bias, beam])
    yield from safe(staged, bias, beam, probe=probe)
    return found


def check_baseline(source: Any, probe: Any, settings: BaselineSettings) -> None:
    """Raise LimitError for what the station does not allow of a baseline."""
    max_V, levels, readings, longest_s = settings
    if check_number("leakage_baseline: max_V", max_V) <= 0.0:
        raise LimitError(f"leakage_baseline: max_V is {max_V:g}; give a positive bias in volts")
    for volts in (max_V, -max_V):
        source.check_value(volts)
    check_count("leakage_baseline: levels", levels, 1, MOST_LEVELS)
    check_count("leakage_baseline: readings", readings, LEAST_READINGS, MOST_READINGS)
    if check_number("leakage_baseline: longest_s", longest_s) <= 0.0:
        raise LimitError(f"leakage_baseline: longest_s is {longest_s:g}; give a time in seconds")
    if probe is not None:
        check_travel(probe, -AWAY_STEPS)


def measure_leak(source: Any, probe: Any, settings: BaselineSettings) -> Plan:
    """Inside a run, beam blanked: measure the leak; see :func:`leakage_baseline`.

    The bias is at 0 V at the end.

    Returns
    -------
    dict
        What stands in the event of stream "leak".
    """
    return (
        yield from leg(
            "leakage_baseline",
            source,
            {**settings._asdict(), "probe": probe is not None},
            lambda: _measured_leak(source, probe, settings),
        )
    )


def _measured_leak(source: Any, probe: Any, settings: BaselineSettings) -> Plan:
    max_V, levels, readings, longest_s = settings
    others = () if probe is None else (probe,)
    yield from _refuse_contact(source, probe, readings)
    steps = [k * max_V / levels for k in range(1, levels + 1)]
    volts = [0.0, *(sign * step for step in steps for sign in (1.0, -1.0)), 0.0]
    samples: list[Sample] = []
    for level in volts:
        yield from set_bias(source, level)
        yield from source.clock.sleep(SETTLE_S)
        samples.append(
            (
                yield from steady_current(
                    source, readings, *others, stream="leakage", longest_s=longest_s
                )
            )
        )
    yield from set_bias(source, 0.0)
    leak, misfit = fit_line(volts, samples)
    _refuse_conductance(leak.conductance)
    summary = Notes("leakage", SUMMARY)
    summary.write(
        leak_S=leak.conductance, leak_std_S=leak.conductance_std,
        offset_A=leak.offset_A, offset_std_A=leak.offset_std_A,
        noise_A=leak.noise_A, misfit_A=misfit, levels=len(volts), readings=readings,
        max_V=max_V, measured_at=leak.measured_at,
    )  # fmt: skip
    yield from keep_leak(source, leak)
    yield Msg("create", None, name="leak")
    yield Msg("read", source)
    yield Msg("read", summary)
    yield Msg("save")
    return summary.as_dict()


def keep_leak(source: Any, leak: Leak) -> Plan:
    """Leave what was found with the source, where later runs find it."""
    known = source.baseline
    for signal, value in (
        (source.leak, leak.conductance),
        (known.leak_std, leak.conductance_std),
        (known.offset, leak.offset_A),
        (known.offset_std, leak.offset_std_A),
        (known.noise, leak.noise_A),
        (known.measured_at, leak.measured_at),
    ):
        yield Msg("set", signal, value, group="leak")
    yield Msg("wait", None, group="leak")


def _refuse_contact(source: Any, probe: Any, readings: int) -> Plan:
    """Take the probe away a little, and see that the current does not care."""
    others = () if probe is None else (probe,)
    yield from set_bias(source, PROBING_V)
    yield from source.clock.sleep(SETTLE_S)
    here: Sample = yield from read_current(source, readings, *others, stream="leakage")
    if here.limited:
        _refuse_conductance(math.inf)
    if probe is None:
        _refuse_conductance(here.current_A / PROBING_V)
        return
    yield Msg("stop", source)
    yield from back_off(probe, AWAY_STEPS)
    yield from set_bias(source, PROBING_V)
    yield from source.clock.sleep(SETTLE_S)
    away: Sample = yield from steady_current(source, readings, *others, stream="leakage")
    fell = abs(here.current_A) - abs(away.current_A)
    if fell > max(5.0 * math.hypot(here.std_A, away.std_A), 0.3 * abs(here.current_A), 1e-12):
        raise ApproachError(
            f"leakage_baseline: the current fell from {here.current_A:.2e} A to "
            f"{away.current_A:.2e} A as the probe went back: it was in contact; retract it, and "
            "measure again"
        )
    _refuse_conductance(away.current_A / PROBING_V)


def _refuse_conductance(siemens: float) -> None:
    if abs(siemens) > 1e-9 / LEAST_GOHM:
        ohm = 0.0 if math.isinf(siemens) else 1.0 / abs(siemens)
        raise ApproachError(
            f"leakage_baseline: {1e-9 * ohm:.3g} GOhm is less than the {LEAST_GOHM:g} GOhm of any "
            "sound holder; the probe is in contact (retract it), or the insulation needs cleaning"
        )
