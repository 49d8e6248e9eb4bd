"""Endings from elsewhere: the outcome says so, and the next run finds an instrument again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fault_cases import MORE
from benchmarks.fault_checks import check_files
from benchmarks.fault_endings import Place, SubscriberError, end_at
from benchmarks.fault_lab import AWAY_NM, Lab, quiet


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with quiet(), Lab(tmp_path) as made:
        made.put_probe(contact=True)
        yield made


@pytest.mark.parametrize("ending", ["abort", "stop", "halt"])
def test_whoever_ends_a_plan_it_is_no_success(lab: Lab, ending: str) -> None:
    ended = end_at(lab, MORE["short"](lab), Place("set bias", 2), ending)
    assert ended.reached
    assert ended.outcome is not None
    assert (ended.status, ended.told) == ("aborted", "the RunEngine was told to end")
    assert ended.outcome.exit_code == 1


def test_who_wants_the_end_of_a_plan_that_has_ended_changes_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the last moment: the outcome must not be an abort without a reason."""
    whole = lab.session.safe_state
    make_safe = whole.make_safe

    def late(reason: str, **options: Any) -> Any:
        if lab.session.RE.state == "idle":
            lab.session.trip("Ctrl-C")
        return make_safe(reason, **options)

    monkeypatch.setattr(whole, "make_safe", late)
    outcome = lab.session.run(MORE["short"](lab))
    assert lab.session.ending.reason == "Ctrl-C"
    assert (outcome.status, outcome.reason) == ("success", "")


def test_a_connection_that_broke_is_opened_before_the_next_run(lab: Lab) -> None:
    ended = end_at(
        lab,
        MORE["short"](lab),
        Place("set bias", 2),
        "by itself",
        lambda: lab.bench.inject("bias_source:close_before"),
    )
    # The set that fails, the interlock, or the lapse of the hold: whichever is told first.
    assert ended.status in ("failed", "aborted")
    assert "bias" in ended.told
    lab.session.interlocks.clear()  # a lost link is one of them
    assert lab.session.run(MORE["short"](lab)).exit_code == 0


def test_a_camera_that_did_not_hear_the_stop_is_stopped_again(lab: Lab, tmp_path: Path) -> None:
    camera = lab.session.camera
    camera.directory = tmp_path
    camera.kickoff().wait(10.0)  # without an end of its own
    lab.bench.inject("camera:silence")
    camera.stop()
    assert camera.unsafe is not None
    assert lab.bench.camera.busy
    lab.bench.clear_faults()
    assert lab.session.safe_state.make_safe("mended").ok
    lab.clock.advance(1.0)  # the frame under way
    assert not lab.bench.camera.busy


@pytest.mark.parametrize("first", ["stream_resource", "stream_datum", "event_page"])
def test_frames_whose_documents_a_subscriber_stopped_are_declared(lab: Lab, first: str) -> None:
    """They were collected: nobody would ask the camera for them again."""

    def fail(name: str, doc: dict[str, Any]) -> None:
        if name == first and not failed:
            failed.append(doc)
            raise SubscriberError("in a subscriber")

    failed: list[dict[str, Any]] = []
    lab.session.RE.subscribe(fail)
    outcome = lab.session.run(MORE["short"](lab))
    assert failed
    assert outcome.status == "failed"
    assert outcome.folder is not None
    assert outcome.frames > 0
    assert check_files(outcome.folder) == []


def test_a_piezo_that_was_unplugged_under_an_offset_does_not_jump_into_the_fibre(lab: Lab) -> None:
    """Who plugs it in again takes the offset away first; the harness stands for that person."""
    lab.put_probe(contact=False)
    lab.bench.inject("probe:disconnected")
    lab.session.probe.z.fine.set(20.0).wait(5.0)
    assert lab.bench.specimen.gap_nm == pytest.approx(AWAY_NM)
    lab.mend()
    assert not lab.bench.specimen.pierced
    assert lab.bench.specimen.gap_nm == pytest.approx(AWAY_NM)
