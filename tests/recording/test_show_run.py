"""``stmtem runs`` and ``stmtem show``: every kind of run folder, told in words."""

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stmtem_control.cli import main
from stmtem_control.errors import RecordingError
from stmtem_control.recording.columns import BIAS_COLUMNS
from stmtem_control.recording.csv_table import write_csv
from stmtem_control.recording.frame_table import read_table, replace_table
from stmtem_control.recording.line_file import LineFile
from stmtem_control.run_folder import summarise, write_outcome
from stmtem_control.run_report import report_run
from stmtem_control.show_run import show_run

from .recorded_run import DOSE_RATE, record


def shown(folder: Path) -> str:
    text = io.StringIO()
    show_run(report_run(folder), Console(file=text, width=80, highlight=False))
    return text.getvalue()


def write_readings(folder: Path, readings: Sequence[tuple[float, str, float]]) -> None:
    rows = [
        {"run_time_s": t, "phase": phase, "cycle": 1, "bias_set_V": -5.0, "current_A": amperes}
        for t, phase, amperes in readings
    ]
    write_csv(folder / "bias.csv", BIAS_COLUMNS, rows, version=2)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 12 frames that ended well."""
    return record(tmp_path)


def outcome(folder: Path, **changes: Any) -> None:
    write_outcome(folder, {"status": "success", "reason": "", "safe": "all off", **changes})


# Numbers


def test_a_report_counts_what_is_in_the_tables(run: Path) -> None:
    table = read_table(run)
    for number, lost in ((3, 2), (7, 1)):
        table[number]["dropped_before"] = lost
        for row in table[number:]:
            row["sequence"] += lost
    table[5]["time_uncertainty_s"] = 0.02
    table[6]["time_uncertainty_s"] = math.nan
    table[6]["time_source"] = "arrival"
    replace_table(run, table)
    outcome(run, dropped=5)
    readings = [(0.1, "rest", 0.0), (0.4, "deposit", -1e-10), (0.6, "deposit", -3e-10)]
    write_readings(run, [*readings, (0.9, "deposit", -1e-10)])
    report = report_run(run)
    assert (report.pages, report.files, report.shape, report.dtype) == (12, 3, (6, 8), "uint16")
    assert (report.lost, report.lost_after) == (3, 2)
    assert [(frame, count) for frame, count, _ in report.gaps] == [(3, 2), (7, 1)]
    assert report.period_s == pytest.approx(0.1)
    assert report.exposure_s.low == report.exposure_s.high == pytest.approx(0.08)
    assert report.uncertainty_s.high == 0.02
    assert report.guesses == 1
    assert report.time_sources == {"start": 11, "arrival": 1}
    assert report.dose_rate_e_per_A2_s == DOSE_RATE
    assert report.dose_e_per_A2 == pytest.approx(table[-1]["total_dose_e_per_A2"])
    assert report.problems == []
    deposit = next(s for s in report.stretches if (s.phase, s.cycle) == ("deposit", 1))
    assert deposit.charge_C == pytest.approx(-0.2 * 2e-10 - 0.3 * 2e-10)
    assert (deposit.current.low, deposit.current.high) == (-3e-10, -1e-10)
    assert -5.0 in deposit.levels
    frames = [row for row in table if (row["phase"], row["cycle"]) == ("deposit", 1)]
    assert deposit.frames == len(frames) > 2
    assert deposit.dose_e_per_A2 == pytest.approx(sum(row["dose_e_per_A2"] for row in frames))
    begins = [s.span.low for s in report.stretches]
    assert begins == sorted(begins, key=lambda t: t or 0.0)


def test_charge_is_not_counted_from_one_phase_to_another(run: Path) -> None:
    write_readings(run, [(0.0, "deposit", -1e-9), (1.0, "rest", -1e-9), (2.0, "deposit", -1e-9)])
    assert [s.charge_C for s in report_run(run).stretches] == [0.0] * len(report_run(run).stretches)


def test_a_current_that_was_not_read_adds_no_charge(run: Path) -> None:
    write_readings(
        run, [(0.0, "deposit", 1e-9), (1.0, "deposit", math.nan), (2.0, "deposit", 1e-9)]
    )
    assert sum(s.charge_C for s in report_run(run).stretches) == 0.0


# Words


def test_a_run_that_ended_well(run: Path) -> None:
    outcome(run, dropped=0)
    text = shown(run)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.splitlines()[0] == f"{run.name}  done"
    for part in ("none lost", "8 x 6 uint16 at 10 Hz, exposure 80.0 ms", "3 files", "12 by start",
                 "worst uncertainty 1.00 ms", "all off", "deposit 1", "deposit 2"):  # fmt: skip
        assert part in text, part
    assert "!" not in text


def test_lost_frames_are_told_with_their_places(run: Path) -> None:
    table = read_table(run)
    for row in table[1:8]:
        row["dropped_before"] = 1
    replace_table(run, table)
    outcome(run, dropped=9)
    text = " ".join(shown(run).split())
    assert "9 LOST" in text
    assert "1 before frame 1 (0.15 s)" in text
    assert "and at 2 more places, 2 after the last" in text


@pytest.mark.parametrize(
    ("status", "state"),
    [("success", "done"), ("aborted", "aborted"), ("failed", "failed"), ("recovered", "recovered")],
)
def test_states_are_those_of_the_outcome(run: Path, status: str, state: str) -> None:
    outcome(run, status=status, reason="Ctrl-C" if status == "aborted" else "")
    assert summarise(run).state == state
    assert shown(run).splitlines()[0].endswith(f"  {state}")
    assert ("because" in shown(run)) == (status == "aborted")


def test_without_an_outcome_the_stop_document_tells(run: Path) -> None:
    path = run / "documents.jsonl"
    text = path.read_text("utf-8")
    found = summarise(run)
    # Not "done": whether bias and beam went off after it, nobody has told.
    assert (found.status, found.state) == ("success", "no outcome")
    assert "the session died after it" in found.reason
    told = shown(run)
    assert told.splitlines()[0].endswith("  no outcome")
    assert "see that bias and beam are off" in " ".join(told.split())
    path.write_text(text.replace('"exit_status": "success"', '"exit_status": "abort"'), "utf-8")
    assert summarise(run).state == "aborted"


def test_a_run_that_was_not_closed(tmp_path: Path) -> None:
    folder = record(tmp_path, settled=7, stopped=False)
    text = shown(folder)
    assert text.splitlines()[0].endswith("not closed")
    told = " ".join(text.split())
    assert "12 frames are on disk, 7 rows" in told
    assert "stmtem recover" in told
    even = record(tmp_path / "even", stopped=False)
    assert "nobody has closed this run" in " ".join(shown(even).split())


def test_a_run_that_is_being_recorded(tmp_path: Path) -> None:
    folder = record(tmp_path, settled=7, stopped=False)
    with LineFile(folder / "documents.jsonl"):
        text = shown(folder)
    assert text.splitlines()[0].endswith("recording")
    assert "recover" not in text  # rows come after their pages


def test_a_run_without_frames(tmp_path: Path) -> None:
    folder = record(tmp_path, frames=0)
    assert "0; none lost" in shown(folder)
    (folder / "frames.csv").unlink()
    (folder / "bias.csv").unlink()
    text = shown(folder)
    assert "bias.csv cannot be read" in " ".join(text.split())


def test_what_was_said_of_the_sample_is_shown(run: Path) -> None:
    path = run / "documents.jsonl"
    first, rest = path.read_text("utf-8").split("\n", 1)
    name, start = json.loads(first)
    start.update(sample={"fibre": "CNF-3", "metal": "Li"}, plan_args={"deposit_V": -5.0})
    path.write_text(json.dumps([name, start]) + "\n" + rest, "utf-8")
    text = shown(run)
    assert '{"fibre": "CNF-3", "metal": "Li"}' in text
    assert "deposit_V=-5" in text


def test_an_alien_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="not a run folder"):
        report_run(tmp_path)


def test_damaged_tables_are_told_and_the_rest_is_shown(run: Path) -> None:
    (run / "frames.csv").write_text("frame,run_time_s\nx,y\n", "utf-8")
    text = " ".join(shown(run).split())
    assert "no table of this program" in text
    assert "readings" in text


# Commands


def test_the_list_tells_states_and_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done, cut = record(tmp_path, frames=3), record(tmp_path, frames=2, stopped=False)
    outcome(done, status="aborted", reason="Ctrl-C")
    assert main(["runs", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert f"{done.name} aborted         3" in "\n".join(lines)
    assert f"{cut.name} not closed      2" in "\n".join(lines)
    assert "  Ctrl-C" in lines


@pytest.fixture
def station(tmp_path: Path) -> str:
    """A station file whose data folder is tmp_path/runs."""
    from stmtem_control.config import load_station

    path = tmp_path / "lab.toml"
    path.write_text(load_station("sim").with_data(tmp_path / "runs").to_toml(), "utf-8")
    return str(path)


def test_a_run_is_found_by_a_part_of_its_name(
    tmp_path: Path, station: str, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = record(tmp_path / "runs"), record(tmp_path / "runs")
    assert main(["show", one.name[-8:], "--station", station]) == 0
    assert one.name in capsys.readouterr().out
    assert main(["show", "--station", station]) == 0
    assert max(one.name, other.name) in capsys.readouterr().out
    assert main(["show", str(other)]) == 0
    assert other.name in capsys.readouterr().out
    assert main(["show", "deposit", "--station", station]) == 2
    assert "in the names of 2 runs" in capsys.readouterr().err
    assert main(["show", "nothing", "--station", station]) == 2
    assert "no folder nothing, and no run of that name" in capsys.readouterr().err


def test_an_empty_data_folder_has_no_newest_run(
    station: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "--station", station]) == 2
    assert "no run in" in capsys.readouterr().err
