"""Approach a simulated probe to its fibre, and draw the current against the gap, judged and true.

Run it with a folder for the run and the picture:  python examples/approach.py runs
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from stmtem_control.config import load_station
from stmtem_control.plans import approach_contact
from stmtem_control.session import Session
from stmtem_control.simulators import HandClock, Specimen
from stmtem_control.simulators.contact import Contact

COLOURS = {
    "open": "0.6",
    "tunnelling": "tab:blue",
    "oxide": "tab:green",
    "ohmic": "tab:orange",
    "short": "tab:red",
}
BIAS_V, COMPLIANCE_A = 0.5, 1e-8
FLOOR_A = 5e-14  # the source counts in steps of 0.1 pA; what is nothing is drawn here


def true_currents(start_nm: float, stop_nm: float, count: int) -> list[tuple[float, float, str]]:
    """Return gap (nm), current (A) and kind of contact of a specimen along a slow approach."""
    clock = HandClock()
    specimen = Specimen(clock, contact=Contact(gap_nm=start_nm))
    specimen.drive(BIAS_V, COMPLIANCE_A)
    clock.advance(0.5)
    found = []
    for gap in np.linspace(start_nm, stop_nm, count):
        specimen.bend(2, start_nm - float(gap))
        clock.advance(0.05)
        before = specimen.charge()
        clock.advance(0.05)
        found.append((float(gap), (specimen.charge() - before) / 0.05, specimen.contact_kind()))
    return found


def draw_truth(axes: Any, start_nm: float, stop_nm: float, title: str) -> None:
    """Draw the current over the gap, in the colour of the kind of contact."""
    points = true_currents(start_nm, stop_nm, 400)
    for kind, colour in COLOURS.items():
        chosen = [(gap, amperes) for gap, amperes, each in points if each == kind]
        if chosen:
            axes.semilogy(*zip(*chosen, strict=True), ".", ms=3, color=colour, label=kind)
    axes.invert_xaxis()
    axes.set(xlabel="gap (nm); below zero: pressed in", ylabel="current at 0.5 V (A)")
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, markerscale=3)


def readings(folder: Path) -> list[dict[str, Any]]:
    """Return the data of the events of stream "approach"."""
    lines = (folder / "documents.jsonl").read_text("utf-8").splitlines()
    documents = [json.loads(line) for line in lines]
    stream = next(d["uid"] for kind, d in documents
                  if kind == "descriptor" and d["name"] == "approach")  # fmt: skip
    return [d["data"] for kind, d in documents if kind == "event" and d["descriptor"] == stream]


def draw_run(upper: Any, lower: Any, rows: list[dict[str, Any]]) -> None:
    """Draw what the plan did: fine offset and current, reading by reading."""
    stages = [row["approach_stage"] for row in rows]
    number = np.arange(len(rows))
    names = list(dict.fromkeys(stages))
    for place, name in enumerate(names):
        chosen = np.array([stage == name for stage in stages])
        colour = f"C{place}"
        fine = np.array([row["probe_z_fine"] for row in rows])
        excess = np.array([abs(row["approach_excess_A"]) for row in rows])
        upper.plot(number[chosen], fine[chosen], ".", ms=4, color=colour, label=name)
        lower.semilogy(number[chosen], np.maximum(excess[chosen], FLOOR_A), ".", ms=4, color=colour)
    lower.axhline(rows[-1]["approach_limit_A"], color="0.5", lw=1, ls="--")
    lower.text(0, 1.2 * rows[-1]["approach_limit_A"], "seen above this", fontsize=8, color="0.4")
    upper.set(ylabel="fine offset (V)")
    upper.set_title("A run: first sign, finer sweeps, and steps learned at the contact", loc="left")
    upper.legend(frameon=False, ncols=len(names), fontsize=8, loc="upper left")
    upper.set_ylim(-1.0, 27.0)
    lower.set(xlabel="reading", ylabel="current over the leak (A)")


def main(folder: Path) -> None:
    """Run the approach and draw it."""
    station = load_station("sim").with_bench(speed=50.0, size=256).with_data(folder)
    with Session(station) as session:
        outcome = session.run(approach_contact(session.probe, session.bias, session.beam))
    if outcome.folder is None or outcome.exit_code:
        raise SystemExit(f"no contact: {outcome.reason}")
    figure = Figure(figsize=(11.0, 8.0), layout="constrained")
    (near, deep), (upper, _), (lower, _) = figure.subplots(
        3, 2, gridspec_kw={"height_ratios": [1.6, 1.0, 1.0]}
    )
    draw_truth(near, 2.0, -0.5, "The last nanometres: tunnelling, then snap to contact")
    draw_truth(deep, 20.0, -170.0, "Pressed in: the skin cracks, and breaks")
    for axes in figure.axes[2:]:
        axes.remove()
    grid = near.get_gridspec()
    upper, lower = figure.add_subplot(grid[1, :]), figure.add_subplot(grid[2, :])
    draw_run(upper, lower, readings(outcome.folder))
    figure.savefig(folder / "approach.png", dpi=110)
    print(f"{outcome.folder.name}: {len(readings(outcome.folder))} readings")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs"))
