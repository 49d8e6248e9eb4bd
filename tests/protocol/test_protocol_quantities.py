"""Quantities as people write them: which are understood, which refused, and how that is said."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmtem_control.protocol.quantities import (
    CHARGE,
    CURRENT,
    DOSE,
    DOSE_RATE,
    FREQUENCY,
    GIGAOHM,
    KINDS,
    LENGTH,
    RAMP,
    TIME,
    VOLTAGE,
    Kind,
    QuantityError,
    known_units,
    parse_quantity,
    write_quantity,
)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("-5 V", VOLTAGE, -5.0),
        ("-5V", VOLTAGE, -5.0),
        ("−5 V", VOLTAGE, -5.0),
        ("+.5 mV", VOLTAGE, 5e-4),
        ("2 volts", VOLTAGE, 2.0),
        ("1 nA", CURRENT, 1e-9),
        ("0.1 nA", CURRENT, 1e-10),
        ("3 µA", CURRENT, 3e-6),
        ("3 μA", CURRENT, 3e-6),
        ("12.5e-12 A", CURRENT, 1.25e-11),
        ("10 pC", CHARGE, 1e-11),
        ("1 nA s", CHARGE, 1e-9),
        ("17 s", TIME, 17.0),
        ("35 ms", TIME, 0.035),
        ("2 min", TIME, 120.0),
        ("1 h", TIME, 3600.0),
        ("3 seconds", TIME, 3.0),
        ("25 Hz", FREQUENCY, 25.0),
        ("25 fps", FREQUENCY, 25.0),
        ("1 kHz", FREQUENCY, 1000.0),
        ("1 V/s", RAMP, 1.0),
        ("1 V s^-1", RAMP, 1.0),
        ("1 mV/ms", RAMP, 1.0),
        ("60 V/min", RAMP, 1.0),
        ("2 um", LENGTH, 2e-6),
        ("0.5 m", LENGTH, 0.5),
        ("3 Å", LENGTH, 3e-10),
        ("10 Gohm", GIGAOHM, 10.0),
        ("10 GΩ", GIGAOHM, 10.0),
        ("36 GOhm", GIGAOHM, 36.0),
        ("500 e/A^2", DOSE, 500.0),
        ("500 e/A2", DOSE, 500.0),
        ("500 e-/Å²", DOSE, 500.0),
        ("500 e⁻ Å⁻²", DOSE, 500.0),
        ("500 e/nm^2", DOSE, 5.0),
        ("20 e/A^2/s", DOSE_RATE, 20.0),
        ("20 e- A^-2 s^-1", DOSE_RATE, 20.0),
        ("20 electrons/angstrom^2/s", DOSE_RATE, 20.0),
    ],
)
def test_what_is_understood(text: str, kind: Kind, value: float) -> None:
    assert parse_quantity(text, kind) == value


@pytest.mark.parametrize(
    ("text", "kind", "found", "nearest"),
    [
        ("5 A", VOLTAGE, "'5 A', a current", ""),
        ("5 mS", TIME, "'5 mS', a conductance", "5 ms"),
        ("5 v", VOLTAGE, "unit 'v' is unknown", "5 V"),
        ("1 na", CURRENT, "unit 'na' is unknown", "1 nA"),
        ("25 hz", FREQUENCY, "unit 'hz' is unknown", "25 Hz"),
        ("40 ms", FREQUENCY, "'40 ms', a time", "25 Hz"),
        ("25 Hz", TIME, "'25 Hz', a rate", "40 ms"),
        ("20 e/A^2", DOSE_RATE, "'20 e/A^2', a dose", "20 e/A^2/s"),
        ("20 A/m^2", DOSE_RATE, "something else", "20 e/A^2/s"),
        ("5", VOLTAGE, "'5', a number without a unit", "5 V"),
        ("0", TIME, "'0', a number without a unit", "0 s"),
        ("5 Vs", VOLTAGE, "unit 'Vs' is unknown", "5 V"),
        ("5 kg", VOLTAGE, "unit 'kg' is unknown", ""),
        ("1,5 s", TIME, "'1,5 s'", ""),
        ("1_000 s", TIME, "'1_000 s'", ""),
        ("five volts", VOLTAGE, "'five volts'", ""),
        ("", VOLTAGE, "''", ""),
        ("nan V", VOLTAGE, "'nan V'", ""),
        ("1e400 V", VOLTAGE, "no finite number", ""),
        ("5 V^9^9^9", VOLTAGE, "is unknown", ""),
        ("5 9**9**9", VOLTAGE, "'5 9**9**9'", ""),
        ("5 V V V V V V V", VOLTAGE, "is unknown", "5 V"),
        ("x" * 500, VOLTAGE, "...'", ""),
    ],
)
def test_what_is_refused(text: str, kind: Kind, found: str, nearest: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_quantity(text, kind)
    assert found in caught.value.found
    assert len(caught.value.found) < 120
    assert caught.value.allowed.startswith(f"give {kind.name}, for example {kind.example!r}")
    assert caught.value.nearest == nearest


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(KINDS))
@settings(deadline=None)  # the first one imports pint
def test_what_is_written_is_read_back_to_the_last_bit(value: float, kind: Kind) -> None:
    assert parse_quantity(write_quantity(value, kind), kind) == value


@given(st.decimals(-999, 999, places=3), st.sampled_from(KINDS), st.data())
@settings(deadline=None)  # the first one imports pint
def test_every_unit_that_is_listed_is_understood(
    number: Decimal, kind: Kind, data: st.DataObject
) -> None:
    unit = data.draw(st.sampled_from(known_units(kind)))
    value = parse_quantity(f"{number} {unit}", kind)
    ratio = parse_quantity(f"1 {unit}", kind)
    assert value == pytest.approx(float(number) * ratio, rel=1e-12)


@given(st.sampled_from(KINDS), st.sampled_from(KINDS), st.data())
@settings(deadline=None)  # the first one imports pint
def test_a_unit_of_another_kind_is_always_refused(
    kind: Kind, other: Kind, data: st.DataObject
) -> None:
    unit = data.draw(st.sampled_from(known_units(other)))
    if other is kind:
        assert parse_quantity(f"1 {unit}", kind) > 0.0
        return
    with pytest.raises(QuantityError) as caught:
        parse_quantity(f"1 {unit}", kind)
    assert other.name in caught.value.found
    if caught.value.nearest:  # what is proposed would be taken
        parse_quantity(caught.value.nearest, kind)


@given(st.text(max_size=40), st.sampled_from(KINDS))
@settings(deadline=None)  # the first one imports pint
def test_any_text_is_a_quantity_or_refused(text: str, kind: Kind) -> None:
    value = 0.0
    try:
        value = parse_quantity(text, kind)
    except QuantityError as refusal:
        error: QuantityError | None = refusal
    else:
        error = None
    assert abs(value) < float("inf")
    assert error is None or kind.name in error.allowed
