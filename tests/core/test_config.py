"""Station files: what is accepted, and what a mistake is told."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.config import load_station, packaged_stations, parse_station
from stmtem_control.errors import ConfigError


@pytest.mark.parametrize("name", packaged_stations())
def test_packaged_stations_load_and_survive_being_written(name: str) -> None:
    station = load_station(name)
    again = parse_station(tomllib.loads(station.to_toml()), "again")
    assert again == station


def sim() -> dict[str, Any]:
    return load_station("sim").model_dump(mode="json", exclude_none=True)


def broken(change: dict[str, Any]) -> str:
    raw = sim()
    for place, value in change.items():
        table, _, key = place.partition(".")
        if key:
            raw[table][key] = value
        elif value is None:
            del raw[table]
        else:
            raw[table] = value
    with pytest.raises(ConfigError) as caught:
        parse_station(raw, "station file lab.toml")
    message = str(caught.value)
    assert message.startswith("station file lab.toml: ")
    assert "\n" not in message
    return message


def test_a_mistyped_limit_is_refused_with_the_nearest_key() -> None:
    assert "[bias_source] max_bais_V: unknown key; did you mean 'max_bias_V'?" in broken(
        {"bias_source.max_bais_V": 5.0}
    )


def test_a_mistyped_table_is_refused_with_the_nearest_table() -> None:
    assert "did you mean 'beam'?" in broken({"beem": {"line": 1}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bias_source.max_bias_V": -1}, "[bias_source] max_bias_V"),
        ({"bias_source.compliance_A": float("nan")}, "[bias_source] compliance_A"),
        ({"bias_source.driver": "keithly"}, "[bias_source] driver"),
        ({"probe.axes": [1, 1, 2]}, "three different axis numbers"),
        ({"beam.line": 9}, "[beam] line"),
        ({"beam.calibrated": "yesterday"}, "[beam] calibrated"),
        ({"camera.pixel_size_nm": 0}, "[camera] pixel_size_nm"),
        ({"bench": None}, "the file has no [bench] table"),
        ({"probe": None}, "[probe]: missing"),
    ],
)
def test_a_bad_value_is_named_with_its_place(change: dict[str, Any], words: str) -> None:
    assert words in broken(change)


def test_a_missing_file_lists_the_packaged_stations(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*example_lab, sim"):
        load_station(tmp_path / "none.toml")


def test_text_that_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text("[station]\nname = \n")
    with pytest.raises(ConfigError, match=r"lab\.toml: .*line 2"):
        load_station(path)


def test_the_field_of_view_stays_when_the_image_size_changes() -> None:
    small = load_station("sim").with_bench(size=256)
    assert small.camera.pixel_size_nm == pytest.approx(4.0)
    assert load_station("sim").camera.pixel_size_nm == pytest.approx(2.0)


def test_another_source_model_is_expected_too() -> None:
    assert load_station("sim").with_bench(model="2400").bias_source.model == "2400"


def test_only_a_simulated_station_has_a_speed() -> None:
    with pytest.raises(ConfigError, match="not simulated"):
        load_station("example_lab").with_bench(speed=2.0)
