"""``stmtem dose``: what a person sees of the ledger."""

import csv
import io
from pathlib import Path

import pytest

from stmtem_control.cli import main
from stmtem_control.dose.bookings import Account, Exposure
from stmtem_control.dose.calibration import CalibrationFile, DoseCalibration
from stmtem_control.dose.ledger import Ledger

NOON = 1795680000.0


def account(lease: str, specimen: str, site: str, run: str = "") -> Account:
    return Account(lease, specimen, site, run, "low", 10.0, 0.06)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a ledger of three sites."""
    with Ledger(tmp_path / "dose_ledger.sqlite3") as ledger:
        for n, (specimen, site, dose) in enumerate(
            [
                ("fibre 3", "left end", 100.0),
                ("fibre 3", "left end", 1200.0),
                ("fibre 3", "left", 6000.0),
                ("vacuum", "low", 9000.0),
            ]
        ):
            made = account(f"lease {n}", specimen, site, run=f"{n}4711aaaa-bbbb")
            ledger.book_ahead(made, 2.0 * dose)
            times = (NOON + 60.0 * n, NOON + 60.0 * n + 30.0)
            ledger.settle(Exposure(made, dose, 0.5, dose / 10.0, 1, *times))
        ledger.book_ahead(account("killed", "fibre 3", "left end"), 40.0)
    CalibrationFile(tmp_path / "dose_calibration.jsonl").append(
        DoseCalibration("low", 10.0, 0.06, NOON - 2e6, how="vacuum series")
    )
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], data: Path, *arguments: str) -> tuple[int, str, str]:
    code = main(["dose", "--data", str(data), *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal around it that is narrow: what is piped is not cut for that."""
    monkeypatch.setenv("COLUMNS", "40")


def test_all_sites_and_calibrations_are_listed(
    capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    code, out, _ = run(capsys, data)
    assert code == 0
    lines = out.splitlines()
    assert "left Li2O" in lines[0]
    assert "1340.0*" in lines[1]
    assert "3660.0" in lines[1]  # of 5000
    assert "none" in lines[2]  # of Li2O; there is some for Li
    assert "7.94e+05" in lines[2]
    assert lines[3].count("–") == 3  # vacuum has no budget
    assert "a session was killed" in out
    assert "low: 10 e/A^2/s" in out
    assert "too old: calibrate" in out
    assert "simulated" in out


def test_a_site_has_a_history(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    code, out, _ = run(capsys, data, "fibre", "left end")
    assert code == 0
    assert "04711aaa" in out
    assert "14711aaa" in out
    assert "24711aaa" not in out  # of the other site
    assert "40.0*" in out
    _, both, _ = run(capsys, data, "fibre", "lef")
    assert "24711aaa" in both
    _, exact, _ = run(capsys, data, "fibre", "left")  # a whole name, before a part of one
    assert "04711aaa" not in exact


def test_exposures_become_a_table(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    _, out, _ = run(capsys, data, "fibre 3", "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [float(row["dose_e_per_A2"]) for row in rows] == [100.0, 1200.0, 40.0, 6000.0]
    assert rows[0]["begun_utc"].endswith("+00:00")
    assert [row["settled"] for row in rows] == ["True", "True", "False", "True"]
    code, out, _ = run(capsys, data, "--csv", str(data / "all.csv"))
    assert out.strip() == str(data / "all.csv")
    assert len((data / "all.csv").read_text().splitlines()) == 6
    code, _, err = run(capsys, data, "--csv", str(data / "no" / "all.csv"))
    assert code == 2
    assert "cannot be written" in err


def test_a_site_can_be_drawn(capsys: pytest.CaptureFixture[str], data: Path) -> None:
    picture = data / "site.png"
    code, out, _ = run(capsys, data, "fibre", "left end", "--picture", str(picture))
    assert (code, out.strip()) == (0, str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, _, err = run(capsys, data, "fibre", "--picture", str(picture))
    assert code == 2
    assert "one site, 2 fit" in err
    code, _, err = run(capsys, data, "fibre", "left end", "--picture", str(data / "a.nothing"))
    assert code == 2
    assert "cannot be written" in err


def test_what_is_not_there_is_said(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    code, _, err = run(capsys, data, "fibre 4")
    assert code == 2
    assert "no specimen 'fibre 4'; there are: fibre 3, vacuum" in err
    code, out, _ = run(capsys, tmp_path / "empty")
    assert code == 0
    assert "no dose is booked yet" in out
    assert not (tmp_path / "empty").exists()
    code, _, err = run(capsys, tmp_path / "empty", "fibre")
    assert code == 2
    assert "there is no dose ledger" in err
    (data / "dose_ledger.sqlite3").write_bytes(b"lost")
    code, _, err = run(capsys, data)
    assert code == 2
    assert "it was left as it is" in err
    assert err.count("\n") == 1
