"""The timeline of an estimate as a picture: bias, beam, frames and dose over time."""

import itertools
from pathlib import Path
from typing import Any

from stmtem_control.errors import RecordingError

from .result import Estimate, TimelinePoint

BIAS, BEAM, FRAMES, DOSE, LIMIT = "#1f4e79", "#e0b12f", "#5a7d5a", "#a03030", "#777777"
SHADES = {
    "deposit": "#cfe0f3", "strip": "#f6d9cf", "rest": "#eeeeee", "approach": "#e6e0f0",
    "leakage_baseline": "#e3efe3", "irradiate": "#fbf0cc", "blank": "#dddddd",
}  # fmt: skip
TEXT_SHARE = 0.035  # of the whole time: shorter phases have no room for their name


def draw_timeline(estimate: Estimate, path: Path) -> Path:
    """Draw the timeline into a file; its ending says which format.

    Raises
    ------
    RecordingError
        It cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = estimate.timeline
    times = [point.t_s for point in points]
    figure = Figure(figsize=(10.0, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{estimate.name}   at {estimate.station}   (estimate)", fontsize=11)
    axes: Any = figure.subplots(4, 1, sharex=True, height_ratios=(2.2, 0.6, 1.2, 1.4))
    bias, beam, frames, dose = axes
    _shade(bias, points)
    bias.step(times, [point.bias_V for point in points], where="post", color=BIAS)
    bias.axhline(0.0, color=LIMIT, linewidth=0.6)
    bias.set_ylabel("bias, V")
    bias.margins(y=0.25)
    _bar(beam, points, "beam_open", 1.0, BEAM)
    _bar(beam, points, "recording", 0.0, FRAMES)
    beam.set_yticks([0.0, 1.0], ["frames", "beam"])
    beam.set_ylim(-0.6, 1.6)
    frames.plot(*_counted(points), color=FRAMES)
    frames.set_ylabel("frames")
    frames.set_ylim(bottom=0.0)
    dose.plot(times, [point.dose_e_per_A2 for point in points], color=DOSE)
    dose.set_ylabel("dose, e/Å²")
    highest = max(point.dose_e_per_A2 for point in points)
    for budget in {one.budget_e_per_A2 for one in estimate.sites}:
        if highest and budget < 3.0 * highest:
            dose.axhline(budget, color=LIMIT, linestyle="--", linewidth=0.9)
            dose.text(times[-1], budget, f"budget {budget:g}", ha="right", va="bottom", fontsize=8)
            dose.set_ylim(0.0, 1.15 * max(budget, highest))
            break
    else:
        dose.set_ylim(bottom=0.0)
    dose.set_xlabel("station time, s")
    dose.set_xlim(0.0, max(times[-1], 1e-3))
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels(axes)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise RecordingError(
            f"{path}: cannot be written: {why}; give a file as timeline.png"
        ) from None
    return path


def _phases(points: tuple[TimelinePoint, ...]) -> list[tuple[float, float, str]]:
    """Return from when to when which phase was; marks at one time count once."""
    found: list[tuple[float, float, str]] = []
    for point, after in itertools.pairwise(points):
        if found and found[-1][2] == point.phase and found[-1][1] == point.t_s:
            found[-1] = (found[-1][0], after.t_s, point.phase)
        else:
            found.append((point.t_s, after.t_s, point.phase))
    return found


def _shade(axes: Any, points: tuple[TimelinePoint, ...]) -> None:
    whole = max(points[-1].t_s, 1e-9)
    for begin, end, phase in _phases(points):
        colour = SHADES.get(phase)
        if colour is not None:
            axes.axvspan(begin, end, color=colour, linewidth=0.0)
        if phase and phase != "end" and end - begin > TEXT_SHARE * whole:
            axes.text(
                0.5 * (begin + end), 1.0, phase.replace("_", " "), ha="center", va="bottom",
                fontsize=8, transform=axes.get_xaxis_transform(),
            )  # fmt: skip


def _bar(
    axes: Any, points: tuple[TimelinePoint, ...], what: str, height: float, colour: str
) -> None:
    spans = [
        (point.t_s, after.t_s - point.t_s)
        for point, after in itertools.pairwise(points)
        if getattr(point, what)
    ]
    axes.broken_barh(spans, (height - 0.35, 0.7), color=colour, linewidth=0.0)


def _counted(points: tuple[TimelinePoint, ...]) -> tuple[list[float], list[int]]:
    return [point.t_s for point in points], [point.frames for point in points]
