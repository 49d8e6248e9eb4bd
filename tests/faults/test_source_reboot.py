"""A source that was switched off and on: the next plan sets it up again, and says so."""

import bluesky.plan_stubs as bps
import pytest

from stmtem_control.errors import StmTemError
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

W = 5.0


def test_it_is_set_up_again_between_plans(
    session: Session, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the compliance that was set last, not that of the factory, nor of the station file."""
    session.bias.compliance.set(5e-9).wait(W)
    bench.inject("bias_source:reboot")
    with pytest.raises(StmTemError):
        session.bias.source.read().result(W)
    session.bias.stop()  # finds the connection again, and leaves it at that
    session.interlocks.clear()
    outcome = session.run(bps.mv(session.bias, -1.0))
    assert (outcome.reason, outcome.status) == ("", "success")
    limit = bench.source.core.settings.current_limit()
    assert limit == pytest.approx(5e-9, rel=0.01)
    told = capsys.readouterr().err
    assert "bias_source: the compliance was 5e-09 A and is now 0.000105 A" in told
    assert "it has been set up again: output off, compliance 5e-09 A" in told
    assert session.beam.blanked.get()
    assert bench.safe()["beam blanked"]
