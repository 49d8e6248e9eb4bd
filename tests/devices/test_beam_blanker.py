"""The beam blanker: one line of the source's port, blanked whenever in doubt."""

from concurrent.futures import Future
from typing import Any

import pytest
from bluesky.protocols import Movable, Pausable, Readable, Stageable, Stoppable

from stmtem_control.devices import BeamBlanker, BiasSource
from stmtem_control.devices.keithley import Keithley2400
from stmtem_control.errors import LimitError
from stmtem_control.exchanges import Exchange
from stmtem_control.timeline import Timeline

W = 5.0  # wall seconds that a test waits at most


def word(smu: Any) -> int:
    """Return the four lines of the port; line 2, of weight 2, blanks."""
    return int(smu.state[":SOUR2:TTL"])


@pytest.mark.parametrize("protocol", [Readable, Movable, Stoppable, Pausable, Stageable])
def test_it_is_what_bluesky_expects(beam: BeamBlanker, protocol: Any) -> None:
    assert isinstance(beam, protocol)


def test_connecting_blanks(beam: BeamBlanker, smu: Any, timeline: Timeline) -> None:
    assert word(smu) == 0b1111
    assert beam.blanked.get() is True
    assert timeline.last("blanked") is True


@pytest.mark.parametrize(
    ("value", "blanked"), [("open", False), ("blanked", True), (False, False), (True, True)]
)
def test_setting_moves_one_line_and_is_noted(
    beam: BeamBlanker, smu: Any, timeline: Timeline, clock: Any, value: Any, blanked: bool
) -> None:
    clock.t = 2.0
    beam.set(value).wait(W)
    assert word(smu) == (0b1111 if blanked else 0b1101)
    assert timeline.at("blanked", 2.0) is blanked
    assert beam.locate() == {"setpoint": blanked, "readback": blanked}
    read: Any = beam.read()
    assert read["beam_blanked"]["value"] is blanked


def test_the_blanking_level_can_be_low(bias: BiasSource, smu: Any) -> None:
    beam = BeamBlanker(
        name="beam",
        source=bias.source,
        clock=bias.clock,
        timeline=bias.timeline,
        line=4,
        blanked_level="low",
        dose_rate_e_per_A2_s=1.0,
    )
    beam.connect(W)
    assert word(smu) == 0b0111
    beam.set("open").wait(W)
    assert word(smu) == 0b1111


@pytest.mark.parametrize("value", ["off", 1, None])
def test_other_words_are_refused(beam: BeamBlanker, value: Any) -> None:
    with pytest.raises(LimitError, match=r'beam: .*"blanked" or "open"'):
        beam.set(value)


def test_a_reset_of_the_source_does_not_move_the_beam(
    beam: BeamBlanker, bias: BiasSource, smu: Any
) -> None:
    beam.set("open").wait(W)
    before = len(smu.sent)
    bias.connect(W)
    after = smu.sent[before:]
    assert "*RST;:SOUR2:TTL 13" in after  # in one message: nobody can come between
    assert ":SOUR2:TTL 13" in after  # and once more with a look at the errors


def test_a_reset_does_not_open_a_beam_that_a_low_line_blanks(
    smu: Any, clock: Any, timeline: Timeline, links: Any
) -> None:
    """*RST puts all lines high: with blanked_level "low" that is an open beam."""
    source = Keithley2400(links(smu), now=clock.now, timeout_s=0.1, digital_word_after_reset=0b1101)
    words: list[int] = []
    answer = smu.answer

    def note(line: str) -> str:
        text = str(answer(line))
        words.append(word(smu))
        return text

    smu.answer = note
    smu.state[":SOUR2:TTL"] = 13.0
    BiasSource(name="bias", source=source, clock=clock, timeline=timeline, max_bias_V=1.0).connect(
        W
    )
    BeamBlanker(
        name="beam", source=source, clock=clock, timeline=timeline, line=2, blanked_level="low",
        dose_rate_e_per_A2_s=1.0,
    ).connect(W)  # fmt: skip
    assert len(words) > 20
    assert set(words) == {0b1101}


def test_a_word_that_the_port_does_not_have_is_refused(smu: Any, links: Any) -> None:
    with pytest.raises(LimitError, match="digital word 16"):
        Keithley2400(links(smu), digital_word_after_reset=16)


def test_blanking_is_sent_to_a_source_that_does_not_answer(beam: BeamBlanker, smu: Any) -> None:
    beam.set("open").wait(W)
    smu.dead = True
    beam.stop()
    before = len(smu.sent)
    beam.stop()
    assert beam.unsafe is not None
    assert smu.sent[before : before + 2] == [":SOUR2:TTL 15", "*ESE 1;*ESE?;*IDN?"]


def test_a_blanking_that_was_not_confirmed_is_not_undone_by_a_reset(
    beam: BeamBlanker, bias: BiasSource, smu: Any
) -> None:
    beam.set("open").wait(W)
    smu.unplugged = True
    beam.stop()
    smu.unplugged = False
    bias.connect(W)
    assert "*RST;:SOUR2:TTL 15" in smu.sent
    assert word(smu) == 0b1111


@pytest.mark.parametrize("how", ["stop", "pause", "unstage", "disconnect"])
def test_whatever_ends_blanks(beam: BeamBlanker, smu: Any, how: str) -> None:
    beam.set("open").wait(W)
    getattr(beam, how)()
    getattr(beam, how)()
    assert word(smu) == 0b1111
    assert beam.blanked.get() is True
    assert beam.unsafe is None


def test_resuming_opens_what_the_pause_blanked(beam: BeamBlanker, smu: Any) -> None:
    beam.set("open").wait(W)
    beam.stop(success=True)  # Bluesky stops before it pauses
    beam.pause()
    assert beam.blanked.get() is True
    beam.resume()
    assert word(smu) == 0b1101


def test_resuming_opens_nothing_else(beam: BeamBlanker, smu: Any) -> None:
    beam.pause()
    beam.resume()
    beam.set("open").wait(W)
    beam.stop()
    beam.stage()
    beam.pause()
    beam.resume()
    assert word(smu) == 0b1111
    beam.unstage()


def test_a_dead_source_is_told_and_not_raised(beam: BeamBlanker, smu: Any) -> None:
    beam.set("open").wait(W)
    smu.unplugged = True
    beam.stop()
    assert beam.unsafe is not None
    assert "blanking not confirmed" in beam.unsafe


def test_blanking_does_not_drop_a_bias(beam: BeamBlanker, bias: BiasSource, smu: Any) -> None:
    status = bias.set(5.0)
    beam.stop()
    status.wait(W)
    assert smu.output


def test_documents_carry_the_dose_rate(beam: BeamBlanker) -> None:
    values: Any = beam.read_configuration()
    keys: Any = beam.describe_configuration()
    assert values["beam_dose_rate"]["value"] == 20.0
    assert keys["beam_dose_rate"]["units"] == "e/A^2/s"


def test_frames_know_how_sure_the_blanking_is(beam: BeamBlanker, timeline: Timeline) -> None:
    sent: Future[Exchange] = Future()
    sent.set_result(Exchange(2.0, 2.5))
    beam._send = lambda *_, **__: sent  # type: ignore[method-assign]
    beam.set("open").wait(W)
    assert [series[-1] for series in timeline.entries("blanked")] == [2.25, False, 0.25]
