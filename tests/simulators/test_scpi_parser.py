"""The SCPI grammar, without an instrument."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmtem_control.simulators import scpi
from stmtem_control.simulators.scpi import CommandTree, Program, ScpiError

# Notation of the manual, and for each node the forms it may be sent in ("" for left out).
HEADERS = {
    "[:SENSe[1]]:CURRent[:DC]:RANGe[:UPPer]": [
        ["", "SENS", "SENSE", "SENS1", "SENSE1"],
        ["CURR", "CURRENT"],
        ["", "DC"],
        ["RANG", "RANGE"],
        ["", "UPP", "UPPER"],
    ],
    "[:SENSe[1]]:CURRent[:DC]:RANGe:AUTO": [
        ["", "SENS", "SENSE", "SENS1", "SENSE1"],
        ["CURR", "CURRENT"],
        ["", "DC"],
        ["RANG", "RANGE"],
        ["AUTO"],
    ],
    ":SOURce[1]:VOLTage[:LEVel][:IMMediate][:AMPLitude]": [
        ["SOUR", "SOURCE", "SOUR1", "SOURCE1"],
        ["VOLT", "VOLTAGE"],
        ["", "LEV", "LEVEL"],
        ["", "IMM", "IMMEDIATE"],
        ["", "AMPL", "AMPLITUDE"],
    ],
    ":SOURce2:TTL[:LEVel]": [["SOUR2", "SOURCE2"], ["TTL"], ["", "LEV", "LEVEL"]],
    ":ARM[:SEQuence[1]][:LAYer[1]]:COUNt": [
        ["ARM"],
        ["", "SEQ", "SEQUENCE", "SEQ1", "SEQUENCE1"],
        ["", "LAY", "LAYER", "LAY1", "LAYER1"],
        ["COUN", "COUNT"],
    ],
    ":OUTPut[1][:STATe]": [["OUTP", "OUTPUT", "OUTP1", "OUTPUT1"], ["", "STAT", "STATE"]],
}


def tree() -> CommandTree:
    made = CommandTree()
    for spec in (*HEADERS, "*CLS", "*IDN"):
        made.add(spec, lambda p: None, lambda p: "")
    return made


def names(program: Program) -> list[str]:
    return [unit.command.name for unit in program.units]


def code(program: Program) -> int:
    return 0 if program.error is None else program.error.code


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, str]:
    spec = draw(st.sampled_from(sorted(HEADERS)))
    nodes = [draw(st.sampled_from(forms)) for forms in HEADERS[spec]]
    text = ":".join(node for node in nodes if node)
    upper = draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    mixed = "".join(c if u else c.lower() for c, u in zip(text, upper, strict=True))
    return spec, draw(st.sampled_from(["", ":"])) + mixed


@given(spelled(), st.sampled_from(["", "?", " 1", "   1", "? MAX"]), st.sampled_from(["", ";"]))
def test_every_spelling_of_a_header_is_the_same_command(
    header: tuple[str, str], tail: str, end: str
) -> None:
    spec, text = header
    program = tree().parse(text + tail + end)
    assert code(program) == 0
    assert names(program) == [spec]
    assert program.units[0].query is tail.startswith("?")


def test_there_are_many_spellings() -> None:
    spellings = [
        ":".join(node for node in nodes if node)
        for forms in HEADERS.values()
        for nodes in itertools.product(*forms)
    ]
    made = tree()
    assert len(spellings) == len(set(spellings)) > 200
    assert all(code(made.parse(text)) == 0 for text in spellings)


@pytest.mark.parametrize(
    "text",
    [
        "CURRE:RANG?",  # neither the long nor the short form
        "CUR:RANG?",
        "SENS2:CURR:RANG?",  # a suffix that does not exist
        "SOUR:TTL 3",
        "SENS:CURR",  # a path, not a command
        "SENS:CURR:RANG:NOSUCH 1",
        "SENS:DC:RANG 1",
        "NOSUCH?",
        "*NOSUCH",
    ],
)
def test_what_is_not_in_the_tree_is_an_undefined_header(text: str) -> None:
    program = tree().parse(text)
    assert names(program) == []
    assert code(program) == -113


def test_a_header_without_colon_starts_where_the_one_before_ended() -> None:
    program = tree().parse("SENS:CURR:RANG 1e-6;RANG:AUTO ON;*CLS;RANG?;:OUTP ON;STAT?")
    auto, upper = "[:SENSe[1]]:CURRent[:DC]:RANGe:AUTO", "[:SENSe[1]]:CURRent[:DC]:RANGe[:UPPer]"
    # "RANG:AUTO" ends one node deeper, so the last RANG? is looked for below RANG.
    assert names(program) == [upper, auto, "*CLS"]
    assert code(program) == -113
    program = tree().parse("SENS:CURR:RANG 1e-6;*CLS;RANG?;RANG:AUTO ON;:OUTP:STAT ON;STAT?")
    state = ":OUTPut[1][:STATe]"
    assert names(program) == [upper, "*CLS", upper, auto, state, state]
    assert code(program) == 0


def test_a_bad_command_discards_the_rest_of_the_message() -> None:
    program = tree().parse(":OUTP ON;:NOSUCH 1;:OUTP OFF")
    assert names(program) == [":OUTPut[1][:STATe]"]
    assert code(program) == -113


@pytest.mark.parametrize("text", ["", ";", " ; ;", "\t"])
def test_an_empty_message_is_nothing(text: str) -> None:
    assert tree().parse(text) == Program([])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OUTP 1,2,3", ("1", "2", "3")),
        ("OUTP 1 ,  2,3 ", ("1", "2", "3")),
        ("OUTP 'a;b,c',\"d'e\"", ("'a;b,c'", '"d\'e"')),
        ("OUTP (-110:-222, 100)", ("(-110:-222, 100)",)),
        ("OUTP\tON", ("ON",)),
    ],
)
def test_parameters_are_cut_at_commas(text: str, expected: tuple[str, ...]) -> None:
    (unit,) = tree().parse(text).units
    assert unit.parameters == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OUTP 'open", -151),
        ("OUTP (1,2", -171),
        ("OUTP 1,,2", -109),
        ("?", -102),
        ("::OUTP 1", -102),
        ("OUTP=1", -111),
    ],
)
def test_broken_messages_have_the_number_of_the_standard(text: str, expected: int) -> None:
    assert code(tree().parse(text)) == expected


@given(st.text(max_size=40))
def test_no_message_makes_the_parser_stumble(text: str) -> None:
    program = tree().parse(text)
    assert code(program) <= 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1.0),
        ("-1.5", -1.5),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("1e-06", 1e-6),
        ("1.05E-4", 1.05e-4),
        ("2 E+3", 2000.0),
        ("#B1010", 10.0),
        ("#q17", 15.0),
        ("#HfF", 255.0),
        ("INF", float("inf")),
        ("ninfinity", float("-inf")),
    ],
)
def test_numbers(text: str, expected: float) -> None:
    assert scpi.number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1V", -121), ("1..2", -121), ("#B12", -121), ("five", -104), ("'1'", -104)],
)
def test_what_is_not_a_number(text: str, expected: int) -> None:
    with pytest.raises(ScpiError) as caught:
        scpi.number(text)
    assert caught.value.code == expected


def test_named_and_limited_numbers() -> None:
    assert [scpi.numeric(t, 1, 9, 3) for t in ("MIN", "maximum", "Def", "4")] == [1, 9, 3, 4]
    for text in ("0.99", "9.1"):
        with pytest.raises(ScpiError) as caught:
            scpi.numeric(text, 1, 9, 3)
        assert caught.value.code == -222
    # 105 % of a range, written with six digits, is not beyond it.
    assert scpi.numeric("1.050000000001", -1.05, 1.05, 0) == 1.05


def test_other_parameter_types() -> None:
    assert [scpi.boolean(t) for t in ("ON", "off", "1", "0", "2.6", "0.2")] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert scpi.keyword("tlink", ["IMMediate", "TLINk"]) == "TLIN"
    assert scpi.keyword("SENSe1", ["SENSe[1]", "CALCulate2"]) == "SENS"
    assert scpi.string("'VOLT:DC'") == scpi.string('"VOLT:DC"') == "VOLT:DC"
    assert scpi.string('"say ""so"""') == 'say "so"'
    assert scpi.intervals("(-110:-222, 803)") == [(-222, -110), (803, 803)]
    for bad in ("TLI", "TLINKS", "SENS2"):
        with pytest.raises(ScpiError):
            scpi.keyword(bad, ["IMMediate", "TLINk", "SENSe[1]"])
    with pytest.raises(ScpiError):
        scpi.boolean("MAYBE")


def test_a_tree_refuses_two_commands_under_one_header() -> None:
    made = tree()
    with pytest.raises(ValueError, match="same header"):
        made.add("[:SENSe[1]]:CURRent:RANGe", lambda p: None)
    with pytest.raises(ValueError, match="cannot be read"):
        made.add(":SENSe:[CURRent]", lambda p: None)
