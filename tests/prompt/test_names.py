"""The names at the prompt, and what they show of themselves."""

import re
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import pytest
from IPython.core.oinspect import getdoc

from stmtem_control import plans
from stmtem_control.errors import ConfigError, RecordingError
from stmtem_control.overview import PlanList
from stmtem_control.plans import deposit
from stmtem_control.prompt import namespace
from stmtem_control.public_plans import public_plans
from stmtem_control.pytest_plugin import assert_safe
from stmtem_control.session import Session
from stmtem_control.simulators import Bench


@pytest.fixture
def names(session: Session) -> dict[str, Any]:
    return namespace(session)


def test_every_public_plan_is_at_hand(names: dict[str, Any]) -> None:
    public = [name for name in vars(plans)["__all__"] if isgeneratorfunction(vars(plans)[name])]
    assert len(public) > 12
    for name in public:
        assert names[name] is getattr(plans, name)
    assert sorted(names["plans"]) == sorted(public)
    assert names["plans"].deposit is names["plans"]["deposit"] is deposit
    assert dir(names["plans"]) == sorted(public)
    with pytest.raises(AttributeError, match="no plan 'depositt'; there are approach_contact,"):
        names["plans"].depositt  # noqa: B018 - reading it is the test


def test_the_rest_is_at_hand(names: dict[str, Any], session: Session) -> None:
    assert names["RE"] is session.RE
    assert names["bp"].count is bp.count
    assert names["devices"]["bias"] is names["bias"] is session.bias
    assert list(names["devices"]) == list(session.devices)
    assert names["safe_state"]().ok
    assert repr(names["interlocks"]) == "<interlocks: none has tripped>"


def test_the_table_of_devices(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "130")
    lines = repr(names["devices"]).splitlines()
    assert re.match(r"name +now +unit +what$", lines[0])
    (bias,) = (line for line in lines if line.startswith("bias "))
    assert "0 V, output off" in bias
    (current,) = (line for line in lines if line.startswith("  bias.current "))
    assert re.search(r" 0 A +A +Current through the output, as measured\.$", current)
    assert max(map(len, lines)) < 130
    monkeypatch.setenv("COLUMNS", "20")  # names stay whole
    assert "  bias.current  " in repr(names["devices"])


def test_the_table_of_plans(names: dict[str, Any]) -> None:
    text = repr(names["plans"])
    for name in names["plans"]:
        assert re.search(rf"^{name}\(", text, re.MULTILINE)
    assert re.search(r"^retract\(probe, bias, beam, \*, steps=", text, re.MULTILINE)
    sentence = re.search(r"^deposit\((?:.|\n)*?\n    (\S.*)$", text, re.MULTILINE)
    assert sentence is not None
    assert sentence[1].endswith(".")


def test_a_question_mark_tells_the_unit(names: dict[str, Any]) -> None:
    """What IPython shows for ``bias.current?`` is the signal's own docstring."""
    current = getdoc(names["bias"].current) or ""
    assert current.startswith("Current through the output, as measured.")
    assert "Unit: A (float); is read only." in current
    assert "bias.current.get()" in current
    fine = getdoc(names["probe"].z.fine) or ""
    assert "Unit: V (float); can be set." in fine
    assert "probe.z.fine.get()" in fine
    whole = getdoc(names["bias"]) or ""
    assert "bias.compliance (A, settable): Limit of the current, both signs." in whole


def test_reprs_show_the_live_state(names: dict[str, Any], session: Session, bench: Bench) -> None:
    bias, beam, probe, camera = (names[n] for n in ("bias", "beam", "probe", "camera"))
    assert repr(beam) == "<BeamBlanker beam: blanked>"
    assert repr(probe) == "<PiezoProbe probe: z 0 V, +0 steps, contact open>"
    assert repr(probe.z) == str(probe.z) == "<PiezoAxis probe_z: 0 V, +0 steps>"
    assert repr(camera) == "<FrameCamera camera: 25 Hz, 35.0 ms, idle, 0 frames on disk>"
    assert repr(names["alignment"]) == "<ClockAlignment alignment: frames dated by their start>"
    assert repr(bias.compliance) == "<Setting bias_compliance: 10.0 nA>"
    bias.set(-5.0).wait(5.0)
    beam.set("open").wait(5.0)
    bias.trigger().wait(5.0)
    assert re.fullmatch(r"<BiasSource bias: -5 V, output on, -?[\d.]+ [fpn]?A>", repr(bias))
    assert repr(beam) == "<BeamBlanker beam: open, 20 e/A^2/s>"
    names["safe_state"]()
    assert repr(bias).startswith("<BiasSource bias: 0 V, output off, last ")
    assert_safe(bench)


def test_a_repr_asks_nothing_of_an_instrument(session: Session) -> None:
    """It must not hang when a link is busy or dead."""
    links = (session.bias.source.link, session.probe.controller.link, session.camera.merlin.link)
    asked: list[str] = []
    session.interlocks.close()  # it takes readings of its own
    for link in links:
        link.submit = lambda *_, **__: asked.append("a job")  # type: ignore[assignment]
    try:
        text = repr(namespace(session)["devices"]) + repr(session.bias) + repr(session.bias.current)
    finally:
        for link in links:
            del link.submit
    assert "output off" in text
    assert asked == []


def test_the_last_run(names: dict[str, Any], session: Session) -> None:
    with pytest.raises(RecordingError, match=r"no run in .* yet; RE\(plan\) makes one"):
        names["last_run"]()
    session.RE(deposit(session.bias, session.camera, session.beam, duration_s=3.0, pre_roll_s=0.1))
    run = names["last_run"]()
    folder = session.run_folder.folder
    assert run.path == folder
    frames = run.frames
    assert re.match(
        rf"<run \S+_deposit_\w+: done, {len(run.images)} frames, \d+ readings>", repr(run)
    )
    assert len(frames["run_time_s"]) == len(run.images) > 3
    assert frames["bias_set_V"].min() == -5.0
    assert repr(frames).startswith(f"<{len(run.images)} rows of frame, sequence, ")
    assert run.readings["current_A"].dtype == float
    assert run.summary.plan == "deposit"
    assert [str(folder)] == [run.__fspath__()]


def test_a_protocol_by_path_or_name(
    names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("protocols").mkdir()
    text = "protocol: tiny\nshows: Nothing.\nsteps:\n  - hold: {bias: 0.1 V, duration: 0.2 s}\n"
    for path in ("protocols/tiny.yaml", "other.yaml"):
        Path(path).write_text(text)
    for given in ("tiny", "other.yaml"):
        outcome = names["run_protocol"](given, sample="CNF-12")
        assert (outcome.status, outcome.reason) == ("success", "")
        assert names["last_run"]().path == outcome.folder
        assert names["last_run"]().summary.start["sample"] == "CNF-12"
    with pytest.raises(ConfigError, match=r"^nothing: No such file"):
        names["run_protocol"]("nothing")


def test_a_run_without_frames(names: dict[str, Any], session: Session) -> None:
    session.RE(bp.count([session.bias], num=2))
    run = names["last_run"]()
    assert len(run.readings["current_A"]) == 2
    assert run.frames == {}
    assert repr(run.frames) == "<0 rows of >"


def test_plans_are_listed_as_a_person_writes_them() -> None:
    listed = " ".join(repr(PlanList(public_plans(parts=True))).split())
    assert "covered(plan, whole, why=str)" in listed
    assert "<" not in listed
