"""One picture of a run: frames over the cycles beside bias, current and projected Li area."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import RecordingError
from .frames import read_frames
from .units import si

FloatImage = NDArray[np.float64]

SMOOTH_PX = 5  # edge of the box that a pixel is averaged over before it is judged
THRESHOLD = 5.0  # in standard deviations of the smoothed bare fibre
BLUE, ORANGE, GREY = "#1f5fa8", "#c8641e", "#8a8a8a"


@dataclass(frozen=True)
class Row:
    """One row of ``frames.csv``, as far as the picture needs it."""

    run_time_s: float
    phase: str
    cycle: int
    bias_V: float
    current_A: float
    dose_e_per_A2: float
    total_dose_e_per_A2: float


def read_rows(folder: Path) -> list[Row]:
    """Read ``frames.csv`` of a run.

    Raises
    ------
    RecordingError
        The run has no table of frames.
    """
    try:
        with open(folder / "frames.csv", encoding="utf-8", newline="") as file:
            return [
                Row(
                    run_time_s=float(row["run_time_s"]),
                    phase=row["phase"],
                    cycle=int(row["cycle"] or 0),
                    bias_V=float(row["bias_set_V"] or "nan"),
                    current_A=float(row["current_A"] or "nan"),
                    dose_e_per_A2=float(row["dose_e_per_A2"]),
                    total_dose_e_per_A2=float(row["total_dose_e_per_A2"]),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError) as error:
        raise RecordingError(f"{folder}: frames.csv cannot be read: {error}") from None


def smooth(image: FloatImage, edge: int = SMOOTH_PX) -> FloatImage:
    """Average each pixel over a box of `edge` pixels, the image continued at its borders."""
    half = edge // 2
    padded = np.pad(image, half, mode="edge")
    sums = np.pad(padded, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    box = sums[edge:, edge:] - sums[:-edge, edge:] - sums[edge:, :-edge] + sums[:-edge, :-edge]
    return np.asarray(box / edge**2)


class AreaMeter:
    """Measure the projected area of lithium in frames, against frames of the bare fibre.

    A pixel counts as lithium when its smoothed, dose-normalised intensity is below that of the
    bare fibre by more than `THRESHOLD` standard deviations of the counting noise.

    Parameters
    ----------
    bare : sequence of arrays
        Frames (H, W) taken before the first bias edge; at least one.
    pixel_size_nm : float
        Edge of a pixel in nm.
    """

    def __init__(self, bare: Sequence[NDArray[np.uint16]], pixel_size_nm: float) -> None:
        self._pixel_area = pixel_size_nm**2
        self._reference = smooth(np.mean([frame.astype(np.float64) for frame in bare], axis=0))
        self._mean = float(self._reference.mean())

    def mask(self, frame: NDArray[np.uint16]) -> NDArray[np.bool_]:
        """Return where the lithium is, (H, W)."""
        image = smooth(frame.astype(np.float64))
        mean = float(image.mean())
        if mean <= 0.0 or self._mean <= 0.0:
            return np.zeros(frame.shape, dtype=bool)
        # The brightest half of the view is vacuum and bare fibre: it carries the dose.
        ratio = image / np.maximum(self._reference, 1e-9)
        ratio /= float(np.median(ratio))
        sigma = np.sqrt(1.0 / (np.maximum(self._reference, 1.0) * SMOOTH_PX**2))
        return np.asarray(ratio < 1.0 - THRESHOLD * sigma)

    def area_nm2(self, frame: NDArray[np.uint16]) -> float:
        """Return the projected area of lithium in nm^2."""
        return float(np.count_nonzero(self.mask(frame))) * self._pixel_area


def lithium_area(
    frames: Iterator[NDArray[np.uint16]], rows: Sequence[Row], pixel_size_nm: float
) -> list[float]:
    """Return the projected Li area (nm^2) of each frame; NaN where it cannot be told."""
    bare: list[NDArray[np.uint16]] = []
    meter: AreaMeter | None = None
    areas: list[float] = []
    for frame, row in zip(frames, rows, strict=False):
        if row.phase == "pre-roll":
            # A frame during which the beam came on is no reference.
            if not bare or row.dose_e_per_A2 >= max(r.dose_e_per_A2 for r in rows) * 0.999:
                bare.append(frame)
            areas.append(float("nan"))
            continue
        if meter is None and bare:
            full = [f for f in bare if f.mean() >= 0.9 * max(b.mean() for b in bare)]
            meter = AreaMeter(full, pixel_size_nm)
        dark = row.dose_e_per_A2 < 0.5 * max(r.dose_e_per_A2 for r in rows)
        areas.append(float("nan") if meter is None or dark else meter.area_nm2(frame))
    return areas


def _chosen(rows: Sequence[Row], count: int = 8) -> list[int]:
    """Choose frames that tell the story of one cycle: the bare fibre, growth, stripping."""
    lit = [i for i, row in enumerate(rows) if row.dose_e_per_A2 > 0.0]
    cycle = min((row.cycle for row in rows if row.cycle > 0), default=0)
    inside = [i for i in lit if rows[i].cycle == cycle and rows[i].phase != "rest"]
    before = [i for i in lit if rows[i].phase == "pre-roll"]
    if not inside:
        return lit[:: max(1, len(lit) // count)][:count]
    places = np.linspace(0, len(inside) - 1, count - 1).round().astype(int)
    return [*before[-1:], *(inside[place] for place in dict.fromkeys(places.tolist()))]


def draw_contact_sheet(folder: Path, pixel_size_nm: float, title: str = "") -> Path:
    """Draw ``contact_sheet.png`` of a run, in its folder.

    Parameters
    ----------
    folder : Path
        Of the run.
    pixel_size_nm : float
        Edge of a pixel in nm, for the scale bar and the area.
    title : str
        Written over the picture.

    Returns
    -------
    Path
        Of the picture.

    Raises
    ------
    RecordingError
        There are no frames, or the picture cannot be written.
    """
    from matplotlib.figure import Figure

    rows = read_rows(folder)
    if not rows:
        raise RecordingError(f"{folder}: no frames, so no contact sheet")
    areas = lithium_area(read_frames(folder), rows, pixel_size_nm)
    chosen = _chosen(rows)
    wanted = dict.fromkeys(chosen)
    pictures = {i: frame for i, frame in enumerate(read_frames(folder)) if i in wanted}

    figure = Figure(figsize=(14.0, 8.6), dpi=110, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    left, right = figure.subfigures(1, 2, width_ratios=(1.55, 1.0))
    columns = 3
    count = -(-len(chosen) // columns)
    axes = left.subplots(count, columns, squeeze=False)
    low, high = _contrast(list(pictures.values()))
    zero = next((r.run_time_s for r in rows if r.phase not in ("pre-roll", "")), rows[0].run_time_s)
    for place, axis in enumerate(axes.flat):
        axis.axis("off")
        if place >= len(chosen):
            continue
        row = rows[chosen[place]]
        # Contrast inverted, as in the paper: dense matter bright.
        axis.imshow(
            smooth(pictures[chosen[place]].astype(float), 3), cmap="gray_r", vmin=low, vmax=high
        )
        axis.set_title(
            f"{row.run_time_s - zero:+.2f} s   {row.phase}   {si(row.bias_V, 'V')}", fontsize=9
        )
        if place == 0:
            _scale_bar(axis, pictures[chosen[0]].shape, pixel_size_nm)
    _strip_charts(right, rows, areas, zero, [rows[i].run_time_s - zero for i in chosen])
    path = folder / "contact_sheet.png"
    try:
        figure.savefig(path)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from None
    return path


def _contrast(frames: Sequence[NDArray[np.uint16]]) -> tuple[float, float]:
    values = np.concatenate([smooth(frame.astype(float), 3).ravel()[::7] for frame in frames])
    low, high = np.percentile(values, (0.3, 99.7))
    return float(low), float(max(high, low + 1.0))


def _scale_bar(axis: object, shape: tuple[int, ...], pixel_size_nm: float) -> None:
    width = shape[1] * pixel_size_nm
    length = max(n for n in (10, 20, 50, 100, 200, 500, 1000, 2000) if n <= max(10.0, 0.3 * width))
    pixels = length / pixel_size_nm
    x, y = 0.05 * shape[1], 0.94 * shape[0]
    axis.plot([x, x + pixels], [y, y], color="white", lw=4, solid_capstyle="butt")  # type: ignore[attr-defined]
    axis.text(  # type: ignore[attr-defined]
        x + pixels / 2, y - 0.03 * shape[0], f"{length} nm", color="white", ha="center", fontsize=9
    )


def _strip_charts(
    figure: object,
    rows: Sequence[Row],
    areas: Sequence[float],
    zero: float,
    marks: Sequence[float],
) -> None:
    t = np.array([row.run_time_s - zero for row in rows])
    charts = (
        ("bias / V", np.array([row.bias_V for row in rows]), BLUE),
        ("current / pA", 1e12 * np.array([row.current_A for row in rows]), ORANGE),
        ("projected Li area / nm²", np.array(areas), "black"),
        ("total dose / e⁻ Å⁻²", np.array([row.total_dose_e_per_A2 for row in rows]), GREY),
    )
    axes = figure.subplots(  # type: ignore[attr-defined]
        len(charts), 1, sharex=True, height_ratios=(1.0, 1.2, 1.6, 0.8)
    )
    for axis, (label, values, colour) in zip(axes, charts, strict=True):
        if label.startswith("bias"):
            axis.step(t, values, where="post", color=colour, lw=1.4)
        else:
            axis.plot(t, values, color=colour, lw=1.2, marker=".", ms=3)
        axis.set_ylabel(label, fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
        for mark in marks:
            axis.axvline(mark, color=GREY, lw=0.5, alpha=0.6)
    axes[2].set_ylim(bottom=0.0)
    axes[-1].set_xlabel("time after the first bias edge / s", fontsize=9)
