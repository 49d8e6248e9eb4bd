"""The check of each observation: what the runs gave, and whether it lies in the band.

The bands are those that :mod:`.observations` prints beside the words of the paper.  Where a check
speaks of a mean, it is that of the runs; where not, 5-95 % of the runs must lie in the band.  A
crystal "without a fusion" took up no other one from a diameter of 100 nm on.
"""

from collections.abc import Iterable, Sequence
from math import nan, radians
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import equations
from .observations_runs import Crystal, Runs
from .presets import PRESETS

__all__ = ["Finding", "seed_text"]


class Finding(NamedTuple):
    """What one check found."""

    good: bool
    value: str
    runs: str  # presets and seeds


class _Spread(NamedTuple):
    """Mean and 5-95 % of some numbers; NaN, which no band contains, if one is missing."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "_Spread":
        numbers = np.array(list(values), dtype=np.float64)
        if not len(numbers) or not np.isfinite(numbers).all():
            return cls(nan, nan, nan)
        return cls(float(numbers.mean()), *(float(q) for q in np.percentile(numbers, [5, 95])))

    def inside(self, low: float, high: float) -> bool:
        return low <= self.low and self.high <= high

    def text(self, digits: int = 2) -> str:
        return f"{self.mean:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def seed_text(seeds: Sequence[int]) -> str:
    """Write seeds as ``1-40`` or ``3, 5, 8``."""
    if len(seeds) > 1 and tuple(seeds) == tuple(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds)


def _runs(preset: str, seeds: Sequence[int]) -> str:
    return f"{preset}, {'seeds' if len(seeds) > 1 else 'seed'} {seed_text(seeds)}"


def _ratio(runs: Runs, tenth: int) -> _Spread:
    """N at a tenth of a second over N(0.8 s)."""
    counts = [run.counts for run in runs.depositions]
    return _Spread.of(n[tenth] / n[8] if n[8] else nan for n in counts)


def _sizes(runs: Runs, tenth: int) -> NDArray[np.float64]:
    return np.concatenate([run.diameters[tenth] for run in runs.depositions])


# ---- Fig. 2: many nuclei ---------------------------------------------------------------------


def burst(runs: Runs) -> Finding:
    ratio = _ratio(runs, 2)
    return Finding(0.4 <= ratio.mean <= 0.9, ratio.text(), _runs("fig2", runs.seeds))


def steady(runs: Runs) -> Finding:
    early, late = _ratio(runs, 6), _ratio(runs, 10)
    number = _Spread.of(float(run.counts[8]) for run in runs.depositions)
    good = 0.9 <= early.mean <= 1.05 and 0.9 <= late.mean <= 1.05
    value = f"{early.text()}; {late.text()}; N(0.8 s) = {number.text(0)}"
    return Finding(good, value, _runs("fig2", runs.seeds))


def births_and_fusions(runs: Runs) -> Finding:
    births = [run.births_after_burst for run in runs.depositions]
    merges = [run.merges for run in runs.depositions]
    value = f"births {_Spread.of(births).text(0)}, least {min(births)}; "
    value += f"fusions {_Spread.of(merges).text(0)}, least {min(merges)}"
    return Finding(min(births) > 10 and min(merges) > 5, value, _runs("fig2", runs.seeds))


def scatter(runs: Runs) -> Finding:
    sizes = [_Spread.of(_sizes(runs, tenth)).mean for tenth in (1, 2, 4, 8)]
    cv = []
    for tenth, mean in zip((1, 4), (sizes[0], sizes[2]), strict=True):
        cv.append(float(np.std(_sizes(runs, tenth)) / mean) if mean > 0.0 else nan)
    good = bool(np.all(np.diff(sizes) > 0.0)) and cv[0] < 0.4 < cv[1]
    value = f"{', '.join(f'{size:.1f}' for size in sizes)} nm; cv {cv[0]:.2f}, {cv[1]:.2f}"
    return Finding(good, value, _runs("fig2", runs.seeds))


def small_cycle(runs: Runs) -> Finding:
    diameters, phi = _sizes(runs, 10), np.concatenate([run.phi for run in runs.depositions])
    below = float(np.mean(diameters < 100.0)) if len(diameters) else nan
    droplets = float(np.mean(phi < 0.1)) if len(phi) else nan
    gone = [run.stripped_after_s for run in runs.depositions]
    value = f"{below * 100.0:.1f} % below 100 nm, {droplets * 100.0:.1f} % droplets; gone after "
    value += f"{_Spread.of(gone).text()} s, at most {np.max(gone):.2f} s"
    good = below >= 0.95 and droplets >= 0.95 and bool(np.max(gone) < 1.0)
    return Finding(good, value, _runs("fig2", runs.seeds))


# ---- Fig. 3: facets --------------------------------------------------------------------------


def local_facets(runs: Runs) -> Finding:
    slow = runs.slow_growths
    early = np.concatenate([run.early for run in slow])
    late = np.concatenate([run.late for run in slow])
    rounding = np.concatenate([run.rounding for run in slow])
    large = late[late["diameter_nm"] > 100.0]
    local = float(np.mean(large["phi"] >= 0.1)) if len(large) else nan
    gone = float(np.max([run.gone_after_s for run in slow]))
    small = float(np.percentile(early["diameter_nm"], 95.0)) if len(early) else nan
    phi_early = float(early["phi"].max(initial=0.0))
    phi_left = float(rounding["phi"].max(initial=0.0))
    value = f"at 2 s 95 % of d < {small:.0f} nm, phi up to {phi_early:.2f}; "
    size = float(late["diameter_nm"].max(initial=0.0))
    value += f"at 17.2 s {local * 100.0:.1f} % of {len(large)}, d up to {size:.0f} nm; "
    value += f"phi up to {phi_left:.2f} at +2.5 s; gone at most {gone:.1f} s after reversal"
    good = small < 80.0 and phi_early < 0.1 and local >= 0.9
    seeds = runs.some(0.2)
    return Finding(good and phi_left < 0.1 and gone < 6.0, value, _runs("fig3b", seeds))


def _undisturbed(crystals: Sequence[Crystal]) -> list[Crystal]:
    """Drop those that fused with another; all, so that the check fails, if not two are left."""
    alone = [crystal for crystal in crystals if not crystal.disturbed]
    return alone if len(alone) >= 2 else []


def _large(runs: Runs) -> tuple[list[Crystal], str]:
    crystals = _undisturbed(runs.crystals)
    note = f"{_runs('fig3c', runs.seeds)}; the {len(crystals)} without a fusion above 100 nm"
    return crystals, note


def area_rate(runs: Runs) -> Finding:
    crystals, note = _large(runs)
    rate = _Spread.of(crystal.area_rate_nm2_s for crystal in crystals)
    return Finding(3500.0 <= rate.mean <= 6500.0, f"{rate.text(0)} nm²/s", note)


def switch(runs: Runs) -> Finding:
    crystals, note = _large(runs)
    return _switch_of(crystals, note, 1.6)


def _switch_of(crystals: Sequence[Crystal], note: str, longest_s: float) -> Finding:
    lasts = _Spread.of(crystal.switch_lasts_s for crystal in crystals)
    size = _Spread.of(crystal.diameter_nm for crystal in crystals)
    time = _Spread.of(crystal.switch_time_s for crystal in crystals)
    value = f"{lasts.text()} s at d = {size.text(0)} nm, {time.text(1)} s after the start"
    good = lasts.mean < longest_s and size.inside(200.0, 450.0)
    return Finding(good and all(crystal.switched for crystal in crystals), value, note)


def slowing(runs: Runs) -> Finding:
    crystals, note = _large(runs)
    ratio = _Spread.of(c.faceted_rate_nm2_s / c.area_rate_nm2_s for c in crystals)
    return Finding(0.0 < ratio.mean < 0.7, ratio.text(), note)


def edges_first(runs: Runs) -> Finding:
    crystals, note = _large(runs)
    volume = _Spread.of(crystal.edges_volume for crystal in crystals)
    angle = _Spread.of(crystal.edges_angle_deg for crystal in crystals)
    lasts = _Spread.of(crystal.edges_last_s for crystal in crystals)
    good = volume.inside(0.8, 1.0) and angle.inside(50.0, 90.0) and lasts.inside(0.3, 2.0)
    return Finding(good, f"V/V0 {volume.text()}, {angle.text(1)}°, {lasts.text()} s", note)


def constant_angle(runs: Runs) -> Finding:
    crystals, note = _large(runs)
    low = _Spread.of(crystal.sliding_low_deg for crystal in crystals)
    high = _Spread.of(crystal.sliding_high_deg for crystal in crystals)
    value = f"{low.low:.2f}-{high.high:.2f}°"
    return Finding(low.inside(28.0, 32.0) and high.inside(28.0, 32.0), value, note)


def depinning(runs: Runs) -> Finding:
    crystals, note = _large(runs)
    angles = [radians(runs.angle(which)) for which in ("receding", "advancing")]
    receding, advancing = (equations.cap_volume_factor(angle) for angle in angles)
    rule = float(receding / advancing)
    volume = _Spread.of(crystal.depin_volume for crystal in crystals)
    good = volume.inside(0.99 * rule, 1.01 * rule)
    return Finding(good, f"{volume.text(4)}, rule {rule:.4f}", note)


def angles(runs: Runs) -> Finding:
    low = min(run.smallest_angle_deg for run in runs.depositions)
    high = max(run.largest_angle_deg for run in runs.depositions)
    good = runs.angle("receding") - 1e-9 <= low < high <= runs.angle("advancing") + 1e-9
    return Finding(good, f"{low:.2f}-{high:.2f}°", _runs("fig2", runs.seeds))


# ---- cycles and fusion -----------------------------------------------------------------------


def cycles(runs: Runs) -> Finding:
    cv = _Spread.of(float(np.std(n) / np.mean(n)) if any(n) else nan for n, _ in runs.cycles)
    return Finding(cv.mean < 0.15, cv.text(), _runs("fig2, 5 cycles", runs.some(0.25, 2)))


def charge_back(runs: Runs) -> Finding:
    rest = max(left for _, left in runs.cycles)
    return Finding(rest <= 1e-12, f"{rest:.1g}", _runs("fig2, 5 cycles", runs.some(0.25, 2)))


def _pair_note(runs: Runs) -> str:
    return _runs("fig2 without sites, pairs placed at open circuit", runs.seeds[:1])


def pairs(runs: Runs) -> Finding:
    small, large = runs.fuse(30.0), runs.fuse(100.0)
    value = f"{small.rounded_s * 1e3:.1f} ms; {large.rounded_s:.2f} s (0.89 R⁴/B ln 10: "
    value += f"{small.rounded_rule_s * 1e3:.1f} ms; {large.rounded_rule_s:.2f} s)"
    good = small.rounded_s < 0.05 and 0.2 <= large.rounded_s <= 3.0
    return Finding(good, value, _pair_note(runs))


# ---- Fig. 4 ----------------------------------------------------------------------------------


def crystallinity(runs: Runs) -> Finding:
    shares = [float(equations.crystalline_share(n)) for n in (50.0, 250.0, 1e3, 1e4, 1e5)]
    first = _Spread.of(curve[1, 0] if curve.size else nan for curve in runs.curves)
    last = _Spread.of(curve[1, -1] if curve.size else nan for curve in runs.curves)
    good = shares == sorted(shares) and shares[1] < 0.2 and shares[-1] > 0.8
    value = f"{', '.join(f'{share:.2f}' for share in shares)} for 50, 250, 10³, 10⁴, 10⁵ atoms; "
    value += f"fibre {first.text()} -> {last.text()}"
    good = good and first.high < 0.2 and last.low > 0.8
    return Finding(good, value, f"equations; {_runs('fig2', runs.some(0.25, 2))}")


def diffusivities(runs: Runs) -> Finding:
    radii = np.geomspace(1.5, 50.0, 30)
    mean = np.asarray(equations.supported_diffusivity_nm2_s(radii, runs.changes))
    surface = equations.surface_diffusivity_nm2_s(radii, runs.changes)
    free = equations.free_standing_diffusivity_nm2_s(radii, runs.changes)
    with np.errstate(all="ignore"):  # no diffusion, no ratios
        over_mean, over_free = surface / mean, mean / free
    good = bool((np.diff(mean) < 0.0).all() and np.allclose(over_mean, 10.0, rtol=1e-12))
    value = f"{mean[0]:.1e} -> {mean[-1]:.1e} nm²/s from 1.5 to 50 nm; "
    value += f"surface {over_mean.mean():.0f} times, fibre over free {over_free.mean():.0f} times"
    return Finding(good and bool((over_free > 1.0).all()), value, "equations: set so")


def bicrystal(runs: Runs) -> Finding:
    fused = [runs.fuse(diameter) for diameter in (30.0, 50.0, 100.0)]
    off = [abs(pair.boundary_s - pair.boundary_rule_s) for pair in fused]
    good = all(pair.grains == 2 and gap <= 2.5e-4 for pair, gap in zip(fused, off, strict=True))
    value = f"{', '.join(f'{pair.boundary_s:.3f}' for pair in fused)} s "
    value += f"(rule {', '.join(f'{pair.boundary_rule_s:.3f}' for pair in fused)} s)"
    return Finding(good, value, _pair_note(runs))


def adoption(runs: Runs) -> Finding:
    ratios = (0.2, 0.4, 0.49, 0.51, 0.7, 1.0)
    grains = [runs.fuse(60.0, ratio).grains for ratio in ratios]
    value = f"grains {', '.join(map(str, grains))} for {', '.join(f'{r:g}' for r in ratios)}"
    return Finding(grains == [1, 1, 1, 2, 2, 2], value, _pair_note(runs))


# ---- controls --------------------------------------------------------------------------------


def same_laws(runs: Runs) -> Finding:
    """Differences of any two of three fibres, in standard errors."""
    looks = runs.equal_fibre_looks[:, 2]  # at 0.8 s: (seeds, fibres, number or diameter)
    means = looks.mean(axis=0)
    with np.errstate(all="ignore"):  # no particles, no differences
        error = np.sqrt(2.0 * looks.var(axis=0, ddof=1).mean(axis=0) / len(looks))
        apart = (means.max(axis=0) - means.min(axis=0)) / error
    number, size = (", ".join(f"{mean:.1f}" for mean in column) for column in means.T)
    value = f"N = {number}; d = {size} nm; {apart[0]:.1f} and {apart[1]:.1f} standard errors apart"
    return Finding(bool((apart < 5.0).all()), value, _runs("fibres, fed alike", runs.seeds))


def unlike_fibres(runs: Runs) -> Finding:
    number, size = runs.fibre_looks.mean(axis=0).transpose(2, 0, 1)  # (looks, fibres)
    with np.errstate(all="ignore"):
        burst, early, late = (number[k] / number[2] for k in (0, 1, 3))
    steady = np.concatenate([early, late])
    good = bool(((burst >= 0.4) & (burst <= 0.9)).all() and size[3, 0] > size[3, -1])
    good = good and bool(((steady >= 0.9) & (steady <= 1.05)).all())
    value = "; ".join(", ".join(f"{ratio:.2f}" for ratio in row) for row in (burst, early, late))
    value += f"; d(1 s) = {', '.join(f'{mean:.1f}' for mean in size[3])} nm"
    return Finding(good, value, _runs("fibres", runs.seeds))


def on_oxide(runs: Runs) -> Finding:
    crystals = _undisturbed(runs.oxide_crystals)
    note = f"{_runs('li2o', runs.seeds)}; the {len(crystals)} without a fusion above 100 nm"
    found = _switch_of(crystals, note, 3.0)
    receding = runs.changes.get("receding_angle_deg", PRESETS["li2o"]["receding_angle_deg"])
    angle = _Spread.of(crystal.sliding_high_deg for crystal in crystals)
    phi = _Spread.of(crystal.phi_at_half for crystal in crystals)
    good = found.good and angle.inside(receding - 2.0, receding + 2.0) and phi.inside(0.0, 0.5)
    value = f"{found.value}; half stripped phi = {phi.text()}, then {angle.mean:.1f}°"
    return Finding(good, value, found.runs)


def _beam_pairs(runs: Runs, preset: str) -> tuple[int, int, Finding]:
    """How many pairs are equal and how many are not, and did something; what is common of both."""
    seeds = runs.some(0.1)
    equal, charges = 0, []
    for seed in seeds:
        dark, lit = runs.beam_pair(preset, seed)
        equal += (
            dark.particles.tobytes() == lit.particles.tobytes()
            and dark.events.tobytes() == lit.events.tobytes()
            and (dark.charge, dark.overpotential) == (lit.charge, lit.overpotential)
        )
        charge = dark.deposited_charge
        charges.append(lit.deposited_charge / charge if charge else nan)
    ratio = _Spread.of(charges)
    value = f"{equal} of {len(seeds)} equal; deposited charge {ratio.text()} times"
    return equal, len(seeds) - equal, Finding(ratio.mean > 0.0, value, _runs(preset, seeds))


def beam_blocked(runs: Runs) -> Finding:
    _, unequal, finding = _beam_pairs(runs, "fig2")
    return finding._replace(good=finding.good and unequal == 0)


def beam_sensitive(runs: Runs) -> Finding:
    equal, _, finding = _beam_pairs(runs, "beam_sensitive")
    return finding._replace(good=finding.good and equal == 0)


def circuit(runs: Runs) -> Finding:
    share = _Spread.of(abs(run.overpotential_V / 5.0) * 100.0 for run in runs.depositions)
    current = _Spread.of(run.current_A * 1e12 for run in runs.depositions)
    good = share.inside(2.5, 3.2) and current.low > 0.0 and current.high < 50.0
    return Finding(good, f"{share.text()} %; {current.text(1)} pA", _runs("fig2", runs.seeds))
