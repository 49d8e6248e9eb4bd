"""Estimates: what a walk through a plan's messages costs, and how well it tells what a run takes.

Each shipped protocol is walked as ``stmtem check`` does it, once with nothing known, and once with
the legs known that do not depend on it (approach and leakage baseline).  Beside it is the time that
``bluesky.simulators.summarize_plan`` takes to print the same messages, from a list: it cannot walk
these plans by itself, for it answers nothing, and no clock of it goes on.

A run at speed 1 on a bench in a process of its own, in a session of its own, shows time and frames
beside the estimate.
"""

import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bluesky.simulators import summarize_plan

from stmtem_control.config import Station, load_station
from stmtem_control.estimate import WalkedLegs, check_protocol, estimate_plan
from stmtem_control.plans import deposit, follow_protocol
from stmtem_control.protocol import Protocol, read_protocol
from stmtem_control.session import Session

from .side_by_side import Report, Target, interleave, markdown

__all__ = ["run"]

PROTOCOLS: Final = Path(__file__).resolve().parents[1] / "protocols"
WANTED_S: Final = 10e-3
WITHIN: Final = 0.02
RUNS: Final = ("nucleation_burst", "irradiation")


def messages_of(protocol: Protocol, station: Station) -> list[Any]:
    """Return the messages of a protocol's plan as a walk meets them."""
    kept: list[Any] = []

    def plan(s: Any) -> Any:
        made: Any = follow_protocol(
            s.bias, s.camera, s.beam, s.probe, _any(protocol), ask=lambda question: ""
        )
        answer = None
        with contextlib.suppress(StopIteration):
            while True:
                message = made.send(answer)
                kept.append(message)
                answer = yield message

    estimate_plan(plan, station)
    return kept


def _following(protocol: Protocol) -> Callable[[Any], Any]:
    def plan(s: Any) -> Any:
        return follow_protocol(
            s.bias, s.camera, s.beam, s.probe, _any(protocol), ask=lambda question: "yes"
        )

    return plan


def _any(protocol: Any) -> Any:
    return protocol


def _summarised(messages: list[Any]) -> Callable[[], None]:
    def work() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            summarize_plan(message for message in messages)

    return work


def walks(station: Station, rounds: int) -> tuple[list[list[object]], dict[str, list[float]]]:
    """Time the walks; return the rows of a table, and the slowest of each kind in seconds."""
    rows: list[list[object]] = []
    found_s: dict[str, list[float]] = {"nothing known": [], "legs known": []}
    memory = WalkedLegs()
    for path in sorted(PROTOCOLS.glob("*.yaml")):
        protocol = read_protocol(path)
        check_protocol(protocol, station, memory=memory)
        whole = check_protocol(protocol, station)
        short = check_protocol(protocol, station, memory=memory)
        messages = messages_of(protocol, station)

        def fresh(protocol: Protocol = protocol) -> None:
            check_protocol(protocol, station)

        def again(protocol: Protocol = protocol) -> None:
            check_protocol(protocol, station, memory=memory)

        times = interleave(
            {"fresh": fresh, "again": again, "summarize_plan": _summarised(messages)}, rounds
        )
        middle = {name: statistics.median(each) for name, each in times.items()}
        found_s["nothing known"].append(middle["fresh"])
        found_s["legs known"].append(middle["again"])
        rows.append(
            [
                path.stem,
                whole.messages,
                1e3 * middle["fresh"],
                short.messages,
                1e3 * middle["again"],
                1e3 * middle["summarize_plan"],
                whole.wall_s,
            ]
        )
    return rows, found_s


def runs(root: Path) -> list[list[object]]:
    """Run beside the estimate: name, estimated and true seconds, their ratio, frames of both."""
    station = load_station("sim").with_data(root)
    protocols = {name: read_protocol(PROTOCOLS / f"{name}.yaml") for name in RUNS}

    def hold(s: Any) -> Any:
        return deposit(s.bias, s.camera, s.beam, duration_s=10.0)

    cases: dict[str, Callable[[Any], Any]] = {"deposit, 10 s": hold}
    for name, protocol in protocols.items():
        cases[name] = _following(protocol)
    rows: list[list[object]] = []
    for name, make in cases.items():
        found = estimate_plan(make, station)
        with Session(station) as session:
            begun = time.perf_counter()
            outcome = session.run(make(session))
            took_s = time.perf_counter() - begun
        frames = outcome.frames + outcome.dropped
        rows.append([name, found.wall_s, took_s, found.wall_s / took_s, found.frames, frames])
    return rows


def run(rounds: int = 7) -> Report:
    """Time the walks, and run some protocols beside their estimates."""
    station = load_station("sim")
    rows, found_s = walks(station, rounds)
    with tempfile.TemporaryDirectory() as folder:
        compared = runs(Path(folder))
    targets = [
        Target(
            f"ms for a shipped protocol, {kind}, the slowest",
            f"< {1e3 * WANTED_S:g}",
            1e3 * max(times),
            max(times) < WANTED_S,
        )
        for kind, times in found_s.items()
    ]
    for row in compared:
        name, ratio, frames = row[0], float(str(row[3])), row[4] == row[5]
        targets.append(
            Target(
                f"estimated time over that of the run: {name}",
                f"1 +- {WITHIN:g}",
                ratio,
                abs(ratio - 1.0) <= WITHIN,
            )
        )
        targets.append(Target(f"frames as estimated: {name}", "1", float(frames), frames))
    walked = markdown(
        [
            "protocol", "messages", "CPU ms, nothing known", "messages, legs known",
            "CPU ms, legs known", "CPU ms of summarize_plan", "estimated s",
        ],
        rows,
    )  # fmt: skip
    beside = markdown(
        ["run at speed 1", "estimated s", "took s", "ratio", "frames estimated", "frames"],
        compared,
    )
    result = {"what": "walks and runs", "walks": rows, "runs": compared}
    return Report("estimate", f"{walked}\n{beside}", targets, result)
