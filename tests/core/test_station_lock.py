"""One session at a station."""

import os

import pytest

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
