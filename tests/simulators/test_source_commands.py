"""The SourceMeter's settings, rules and status, asked as a program asks them."""

import struct
from collections.abc import Iterator

import pytest

from stmtem_control.simulators.bias_source import SourceMeter
from stmtem_control.simulators.clock import HandClock
from stmtem_control.simulators.server import Channel


class _Resistor:
    """A resistor on the terminals; it remembers how it was driven last."""

    def __init__(self, clock: HandClock, ohms: float) -> None:
        self.clock, self.ohms = clock, ohms
        self.driven: tuple[float | None, float] = (None, 0.0)
        self.coulombs = self.since = 0.0

    def amps(self) -> float:
        volts, limit = self.driven
        return 0.0 if volts is None else max(-limit, min(limit, volts / self.ohms))

    def charge(self) -> float:
        now = self.clock.now()
        self.coulombs += self.amps() * (now - self.since)
        self.since = now
        return self.coulombs

    def drive(self, volts: float | None, compliance_A: float) -> None:
        self.charge()
        self.driven = (volts, compliance_A)

    def voltage(self) -> float:
        return self.amps() * self.ohms

    def limiting(self) -> bool:
        return self.driven[0] is not None and abs(self.driven[0]) / self.ohms > self.driven[1]

    def noise(self, bandwidth_Hz: float) -> float:
        return 0.0


class _Recorder(Channel):
    """A client in this thread: what it is sent it keeps."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.got = b""

    def _write(self, data: bytes) -> None:
        self.got += data


class _Desk:
    """A source, a load and one client."""

    def __init__(self, model: str, ohms: float = 1e9, kind: str = "tcp") -> None:
        self.clock = HandClock()
        self.load = _Resistor(self.clock, ohms)
        self.source = SourceMeter(self.clock, self.load, model=model, serial_number="1234567")
        self.channel = _Recorder(kind)
        self.source.opened(self.channel)

    def raw(self, message: str) -> bytes:
        self.channel.got = b""
        self.source.received(self.channel, message.encode() + b"\n")
        return self.channel.got

    def ask(self, message: str) -> str:
        return self.raw(message).decode().strip()

    def value(self, message: str) -> float:
        return float(self.ask(message))

    def errors(self) -> list[int]:
        found = []
        while (text := self.ask("SYST:ERR?")) != '0,"No error"':
            found.append(int(text.split(",")[0]))
        return found

    def tell(self, message: str) -> list[int]:
        assert self.raw(message) == b""
        return self.errors()


@pytest.fixture
def desk() -> Iterator[_Desk]:
    made = _Desk("6430")
    yield made
    made.source.close()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("2400", "KEITHLEY INSTRUMENTS INC.,MODEL 2400,1234567,"),
        ("6430", "KEITHLEY INSTRUMENTS INC.,MODEL 6430,1234567,"),
        ("2450", "KEITHLEY INSTRUMENTS,MODEL 2450,1234567,"),
    ],
)
def test_each_model_says_what_it_is(model: str, expected: str) -> None:
    assert _Desk(model).ask("*IDN?").startswith(expected)


def test_other_models_are_refused() -> None:
    clock = HandClock()
    with pytest.raises(ValueError, match="2400, 2450, 6430"):
        SourceMeter(clock, _Resistor(clock, 1.0), model="2600")


DEFAULTS = {
    # tables 18-4 to 18-11 of the manual; the source delay as the firmware has it
    "OUTP?": "0",
    "OUTP:SMOD?": "NORM",
    "OUTP:ENAB?": "0",
    "ROUT:TERM?": "FRON",
    "SOUR:FUNC?": "VOLT",
    "SOUR:CLE:AUTO?": "0",
    "SOUR:VOLT:MODE?": "FIX",
    "SOUR:VOLT:RANG?": 21.0,
    "SOUR:VOLT:RANG:AUTO?": "1",
    "SOUR:CURR:RANG?": 1.05e-4,
    "SOUR:CURR:RANG:AUTO?": "1",
    "SOUR:VOLT?": 0.0,
    "SOUR:CURR?": 0.0,
    "SOUR:DEL?": 0.001,
    "SOUR:DEL:AUTO?": "1",
    "SOUR:SWE:POIN?": "2500",
    "SOUR:SWE:SPAC?": "LIN",
    "SOUR:SWE:CAB?": "NEV",
    "SOUR:SWE:RANG?": "BEST",
    "SOUR2:TTL?": "15",
    "SENS:FUNC?": '"CURR:DC"',
    "SENS:FUNC:CONC?": "1",
    "SENS:CURR:RANG?": 1.05e-4,
    "SENS:CURR:RANG:AUTO?": "1",
    "SENS:CURR:PROT?": 1.05e-4,
    "SENS:CURR:PROT:TRIP?": "0",
    "SENS:CURR:NPLC?": 1.0,
    "SENS:VOLT:RANG?": 21.0,
    "SENS:VOLT:PROT?": 21.0,
    "SENS:RES:MODE?": "AUTO",
    "SENS:AVER?": "0",
    "SENS:AVER:TCON?": "REP",
    "SENS:AVER:COUN?": "10",
    "SYST:AZER?": "1",
    "SYST:RSEN?": "0",
    "FORM?": "ASC",
    "FORM:ELEM?": "VOLT,CURR,RES,TIME,STAT",
    "FORM:BORD?": "NORM",
    "ARM:COUN?": "1",
    "ARM:SOUR?": "IMM",
    "ARM:TIM?": 0.1,
    "ARM:OUTP?": "NONE",
    "TRIG:COUN?": "1",
    "TRIG:DEL?": 0.0,
    "TRIG:SOUR?": "IMM",
    "TRIG:ILIN?": "1",
    "TRIG:OLIN?": "2",
    "TRIG:INP?": "SOUR",
    "TRIG:OUTP?": "NONE",
}
CHANGES = (
    "OUTP:SMOD HIMP;ENAB OFF;:SOUR:VOLT:RANG 2;:SOUR:VOLT 1.5;:SOUR:DEL 2;:SOUR2:TTL 3",
    "SENS:FUNC:ALL;CONC OFF;:SENS:CURR:PROT 1e-6;RANG 1e-6;:SENS:CURR:NPLC 10;:SENS:AVER ON",
    "SENS:AVER:TCON MOV;COUN 3;:SYST:AZER OFF;RSEN ON;:FORM:ELEM CURR;BORD SWAP;:FORM SRE",
    "ARM:COUN 3;SOUR TIM;TIM 2;OUTP TEX;:TRIG:COUN 7;DEL 1;SOUR TLIN;ILIN 3;OLIN 4",
    "TRIG:INP NONE;OUTP SENS;:SOUR:CLE:AUTO ON;:SOUR:SWE:POIN 9;SPAC LOG;CAB LATE;RANG FIX",
    "SOUR:CURR 1e-6;:SOUR:VOLT:MODE LIST;:ROUT:TERM REAR;:OUTP ON",
)


@pytest.mark.parametrize("how", ["power-on", "*RST", "*RCL 3"])
def test_the_reset_state_is_that_of_the_manual(desk: _Desk, how: str) -> None:
    if how != "power-on":
        for message in CHANGES:
            assert desk.tell(message) == []
        changed = [q for q, v in DEFAULTS.items() if desk.ask(q) != v and not isinstance(v, float)]
        assert len(changed) > 20
        assert desk.tell(how) == []
    for query, expected in DEFAULTS.items():
        answer = desk.ask(query)
        if isinstance(expected, float):
            assert float(answer) == pytest.approx(expected), query
        else:
            assert answer == expected, query


def test_a_reset_leaves_errors_and_status_alone(desk: _Desk) -> None:
    desk.raw("NOSUCH;*RST")
    desk.raw("*ESE 32")
    assert desk.ask("*RST;*ESE?") == "32"
    assert int(desk.ask("*STB?")) & 0b100100 == 0b100100
    assert desk.errors() == [-113]
    assert desk.ask("*CLS;*STB?") == "0"


RANGES = {
    "2400": (0.21, 1.05e-6, 210.0, 1.05),
    "2450": (0.021, 1.05e-8, 210.0, 1.05),
    "6430": (0.21, 1.05e-12, 210.0, 0.105),
}


@pytest.mark.parametrize("model", RANGES)
def test_ranges_reach_as_far_as_the_model(model: str) -> None:
    desk = _Desk(model)
    low_volts, low_amps, high_volts, high_amps = RANGES[model]
    assert desk.tell("SENS:CURR:PROT 1e-7;RANG 1e-7;PROT 1e-7") == []
    assert desk.value("SOUR:VOLT:RANG MIN;RANG?") == pytest.approx(low_volts)
    assert desk.value("SOUR:VOLT:RANG MAX;RANG?") == pytest.approx(high_volts)
    assert desk.value("SENS:CURR:RANG MIN;RANG?") == pytest.approx(low_amps)
    assert desk.value("SOUR:CURR:RANG MAX;RANG?") == pytest.approx(high_amps)
    assert desk.value("SENS:CURR:PROT? MAX") == pytest.approx(high_amps)
    assert desk.errors() == []
    assert desk.tell(f"SOUR:VOLT {high_volts + 1}") == [-222]
    assert desk.tell(f"SOUR:CURR {high_amps * 1.01}") == [-222]


def test_a_range_takes_the_smallest_that_fits_and_leaves_auto(desk: _Desk) -> None:
    for value, expected in [("3", 21.0), ("2.1", 2.1), ("2.2", 21.0), ("-0.1", 0.21), ("UP", 2.1)]:
        assert desk.value(f"SOUR:VOLT:RANG {value};RANG?") == pytest.approx(expected)
    assert desk.ask("SOUR:VOLT:RANG:AUTO?") == "0"
    assert desk.value("SOUR:VOLT:RANG DOWN;RANG DOWN;RANG?") == pytest.approx(0.21)
    assert desk.ask("SENS:CURR:RANG:AUTO?") == "1"
    assert desk.value("SENS:CURR:RANG 5e-6;RANG?") == pytest.approx(1.05e-5)
    assert desk.ask("SENS:CURR:RANG:AUTO?") == "0"
    # an automatic source range follows the level; a fixed one holds it
    assert desk.value("SOUR:VOLT:RANG:AUTO ON;:SOUR:VOLT 1;:SOUR:VOLT:RANG?") == pytest.approx(2.1)
    assert desk.tell("SOUR:VOLT:RANG 2;:SOUR:VOLT 5") == [-222]
    assert desk.tell("SOUR:VOLT MAX") == [-221]
    assert desk.value("SOUR:VOLT?") == 1.0
    assert desk.tell("SOUR:VOLT:RANG 0.2") == [-221]


def test_compliance_takes_three_steps_down_and_three_up(desk: _Desk) -> None:
    assert desk.tell("SENS:CURR:PROT 1e-8") == [822]
    assert desk.tell("SENS:CURR:PROT 1e-6;RANG 1e-6;PROT 1e-8") == []
    assert desk.value("SENS:CURR:PROT?") == pytest.approx(1e-8)
    assert desk.tell("SENS:CURR:PROT 0.9e-9") == [822]
    assert desk.tell("SENS:CURR:RANG 1e-5") == [824]
    assert desk.tell("SENS:CURR:PROT 1e-5;RANG 1e-5") == []
    assert desk.tell("SENS:CURR:PROT 0") == [822]
    assert desk.tell("SENS:CURR:PROT 0.2") == [-222]
    assert desk.value("SENS:CURR:PROT -2e-6;PROT?") == pytest.approx(2e-6)


def test_compliance_range_synchronisation(desk: _Desk) -> None:
    assert desk.tell("SENS:CURR:RANG 1e-4;PROT:RSYN ON") == []
    assert desk.value("SENS:CURR:PROT 2e-7;RANG?") == pytest.approx(1.05e-6)


def test_the_source_s_own_quantity_has_no_measurement_range(desk: _Desk) -> None:
    assert desk.tell("SENS:VOLT:RANG 2") == [-221]
    assert desk.tell("SOUR:FUNC CURR;:SENS:VOLT:RANG 2") == []
    assert desk.tell("SENS:CURR:RANG 1e-6") == [-221]


def test_the_200_volt_range_gives_no_more_than_its_power() -> None:
    desk = _Desk("2400")
    assert desk.tell("SENS:CURR:PROT 0.5") == []
    assert desk.tell("SOUR:VOLT 100") == [826]
    assert desk.tell("SENS:CURR:PROT 0.1;:SOUR:VOLT 100") == []
    assert desk.tell("SENS:CURR:PROT 0.5") == [826]
    assert desk.tell("SOUR:CURR 0.5;:SENS:VOLT:PROT 100") == [826]
    assert desk.tell("SOUR:CURR 0.05;:SENS:VOLT:PROT 100;:SOUR:CURR:RANG 1") == [826]


def test_the_queue_holds_ten_and_tells_of_the_overflow(desk: _Desk) -> None:
    for _ in range(9):
        desk.raw("NOSUCH")
    desk.raw("SOUR:VOLT 1000")
    desk.raw("OUTP")
    assert desk.ask("SYST:ERR:COUN?") == "10"
    assert desk.errors() == [-113] * 9 + [-350]
    desk.raw("STAT:QUE:DIS (-113);:NOSUCH")
    assert desk.ask("STAT:QUE?") == '0,"No error"'
    desk.raw("STAT:PRES;:NOSUCH")
    assert desk.ask("SYST:ERR:CODE?") == "-113"


def test_errors_carry_their_texts(desk: _Desk) -> None:
    desk.raw("READ?;:SENS:CURR:PROT 1e-9")
    assert desk.ask("SYST:ERR:ALL?") == (
        '+803,"Not permitted with OUTPUT off",+822,"Too small for sense range"'
    )
    assert int(desk.ask("*ESR?")) & 0b10000


def test_each_kind_of_error_sets_its_event_bit(desk: _Desk) -> None:
    assert desk.ask("*ESR?") == "128"  # power on
    for message, bit in [("NOSUCH", 5), ("SOUR:VOLT 999", 4), ("OUTP:SMOD WHAT", 5), ("READ?", 4)]:
        desk.raw(message)
        assert desk.ask("*ESR?") == str(1 << bit), message
    assert desk.ask("*OPC;*ESR?") == "1"
    assert desk.ask("FORM:SREG HEX;*ESE 255;*ESE?") == "#HFF"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("OUTP", -109),
        ("OUTP 1,2", -108),
        ("*CLS 1", -108),
        ("OUTP?", 0),
        ("OUTP? 1", 0),
        ("SOUR:VOLT 1V", -121),
        ("SOUR:VOLT ON", -104),
        ("SOUR:FUNC POW", -141),
        ("SENS:FUNC VOLT", -151),
        ("SENS:FUNC 'POW'", -151),
        ("*IDN", -113),
        ("READ", -113),
        ("*RST?", -113),
        ("FETC?", -230),
        ("TRAC:DATA?", -230),
        ("*TRG", -211),
        ("SYST:LFR 55", -222),
        ("ARM:COUN 50;:TRIG:COUN 51", -221),
        ("FORM REAL,64", -222),
        ("SOUR:LIST:VOLT " + ",".join(["1"] * 101), -223),
        ("CALC:MATH:NAME 'NONE'", 806),
        ("*LANG?", -113),
        ("SYST:BEEP 1000", -109),
    ],
)
def test_what_is_wrong_is_said_with_its_number(desk: _Desk, message: str, expected: int) -> None:
    desk.raw(message)
    assert desk.errors() == ([expected] if expected else [])


def test_a_command_error_discards_the_rest_and_an_execution_error_does_not(desk: _Desk) -> None:
    assert desk.ask("OUTP?;NOSUCH;:OUTP ON;:OUTP?") == "0"
    assert desk.ask("OUTP:SMOD WHAT;:OUTP ON;:OUTP?") == ""
    assert desk.ask("SOUR:VOLT 999;:OUTP ON;:OUTP?") == "1"
    assert desk.errors() == [-113, -141, -222]


def test_queries_of_limits(desk: _Desk) -> None:
    assert desk.value("ARM:TIM? MAX") == pytest.approx(99999.99)
    assert desk.value("ARM:TIM? DEF") == 0.1
    assert desk.value("TRIG:DEL? MIN") == 0.0
    assert desk.ask("SENS:AVER:COUN? MAX") == "100"
    assert desk.value("ARM:TIM MIN;TIM?") == pytest.approx(0.001)
    assert desk.ask("SENS:NPLC? 1") == ""
    assert desk.errors() == [-113]


def test_what_drivers_send_besides(desk: _Desk) -> None:
    for message in [
        ":*RST",
        "*RST;:stat:pres;:*CLS;",
        ":FORMAT:ELEMENTS VOLTAGE, CURRENT, RESISTANCE, TIME, STATUS",
        "OUTPUT 1",
        ":TRIG:COUN 1;:FORM:ELEM VOLT,CURR",
        "CURR:PROT 1e-06",
        ":SYST:BEEP 500, 1",
        ":SYST:BEEP:STAT OFF",
        ":DISP:ENAB 0;CND;DIG 6;:DISP:WIND2:TEXT:DATA 'deposit';STAT ON",
        ":SYST:LOC",
        ":SYST:REM;RWL ON",
        ":SYST:TIME:RES",
        ":SENS:FUNC:CONC ON",
        ":SENS:FUNC 'VOLT:DC','CURR:DC'",
        ':SENS:FUNC "RES"',
        ":SENS:FUNC:OFF 'RES'",
        ":SENSE:CURRENT:DC:RANGE:UPPER 1e-6",
        ":SYST:AZER:STAT ONCE",
        ":SOUR:VOLT:PROT:LEV 20",
        ":CALC2:LIM2:UPP 1e-6;LOW -1e-6;STAT ON",
        ":SYST:KEY 23",
        ":OUTP:INT:STAT OFF",
        "*WAI",
        "*SAV 1;*RCL 1",
    ]:
        assert desk.tell(message) == [], message
    assert desk.ask("DISP:WIND2:TEXT:DATA?") == '"deposit"'
    assert desk.value("SOUR:VOLT:PROT?") == 20.0
    assert desk.value("SOUR:VOLT:PROT 45;PROT?") == 60.0
    assert desk.value("SOUR:VOLT:PROT NONE;PROT?") == 210.0
    assert desk.ask("SYST:VERS?") == "1996.0"
    assert desk.ask("SENS:FUNC?") == '"VOLT:DC","CURR:DC"'
    assert desk.ask("*OPC?;*TST?;*OPT?") == "1;0;0"


def test_the_2450_tells_its_language() -> None:
    desk = _Desk("2450")
    assert desk.ask("*LANG?") == "SCPI2400"
    assert desk.tell("*LANG SCPI2400") == []
    assert desk.tell("*LANG BASIC") == [-141]


def test_concurrent_measurement_adds_functions(desk: _Desk) -> None:
    desk.raw("SENS:FUNC 'VOLT'")
    assert desk.ask("SENS:FUNC?;FUNC:COUN?") == '"VOLT:DC","CURR:DC";2'
    assert desk.ask("SENS:FUNC:STAT? 'RES';OFF?") == '0;"RES"'
    desk.raw("SENS:FUNC:CONC OFF")
    assert desk.ask("SENS:FUNC?") == '"VOLT:DC"'
    desk.raw("SENS:FUNC 'CURR'")
    assert desk.ask("SENS:FUNC?") == '"CURR:DC"'
    assert desk.tell("SENS:FUNC 'VOLT','CURR'") == [-221]
    assert desk.tell("SENS:FUNC:ALL") == [-221]


def test_the_output_puts_the_level_on_the_terminals(desk: _Desk) -> None:
    source, load = desk.source, desk.load
    assert not source.output_on
    desk.raw("SOUR:VOLT -5;:SENS:CURR:PROT 1e-6")
    assert source.level == -5.0
    desk.raw("OUTP ON")
    assert source.output_on
    assert load.driven == (-5.0, 1e-6)
    desk.raw("SOUR:VOLT 5")
    assert load.driven == (5.0, 1e-6)
    desk.raw("SOUR:VOLT:TRIG 2")
    assert load.driven == (5.0, 1e-6)
    desk.raw("INIT")
    assert load.driven == (2.0, 1e-6)
    desk.raw("*RST")
    assert not source.output_on
    assert source.level == 0.0


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("HIMP", (None, 0.0)),
        ("GUAR", (None, 0.0)),
        ("NORM", (0.0, pytest.approx(5e-9))),
        ("ZERO", (0.0, pytest.approx(2e-7))),
    ],
)
def test_the_output_off_states(
    desk: _Desk, state: str, expected: tuple[float | None, float]
) -> None:
    desk.raw(f"SENS:CURR:PROT 1e-6;RANG 1e-6;PROT 2e-7;:OUTP:SMOD {state};:SOUR:VOLT 3")
    for _ in range(2):
        assert desk.load.driven == expected
        desk.raw("OUTP ON")
        assert desk.load.driven == pytest.approx((3.0, 2e-7))
        desk.raw("OUTP OFF")
    assert desk.load.driven == expected


def test_a_current_source_is_a_voltage_source_with_a_current_limit(desk: _Desk) -> None:
    desk.raw("SOUR:FUNC CURR;:SOUR:CURR -1e-9;:SENS:VOLT:PROT 2;:OUTP ON")
    seen: list[tuple[float | None, float]] = [desk.load.driven]
    assert desk.ask("SENS:VOLT:PROT:TRIP?;:SENS:CURR:PROT:TRIP?") == "0;0"
    desk.raw("SOUR:CURR 1e-8")  # 10 V in 1 GOhm: the 2 V limit holds it
    assert desk.ask("SENS:VOLT:PROT:TRIP?") == "1"
    desk.raw("SOUR:CURR 0")
    seen.append(desk.load.driven)
    assert seen == [(-2.0, 1e-9), (None, 0.0)]
    assert desk.ask("SENS:VOLT:PROT:TRIP?") == "0"


def test_the_output_enable_line_blocks_the_output(desk: _Desk) -> None:
    desk.source.set_output_enable(False)
    assert desk.ask("OUTP:ENAB:TRIP?;:OUTP:INT:TRIP?") == "0;0"
    assert desk.tell("OUTP ON") == []  # the line does not count unless it is enabled
    assert desk.tell("OUTP:ENAB ON") == []
    assert not desk.source.output_on
    assert desk.ask("OUTP:INT:STAT?") == "1"
    assert desk.tell("OUTP ON") == [802]
    desk.source.set_output_enable(True)
    assert desk.tell("OUTP ON") == []
    desk.source.set_output_enable(False)
    assert not desk.source.output_on


def test_the_voltage_limit_holds_the_output(desk: _Desk) -> None:
    desk.raw("SOUR:VOLT:PROT 20;:SOUR:VOLT 50;:OUTP ON")
    assert desk.load.driven[0] == 20.0
    assert desk.ask("SOUR:VOLT:PROT:TRIP?") == "1"
    assert int(desk.ask("READ?;:STAT:MEAS?").split(";")[1]) & 1 << 13


def test_the_digital_port_follows_its_pattern(desk: _Desk) -> None:
    lines = desk.source.digital_out
    assert [line.level for line in lines] == [True] * 4
    desk.raw("SOUR2:TTL 5")
    assert [line.level for line in lines] == [True, False, True, False]
    assert desk.ask("SOUR2:TTL?;TTL:ACT?") == "5;5"
    assert desk.ask("SOUR2:TTL #B1000;:FORM:SOUR2 BIN;:SOUR2:TTL?") == "#B1000"
    assert desk.tell("SOUR2:TTL 16") == [-222]
    desk.raw("*RST")
    assert [line.level for line in lines] == [True] * 4


def test_configure_turns_the_output_on_with_defaults(desk: _Desk) -> None:
    desk.raw("SENS:CURR:PROT 1e-6;RANG 1e-6;NPLC 5;:TRIG:COUN 5;DEL 1;:SYST:AZER OFF")
    desk.raw("TRAC:FEED:CONT NEXT")
    assert desk.tell("CONF:CURR") == []
    assert desk.ask("OUTP?;:CONF?;:TRIG:COUN?;:SYST:AZER?;:TRAC:FEED:CONT?") == (
        '1;"CURR:DC";1;1;NEV'
    )
    assert desk.value("SENS:CURR:PROT?") == pytest.approx(1.05e-4)
    assert desk.value("SENS:CURR:NPLC?") == 1.0
    assert desk.ask("MEAS:VOLT:DC?;:CONF?").endswith(';"VOLT:DC"')


def test_set_ups_are_saved_and_recalled(desk: _Desk) -> None:
    desk.raw("SOUR:VOLT 2;:SENS:CURR:NPLC 4;*SAV 2;:SOUR:VOLT 3;:OUTP ON;*RCL 2")
    assert desk.ask("OUTP?") == "0"
    assert desk.value("SOUR:VOLT?") == 2.0
    assert desk.value("SENS:CURR:NPLC?") == 4.0
    assert desk.tell("*RCL 5") == [-222]


@pytest.mark.parametrize(("order", "sign"), [("NORM", ">"), ("SWAP", "<")])
def test_binary_readings_come_as_a_block(desk: _Desk, order: str, sign: str) -> None:
    desk.raw(f"FORM:DATA REAL,32;BORD {order};:FORM:ELEM VOLT,CURR;:SOUR:VOLT 5;:OUTP ON")
    assert desk.ask("FORM?") == "REAL,32"
    data = desk.raw("READ?")
    assert data[:2] == b"#0"
    assert data[-1:] == b"\n"
    assert struct.unpack(f"{sign}2f", data[2:-1]) == pytest.approx((5.0, 5e-9), rel=1e-3)
    assert desk.ask("FORM SRE;FORM?") == "SRE"


def test_the_serial_port_speaks_only_ascii() -> None:
    assert _Desk("6430", kind="pty").tell("FORM REAL,32") == [701]


def test_limits_and_null(desk: _Desk) -> None:
    desk.raw("OUTP ON;:SOUR:VOLT 5;:CALC2:FEED CURR;LIM2:UPP 1e-9;LOW -1e-9;STAT ON")
    desk.raw("READ?")
    assert desk.ask("CALC2:LIM2:FAIL?") == "1"
    assert int(desk.ask("STAT:MEAS?")) & 0b111111 == 0b100
    desk.raw("CALC2:NULL:ACQ;STAT ON;:READ?")
    assert desk.ask("CALC2:LIM2:FAIL?") == "0"
    assert abs(desk.value("CALC2:DATA?")) < 2e-11
    assert int(desk.ask("STAT:MEAS?")) & 0b111111 == 0b100000
    assert desk.value("CALC:STAT ON;:READ?;:CALC:DATA?".replace("READ?", "INIT")) == pytest.approx(
        25e-9, rel=1e-2
    )
