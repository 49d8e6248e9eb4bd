"""The session cannot make it safe, its guard can: the outcome says so."""

import os
from concurrent.futures import Future
from typing import Any

import bluesky.plan_stubs as bps
import pytest

from stmtem_control.config import Station
from stmtem_control.devices import SafePart, SafeReport
from stmtem_control.errors import TransportTimeout
from stmtem_control.pytest_plugin import assert_safe
from stmtem_control.session import Session
from stmtem_control.simulators import Bench


def deaf() -> "Future[Any]":
    """Return what a source that does not answer gives."""
    future: Future[Any] = Future()
    future.set_exception(TransportTimeout("bias_source: no answer"))
    return future


@pytest.mark.skipif(os.name != "posix", reason="there is no guard process elsewhere")
def test_the_outcome_says_who_made_it_safe_in_the_end(station: Station, bench: Bench) -> None:
    guarded = station.with_safe(guard=True)
    with Session(guarded, addresses=bench.addresses.as_dict()) as session:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(session.bias.source, "zero_and_off", deaf)
            outcome = session.run(bps.mv(session.bias, -1.0))
            assert_safe(bench)
        by = "(by the guard process)"
        assert outcome.safe.startswith(f"bias 0 V, output off {by}, beam blanked, probe stopped")
        assert session.safe_state.last is not None
        assert session.safe_state.last.ok
        assert "bias_source: no answer" in outcome.reason  # it is not hushed up either


def report(*parts: tuple[str, bool, str]) -> SafeReport:
    return SafeReport(
        "", tuple(SafePart(name, ok, what, 0.1) for name, ok, what in parts), 0.1, 0.0
    )


def test_what_the_guard_could_not_do_either_stays_as_it_is() -> None:
    own = report(("bias", False, "silent"), ("beam", False, "silent"), ("probe", True, "stopped"))
    other = report(("bias", True, "off"), ("beam", False, "refused"), ("probe", False, "held"))
    assert own.mended(other, "it").line() == (
        "NOT SAFE: beam: silent; switch it off by hand now (bias off (by it), probe stopped)"
    )
