"""Faults as text: what can be written, what is refused, and with which words."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmtem_control.errors import ConfigError
from stmtem_control.simulators import Bench, Fault, serve
from stmtem_control.simulators.fault_kinds import KINDS, listing

HERE = Path(__file__).parent
KIND = st.sampled_from(sorted(KINDS))


def test_the_whole_form() -> None:
    fault = Fault.parse("bias_source:delay@time=2.5,exchange=12,count=3,seconds=0.5,when=:READ?,x")
    assert fault == Fault(
        "bias_source", "delay", at_s=2.5, at_exchange=12, count=3, seconds=0.5, when=":READ?,x"
    )
    assert Fault.parse(" specimen : short@amount=2e5 ") == Fault("specimen", "short", amount=2e5)
    assert str(Fault("probe", "drop")) == "probe:drop"


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    row = KINDS[draw(KIND)]
    number = st.floats(0.0, 1e9)
    times = st.none() | number
    state = row.strikes == "state"
    return Fault(
        draw(st.sampled_from(row.where)),
        row.name,
        at_s=draw(times),
        at_exchange=draw(st.none() | st.integers(1, 10**9)),
        count=draw(st.integers(0, 1 if state else 10**9)),
        seconds=draw(number) if row.seconds else 0.0,
        amount=draw(st.none() | st.floats(row.low, row.high)) if row.amount else None,
        when=draw(st.text()),
    )


@given(faults())
def test_text_and_back(fault: Fault) -> None:
    # The blanks at its end belong to nobody: a station file may well have them.
    again = Fault.parse(str(fault))
    assert again == Fault(**{**vars(fault), "when": fault.when.rstrip()})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bias_source:dorp", "no kind 'dorp'; the nearest is 'drop'"),
        ("bias_sauce:drop", "no place 'bias_sauce'; the nearest is 'bias_source'"),
        ("moon:drop", "no place 'moon'; choose from bias_source, probe"),
        ("probe:stall", "stall is not for probe; it is for camera_data"),
        ("drop", "write where:kind[@key=value,...]"),
        ("probe:drop@excange=2", "no key 'excange'; the nearest is 'exchange'"),
        ("probe:drop@exchange=2.5", "exchange is '2.5'; give a whole number"),
        ("probe:drop@exchange=0", "exchange is 0; 1 is the next one"),
        ("probe:drop@time=soon", "time is 'soon'; give a number"),
        ("probe:drop@time=-1", "time is -1.0; give seconds from 0 on"),
        ("probe:drop@time=nan", "time is nan"),
        ("probe:drop@count=-1", "count is -1"),
        ("probe:stuck_steps@count=2", "stuck_steps strikes once; leave count out"),
        ("probe:drop@seconds=1", "drop knows no seconds"),
        ("probe:delay@seconds=inf", "seconds is inf"),
        ("probe:drop@amount=1", "drop knows no amount"),
        ("probe:missed_steps@amount=2", "share of them: from 0 to 1"),
        ("probe:missed_steps@amount=nan", "amount is nan"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)) as refusal:
        Fault.parse(text)
    assert "\n" not in str(refusal.value)
    assert text.split("@", maxsplit=1)[0] in str(refusal.value)


def test_a_bench_does_not_start_with_a_bad_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="nearest is 'drop'"):
        Bench(size=256, faults=["bias_source:drip", "bias_source:dropp"])
    assert serve(["--fault", "bias_source:dropp"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("stmtem sim: fault 'bias_source:dropp': ")
    assert len(said.splitlines()) == 1


def test_all_kinds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(["--list-faults"]) == 0
    printed = capsys.readouterr().out
    assert printed == listing() + "\n"
    for row in KINDS.values():
        lines = [line for line in printed.splitlines() if line.split()[:1] == [row.name]]
        assert len(lines) == 1
        assert all(place in lines[0] for place in row.where)


def test_every_kind_is_tried_by_a_client() -> None:
    """Each kind at each place where it can be stands in a test that looks at what it does."""
    tried = "".join(path.read_text("utf-8") for path in HERE.glob("test_faults_*.py"))
    missing = [name for name in KINDS if not re.search(rf'(:|"){name}["@]', tried)]
    assert not missing
