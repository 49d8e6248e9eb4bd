"""The SCPI-2400 driver, byte for byte."""

import math
import threading
from collections.abc import Callable, Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.devices.keithley import Keithley2400
from stmtem_control.devices.keithley_answers import (
    parse_error,
    parse_identity,
    parse_reading,
    parse_readings,
)
from stmtem_control.devices.keithley_sequence import BiasSequence
from stmtem_control.errors import (
    IdentityError,
    InstrumentError,
    LimitError,
    ProtocolError,
    TransportTimeout,
)
from stmtem_control.link import DroppedError, Link
from stmtem_control.transport import BufferedTransport

from .source_scripts import ASK, NONE, taken

Scripted = Callable[[Sequence[tuple[bytes, bytes]]], Link]
ByTheManual = Callable[[str], tuple[Link, list[bytes]]]

IDN = b"KEITHLEY INSTRUMENTS INC.,MODEL 6430,1175680,C30   Mar 17 2006 09:29:29/A02  /K/J\n"
W = 5.0  # wall seconds that a test waits at most


def sets(*commands: bytes) -> list[tuple[bytes, bytes]]:
    """Return the script of commands that are accepted: each is followed by a look at the queue."""
    return [step for command in commands for step in ((command + b"\n", b""), ASK)]


def prepared(*commands: bytes) -> list[tuple[bytes, bytes]]:
    """Return the script of a sequence's commands; those that the sample feels are read back."""
    felt = {b":SOUR:VOLT:MODE", b":SOUR:DEL", b":TRIG:DEL", b":ARM:COUN", b":TRIG:COUN"}
    felt |= {b":SOUR:CLE:AUTO", b":SOUR:CLE:AUTO:MODE"}
    return [
        step
        for command in commands
        for step in (taken if command.partition(b" ")[0] in felt else sets)(command)
    ]


ON = [(b":OUTP ON\n", b""), (b":SYST:ERR?;:OUTP?\n", NONE[:-1] + b";1\n")]
OFF = [(b":SOUR:VOLT 0\n:OUTP OFF\n", b"")]
OFF_LOOK = b":SYST:ERR?;:SOUR:VOLT?;:OUTP?\n"


@pytest.mark.parametrize("found", [b"0.0", b"-4.99", b"nonsense"])
def test_a_level_that_was_lost_on_its_way_is_told(scripted: Scripted, found: bytes) -> None:
    """No error is left behind by a message that never arrived; the output stays off."""
    source = Keithley2400(
        scripted(
            [
                (b":SOUR:VOLT -5.0000000E+00\n", b""),
                (b":SYST:ERR?;:SOUR:VOLT?\n", NONE[:-1] + b";" + found + b"\n"),
            ]
        )
    )
    with pytest.raises(InstrumentError, match=rf"reads back '{found.decode()}': the message was"):
        source.set_level(-5.0).result(W)


def test_a_list_of_the_same_length_that_was_lost_is_told(scripted: Scripted) -> None:
    sequence = BiasSequence((1.0,), 0.05)
    source = Keithley2400(
        scripted(
            [
                *sets(b":SOUR:VOLT 0", b":OUTP OFF"),
                *prepared(*[c.encode() for c in sequence.commands(50.0)]),
                (b":SOUR:LIST:VOLT:POIN?\n", b"2\n"),
                (b":SOUR:LIST:VOLT?\n", b"-5.0,0.0\n"),
            ]
        )
    )
    with pytest.raises(InstrumentError, match=r"the list of levels reads back -5.0,0.0"):
        source.prepare_sequence(sequence).result(W)


def test_everything_the_driver_sends_is_in_the_manual(by_the_manual: ByTheManual) -> None:
    link, sent = by_the_manual("keithley")
    source = Keithley2400(link, model="2400")
    assert source.open().result(W).serial == "1175680"
    state = source.configure(compliance_A=1e-5).result(W)
    assert state.compliance_A == 1e-5
    assert state.voltage_range_V == 21.0
    source.set_line(1, False).result(W)
    source.digital_lines(1).result(W)
    source.set_level(-5.0).result(W)
    reading = source.read().result(W)
    assert (reading.voltage, reading.current) == (-5.000012, -2.4813e-6)
    source.zero_and_off().result(W)
    for start_line, step_line in ((3, 1), (None, None)):
        source.prepare_sequence(
            BiasSequence(
                (1.0, -1.0), 0.05, pulse="source", start_line=start_line, step_line=step_line
            )
        ).result(W)
        run = source.run_sequence(deadline_s=W).result(W)
        assert [point.reading.voltage for point in run.points] == [1.0, -1.0, 0.0]
        stamps = [point.reading.instrument_time for point in run.points]
        assert stamps == pytest.approx([0.099, 0.150, 0.201])
    assert not any(b"MEAS" in data or b"CONF" in data for data in sent)


def test_small_compliance_goes_down_in_steps(scripted: Scripted) -> None:
    """From *RST: 105 uA on the 100 uA range; 10 nA must not be sent before a smaller range."""
    source = Keithley2400(
        scripted(
            [
                (b":SENS:CURR:RANG?\n", b"1.050000E-04\n"),
                *sets(b":SENS:CURR:PROT 1.051050E-07", b":SENS:CURR:RANG 1.051050E-07"),
                (b":SENS:CURR:RANG?\n", b"1.050000E-06\n"),
                (b":SENS:CURR:RANG?\n", b"1.050000E-06\n"),
                *sets(b":SENS:CURR:PROT 1.000000E-08", b":SENS:CURR:RANG 1.000000E-08"),
                (b":SENS:CURR:PROT?\n", b"1.000000E-08\n"),
                (b":SENS:CURR:PROT?\n", b"1.000000E-08\n"),
                (b":SENS:CURR:RANG?\n", b"1.050000E-08\n"),
                (b":SOUR:VOLT:RANG?\n", b"2.100000E+01\n"),
                (b":SENS:CURR:NPLC?\n", b"1.00\n"),
            ]
        )
    )
    state = source.set_compliance(1e-8).result(W)
    assert (state.compliance_A, state.current_range_A) == (1e-8, 1.05e-8)


def test_large_compliance_goes_up_before_its_range(scripted: Scripted) -> None:
    source = Keithley2400(
        scripted(
            [
                (b":SENS:CURR:RANG?\n", b"1.050000E-08\n"),
                *sets(b":SENS:CURR:PROT 1.000000E-04", b":SENS:CURR:RANG 1.000000E-05"),
                (b":SENS:CURR:PROT?\n", b"1.000000E-04\n"),
                (b":SENS:CURR:PROT?\n", b"1.000000E-04\n"),
                (b":SENS:CURR:RANG?\n", b"1.050000E-05\n"),
                (b":SOUR:VOLT:RANG?\n", b"2.100000E+01\n"),
                (b":SENS:CURR:NPLC?\n", b"1.00\n"),
            ]
        )
    )
    state = source.set_compliance(1e-4, current_range_A=1e-5).result(W)
    assert state.current_range_A == 1.05e-5


def test_compliance_below_what_the_smallest_range_allows(scripted: Scripted) -> None:
    """A 2400 measures from 1 uA up: 0.1 nA cannot be limited."""
    source = Keithley2400(
        scripted(
            [
                (b":SENS:CURR:RANG?\n", b"1.050000E-06\n"),
                *sets(b":SENS:CURR:PROT 1.051050E-09", b":SENS:CURR:RANG 1.051050E-09"),
                (b":SENS:CURR:RANG?\n", b"1.050000E-06\n"),
            ]
        )
    )
    with pytest.raises(InstrumentError, match="smallest range"):
        source.set_compliance(1e-10).result(W)


def test_compliance_that_does_not_read_back(scripted: Scripted) -> None:
    source = Keithley2400(
        scripted(
            [
                (b":SENS:CURR:RANG?\n", b"1.050000E-06\n"),
                *sets(b":SENS:CURR:PROT 1.000000E-07", b":SENS:CURR:RANG 1.000000E-07"),
                (b":SENS:CURR:PROT?\n", b"1.050000E-06\n"),
            ]
        )
    )
    with pytest.raises(InstrumentError, match="reads back"):
        source.set_compliance(1e-7).result(W)


def test_all_errors_of_the_queue_come_in_one_line(scripted: Scripted) -> None:
    source = Keithley2400(
        scripted(
            [
                (b":SOUR:VOLT 5.0000000E+00\n", b""),
                (b":SYST:ERR?;:SOUR:VOLT?\n", b'-222,"Parameter data out of range";0.0\n'),
                (b":SYST:ERR?\n", b'+802,"Output blocked by interlock"\n'),
                ASK,
            ]
        )
    )
    with pytest.raises(InstrumentError) as caught:
        source.set_level(5.0).result(W)
    assert str(caught.value) == (
        "device: :SOUR:VOLT 5.0000000E+00 was refused: -222 Parameter data out of range; "
        "+802 Output blocked by interlock"
    )


def test_a_refused_zero_still_switches_the_output_off(scripted: Scripted) -> None:
    source = Keithley2400(
        scripted(
            [
                (b":SOUR:VOLT 0\n:OUTP OFF\n", b""),
                (b":SYST:ERR?;:SOUR:VOLT?;:OUTP?\n", b'-221,"Settings conflict";5.0;0\n'),
                ASK,
            ]
        )
    )
    with pytest.raises(InstrumentError, match="the output is off"):
        source.zero_and_off().result(W)


def test_an_output_that_stays_on_is_told(scripted: Scripted) -> None:
    """It is told twice: the first message may have been lost on its way."""
    source = Keithley2400(scripted([*OFF, (OFF_LOOK, NONE[:-1] + b";0;1\n")] * 2))
    with pytest.raises(InstrumentError, match="still on"):
        source.zero_and_off().result(W)


def test_reading_with_the_output_off_sends_nothing(scripted: Scripted) -> None:
    with pytest.raises(InstrumentError, match="output is off"):
        Keithley2400(scripted([])).read().result(W)


def test_second_level_does_not_switch_the_output_again(scripted: Scripted) -> None:
    source = Keithley2400(
        scripted(
            [
                *taken(b":SOUR:VOLT -5.0000000E+00"),
                *ON,
                *taken(b":SOUR:VOLT 5.0000000E+00"),
            ]
        )
    )
    source.set_level(-5.0).result(W)
    source.set_level(5.0).result(W)


@pytest.mark.parametrize(("model", "serial"), [("2400", ""), ("6430", "999")])
def test_wrong_identity_names_expected_and_found(
    scripted: Scripted, model: str, serial: str
) -> None:
    source = Keithley2400(scripted([(b"*IDN?\n", IDN)]), model=model, serial_number=serial)
    with pytest.raises(IdentityError, match=rf"expected a Keithley {model}.*MODEL 6430"):
        source.open().result(W)


def test_a_2450_must_speak_the_dialect(scripted: Scripted) -> None:
    source = Keithley2400(
        scripted(
            [
                (b"*IDN?\n", b"KEITHLEY INSTRUMENTS,MODEL 2450,04096331,1.6.4c\n"),
                (b"*LANG?\n", b"SCPI\n"),
            ]
        ),
        model="2450",
    )
    with pytest.raises(IdentityError, match=r"\*LANG SCPI2400"):
        source.open().result(W)


def numbered(number: int, idn: bytes = IDN, late: bytes = b"") -> tuple[bytes, bytes]:
    """Return the exchange that makes sure who it is; the number tells it from an earlier one."""
    return b"*ESE %d;*ESE?;*IDN?\n" % number, late + b"%d;" % number + idn


READING = b"+1.000000E+00,+1.000000E-09,+1.000000E+00,+0.000000E+00\n"


def test_an_identity_that_is_late_is_told_from_the_one_asked_for(scripted: Scripted) -> None:
    """The first resynchronisation was answered too late; its identity comes in the second."""
    link = scripted(
        [
            (b"*IDN?\n", IDN),
            (b":SOUR2:TTL?\n", b""),  # lost
            (numbered(1)[0], b""),
            numbered(2, late=b"15\n1;" + IDN),
            ASK,
            (b":OUTP?\n", b"0\n"),
            (b":SOUR2:TTL?\n", b"15\n"),
            *taken(b":SOUR2:TTL 14"),
        ]
    )
    source = Keithley2400(link, model="6430", timeout_s=0.05)
    source.open().result(W)
    for _ in range(2):
        with pytest.raises(TransportTimeout):
            source.set_line(1, False).result(W)
    source.set_line(1, False).result(W)


def test_a_duplicate_is_no_answer_to_the_next_question(scripted: Scripted) -> None:
    """It came before the question was sent; in the middle of a job that ends the job."""
    link = scripted(
        [
            (b"*IDN?\n", IDN + IDN),
            numbered(1),
            ASK,
            (b":OUTP?\n", b"0\n"),
            (b":SOUR:VOLT 1.0000000E+00\n", b""),
            (b":SYST:ERR?;:SOUR:VOLT?\n", b'0,"No error";1.0\n0,"No error";1.0\n'),
            numbered(2),
            ASK,
            (b":OUTP?\n", b"0\n"),
            *taken(b":SOUR:VOLT 1.0000000E+00"),
            *ON,
        ]
    )
    source = Keithley2400(link, model="6430", timeout_s=0.05)
    source.open().result(W)
    with pytest.raises(ProtocolError, match=r"'0,\"No error\";1.0\\n' came unasked, ':OUTP ON"):
        source.set_level(1.0).result(W)
    source.set_level(1.0).result(W)


def test_answers_that_are_late_are_thrown_away(scripted: Scripted) -> None:
    """The answer to the lost question comes just before the identity."""
    link = scripted(
        [
            (b"*IDN?\n", IDN),
            *taken(b":SOUR:VOLT 1.0000000E+00"),
            *ON,
            (b":READ?\n", b""),  # lost
            numbered(1, late=READING),
            (b":SYST:ERR?\n", b'-410,"Query INTERRUPTED"\n'),
            ASK,
            (b":OUTP?\n", b"1\n"),
            (b":READ?\n", b"+1.000000E+00,+2.000000E-09,+2.000000E+00,+0.000000E+00\n"),
        ]
    )
    source = Keithley2400(link, model="6430", timeout_s=0.05)
    source.open().result(W)
    source.set_level(1.0).result(W)
    with pytest.raises(TransportTimeout, match="READ"):
        source.read().result(W)
    assert source.read().result(W).current == 2e-9


def test_a_stop_does_not_wait_for_a_late_answer(scripted: Scripted) -> None:
    """Zero and off in one message, then back in step, then the same again with a look."""
    link = scripted(
        [
            (b"*IDN?\n", IDN),
            *taken(b":SOUR:VOLT 1.0000000E+00"),
            *ON,
            (b":READ?\n", b""),  # lost
            (b":SOUR:VOLT 0\n:OUTP OFF\n", b""),
            numbered(1, late=READING),
            ASK,
            (b":OUTP?\n", b"0\n"),
            *OFF,
            (OFF_LOOK, NONE[:-1] + b";0;0\n"),
        ]
    )
    source = Keithley2400(link, model="6430", timeout_s=0.05)
    source.open().result(W)
    source.set_level(1.0).result(W)
    with pytest.raises(TransportTimeout, match="READ"):
        source.read().result(W)
    source.zero_and_off().result(W)


UNKNOWN = [(b"*IDN?\n", b""), (numbered(1)[0], b"")]


def test_nothing_is_sent_blindly_to_who_did_not_say_its_name(scripted: Scripted) -> None:
    source = Keithley2400(scripted(UNKNOWN), timeout_s=0.05)
    with pytest.raises(TransportTimeout):
        source.open().result(W)
    with pytest.raises(TransportTimeout):
        source.zero_and_off().result(W)


@pytest.mark.parametrize(("word", "message"), [(14, b"*RST;:SOUR2:TTL 14\n"), (None, b"*RST\n")])
def test_a_reset_restores_the_digital_word_in_its_message(
    link_to: Callable[[object], Link], word: int | None, message: bytes
) -> None:
    sent: list[bytes] = []

    class Mute(BufferedTransport):
        def _send(self, data: bytes) -> None:
            sent.append(data)

        def _receive(self, seconds: float) -> bytes:
            return b""

        def _close(self) -> None:
            pass

    source = Keithley2400(link_to(Mute("mute")), timeout_s=0.01, digital_word_after_reset=word)
    with pytest.raises(TransportTimeout):
        source.configure(compliance_A=1e-6).result(W)
    assert sent[:3] == [b":OUTP OFF\n", message, b"*CLS\n"]


def test_another_instrument_after_a_timeout(scripted: Scripted) -> None:
    link = scripted(
        [
            (b"*IDN?\n", IDN),
            *[(b":SOUR2:TTL?\n", b"")],
            numbered(1, IDN.replace(b"1175680", b"7654321")),
        ]
    )
    source = Keithley2400(link, timeout_s=0.05)
    source.open().result(W)
    with pytest.raises(TransportTimeout):
        source.set_line(1, True).result(W)
    with pytest.raises(IdentityError, match="7654321"):
        source.set_level(1.0).result(W)


def test_a_stop_of_a_sequence_aborts_it_first(scripted: Scripted) -> None:
    """While it runs the instrument takes an abort only, and leaves all else for later."""
    levels = b":SOUR:LIST:VOLT 1.0000000E+00,0.0000000E+00"
    sequence, ticks = BiasSequence((1.0,), 0.05), count()
    commands = [command.encode() for command in sequence.commands(50.0)]
    assert commands[2] == levels
    source = Keithley2400(
        scripted(
            [
                (b"*IDN?\n", IDN),
                *sets(b":SOUR:VOLT 0", b":OUTP OFF"),
                *prepared(*commands),
                (b":SOUR:LIST:VOLT:POIN?\n", b"2\n"),
                (b":SOUR:LIST:VOLT?\n", b"1.0,0.0\n"),
                *[(b":SYST:TIME?\n", b"+1.000000E+00\n")] * 4,
                (b":INIT\n", b""),
                (b"*OPC?\n", b""),
                (b":ABOR;:SOUR:VOLT 0;:OUTP OFF\n", b"1\n"),
                numbered(1),
                ASK,
                (b":OUTP?\n", b"0\n"),
                (b":ABOR;:SOUR:VOLT 0;:OUTP OFF\n", b""),
                (b":ABOR;:OUTP OFF;" + OFF_LOOK, NONE[:-1] + b";0;0\n"),
            ]
        ),
        now=lambda: float(next(ticks)),
    )
    source.open().result(W)
    source.prepare_sequence(sequence).result(W)
    started = threading.Event()
    run = source.run_sequence(on_start=lambda t: started.set())
    assert started.wait(W)
    gone = source.zero_and_off().result(W)
    with pytest.raises(DroppedError, match="cut short"):
        run.result(W)
    # From when it was first sent, without waiting: a set by itself takes one tick.
    assert gone.answered - gone.sent > 3.0


def test_a_start_that_is_refused(scripted: Scripted) -> None:
    source = Keithley2400(
        scripted(
            [
                *sets(b":SOUR:VOLT 0", b":OUTP OFF"),
                *prepared(*[c.encode() for c in BiasSequence((1.0,), 0.05).commands(50.0)]),
                (b":SOUR:LIST:VOLT:POIN?\n", b"2\n"),
                (b":SOUR:LIST:VOLT?\n", b"1.0,0.0\n"),
                *[(b":SYST:TIME?\n", b"+1.000000E+00\n")] * 4,
                (b":INIT\n", b""),
                (b"*OPC?\n", b"1\n"),
                (b":SYST:ERR?\n", b'+802,"Output blocked by interlock"\n'),
                ASK,
            ]
        )
    )
    source.prepare_sequence(BiasSequence((1.0,), 0.05)).result(W)
    with pytest.raises(InstrumentError, match=r"sequence was refused: \+802 Output blocked"):
        source.run_sequence().result(W)


def test_a_list_that_did_not_arrive(scripted: Scripted) -> None:
    sequence = BiasSequence((1.0,), 0.05)
    source = Keithley2400(
        scripted(
            [
                *sets(b":SOUR:VOLT 0", b":OUTP OFF"),
                *prepared(*[c.encode() for c in sequence.commands(50.0)]),
                (b":SOUR:LIST:VOLT:POIN?\n", b"1\n"),
            ]
        )
    )
    with pytest.raises(InstrumentError, match="a list of 2 levels was sent but it holds 1"):
        source.prepare_sequence(sequence).result(W)


def test_nothing_runs_that_was_not_prepared(scripted: Scripted) -> None:
    source = Keithley2400(scripted([]))
    with pytest.raises(InstrumentError, match="no sequence is prepared"):
        source.run_sequence().result(W)
    with pytest.raises(InstrumentError, match="no sequence was run"):
        source.collect_sequence().result(W)


def test_a_buffer_that_does_not_parse() -> None:
    with pytest.raises(ProtocolError, match=r":TRAC:DATA\? was answered '\+1,\+2,\+3'"):
        parse_readings("+1,+2,+3")


def test_bad_arguments_are_refused_before_anything_is_sent(scripted: Scripted) -> None:
    source = Keithley2400(scripted([]))
    calls: list[Callable[[], object]] = [
        lambda: source.set_level(math.nan),
        lambda: source.set_line(5, True),
        lambda: source.digital_lines(16),
        lambda: source.set_compliance(0.0),
        lambda: source.configure(compliance_A=1e-6, nplc=20.0),
    ]
    for call in calls:
        with pytest.raises(LimitError, match=r"^device: "):
            call()


def test_stamp_is_the_middle_of_the_exchange(scripted: Scripted) -> None:
    ticks = iter([10.0, 11.0, 20.0, 21.5, 30.0, 32.0])
    source = Keithley2400(
        scripted(
            [
                *taken(b":SOUR:VOLT 1.0000000E+00"),
                *ON,
                (b":READ?\n", b"+1.000000E+00,+2.000000E-09,+2.000000E+00,+0.000000E+00\n"),
            ]
        ),
        now=lambda: next(ticks),
    )
    # What came to the output came with OUTP ON, and not before its question was sent.
    edge = source.set_level(1.0).result(W)
    assert (edge.sent, edge.answered, edge.t) == (20.0, 21.5, 20.75)
    found = source.read().result(W)
    assert (found.t, found.instrument_time) == (31.0, 2.0)
    # Two conversions of 20 ms lie wholly inside.
    assert found.uncertainty_s == pytest.approx(1.0 - 0.02)


finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)


@settings(deadline=None)  # machines in use are slow at times
@given(finite, finite, st.integers(0, 2**24 - 1))
def test_any_reading_survives_the_wire(volts: float, amperes: float, word: int) -> None:
    line = f"{volts:+.6E},{amperes:+.6E},+1.000000E+00,{word:+.7E}"
    found = parse_reading(line)
    assert found.voltage == pytest.approx(volts, rel=1e-6)
    assert found.current == pytest.approx(amperes, rel=1e-6)
    assert found.status == word
    assert found.compliance == bool(word & 0x10008)


@settings(deadline=None)  # machines in use are slow at times
@given(st.text())
def test_no_text_breaks_the_parsers(text: str) -> None:
    for parse in (parse_reading, parse_readings, parse_error, parse_identity):
        try:
            parse(text)
        except ProtocolError as error:
            message = str(error)
        else:
            continue
        assert "\n" not in message


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        ('0,"No error"', 0, "No error"),
        ('+0, "No error"', 0, "No error"),
        ('-113,"Undefined header"', -113, "Undefined header"),
        ('-109,"Missing parameter;1;2015/05/06 12:55:33.648"', -109, "Missing parameter"),
    ],
)
def test_error_lines_of_several_firmwares(line: str, code: int, text: str) -> None:
    assert parse_error(line) == (code, text)


def test_overflow_is_not_a_number() -> None:
    found = parse_reading("+9.910000E+37,+9.900000E+37,+1.000000E+00,+1.000000E+00")
    assert math.isnan(found.voltage)
    assert math.isnan(found.current)


def test_status_word_of_the_manual() -> None:
    """The manual decodes 48132 as: front, voltage and current measured, source on; no limit."""
    assert not parse_reading("+1E+00,+1E-09,+1E+00,+4.813200E+04").compliance
