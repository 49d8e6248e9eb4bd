"""Our devices in plans that others have written, and in one plan with ophyd-async devices."""

import json
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from ophyd.sim import SynAxis
from ophyd_async.core import soft_signal_rw

from stmtem_control.pytest_plugin import assert_safe
from stmtem_control.session import Session
from stmtem_control.simulators import Bench


@pytest.fixture
def heater(session: Session) -> Any:
    """A setting of the other kind, as a holder's heater would be."""
    made = soft_signal_rw(float, initial_value=20.0, name="heater", units="degC")

    def connect() -> Any:
        yield from bps.wait_for([made.connect])

    session.RE(connect())
    return made


def documents(session: Session, plan: Any) -> dict[str, list[Any]]:
    """Run a foreign plan to a good end and return its documents."""
    found: dict[str, list[Any]] = {}

    def take(name: str, doc: Any) -> None:
        found.setdefault(name, []).append(doc)

    session.RE(plan, take)
    folder = session.run_folder.folder
    assert folder is not None
    kept = [json.loads(line) for line in (folder / "documents.jsonl").read_text().splitlines()]
    assert [name for name, _ in kept].count("event") == len(found["event"])
    assert found["stop"][0]["exit_status"] == "success"
    return found


def column(found: dict[str, list[Any]], name: str) -> list[Any]:
    return [event["data"][name] for event in found["event"]]


def test_count(session: Session, bench: Bench) -> None:
    found = documents(session, bp.count([session.bias, session.camera, session.probe], num=2))
    assert len(column(found, "bias_current")) == 2
    assert column(found, "camera_frames_written") == [0, 0]
    assert found["start"][0]["plan_args"]["detectors"][0].startswith("<BiasSource bias: 0 V")
    assert_safe(bench)


def test_scans_of_the_bias(session: Session, bench: Bench) -> None:
    found = documents(session, bp.scan([session.camera], session.bias, -1.0, 1.0, 3))
    assert column(found, "bias_setpoint") == [-1.0, 0.0, 1.0]
    assert_safe(bench)
    found = documents(session, bp.list_scan([session.bias], session.bias, [0.5, -0.5]))
    assert column(found, "bias_voltage") == pytest.approx([0.5, -0.5], abs=0.01)
    assert_safe(bench)
    found = documents(session, bp.rel_scan([session.bias], session.bias, -0.5, 0.5, 3))
    assert column(found, "bias_setpoint") == [-0.5, 0.0, 0.5]
    assert_safe(bench)


def test_scans_of_the_probe(session: Session, bench: Bench) -> None:
    z = session.probe.z
    found = documents(session, bp.scan([session.bias], z.fine, 0.0, 5.0, 3))
    assert column(found, "probe_z_fine") == [0.0, 2.5, 5.0]
    assert_safe(bench)
    found = documents(session, bp.rel_list_scan([session.bias], z.coarse, [-1, -2]))
    assert column(found, "probe_z_coarse") == [-1, -2]
    assert z.coarse.get() == 0  # a relative scan goes back
    assert_safe(bench)
    found = documents(
        session,
        bp.grid_scan([session.bias], session.probe.x.fine, 0.0, 1.0, 2, z.fine, 0.0, 1.0, 2),
    )
    assert len(found["event"]) == 4
    assert_safe(bench)


def test_the_beam_in_a_list(session: Session, bench: Bench) -> None:
    found = documents(session, bp.list_scan([session.bias], session.beam, ["open", "blanked"]))
    assert column(found, "beam_blanked") == [False, True]
    assert_safe(bench)


def test_baseline_and_monitor(session: Session, bench: Bench) -> None:
    devices = [session.probe, session.camera, session.beam]
    plan = bpp.baseline_wrapper(
        bpp.monitor_during_wrapper(
            bp.scan([session.bias], session.bias, 0.0, 1.0, 2), [session.bias.output]
        ),
        devices,
    )
    found = documents(session, plan)
    names = [descriptor["name"] for descriptor in found["descriptor"]]
    assert sorted(names) == ["baseline", "bias_output_monitor", "primary"]
    assert_safe(bench)


def test_a_value_beyond_the_limits_stops_a_scan(session: Session, bench: Bench) -> None:
    outcome = session.run(bp.scan([session.bias], session.bias, 0.0, 20.0, 3))
    assert outcome.exit_code == 1
    assert "20.0 V is outside -10 to 10 V" in outcome.reason
    assert_safe(bench)


def test_in_one_plan_with_ophyd_async(session: Session, bench: Bench, heater: Any) -> None:
    plan = bp.list_scan(
        [session.bias, session.camera], heater, [21.0, 22.0], session.bias, [1.0, -1.0]
    )
    found = documents(session, plan)
    assert column(found, "heater") == [21.0, 22.0]
    assert column(found, "bias_setpoint") == [1.0, -1.0]
    keys = found["descriptor"][0]["data_keys"]
    assert (keys["heater"]["units"], keys["bias_current"]["units"]) == ("degC", "A")
    assert_safe(bench)


def test_moved_together_with_others(session: Session, bench: Bench, heater: Any) -> None:
    other = SynAxis(name="goniometer")
    session.RE(bps.mv(heater, 30.0, other, 2.0, session.probe.z.fine, 3.0))
    found = documents(session, bp.count([heater, other, session.probe], num=1))
    assert column(found, "heater") == [30.0]
    assert column(found, "goniometer") == [2.0]
    assert column(found, "probe_z_fine") == [3.0]
    assert_safe(bench)


def test_another_device_that_fails_leaves_ours_safe(session: Session, bench: Bench) -> None:
    class Stuck(SynAxis):
        def set(self, value: Any) -> Any:
            assert bench.source.output_on
            raise OSError("the goniometer is stuck")

    def plan() -> Any:
        yield from bps.mv(session.bias, 2.0, session.beam, "open")
        yield from bps.mv(Stuck(name="goniometer"), 1.0)

    outcome = session.run(plan())
    assert outcome.reason == "OSError: the goniometer is stuck"
    assert_safe(bench)
