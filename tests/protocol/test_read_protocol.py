"""Protocol files: what is read from them, and what a mistake is told."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from stmtem_control.errors import ConfigError, ProtocolFileError
from stmtem_control.protocol import (
    STEPS,
    Condition,
    Cycles,
    Deposit,
    Hold,
    Protocol,
    Retract,
    Strip,
    parse_protocol,
    read_protocol,
)
from stmtem_control.protocol.steps import kind_of
from tests.protocol.protocol_texts import EVERYTHING, with_key, with_step


def test_everything_is_read_in_si_units_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(EVERYTHING, "utf-8")
    protocol = read_protocol(path)
    assert [step.kind for step in protocol.steps] == [
        "prompt", "comment", "leakage_baseline", "approach", "survey", "cycles", "deposit",
        "strip", "hold", "rest", "blank", "diffraction", "site", "retract",
    ]  # fmt: skip
    assert {step.kind for step in protocol.steps} == {kind_of(model) for model in STEPS}
    assert protocol.name == "everything"
    assert protocol.metadata.air_exposure_s == 30.0
    assert protocol.beam.dose_rate_e_per_A2_s == 20.0
    assert protocol.camera.exposure_s == 0.035
    cycles = protocol.steps[5]
    assert isinstance(cycles, Cycles)
    assert cycles.where == f"{path}:{EVERYTHING[: EVERYTHING.index('- cycles')].count(chr(10)) + 1}"
    assert cycles.deposit.ramp_V_per_s == 10.0
    assert cycles.strip.until == (
        Condition(kind="charge", comparison="reaches", value=0.0),
        Condition(kind="current", comparison="below", value=1e-11),
    )
    assert cycles.strip.longest_s == 3.0
    assert cycles.strip.where.endswith(f":{int(cycles.where.rsplit(':', 1)[1]) + 4}")
    staircase = protocol.steps[6]
    assert isinstance(staircase, Deposit)
    assert staircase.biases_V == (-1.0, -2.0, -5.0)
    assert staircase.longest_s == 6.0
    assert protocol.events == ("stripped",)
    assert len(list(protocol.biased())) == 6
    assert protocol.text == EVERYTHING
    assert protocol.steps[-1] == Retract()
    assert read_protocol(str(path)) == read_protocol(EVERYTHING) == protocol
    assert len({protocol, read_protocol(EVERYTHING)}) == 1


def test_a_protocol_survives_json_and_yaml() -> None:
    protocol = read_protocol(EVERYTHING)
    assert Protocol.from_json_dict(protocol.to_json_dict()) == protocol
    again = read_protocol(protocol.to_yaml())
    assert again == protocol
    assert again.to_yaml() == protocol.to_yaml()


def test_parts_are_made_in_python_by_their_names_and_stay_as_they_are() -> None:
    step = Strip(bias_V=5.0, duration_s=1.0)
    assert step == Strip.model_validate({"bias": "5 V", "duration": "1000 ms"})
    assert step != Hold(bias_V=5.0, duration_s=1.0)
    with pytest.raises(ValidationError, match="frozen"):
        step.bias_V = 6.0
    with pytest.raises(ValidationError, match="below 0 V"):
        Deposit(bias_V=5.0, duration_s=1.0)
    with pytest.raises(ValidationError, match="takes a value"):
        Condition(kind="current", comparison="reaches", value=1.0)
    with pytest.raises(ValidationError, match="without a value"):
        Condition(kind="event", comparison="is")


REFUSED = [
    (with_step("depsit: {}"), 3, "step 1, depsit", "unknown key; did you mean 'deposit'?"),
    (with_step("deposit: {bais: -5 V}"), 3, "step 1, deposit, bais", "did you mean 'bias'?"),
    (with_step("hold: {bias_V: 5}"), 3, "step 1, hold, bias_V", "did you mean 'bias'?"),
    (with_step("retract: {where: 5}"), 3, "step 1, retract, where", "unknown key; known: steps"),
    (with_step("hold: {kind: rest}"), 3, "step 1, hold, kind", "unknown key"),
    (with_step("deposit: -5 V"), 3, "step 1, deposit", "give a mapping, for example 'deposit: {"),
    (with_step("deposit: [-5 V]"), 3, "step 1, deposit", "found a list; give a mapping"),
    (with_step("deposit: {bias: 5 V, duration: 1 s}"), 3, "step 1, deposit, bias", "below 0 V"),
    (with_step("strip: {bias: -5 V, duration: 1 s}"), 3, "step 1, strip, bias", "above 0 V"),
    (with_step("hold: {bias: -5, duration: 1 s}"), 3, "step 1, hold, bias", "mean '-5 V'?"),
    (with_step("hold: {bias: 1e-3, duration: 1 s}"), 3, "step 1, hold, bias", "found 1e-3, a"),
    (with_step("rest: {duration: 25 h}"), 3, "step 1, rest, duration", "at most 24 h"),
    (with_step("rest: {duration: -1 s}"), 3, "step 1, rest, duration", "above 0 s"),
    (with_step("rest: {duration: 1 S}"), 3, "step 1, rest, duration", "did you mean '1 s'?"),
    (with_step("rest: {}"), 3, "step 1, rest, duration", "missing"),
    (with_step("hold: {bias: 5 V}"), 3, "step 1, hold", "give 'duration', or 'until' and"),
    (with_step("hold: {duration: 5 s}"), 3, "step 1, hold, bias", "either 'bias' or 'levels'"),
    (with_step("hold: {bias: 1 V, levels: [1 V], each: 1 s}"), 3, "step 1, hold, bias", "either"),
    (with_step("hold: {levels: [1 V]}"), 3, "step 1, hold, levels", "'levels' take 'each'"),
    (with_step("hold: {levels: [], each: 1 s}"), 3, "step 1, hold, levels", "at least one"),
    (with_step("hold: {levels: 1 V, each: 1 s}"), 3, "step 1, hold, levels", "give a list"),
    (with_step("deposit: {levels: [-1 V, 2 V], each: 1 s}"), 3, "deposit, levels, item 2", "below"),
    (with_step("hold: {levels: [1 V], each: 1 s, ramp: 1 V/s}"), 3, "hold, ramp", "'each' alone"),
    (with_step("hold: {bias: 1 V, each: 1 s}"), 3, "step 1, hold, each", "give 'duration'"),
    (with_step("hold: {bias: 1 V, timeout: 1 s}"), 3, "step 1, hold, timeout", "belongs to"),
    (with_step("hold: {bias: 1 V, until: {charge: 0 C}}"), 3, "hold, until", "needs a 'timeout'"),
    (
        with_step("hold: {bias: 1 V, until: {elapsed: 3 s}, timeout: 2 s}"),
        3,
        "step 1, hold, timeout",
        "before 'elapsed'",
    ),
    (
        with_step("hold: {bias: 1 V, until: {elapsed: 3 s}, timeout: 4 s, duration: 4 s}"),
        3,
        "step 1, hold, duration",
        "either 'duration', or",
    ),
    (with_step("hold: {bias: 1 V, until: charge, timeout: 1 s}"), 3, "hold, until", "a mapping"),
    (with_step("hold: {bias: 1 V, until: {chrge: 0 C}, timeout: 1 s}"), 3, "chrge", "'charge'?"),
    (with_step("hold: {bias: 1 V, until: {current: 1 pA}, timeout: 1 s}"), 3, "current", "say whi"),
    (
        with_step("hold: {bias: 1 V, until: {current: 5}, timeout: 1 s}"),
        3,
        "until, current",
        "unit",
    ),
    (with_step("hold: {bias: 1 V, until: {charge: 0 V}, timeout: 1 s}"), 3, "charge", "a voltage"),
    (with_step("hold: {bias: 1 V, until: {dose: < 1 e/A2}, timeout: 1 s}"), 3, "dose", "reaches"),
    (with_step("hold: {bias: 1 V, until: {dose: -1 e/A2}, timeout: 1 s}"), 3, "dose", "above zero"),
    (with_step("hold: {bias: 1 V, until: {contact: off}, timeout: 1 s}"), 3, "contact", "'made'"),
    (with_step("hold: {bias: 1 V, until: {event: 5}, timeout: 1 s}"), 3, "event", "a detector"),
    (with_step("cycles: {repeat: 2}"), 3, "step 1, cycles, deposit", "missing"),
    (with_step("survey: {frames: 0}"), 3, "step 1, survey, frames", "give 1 or more"),
    (with_step("survey: {frames: yes}"), 3, "step 1, survey, frames", "found 'yes'; give a whole"),
    (with_step("survey: {frames: 2.5}"), 3, "step 1, survey, frames", "found 2.5; give a whole"),
    (with_step("blank: {duration: 5 s, snapshots: {every: 6 s}}"), 3, "snapshots", "would be none"),
    (with_step("prompt:"), 3, "step 1, prompt", "found nothing; give text"),
    (with_step("prompt: {a: b}"), 3, "step 1, prompt", "found a mapping; give text"),
    (with_step("retract: {}\n    survey: {}"), 3, "step 1", "found 2 keys: retract, survey; give"),
    (with_step("null"), 3, "step 1", "found no step; give one step"),
    (with_key("clapperboard: on"), 2, "clapperboard", "found 'on'; give true or false"),
    (with_key("camera: {rate: 40 ms}"), 2, "camera, rate", "did you mean '25 Hz'?"),
    (with_key("camera: {exposure: 50 ms}"), 2, "camera, exposure", "at 25 Hz an exposure is at"),
    (with_key("beam: {dose_rat: 1 e/A2/s}"), 2, "beam, dose_rat", "did you mean 'dose_rate'?"),
    (with_key("metadata: {notes: 5}"), 2, "metadata, notes", "found 5; give text"),
    (with_key("pre_roll: 1:30"), 2, "pre_roll", "give a time"),
    (with_key("on: true"), 2, "on", "unknown key; known: protocol, shows"),
    (with_key("name: x"), 2, "name", "did you mean 'protocol'?"),
    (with_key("text: x"), 2, "text", "unknown key"),
    (with_key("protocol: again"), 2, "protocol", "the same key is on line 1 already"),
    (with_key("<<: {site: x}"), 2, "", "the merge key"),
    (with_key("site: &a x"), 2, "site", "the anchor '&a'"),
    (with_key("site: !!python/object:os.system x"), 2, "site", "the tag"),
    (with_key("{a: b}: c"), 2, "", "a key that is no word"),
    (with_key("site: a: b"), 2, "", "put text that has a colon in quotes"),
    (with_key("\tsite: a"), 2, "", "indent with spaces, not with tabs"),
    (with_key('site: "a'), 2, "", "what begins here has no end"),
    (with_key("site: @a"), 2, "", "put the value in quotes"),
    (with_key("site: a\x07"), 2, "", "take out what an editor does not show"),
    (with_key("---\nprotocol: b"), 2, "", "a second document"),
    (with_key(f"site: {'[' * 40}{']' * 40}"), 2, "site", "more than any protocol holds"),
    (with_key("site: [" + "x, " * 60_000 + "]"), 2, "site", "more than any protocol holds"),
    (with_step("hold: {bias: 1 V, until: {current: > 1 pA}, timeout: 1 s}"), 3, "", "or write 'ab"),
    ("protocol: x\n", 1, "steps", "missing"),
    ("protocol: x\nsteps: []\n", 2, "steps", "found an empty list; give at least one"),
    ("protocol: x\nsteps: retract\n", 2, "steps", "found 'retract'; give a list"),
    ("protocol:\nsteps: [retract]\n", 1, "protocol", "found nothing; give text"),
    ("protocol: '  '\nsteps: [retract]\n", 1, "protocol", "give some text"),
    ("- retract\n", 1, "", "found no mapping; a protocol begins with"),
    ("# nothing\n", 1, "", "found nothing; a protocol begins with"),
    ("x" * 1_000_001, 0, "", "longer than a megabyte"),
]


@pytest.mark.parametrize(
    ("text", "line", "key", "words"), REFUSED, ids=[text[-60:] for text, *_ in REFUSED]
)
def test_a_mistake_is_told_in_one_line(text: str, line: int, key: str, words: str) -> None:
    with pytest.raises(ProtocolFileError) as caught:
        parse_protocol(text, "burst.yaml")
    error, told = caught.value, str(caught.value)
    assert isinstance(error, ConfigError)
    assert told.startswith(f"burst.yaml:{line}: " if line else "burst.yaml: ")
    assert "\n" not in told
    assert len(told) < 400
    assert (error.file, error.line) == ("burst.yaml", line)
    assert key in error.key
    assert bool(key) == bool(error.key)
    assert words in told


def test_the_first_mistake_of_a_file_is_told_but_a_mistyped_key_before_all() -> None:
    text = "protocol: x\npre_roll: 5\nsteps:\n  - rest: {duration: 5}\n"
    with pytest.raises(ProtocolFileError, match=r":2: pre_roll"):
        parse_protocol(text)
    with pytest.raises(ProtocolFileError, match=r":4: step 1, rest, duratoin: unknown key"):
        parse_protocol(text.replace("duration", "duratoin"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("protocol: été\nsteps: [retract]\n".encode("latin-1"), "file.yaml:1: found the byte 0xe9"),
        ("protocol: x\nsteps: [retract]\n".encode("utf-16"), "0xff, which is no UTF-8; save"),
        (b"#" * 1_100_000, "longer than a megabyte"),
        (b"", "found nothing"),
    ],
)
def test_a_file_that_is_no_text_is_refused(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_bytes(data)
    with pytest.raises(ProtocolFileError) as caught:
        read_protocol(path)
    assert words in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path / "none.yaml", str(tmp_path), "none.yaml", "a\0b"):
        with pytest.raises(ProtocolFileError, match="give the path of a protocol file"):
            read_protocol(source)


def test_a_byte_order_mark_and_line_ends_of_windows_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + EVERYTHING.replace("\n", "\r\n").encode())
    assert read_protocol(path) == read_protocol(EVERYTHING) == parse_protocol("\ufeff" + EVERYTHING)


def test_a_bomb_of_anchors_is_refused_at_once() -> None:
    text = "a: &a [x]\n" + "".join(f"{b}: &{b} [*{a},*{a}]\n" for a, b in ("ab", "bc", "cd"))
    with pytest.raises(ProtocolFileError, match="anchor"):
        parse_protocol(text)


def test_json_that_is_no_protocol_is_refused() -> None:
    good = parse_protocol(with_step("rest: {duration: 1 s}")).to_json_dict()
    with pytest.raises(ProtocolFileError, match="protocol: step 1, rest, duration_s: found '1 V'"):
        Protocol.from_json_dict({**good, "steps": [{"kind": "rest", "duration_s": "1 V"}]})
    with pytest.raises(ProtocolFileError, match="queue: name: missing"):
        Protocol.from_json_dict({"steps": good["steps"]}, "queue")
    with pytest.raises(ProtocolFileError, match="step 1"):
        Protocol.from_json_dict({**good, "steps": [{"duration_s": 1.0}]})
