"""A disk fails in the middle of a run: the sample is safe, and what was recorded can be read."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile

from stmtem_control import run_folder
from stmtem_control.config import load_station
from stmtem_control.errors import RecordingError
from stmtem_control.interlock_table import InterlocksTable
from stmtem_control.plans import deposition_stripping_cycles
from stmtem_control.recover import recover
from stmtem_control.run_folder import count_rows
from stmtem_control.session import Outcome, Session
from stmtem_control.simulators import Bench

from .conftest import AT_ONCE, SYNCED, Disk

FRAMES = 4  # that are declared before the disk fails, at least


class Runner:
    """Runs a plan on a disk that fails when the first frames are declared."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._opened = contextlib.ExitStack()

    def run(
        self, root: Path, fail: Callable[[], None], before: Callable[[], object] = bool
    ) -> Outcome:
        """Run with the data under `root`; call `before` with the first frames, then `fail`."""
        station = load_station("sim").with_bench(speed=5.0, size=256).with_data(root)
        # These disks are smaller than what the interlock leaves room for.
        room = InterlocksTable(disk_free_GB="off", disk_left_s="off")
        station = station.model_copy(update={"interlocks": room})
        addresses = self._bench.addresses.as_dict()
        session = self._opened.enter_context(Session(station, addresses=addresses))
        failed = False

        def look(name: str, doc: dict[str, Any]) -> None:
            nonlocal failed
            if name == "stream_datum" and doc["indices"]["start"] == 0:
                before()
            elif name == "stream_datum" and doc["indices"]["stop"] >= FRAMES and not failed:
                failed = True
                fail()

        session.RE.subscribe(look)
        return session.run(
            deposition_stripping_cycles(
                session.bias,
                session.camera,
                session.beam,
                cycles=2,
                frame_rate_Hz=4.0,
                exposure_s=0.2,
                deposit_s=6.0,
                strip_s=6.0,
            )
        )

    def close(self) -> None:
        """Close the session; harmless when called again."""
        self._opened.close()


@pytest.fixture
def runner(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """Provide a runner on the bench of this process, with the probe in contact."""
    monkeypatch.setattr(run_folder, "FREE_BYTES", 0)
    bench.specimen.step(2, 41.0)
    made = Runner(bench)
    yield made
    made.close()


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


def test_a_full_disk(runner: Runner, bench: Bench, small_disk: Disk) -> None:
    outcome = runner.run(small_disk.path / "runs", small_disk.fill)
    folder = check_safe(outcome, bench, "No space left on device")
    assert pages(folder) >= FRAMES
    runner.close()
    small_disk.make_room()
    check_mended(folder)


def test_a_disk_that_turns_read_only(runner: Runner, bench: Bench, ext4_disk: Disk) -> None:
    outcome = runner.run(ext4_disk.path / "runs", ext4_disk.make_read_only)
    folder = check_safe(outcome, bench, "Read-only file system")
    assert pages(folder) >= FRAMES
    runner.close()
    with pytest.raises(RecordingError, match="Read-only file system"):
        recover(folder)
    assert recover(folder, dry_run=True).frames >= FRAMES


@pytest.mark.parametrize("how", [SYNCED, AT_ONCE])
def test_a_disk_that_is_pulled_out(runner: Runner, bench: Bench, ext4_disk: Disk, how: int) -> None:
    outcome = runner.run(
        ext4_disk.path / "runs", lambda: ext4_disk.pull_out(how), before=ext4_disk.sync
    )
    folder = check_safe(outcome, bench, "Input/output error")
    runner.close()
    ext4_disk.take_away()
    ext4_disk.plug_in()
    # Otherwise the disk never got what the computer had not sent to it yet.
    assert pages(folder) >= (FRAMES if how == SYNCED else 1)
    check_mended(folder)


def check_mended(folder: Path) -> None:
    """Check that what is left can be mended, and then agrees."""
    report = recover(folder)
    assert recover(folder).mended == []
    assert pages(folder) == report.frames == count_rows(folder / "frames.csv")
    documents = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    declared = [doc["indices"]["stop"] for name, doc in documents if name == "stream_datum"]
    assert max(declared, default=0) == report.frames
    assert documents[-1][0] == "stop"
    assert documents[-1][1]["exit_status"] == "fail"
