"""One session at a station."""

import os

import pytest

from stmtem_control import station_lock
from stmtem_control.config import Station
from stmtem_control.errors import TransportError
from stmtem_control.session import Session
from stmtem_control.simulators import Bench
from stmtem_control.station_lock import StationLock


def test_an_address_is_held_until_it_is_let_go() -> None:
    first = StationLock(["GPIB0::24::INSTR", "/dev/ttyUSB7"])
    with pytest.raises(TransportError, match=rf"/dev/ttyUSB7 is in use .*{os.getpid()}"):
        StationLock(["/dev/other", "/dev/ttyUSB7"])
    StationLock(["/dev/other"]).release()  # what it had taken before was given back
    first.release()
    first.release()
    StationLock(["/dev/ttyUSB7"]).release()


def test_a_second_session_leaves_the_first_alone(
    session: Session, station: Station, bench: Bench
) -> None:
    session.bias.set(2.0).wait(5.0)
    with pytest.raises(TransportError, match="in use by another session"):
        Session(station, addresses=bench.addresses.as_dict())
    assert bench.source.output_on
    assert bench.source.level == 2.0


def terminals(monkeypatch: pytest.MonkeyPatch, *identities: str) -> None:
    """Have a name be of one terminal after the other, at each lock."""
    left = list(identities)
    monkeypatch.setattr(station_lock, "terminal_of", lambda _address: left.pop(0))


def test_a_terminal_whose_number_was_given_out_again_waits_for_a_session_that_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminals(monkeypatch, "first", "second", "second")
    first = StationLock(["/dev/pts/made up"])
    monkeypatch.setattr(station_lock, "wait", lambda _seconds: first.release())
    second = StationLock(["/dev/pts/made up"])
    # It is held now, and by the second: that one is not waited for.
    with pytest.raises(TransportError, match="in use by another session"):
        StationLock(["/dev/pts/made up"])
    second.release()


def test_a_session_that_does_not_close_keeps_the_name_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody may just have changed the permissions of the terminal that both mean."""
    terminals(monkeypatch, "first", "second")
    first = StationLock(["/dev/pts/made up"])
    monkeypatch.setattr(station_lock, "CLOSING_S", 0.0)
    with pytest.raises(TransportError, match=rf"in use .*process {os.getpid()}\)"):
        StationLock(["/dev/pts/made up"])
    first.release()


def test_a_terminal_is_known_by_more_than_its_name() -> None:
    master, slave = os.openpty()
    try:
        path = os.ttyname(slave)
        known = station_lock.terminal_of(path)
        assert known == station_lock.terminal_of(path) != ""
        os.write(slave, b"used")
        assert os.read(master, 4) == b"used"
        assert station_lock.terminal_of(path) == known
    finally:
        os.close(master)
        os.close(slave)
    assert station_lock.terminal_of("/dev/ttyS0") == station_lock.terminal_of("GPIB0::24") == ""
