"""The one safe state: whoever asks, in order, whatever fails or hangs; asked of the bench."""

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from stmtem_control.devices import SafePart, SafeReport, SafeState, SafeStep, carry_out
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

W = 5.0


# ---- steps -------------------------------------------------------------------------------------


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Provide an event for steps to hang on; it is set at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


def step(name: str, done: list[str], deadline_s: float = W, needs: str = "") -> SafeStep:
    def action() -> str:
        done.append(name)
        return "safe"

    return SafeStep(name, action, deadline_s, needs)


def failing(name: str) -> SafeStep:
    def action() -> str:
        raise ConnectionError("gone\naway")

    return SafeStep(name, action, W)


def test_steps_are_taken_in_order_and_reported() -> None:
    done: list[str] = []
    report = carry_out([step(name, done) for name in "abc"], "a test")
    assert done == ["a", "b", "c"]
    assert [part.name for part in report.parts] == ["a", "b", "c"]
    assert report.ok
    assert report.reason == "a test"
    assert report.line() == repr(report) == "a safe, b safe, c safe"
    assert 0.0 <= sum(part.seconds for part in report.parts) <= report.seconds < W
    assert SafeReport.from_dict(report.as_dict()) == report


def test_one_that_fails_does_not_keep_the_others_from_being_tried() -> None:
    done: list[str] = []
    report = carry_out([step("a", done), failing("b"), step("c", done)], "")
    assert done == ["a", "c"]
    assert [part.ok for part in report.parts] == [True, False, True]
    assert not report.ok
    line = "NOT SAFE: b: gone away; switch it off by hand now (a safe, c safe)"
    assert report.line() == line


def test_one_that_hangs_costs_the_others_little_and_is_not_waited_for(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stmtem_control.devices.safe_parts.PATIENCE_S", 0.01)
    done: list[str] = []

    def hang() -> str:
        release.wait(W)
        return "at last"

    report = carry_out([SafeStep("a", hang, 0.05), step("b", done)], "")
    assert done == ["b"]
    assert [part.ok for part in report.parts] == [False, True]
    assert "no answer within 0.05 s" in report.line()
    assert 0.05 <= report.seconds < W


def test_a_step_that_needs_another_is_not_tried_without_it() -> None:
    done: list[str] = []
    report = carry_out([failing("bias"), step("retraction", done, needs="bias")], "")
    assert done == []
    assert "retraction: not tried, because bias is not confirmed" in report.line()
    assert carry_out([step("bias", done), step("retraction", done, needs="bias")], "").ok
    assert done == ["bias", "retraction"]


def test_nothing_done_is_not_safe() -> None:
    assert not SafeReport("", (), 0.0, 0.0).ok
    assert "NOT SAFE" in SafeReport("", (), 0.0, 0.0).line()


# ---- on the bench ------------------------------------------------------------------------------


def endanger(session: Session) -> None:
    session.bias.set(-5.0).wait(W)
    session.beam.set("open").wait(W)


def test_everything_on_is_off_afterwards_and_again(session: Session, bench: Bench) -> None:
    endanger(session)
    session.probe.z.coarse.set(-150)  # under way
    assert session.safe_state.hazard
    assert not bench.safe()["bias 0 V"]
    reports = []
    for _ in range(2):
        report = session.safe_state("a test")
        reports.append(report)
        assert report.ok, report
        assert [part.name for part in report.parts] == ["bias", "beam", "probe", "camera"]
        assert bench.safe() == dict.fromkeys(bench.safe(), True)
    assert session.safe_state.at_rest
    assert not session.safe_state.hazard
    assert session.safe_state.last is reports[-1]


def test_an_output_that_is_on_at_no_bias_is_no_hazard(session: Session) -> None:
    session.bias.set(0.0).wait(W)
    assert not session.safe_state.hazard
    assert not session.safe_state.at_rest


def counted(device: Any, monkeypatch: pytest.MonkeyPatch, before: Callable[[], Any]) -> list[int]:
    calls: list[int] = []
    stop = device.stop

    def counting(*, success: bool = True) -> None:
        calls.append(1)
        before()
        stop(success=success)

    monkeypatch.setattr(device, "stop", counting)
    return calls


def test_many_threads_at_once_do_it_once(
    session: Session, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    endanger(session)
    come, count = threading.Event(), 20
    calls = counted(session.camera, monkeypatch, lambda: come.wait(W))
    reports: list[SafeReport] = []
    barrier = threading.Barrier(count + 1)

    def ask() -> None:
        barrier.wait(W)
        reports.append(session.safe_state("a thread"))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    barrier.wait(W)
    come.set()
    for thread in threads:
        thread.join(W)
    assert len(reports) == count
    assert all(report.ok for report in reports)
    # Who came while it was done got its report; none asked the camera in between.
    assert len(calls) == len({id(report) for report in reports}) < count
    assert bench.safe() == dict.fromkeys(bench.safe(), True)


def test_what_was_set_after_its_part_is_made_safe_again(
    session: Session, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def at_the_camera() -> None:
        reached.set()
        go_on.wait(W)

    calls = counted(session.camera, monkeypatch, at_the_camera)
    first = threading.Thread(target=session.safe_state)
    first.start()
    assert reached.wait(W)
    session.bias.set(3.0).wait(W)  # the first one's bias part is over
    second = threading.Thread(target=session.safe_state)
    second.start()
    go_on.set()
    first.join(W)
    second.join(W)
    assert len(calls) == 2
    assert bench.safe() == dict.fromkeys(bench.safe(), True)


def test_a_source_that_does_not_answer_does_not_keep_the_probe_moving(
    session: Session, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[SafeReport] = []
    session.safe_state.on_failure = failures.append
    session.probe.z.coarse.set(-150)
    bench.source_tcp.close()
    report = session.safe_state("a test")
    assert not report.ok
    assert failures == [report]
    assert bench.safe()["probe at rest"]
    assert report.line().startswith("NOT SAFE: bias: 0 V and output off not confirmed")
    assert session.safe_state.unsafe == report.line()


# ---- retraction --------------------------------------------------------------------------------


def test_the_probe_goes_back_once_and_only_when_wanted(session: Session, bench: Bench) -> None:
    session.safe_state.retract_steps = 20
    endanger(session)
    near = bench.specimen.gap_nm
    assert session.safe_state.make_safe("the plan is done", retract=False).ok
    assert bench.specimen.gap_nm == pytest.approx(near)
    report = session.safe_state("a trip")
    assert report.ok, report
    assert [part.name for part in report.parts] == ["bias", "beam", "probe", "retraction", "camera"]
    away = bench.specimen.gap_nm
    assert away > near + 100.0
    assert "at -20 steps already" in session.safe_state("again").line()
    assert bench.specimen.gap_nm == pytest.approx(away)
    session.probe.z.coarse.set(-10).wait(W)
    session.safe_state("another trip")
    assert session.probe.z.coarse.get() == -30
    assert bench.safe() == dict.fromkeys(bench.safe(), True)


def test_the_probe_stays_while_the_bias_is_not_known_to_be_off() -> None:
    moved: list[float] = []
    signal = SimpleNamespace
    axis = signal(
        moving=False,
        coarse=signal(get=lambda: 0, set=moved.append, low=-200.0),
        fine=signal(set=moved.append),
        frequency_Hz=signal(get=lambda: 1000.0),
    )
    clock = signal(wall_seconds=float)
    probe = signal(name="probe", x=axis, y=axis, z=axis, stop=lambda success: None, clock=clock)
    beam = signal(name="beam", stop=lambda success: None, blanked=signal(get=lambda: True))
    bias = signal(
        name="bias",
        stop=lambda success: None,
        unsafe="no answer",
        output=signal(get=lambda: True),
        setpoint=signal(get=lambda: 1.0),
    )
    report = SafeState(bias, beam, probe, retract_steps=5).make_safe("a test")
    assert moved == []
    assert [(part.name, part.ok) for part in report.parts] == [
        ("bias", False), ("beam", True), ("probe", True), ("retraction", False),
    ]  # fmt: skip


def test_the_way_back_ends_at_the_end_of_the_travel(session: Session) -> None:
    session.safe_state.retract_steps = 10_000
    assert session.safe_state("a test").ok
    assert session.probe.z.coarse.get() == -200


def test_an_error_in_the_safe_state_itself_reaches_who_waits(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> SafeReport:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("stmtem_control.devices.safe_state.carry_out", broken)
        report = session.safe_state("a test")
    assert not report.ok
    assert isinstance(session.safe_state("again").parts[0], SafePart)


def test_a_part_that_cannot_hurt_the_sample() -> None:
    eye = SafeStep("camera", failing("camera").action, W, harmless=True)
    report = carry_out([step("bias", []), eye], "")
    assert not report.ok
    assert report.sample_safe
    assert report.line() == "camera: gone away (the sample is safe: bias safe)"
    assert SafeReport.from_dict(report.as_dict()) == report
    assert not carry_out([failing("bias"), eye], "").sample_safe
