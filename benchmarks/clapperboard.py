"""How often the clapperboard's interval holds the truth, and how wide it is.

``python -m benchmarks.clapperboard [--seeds 200]`` prints the table of the simulated instruments
and that of made-up scenes; ``python -m benchmarks clapperboard`` keeps them as well.
"""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from stmtem_control.errors import AlignmentError
from stmtem_control.recording.aligned_clock import drift_uncertainty
from stmtem_control.recording.blank_edges import Blanker
from stmtem_control.recording.clapperboard import fit_pattern

from .clapperboard_bench import Judged, run_seed
from .clapperboard_scenes import Scene, take
from .side_by_side import Report, Target, markdown

SEEDS = 200
SCENES = {
    "25 fps, 35 ms, 20 000 electrons, 1 % flicker": Scene(),
    "the same, one frame in ten lost": Scene(lost=0.1),
    "the same, one in four lost": Scene(lost=0.25),
    "no dead time": Scene(exposure_s=0.04),
    "10 ms of 40": Scene(exposure_s=0.01),
    "2 ms of 40": Scene(exposure_s=0.002),
    "500 electrons": Scene(electrons=500.0),
    "100 electrons": Scene(electrons=100.0, flicker=0.0),
    "dark 3000, read-out noise 500 electrons": Scene(dark=3000.0, readout=500.0),
    "exchanges of 4 ms": Scene(trip_s=4e-3),
    "blanker 5 +- 1 ms late, 8 ms slow": Scene(delay=Blanker(5e-3, 1e-3, 8e-3)),
    "stamps scatter by 1 ms": Scene(stamp_jitter_s=1e-3),
    "picture 20 % brighter each second": Scene(growth=0.2),
    "100 fps, 8 ms": Scene(rate_Hz=100.0, exposure_s=0.008),
    "2 fps, 400 ms": Scene(rate_Hz=2.0, exposure_s=0.4),
}


class Found(NamedTuple):
    """What came out of a scene: widths and errors in s."""

    held: int
    refused: int
    widths: list[float]
    errors: list[float]


def run_scene(scene: Scene, seeds: Sequence[int]) -> Found:
    """Fit a scene once for each seed."""
    widths, errors, held = [], [], 0
    for seed in seeds:
        taken = take(scene, seed)
        try:
            fit = fit_pattern(
                taken.frames,
                taken.edges,
                blanker=scene.delay,
                expected_offset_s=taken.expected_offset_s,
            )
        except AlignmentError:
            continue
        error = abs(fit.offset_s - taken.truth(fit.reference_s))
        allowed = fit.half_width_s + scene.delay.delay_uncertainty_s
        held += error <= allowed
        widths.append(2.0 * allowed)
        errors.append(error)
    return Found(held, len(seeds) - len(widths), widths, errors)


def run(rounds: int) -> Report:
    """Run all, `rounds` seeds and :data:`SEEDS` at least."""
    seeds = range(max(rounds, SEEDS))
    judged = [run_seed(seed) for seed in seeds]
    table = _of_bench(judged)
    scenes = {name: run_scene(scene, seeds) for name, scene in SCENES.items()}
    held = sum(
        abs(error) <= fit.half_width_s
        for one in judged
        for fit, error in zip(one.fits, one.errors_s, strict=True)
    )
    share = held / (2.0 * len(judged))
    widest_ms = 2e3 * max(fit.half_width_s for one in judged for fit in one.fits)
    targets = [
        Target("true offset in the interval, %", ">= 95", 100.0 * share, share >= 0.95),
        Target("widest interval at 25 fps, ms", "< 4", widest_ms, widest_ms < 4.0),
    ]
    result: dict[str, Any] = {
        "seeds": len(seeds),
        "bench": {"held": held, "of": 2 * len(judged), "widest_ms": widest_ms},
        "scenes": {
            name: {
                "held": found.held,
                "refused": found.refused,
                "median_width_ms": 1e3 * float(np.median(found.widths)),
                "largest_error_ms": 1e3 * max(found.errors),
            }
            for name, found in scenes.items()
        },
    }
    return Report("clapperboard", f"{table}\n\n{_of_scenes(scenes)}", targets, result)


def _of_bench(judged: Sequence[Judged]) -> str:
    rows: list[list[object]] = []
    for name, errors, widths in (
        ("offset, at the start", [j.errors_s[0] for j in judged], [_half(j, 0) for j in judged]),
        ("offset, at the end", [j.errors_s[1] for j in judged], [_half(j, 1) for j in judged]),
        (
            "offset half way, from both",
            [j.middle_error_s for j in judged],
            [j.middle_width_s for j in judged],
        ),
    ):
        held = sum(abs(e) <= w for e, w in zip(errors, widths, strict=True))
        rows.append([name, f"{held} of {len(judged)}", *_in_ms(np.multiply(2.0, widths), errors)])
    held = sum(abs(j.drift_error) <= drift_uncertainty(j.model) for j in judged)
    ppm = [2e6 * drift_uncertainty(j.model) for j in judged]
    worst = 1e6 * max(abs(j.drift_error) for j in judged)
    rows.append(
        [
            "drift (ppm instead of ms)",
            f"{held} of {len(judged)}",
            f"{np.median(ppm):.2f}",
            f"{max(ppm):.2f}",
            f"{worst:.2f}",
        ]
    )
    lost, frames = sum(j.lost for j in judged), sum(j.frames for j in judged)
    rows.append([f"({lost} of {lost + frames} frames were lost)", "", "", "", ""])
    head = ["simulated instruments", "held", "median width, ms", "widest, ms", "largest error, ms"]
    return markdown(head, rows)


def _of_scenes(scenes: dict[str, Found]) -> str:
    rows = [
        [
            name,
            f"{found.held} of {len(found.widths)}",
            found.refused,
            *_in_ms(found.widths, found.errors),
        ]
        for name, found in scenes.items()
    ]
    head = [
        "scene",
        "held",
        "refused",
        "median width, ms",
        "widest, ms",
        "largest error, ms",
    ]
    return markdown(head, rows)


def _half(judged: Judged, pattern: int) -> float:
    return judged.fits[pattern].half_width_s


def _in_ms(widths: Any, errors: Sequence[float]) -> list[str]:
    values = (float(np.median(widths)), float(np.max(widths)), max(map(abs, errors)))
    return [f"{1e3 * value:.2f}" for value in values]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each kind")
    report = run(parser.parse_args().seeds)
    print(report.table)
