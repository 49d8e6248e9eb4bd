"""One tick of many crystals: growth, facets, Brownian motion and contacts, at fixed overpotential.

The peers do per crystal what the C core does: Heun's rule with a clamped contact line and the
inversion of the cap's cubic equation, the facet order, one pair of normal numbers, detection of
contacts.  The core also solves its circuit, keeps the charge balance, logs events and fuses what
touches; that is work on its side only.  Between ticks it may keep what it knows of neighbours, the
peers look for contacts anew.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np

from stmtem_control.simulators import KineticModel

from . import numpy_particles
from .crystals import COVERAGE, Constants, Crystals, Mixture, Pairs, fuse, mixture
from .side_by_side import (
    Ratio,
    Report,
    Target,
    cpu_seconds,
    interleave,
    markdown,
    ratios,
)

__all__ = ["check_motion", "check_step", "peers", "run"]


class Peer(NamedTuple):
    """Another code: advance crystals by one tick at an overpotential (V), find touching pairs."""

    step: Callable[[Crystals, Constants, float], Pairs]
    contacts: Callable[[Crystals, Constants], Pairs]  # is part of a step


OURS: Final = "C core"
BASELINE: Final = f"{OURS}, baseline instructions"
_BIAS_V: Final = -0.1
_TOLERANCE: Final = 1e-9
_SETTLING_TICKS: Final = 8
_SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
_BASELINE_SIZE: Final = 100_000  # at which the core is also timed as any processor runs it
#: Ticks of the core that are timed in one go: as many as lie between two sortings of its crystals,
#: so that what it does now and then is counted in full.
_CORE_TICKS: Final = 256
#: The same for the peers, by number of crystals.
_PEER_TICKS: Final[Mapping[int, int]] = {1_000: 100, 10_000: 20, 100_000: 4, 1_000_000: 2}


def peers(seed: int = 1) -> dict[str, Peer]:
    """Return the other codes, by name; without Numba where it is not installed."""
    random = np.random.default_rng(seed)

    def by_numpy(crystals: Crystals, constants: Constants, eta: float) -> Pairs:
        return numpy_particles.step(crystals, constants, eta, random)

    found = {"NumPy": Peer(by_numpy, numpy_particles.contacts)}
    if find_spec("numba") is not None:
        from . import numba_particles

        numba_particles.seed(seed)
        found["Numba"] = Peer(numba_particles.step, numba_particles.contacts)
    return found


# ---- the same result ---------------------------------------------------------------------------


def check_step(codes: Mapping[str, Peer], count: int = 3000, ticks: int = 10, seed: int = 1) -> int:
    """Compare volumes, contact lines, facet orders and fusions without Brownian motion.

    Once with contact lines that are pinned or slide, and once with lines that all slide, so that
    crystals touch.  All codes take the overpotential that the core found in each tick.

    Returns
    -------
    int
        Number of fusions, all of which every code found in the same tick.

    Raises
    ------
    AssertionError
        The codes differ by more than 1e-9, or a tick would need sub-steps.
    """
    fusions = 0
    for angles, room in (((30.0, 60.0), 0.5), ((60.0, 60.0), 0.0)):
        start = mixture(count, seed, angles_deg=angles, room_nm=room, migration_factor=0.0)
        # Until the clamp has settled, the overpotential changes within a tick.
        start.model.advance(_SETTLING_TICKS * start.constants.tick, _BIAS_V)
        states = {name: Crystals.of(start.model.particles) for name in codes}
        for _ in range(ticks):
            seen = start.model.event_count
            start.model.advance(start.constants.tick, _BIAS_V)
            merged = _merged(start.model, seen)
            fusions += len(merged)
            for name, code in codes.items():
                states[name] = _one_tick(code, states[name], start, merged)
            _compare(start.model, states)
    return fusions


def _merged(model: KineticModel, first_event: int) -> set[tuple[int, int]]:
    """Return the uids of the pairs that fused since an event."""
    events = model.events_from(first_event)
    merges = events[events["kind"] == model.EVENT_KINDS["merge"]]
    pairs = zip(merges["uid"].tolist(), merges["other"].tolist(), strict=True)
    return {(min(pair), max(pair)) for pair in pairs}


def _one_tick(
    code: Peer, crystals: Crystals, start: Mixture, merged: set[tuple[int, int]]
) -> Crystals:
    eta = start.model.overpotential
    assert numpy_particles.largest_change(crystals, start.constants, eta) < 0.15
    pairs = code.step(crystals, start.constants, eta)
    uids = np.sort(crystals.uid[pairs], axis=1)
    assert {(int(one), int(other)) for one, other in uids} == merged
    return fuse(crystals, pairs, start.constants)


def _compare(model: KineticModel, states: Mapping[str, Crystals]) -> None:
    ours = model.particles
    ours = ours[np.argsort(ours["uid"])]
    for crystals in states.values():
        order = np.argsort(crystals.uid)
        np.testing.assert_array_equal(crystals.uid[order], ours["uid"])
        for mine, theirs in (
            ("volume", "volume_nm3"),
            ("base", "base_radius_nm"),
            ("phi", "phi"),
            ("neck", "neck_nm"),
            ("s", "s_nm"),
            ("y", "y_nm"),
        ):
            values = getattr(crystals, mine)[order]
            np.testing.assert_allclose(values, ours[theirs], rtol=_TOLERANCE, atol=1e-12)
        np.testing.assert_allclose(crystals.current[order], ours["current_A"] * 1e12, rtol=1e-6)


def check_motion(codes: Mapping[str, Peer], count: int = 20_000, seed: int = 1) -> dict[str, float]:
    """Compare the mean square displacement in one tick of all codes.

    Crystals that fused or may have met an end of the fibre are left out.

    Returns
    -------
    dict
        By code: displacement squared over 2 D dt of its crystal, summed over both directions and
        halved, mean of all; 1 is expected.

    Raises
    ------
    AssertionError
        A mean differs from 1 by more than 3 standard errors: by chance once in 370.
    """
    start = mixture(count, seed, migration_factor=3.0)
    moved = {name: start.crystals.copy() for name in codes}
    start.model.advance(start.constants.tick, _BIAS_V)
    for name, code in codes.items():
        code.step(moved[name], start.constants, start.model.overpotential)
    moved[OURS] = Crystals.of(start.model.particles)
    found = {}
    for name, crystals in moved.items():
        found[name], error = _excess(start, crystals)
        assert abs(found[name] - 1.0) < 3.0 * error, (name, found[name], error)
    return found


def _excess(start: Mixture, moved: Crystals) -> tuple[float, float]:
    """Return the mean square displacement over the expected one, and its standard error."""
    _, before, after = np.intersect1d(start.crystals.uid, moved.uid, return_indices=True)
    ds = moved.s[after] - start.crystals.s[before]
    dy = moved.y[after] - start.crystals.y[before]
    dy -= start.constants.period * np.round(dy / start.constants.period)
    rms = numpy_particles.spread(moved, start.constants)[after]
    s = start.crystals.s[before]
    free = (rms > 1e-4) & (s > 6.0 * rms) & (s < start.constants.length - 6.0 * rms)
    free &= moved.neck[after] == 0.0
    values = ((ds / rms) ** 2 + (dy / rms) ** 2)[free] / 2.0
    return float(values.mean()), 1.0 / float(np.sqrt(len(values)))


# ---- the time ----------------------------------------------------------------------------------


def _core_case(start: Mixture, instructions: str = "auto") -> Callable[[], float]:
    state, tick = start.model.save(), start.constants.tick

    def case() -> float:
        model = KineticModel.restore(state)
        model.instructions = instructions
        model.advance(tick, _BIAS_V)  # what is allocated once
        before = len(model.particles)
        spent = cpu_seconds(lambda: model.advance(_CORE_TICKS * tick, _BIAS_V))
        return spent / (_CORE_TICKS * 0.5 * (before + len(model.particles)))

    return case


def _peer_case(code: Peer, start: Mixture, only_contacts: bool = False) -> Callable[[], float]:
    ticks = _PEER_TICKS[len(start.crystals)]

    def case() -> float:
        crystals = start.crystals.copy()

        def work() -> None:
            for _ in range(ticks):
                if only_contacts:
                    code.contacts(crystals, start.constants)
                else:
                    code.step(crystals, start.constants, -_BIAS_V)

        return cpu_seconds(work) / (ticks * len(crystals))

    return case


def _fusions(start: Mixture) -> int:
    """Return how many crystals fuse in the ticks that are timed."""
    model = KineticModel.restore(start.model.save())
    model.advance((_CORE_TICKS + 1) * start.constants.tick, _BIAS_V)
    return len(start.crystals) - len(model.particles)


def run(rounds: int = 7, sizes: Sequence[int] = _SIZES) -> Report:
    """Check, then time all codes at all sizes.

    Parameters
    ----------
    rounds
        Of :func:`.side_by_side.interleave`.
    sizes
        Numbers of crystals, out of 1e3, 1e4, 1e5, 1e6.
    """
    codes = peers()
    checked = {"fusions": check_step(codes), "square_displacement": check_motion(codes)}
    cases: dict[str, Callable[[], float]] = {}
    fusions = {}
    for count in sizes:
        start = mixture(count)
        for name, code in codes.items():
            cases[f"{name} {count}"] = _peer_case(code, start)
            cases[f"{name}, contacts {count}"] = _peer_case(code, start, only_contacts=True)
        cases[f"{OURS} {count}"] = _core_case(start)
        if count == _BASELINE_SIZE:
            cases[BASELINE] = _core_case(start, "baseline")
        fusions[count] = _fusions(start)
    times = interleave(cases, rounds)
    return _report(list(codes), sizes, times, {"checked": checked, "fusions_in_core": fusions})


def _report(
    codes: Sequence[str],
    sizes: Sequence[int],
    times: Mapping[str, Sequence[float]],
    extra: Mapping[str, Any],
) -> Report:
    ns = {case: 1e9 * float(np.median(each)) for case, each in times.items()}
    slower: dict[tuple[str, int], Ratio] = {}
    for name, count in product(codes, sizes):
        slower[name, count] = ratios(times, f"{OURS} {count}")[f"{name} {count}"]
    rows: list[list[object]] = []
    for count in sizes:
        row: list[object] = [f"{count:,}", ns[f"{OURS} {count}"]]
        for name in codes:
            whole, part = ns[f"{name} {count}"], ns[f"{name}, contacts {count}"]
            row.append(f"{whole:.0f} ({part:.0f})")
        rows.append([*row, *(slower[name, count] for name in codes)])
    if BASELINE in ns:
        row = [f"{_BASELINE_SIZE:,}, baseline instructions", ns[BASELINE], *("" for _ in codes)]
        over = ratios(times, BASELINE)
        rows.append([*row, *(over[f"{name} {_BASELINE_SIZE}"] for name in codes)])
    headings = ["crystals", f"{OURS}, ns", *(f"{name}, ns (of it contacts)" for name in codes)]
    table = markdown([*headings, *(f"{name} / {OURS}" for name in codes)], rows)
    targets = []
    for name, wanted in (("NumPy", 10.0), ("Numba", 4.0)):
        if name in codes:
            least = min(slower[name, count].median for count in sizes)
            what = f"{name} over {OURS}, time of a particle step, least of all sizes"
            targets.append(Target(what, f">= {wanted:g}", least, least >= wanted))
    growth = ratios(times, f"{OURS} {min(sizes)}")[f"{OURS} {max(sizes)}"]
    what = f"{OURS}, time of a particle step with {max(sizes):.0e} crystals over {min(sizes):.0e}"
    targets.append(Target(what, "<= 1.3", growth.median, growth.median <= 1.3))
    result = {
        "what": "ns of CPU time a crystal and tick; medians and, in brackets, span of the rounds",
        "coverage": COVERAGE,
        "bias_V": _BIAS_V,
        "core_instructions": KineticModel().instructions,
        "core_ticks": _CORE_TICKS,
        "peer_ticks": {count: _PEER_TICKS[count] for count in sizes},
        "seconds_a_crystal_and_tick": dict(times),
        "largest_over_smallest": growth._asdict(),
        **extra,
    }
    return Report("particle_step", table, targets, result)
