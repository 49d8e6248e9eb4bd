"""One picture of a run: frames over the cycles beside bias, current and projected Li area."""

import contextlib
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import RecordingError
from .recording.frame_files import read_frames
from .units import si

FloatImage = NDArray[np.float64]

SMOOTH_PX = 7  # edge of the box that a pixel is averaged over before it is judged
THRESHOLD = 4.5  # in standard deviations of the smoothed bare fibre
BLUE, ORANGE, GREY, OUTLINE = "#1f5fa8", "#c8641e", "#8a8a8a", "#ffb000"


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
    bare fibre by more than `THRESHOLD` standard deviations of the counting noise.  The averaging
    moves the outline of a strong contrast outwards, by less than half the box.

    Parameters
    ----------
    bare : sequence of arrays
        Frames (H, W) taken before the first bias edge; at least one.
    """

    def __init__(self, bare: Sequence[NDArray[np.uint16]]) -> None:
        self._reference = smooth(np.mean([frame.astype(np.float64) for frame in bare], axis=0))
        self._mean = float(self._reference.mean())
        # Behind the probe no electrons arrive, so nothing can be told there.
        self._seen = self._reference > 0.05 * float(np.median(self._reference))

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
        return np.asarray((ratio < 1.0 - THRESHOLD * sigma) & self._seen)


@dataclass(frozen=True)
class Measured:
    """What was measured in the frames of a run: areas, and outlines of what was counted."""

    areas_nm2: list[float]
    masks: dict[int, NDArray[np.uint8]]  # bits packed along the rows


def measure(folder: Path, rows: Sequence[Row], pixel_size_nm: float) -> Measured:
    """Measure the projected Li area in each frame of a run.

    The bare fibre is the mean of the fully lit frames before the first bias edge.  The area is NaN
    in those frames, in the dark, and everywhere when there is no frame to compare with.
    """
    full = max((row.dose_e_per_A2 for row in rows), default=0.0)
    lit = [row.dose_e_per_A2 > 0.98 * full > 0.0 for row in rows]
    bare: list[NDArray[np.uint16]] = []
    meter: AreaMeter | None = None
    areas: list[float] = []
    masks: dict[int, NDArray[np.uint8]] = {}
    for number, (frame, row) in enumerate(zip(read_frames(folder), rows, strict=False)):
        area = float("nan")
        if lit[number] and row.phase == "pre-roll":
            bare.append(frame)
        elif lit[number] and bare:
            meter = meter or AreaMeter(bare)
            mask = meter.mask(frame)
            area = float(np.count_nonzero(mask)) * pixel_size_nm**2
            masks[number] = np.packbits(mask, axis=1)
        areas.append(area)
    return Measured(areas, masks)


def _chosen(rows: Sequence[Row], areas: Sequence[float], count: int = 10) -> list[int]:
    """Choose frames that tell the story of one cycle: the bare fibre, growth, stripping."""
    lit = [i for i, row in enumerate(rows) if row.dose_e_per_A2 > 0.0] or list(range(len(rows)))
    cycle = min((row.cycle for row in rows if row.cycle > 0), default=0)
    growing = [i for i in lit if rows[i].cycle == cycle and rows[i].phase == "deposit"]
    stripping = [i for i in lit if rows[i].cycle == cycle and rows[i].phase == "strip"]
    before = [i for i in lit if rows[i].phase == "pre-roll"][-1:]
    if stripping:
        # Most of the stripping shows an empty fibre: up to just after the last lithium is enough.
        most = np.nanmax([0.0, *areas])
        seen = [k for k, i in enumerate(stripping) if areas[i] > 0.02 * most]
        stripping = stripping[: (seen[-1] + 2 if seen else 1)]
    if not growing and not stripping:
        return lit[:: max(1, len(lit) // count)][:count]
    share = count - len(before)
    first = share if not stripping else (0 if not growing else (share + 1) // 2)
    return [*before, *_spread(growing, first), *_spread(stripping, share - first)]


def _spread(frames: Sequence[int], count: int) -> list[int]:
    if not frames or count < 1:
        return []
    places = np.linspace(0, len(frames) - 1, count + 1).round().astype(int)[1:]
    return [frames[place] for place in dict.fromkeys(places.tolist())]


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
    measured = measure(folder, rows, pixel_size_nm)
    chosen = _chosen(rows, measured.areas_nm2)
    wanted = set(chosen)
    pictures = {
        i: smooth(f.astype(float), 3) for i, f in enumerate(read_frames(folder)) if i in wanted
    }

    figure = Figure(figsize=(14.0, 8.4), dpi=110, layout="constrained")
    if title:
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    halves = figure.add_gridspec(1, 2, width_ratios=(1.3, 1.0))
    left, right = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    columns = 2
    axes = left.subplots(-(-len(chosen) // columns), columns, squeeze=False)
    left.supxlabel("contrast inverted; outlined: what is counted as lithium", fontsize=8)
    rows_shown = _busy_rows(list(pictures.values()))
    low, high = np.percentile(np.stack([p[rows_shown] for p in pictures.values()]), (4.0, 99.5))
    zero = next((r.run_time_s for r in rows if r.phase not in ("pre-roll", "")), rows[0].run_time_s)
    # Down the columns: growth on the left, stripping on the right.
    for place, axis in enumerate(axes.T.flat):
        axis.axis("off")
        if place >= len(chosen):
            continue
        number = chosen[place]
        row, picture = rows[number], pictures[number][rows_shown]
        # Contrast inverted, as in the paper: dense matter bright.
        axis.imshow(picture, cmap="gray_r", vmin=low, vmax=high)
        packed = measured.masks.get(number)
        if packed is not None:
            mask = np.unpackbits(packed, axis=1, count=picture.shape[1])[rows_shown]
            if mask.any():
                axis.contour(mask, levels=[0.5], colors=OUTLINE, linewidths=0.7)
        axis.set_title(
            f"{row.run_time_s - zero:+.2f} s   {row.phase}   {si(row.bias_V, 'V')}",
            fontsize=9,
            pad=3,
        )
        if place == 0:
            _scale_bar(axis, picture.shape, pixel_size_nm)
    marks = [rows[i].run_time_s - zero for i in chosen]
    _strip_charts(right, rows, measured.areas_nm2, zero, marks)
    path = folder / "contact_sheet.png"
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    try:
        path.write_bytes(drawn.getvalue())
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise RecordingError(f"{path}: {error.strerror or error}") from None
    return path


def _busy_rows(pictures: Sequence[FloatImage]) -> slice:
    """Return the rows of the image with the specimen in them and a margin around it."""
    mean = np.mean(pictures, axis=0)
    profile = np.median(mean, axis=1)
    busy = np.flatnonzero(profile < 0.85 * np.percentile(profile, 95))
    height = len(profile)
    if not 0.1 * height < len(busy) < 0.8 * height:
        return slice(0, height)
    margin = height // 10
    return slice(max(0, int(busy[0]) - margin), min(height, int(busy[-1]) + margin + 1))


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
