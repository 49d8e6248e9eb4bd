"""One camera frame of the specimen: projection, exact shot noise, charge spread, readout.

All codes draw the same scene (:mod:`.picture_scene`) and project it anew for each frame, whose
place moves as under drift.  The numbers that describe the scene are ready made for the peers; the C
core works them out within its time.
"""

import inspect
import shutil
import subprocess
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

from . import numpy_frame
from .picture_scene import Scene, scene
from .side_by_side import Report, Target, cpu_seconds, interleave, markdown, ratios

__all__ = ["check_frames", "check_thickness", "peers", "run", "specimen"]

OURS: Final = "C core"
_FIELD_NM: Final = 1280.0  # what a frame shows, along its side
_ELECTRONS: Final = 60.0  # a pixel in vacuum
_DRIFT_NM: Final = 0.37  # a frame
_SIDES: Final = (512, 1024, 2048)
_FLOOR_SIDE: Final = 1024
_LATE_S: Final = 5.0  # of deposition: few large crystals with facets
_LATE: Final = f", {_FLOOR_SIDE} x {_FLOOR_SIDE}, after {_LATE_S:g} s"
_BASELINE: Final = f"{OURS}, baseline instructions, {_FLOOR_SIDE} x {_FLOOR_SIDE}"
_COUNTING: Final = f"{OURS}, counting"
_THREADED_SIDE: Final = 2048
_FRAMES: Final[Mapping[str, int]] = {OURS: 8, "NumPy": 1, "Numba": 2, "Numba, tables": 8}
_FLAGS: Final = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
_BUILDS: Final[Mapping[str, list[str]]] = {"floor": [], "floor, native": ["-march=native"]}

Frame = NDArray[np.uint16]
#: Draw one frame of a scene; the number names the noise.
Draw = Callable[[Scene, int], Frame]


def specimen(seconds: float = 0.8) -> KineticModel:
    """Return the specimen of the preset ``fig2`` after a deposition at -5 V.

    Grain boundaries heal at once, since a model does not tell the lattice of a second grain.
    """
    model = KineticModel("fig2", 1, boundary_sweep_nm2_s=1e12)
    model.advance(seconds, -5.0)
    while (model.particles["grains"] > 1).any():
        model.advance(1e-3, -5.0)
    return model


def peers(*, compiled: bool = True) -> dict[str, Draw]:
    """Return the other codes, by name; without Numba where it is not installed or not wanted."""
    found: dict[str, Draw] = {
        "NumPy": lambda view, key: numpy_frame.frame(view, np.random.default_rng(key))
    }
    if compiled and find_spec("numba") is not None:
        from . import numba_frame, numba_table_frame

        table = numba_table_frame.tables(1.6 * _ELECTRONS)  # fringes are brighter than vacuum
        numba_frame.seed(1)
        found["Numba"] = lambda view, key: numba_frame.frame(view)
        rooms: dict[tuple[int, int], numba_table_frame.Room] = {}

        def by_tables(view: Scene, key: int) -> Frame:
            shape = (view.height, view.width)
            if shape not in rooms:
                rooms[shape] = numba_table_frame.room_for(shape)
            return numba_table_frame.frame(view, table, key, rooms[shape])

        found["Numba, tables"] = by_tables
    return found


def _view(model: KineticModel, shape: tuple[int, int], pixel_nm: float, drift: int = 0) -> Scene:
    return scene(
        model,
        shape,
        pixel_size_nm=pixel_nm,
        electrons_per_pixel=_ELECTRONS,
        origin_nm=(drift * _DRIFT_NM, 0.5 * drift * _DRIFT_NM),
    )


def _core_frame(model: KineticModel, view: Scene, index: int, **options: Any) -> Frame:
    camera: dict[str, Any] = {
        "detector": "ccd",
        "gain": view.gain,
        "offset": view.offset,
        "readout": view.readout,
        "spread": view.spread,
    }
    return model.frame(
        shape=(view.height, view.width),
        pixel_size_nm=view.pixel,
        electrons_per_A2=view.electrons / (100.0 * view.pixel**2),
        origin_nm=(view.origin_x, view.origin_y),
        index=index,
        **(camera | options),
    )


# ---- the same result ---------------------------------------------------------------------------


def check_thickness(
    model: KineticModel, shape: tuple[int, int] = (512, 512), pixel_nm: float = 2.5
) -> float:
    """Compare the projected thickness; return the largest difference, nm.

    Raises
    ------
    AssertionError
        It is above 0.01 nm.
    """
    view = _view(model, shape, pixel_nm)
    ours = model.thickness(shape, pixel_nm, (view.origin_x, view.origin_y))
    assert ours.max() > 10.0, "there is nothing in the view"
    largest = float(np.abs(numpy_frame.thickness(view) - ours).max())
    assert largest < 0.01, largest
    return largest


def check_frames(
    codes: Mapping[str, Draw],
    model: KineticModel,
    shape: tuple[int, int] = (512, 512),
    pixel_nm: float = 2.5,
    frames: int = 16,
) -> dict[str, dict[str, float]]:
    """Compare the mean and the variance of frames with what is expected of each pixel.

    The expected electrons are those of the NumPy code, without noise.

    Returns
    -------
    dict
        By code: ``mean``, chi squared of the mean frame over the number of pixels, and
        ``variance``, variance over the expected one.  1 is expected of both.

    Raises
    ------
    AssertionError
        One of them differs from 1 by more than 5 standard errors and 0.002 more: by chance less
        than once in 1e6 runs.
    """
    view = _view(model, shape, pixel_nm)
    electrons = numpy_frame.expected(view).astype(np.float64)
    inner = (slice(2, -2), slice(2, -2))  # at an edge the spread counts a pixel twice
    charge = numpy_frame.spread_out(electrons.astype(np.float32), view.spread)
    middle, side = (1.0 - 2.0 * view.spread) ** 2, view.spread**2
    noise = np.pad(electrons, 1, mode="edge")
    noise = middle * noise[1:-1] + side * (noise[:-2] + noise[2:])
    noise = middle * noise[:, 1:-1] + side * (noise[:, :-2] + noise[:, 2:])
    mean = (view.offset + view.gain * charge.astype(np.float64))[inner]
    variance = (view.gain**2 * noise + view.readout**2 + 1.0 / 12.0)[inner]
    found = {}
    for name, draw in codes.items():
        found[name] = _agreement((draw(view, n)[inner] for n in range(frames)), mean, variance)
    ours = (_core_frame(model, view, n)[inner] for n in range(frames))
    found[OURS] = _agreement(ours, mean, variance)
    counts = (_core_frame(model, view, n, detector="counting")[inner] for n in range(frames))
    found[_COUNTING] = _agreement(counts, electrons[inner], electrons[inner])
    # The spread makes a pixel depend on its neighbours: some 1.6 times the standard error.
    error = 1.6 * np.sqrt(2.0 / mean.size)
    for name, result in found.items():
        assert abs(result["mean"] - 1.0) < 5.0 * error + 0.002, (name, result)
        assert abs(result["variance"] - 1.0) < 5.0 * error + 0.002, (name, result)
    return found


def _agreement(
    frames: Iterator[Frame], mean: NDArray[np.float64], variance: NDArray[np.float64]
) -> dict[str, float]:
    total, squares, count = np.zeros_like(mean), 0.0, 0
    for frame in frames:
        difference = frame - mean
        total += difference
        squares += float((difference**2 / variance).mean())
        count += 1
    chi2 = float((total**2 / (count * variance)).mean())
    return {"mean": chi2, "variance": squares / count}


# ---- the time ----------------------------------------------------------------------------------


def _core_draw(model: KineticModel, detector: str = "ccd", instructions: str = "auto") -> Draw:
    def draw(view: Scene, key: int) -> Frame:
        model.instructions = instructions
        return _core_frame(model, view, key, detector=detector)

    return draw


def _timed(draw: Draw, views: Sequence[Scene], frames: int) -> Callable[[], float]:
    """Return a case that gives the seconds of a pixel."""

    def case() -> float:
        def work() -> None:
            for key, view in enumerate(views[:frames]):
                draw(view, key)

        return cpu_seconds(work) / (frames * views[0].height * views[0].width)

    return case


@contextmanager
def _floors(view: Scene, parts: dict[str, list[float]]) -> Iterator[dict[str, Callable[[], float]]]:
    """Build the floor program and hand out a case for each build; none without a compiler."""
    compiler = shutil.which("cc")
    cases: dict[str, Callable[[], float]] = {}
    if compiler is None:
        yield cases
        return
    with tempfile.TemporaryDirectory() as name:
        folder, source = Path(name), Path(__file__).with_name("frame_floor.c")
        loss = -np.log(numpy_frame.expected(view) / np.float32(view.electrons))
        loss.astype(np.float32).tofile(folder / "loss")
        for number, (build, flags) in enumerate(_BUILDS.items()):
            program = folder / f"floor{number}"
            command = [compiler, "-std=c11", *_FLAGS, *flags, str(source), "-lm", "-o"]
            subprocess.run([*command, str(program)], check=True)
            run = [str(program), str(folder / "loss"), str(view.width), str(view.height)]
            cases[build] = _floor_case([*run, str(view.electrons), "8"], build, parts)
        yield cases


def _floor_case(
    command: list[str], build: str, parts: dict[str, list[float]]
) -> Callable[[], float]:
    def case() -> float:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        ns = {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}
        for name, value in ns.items():
            parts[f"{build}: {name}"].append(value)
        return 1e-9 * ns["fused"]

    return case


def run(rounds: int = 7, sides: Sequence[int] = _SIDES) -> Report:
    """Check, then time all codes at all sizes, the floor, and two threads.

    Parameters
    ----------
    rounds
        Of :func:`.side_by_side.interleave`.
    sides
        Of the square frames, pixels; 1024 must be among them.
    """
    model, late, codes = specimen(), specimen(_LATE_S), peers()
    checked = {
        "largest_difference_of_thickness_nm": [check_thickness(model), check_thickness(late)],
        "mean_and_variance": check_frames(codes, model),
        "mean_and_variance_late": check_frames(codes, late, frames=4),
    }
    cases: dict[str, Callable[[], float]] = {}

    def add(what: str, drawn: KineticModel, side: int) -> None:
        drifts = range(max(_FRAMES.values()))
        views = [_view(drawn, (side, side), _FIELD_NM / side, n) for n in drifts]
        for name, draw in codes.items():
            cases[f"{name}{what}"] = _timed(draw, views, _FRAMES[name])
        for name, detector in ((OURS, "ccd"), (_COUNTING, "counting")):
            cases[f"{name}{what}"] = _timed(_core_draw(drawn, detector), views, _FRAMES[OURS])

    for side in sides:
        add(f", {side} x {side}", model, side)
        if side == _FLOOR_SIDE:
            views = [_view(model, (side, side), _FIELD_NM / side, n) for n in range(_FRAMES[OURS])]
            draw = _core_draw(model, instructions="baseline")
            cases[_BASELINE] = _timed(draw, views, _FRAMES[OURS])
    add(_LATE, late, _FLOOR_SIDE)
    parts: dict[str, list[float]] = defaultdict(list)
    floor_view = _view(model, (_FLOOR_SIDE, _FLOOR_SIDE), _FIELD_NM / _FLOOR_SIDE)
    with _floors(floor_view, parts) as floors:
        times = interleave(cases | floors, rounds)
    model.instructions = "auto"
    return _report(
        list(codes), sides, times, parts, _threads(model, rounds), checked, len(model.particles)
    )


# ---- two threads -------------------------------------------------------------------------------


def _free_cores(seconds: float = 0.5) -> float | None:
    """Return how many cores do nothing; ``None`` where the system does not say."""

    def ticks() -> tuple[int, int]:
        numbers = [int(word) for word in stat.read_text().splitlines()[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    everything, idle = ticks()
    threading.Event().wait(seconds)
    later, later_idle = ticks()
    cores = sum(line[3:4].isdigit() for line in stat.read_text().splitlines() if line[:3] == "cpu")
    return cores * (later_idle - idle) / max(1, later - everything)


def _threads(model: KineticModel, rounds: int) -> dict[str, Any] | None:
    """Compare a frame by two threads with one by one; ``None`` if the core has no threads."""
    if "threads" not in inspect.signature(KineticModel.frame).parameters:
        return None
    side = _THREADED_SIDE
    view = _view(model, (side, side), _FIELD_NM / side)
    one = _core_frame(model, view, 5, threads=1)
    np.testing.assert_array_equal(one, _core_frame(model, view, 5, threads=2))

    def case(threads: int) -> Callable[[], None]:
        def work() -> None:
            for key in range(4):
                _core_frame(model, view, key, threads=threads)

        return work

    before = _free_cores()
    times = interleave({"one": case(1), "two": case(2)}, max(rounds, 9), clock="wall")
    after = _free_cores()
    gain = ratios(times, "two")["one"]
    return {"gain": gain, "free_cores": [before, after], "wall_seconds": times}


def _threads_target(found: dict[str, Any] | None) -> Target:
    what, wanted = f"one thread over two, wall time, {_THREADED_SIDE} x {_THREADED_SIDE}", ">= 1.7"
    if found is None:
        return Target(f"{what} (the core has no threads)", wanted, 1.0, False)
    reached = found["gain"].median
    free = ", ".join("unknown" if f is None else f"{f:.1f}" for f in found["free_cores"])
    return Target(f"{what} (cores free before, after: {free})", wanted, reached, reached >= 1.7)


# ---- what is said ------------------------------------------------------------------------------


def _report(
    codes: Sequence[str],
    sides: Sequence[int],
    times: Mapping[str, Sequence[float]],
    parts: Mapping[str, Sequence[float]],
    threads: dict[str, Any] | None,
    checked: Mapping[str, Any],
    particles: int,
) -> Report:
    ns = {case: 1e9 * float(np.median(each)) for case, each in times.items()}
    rows: list[list[object]] = []

    def add(case: str, ours: str, side: int) -> None:
        time_ms = ns[case] * side * side * 1e-6
        rows.append([case, ns[case], time_ms, ratios(times, ours)[case]])

    for side in sides:
        for name in [OURS, _COUNTING, *codes]:
            add(f"{name}, {side} x {side}", f"{OURS}, {side} x {side}", side)
    for name in [OURS, _COUNTING, *codes]:
        add(f"{name}{_LATE}", f"{OURS}{_LATE}", _FLOOR_SIDE)
    ours, targets = f"{OURS}, {_FLOOR_SIDE} x {_FLOOR_SIDE}", []
    add(_BASELINE, ours, _FLOOR_SIDE)
    for build in _BUILDS:
        if build in ns:
            add(build, ours, _FLOOR_SIDE)
            reached = ratios(times, build)[ours].median
            what = f"{OURS} over {build}, {_FLOOR_SIDE} x {_FLOOR_SIDE}"
            targets.append(Target(what, "<= 1.2", reached, reached <= 1.2))
    targets.append(_threads_target(threads))
    result = {
        "what": "CPU time of a frame: ns a pixel, ms, and ratio to the C core (span of the rounds)",
        "core_instructions": KineticModel().instructions,
        "electrons_a_pixel": _ELECTRONS,
        "particles": particles,
        "seconds_a_pixel": dict(times),
        "floor_ns_a_pixel": {name: float(np.median(each)) for name, each in parts.items()},
        "threads": threads,
        "checked": checked,
    }
    table = markdown(["code, frame", "ns a pixel", "ms a frame", f"over {OURS}"], rows)
    return Report("frame", table, targets, result)
