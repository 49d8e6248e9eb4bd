"""An instrument that falls silent: what makes safe is sent at once, and a person is told."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from stmtem_control.errors import InstrumentError
from stmtem_control.plans import deposit
from stmtem_control.session import Session
from stmtem_control.simulators import Bench, Fault
from stmtem_control.transport import BufferedTransport

WORDS_S = 0.5  # wall seconds from when a plan fails to the last of the words
TOLD_S = 8.0  # the same, until the person is told; this machine is busy, and it was 13 s once
W = 5.0


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, bytes]]:
    """What goes out on any wire of the session, with the monotonic time."""
    words: list[tuple[float, bytes]] = []
    write = BufferedTransport.write

    def note(transport: BufferedTransport, data: bytes) -> None:
        words.append((time.monotonic(), data))
        write(transport, data)

    monkeypatch.setattr(BufferedTransport, "write", note)
    return words


def test_the_words_are_out_before_anybody_waits(
    session: Session, bench: Bench, written: list[tuple[float, bytes]]
) -> None:
    """Also to the instruments that are not silent, and to the others behind the same link."""
    known: list[float] = []
    begin = session.safe_state.begin

    def note() -> None:
        known.append(time.monotonic())
        begin()

    session.safe_state.begin = note  # type: ignore[method-assign]
    session.bias.source._scpi.timeout_s = 0.3

    def strike(**_: Any) -> None:
        if session.bias.setpoint.get() == -5.0 and not bench.fault_log:
            for where in ("bias_source", "probe"):
                bench.inject(Fault(where, "silence", seconds=600.0))

    session.bias.current.subscribe(strike, run=False)
    outcome = session.run(
        deposit(session.bias, session.camera, session.beam, duration_s=60.0, pre_roll_s=0.1)
    )
    took = time.monotonic() - known[0]
    session.bias.current.clear_sub(strike)
    for words in (b":OUTP OFF", b":SOUR2:TTL 15", b"stop 3"):
        after = [t - known[0] for t, data in written if words in data and t >= known[0] - 0.2]
        assert after[0] < WORDS_S, words
    assert outcome.status != "success"  # the plan fails, or the bias that lapses ends it first
    assert "NOT SAFE: bias" in outcome.safe
    assert took < TOLD_S


def test_a_stop_tells_those_behind_it_that_nobody_answers(session: Session, bench: Bench) -> None:
    """Bias and beam are one instrument: what one of them has waited for, the other need not."""
    source = session.bias.source
    source._scpi.timeout_s = 0.1
    bench.inject(Fault("bias_source", "silence", seconds=600.0))
    session.bias.stop()
    both = [threading.Thread(target=device.stop) for device in (session.bias, session.beam)]
    begun = time.monotonic()
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(W)
    assert time.monotonic() - begun < 0.45
    for device in (session.bias, session.beam):
        assert "not confirmed" in str(device.unsafe)


@pytest.mark.parametrize("when", [":SOUR:VOLT -", ":SOUR2:TTL"])
def test_a_message_that_never_arrives_is_told(session: Session, bench: Bench, when: str) -> None:
    """It leaves no error behind; without a look the next steps would go on without it."""
    bench.inject(Fault("bias_source", "lose", when=when))
    act: Callable[[], Any] = (
        (lambda: session.bias.set(-5.0)) if "VOLT" in when else (lambda: session.beam.set("open"))
    )
    with pytest.raises(InstrumentError, match="lost on its way"):
        act().wait(W)
    assert bench.safe()["output off"]
    assert bench.safe()["beam blanked"]
    act().wait(W)
    assert bench.source.output_on == ("VOLT" in when)
    assert bench.safe()["beam blanked"] == ("VOLT" in when)


def test_a_frame_that_comes_twice_is_kept_once(
    session: Session, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.inject(Fault("camera_data", "duplicate", at_exchange=3))
    outcome = session.run(
        deposit(session.bias, session.camera, session.beam, duration_s=0.3, pre_roll_s=0.2)
    )
    assert outcome.status == "success"
    assert outcome.folder is not None
    lines = (outcome.folder / "frames.csv").read_text("utf-8").splitlines()
    place = lines[0].split(",").index("sequence")
    numbers = [int(line.split(",")[place]) for line in lines[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert outcome.dropped == 0
    assert len(bench.fault_log) == 1
