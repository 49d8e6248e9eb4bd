"""The dose map: what is put where, and whether drift that is known is found in noisy frames."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stmtem_control.dose.dose_map import TILE, DoseMap, add_run, find_drift
from stmtem_control.errors import RecordingError
from stmtem_control.recording.facts import FrameFacts
from stmtem_control.recording.page_writer import PageWriter
from stmtem_control.recording.rows import build_rows, row_json
from stmtem_control.recording.site_dose import SiteDose
from stmtem_control.simulators import KineticModel
from stmtem_control.timeline import Timeline

PIXEL_NM = 4.0
RATE = 20.0
EXPOSURE_S = 0.1
#: How the specimen drifts in the picture, in nm; about 10 nm a frame is fast.
DRIFT = [(-9.0 * n, 4.0 * n) for n in range(12)]


class Clock:
    """Unix time is the monotonic one."""

    def unix_time(self, monotonic_s: float) -> float:
        """Return it as it is."""
        return monotonic_s


def frames() -> list[NDArray[np.uint16]]:
    """Return pictures of a grown fibre that drifts, with the noise of 2 e/A^2."""
    model = KineticModel("fig2", seed=3)
    model.advance(1.0, -5.0)
    return [
        model.frame(
            shape=(128, 128),
            pixel_size_nm=PIXEL_NM,
            origin_nm=(-x, y),  # the middle of the view on the specimen, with y upwards
            electrons_per_A2=RATE * EXPOSURE_S,
            index=n,
        )
        for n, (x, y) in enumerate(DRIFT)
    ]


def record(folder: Path) -> Path:
    """Write a run: a frame each second, open all the time."""
    folder.mkdir()
    line = Timeline()
    line.record("blanked", 0.0, False)
    facts = [
        FrameFacts(n, n + 1, 0, 1e9 + n, 50.0 + n, float(n), 1e-3, "start", EXPOSURE_S, 1.0, 9.0)
        for n in range(len(DRIFT))
    ]
    rows = build_rows(
        line,
        facts,
        dose_rate_e_per_A2_s=RATE,
        clock=Clock(),
        site=SiteDose(0.0, PIXEL_NM, 0.0),
    )
    writer = PageWriter(
        folder,
        shape=(128, 128),
        dtype=np.dtype(np.uint16),
        pixel_size_nm=PIXEL_NM,
        frame_interval_s=1.0,
    )
    writer.write([(image, row_json(row, True)) for image, row in zip(frames(), rows, strict=True)])
    writer.close()
    return folder


def test_known_drift_is_found_in_noisy_frames() -> None:
    found = np.array(find_drift(frames())) * PIXEL_NM
    errors = np.abs(found - np.array(DRIFT))
    assert errors.max() < 0.5 * PIXEL_NM, errors  # of 99 nm along, and 44 nm across the fibre


def test_a_run_on_the_map_holds_what_the_specimen_got(tmp_path: Path) -> None:
    folder = record(tmp_path / "run")
    found, known = (DoseMap("fibre", "A", PIXEL_NM) for _ in range(2))
    add_run(found, folder)
    add_run(known, folder, drift_nm=DRIFT)
    whole = RATE * (len(DRIFT) - 1 + EXPOSURE_S)
    # What was in every frame has the whole dose, between the frames too.
    for one in (found, known):
        assert one.most_e_per_A2 == pytest.approx(whole)
    image, corner = known.image()
    # The specimen moved left by 99 nm in the picture: the beam went right on it.
    seen = np.argwhere(image > 0.0)
    assert corner[0] + seen[:, 1].max() * PIXEL_NM == pytest.approx(99.0 + 512.0, abs=8.0)
    assert corner[1] + seen[:, 0].min() * PIXEL_NM == pytest.approx(-44.0, abs=8.0)
    total = image.sum() * PIXEL_NM**2
    assert total == pytest.approx(whole * 512.0**2)
    other, other_corner = found.image()
    assert other.sum() * PIXEL_NM**2 == pytest.approx(total)
    # By the true drift of the model: nowhere is the dose off by more than a frame's, but where
    # an edge lies a pixel further.
    top, left = (round((corner[i] - other_corner[i]) / PIXEL_NM) for i in (1, 0))
    assert (top, left) == (0, 0)
    assert np.mean(np.abs(image - other) > 1.01 * RATE) < 0.01
    before = found.most_e_per_A2
    add_run(found, folder)  # it is there
    assert found.most_e_per_A2 == before
    add_run(known, record(tmp_path / "other run"), drift_nm=DRIFT, stage_nm=(5000.0, 0.0))
    assert known.most_e_per_A2 == pytest.approx(whole)  # side by side
    assert known.mean_e_per_A2 == pytest.approx(image[image > 0.0].mean(), rel=1e-6)


@given(
    x=st.floats(-500.0, 500.0),
    y=st.floats(-500.0, 500.0),
    width=st.floats(0.5, 600.0),
    height=st.floats(0.5, 600.0),
)
def test_a_rectangle_keeps_its_dose_wherever_it_lies(
    x: float, y: float, width: float, height: float
) -> None:
    made = DoseMap("s", "a", 2.0)
    made.add(7.0, (x, y), (width, height))
    image, corner = made.image()
    assert image.sum() * 4.0 == pytest.approx(7.0 * width * height)
    assert made.most_e_per_A2 <= 7.0 + 1e-9
    rows, columns = np.nonzero(image)
    middle = corner[0] + (np.average(columns + 0.5, weights=image[rows, columns])) * 2.0
    assert middle == pytest.approx(x + 0.5 * width, abs=1.0)  # half a pixel
    assert image.shape[0] % TILE == image.shape[1] % TILE == 0


def test_a_map_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "maps" / "site.npz"
    made = DoseMap("fibre", "A", 8.0)
    made.add(3.5, (-700.0, 20.0), (300.0, 300.0))
    made.runs.append("one")
    made.save(path)
    again = DoseMap.load(path)
    assert (again.specimen, again.site, again.pixel_size_nm, again.runs) == (
        "fibre",
        "A",
        8.0,
        ["one"],
    )
    np.testing.assert_allclose(again.image()[0], made.image()[0], atol=1e-6)
    assert again.image()[1] == made.image()[1]
    assert [p.name for p in path.parent.iterdir()] == ["site.npz"]
    DoseMap("fibre", "B", 8.0).save(path)
    assert DoseMap.load(path).most_e_per_A2 == DoseMap.load(path).mean_e_per_A2 == 0.0
    assert DoseMap.load(path).image()[0].size == 0


def test_a_file_that_is_no_map_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.npz"
    path.write_bytes(b"no map at all")
    with pytest.raises(RecordingError, match="no dose map or damaged") as caught:
        DoseMap.load(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"no map at all"
    with pytest.raises(RecordingError, match="cannot be written"):
        DoseMap("s", "a", 1.0).save(path / "below" / "a.npz")
