"""Pictures of one specimen: survey, bright field and diffraction, before and after growth.

Run it with a folder for the sheet:  python examples/pictures.py pictures
"""

import sys
from math import cos, radians, sin
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from stmtem_control.simulators import KineticModel
from stmtem_control.simulators.diffraction import bcc_reflections, diffraction_pattern
from stmtem_control.simulators.survey import adf_survey

FREE_END_NM = -1068.0  # of the fibre, view x with the middle of the fibre at 0
APERTURE_NM = 700.0
CENTRE_NM = (-100.0, 120.0)  # on the upper edge of the fibre, where lithium stands clear of it
PER_PX = 0.0045  # 1/A
SURVEY_PX_NM, FRAME_PX_NM = 6.0, 2.0
CARBON = {"C 002": 1 / 3.5, "C 100": 1 / 2.1}
OXIDE = {"Li$_2$O 111": 1 / 2.66, "Li$_2$O 220": 1 / 1.63}


def scale_bar(axes: Any, pixels: float, text: str, colour: str) -> None:
    """Draw a bar of that many pixels into the lower left corner."""
    height, width = axes.images[0].get_array().shape
    x, y = 0.05 * width, 0.94 * height
    axes.add_patch(Rectangle((x, y), pixels, 0.012 * height, color=colour, linewidth=0))
    axes.text(x + pixels / 2, y - 0.015 * height, text, color=colour, ha="center", va="bottom")


def plain(axes: Any, title: str) -> None:
    """Write the title and leave the ticks out."""
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def ring(axes: Any, inverse_A: float, text: str, angle_deg: float, colour: str) -> None:
    """Mark a ring by a short arc on either side of its label."""
    height, width = axes.images[0].get_array().shape
    for start in (angle_deg - 14.0, angle_deg + 7.0):
        arc = np.radians(np.linspace(start, start + 7.0, 20))
        axes.plot(
            width / 2 + inverse_A / PER_PX * np.cos(arc),
            height / 2 - inverse_A / PER_PX * np.sin(arc),
            color=colour,
            linewidth=0.9,
        )
    at = radians(angle_deg)
    x = width / 2 + inverse_A / PER_PX * cos(at)
    y = height / 2 - inverse_A / PER_PX * sin(at)
    axes.text(x, y, text, color=colour, fontsize=7, ha="center", va="center")


def survey(axes: Any, model: KineticModel) -> None:
    """Draw fibre and tip in annular dark field."""
    middle = FREE_END_NM + 500.0
    picture = adf_survey(
        model,
        (400, 512),
        pixel_size_nm=SURVEY_PX_NM,
        origin_nm=(middle, 0.0),
        probe_nm=(FREE_END_NM - middle - 20.0, -10.0),
        probe_axis_deg=184.0,
    )
    top = float(picture.max())
    axes.imshow(picture, cmap="gray", norm=PowerNorm(0.4, vmin=190.0, vmax=top))
    scale_bar(axes, 500.0 / SURVEY_PX_NM, "500 nm", "white")
    axes.text(60, 150, "W tip with\nlithium coat", color="white", fontsize=8, ha="center")
    axes.text(380, 150, "carbon fibre with lithium", color="white", fontsize=8, ha="center")
    plain(axes, f"ADF-STEM survey, {model.time:.1f} s")


def bright_field(axes: Any, model: KineticModel) -> None:
    """Draw the fibre in bright field and the selected area."""
    picture = model.frame(shape=(400, 512), pixel_size_nm=FRAME_PX_NM, origin_nm=CENTRE_NM)
    axes.imshow(picture, cmap="gray", vmin=0.3 * picture.mean(), vmax=1.5 * picture.mean())
    axes.add_patch(
        Circle((256, 200), APERTURE_NM / 2 / FRAME_PX_NM, fill=False, color="gold", linewidth=1)
    )
    scale_bar(axes, 200.0 / FRAME_PX_NM, "200 nm", "black")
    plain(axes, f"Bright field, {model.time:.1f} s, and selected area")


def pattern(axes: Any, model: KineticModel) -> None:
    """Draw the diffraction of the selected area on a logarithmic scale."""
    picture = diffraction_pattern(
        model,
        pixel_inverse_A=PER_PX,
        aperture_nm=APERTURE_NM,
        aperture_centre_nm=CENTRE_NM,
        beam_stop_inverse_A=0.06,
        beam_stop_deg=100.0,
        beam_width_inverse_A=0.01,
        electrons=2e8,
        detector="ccd",
        gain=1.0,
        offset=20.0,
    )
    axes.imshow(picture, cmap="gray", norm=LogNorm(vmin=24.0, vmax=4000.0, clip=True))
    for text, inverse_A in CARBON.items():
        ring(axes, inverse_A, text, 215.0, "deepskyblue")
    for text, inverse_A in OXIDE.items():
        ring(axes, inverse_A, text, 325.0, "lightgreen")
    for family in bcc_reflections(3.51, 200.0, largest_inverse_A=1.0):
        name = "Li " + "".join(str(index) for index in family["hkl"])
        ring(axes, float(family["inverse_d_A"]), name, 35.0, "gold")
    scale_bar(axes, 0.5 / PER_PX, "0.5 Å$^{-1}$", "white")
    plain(axes, f"Selected area, {model.time:.1f} s, log scale")


if len(sys.argv) != 2:
    sys.exit(__doc__)
folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
figure = Figure(figsize=(11.0, 10.4), layout="constrained")
(top_left, top_right), (bottom_left, bottom_right) = figure.subplots(
    2, 2, gridspec_kw={"height_ratios": [400, 512]}
)
model = KineticModel("fig2", seed=1)
model.advance(0.6, -5.0)
pattern(bottom_left, model)
model.advance(5.4, -5.0)
survey(top_left, model)
bright_field(top_right, model)
pattern(bottom_right, model)
figure.savefig(folder / "pictures.png", dpi=110)
print(f"wrote {folder / 'pictures.png'}")
