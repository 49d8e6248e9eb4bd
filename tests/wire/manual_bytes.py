"""What goes over each wire, from the instruments' manuals: the drivers and the simulators both.

Each instrument's entries hold in this order, from its state after power-on.  ``reply`` is an
answer that the manual, or a recording of the real instrument, gives; ``pattern`` is what every
answer must match, where times, places of blanks or the state may differ.  The Merlin's binary
frames are not here, see ``test_merlin_driver_wire.py``.
"""

import re
from typing import NamedTuple


class Exchange(NamedTuple):
    """One request and its answer; an empty reply means that the instrument says nothing."""

    instrument: str
    request: bytes
    reply: bytes
    pattern: bytes
    source: str


USERS_MANUAL = "Keithley 2400S-900-01"
CAPTURE = "recorded from a 2400, firmware C30"
CONSOLE = "attocube ANC300 manual, console commands"
TRACE = "recorded from an ANC300, firmware 1.1.0"
TNO41 = "Quantum Detectors TDI-CTRL-TNO-0041"

NUMBER = rb"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?"


def _keithley(
    request: str, reply: str = "", source: str = USERS_MANUAL, pattern: bytes = b""
) -> Exchange:
    answer = reply.encode() + b"\n" if reply else b""
    wanted = (pattern or re.escape(reply.encode())) + rb"\r?\n" if reply else b""
    return Exchange("keithley", request.encode() + b"\n", answer, wanted, source)


def _anc300(request: str, *lines: str, source: str = CONSOLE, pattern: bytes = b"") -> Exchange:
    answer = "".join(line + "\r\n" for line in lines).encode()
    return Exchange(
        "anc300", request.encode() + b"\r\n", answer, pattern or re.escape(answer), source
    )


def _merlin(request: str, reply: str, pattern: bytes = b"") -> Exchange:
    return Exchange(
        "merlin", request.encode(), reply.encode(), pattern or re.escape(reply.encode()), TNO41
    )


NO_ERROR = rb'[+-]?0 *, *"No error"'
RANGE = NUMBER

MANUAL: tuple[Exchange, ...] = (
    # A source-measure unit that speaks the SCPI-2400 dialect; no reply to a set.
    _keithley(
        "*IDN?",
        "KEITHLEY INSTRUMENTS INC.,MODEL 2400,1175680,C30   Mar 17 2006 09:29:29/A02  /K/J",
        CAPTURE,
        rb"KEITHLEY INSTRUMENTS[^,]*,MODEL [^,]+,[^,]+,.+",
    ),
    _keithley(":OUTP OFF"),
    _keithley("*RST"),
    _keithley("*CLS"),
    _keithley(":SYST:ERR?", '0,"No error"', pattern=NO_ERROR),
    _keithley(":OUTP?", "0"),
    _keithley(":OUTP:SMOD HIMP"),
    _keithley(":SOUR:CLE:AUTO OFF"),
    _keithley(":SOUR:FUNC VOLT"),
    _keithley(":SOUR:VOLT:MODE FIX"),
    _keithley(":SOUR:DEL 0"),
    _keithley(":SENS:FUNC:CONC ON"),
    _keithley(':SENS:FUNC "VOLT","CURR"'),
    _keithley(":SENS:AVER OFF"),
    _keithley(":SYST:AZER OFF"),
    _keithley(":FORM:DATA ASC"),
    _keithley(":FORM:ELEM VOLT,CURR,TIME,STAT"),
    _keithley(":ARM:COUN 1"),
    _keithley(":TRIG:COUN 1"),
    _keithley(":SENS:CURR:NPLC 1"),
    _keithley(":SENS:CURR:NPLC?", "1.00", pattern=NUMBER),
    _keithley(":SOUR:VOLT:RANG 2.000000E+01"),
    _keithley(":SOUR:VOLT:RANG?", "2.100000E+01", pattern=RANGE),
    _keithley(":SOUR:VOLT:PROT 20"),
    _keithley(":SOUR:VOLT 0"),
    # What was set is read back: section 18, the query form of each.
    _keithley(":SOUR:VOLT?", "0.000000E+00", pattern=NUMBER),
    _keithley(":SOUR:VOLT:MODE?", "FIX", pattern=rb"FIX"),
    _keithley(":SOUR:DEL?", "0.000000E+00", pattern=NUMBER),
    _keithley(":TRIG:DEL?", "0.000000E+00", pattern=NUMBER),
    _keithley(":ARM:COUN?", "1", pattern=rb"1"),
    _keithley(":TRIG:COUN?", "1", pattern=rb"1"),
    _keithley(":SOUR:CLE:AUTO?", "0", pattern=rb"[01]"),
    _keithley(":SOUR:CLE:AUTO:MODE?", "ALW", pattern=rb"(ALW|TCO)"),
    _keithley(":SENS:CURR:RANG?", "1.050000E-04", pattern=RANGE),
    _keithley(":SENS:CURR:PROT 1.000000E-05"),
    _keithley(":SENS:CURR:RANG 1.000000E-05"),
    _keithley(":SENS:CURR:PROT?", "1.000000E-05", pattern=NUMBER),
    _keithley(":SYST:TIME:RES"),
    _keithley(":SYST:TIME?", "+1.200000E-02", pattern=NUMBER),
    _keithley(":SOUR2:TTL?", "15", pattern=rb"\d+"),
    _keithley(":SOUR2:TTL 1"),
    _keithley(":SOUR2:TTL 14"),
    _keithley(":SOUR:VOLT -5.0000000E+00"),
    _keithley(":OUTP ON"),
    _keithley(
        ":READ?",
        "-5.000012E+00,-2.481300E-06,+7.282600E+01,+3.584000E+04",
        pattern=rb"[+-]\d\.\d{6}E[+-]\d\d(,[+-]\d\.\d{6}E[+-]\d\d){3}",
    ),
    _keithley(":ABOR"),
    # A list of levels that the source steps through by itself: sections 9, 10, 11 and 18.
    _keithley(":TRIG:CLE"),
    _keithley(":SENS:CURR:NPLC 0.1"),
    _keithley(":SOUR:LIST:VOLT 1.0000000E+00,-1.0000000E+00"),
    _keithley(":SOUR:LIST:VOLT:APP 0.0000000E+00"),
    _keithley(":SOUR:LIST:VOLT:POIN?", "3", pattern=rb"3"),
    _keithley(":SOUR:LIST:VOLT 1.0000000E+00,-1.0000000E+00,0.0000000E+00"),
    _keithley(":SOUR:LIST:VOLT?", "+1.000000E+00,-1.000000E+00,+0.000000E+00", pattern=rb"\S+"),
    _keithley(":SOUR:SWE:RANG FIX"),
    _keithley(":SOUR:SWE:CAB NEV"),
    _keithley(":SOUR:VOLT:MODE LIST"),
    _keithley(":SOUR:DEL 0.044990"),
    _keithley(":TRIG:DEL 0"),
    _keithley(":TRIG:COUN 3"),
    _keithley(":ARM:DIR ACC"),
    _keithley(":ARM:ILIN 3"),
    _keithley(":ARM:SOUR TLIN"),
    _keithley(":ARM:SOUR IMM"),
    _keithley(":TRIG:DIR ACC"),
    _keithley(":TRIG:ILIN 1"),
    _keithley(":TRIG:SOUR TLIN"),
    _keithley(":TRIG:SOUR IMM"),
    _keithley(":TRIG:INP SOUR"),
    _keithley(":TRIG:INP NONE"),
    _keithley(":TRIG:OLIN 2"),
    _keithley(":TRIG:OUTP SOUR"),
    _keithley(":TRAC:FEED:CONT NEV"),
    _keithley(":TRAC:CLE"),
    _keithley(":TRAC:POIN 3"),
    _keithley(":TRAC:FEED SENS"),
    _keithley(":TRAC:TST:FORM ABS"),
    _keithley(":TRAC:FEED:CONT NEXT"),
    _keithley(":SOUR:CLE:AUTO:MODE TCO"),
    _keithley(":SOUR:CLE:AUTO ON"),
    _keithley(":INIT"),
    _keithley("*OPC?", "1"),
    _keithley(":TRAC:POIN:ACT?", "3"),
    _keithley(
        ":TRAC:DATA?",
        "+1.000000E+00,+1.000000E-11,+0.000000E+00,+2.253200E+04,"
        "-1.000000E+00,+1.000000E-11,+5.100000E-02,+2.253200E+04,"
        "+0.000000E+00,+1.000000E-11,+1.020000E-01,+2.253200E+04",
        pattern=rb"[+-]\d\.\d{6}E[+-]\d\d(,[+-]\d\.\d{6}E[+-]\d\d){11}",
    ),
    _keithley(
        ":SENS:DATA:LAT?",
        "+0.000000E+00,+1.000000E-11,+2.010000E-01,+2.253200E+04",
        pattern=rb"[+-]\d\.\d{6}E[+-]\d\d(,[+-]\d\.\d{6}E[+-]\d\d){3}",
    ),
    _keithley(":TRIG:OUTP NONE"),
    # A level that it ends by itself: auto output-off, and what goes between an abort and a start.
    _keithley(":SOUR:CLE:AUTO ON;:SOUR:VOLT:MODE FIX;:TRIG:COUN 37"),
    _keithley(":SOUR:VOLT 1;:INIT;:ABOR;:OUTP?", "1", pattern=rb"1"),
    _keithley(":ABOR;:OUTP?;:SOUR:VOLT 2;:INIT", "1", pattern=rb"1"),
    _keithley(":ABOR;:SYST:ERR?;:OUTP?;:INIT", '0,"No error";1', pattern=NO_ERROR + rb" *; *1"),
    _keithley(":ABOR;*IDN?;:INIT", "KEITHLEY...", pattern=rb"KEITHLEY INSTRUMENTS.*"),
    _keithley("*OPC?", "1"),
    _keithley(
        ":OUTP?;:SENS:DATA?",
        "0;+2.000000E+00,+1.000000E-11,+9.010000E-01,+2.253200E+04",
        pattern=rb"0;[+-]\d\.\d{6}E[+-]\d\d(,[+-]\d\.\d{6}E[+-]\d\d){3}",
    ),
    # The console of the piezo controller, after "echo off".
    _anc300("echo off", "OK"),
    _anc300(
        "ver",
        "attocube ANC300 controller version 1.1.0-1304 2013-10-17 08:16",
        "ANC150 compatibillity console",
        "OK",
        source=TRACE,
    ),
    _anc300("getser 1", "ANM300A-M-1545-3010041", "OK", pattern=rb"ANM[123][05]0\S*\r\nOK\r\n"),
    _anc300("getser 2", "ANM300A-M-1545-3010042", "OK", pattern=rb"ANM[123][05]0\S*\r\nOK\r\n"),
    _anc300("getser 3", "ANM300A-M-1545-3010043", "OK", pattern=rb"ANM[123][05]0\S*\r\nOK\r\n"),
    _anc300("getser 7", "Wrong axis type", "ERROR", source=TRACE, pattern=rb".+\r\nERROR\r\n"),
    _anc300("stop 1", "OK"),
    _anc300("setm 1 stp+", "OK"),
    _anc300("getm 1", "mode = stp+", "OK"),
    _anc300("seta 1 0.000000", "OK"),
    _anc300("geta 1", "voltage = 0.000000 V", "OK"),
    _anc300("setf 1 1000", "OK"),
    _anc300(
        "getf 1",
        "frequency = 1000 Hz\n",
        "OK",
        source=TRACE,
        pattern=rb"frequency = 1000(\.0+)? Hz\s+OK\r\n",
    ),
    _anc300("setv 1 30.000000", "OK"),
    _anc300("getv 1", "voltage = 30.000000 V", "OK"),
    _anc300("geto 1", "voltage = 0.000000 V", "OK"),
    _anc300("getc 1", "capacitance = ?", "OK", source=TRACE),
    _anc300("stepu 1 3", "OK"),
    _anc300("stop 1", "OK"),
    _anc300("setm 1 gnd", "OK"),
    _anc300("getm 1", "mode = gnd", "OK"),
    # The control socket of the detector: the length counts from the comma after the number.
    _merlin(
        "MPX,0000000020,GET,SOFTWAREVERSION",
        "MPX,0000000031,GET,SOFTWAREVERSION,0.67.0.9,0",
        rb"MPX,\d{10},GET,SOFTWAREVERSION,[^,]+,0",
    ),
    _merlin(
        "MPX,0000000019,GET,DETECTORSTATUS",
        "MPX,0000000023,GET,DETECTORSTATUS,0,0",
    ),
    _merlin("MPX,0000000025,SET,NUMFRAMESTOACQUIRE,1", "MPX,0000000025,SET,NUMFRAMESTOACQUIRE,0"),
    _merlin("MPX,0000000023,GET,NUMFRAMESTOACQUIRE", "MPX,0000000027,GET,NUMFRAMESTOACQUIRE,1,0"),
    _merlin("MPX,0000000020,SET,COUNTERDEPTH,12", "MPX,0000000019,SET,COUNTERDEPTH,0"),
    _merlin("MPX,0000000025,SET,ACQUISITIONPERIOD,40", "MPX,0000000024,SET,ACQUISITIONPERIOD,0"),
    _merlin("MPX,0000000023,SET,ACQUISITIONTIME,35", "MPX,0000000022,SET,ACQUISITIONTIME,0"),
    _merlin(
        "MPX,0000000020,GET,ACQUISITIONTIME",
        "MPX,0000000025,GET,ACQUISITIONTIME,35,0",
        rb"MPX,\d{10},GET,ACQUISITIONTIME,(35(\.0+)?|3\.50*[eE]\+?0*1),0",
    ),
    _merlin("MPX,0000000026,SET,NUMFRAMESPERTRIGGER,1", "MPX,0000000026,SET,NUMFRAMESPERTRIGGER,0"),
    _merlin("MPX,0000000019,SET,TRIGGERSTART,0", "MPX,0000000019,SET,TRIGGERSTART,0"),
    _merlin("MPX,0000000019,SET,TRIGGERSTART,9", "MPX,0000000019,SET,TRIGGERSTART,3"),
    _merlin("MPX,0000000018,SET,TRIGGERSTOP,0", "MPX,0000000018,SET,TRIGGERSTOP,0"),
    _merlin("MPX,0000000025,SET,NUMFRAMESTOACQUIRE,0", "MPX,0000000025,SET,NUMFRAMESTOACQUIRE,0"),
    _merlin("MPX,0000000021,CMD,STARTACQUISITION", "MPX,0000000023,CMD,STARTACQUISITION,0"),
    _merlin("MPX,0000000020,CMD,STOPACQUISITION", "MPX,0000000022,CMD,STOPACQUISITION,0"),
    _merlin("MPX,0000000012,CMD,NOTHING", "MPX,0000000014,CMD,NOTHING,2"),
)


def exchanges(instrument: str) -> list[Exchange]:
    """Return the entries of one instrument, in order."""
    return [entry for entry in MANUAL if entry.instrument == instrument]
