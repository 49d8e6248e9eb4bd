"""Align a camera whose clock is wrong with the source, and draw what the frames told.

Run it with a folder for the run and the picture:  python examples/clapperboard.py runs
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from stmtem_control.config import load_station
from stmtem_control.plans import deposit
from stmtem_control.recording.aligned_clock import drift_uncertainty, read_clock
from stmtem_control.recording.blank_edges import BlankEdge, edges_between
from stmtem_control.recording.frame_table import TABLE, read_table
from stmtem_control.recording.journal import read_journal
from stmtem_control.session import Session

LIT, DARK = "tab:blue", "0.85"


def frames_in_time(axes: Any, rows: list[dict[str, Any]], edges: list[BlankEdge]) -> None:
    """Draw each frame as a bar as long as its exposure, over what the blanker was told."""
    for edge, following in zip(edges, [*edges[1:], None], strict=True):
        if edge.blanked:
            axes.axvspan(edge.t, following.t if following else 9e9, color=DARK, lw=0)
    for row in rows:
        start, level = row["run_time_s"], row["mean_counts"]
        axes.plot([start, start + row["exposure_s"]], [level, level], color=LIT, lw=2.5)
    axes.set(xlabel="run time (s)", ylabel="mean counts", ylim=(-40.0, None))
    axes.set_xlim(edges[0].t - 0.15, edges[-1].t + 0.15)
    axes.set_title("Frames (bars) and what the source did to the beam (grey: blanked)", loc="left")


def edges_in_frames(axes: Any, rows: list[dict[str, Any]], edges: list[BlankEdge]) -> None:
    """Draw for each edge how much of its frame was on its brighter side, over when it was."""
    starts = np.array([row["run_time_s"] for row in rows])
    exposure = rows[0]["exposure_s"]
    lit = max(row["mean_counts"] for row in rows)
    axes.plot([0.0, 1e3 * exposure], [0.0, 1.0], color="0.6", zorder=0, label="as it must be")
    for edge in edges:
        place = int(np.searchsorted(starts, edge.t)) - 1
        since = edge.t - starts[place]
        before = rows[place]["mean_counts"] / lit
        share = before if edge.blanked else 1.0 - before
        axes.errorbar(
            1e3 * since,
            share,
            xerr=1e3 * (edge.uncertainty_s + rows[place]["time_uncertainty_s"]),
            fmt="v" if edge.blanked else "^",
            color="tab:red" if edge.blanked else "tab:green",
            capsize=2,
        )
    axes.axvspan(1e3 * exposure, 40.0, color="mistyrose", lw=0, label="dead time")
    axes.plot([], [], "v", color="tab:red", label="beam goes")
    axes.plot([], [], "^", color="tab:green", label="beam comes")
    axes.set(xlabel="edge after the start of its frame, as dated (ms)", xlim=(0.0, 40.0))
    axes.set(ylabel="share of the exposure before it")
    axes.set_title("The same edges inside their frames", loc="left")
    axes.legend(frameon=False, loc="upper left")


if len(sys.argv) != 2:
    sys.exit(__doc__)
folder = Path(sys.argv[1])
wrong = {"camera_clock_offset": -7.3, "camera_clock_drift": 4e-5, "camera_loss": 0.02}
station = load_station("sim").with_bench(size=256, speed=2.0, seed=3, **wrong).with_data(folder)
with Session(station) as session:
    outcome = session.run(
        deposit(session.bias, session.camera, session.beam, duration_s=1.0, clapperboard=True)
    )
assert outcome.folder is not None, outcome.reason
model = read_clock(outcome.folder)
seconds, sure = model.station_time(model.reference_s)
ppm, ppm_sure = 1e6 * model.drift, 1e6 * drift_uncertainty(model)
print(
    f"offset {model.offset_s:.6f} s +- {1e3 * sure:.2f} ms, drift {ppm:.0f} +- {ppm_sure:.0f} ppm"
)

timeline, _, _ = read_journal(outcome.folder)
rows = read_table(outcome.folder / TABLE)
run_start = timeline.run_start
first = next(row["run_time_s"] for row in rows if row["phase"] == "deposit")
edges = [
    BlankEdge(edge.t - run_start, edge.uncertainty_s, edge.blanked)
    for edge in edges_between(timeline.entries("blanked"), run_start, run_start + first)
][1:]  # the first one opens the beam
figure = Figure(figsize=(10.0, 7.0), layout="constrained")
above, below = figure.subplots(2, 1)
frames_in_time(above, rows, edges)
edges_in_frames(below, rows, edges)
figure.savefig(folder / "clapperboard.png", dpi=110)
print(f"wrote {folder / 'clapperboard.png'}")
