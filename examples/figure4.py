"""Draw what the model makes of the paper's Fig. 4 (reduced), Fig. 2f and Fig. 3e.

Run it with a folder for the picture:  python examples/figure4.py pictures

Paper: Wang et al., ACS Energy Lett. 2023, 8, 1929.  Curves are the model's; no data of the paper
are drawn.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stmtem_control.simulators import KineticModel, equations
from stmtem_control.simulators.observations_runs import crystallinity_curve

SEEDS = range(1, 13)
REVERSAL_S = 5.5


def boundary_and_rounding(axes: Axes) -> None:
    """Fig. 4b: life of a grain boundary, beside the time in which the neck closes."""
    radius = np.geomspace(5.0, 300.0, 100)
    axes.loglog(2 * radius, equations.boundary_life(radius), label="bicrystal, R²/q")
    axes.loglog(2 * radius, equations.rounding_time(radius), "--", label="neck to 1/e, 0.89 R⁴/B")
    axes.set(title="4b  after fusion", xlabel="2R (nm)", ylabel="time (s)")
    axes.legend(frameon=False)


def crystallinity(axes: Axes) -> None:
    """Fig. 4c: BCC share of one particle, and of all atoms on a fibre while depositing."""
    atoms = np.geomspace(50.0, 1e8, 200)
    for seed in SEEDS[:4]:
        deposited, share = crystallinity_curve(KineticModel("fig2", seed))
        label = "fibre, four runs" if seed == 1 else None
        axes.semilogx(deposited, share, color="tab:orange", lw=1, label=label)
    axes.semilogx(atoms, equations.crystalline_share(atoms), color="tab:blue", label="one particle")
    axes.set(title="4c  BCC share", xlabel="Li atoms deposited", ylabel="share", ylim=(0, 1))
    axes.legend(frameon=False)


def diffusivities(axes: Axes) -> None:
    """Fig. 4e: atoms of a particle on the fibre, on its surface, and without support."""
    radius = np.geomspace(1.5, 50.0, 100)
    for label, diffusivity in (
        ("surface atoms", equations.surface_diffusivity_nm2_s),
        ("particle on the fibre", equations.supported_diffusivity_nm2_s),
        ("free-standing particle", equations.free_standing_diffusivity_nm2_s),
    ):
        axes.loglog(2 * radius, np.asarray(diffusivity(radius)) * 1e-18, label=label)
    axes.set(title="4e  diffusivity", xlabel="2R (nm)", ylabel="D (m²/s)")
    axes.legend(frameon=False)


def number_of_nuclei(axes: Axes) -> None:
    """Fig. 2f: particles on a fibre; mean and 5-95 % of runs."""
    times = np.arange(0.0, 1.21, 0.02)
    counts = np.zeros((len(SEEDS), len(times)))
    for row, seed in zip(counts, SEEDS, strict=True):
        model = KineticModel("fig2", seed)
        for k, time in enumerate(times):
            model.advance(time - model.time, -5.0)
            row[k] = len(model.particles)
    low, high = np.percentile(counts, [5, 95], axis=0)
    axes.fill_between(times, low, high, alpha=0.25, lw=0)
    axes.plot(times, counts.mean(axis=0))
    for moment in (0.2, 0.8):
        axes.axvline(moment, color="grey", lw=0.8, ls=":")
    axes.set(title="2f  nuclei at -5 V", xlabel="t (s)", ylabel="N on 2 µm", ylim=(0, None))


def follow_one_crystal() -> tuple[np.ndarray, np.ndarray]:
    """Return times, and the crystal that is the largest at reversal, at these."""
    model = KineticModel("fig3c", 1)
    model.advance(REVERSAL_S, -5.0)
    largest = model.particles[model.particles["volume_nm3"].argmax()]["uid"]
    model = KineticModel("fig3c", 1)  # the same run again, now knowing whom to follow
    times, rows = [], []
    while model.time < REVERSAL_S or len(model.particles):
        model.advance(0.02, -5.0 if model.time < REVERSAL_S else 5.0)
        crystal = model.particles[model.particles["uid"] == largest]
        if len(crystal):
            times.append(model.time)
            rows.append(crystal[0])
    return np.array(times), np.array(rows)


def area_and_angle(area: Axes, angle: Axes) -> None:
    """Fig. 3e: side-view area and contact angle of a crystal that facets and is stripped."""
    times, crystal = follow_one_crystal()
    faceted = crystal["phi"] >= 0.6
    for axes, values in (
        (area, crystal["side_area_nm2"] * 1e-3),
        (angle, np.degrees(crystal["contact_angle_rad"])),
    ):
        axes.plot(times, np.where(faceted, np.nan, values), label="droplet")
        axes.plot(times, np.where(faceted, values, np.nan), color="tab:red", label="faceted")
        axes.axvline(REVERSAL_S, color="grey", lw=0.8, ls=":")
        axes.set(xlabel="t (s)")
        axes.legend(frameon=False)
    start = times[np.argmax(crystal["diameter_nm"] >= 100.0)]
    guide = np.array([start, start + 2.5])
    offset = crystal["side_area_nm2"][np.argmax(times >= start)]
    area.plot(guide, (offset + 5000.0 * (guide - start)) * 1e-3, "k--", lw=0.8)
    area.annotate("5000 nm²/s", (guide[1], offset * 1e-3 + 12.5), ha="right", va="bottom")
    area.set(title="3e  area from the side", ylabel="A (10³ nm²)", ylim=(0, None))
    angle.set(title="3e  contact angle", ylabel="θ (degrees)", ylim=(20, 70))


def draw() -> Figure:
    """Draw all six panels."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    (first, second, third), (fourth, fifth, sixth) = figure.subplots(2, 3)
    boundary_and_rounding(first)
    crystallinity(second)
    diffusivities(third)
    number_of_nuclei(fourth)
    area_and_angle(fifth, sixth)
    return figure


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    picture = Path(sys.argv[1]) / "figure4.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw().savefig(picture, dpi=120)
    print(f"drawn from {len(SEEDS)} runs: {picture}")
