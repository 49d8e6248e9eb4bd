"""A pytest plugin: a simulated bench, and a session on it, for the tests of a lab's own plans.

It is there as soon as this package is installed, and costs nothing until a test asks for one of its
fixtures: only then are NumPy, ophyd and Bluesky imported.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bluesky import RunEngine

    from .config import Station
    from .session import Session
    from .simulators import Bench, Fault, HandClock

GAP_NM = 40.0  # near the fibre: an approach takes few steps
# name after "stmtem_" -> what its text is read as, and what it is
INI: dict[str, tuple[Callable[[str], Any], str]] = {
    "station": (str, "name or file of the station that tests use (sim)"),
    "preset": (str, "specimen on the simulated bench (that of the station)"),
    "seed": (int, "of all that is random on the simulated bench (that of the station)"),
    "speed": (float, "simulated seconds in a second of wall time (5)"),
    "size": (int, "edge of the simulated image in pixels (256)"),
    "gap_nm": (float, f"gap between probe and fibre at the start, in nm ({GAP_NM:g})"),
}
MARKER = (
    "bench(preset, seed, speed, model, size, camera_clock_offset, camera_clock_drift, camera_loss, "
    "faults, gap_nm, station): how this test's simulated bench is: the keys of the station file's "
    "[bench] table, the gap between probe and fibre at the start in nm, and the station file"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini options ``stmtem_station``, ``stmtem_preset``, ``stmtem_seed`` and so on."""
    for name, (_, about) in INI.items():
        parser.addini(f"stmtem_{name}", about, default="")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


def _ini(config: pytest.Config) -> dict[str, Any]:
    """Return the ini options that are given."""
    found = {}
    for name, (kind, _) in INI.items():
        text = str(config.getini(f"stmtem_{name}")).strip()
        if not text:
            continue
        try:
            found[name] = kind(text)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise pytest.UsageError(f"stmtem_{name} is {text!r}; give {wanted}") from None
    return found


def _asked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return how the bench shall be: by the ini options, and by the markers, the nearest last."""
    asked = {"speed": 5.0, "size": 256, "gap_nm": GAP_NM, "station": "sim", **_ini(request.config)}
    for mark in reversed(list(request.node.iter_markers("bench"))):
        if mark.args:
            raise pytest.UsageError(
                f"bench{mark.args}: give keywords, as in @pytest.mark.bench(seed=2)"
            )
        asked.update(mark.kwargs)
    return asked


def _station_file(config: pytest.Config, which: str) -> str:
    """Return a station's name, or the path of its file, seen from the folder of the ini file."""
    from .config import packaged_stations

    if which in packaged_stations():
        return which
    return str((config.inipath.parent if config.inipath else config.rootpath) / which)


@pytest.fixture
def simulated_station(request: pytest.FixtureRequest) -> "Station":
    """Put the station of ``stmtem_station`` on a simulated bench.

    ``station`` and ``bench`` are both made from it.
    """
    from .config import load_station
    from .errors import ConfigError

    asked = _asked(request)
    asked.pop("gap_nm")
    try:
        station = load_station(_station_file(request.config, asked.pop("station")))
        return station.on_bench(**asked)
    except ConfigError as error:
        pytest.fail(f"pytest plugin of stmtem_control: {error}", pytrace=False)


@pytest.fixture
def hand_clock() -> "HandClock":
    """Give the test the clock of its bench, which then stands still but for ``advance``.

    It is for the instruments alone: a session needs a time that goes on by itself.
    """
    from .simulators import HandClock

    return HandClock()


@pytest.fixture
def bench(request: pytest.FixtureRequest, simulated_station: "Station") -> "Iterator[Bench]":
    """Make a simulated bench in this process, with real wires on loopback ports."""
    from .simulators import Bench

    gap_nm = float(_asked(request)["gap_nm"])
    table = simulated_station.bench
    assert table is not None
    clock = None
    if "hand_clock" in request.fixturenames:
        clock = request.getfixturevalue("hand_clock")
    with Bench(
        preset=table.preset,
        seed=table.seed,
        speed=table.speed,
        model=table.model,
        size=table.size,
        clock=clock,
        camera_clock_offset_s=table.camera_clock_offset,
        camera_clock_drift=table.camera_clock_drift,
        camera_loss=table.camera_loss,
        faults=table.faults,
    ) as made:
        if gap_nm != made.specimen.gap_nm:
            made.specimen.step(2, made.specimen.gap_nm - gap_nm)
        yield made


@pytest.fixture
def station(simulated_station: "Station", tmp_path: Path) -> "Station":
    """Give the station, with its data in the test's folder and without a guard process."""
    return simulated_station.with_data(tmp_path / "runs").with_safe(guard=False)


@pytest.fixture
def open_session(station: "Station", bench: "Bench") -> "Iterator[Callable[[], Session]]":
    """Give a function that opens ``station`` on ``bench``; all that it opened is closed."""
    from .session import Session

    with contextlib.ExitStack() as opened:

        def make() -> Session:
            _check_pace(station, bench)
            return opened.enter_context(Session(station, addresses=bench.addresses.as_dict()))

        yield make


def _check_pace(station: "Station", bench: "Bench") -> None:
    pace = bench.clock.speed
    if pace == float("inf"):
        pytest.fail(
            "session: the bench's clock is moved by hand, and a session needs a time that goes on "
            "by itself; leave hand_clock out, and make the bench fast with "
            "@pytest.mark.bench(speed=...)",
            pytrace=False,
        )
    if station.bench is not None and station.bench.speed != pace:
        pytest.fail(
            f"session: the station has [bench] speed = {station.bench.speed:g}, the bench runs at "
            f"{pace:g}; set both with stmtem_speed or @pytest.mark.bench(speed=...)",
            pytrace=False,
        )


@pytest.fixture
def session(open_session: "Callable[[], Session]") -> "Session":
    """Open a session of ``station`` on ``bench``: devices, RunEngine, run folders."""
    return open_session()


@pytest.fixture
def run_engine(session: "Session") -> "RunEngine":
    """Give the RunEngine of ``session``."""
    return session.RE


def assert_safe(bench: "Bench") -> None:
    """Check that bias, output, beam and probe are safe, as the bench itself knows it.

    Parameters
    ----------
    bench : Bench
        The instruments are asked, not the devices that drive them.
    """
    unsafe = [part for part, holds in bench.safe().items() if not holds]
    assert not unsafe, f"the bench is not safe, there is no: {', '.join(unsafe)}"


def assert_untouched(bench: "Bench") -> None:
    """Check that nothing was ever switched on, biased, opened or moved since the bench was made.

    Parameters
    ----------
    bench : Bench
        Its black box is asked.
    """
    acted = [change for change in bench.black_box.transitions if not change.safe]
    told = [f"no {change.part} from {change.t_s:.3f} s on" for change in acted]
    assert not told, f"the bench was touched: {'; '.join(told)}"


def assert_bias_within(bench: "Bench", low_V: float, high_V: float) -> None:
    """Check that the source was never set to a bias outside these limits.

    Parameters
    ----------
    bench : Bench
        Its black box is asked.
    low_V, high_V : float
        Lowest and highest bias in V that is allowed; both are allowed themselves.
    """
    outside = [
        f"{change.value:g} V at {change.t_s:.3f} s"
        for change in bench.black_box.transitions
        if change.part == "bias 0 V" and not low_V <= change.value <= high_V
    ]
    assert not outside, f"the bias was outside {low_V:g} to {high_V:g} V: {', '.join(outside)}"


def assert_struck(bench: "Bench", fault: "Fault | str") -> None:
    """Check that a fault has struck: a test of a fault that never came shows nothing.

    Parameters
    ----------
    bench : Bench
        Its record of faults is asked.
    fault : Fault or str
        Where and what, as in ``"specimen:short"``; when and how often do not matter.

    Raises
    ------
    ConfigError
        There is no such fault.
    """
    from .simulators import Fault

    wanted = Fault.parse(fault) if isinstance(fault, str) else fault
    struck = [event.fault for event in bench.fault_log if event.event == "struck"]
    assert any((one.where, one.kind) == (wanted.where, wanted.kind) for one in struck), (
        f"{wanted.where}:{wanted.kind} has not struck; {', '.join(map(str, struck)) or 'none'} did"
    )


def at_message(
    plan: Generator[Any, Any, Any], command: str, number: int, action: Callable[[], object]
) -> Generator[Any, Any, Any]:
    """Run a plan, and do something just before one of its messages.

    Parameters
    ----------
    plan : generator
        Of messages.
    command : str
        Kind of the message: "set", "trigger", "kickoff", "collect" ...
    number : int
        Before which of that kind; 1 is the first.
    action : callable
        What is done, for example ``lambda: bench.inject("specimen:short")``.  What it raises is
        raised in the plan.
    """
    from bluesky.preprocessors import msg_mutator

    seen = 0

    def look(msg: Any) -> Any:
        nonlocal seen
        seen += msg.command == command
        if msg.command == command and seen == number:
            action()
        return msg

    return (yield from msg_mutator(plan, look))
