"""Protocols in a session: what is kept, who may stop them, and that the sample is safe then."""

import io
import json
import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stmtem_control.ending import BOUNCE_S
from stmtem_control.errors import ProtocolFileError
from stmtem_control.outcome import Outcome
from stmtem_control.protocol import read_protocol
from stmtem_control.protocol_progress import KEYS, ProtocolProgress
from stmtem_control.pytest_plugin import assert_safe
from stmtem_control.run_control import PAUSED, RunControl
from stmtem_control.run_protocol import refuse_without_person, run_protocol
from stmtem_control.session import Session
from stmtem_control.simulators import Bench

HOLD = """\
# a comment that is kept
protocol: a short hold
metadata: {sample: in the file, notes: of the file}
camera: {rate: 25 Hz, exposure: 35 ms}
pre_roll: 0.2 s
steps:
  - hold: {bias: 1 V, duration: 4 s}
"""
ASKING = HOLD.replace("steps:\n", "steps:\n  - prompt: Is the fibre in view?\n")


def start_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.folder is not None
    first = (outcome.folder / "documents.jsonl").read_text("utf-8").splitlines()[0]
    name, document = json.loads(first)
    assert name == "start"
    return dict(document)


class Watched:
    """Stands for the progress: acts when the run has paused."""

    def __init__(self) -> None:
        self.note = ""
        self.heard: list[str] = []
        self.at_pause: list[Callable[[], object]] = []

    def told(self, note: str, text: str = "") -> None:
        self.note = note
        self.heard.append(note)
        if note == PAUSED:
            self.at_pause.pop(0)()


def run_with(
    session: Session, in_hold: list[Callable[[RunControl], object]],
    at_pause: list[Callable[[RunControl], object]],
) -> tuple[Outcome, Watched]:  # fmt: skip
    """Run the hold; act at its readings, one after the other, and at its pauses."""
    progress: Any = Watched()
    control = RunControl(session, progress)
    progress.at_pause = [lambda act=act: act(control) for act in at_pause]
    waiting = list(in_hold)

    def at_document(name: str, doc: dict[str, Any]) -> None:
        if name == "event" and doc["data"].get("bias_setpoint") == 1.0 and waiting:
            waiting.pop(0)(control)

    token = session.RE.subscribe(at_document)
    try:
        with control:
            return run_protocol(session, HOLD), progress
    finally:
        session.RE.unsubscribe(token)


def press(_control: RunControl) -> None:
    """Press Ctrl-C, not so soon that it counts as the same press once more."""
    threading.Timer(2.0 * BOUNCE_S, os.kill, (os.getpid(), signal.SIGINT)).start()


def key(name: str) -> Callable[[RunControl], None]:
    return lambda control: control.key(name)


def test_a_run_keeps_its_file_and_its_metadata(session: Session, bench: Bench) -> None:
    outcome = run_protocol(session, HOLD, sample="CNF-12", air_exposure_s=30.0, site="fibre 1")
    assert (outcome.status, outcome.exit_code) == ("success", 0)
    assert outcome.folder is not None
    assert "_a-short-hold_" in outcome.folder.name
    assert (outcome.folder / "protocol.yaml").read_text("utf-8") == HOLD
    start = start_of(outcome)
    kept = {key: start[key] for key in ("protocol", "sample", "notes", "air_exposure_s", "site")}
    assert kept == {
        "protocol": "a short hold",
        "sample": "CNF-12",
        "notes": "of the file",
        "air_exposure_s": 30.0,
        "site": "fibre 1",
    }
    assert outcome.frames + outcome.dropped == 105  # 4.2 s at 25 Hz, exactly
    assert_safe(bench)


def test_a_protocol_made_in_python_is_kept_as_a_file(session: Session) -> None:
    protocol = read_protocol(HOLD).model_copy(update={"text": ""})
    outcome = run_protocol(session, protocol)
    assert outcome.folder is not None
    assert read_protocol(outcome.folder / "protocol.yaml") == protocol


def test_what_the_station_does_not_allow_moves_nothing(session: Session) -> None:
    outcome = run_protocol(session, HOLD.replace("1 V", "11 V"))
    assert outcome.folder is None
    assert "protocol:7: bias" in str(outcome.refusal())
    assert list(session.root.glob("2*")) == []
    with pytest.raises(ProtocolFileError, match="metadata of the run: metadata, sample"):
        run_protocol(session, HOLD, sample="")


def test_p_pauses_and_r_goes_on_to_the_end(session: Session, bench: Bench) -> None:
    def at_rest(control: RunControl) -> None:
        assert_safe(bench)
        control.key("x")  # is no key
        control.key("R")

    outcome, progress = run_with(session, [key("p"), key("p")], [at_rest, key("\n")])
    assert (outcome.status, outcome.reason) == ("success", "")
    assert progress.heard == [PAUSED, KEYS, PAUSED, KEYS]
    assert outcome.frames + outcome.dropped == 105  # the pause has cost no frame
    assert_safe(bench)


@pytest.mark.parametrize(
    ("in_hold", "at_pause", "reason"),
    [
        ([key("q")], [], "ended from the keyboard"),
        ([key("p")], [key("q")], "ended from the keyboard"),
        ([press], [press], "Ctrl-C"),
        ([key("p")], [press], "Ctrl-C"),
        ([press, key("p")], [key("r"), key("q")], "ended from the keyboard"),
        ([press, press], [key("r"), press], "Ctrl-C"),
    ],
    ids=["q", "p q", "^C ^C", "p ^C", "^C r p q", "^C r ^C ^C"],
)
@pytest.mark.bench(speed=1.0)  # the last press must not come after the end of the hold
def test_who_ends_a_run(
    session: Session, bench: Bench, in_hold: Any, at_pause: Any, reason: str
) -> None:
    outcome, _ = run_with(session, in_hold, at_pause)
    assert (outcome.status, outcome.reason, outcome.exit_code) == ("aborted", reason, 1)
    assert outcome.folder is not None
    assert outcome.frames > 0
    assert_safe(bench)


def test_an_interlock_or_a_signal_ends_a_paused_run(session: Session, bench: Bench) -> None:
    outcome, _ = run_with(session, [key("p")], [lambda _: session.trip("a hand in the way")])
    assert (outcome.status, outcome.reason) == ("aborted", "a hand in the way")
    assert_safe(bench)
    end = lambda _: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    outcome, _ = run_with(session, [key("p")], [end])
    assert (outcome.status, outcome.reason) == ("aborted", "SIGTERM")
    assert_safe(bench)


def test_without_a_keyboard_the_first_ctrl_c_ends(session: Session, bench: Bench) -> None:
    def at_document(name: str, doc: dict[str, Any]) -> None:
        if name == "event" and doc["data"].get("bias_setpoint") == 1.0:
            session.RE.unsubscribe(token)
            press(None)  # type: ignore[arg-type]

    token = session.RE.subscribe(at_document)
    outcome = run_protocol(session, HOLD)
    assert (outcome.status, outcome.reason) == ("aborted", "Ctrl-C")
    assert_safe(bench)


def test_a_person_is_asked_and_may_say_no(session: Session, bench: Bench) -> None:
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "no" if len(asked) > 1 else "it is"

    outcome = run_protocol(session, ASKING, ask=answer)
    assert (outcome.status, asked) == ("success", ["Is the fibre in view?"])
    refused = run_protocol(session, ASKING, ask=answer)
    assert (refused.status, refused.exit_code) == ("failed", 1)
    assert "who answered 'no' to 'Is the fibre in view?'" in refused.reason
    assert_safe(bench)


def test_who_cannot_be_asked_is_told_before_anything_moves(tmp_path: Path) -> None:
    path = tmp_path / "ask.yaml"
    path.write_text(ASKING, "utf-8")
    with pytest.raises(ProtocolFileError) as caught:
        refuse_without_person(read_protocol(path))
    assert str(caught.value).startswith(f"{path}:7: prompt: somebody must be asked")
    refuse_without_person(read_protocol(HOLD))


def test_what_a_person_sees(session: Session) -> None:
    drawn = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    begins = [(0.0, "", 0), (0.3, "hold", 0), (4.4, "end", 0)]
    progress = ProtocolProgress(
        session, drawn, left=lambda passed_s: 4.5 - passed_s, begins=begins, budget_e_per_A2=90.0
    )
    seen: list[str] = []

    def look(name: str, doc: dict[str, Any]) -> None:
        if name == "event" and doc["data"].get("bias_setpoint") == 1.0 and not seen:
            progress.note = PAUSED
            progress.asked("Is it there?")
            progress.question, progress.typed = lambda: "Is it there?", lambda: "ye"
            drawn.print(progress.table())
            progress.asked("> yes")
            seen.append(progress.line())

    with progress.live():
        token = session.RE.subscribe(look)
        outcome = run_protocol(session, HOLD)
        session.RE.unsubscribe(token)
    assert outcome.exit_code == 0
    text = drawn.file.getvalue()  # type: ignore[attr-defined]
    assert "step 1 of 1: hold: 1.00 V for 4.0 s" in text
    assert re.search(r"step +│ 1 of 1: 1.00 V for 4.0 s", text)
    assert re.search(r"dose +│ [\d.]+ of 90 e/Å²", text)
    assert re.search(r"time left +│ about [\d.]+ s", text)
    assert re.search(r"asked +│ Is it there\?", text)
    assert re.search(r"answer +│ ye_", text)
    assert "> yes" in text
    assert re.search(r"1/1 hold +1.00 V .* of 90 e/Å²  beam on  about [34].\d s left", seen[0])


def test_a_detector_of_the_session_ends_a_step(session: Session) -> None:
    class Lit:
        def seen(self, look: Any) -> bool:
            return bool(look.elapsed_s > 0.2)

    waiting = HOLD.replace("duration: 4 s", "until: {event: lit}, timeout: 60 s")
    refused = run_protocol(session, waiting)
    assert "none was passed in; put yours into session.detectors" in refused.reason
    session.detectors["lit"] = Lit()
    outcome = run_protocol(session, waiting)
    assert (outcome.status, refused.folder) == ("success", None)
    assert outcome.folder is not None
    assert "event lit: after" in (outcome.folder / "documents.jsonl").read_text("utf-8")
