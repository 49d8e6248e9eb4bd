"""A disk fails in the middle of a run: the sample is safe, and what was recorded can be read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile

from stmtem_control import run_folder
from stmtem_control.config import Station, load_station
from stmtem_control.errors import RecordingError
from stmtem_control.plans import deposition_stripping_cycles
from stmtem_control.session import Outcome, Session
from stmtem_control.simulators import Bench

from .conftest import Disk

FRAMES = 4  # that are declared before the disk fails, at least


@pytest.fixture
def run_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Path, Callable[[], None]], Outcome]]:
    """Run a plan on a disk that fails when the first frames are declared."""
    monkeypatch.setattr(run_folder, "FREE_BYTES", 0)
    bench.specimen.step(2, 41.0)  # in contact
    sessions: list[Session] = []

    def run(root: Path, fail: Callable[[], None]) -> Outcome:
        station: Station = load_station("sim").with_bench(speed=5.0, size=256).with_data(root)
        session = Session(station, addresses=bench.addresses.as_dict())
        sessions.append(session)
        failed = False

        def look(name: str, doc: dict[str, Any]) -> None:
            nonlocal failed
            if name == "stream_datum" and doc["indices"]["stop"] >= FRAMES and not failed:
                failed = True
                fail()

        session.RE.subscribe(look)
        return session.run(
            deposition_stripping_cycles(
                session.bias,
                session.camera,
                session.beam,
                cycles=2,
                frame_rate_Hz=10.0,
                exposure_s=0.08,
                deposit_s=6.0,
                strip_s=6.0,
            )
        )

    yield run
    for session in sessions:
        session.close()


def check_safe(outcome: Outcome, bench: Bench, reason: str) -> Path:
    """Check that the plan ended early and safely, for a reason told in one line."""
    assert bench.safe() == dict.fromkeys(bench.safe(), True)
    assert not bench.camera.busy
    assert outcome.exit_code == 1
    assert outcome.status == "failed"
    assert isinstance(outcome.error, RecordingError)
    assert reason in outcome.reason
    assert "\n" not in outcome.reason
    assert outcome.folder is not None
    assert str(outcome.folder) in outcome.reason
    return outcome.folder


def pages(folder: Path) -> int:
    count = 0
    for path in sorted(folder.glob("frames_*.tif")):
        with tifffile.TiffFile(path) as file:
            for page in file.pages:
                assert page.asarray().shape == (256, 256)
                count += 1
    return count


def test_a_full_disk(run_on: Callable[..., Outcome], bench: Bench, small_disk: Disk) -> None:
    outcome = run_on(small_disk.path / "runs", small_disk.fill)
    folder = check_safe(outcome, bench, "No space left on device")
    assert pages(folder) >= FRAMES


def test_a_disk_that_turns_read_only(
    run_on: Callable[..., Outcome], bench: Bench, ext4_disk: Disk
) -> None:
    outcome = run_on(ext4_disk.path / "runs", ext4_disk.make_read_only)
    folder = check_safe(outcome, bench, "Read-only file system")
    assert pages(folder) >= FRAMES


def test_a_disk_that_is_pulled_out(
    run_on: Callable[..., Outcome], bench: Bench, ext4_disk: Disk
) -> None:
    outcome = run_on(ext4_disk.path / "runs", ext4_disk.pull_out)
    folder = check_safe(outcome, bench, "Input/output error")
    ext4_disk.take_away()
    ext4_disk.plug_in()
    assert pages(folder) >= FRAMES
