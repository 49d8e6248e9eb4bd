"""The list of plans and devices that ships, and the plans as a queue sees them."""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stmtem_control import plans
from stmtem_control.config import Station, load_station
from stmtem_control.connect import describe
from stmtem_control.errors import TransportError
from stmtem_control.public_plans import public_plans

from .conftest import WITHOUT

pytest.importorskip("bluesky_queueserver", reason=WITHOUT)

import yaml
from bluesky_queueserver import validate_plan

from stmtem_control.queueserver.command import PERMISSIONS, PLANS, packaged
from stmtem_control.queueserver.functions import functions
from stmtem_control.queueserver.queued import BOUND, queued_plans

DEVICES = ("bias", "probe", "camera", "beam", "alignment")


@pytest.fixture(scope="module")
def shipped() -> Any:
    return yaml.safe_load(packaged(PLANS).read_text("utf-8"))


@pytest.fixture
def described() -> Iterator[dict[str, Any]]:
    with ExitStack() as opened:
        yield describe(load_station("sim"), opened)


@pytest.mark.timeout(120)
def test_the_list_that_ships_is_what_the_queue_server_finds(shipped: Any, tmp_path: Path) -> None:
    """If this fails, write it anew: make queue-list."""
    tool = Path(sys.executable).with_name("qserver-list-plans-devices")
    done = subprocess.run(
        [tool, "--startup-module", "stmtem_control.queueserver.startup",
         "--file-dir", tmp_path, "--file-name", PLANS],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = tmp_path / PLANS
    assert found.exists(), done.stdout + done.stderr
    assert yaml.safe_load(found.read_text("utf-8")) == shipped


def test_every_public_plan_is_there_and_typed(shipped: Any) -> None:
    listed = shipped["existing_plans"]
    assert {"deposit", "follow_protocol", "make_safe", "count"} <= set(listed)
    assert set(public_plans()) <= set(listed)
    assert set(shipped["existing_devices"]) == set(DEVICES)
    for name in public_plans():
        for parameter in listed[name]["parameters"]:
            assert "annotation" in parameter, (name, parameter["name"])
            if parameter["name"] in DEVICES:
                assert [parameter["name"]] in parameter["annotation"]["devices"].values()
            elif parameter["annotation"]["type"] in ("int", "float"):
                assert "min" in parameter, (name, parameter["name"])


def test_what_cannot_be_is_refused_before_it_is_queued(shipped: Any) -> None:
    def accepted(name: str, *args: Any, **kwargs: Any) -> bool:
        plan = {"name": name, "args": args, "kwargs": kwargs, "user_group": "primary"}
        return bool(
            validate_plan(
                plan,
                allowed_plans=shipped["existing_plans"],
                allowed_devices=shipped["existing_devices"],
            )[0]
        )

    assert accepted("deposit", bias_V=-5, duration_s=34.0)
    assert accepted("deposit", "bias", "camera", "beam")
    assert accepted("follow_protocol", "protocols/nucleation_burst.yaml")
    assert accepted("follow_protocol", {"name": "as JSON", "steps": []})
    assert accepted("beam_blocked_control", conditions=["blanked", "beam_on"])
    assert not accepted("deposit", bias_V=-10.5)
    assert not accepted("deposit", bias_V=0.5)
    assert not accepted("strip", bias_V=-0.5)
    assert not accepted("deposit", bias="camera")
    assert not accepted("deposit", bias_V="five")
    assert not accepted("deposition_stripping_cycles", cycles=0)
    assert not accepted("deposition_stripping_cycles", cycles=10_001)
    assert not accepted("triggered_cycles", master="nobody")
    assert not accepted("beam_blocked_control", conditions=["sideways"])
    assert not accepted("follow_protocol")


def test_the_limits_are_those_of_the_station(described: dict[str, Any]) -> None:
    raw = load_station("sim").model_dump(mode="json", exclude_none=True)
    raw["bias_source"]["max_bias_V"] = 3.0
    made = queued_plans(Station.model_validate(raw), described, dict.fromkeys(BOUND))
    about: Any = made["strip"]
    assert about._custom_parameter_annotation_["parameters"]["bias_V"] == {"min": 0, "max": 3.0}


def test_a_queued_plan_is_the_plan_with_the_stations_devices(described: dict[str, Any]) -> None:
    made = queued_plans(load_station("sim"), described, dict.fromkeys(BOUND))["retract"]
    assert inspect.isgeneratorfunction(made)
    assert made.__doc__ == plans.retract.__doc__
    assert list(inspect.signature(made).parameters) == ["probe", "bias", "beam", "steps", "md"]
    message = next(made(steps=2))
    assert message.obj in (described["bias"], described["beam"])
    with pytest.raises(TypeError, match="unexpected"):
        next(made(stepz=2))


def test_a_described_device_reaches_no_instrument(described: dict[str, Any]) -> None:
    with pytest.raises(TransportError, match="only described"):
        described["bias"].source.open().result(5.0)


def test_the_permissions_allow_the_functions_that_there_are() -> None:
    groups = yaml.safe_load(packaged(PERMISSIONS).read_text("utf-8"))["user_groups"]
    there: Any = functions(None, None)  # type: ignore[arg-type]
    assert set(groups["primary"]["allowed_functions"]) == set(there)
    assert set(groups["observer"]["allowed_functions"]) < set(there)
    assert "all_off" in groups["observer"]["allowed_functions"]
