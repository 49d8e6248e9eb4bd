"""Timing of several codes in turns, and what is written about it.

On a machine that does other work too, the CPU time of one and the same code drifts by a factor of
up to two (shared caches, memory).  A ratio of two codes is therefore taken between runs that lie
next to each other: all cases run once a round, in random order, and the ratio is the median over
the rounds of the ratios within a round.
"""

import contextlib
import gc
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

__all__ = [
    "RESULTS",
    "Ratio",
    "Report",
    "Target",
    "cpu_seconds",
    "in_subprocess",
    "insert",
    "interleave",
    "machine",
    "markdown",
    "ratios",
    "read_results",
    "write",
]

RESULTS: Final = Path(__file__).resolve().parent / "results"

#: What is timed.  A case that returns a number has measured itself, in seconds: work that does not
#: count (a fresh state, another process) can then be done within the case.
Case = Callable[[], float | None]

_CLOCKS: Final[Mapping[str, Callable[[], float]]] = {
    "cpu": time.process_time,
    "wall": time.perf_counter,
}


class Target(NamedTuple):
    """What was wanted of a benchmark and what came out."""

    what: str
    wanted: str
    reached: float
    met: bool


class Report(NamedTuple):
    """What a benchmark found."""

    name: str
    table: str  # markdown
    targets: list[Target]
    result: dict[str, Any]  # goes to the JSON file


class Ratio(NamedTuple):
    """Time of a case over that of the reference: median of the rounds, smallest, largest."""

    median: float
    low: float
    high: float


def interleave(
    cases: Mapping[str, Case],
    rounds: int = 7,
    *,
    clock: Literal["cpu", "wall"] = "cpu",
    seed: int = 1,
) -> dict[str, list[float]]:
    """Time all cases in turns.

    One round more comes first and is not counted: it fills caches and compiles.

    Parameters
    ----------
    cases
        What is timed, by name.
    rounds
        How many times each case runs; 1 or more.
    clock
        ``"cpu"``: time of the process, all its threads added; ``"wall"``: time on the wall.
    seed
        Of the order of the cases within a round.

    Returns
    -------
    dict
        For each case its time in each round, s.

    Raises
    ------
    ValueError
        No cases, no rounds or another clock.
    """
    if not cases or rounds < 1:
        raise ValueError("at least one case and one round are needed")
    if clock not in _CLOCKS:
        raise ValueError(f"clock must be 'cpu' or 'wall', not {clock!r}")
    order, names = random.Random(seed), list(cases)
    times: dict[str, list[float]] = {name: [] for name in names}
    collected = gc.isenabled()
    try:
        for number in range(rounds + 1):
            order.shuffle(names)
            for name in names:
                gc.collect()
                gc.disable()
                spent = _timed(cases[name], _CLOCKS[clock])
                if number:
                    times[name].append(spent)
    finally:
        if collected:
            gc.enable()
    return times


def _timed(case: Case, clock: Callable[[], float]) -> float:
    start = clock()
    own = case()
    spent = clock() - start
    return spent if own is None else float(own)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one piece of work, s; for a case that measures itself."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ratios(times: Mapping[str, Sequence[float]], reference: str) -> dict[str, Ratio]:
    """Time of each case over the time of the reference in the same round.

    Parameters
    ----------
    times
        As :func:`interleave` returns them.
    reference
        Name of the case that all are compared with.

    Returns
    -------
    dict
        A :class:`Ratio` for each case; above 1 the case is slower than the reference.
    """
    found = {}
    for name, spent in times.items():
        each = [t / r for t, r in zip(spent, times[reference], strict=True)]
        found[name] = Ratio(statistics.median(each), min(each), max(each))
    return found


def data_folder(folder: "str | Path | None" = None) -> Path:
    """Return where to write data whose speed is measured; it is made if it is not there.

    That is `folder`, else ``$BENCH_FOLDER``, else ``build`` in the current folder: a temporary
    folder of the system may be memory.
    """
    where = Path(folder or os.environ.get("BENCH_FOLDER", "build"))
    where.mkdir(parents=True, exist_ok=True)
    return where.resolve()


def in_subprocess(module: str, function: str, *arguments: object, timeout_s: float = 600.0) -> Any:
    """Call a function of an importable module in a new Python process; return its result.

    For codes that keep state between runs or do not share a process with others.  The function
    times itself and returns that; arguments and result travel as JSON.

    Raises
    ------
    RuntimeError
        The process failed; the message has the end of what it wrote.
    """
    code = (
        "import importlib, json, sys\n"
        "module, function, arguments = json.load(sys.stdin)\n"
        "result = getattr(importlib.import_module(module), function)(*arguments)\n"
        "sys.stdout.write('\\n' + json.dumps(result) + '\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([module, function, arguments]),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=RESULTS.parents[1],
    )
    if done.returncode != 0:
        raise RuntimeError(f"{module}.{function} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout.rstrip("\n").rpartition("\n")[2])


# ---- the machine -------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Where and with what the times were taken.

    Returns
    -------
    dict
        Processor, cores, caches, load average of the last minute, versions, compiler of the C
        core, revision of the sources, date (UTC).  ``None`` for what cannot be found out.
    """
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "caches": _caches(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("numpy", "scipy", "numba")},
        "core_compiler": _core_compiler(),
        "revision": _revision(),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
    }


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _processor() -> str | None:
    found = re.search(r"^model name\s*: (.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return found[1] if found else platform.processor() or None


def _caches() -> dict[str, str]:
    """Size of the caches that core 0 can use, by level."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = {"Data": "d", "Instruction": "i"}.get(_read(folder / "type"), "")
        sizes[f"L{_read(folder / 'level')}{kind}"] = _read(folder / "size")
    return sizes


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _core_compiler() -> str | None:
    """GCC and Clang leave their names in what they compile."""
    spec = find_spec("stmtem_control.simulators._kinetics")
    if spec is None or spec.origin is None:
        return None
    found = re.search(
        rb"GCC: \([^)]*\) [\d.]+|clang version [\d.]+", Path(spec.origin).read_bytes()
    )
    return found[0].decode() if found else None


def _revision() -> str | None:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=RESULTS.parent,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() or None


# ---- what is written ---------------------------------------------------------------------------


def markdown(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a markdown table; numbers with three digits, a :class:`Ratio` with its span."""
    lines = [_row(headings), _row(["---"] * len(headings)), *(_row(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(value: object) -> str:
    if isinstance(value, Ratio):
        return f"{_digits(value.median)} ({_digits(value.low)}-{_digits(value.high)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _digits(value) if isinstance(value, float) else str(value)


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def insert(document: str, name: str, table: str) -> str:
    """Return a document with the table between its markers of this name.

    The markers are ``<!-- benchmark:NAME:begin -->`` and ``<!-- benchmark:NAME:end -->``.

    Raises
    ------
    ValueError
        The document does not have the two markers once each.
    """
    begin, end = f"<!-- benchmark:{name}:begin -->", f"<!-- benchmark:{name}:end -->"
    head, found, rest = document.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed or begin in rest or end in tail:
        raise ValueError(f"the document must have {begin} and {end} once each")
    return f"{head}{begin}\n{table}{end}{tail}"


def write(report: Report, folder: Path = RESULTS, where: Mapping[str, Any] | None = None) -> Path:
    """Write what a benchmark found as ``NAME.json``; return the path.

    Parameters
    ----------
    report
        What it found.
    folder
        Where to write.
    where
        What :func:`machine` said before the benchmark ran, so that the load is that of others; by
        default it is asked now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.name}.json"
    body = {
        "benchmark": report.name,
        "machine": machine() if where is None else dict(where),
        "targets": [target._asdict() for target in report.targets],
        **report.result,
        "table": report.table.splitlines(),
    }
    path.write_text(json.dumps(body, indent=1) + "\n", "utf-8")
    return path


def read_results(folder: Path, names: Iterable[str]) -> list[Report]:
    """Return what :func:`write` has written in a folder for these names; others are left out.

    Parameters
    ----------
    folder
        Where to look.
    names
        Of benchmarks, in the order wanted.
    """
    reports = []
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            body = json.loads((folder / f"{name}.json").read_text("utf-8"))
            targets = [Target(**target) for target in body.pop("targets")]
            table = "".join(f"{line}\n" for line in body.pop("table"))
            reports.append(Report(name, table, targets, body))
    return reports
