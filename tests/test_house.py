"""One walk over all devices and all plans: the promises that every one of them makes."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from bluesky import protocols
from ophyd import Device, Signal
from ophyd.device import Kind

from stmtem_control import errors
from stmtem_control.public_plans import public_plans
from stmtem_control.session import Session

PLANS = list(public_plans().values())
PLAIN = (bool, int, float, str, type(None))
UNITS = {"V", "A", "S", "s", "Hz", "nm", "step", "counts", "m", "keV", "e/A^2", "e/A^2/s", "e/px"}


def signals(device: Device) -> Iterator[tuple[str, Signal]]:
    for item in device.walk_signals():
        yield item.dotted_name, item.item


def test_every_signal_says_what_it_is(session: Session) -> None:
    for device in session.devices.values():
        for dotted, signal in signals(device):
            name = f"{device.name}.{dotted}"
            key = signal.describe()[signal.name]
            assert signal.kind in Kind, name
            assert signal.kind != Kind.omitted, name
            component: Any = type(signal.parent)
            attribute = getattr(component, signal.attr_name)
            assert (attribute.doc or "").endswith("."), name
            assert key["source"], name
            if key["dtype"] == "number":
                assert key.get("units", "") in UNITS | {""}, name
            # Reading costs no exchange: it is the cached value, with its time.
            assert set(signal.read()[signal.name]) == {"value", "timestamp"}


def test_physical_quantities_have_units(session: Session) -> None:
    described = {
        name: key
        for device in session.devices.values()
        for name, key in {**device.describe(), **device.describe_configuration()}.items()
    }
    for name, unit in {
        "bias_voltage": "V",
        "bias_current": "A",
        "bias_setpoint": "V",
        "bias_compliance": "A",
        "probe_z_fine": "V",
        "probe_z_coarse": "step",
        "camera_exposure_s": "s",
        "camera_pixel_size_nm": "nm",
        "beam_dose_rate": "e/A^2/s",
    }.items():
        assert described[name]["units"] == unit


def test_devices_are_what_bluesky_asks_for(session: Session) -> None:
    for device in (session.bias, session.beam):
        for protocol in (protocols.Movable, protocols.Readable, protocols.Stageable):
            assert isinstance(device, protocol)
    for device in session.devices.values():
        assert isinstance(device, protocols.Stoppable)
        assert isinstance(device, protocols.Readable)
        assert json.dumps(list(device.describe()))
    assert isinstance(session.bias, protocols.Triggerable | protocols.Locatable)
    assert isinstance(session.bias, protocols.Pausable)
    camera = session.camera
    assert isinstance(camera, protocols.Flyable)
    assert isinstance(camera, protocols.EventPageCollectable)
    assert isinstance(camera, protocols.WritesExternalAssets)
    # With get_index, Bluesky would silently leave out the rows.
    assert not isinstance(camera, protocols.WritesStreamAssets)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: str(plan.__name__))
def test_a_queue_can_take_every_plan(plan: Any) -> None:
    """Typed parameters, literal defaults, and nothing that JSON does not know."""
    assert inspect.isgeneratorfunction(plan)
    parameters = inspect.signature(plan).parameters
    assert parameters["md"].default is None
    for name, parameter in parameters.items():
        assert parameter.annotation is not inspect.Parameter.empty, name
        assert not isinstance(parameter.annotation, str), name
        if parameter.default is not inspect.Parameter.empty:
            default = parameter.default
            for value in default if isinstance(default, tuple) else (default,):
                assert isinstance(value, PLAIN), name
            assert ast.literal_eval(repr(default)) == default
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, name


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: str(plan.__name__))
def test_every_parameter_of_a_plan_is_explained(plan: Any) -> None:
    text = inspect.getdoc(plan) or ""
    section = text.partition("Parameters\n----------\n")[2].partition("Raises\n------")[0]
    explained = {
        name.strip()
        for line in re.findall(r"^(\S.*?) : ", section, re.MULTILINE)
        for name in line.split(",")
    }
    assert explained == set(inspect.signature(plan).parameters)
    assert "LimitError" in text
    for name in inspect.signature(plan).parameters:
        if re.search(r"_(V|A|s|Hz)$", name):
            unit = name.rsplit("_", 1)[1]
            assert re.search(rf"in {unit}\b|in s of|Of the camera", section), name


def test_every_error_is_of_the_family_and_a_builtin() -> None:
    family = [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.StmTemError)
    ]
    assert len(family) > 8
    for kind in family:
        if kind is errors.StmTemError:
            continue
        refined = [base for base in kind.__mro__ if base.__module__ == "builtins"]
        assert len(set(refined) - {object, BaseException, Exception}) > 0, kind
        assert kind.__doc__
