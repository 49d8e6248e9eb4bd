"""Bluesky's table where people expect it, and not where readings come fast."""

import re
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest
from bluesky import Msg
from rich.console import Console

from stmtem_control import scan_table
from stmtem_control.plans import deposit
from stmtem_control.progress import Progress
from stmtem_control.public_plans import public_plans
from stmtem_control.scan_table import RunView, ScanView, display_is_there
from stmtem_control.session import Session


@pytest.fixture
def ended() -> list[int]:
    return []


@pytest.fixture
def scans() -> ScanView:
    return ScanView()


@pytest.fixture(autouse=True)
def view(session: Session, scans: ScanView, ended: list[int]) -> RunView:
    progress = Progress(session, Console(force_terminal=False, width=160))
    own = frozenset(public_plans())
    made = RunView(progress, scans, own, lambda: ended.append(1))
    session.RE.subscribe(made)
    return made


def rows(text: str) -> list[list[str]]:
    """Return the cells of a table's lines."""
    found = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in found]


def test_a_scan_has_a_table_in_which_small_currents_show(
    session: Session, capsys: pytest.CaptureFixture[str], ended: list[int]
) -> None:
    session.RE(bp.scan([session.bias], session.bias, -1.0, 1.0, 3))
    head, *lines = rows(capsys.readouterr().out)
    assert head == ["seq_num", "time", "bias_voltage", "bias_current"]
    assert [line[0] for line in lines] == ["1", "2", "3"]
    assert [float(line[2]) for line in lines] == pytest.approx([-1.0, 0.0, 1.0], abs=0.01)
    assert re.fullmatch(r"-?[\d.]+e-\d\d", lines[0][3])  # not 0.000
    assert ended == [1]


def test_a_scan_of_the_probe_shows_where_it_is(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    session.RE(bp.scan([session.bias], session.probe.z.fine, 0.0, 4.0, 3))
    head, *lines = rows(capsys.readouterr().out)
    assert head[2] == "probe_z_fine"
    assert [float(line[2]) for line in lines] == [0.0, 2.0, 4.0]


def test_our_own_plans_have_lines_of_progress(
    session: Session, capsys: pytest.CaptureFixture[str], ended: list[int]
) -> None:
    session.RE(deposit(session.bias, session.camera, session.beam, duration_s=0.2, pre_roll_s=0.1))
    out = capsys.readouterr().out
    assert rows(out) == []
    assert re.search(r"deposit 1.* frames", out)
    assert ended == [1]


def test_the_table_ends_where_frames_begin(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan of somebody's own that records frames: no table in its loop."""

    def plan() -> Any:
        yield from bps.open_run()
        yield from bps.declare_stream(session.camera, name="frames", collect=True)
        for _ in range(3):
            yield from bps.trigger_and_read([session.bias])
        yield from bps.close_run()

    session.RE(plan())
    assert rows(capsys.readouterr().out) == []


def test_the_table_can_be_switched_off(
    session: Session, scans: ScanView, capsys: pytest.CaptureFixture[str]
) -> None:
    scans.disable_table()
    session.RE(bp.count([session.bias]))
    assert rows(capsys.readouterr().out) == []
    scans.enable_table()
    session.RE(bp.count([session.bias]))
    assert len(rows(capsys.readouterr().out)) == 2


def test_a_table_that_fails_does_not_fail_the_plan(
    session: Session, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("the terminal is gone")

    monkeypatch.setattr(scan_table.ScanTable, "event", fail)
    outcome = session.run(bp.count([session.bias]))
    assert outcome.status == "success"
    assert "the terminal is gone" in caplog.text


def test_without_a_display_nothing_is_drawn(
    monkeypatch: pytest.MonkeyPatch, scans: ScanView
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
        monkeypatch.delenv(name, raising=False)
    assert not display_is_there()
    assert not ScanView()._plots_enabled


def test_a_backend_that_draws_into_files_is_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "agg")
    assert not display_is_there()
    monkeypatch.setattr(matplotlib, "get_backend", lambda: "qtagg")
    assert display_is_there()


def test_null_plans_show_nothing(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.RE(iter([Msg("null")]))
    assert capsys.readouterr().out == ""
