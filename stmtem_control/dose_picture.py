"""A site in one picture: its dose against time with the limits, and where on it the dose went."""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from .dose.bookings import Exposure, SiteTotal
from .dose.budgets import Budget
from .dose.dose_map import DoseMap, add_run
from .errors import RecordingError
from .run_folder import DOCUMENTS

MAPS = "dose_maps"
BLUE, GREY, RED, ORANGE = "#1f5fa8", "#666666", "#b3261e", "#c46200"


def map_path(root: Path, specimen: str, site: str) -> Path:
    """Return where the dose map of a site is kept, under the data folder."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{specimen}__{site}")[:80]
    # Names that look alike without their special characters must not share a map.
    told = hashlib.sha256(f"{specimen}\n{site}".encode()).hexdigest()[:8]
    return root / MAPS / f"{plain}_{told}.npz"


def update_map(root: Path, specimen: str, site: str, runs: Sequence[str]) -> DoseMap | None:
    """Bring the dose map of a site up to date with its runs, and return it.

    Parameters
    ----------
    root : Path
        The data folder.
    specimen, site : str
        As the ledger names them.
    runs : sequence of str
        Uids of the runs that the ledger books on the site.

    Returns
    -------
    DoseMap or None
        None if no frames of these runs are on disk.

    Raises
    ------
    RecordingError
        The map is damaged, or cannot be written.
    """
    path = map_path(root, specimen, site)
    folders = _folders(root, runs)
    found = DoseMap.load(path) if path.exists() else None
    changed = False
    for folder in folders:
        if found is not None and folder.name in found.runs:
            continue
        try:
            if found is None:
                found = DoseMap(specimen, site, _pixel_nm(folder))
            add_run(found, folder)
            changed = True
        except RecordingError:
            continue  # a run without frames; the ledger has its dose
    if found is None or not found.tiles:
        return None
    if changed:
        found.save(path)
    return found


def _folders(root: Path, runs: Sequence[str]) -> list[Path]:
    found = []
    for run in dict.fromkeys(runs):
        # The name ends in the first characters of the uid.
        for documents in root.glob(f"*_{run[:8]}/{DOCUMENTS}"):
            with open(documents, encoding="utf-8") as file:
                first = file.readline()
            if json.loads(first)[1].get("uid") == run:
                found.append(documents.parent)
    return sorted(found)


def _pixel_nm(folder: Path) -> float:
    """Return the pixel size of a map: four of the frames'."""
    from .recording.frame_files import read_rows

    for row in read_rows(folder):
        dose, electrons = row.get("dose_e_per_A2") or 0.0, row.get("dose_e_per_px") or 0.0
        if dose > 0.0 and electrons > 0.0:
            return 4.0 * float(np.sqrt(electrons / dose)) / 10.0
    raise RecordingError(f"{folder}: no frame was lit")


def draw_site(
    total: SiteTotal,
    exposures: Sequence[Exposure],
    budget: Budget,
    *,
    root: Path,
    path: Path,
) -> Path:
    """Draw a site; return the picture's path.

    Raises
    ------
    RecordingError
        The picture, or the map, cannot be written.
    """
    from matplotlib.figure import Figure

    dose_map = update_map(root, total.specimen, total.site, [one.account.run for one in exposures])
    figure = Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1.0))
    seconds, doses = _curve(exposures)
    begun = datetime.fromtimestamp(exposures[0].first_unix_s, UTC)
    longest = max(seconds[-1], 1e-3)
    unit, scale = next(
        (u, s)
        for u, s in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))
        if longest >= 2.0 * s or s == 1.0
    )
    left.plot(np.array(seconds) / scale, doses, color=BLUE, lw=1.8, solid_joinstyle="round")
    top = 1.15 * max(doses[-1], 1e-9)
    for phase in sorted(budget.phases, key=lambda one: one.hard_e_per_A2):
        for limit, style, word in (
            (phase.soft_e_per_A2, "--", "soft"),
            (phase.hard_e_per_A2, "-", "hard"),
        ):
            # Limits far above what the site has had would flatten the curve.
            if limit <= 12.0 * max(doses[-1], 1e-9):
                colour = RED if word == "hard" else ORANGE
                left.axhline(limit, color=colour, ls=style, lw=1.0)
                left.text(
                    0.01, limit, f"{phase.name} {word} {limit:g}", color=colour, fontsize=8,
                    va="bottom", transform=left.get_yaxis_transform(),
                )  # fmt: skip
                top = max(top, 1.12 * limit)
    left.set_ylim(0.0, top)
    left.set_xlabel(f"time after {begun:%Y-%m-%d %H:%M:%S} UTC / {unit}")
    left.set_ylabel("dose of the site / e⁻ Å⁻²")
    left.grid(alpha=0.25)
    left.set_title(f"{total.specimen}, {total.site}", fontsize=10, loc="left")
    if dose_map is None:
        right.axis("off")
        right.text(0.5, 0.5, "no frames of this site", ha="center", va="center", color=GREY)
    else:
        image, corner = dose_map.image()
        height, width = image.shape
        pixel = dose_map.pixel_size_nm
        extent = (
            corner[0], corner[0] + width * pixel, corner[1] + height * pixel, corner[1],
        )  # fmt: skip
        shown = right.imshow(
            np.where(image > 0.0, image, np.nan), extent=extent, cmap="viridis", vmin=0.0
        )
        rows, columns = np.nonzero(image > 0.0)
        right.set_xlim(corner[0] + columns.min() * pixel, corner[0] + (columns.max() + 1) * pixel)
        right.set_ylim(corner[1] + (rows.max() + 1) * pixel, corner[1] + rows.min() * pixel)
        figure.colorbar(shown, ax=right, label="dose / e⁻ Å⁻²", shrink=0.85)
        right.set_xlabel("x / nm")
        right.set_ylabel("y / nm")
        right.set_title(
            f"in the frames: at most {dose_map.most_e_per_A2:.4g}, mean "
            f"{dose_map.mean_e_per_A2:.4g}",
            fontsize=10,
            loc="left",
        )
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path} cannot be written: {error}") from None
    return path


def _curve(exposures: Sequence[Exposure]) -> tuple[list[float], list[float]]:
    """Return seconds after the first opening, and the dose of the site then."""
    seconds, doses, dose = [0.0], [0.0], 0.0
    zero = exposures[0].first_unix_s
    for one in exposures:
        seconds += [one.first_unix_s - zero, max(one.last_unix_s, one.first_unix_s) - zero]
        doses += [dose, dose + one.dose_e_per_A2]
        dose += one.dose_e_per_A2
    return seconds, doses
