"""``stmtem safe``: whoever holds the station, and whatever state they are in."""

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stmtem_control import safe_channel
from stmtem_control.cli import main
from stmtem_control.config import Station
from stmtem_control.errors import TransportError
from stmtem_control.guard import POSSIBLE
from stmtem_control.pytest_plugin import assert_safe
from stmtem_control.safe_channel import SafeListener, guards_of, private_folder
from stmtem_control.session import Session
from stmtem_control.simulators import Bench
from stmtem_control.station_lock import StationLock

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="there is no guard process on this system")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep guards of other sessions on this computer out of sight, and ours out of theirs."""
    folder = Path(os.path.realpath("/tmp")) / f"safe-{os.getpid()}-{tmp_path.name[-20:]}"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def folder_is_left_empty(own_folder: Path) -> Iterator[None]:
    yield
    with contextlib.suppress(FileNotFoundError):
        (own_folder / f"stmtem-{os.getuid()}").rmdir()  # refuses if a guard left something
    own_folder.rmdir()


@pytest.fixture
def guarded(station: Station, bench: Bench) -> Iterator[Session]:
    """Provide a session with a guard, on the bench of this process."""
    guarded = station.with_safe(guard=True, heartbeat_s=0.02)
    with Session(guarded, addresses=bench.addresses.as_dict()) as session:
        yield session


@pytest.fixture
def attach(tmp_path: Path, bench: Bench) -> list[str]:
    """The options that name the bench of this process."""
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(bench.addresses.as_dict()))
    return ["--attach", str(path)]


def endanger(session: Session) -> None:
    session.bias.set(-5.0).wait(5.0)
    session.beam.set("open").wait(5.0)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_session_is_asked(
    guarded: Session, bench: Bench, attach: list[str], by_name: bool, capsys: Any
) -> None:
    endanger(guarded)
    assert main(["safe", *([] if by_name else attach)]) == 0
    assert_safe(bench)
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == f"by       session {os.getpid()}"
    assert [line.split()[:2] for line in out.splitlines()[1:5]] == [
        ["safe", "bias"], ["safe", "beam"], ["safe", "probe"], ["safe", "camera"],
    ]  # fmt: skip
    assert out.splitlines()[5].startswith("all safe in 0.")
    assert err == ""


def test_it_ends_a_plan_and_the_outcome_says_so(guarded: Session, bench: Bench) -> None:
    import bluesky.plan_stubs as bps

    asked: list[threading.Thread] = []
    codes: list[int] = []

    def plan() -> Any:
        yield from bps.mv(guarded.bias, -5.0, guarded.beam, "open")
        thread = threading.Thread(target=lambda: codes.append(main(["safe"])))
        asked.append(thread)
        thread.start()
        yield from bps.sleep(30.0)

    outcome = guarded.run(plan())
    asked[0].join(5.0)
    assert codes == [0]
    assert_safe(bench)
    assert outcome.status == "aborted"
    assert outcome.reason == f"stmtem safe (process {os.getpid()})"


def test_without_a_session_it_opens_the_instruments_itself(
    bench: Bench, attach: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", bench.source_tcp.port)) as line:
        line.sendall(b":SOUR:VOLT 3;:OUTP ON;*OPC?\n")
        assert line.recv(10) == b"1\n"
    assert bench.source.output_on
    assert main(["safe", *attach]) == 0
    assert_safe(bench)
    assert "no session was found" in capsys.readouterr().out


def test_a_source_that_steps_through_a_sequence_is_aborted(bench: Bench, attach: list[str]) -> None:
    """It answers nothing else until its end, which is an hour away."""
    sweep = (
        b"*RST;:SOUR:FUNC VOLT;:SOUR:VOLT:MODE LIST;:SOUR:LIST:VOLT 1,2;:SOUR:DEL 999;"
        b":TRIG:COUN 2;:OUTP ON;:INIT\n"
    )
    with socket.create_connection(("127.0.0.1", bench.source_tcp.port)) as line:
        line.sendall(sweep)
        pause = threading.Event()
        for _ in range(200):
            if bench.source.output_on:
                break
            pause.wait(0.01)
        assert bench.source.output_on
        assert main(["safe", *attach]) == 0
    assert_safe(bench)


def test_what_cannot_be_reached_is_told(
    bench: Bench, attach: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bench.source_tcp.close()
    assert main(["safe", *attach]) == 1
    out, err = capsys.readouterr()
    # The reason once, though bias and beam are one instrument, and the log says it too.
    _, bias, beam, probe, last = out.splitlines()
    assert bias.startswith("NOT SAFE bias")
    assert "Connection refused" in bias
    assert beam.startswith("NOT SAFE beam")
    assert beam.endswith("ms  the same as bias")
    assert probe.startswith("safe     probe")
    assert last == "NOT SAFE: bias, beam; switch it off by hand now"
    assert err == ""


def test_a_session_without_a_guard_is_named(
    session: Session, attach: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    endanger(session)
    assert main(["safe", *attach]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"process {os.getpid()}" in line
    assert "SIGTERM" in line


@pytest.mark.parametrize("arguments", [["--station", "nowhere.toml"], ["--attach", "nothing.json"]])
def test_bad_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["safe", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# ---- the channel -------------------------------------------------------------------------------


def test_only_the_stations_own_guards_are_found() -> None:
    listener = SafeListener("one", 17, ["GPIB0::24::INSTR", "/dev/ttyUSB0"])
    try:
        assert [guard.session for guard in guards_of("one", [])] == [17]
        assert [guard.session for guard in guards_of("two", ["/dev/ttyUSB0"])] == [17]
        assert list(guards_of("two", ["/dev/ttyUSB1"])) == []
    finally:
        listener.close()
    assert list(guards_of("one", [])) == []


def test_the_socket_of_a_killed_guard_is_removed() -> None:
    listener = SafeListener("one", 17, [])
    listener.socket.close()  # what a kill does
    folder = private_folder()
    assert len(list(folder.iterdir())) == 2
    assert list(guards_of("one", [])) == []
    assert list(folder.iterdir()) == []


def test_a_folder_that_others_may_enter_is_refused() -> None:
    folder = private_folder()
    folder.chmod(0o755)
    with pytest.raises(TransportError, match="not a folder of this user alone"):
        private_folder()
    folder.chmod(0o700)


def test_a_link_in_the_folders_place_is_refused(own_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    link = own_folder / f"stmtem-{os.getuid()}"
    link.symlink_to(target)
    with pytest.raises(TransportError, match="not a folder of this user alone"):
        private_folder()
    link.unlink()


def test_a_guard_that_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(safe_channel, "ANSWER_S", 0.05)
    listener = SafeListener("simulated bench", 17, [])
    try:
        assert main(["safe"]) == 1
    finally:
        listener.close()
    assert "the guard of session 17 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("words", [b"", b"\n", b"nonsense\n", b'{"unsafe": 1}\n', b"[" * 99999])
def test_nonsense_does_not_disturb_the_guard(guarded: Session, bench: Bench, words: bytes) -> None:
    (guard,) = guards_of(guarded.station.station.name, [])
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(guard.path))
        with contextlib.suppress(OSError):
            line.sendall(words)
    endanger(guarded)
    assert main(["safe"]) == 0
    assert_safe(bench)


def test_the_lock_is_free_again(bench: Bench, attach: list[str]) -> None:
    assert main(["safe", *attach]) == 0
    StationLock([str(bench.addresses.bias_source["resource"])]).release()


def test_a_stopped_session_is_passed_over(
    guarded: Session, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Seen from the guard: the request goes unanswered, as by a session under SIGSTOP."""
    endanger(guarded)
    client: Any = guarded.watch.guard
    monkeypatch.setattr(client, "_hear", lambda *_: None)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("nobody is killed"))
    assert main(["safe"]) == 0
    assert_safe(bench)
    assert "hangs" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is not None
