"""The [interlocks] table: defaults, bounds, and one interlock switched off by itself."""

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.config import load_station, parse_station
from stmtem_control.errors import ConfigError
from stmtem_control.interlock_table import InterlocksTable

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "station-file.md"


def station(**keys: Any) -> Any:
    raw = tomllib.loads(load_station("sim").to_toml())
    raw["interlocks"] = keys
    return parse_station(raw, "station file lab.toml")


def test_defaults_hold_without_the_table() -> None:
    table = load_station("sim").interlocks
    assert table.limit("short_A") == 5e-9
    assert table == InterlocksTable()


def test_one_is_switched_off_and_stays_off_in_the_run_folder() -> None:
    lab = station(short_A="off", compliance_s=2)
    assert lab.interlocks.limit("short_A") == math.inf
    assert lab.interlocks.limit("compliance_s") == 2.0
    assert lab.interlocks.limit("stale_s") == InterlocksTable().limit("stale_s")
    again = parse_station(tomllib.loads(lab.to_toml()), "a run's station.toml")
    assert again.interlocks == lab.interlocks


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"short_A": "of"}, "[interlocks] short_A is 'of'; give a number, or \"off\""),
        ({"short_A": True}, "short_A is True; give a number"),
        ({"short_A": 1.0}, 'short_A is 1; give 1e-12 to 0.1, or "off"'),
        ({"stale_s": math.nan}, "stale_s is nan; give 0.1 to 600"),
        ({"settle_s": "off"}, "settle_s cannot be off; give 0 to 10"),
        ({"shortA": 1e-9}, "did you mean 'short_A'"),
    ],
)
def test_what_cannot_be_meant_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        station(**keys)
    assert words in str(caught.value)
    assert str(caught.value).startswith("station file lab.toml: [interlocks]")


def test_every_key_is_described_and_its_default_is_allowed() -> None:
    for key, field in InterlocksTable.model_fields.items():
        assert field.description, key
        extra: Any = field.json_schema_extra
        assert extra["low"] <= field.default <= extra["high"], key
