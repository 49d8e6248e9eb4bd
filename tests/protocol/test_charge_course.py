"""Waits for a charge that are over as they begin: what is certain, and what depends on currents."""

import pytest

from stmtem_control.estimate import check_protocol
from stmtem_control.protocol import AT_ONCE, parse_protocol, waits_that_are_over

HEAD = "protocol: waits\ncamera: {rate: 25 Hz, exposure: 35 ms}\nsteps:\n"


def steps(*lines: str) -> str:
    """Return a protocol whose steps begin at line 4."""
    return HEAD + "".join(f"  - {line}\n" for line in lines)


def until(kind: str, charge: str, bias: str = "") -> str:
    volts = bias or {"deposit": "-5 V", "strip": "5 V"}[kind]
    return f"{kind}: {{bias: {volts}, until: {{charge: {charge}}}, timeout: 4 s}}"


DEPOSIT_2 = until("deposit", "-2 nC")
ONE_S = {
    "deposit": "deposit: {bias: -5 V, duration: 1 s}",
    "strip": "strip: {bias: 5 V, duration: 1 s}",
}


@pytest.mark.parametrize(
    "first",
    [
        until("strip", "0 C"),
        until("strip", "-1 nC"),
        until("strip", "below 1 nC"),
        until("deposit", "0 C"),
        until("deposit", "1 nC"),
        until("deposit", "above -1 nC"),
        until("hold", "0 C", "0 V"),
        until("hold", "1 nC", "-1 V"),
        "cycles: {repeat: 2, deposit: {bias: -5 V, until: {charge: 1 nC}, timeout: 2 s}, "
        "strip: {bias: 5 V, duration: 1 s}}",
    ],
)
def test_before_any_bias_the_charge_is_known(first: str) -> None:
    """The charge counts from here, so that no current decides it."""
    for before in ((), ("approach", "rest: {duration: 1 s}")):
        (wait,) = waits_that_are_over(parse_protocol(steps(*before, first), "a.yaml"))
        assert wait.certain
        assert wait.where == f"a.yaml:{4 + len(before)}"
        assert f"{AT_ONCE}: no charge has flowed before it; " in wait.text


@pytest.mark.parametrize(
    ("lines", "there"),
    [
        ((DEPOSIT_2, until("strip", "-5 nC")), "-2.00 nC or more"),
        ((DEPOSIT_2, "rest: {duration: 1 s}", until("strip", "-5 nC")), "-2.00 nC or more"),
        ((DEPOSIT_2, ONE_S["strip"], until("strip", "-2.5 nC")), "-2.00 nC or more"),
        ((ONE_S["deposit"], until("deposit", "1 nC")), "0 C or less"),
        ((until("strip", "2 nC"), until("deposit", "3 nC")), "2.00 nC or less"),
        ((ONE_S["strip"], until("strip", "0 C")), "0 C or more"),
    ],
)
def test_later_it_is_known_as_far_as_was_waited_for(lines: tuple[str, ...], there: str) -> None:
    (wait,) = waits_that_are_over(parse_protocol(steps(*lines)))
    assert not wait.certain
    assert f"{AT_ONCE}: the charge is {there} by then; " in wait.text


@pytest.mark.parametrize(
    "lines",
    [
        (DEPOSIT_2, until("strip", "0 C")),
        (DEPOSIT_2, until("strip", "-2 nC")),  # the last reading may be past it
        (ONE_S["deposit"], until("strip", "-5 nC")),
        (ONE_S["deposit"], until("strip", "0 C"), until("deposit", "-1 nC")),
        ("blank: {duration: 1 s, bias: -5 V}", until("strip", "-5 nC")),
        (ONE_S["strip"], until("deposit", "1 nC")),
        # Up the ramp the bias is negative at first.
        (DEPOSIT_2, "strip: {bias: 5 V, ramp: 1 V/s, until: {charge: 0 C}, timeout: 9 s}",
         until("strip", "-5 nC")),
        ("hold: {bias: -1 V, until: {current: below 1 pA, elapsed: 1 s}, timeout: 2 s}",),
        ("cycles: {repeat: 3, deposit: {bias: -5 V, until: {charge: -1 nC}, timeout: 2 s}, "
         "strip: {bias: 5 V, until: {charge: 0 C}, timeout: 2 s}}",),
    ],
)  # fmt: skip
def test_what_may_be_waited_for_is_let_through(lines: tuple[str, ...]) -> None:
    assert waits_that_are_over(parse_protocol(steps(*lines))) == []


def test_the_estimate_refuses_what_is_certain_and_minds_the_rest() -> None:
    text = steps(until("strip", "0 C"), DEPOSIT_2, until("strip", "-5 nC"))
    certain, doubtful = waits_that_are_over(parse_protocol(text, "a.yaml"))
    found = check_protocol(parse_protocol(text, "a.yaml"))
    assert [one.one_line() for one in found.refusals] == [certain.one_line()]
    assert doubtful.one_line() in found.warnings


def test_a_step_alone_is_not_refused_for_what_came_before_it() -> None:
    """Each step is walked through alone to find its place, and nothing has flowed before it."""
    text = steps("deposit: {bias: -12 V, duration: 1 s}", until("strip", "0 C"))
    (only,) = check_protocol(parse_protocol(text, "a.yaml")).refusals
    assert only.one_line().startswith("a.yaml:4: deposit: bias: -12.0 V is outside")
