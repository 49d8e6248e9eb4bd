"""A run that was cut off anywhere is mended: all that is left agrees with itself, once for all."""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from event_model import DocumentNames, schema_validators
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from stmtem_control.cli import main
from stmtem_control.clock_model import ClockModel
from stmtem_control.errors import RecordingError
from stmtem_control.recording.aligned_clock import write_clock
from stmtem_control.recording.columns import BIAS_COLUMNS
from stmtem_control.recording.csv_table import read_csv
from stmtem_control.recording.frame_files import FrameFiles, read_frames, read_rows
from stmtem_control.recording.frame_table import read_table
from stmtem_control.recording.journal import read_journal
from stmtem_control.recording.line_file import LineFile
from stmtem_control.recording.page_chain import read_chain
from stmtem_control.recover import LOST, recover
from stmtem_control.recovery_report import Report
from stmtem_control.run_folder import summarise

from .recorded_run import CAMERA_ZERO, START_S, image, read_back, record

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Make a run folder; see :func:`.recorded_run.record`."""

    def make(name: str = "runs", **how: Any) -> Path:
        return record(tmp_path / name, **how)

    return make


def check(folder: Path) -> int:
    """Check that everything in a folder agrees and is valid; return how many frames there are."""
    documents = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    for name, doc in documents:
        schema_validators[DocumentNames[name]].validate(doc)
    assert [name for name, _ in documents].count("stop") == 1
    assert documents[0][0] == "start"
    assert documents[-1][0] == "stop"
    assert len({doc["run_start"] for _, doc in documents if "run_start" in doc}) == 1
    assert documents[-1][1]["run_start"] == documents[0][1]["uid"]
    streams = {doc["uid"]: doc["name"] for name, doc in documents if name == "descriptor"}
    indices: list[int] = []
    numbers: list[int] = []
    told: list[Any] = []
    for name, doc in documents:
        if name == "stream_datum":
            assert doc["seq_nums"]["start"] == doc["indices"]["start"] + 1
            assert doc["seq_nums"]["stop"] == doc["indices"]["stop"] + 1
            indices += range(doc["indices"]["start"], doc["indices"]["stop"])
        elif name == "event_page" and streams[doc["descriptor"]] == "frames":
            numbers += doc["seq_num"]
            told += doc["data"]["camera_frame"]
            assert len(doc["time"]) == len(doc["seq_num"])
    frames = list(read_frames(folder))
    n = len(frames)
    assert indices == list(range(n))
    assert numbers == [number + 1 for number in range(n)]
    assert told == list(range(n))
    assert documents[-1][1]["num_events"].get("frames", 0) == n
    rows = read_table(folder) if n or (folder / "frames.csv").exists() else []
    assert [row["frame"] for row in rows] == list(range(n))
    assert [row["frame"] for row in read_rows(folder)] == list(range(n))
    for number, frame in enumerate(frames):
        assert np.array_equal(frame, image(number))
    pages = 0
    for path in sorted(folder.glob("frames_*.tif")):
        with tifffile.TiffFile(path) as tiff:
            for page in tiff.pages:
                assert np.array_equal(page.asarray(), image(pages))
                pages += 1
            series = tiff.series[0]
            assert series.shape[0] == len(tiff.pages) or len(tiff.pages) == 1
    assert pages == n
    summarise(folder)
    return n


def tear(path: Path) -> None:
    """Leave only the beginning of the last page."""
    os.truncate(path, read_chain(path).pages[-1].data + 40)


def mended(folder: Path) -> Report:
    """Recover twice, the second time for nothing."""
    report = recover(folder)
    before = read_back(folder)
    again = recover(folder)
    assert again.mended == [], again.mended
    assert again.lost == []
    assert read_back(folder) == before
    return report


def test_a_good_run_is_left_alone(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run()
    before = read_back(folder)
    assert check(folder) == 12
    assert main(["recover", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: nothing to do, 12 frames\n"
    assert read_back(folder) == before


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_the_tail_of_a_killed_run_is_rebuilt(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], compression: str | None
) -> None:
    whole = make_run("whole", compression=compression)
    folder = make_run(settled=8, declared=4, stopped=False, compression=compression)
    before = read_back(folder)
    assert main(["recover", "--dry-run", str(folder)]) == 0
    foreseen = capsys.readouterr().out
    assert read_back(folder) == before
    assert main(["recover", str(folder)]) == 0
    said = capsys.readouterr().out
    assert foreseen.replace("to mend", "mended ") == said
    assert "4 of them, frames 8 to 11" in said
    assert "frames 4 to 11" in said
    assert "no frame that was on disk" in said
    assert check(folder) == 12
    mended(folder)
    # The rows are what they would have been.
    clock = {"host_time_s", "frame"}  # the two runs have a clock each
    for one, other in zip(read_table(folder), read_table(whole), strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - clock:
            assert repr(one[name]) == repr(other[name]), name
    stop = json.loads((folder / "documents.jsonl").read_text().splitlines()[-1])[1]
    assert stop["exit_status"] == "fail"
    assert "recovered" in stop["reason"]
    outcome = json.loads((folder / "outcome.json").read_text())
    assert outcome["frames"] == 12
    assert outcome["status"] == "recovered"
    assert "unknown" in outcome["safe"]


@pytest.mark.parametrize("left", ["none", "header", "torn", "whole"])
def test_readings_that_only_the_documents_have_come_into_their_table(
    make_run: MakeRun, left: str
) -> None:
    folder = make_run()
    path = folder / "bias.csv"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 4
    if left == "none":
        path.unlink()
    elif left == "header":
        path.write_bytes(lines[0])
    elif left == "torn":
        path.write_bytes(b"".join(lines[:2]) + lines[2][:-4])
    report = mended(folder)
    assert any("bias.csv: written anew, 3 rows" in what for what in report.mended) == (
        left != "whole"
    )
    assert report.readings == 3
    assert read_csv(path, BIAS_COLUMNS)[0]["voltage_V"] == -4.9
    clock = read_journal(folder)[1]
    for row in read_csv(path, BIAS_COLUMNS):
        assert row["bias_set_V"] == -5.0
        if left != "whole":  # the run time of the fake session is its Unix time
            assert row["run_time_s"] == pytest.approx(
                clock.station_time(row["time_s"]) - START_S, abs=1e-5
            )


def test_a_torn_page_is_cut_off_and_told(make_run: MakeRun) -> None:
    folder = make_run(stopped=False)
    path = folder / "frames_0002.tif"
    tear(path)
    report = mended(folder)
    assert report.cut == 1
    assert report.frames == 11
    assert report.exit_code == 1  # it had been declared
    assert check(folder) == 11


def test_a_page_that_was_being_written_is_all_that_is_lost(make_run: MakeRun) -> None:
    folder = make_run(settled=11, stopped=False)
    path = folder / "frames_0002.tif"
    tear(path)
    report = mended(folder)
    assert report.exit_code == 0
    assert "1 frame, which was being written" in "\n".join(report.lines(dry_run=False))
    assert check(folder) == 11


def test_a_run_without_frames_is_closed(make_run: MakeRun) -> None:
    folder = make_run(frames=0, stopped=False)
    assert mended(folder).exit_code == 0
    assert check(folder) == 0


def test_a_gap_in_the_middle_loses_nothing_that_is_whole(make_run: MakeRun) -> None:
    folder = make_run()
    path = folder / "frames_0001.tif"
    tear(path)
    report = mended(folder)
    assert report.exit_code == 1
    assert check(folder) == 9
    with tifffile.TiffFile(folder / "aside_frames_0002.tif") as tiff:
        assert [page.asarray()[0, 0] for page in tiff.pages] == [10, 11]
    kept = [json.loads(line) for line in (folder / LOST).read_text().splitlines()]
    assert [row["frame"] for name, row in kept if name == "frames.csv"] == [9, 10, 11]
    assert {name for name, _ in kept} == {"frames.csv", "stream_datum", "event_page"}


def test_documents_that_are_lost_are_made_again(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "documents.jsonl").unlink()
    report = mended(folder)
    assert report.exit_code == 1
    assert check(folder) == 12
    summary = summarise(folder)
    assert summary.plan == "deposit"
    assert folder.name.endswith(summary.uid[:8])
    assert summary.started.year == 2023


def test_a_damaged_row_is_taken_from_the_table(make_run: MakeRun) -> None:
    folder = make_run()
    rows = read_table(folder)
    data = bytearray((folder / "frames_0000.tif").read_bytes())
    place = data.index(b'"frame":3,')
    data[place - 1 : place + 9] = b"\x00" * 10
    (folder / "frames_0000.tif").write_bytes(data)
    report = mended(folder)
    assert report.lost == ["rows in the pages: that of frame 3"]
    assert check(folder) == 12
    for one, other in zip(read_table(folder), rows, strict=True):
        assert repr(one) == repr(other)


@pytest.mark.parametrize("step", range(5))
def test_a_recovery_that_is_cut_off_is_simply_run_again(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    folder = make_run(settled=11, stopped=False)
    tear(folder / "frames_0001.tif")  # a gap, so that all files are changed
    real, steps = os.replace, iter(range(step, -1, -1))

    def replace(old: Path, new: Path) -> None:
        if next(steps) == 0:
            raise OSError(5, os.strerror(5))
        real(old, new)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(RecordingError, match="Input/output error"):
        recover(folder)
    monkeypatch.undo()
    mended(folder)
    assert check(folder) == 9
    assert (folder / "aside_frames_0002.tif").exists()
    kept = [json.loads(line) for line in (folder / LOST).read_text().splitlines()]
    assert [row["frame"] for name, row in kept if name == "frames.csv"] == [9, 10]
    assert [name for name, _ in kept if name != "frames.csv"] == ["stream_datum", "event_page"]


def test_lines_that_are_no_documents_are_put_aside(make_run: MakeRun) -> None:
    folder = make_run()
    path = folder / "documents.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    (gone,) = (n for n, line in enumerate(lines) if b'"indices": {"start": 4,' in line)
    lines[gone] = bytes(20) + b"\n"
    path.write_bytes(b"".join(lines))
    report = mended(folder)
    assert report.exit_code == 1
    assert "1 line of documents.jsonl that cannot be read" in report.lost
    assert "documents.jsonl: the declaration of frames 4 to 7 added" in report.mended
    assert check(folder) == 12
    assert json.loads((folder / LOST).read_text()) == ["documents.jsonl", "\0" * 20]


def test_frames_that_were_being_dated_again_are_all_dated(make_run: MakeRun) -> None:
    folder = make_run()
    model = ClockModel(CAMERA_ZERO, 0.05 - CAMERA_ZERO, 0.0, ((1e-6, 0.0), (0.0, 1e-12)), "test")
    write_clock(folder, model, [])
    report = mended(folder)
    assert report.exit_code == 0
    assert report.mended == [
        "rows in the pages: 12 of them, frames 0 to 11 made again",
        "frames.csv: written anew, 12 rows",
    ]
    assert check(folder) == 12
    for row in read_table(folder):
        assert row["time_source"] == "clapperboard"
        start = model.station_time(row["camera_time_s"])[0]
        assert row["run_time_s"] == pytest.approx(start - START_S, abs=1e-6)


def test_what_the_session_could_still_say_is_kept(make_run: MakeRun) -> None:
    folder = make_run(stopped=False)
    said = b'{"status": "failed", "reason": "the disk is full", "safe": "bias 0 V"}'
    (folder / "outcome.json").write_bytes(said)
    mended(folder)
    assert (folder / "outcome.json").read_bytes() == said
    assert "cut off (the disk is full); 12 frames" in summarise(folder).reason


def test_a_torn_outcome_is_written_again(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "outcome.json").write_text('{"status": "succ')
    assert mended(folder).mended == ["outcome.json: written"]


def test_a_run_that_is_being_recorded_is_refused(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(stopped=False)
    for name in ("documents.jsonl", "timeline.jsonl"):
        before = read_back(folder)
        with LineFile(folder / name):
            assert main(["recover", str(folder)]) == 2
        assert read_back(folder) == before
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"stmtem recover: {folder} is being recorded: {name}")
    assert main(["recover", str(folder)]) == 0


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "picture.tif").write_bytes(b"mine")
    before = read_back(tmp_path)
    assert main(["recover", str(tmp_path), str(tmp_path / "gone")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("is not a run folder" in line for line in said)
    assert read_back(tmp_path) == before


def test_pages_that_were_not_linked_yet_are_kept(make_run: MakeRun) -> None:
    folder = make_run(frames=9, settled=4, stopped=False)
    path = folder / "frames_0001.tif"
    chain = read_chain(path)
    with open(path, "r+b") as file:
        file.seek(chain.pages[1].link)
        file.write(bytes(4))  # as between the write of a batch and that of the link to it
    os.truncate(path, chain.pages[3].data + 40)
    assert len(read_chain(path).pages) == 2
    before = read_back(folder)
    foreseen = recover(folder, dry_run=True)
    assert "frames_0001.tif: 1 whole page linked" in foreseen.mended
    assert read_back(folder) == before
    report = mended(folder)
    assert report.cut == 1
    assert check(folder) == 8


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_without_its_name_is_kept_if_it_has_pages(make_run: MakeRun, whole: bool) -> None:
    folder = make_run(settled=10, stopped=False)
    unnamed = folder / "frames_0002.tif.new"
    os.rename(folder / "frames_0002.tif", unnamed)
    if not whole:
        os.truncate(unnamed, 9000)
    report = mended(folder)
    assert report.exit_code == 0
    assert report.cut == (not whole)
    assert not unnamed.exists()
    assert check(folder) == (12 if whole else 10)


def test_the_blocks_of_the_page_do_what_it_says(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(settled=9, stopped=False)
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "recover-a-run.md"
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    for block in blocks:
        exec(compile(block, str(page), "exec"), {"folder": folder})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("12 ['")
    assert first.endswith("[] 0")
    assert second == "12 [9, 10, 11]"


FILES = (
    "documents.jsonl",
    "frames.csv",
    "timeline.jsonl",
    "bias.csv",
    "outcome.json",
    "frames_0000.tif",
    "frames_0001.tif",
    "frames_0002.tif",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a good run."""
    folder = record(tmp_path_factory.mktemp("good"))
    (folder / "outcome.json").write_text(json.dumps({"status": "success"}, indent=1))
    return folder


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.dictionaries(st.sampled_from(FILES), st.one_of(st.none(), st.floats(0.0, 1.0))))
@example(cuts=dict.fromkeys(FILES[:5]))
@example(cuts=dict.fromkeys(FILES[:5], 0.5))
@example(cuts=dict.fromkeys(FILES, 0.999))
def test_cut_anywhere_it_can_be_mended(
    tmp_path_factory: pytest.TempPathFactory,
    template: Path,
    cuts: dict[str, float | None],
) -> None:
    folder = tmp_path_factory.mktemp("cut") / template.name
    folder.mkdir()
    for file, data in read_back(template).items():
        part = cuts.get(file, 1.0)
        if part is None and file == "timeline.jsonl":
            part = 0.0  # or nothing would be left at all
        if part is not None:
            (folder / file).write_bytes(data[: math.floor(part * len(data))])
    report = mended(folder)
    n = check(folder)
    assert report.frames == n
    untouched = 0
    for number, size in enumerate((5, 5, 2)):
        if f"frames_{number:04d}.tif" in cuts:
            break
        untouched += size
    assert n >= untouched
    with FrameFiles(folder) as frames:
        assert len(frames) == n
