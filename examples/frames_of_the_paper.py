"""Simulated frames at the instants of Wang et al. 2023, Figs 2 and 3, with inverted contrast.

Run it with a folder for the picture:  python examples/frames_of_the_paper.py pictures

In the paper the large crystal of Fig. 3c becomes faceted 33 to 34 s after the bias is applied; the
model's does when it has reached the same size, a few seconds after its birth.  Its panels are
named after the paper's instants and carry the model's own time.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from stmtem_control.simulators import KineticModel

SEED = 5
DOSE = 0.8  # e/A^2 a frame: 20 e/(A^2 s) for 40 ms


class Panel(NamedTuple):
    """One frame, what the paper calls the instant, and the width of a pixel in nm."""

    title: str
    frame: NDArray[np.uint16]
    pixel_nm: float


def look(
    model: KineticModel, title: str, pixel_nm: float, x: float, y: float, frames: int = 1
) -> Panel:
    """Take a picture of 300 x 400 pixels around a point of the fibre: one frame or a sum."""
    frame = model.frame(
        shape=(300, 400),
        pixel_size_nm=pixel_nm,
        electrons_per_A2=frames * DOSE,
        origin_nm=(x, y),
    )
    return Panel(f"{title}\n{model.time:.2f} s", frame, pixel_nm)


def burst() -> Iterator[Panel]:
    """Nucleation, Fig. 2."""
    model = KineticModel("fig2", seed=3)
    yield look(model, "Fig. 2, 0 s", 0.9, 20.0, 130.0, frames=5)
    for end in (0.2, 0.8):
        model.advance(end - model.time, -5.0)
        yield look(model, f"Fig. 2, {end} s", 0.9, 20.0, 130.0, frames=5)


def small_particles() -> Iterator[Panel]:
    """Droplets below 100 nm that come and go, Fig. 3a."""
    model = KineticModel("fig2", seed=3)
    model.advance(1.0, -5.0)
    yield look(model, "Fig. 3a, 1 s", 1.0, 0.0, 120.0)
    model.advance(0.3, 5.0)
    yield look(model, "Fig. 3a, stripping", 1.0, 0.0, 120.0)
    model.advance(0.7, 5.0)
    yield look(model, "Fig. 3a, 2 s", 1.0, 0.0, 120.0)


def local_facets() -> Iterator[Panel]:
    """Medium particles, Fig. 3b."""
    model = KineticModel("fig3b", seed=1)
    model.advance(2.0, -5.0)
    yield look(model, "Fig. 3b, 2 s", 1.6, 0.0, 100.0)
    model.advance(15.2, -5.0)
    yield look(model, "Fig. 3b, 17.2 s", 1.6, 0.0, 100.0)
    model.advance(2.8, 5.0)
    yield look(model, "Fig. 3b, 20 s", 1.6, 0.0, 100.0)


def large_crystal() -> Iterator[Panel]:
    """Complete faceting and its reversal, Fig. 3c."""
    model = KineticModel("fig3c", seed=SEED)

    def phi() -> float:
        return float(model.particles["phi"].max(initial=0.0))

    while phi() < 0.35:
        model.advance(0.05, -5.0)
    crystal = model.particles[np.argmax(model.particles["phi"])]
    x = float(crystal["s_nm"]) - 0.5 * model.parameters["fibre_length_nm"]
    yield look(model, "Fig. 3c, 33 s: droplet", 1.6, x, 330.0)
    while phi() < 0.9:
        model.advance(0.05, -5.0)
    yield look(model, "Fig. 3c, 34 s: faceted", 1.6, x, 330.0)
    model.advance(1.0, -5.0)
    yield look(model, "facets advance slowly", 1.6, x, 330.0)
    full = model.lithium_volume_nm3
    for share, title in ((0.88, "edges dissolve"), (0.6, "a droplet again"), (0.08, "30 degrees")):
        while model.lithium_volume_nm3 > share * full:
            model.advance(0.01, 5.0)
        yield look(model, f"stripping: {title}", 1.6, x, 330.0)


def draw(axes: Axes, panel: Panel) -> None:
    """Show a frame as the paper does: lithium bright."""
    low, high = np.percentile(panel.frame, (0.5, 99.8))
    axes.imshow(high - panel.frame.astype(float), cmap="gray", vmin=0.0, vmax=high - low)
    bar = 100.0 / panel.pixel_nm
    axes.plot([15, 15 + bar], [282, 282], color="white", linewidth=3)
    axes.text(15 + bar / 2, 274, "100 nm", color="white", ha="center", fontsize=7)
    for artist in (*axes.lines, *axes.texts):
        artist.set_path_effects([withStroke(linewidth=2.5, foreground="black")])
    axes.set_title(panel.title, fontsize=8)
    axes.set_axis_off()


def main(folder: Path) -> None:
    """Write the sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    panels = [*burst(), *small_particles(), *local_facets(), *large_crystal()]
    figure, grid = plt.subplots(5, 3, figsize=(9.5, 12.5), layout="constrained")
    for axes, panel in zip(grid.flat, panels, strict=True):
        draw(axes, panel)
    path = folder / "frames_of_the_paper.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"wrote {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "pictures"))
