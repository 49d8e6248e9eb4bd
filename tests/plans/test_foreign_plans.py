"""Plans of others: whatever ends them, the station is safe; asked of the bench itself."""

import sys
import threading
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest
from bluesky import Msg
from bluesky.utils import FailedStatus, RunEngineInterrupted

from stmtem_control.errors import InterlockError
from stmtem_control.plans import covered, deposit, make_safe
from stmtem_control.pytest_plugin import assert_safe, at_message
from stmtem_control.session import Session
from stmtem_control.simulators import Bench


class BoomError(RuntimeError):
    """An error that no one expects."""


def scan(session: Session) -> Any:
    """A foreign plan that opens the beam and steps the bias; it cleans nothing up."""
    yield from bps.mv(session.beam, "open")
    yield from bp.list_scan([session.bias], session.bias, [1.0, 2.0, 3.0])


def in_thread(helpers: list[threading.Thread], call: Any, *arguments: Any) -> None:
    thread = threading.Thread(target=call, args=arguments)
    helpers.append(thread)
    thread.start()


def test_a_scan_ends_safely(session: Session, bench: Bench) -> None:
    session.RE(scan(session))
    assert_safe(bench)
    assert session.run(scan(session)).exit_code == 0


def test_an_error_in_a_scan(session: Session, bench: Bench) -> None:
    def fail() -> None:
        assert bench.source.output_on
        raise BoomError("from the plan")

    with pytest.raises(BoomError):
        session.RE(at_message(scan(session), "save", 2, fail))
    assert_safe(bench)


@pytest.mark.parametrize("end", ["abort", "stop", "halt"])
def test_a_scan_that_is_ended_from_a_pause(
    session: Session, bench: Bench, helpers: list[threading.Thread], end: str
) -> None:
    def pause() -> None:
        in_thread(helpers, session.RE.request_pause, False)

    with pytest.raises(RunEngineInterrupted):
        session.RE(at_message(scan(session), "save", 2, pause))
    getattr(session.RE, end)()
    assert session.RE.state == "idle"
    assert_safe(bench)


def test_a_halt_from_another_thread(
    session: Session, bench: Bench, helpers: list[threading.Thread]
) -> None:
    """The plan's own finalizers are skipped, and the RunEngine never heard of the beam."""
    session.beam.set("open").wait(5.0)

    def halt() -> None:
        assert not bench.specimen.blanked
        in_thread(helpers, session.RE.halt)

    with pytest.raises(RunEngineInterrupted):
        session.RE(at_message(bp.list_scan([], session.bias, [1.0, 2.0, 3.0]), "save", 2, halt))
    assert_safe(bench)


def test_sys_exit_in_a_plan_does_not_hang(session: Session, bench: Bench) -> None:
    outcome = session.run(at_message(scan(session), "save", 2, lambda: sys.exit("enough")))
    assert_safe(bench)
    assert outcome.exit_code == 1
    assert outcome.reason == "the plan called sys.exit() (SystemExit: enough)"
    assert session.run(scan(session)).exit_code == 0  # the RunEngine lives on


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_sys_exit_in_a_subscriber_does_not_hang(session: Session, bench: Bench) -> None:
    """It ends the RunEngine's thread; who waits is told, and the session closes."""

    def leave(name: str, _doc: Any) -> None:
        if name == "event":
            sys.exit("enough")

    session.RE.subscribe(leave)
    with pytest.raises(SystemExit, match="RunEngine's thread has ended"):
        session.run(scan(session))
    session.close()
    assert_safe(bench)


def test_what_a_person_gets_at_the_prompt(session: Session, bench: Bench) -> None:
    """A bias, and an open beam, last as long as the plan that set them."""
    session.RE(bps.mv(session.bias, 3.0, session.beam, "open"))
    assert_safe(bench)
    session.bias.set(3.0).wait(5.0)  # without a plan: until the next one ends
    assert bench.source.level == 3.0
    session.RE(bps.null())
    assert_safe(bench)


def test_a_trip_ends_a_plan_and_tells_why(session: Session, bench: Bench) -> None:
    def trip() -> None:
        session.trip("short: 2 uA at -5 V")

    outcome = session.run(at_message(scan(session), "save", 2, trip))
    assert_safe(bench)
    assert (outcome.status, outcome.reason) == ("aborted", "short: 2 uA at -5 V")
    assert outcome.exit_code == 1
    again = session.run(scan(session))
    assert (again.status, again.reason) == ("success", "")


def test_a_trip_between_two_plans_is_over(session: Session, bench: Bench) -> None:
    session.trip("an old story")
    assert session.run(scan(session)).status == "success"


def test_a_trip_at_the_prompt_is_told(
    session: Session, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunEngineInterrupted):
        session.RE(at_message(scan(session), "save", 2, lambda: session.trip("short")))
    assert_safe(bench)
    assert capsys.readouterr().err == "stmtem: the plan is ended: short\n"


class Whole:
    """A safe state that counts."""

    name, parent = "whole", None

    def __init__(self) -> None:
        self.unsafe: str | None = None
        self.stops = self.begun = 0

    def covers(self, _devices: Any) -> bool:
        return True

    def begin(self) -> None:
        self.begun += 1

    def stop(self, *, success: bool = True) -> None:
        self.stops += 1


def messages(plan: Any) -> list[Msg]:
    return list(plan)


def test_plans_of_ours_are_not_made_safe_twice(session: Session) -> None:
    seen: list[Msg] = []
    session.RE.msg_hook = seen.append
    plan = deposit(session.bias, session.camera, session.beam, duration_s=0.1, pre_roll_s=0.0)
    assert session.run(plan).exit_code == 0
    assert [msg.obj for msg in seen if msg.command == "stop"] == [session.safe_state]


@pytest.mark.parametrize(("then", "stops"), [([], 1), ([Msg("set", None)], 2)])
def test_only_what_comes_after_makes_it_unsafe_again(then: list[Msg], stops: int) -> None:
    whole = Whole()
    plan = iter([Msg("set", None), Msg("stop", whole), Msg("close_run"), *then])
    sent = messages(covered((msg for msg in plan), whole))
    assert [msg.obj for msg in sent if msg.command == "stop"] == [whole] * stops


def test_a_reason_ends_a_plan_before_its_next_message_and_lets_it_clean_up() -> None:
    whole, why, seen = Whole(), [""], []

    def plan() -> Any:
        try:
            yield Msg("set", None)
            yield Msg("never")
        except InterlockError as error:
            seen.append(str(error))
            yield Msg("cleaning", None)
            raise

    run = covered(plan(), whole, lambda: why[0])
    assert next(run).command == "set"
    why[0] = "enough"
    assert run.send(None).command == "cleaning"
    assert run.send(None).obj is whole
    with pytest.raises(InterlockError, match="enough"):
        run.send(None)
    assert seen == ["enough"]


def test_a_part_that_is_not_safe_is_told() -> None:
    whole = Whole()
    whole.unsafe = "NOT SAFE: bias: no answer; switch it off by hand now"
    run = covered((msg for msg in [Msg("null")]), whole)
    assert [next(run).command, next(run).command] == ["null", "stop"]
    with pytest.raises(InterlockError, match="NOT SAFE: bias"):
        next(run)


def test_a_camera_that_does_not_stop_is_told_in_the_words_of_the_safe_state() -> None:
    whole, bias = Whole(), Whole()
    bias.safe_state = whole  # type: ignore[attr-defined]
    whole.unsafe = "camera: no answer (the sample is safe: bias 0 V, output off)"
    run = make_safe(bias, Whole(), Whole())
    assert next(run).obj is whole
    with pytest.raises(InterlockError) as told:
        run.send(None)
    assert str(told.value) == whole.unsafe


def test_an_abort_during_the_safe_state_changes_nothing() -> None:
    from bluesky.utils import RequestAbort

    whole = Whole()
    run = covered((msg for msg in [Msg("null")]), whole)
    assert [next(run).command, next(run).command] == ["null", "stop"]
    with pytest.raises(RequestAbort):
        run.throw(RequestAbort())
    assert whole.stops == 1


def test_a_set_that_a_stop_cut_short_does_not_keep_anything_from_being_made_safe() -> None:
    """It fails late: the RunEngine then throws instead of doing what it was given."""
    bias, beam = Whole(), Whole()
    run = make_safe(bias, beam)
    assert next(run).obj is bias
    assert run.throw(FailedStatus("of a set")).obj is beam
    assert (bias.stops, beam.stops) == (1, 0)
    with pytest.raises(StopIteration):
        run.send(None)


def test_what_a_stop_cut_short_is_not_told_instead_of_what_ended_the_plan() -> None:
    """The reading or the camera that it dropped fails while the stop is on its way."""

    def plan() -> Any:
        yield Msg("trigger", None)
        raise BoomError("first")

    whole = Whole()
    run = covered(plan(), whole)
    assert [next(run).command, next(run).command] == ["trigger", "stop"]
    with pytest.raises(BoomError, match="first"):
        run.throw(FailedStatus("of the reading"))
    assert whole.stops == 1
