"""The rows of frames against a slow reading of the rules, one frame at a time."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmtem_control.recording.columns import COLUMNS
from stmtem_control.recording.edges import bias_edges
from stmtem_control.recording.facts import FrameFacts
from stmtem_control.recording.rows import build_rows, parse_row, row_json
from stmtem_control.recording.site_dose import SiteDose
from stmtem_control.timeline import Timeline

RATE = 20.0
SITE = SiteDose(prior_e_per_A2=55.5, pixel_size_nm=2.0, calibrated_unix_s=900.0)
Entries = list[tuple[float, Any, float]]


class Clock:
    """Unix time is the host's time and a thousand seconds."""

    def unix_time(self, monotonic_s: float) -> float:
        return 1000.0 + monotonic_s


def facts(
    start: float,
    exposure: float = 0.04,
    period: float = 0.05,
    *,
    uncertainty: float = 0.0,
    number: int = 0,
) -> FrameFacts:
    return FrameFacts(
        number=number,
        sequence=number + 1,
        dropped_before=0,
        camera_time_s=1.795e9 + start,
        host_monotonic_s=50.0 + start + exposure,
        start_s=start,
        uncertainty_s=uncertainty,
        time_source="start",
        exposure_s=exposure,
        period_s=period,
        mean_counts=12.5,
    )


def rows_of(line: Timeline, *frames: FrameFacts) -> list[dict[str, Any]]:
    return build_rows(line, frames, dose_rate_e_per_A2_s=RATE, clock=Clock(), site=SITE)


# The rules, written as one would say them


def held(entries: Entries, t: float, unknown: Any) -> Any:
    before = [entry for entry in entries if entry[0] <= t]
    return before[-1][1] if before else unknown


def inside(entries: Entries, start: float, end: float) -> list[Any]:
    return [value for t, value, _ in entries if start < t <= end]


def mean_and_std(
    entries: Entries, bias: Entries, since: float, start: float, middle: float, end: float
) -> tuple[float, float, int]:
    read = inside(entries, start, end)
    if not read:
        before = [entry for entry in entries if since <= entry[0] <= start]
        levels = [
            (t, level, held(bias[:place], t, None)) for place, (t, level, _) in enumerate(bias)
        ]
        changes = [t for t, level, earlier in levels if level != earlier]
        if not before or any(before[-1][0] < t <= middle for t in changes):
            return math.nan, math.nan, 0
        return before[-1][1], math.nan, 0
    mean = sum(read) / len(read)
    if len(read) < 2:
        return mean, math.nan, 1
    return mean, math.sqrt(sum((x - mean) ** 2 for x in read) / (len(read) - 1)), len(read)


def lit_s(entries: Entries, start: float, end: float) -> float:
    """Return the seconds of [start, end] in which the beam was not blanked."""
    if end < start:
        return -lit_s(entries, end, start)
    borders = [start, *sorted(t for t, _, _ in entries if start < t < end), end]
    pieces = itertools.pairwise(borders)
    return sum(b - a for a, b in pieces if not held(entries, a, False))


def slow_row(known: dict[str, Entries], run_start: float, frame: FrameFacts) -> dict[str, Any]:
    entries = {name: sorted(found, key=lambda e: e[0]) for name, found in known.items()}
    start, end = frame.start_s, frame.start_s + frame.exposure_s
    middle = start + 0.5 * frame.exposure_s
    bias, dark = entries["bias_set_V"], entries["blanked"]
    since = run_start if start >= run_start else -math.inf
    voltage, voltage_std, _ = mean_and_std(entries["voltage_V"], bias, since, start, middle, end)
    current, current_std, n = mean_and_std(entries["current_A"], bias, since, start, middle, end)
    recent = [entry for entry in entries["compliance"] if entry[0] >= since]
    limited = inside(entries["compliance"], start, end)
    return {
        "frame": frame.number,
        "sequence": frame.sequence,
        "dropped_before": frame.dropped_before,
        "camera_time_s": frame.camera_time_s,
        "host_monotonic_s": frame.host_monotonic_s,
        "host_time_s": 1000.0 + frame.host_monotonic_s,
        "run_time_s": start - run_start,
        "time_uncertainty_s": frame.uncertainty_s,
        "time_source": frame.time_source,
        "exposure_s": frame.exposure_s,
        "phase": held(entries["phase"], middle, ""),
        "cycle": held(entries["cycle"], middle, 0),
        "bias_set_V": held(bias, middle, math.nan),
        "voltage_V": voltage,
        "voltage_std_V": voltage_std,
        "current_A": current,
        "current_std_A": current_std,
        "n_readings": n,
        "compliance": any(limited) if limited else held(recent, start, False),
        "probe_x_V": held(entries["probe_x_V"], middle, math.nan),
        "probe_y_V": math.nan,
        "probe_z_V": math.nan,
        "probe_z_steps": held(entries["probe_z_steps"], middle, 0),
        "blanked": held(dark, middle, False),
        "dose_rate_e_per_A2_s": RATE,
        "dose_e_per_A2": RATE * lit_s(dark, start, end),
        "total_dose_e_per_A2": RATE * lit_s(dark, run_start, end),
        "dose_e_per_px": RATE * lit_s(dark, start, end) * 400.0,
        "prior_dose_e_per_A2": held(entries["prior_dose_e_per_A2"], middle, 55.5),
        "calibration_age_s": round(100.0 + frame.host_monotonic_s, 3),
        "mean_counts": frame.mean_counts,
        "mode": held(entries["mode"], middle, "imaging"),
        "camera_length_m": held(entries["camera_length_m"], middle, math.nan) or math.nan,
        "site": held(entries["site"], middle, ""),
        "beam_energy_keV": math.nan,
    }


# Multiples of a power of two, so that times meet exactly, and often.
moments = st.integers(0, 256).map(lambda i: i / 64.0)
doubts = st.sampled_from([0.0, 1 / 64.0, 1 / 16.0])


def channel(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Entries]:
    return st.lists(st.tuples(moments, values, doubts), max_size=25, unique_by=lambda e: e[0])


numbers = st.integers(-8, 8).map(float)
histories = st.fixed_dictionaries(
    {
        "bias_set_V": channel(st.sampled_from([-5.0, 0.0, 5.0])),
        "voltage_V": channel(numbers),
        "current_A": channel(numbers),
        "compliance": channel(st.booleans()),
        "phase": channel(st.sampled_from(["deposit", "strip"])),
        "cycle": channel(st.integers(1, 9)),
        "blanked": channel(st.booleans()),
        "probe_x_V": channel(numbers),
        "probe_z_steps": channel(st.integers(-9, 9)),
        "mode": channel(st.sampled_from(["imaging", "survey", "diffraction"])),
        "site": channel(st.sampled_from(["fibre 1", "fibre 2"])),
        "prior_dose_e_per_A2": channel(numbers),
        "camera_length_m": channel(st.sampled_from([0.0, 0.5])),
    }
)
frames = st.lists(
    st.builds(
        facts,
        moments,
        st.sampled_from([0.0, 1 / 64.0, 1 / 8.0, 1.0]),
        st.sampled_from([1 / 64.0, 1 / 8.0, 1.0]),
        uncertainty=st.sampled_from([0.0, 1 / 64.0, 1 / 4.0, math.nan]),
    ),
    min_size=1,
    max_size=8,
)


@given(histories, frames, moments)
def test_rows_are_those_of_the_rules(
    known: dict[str, Entries], batch: Sequence[FrameFacts], run_start: float
) -> None:
    line = Timeline()
    line.start_run(run_start)
    for name, entries in known.items():
        for t, value, sure in entries:
            line.record(name, t, value, sure)
    found = rows_of(line, *batch)
    assert [list(row) for row in found] == [[c.name for c in COLUMNS]] * len(batch)
    for row, frame in zip(found, batch, strict=True):
        expected = slow_row(known, run_start, frame)
        for column in COLUMNS:
            name = column.name
            if name == "bias_edge":
                continue  # below
            assert type(row[name]) is column.kind, name
            if column.kind is float:
                assert row[name] == pytest.approx(expected[name], abs=2e-9, nan_ok=True), name
            else:
                assert row[name] == expected[name], name
    # One at a time they are the same: nothing depends on which frames come together.
    for row, frame in zip(found, batch, strict=True):
        (alone,) = rows_of(line, frame)
        assert row_json({**alone, "bias_edge": ""}, True) == row_json(
            {**row, "bias_edge": ""}, True
        )


def test_a_reading_holds_while_the_bias_is_set_to_the_same_again() -> None:
    line = Timeline()
    for t, level in ((0.0, -5.0), (2.0, -5.0), (4.0, 5.0)):
        line.record("bias_set_V", t, level)
    line.record("current_A", 1.0, -3e-12)
    same, changed = rows_of(line, facts(3.0, 0.5, 0.5), facts(5.0, 0.5, 0.5))
    assert (same["current_A"], same["n_readings"]) == (-3e-12, 0)
    assert math.isnan(changed["current_A"])


def test_what_a_trigger_told_of_the_run_before_marks_no_frame_of_this_one() -> None:
    line = Timeline()
    for t, level, frame in ((9.5, -5.0, 0), (9.6, 0.0, 2), (10.1, 5.0, 1)):
        line.record("bias_set_V", t, level)
        line.record("bias_edge_frame", t, frame)
    line.start_run(10.0)
    batch = [facts(10.0 + 0.05 * n, number=n) for n in range(4)]
    assert [row["bias_edge"] for row in rows_of(line, *batch)] == ["", "edge", "", ""]


@given(
    channel(st.sampled_from([-5.0, 0.0, 5.0])),
    st.lists(st.tuples(moments, st.sampled_from([0.0, 1 / 64.0, 1 / 4.0])), max_size=9),
    st.booleans(),
)
def test_edges_are_those_of_the_rule_however_long_the_history(
    levels: Entries, places: list[tuple[float, float]], cut: bool
) -> None:
    """Only what is near is looked at; the rule itself is tested where it is written."""
    line = Timeline()
    for t, value, sure in levels:
        line.record("bias_set_V", t, value, sure)
        line.record("bias_set_V", t - 1000.0, -value, sure)
    batch = [
        replace(
            facts(t, 1 / 32.0, 1 / 16.0, uncertainty=unsure, number=i), sequence=i if cut else 2 * i
        )
        for i, (t, unsure) in enumerate(sorted(places))
    ]
    following = None
    if cut and batch:
        following = replace(batch[-1], start_s=batch[-1].start_s + 0.5, number=99)
        following = replace(following, sequence=batch[-1].sequence + 1)
    expected = bias_edges(line, batch, following=following)
    found = build_rows(
        line, batch, dose_rate_e_per_A2_s=RATE, clock=Clock(), following=following, site=SITE
    )
    assert [row["bias_edge"] for row in found] == expected


def test_a_reading_stands_in_until_the_bias_is_set_or_a_run_begins() -> None:
    line = Timeline()
    line.record("bias_set_V", 0.0, 0.5)
    line.record("current_A", 1.0, 2.5e-11)
    line.record("compliance", 1.0, True)
    line.start_run(1.5)
    line.record("bias_set_V", 2.9, -5.0)
    line.record("current_A", 3.5, -2.5e-10)
    line.record("compliance", 3.5, False)
    for start, current, n, limited in (
        (0.98, 2.5e-11, 1, True),
        (1.2, 2.5e-11, 0, True),  # of the look-back
        (1.5, math.nan, 0, False),  # the run before may have ended with another sample
        (2.87, math.nan, 0, False),
        (3.48, -2.5e-10, 1, False),
        (4.0, -2.5e-10, 0, False),
    ):
        (row,) = rows_of(line, facts(start))
        assert row["current_A"] == pytest.approx(current, abs=0.0, nan_ok=True), start
        assert (row["n_readings"], row["compliance"]) == (n, limited), start
    line.record("current_A", 2.0, 1e-12)
    for start, current in ((2.5, 1e-12), (2.875, 1e-12), (2.8999, math.nan), (3.0, math.nan)):
        (row,) = rows_of(line, facts(start))
        assert row["current_A"] == pytest.approx(current, abs=0.0, nan_ok=True), start


def test_a_guess_at_a_time_makes_near_edges_ambiguous() -> None:
    line = Timeline()
    for t, volts in ((0.0, 0.0), (10.0, -5.0), (20.0, 5.0)):
        line.record("bias_set_V", t, volts)
    for t, verdict in ((10.7, "ambiguous"), (9.3, "ambiguous"), (12.0, ""), (18.0, "")):
        (row,) = rows_of(line, facts(t, uncertainty=math.nan))
        assert row["bias_edge"] == verdict, t
    (row,) = rows_of(line, facts(9.98, uncertainty=0.01))
    assert row["bias_edge"] == "edge"


def test_a_trigger_names_the_frame() -> None:
    line = Timeline()
    line.record("bias_set_V", 0.0, 0.0)
    line.record("bias_set_V", 1.0, -5.0, 0.01)
    line.record("bias_edge_frame", 1.0, 7)
    rows = rows_of(line, facts(0.99, number=6), replace(facts(1.04, number=7), sequence=8))
    assert [row["bias_edge"] for row in rows] == ["", "edge"]


def test_no_frames_make_no_rows() -> None:
    assert rows_of(Timeline()) == []


def test_a_row_survives_its_page() -> None:
    line = Timeline()
    line.record("phase", 0.0, 'déposition "1"')
    (row,) = rows_of(line, facts(1.0, uncertainty=math.nan))
    for settled in (True, False):
        text = row_json(row, settled)
        assert b"NaN" not in text
        assert b"\n" not in text
        again, told = parse_row(text)
        assert told is settled
        assert list(again) == list(row)
        assert repr(again) == repr(row)
    assert parse_row(row_json(row, True).decode())[0]["phase"] == 'déposition "1"'


@pytest.mark.parametrize("text", ["", "3", "[]", "{}", '{"frame": 1}', '{"frame": 1, "sett'])
def test_what_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no row of the table"):
        parse_row(text)
