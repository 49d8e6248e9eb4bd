"""Whatever stands in a file: a protocol, or one line that says what is wrong."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.errors import ProtocolFileError
from stmtem_control.protocol import (
    Blank,
    CameraSettings,
    Comment,
    Condition,
    Cycles,
    Deposit,
    Hold,
    Prompt,
    Protocol,
    Rest,
    Retract,
    Snapshots,
    Strip,
    Survey,
    parse_protocol,
)
from tests.protocol.protocol_texts import EVERYTHING

LINES = EVERYTHING.splitlines()
JUNK = st.one_of(
    st.sampled_from(
        ["\t", ": ", "- ", "{", "}", "[", "]", "&a ", "*a", "!!x ", "'", '"', "|", ">", "#",
         "---\n", "5", "-5 V", "1 s", "on", "~", "\0", "\x85", "\ufeff", "é", "deposit:",
         "until:", "<<: "]
    ),
    st.text(max_size=8),
)  # fmt: skip


def told(text: str) -> None:
    protocol: Protocol | None = None
    error: ProtocolFileError | None = None
    try:
        protocol = parse_protocol(text, "any.yaml")
    except ProtocolFileError as refusal:
        error = refusal
    if protocol is not None:
        assert parse_protocol(protocol.to_yaml()) == protocol
        return
    assert error is not None
    assert str(error).startswith("any.yaml")
    assert len(str(error).splitlines()) == 1
    assert error is not None
    assert 0 <= error.line <= len(text.splitlines()) + 1


@given(st.text())
@settings(deadline=None)  # the first one imports pint
def test_any_text(text: str) -> None:
    told(text)


@given(st.integers(0, len(LINES) - 1), st.integers(0, 60), JUNK, st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_a_good_file_with_something_else_in_it(row: int, place: int, junk: str, cut: int) -> None:
    lines = list(LINES)
    lines[row] = lines[row][:place] + junk + lines[row][place + cut :]
    told("\n".join(lines) + "\n")


def made(model: Any, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return models of such parts; st.builds alone would want the keys of files too."""
    return st.builds(lambda **drawn: model(**drawn), **parts)


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(
    lambda text: text.strip() != ""
)
TIMES = st.floats(1e-6, 86_400.0)
UP, DOWN, ANY = st.floats(1e-6, 210.0), st.floats(-210.0, -1e-6), st.floats(-210.0, 210.0)
CONDITIONS = st.one_of(
    made(
        Condition,
        kind=st.just("current"),
        comparison=st.sampled_from(["below", "above"]),
        value=st.floats(0.0, 1e-3),
    ),
    made(
        Condition,
        kind=st.just("charge"),
        comparison=st.sampled_from(["reaches", "below", "above"]),
        value=st.floats(-1e-6, 1e-6),
    ),
    made(
        Condition,
        kind=st.just("event"),
        comparison=st.just("is"),
        name=st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,20}", fullmatch=True),
    ),
)
UNTIL = st.lists(CONDITIONS, min_size=1, max_size=3, unique_by=lambda condition: condition.kind)


def biased(model: Any, volts: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    ramp = st.none() | st.floats(1e-3, 1e3)
    return st.one_of(
        made(model, bias_V=volts, ramp_V_per_s=ramp, duration_s=TIMES),
        made(model, bias_V=volts, until=UNTIL.map(tuple), timeout_s=TIMES),
        made(model, levels_V=st.lists(volts, min_size=1, max_size=4).map(tuple), each_s=TIMES),
    )


STEPS = st.one_of(
    made(Prompt, text=NAMES),
    made(Comment, text=NAMES),
    biased(Deposit, DOWN),
    biased(Strip, UP),
    biased(Hold, ANY),
    made(Cycles, repeat=st.integers(1, 9), deposit=biased(Deposit, DOWN), rest_s=TIMES,
              strip=biased(Strip, UP)),
    made(Rest, duration_s=TIMES),
    made(Blank, duration_s=st.just(9.0), bias_V=ANY, snapshots=st.none()
              | made(Snapshots, every_s=st.floats(0.1, 9.0), frames=st.integers(1, 9))),
    made(Survey, frames=st.integers(1, 100)),
    made(Retract, steps=st.integers(1, 100)),
)  # fmt: skip
PROTOCOLS = made(
    Protocol,
    name=NAMES.filter(lambda name: len(name) <= 200),
    shows=st.none() | NAMES,
    site=st.none() | NAMES.filter(lambda name: len(name) <= 200),
    camera=made(CameraSettings, rate_Hz=st.floats(0.1, 20.0), exposure_s=st.floats(1e-6, 0.04)),
    pre_roll_s=st.floats(0.0, 60.0),
    steps=st.lists(STEPS, min_size=1, max_size=4).map(tuple),
)


@given(PROTOCOLS)
@settings(max_examples=60, deadline=None)
def test_a_protocol_is_the_same_after_yaml_and_json(protocol: Protocol) -> None:
    assert parse_protocol(protocol.to_yaml()) == protocol
    assert Protocol.from_json_dict(protocol.to_json_dict()) == protocol
