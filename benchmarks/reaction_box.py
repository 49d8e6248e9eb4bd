"""A + A -> A in a periodic cube: the reaction box against Smoldyn and ReaDDy, at equal work.

All three do 200 steps of 1 ms with 20000 particles of D = 1 that fuse, in the middle, when they are
nearer than 0.5; the cube is 100 wide.  Each code runs alone in a process of its own; the CPU time
of the call that runs the steps counts, reading and setting up does not.  Smoldyn's boxes and
ReaDDy's neighbour lists have a width to choose; each is timed at several and counts at its best
one, which for ReaDDy is several times faster than what it does unasked.  A time counts only when
the codes agree on how many particles are left, with each other and with Smoluchowski's rate.

Both peers are far more general: they know many species and reactions, surfaces and compartments
(Smoldyn), forces, potentials and molecules of several parts (ReaDDy), and have long been used for
cell biology.  The reaction box can do this one reaction and nothing else; that is where most of its
speed comes from.  The widths of its own list it chooses itself.
"""

import ctypes
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from itertools import combinations
from math import sqrt
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from stmtem_control.simulators import ReactionBox

from .side_by_side import Ratio, Report, Target, in_subprocess, interleave, markdown, ratios

__all__ = ["run", "run_box", "run_readdy", "run_smoldyn"]

OURS: Final = "reaction box"
_COUNT: Final = 20_000
_LENGTH: Final = 100.0
_DIFFUSIVITY: Final = 1.0
_RADIUS: Final = 0.5
_STEP_S: Final = 1e-3
_STEPS: Final = 200
_LOOKS: Final = (100, 200)  # steps after which particles are counted
_OUR_RUNS: Final = 10  # in a row: one takes some 50 ms
_BOX_WIDTHS: Final = (2.5, 3.0, 3.5)
_SKINS: Final = (2.0, 2.5)
_FORMULA: Final = 5e-4  # what the formula itself may be off, of all particles

_SMOLDYN: Final = """
dim 3
boundaries x 0 {length} p
boundaries y 0 {length} p
boundaries z 0 {length} p
species A
difc A {diffusivity}
time_start 0
time_stop {stop}
time_step {step}
random_seed {seed}
{boxes}
mol {count} A u u u
reaction r A + A -> A
binding_radius r {radius}
end_file
"""

#: Seconds a run, and for each run the particles left after each of _LOOKS.
Outcome = tuple[float, list[list[int]]]


class _Setting(NamedTuple):
    """One code with one choice of what it leaves to its user."""

    code: str
    choice: str
    function: str
    argument: float | None


_SETTINGS: Final = (
    _Setting(OURS, "", "run_box", None),
    *(_Setting("Smoldyn", f"boxes {w:g} wide", "run_smoldyn", w) for w in _BOX_WIDTHS),
    *(_Setting("ReaDDy", f"skin {w:g}", "run_readdy", w) for w in _SKINS),
)
_UNASKED: Final = (
    _Setting("Smoldyn", "unasked", "run_smoldyn", None),
    _Setting("ReaDDy", "unasked", "run_readdy", None),
)


# ---- one run of each code, in a process of its own ---------------------------------------------


def _box(seed: int, instructions: str) -> ReactionBox:
    return ReactionBox(
        _COUNT, _LENGTH, _DIFFUSIVITY, _RADIUS, _STEP_S, seed=seed, instructions=instructions
    )


def run_box(seed: int, instructions: str | None = None) -> Outcome:
    """Do several runs of the reaction box."""
    spent, left = 0.0, []
    for number in range(_OUR_RUNS):
        box = _box(1000 * seed + number, instructions or "auto")
        counts = []
        for look in _LOOKS:
            start = time.process_time()
            box.advance(look - box.steps)
            spent += time.process_time() - start
            counts.append(box.count)
        left.append(counts)
    return spent / _OUR_RUNS, left


def run_smoldyn(seed: int, box_width: float | None) -> Outcome:
    """Do one run of Smoldyn, with virtual boxes of this width or of its own choice."""
    smoldyn = import_module("smoldyn")
    every = import_module("smoldyn._smoldyn").MolecState.all
    text = _SMOLDYN.format(
        length=_LENGTH,
        diffusivity=_DIFFUSIVITY,
        stop=_STEPS * _STEP_S,
        step=_STEP_S,
        seed=seed,
        boxes="" if box_width is None else f"boxsize {box_width}",
        count=_COUNT,
        radius=_RADIUS,
    )
    spent, counts = 0.0, []
    with tempfile.TemporaryDirectory() as folder, _silence():
        path = Path(folder) / "fusion.txt"
        path.write_text(text, "utf-8")
        simulation = smoldyn.Simulation.fromFile(str(path), "q")
        for look in _LOOKS:
            start = time.process_time()
            simulation.runUntil(look * _STEP_S, _STEP_S)
            spent += time.process_time() - start
            counts.append(int(simulation.getMoleculeCount("A", every)))
    return spent, [counts]


def run_readdy(seed: int, skin: float | None) -> Outcome:
    """Do one run of ReaDDy on one core, with a neighbour list of this skin or as it comes."""
    readdy = import_module("readdy")
    counts: list[int] = []
    half = 0.5 * _LENGTH
    with _silence():
        system = readdy.ReactionDiffusionSystem(
            [_LENGTH] * 3, periodic_boundary_conditions=[True] * 3, unit_system=None
        )
        system.add_species("A", _DIFFUSIVITY)
        # As good as certain within a step.
        system.reactions.add(f"r: A +({_RADIUS}) A -> A", rate=1e12)
        simulation = system.simulation(kernel="SingleCPU")
        simulation.show_progress = False
        simulation.reaction_handler = "UncontrolledApproximation"  # the faster of its two
        simulation.evaluate_forces = False
        simulation.evaluate_topology_reactions = False
        if skin is not None:
            simulation.skin = skin
        simulation.observe.number_of_particles(
            _LOOKS[0], types=["A"], callback=lambda found: counts.append(int(found[0])), save=False
        )
        places = np.random.default_rng(seed).uniform(-half, half, (_COUNT, 3))
        simulation.add_particles("A", places)
        start = time.process_time()
        simulation.run(_STEPS, _STEP_S, show_summary=False)
        spent = time.process_time() - start
    return spent, [counts[-len(_LOOKS) :]]


@contextmanager
def _silence() -> Iterator[None]:
    """Drop what C code writes to the standard output, where the result of the process goes."""
    flush = ctypes.CDLL(None).fflush
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


# ---- side by side ------------------------------------------------------------------------------


def _case(setting: _Setting, left: dict[str, list[list[int]]]) -> Callable[[], float]:
    """Return a case that times itself and keeps how many particles were left."""
    seeds = iter(range(1, 10_000))

    def case() -> float:
        spent, counts = in_subprocess(__name__, setting.function, next(seeds), setting.argument)
        left.setdefault(setting.code, []).extend(counts)
        return float(spent)

    return case


def _agreement(left: Mapping[str, Sequence[Sequence[int]]]) -> list[dict[str, Any]]:
    """Compare the mean numbers of particles left.

    The scatter of a run is taken as that of a Poisson number of fusions, an upper bound.

    Raises
    ------
    RuntimeError
        Two codes, or a code and the formula, differ by more than 3 sigma.
    """
    found, box = [], _box(1, "auto")
    for column, look in enumerate(_LOOKS):
        seconds = look * _STEP_S
        expected = box.expected_count(seconds)
        mean = {code: statistics.mean(row[column] for row in rows) for code, rows in left.items()}
        sigma = {code: sqrt((_COUNT - expected) / len(rows)) for code, rows in left.items()}
        for code in left:
            if abs(mean[code] - expected) > 3.0 * sigma[code] + _FORMULA * _COUNT:
                raise RuntimeError(
                    f"{code} leaves {mean[code]:.0f} at {seconds} s, not {expected:.0f}"
                )
        for one, other in combinations(left, 2):
            if abs(mean[one] - mean[other]) > 3.0 * sqrt(sigma[one] ** 2 + sigma[other] ** 2):
                raise RuntimeError(
                    f"{one} and {other} leave {mean[one]:.0f} and {mean[other]:.0f} at {seconds} s"
                )
        found.append({"time_s": seconds, "formula": expected, "mean": mean, "sigma": sigma})
    return found


def run(rounds: int = 7) -> Report:
    """Time all codes in turns, each at all its choices, and check that they agree.

    Parameters
    ----------
    rounds
        Of :func:`.side_by_side.interleave`; 5 or more are wanted.

    Raises
    ------
    RuntimeError
        The codes do not agree; then no time counts.
    importlib.metadata.PackageNotFoundError
        A peer is not installed: the extra ``bench`` has them.
    """
    left: dict[str, list[list[int]]] = {}
    settings = {_name(setting): setting for setting in _SETTINGS}
    cases = {name: _case(setting, left) for name, setting in settings.items()}
    times = interleave(cases, rounds)
    unasked = {s.code: _case(s, left)() for s in _UNASKED}
    baseline = float(in_subprocess(__name__, "run_box", 0, "baseline")[0])
    agreement = _agreement(left)

    slower = ratios(times, OURS)
    best: dict[str, str] = {}  # the fastest choice of each code
    for name, setting in settings.items():
        fastest = best.setdefault(setting.code, name)
        if statistics.median(times[name]) < statistics.median(times[fastest]):
            best[setting.code] = name
    rows = []
    for code, name in best.items():
        means = [f"{look['mean'][code]:.0f} ± {look['sigma'][code]:.0f}" for look in agreement]
        spent: list[object] = [_ns(min(times[name])), _ns(statistics.median(times[name]))]
        unasked_ns: object = _ns(unasked[code]) if code in unasked else "-"
        ratio: object = "1" if code == OURS else slower[name]
        rows.append([name, *spent, ratio, unasked_ns, *means])
    rows.append(
        ["Smoluchowski's rate", "-", "-", "-", "-", *(f"{x['formula']:.0f}" for x in agreement)]
    )
    table = markdown(
        [
            "code, at its best",
            "least, ns",
            "median, ns",
            f"over {OURS}",
            "unasked, ns",
            *(f"N({look * _STEP_S:g} s)" for look in _LOOKS),
        ],
        rows,
    )
    targets = [
        _target(code, wanted, slower[best[code]])
        for code, wanted in (("Smoldyn", 5.0), ("ReaDDy", 20.0))
    ]
    ours_ns = _ns(statistics.median(times[OURS]))
    targets.append(Target(f"{OURS}, ns a particle and step", "<= 100", ours_ns, ours_ns <= 100.0))
    return Report(
        "reaction_box",
        table,
        targets,
        {
            "what": "CPU seconds of 200 steps of 20000 particles that fuse, in each round",
            "seconds": times,
            "seconds_with_the_choices_of_the_code": unasked,
            "seconds_without_wide_vectors": baseline,
            "best": best,
            "left": agreement,
        },
    )


def _name(setting: _Setting) -> str:
    """Name a code with its version and choice."""
    if setting.code == OURS:
        return OURS
    return f"{setting.code} {metadata.version(setting.code.lower())}, {setting.choice}"


def _ns(seconds: float) -> float:
    """Time of a particle and step, as if none were lost, ns."""
    return 1e9 * seconds / (_COUNT * _STEPS)


def _target(code: str, wanted: float, ratio: Ratio) -> Target:
    what = f"{code} at its best over {OURS}, CPU time"
    return Target(what, f">= {wanted:g}", ratio.median, ratio.median >= wanted)
