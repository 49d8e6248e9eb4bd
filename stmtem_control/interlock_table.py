"""The ``[interlocks]`` table of a station file: when the station stops by itself.

Every threshold has a default, and can be switched off by itself with ``"off"``.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainValidator, model_validator

from .station_tables import Table

OFF = "off"


def _number_or_off(value: object) -> object:
    """Return a number as it is, or "off"."""
    if value == OFF and isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f'is {value!r}; give a number, or "{OFF}"')
    return float(value)


Threshold = Annotated[float | Literal["off"], PlainValidator(_number_or_off)]
Value = Annotated[float, PlainValidator(_number_or_off)]


def _key(default: float, low: float, high: float, about: str, *, off: bool = True) -> Any:
    """Return a field with its default, its bounds, and what it means."""
    bounds: dict[str, Any] = {"low": low, "high": high, "off": off}
    return Field(default, description=about, json_schema_extra=bounds)


class InterlocksTable(Table):
    """``[interlocks]``: what is too much, too long or too late.

    Times of the sample (holds, compliance, contact) are station seconds; times of the host, the
    links and the camera are wall seconds.  On hardware both are the same.
    """

    # The guard itself
    watch_s: Value = _key(
        0.1, 0.01, 10.0, "the guard reads by itself when nobody has read for so long", off=False
    )
    # What a commanded step does to the current
    settle_s: Value = _key(
        0.1, 0.0, 10.0, "after a bias step no reading is judged for so long", off=False
    )
    holder_pF: Value = _key(  # noqa: N815
        100.0, 0.0, 1e5, "charged by a step at the compliance, which is waited for, too", off=False
    )
    # Short
    short_A: Threshold = _key(5e-9, 1e-12, 0.1, "current that means a short")
    short_readings: Value = _key(
        2.0, 1, 100, "readings in a row that must say so, unless the source limits", off=False
    )
    short_A_per_s: Threshold = _key(1e-7, 1e-12, 1e3, "rise of the current that means a short")
    # Compliance
    compliance_s: Threshold = _key(0.5, 0.01, 3600.0, "longest time in compliance")
    # At the small bias of an approach, the plan itself reacts first
    approach_V: Value = _key(
        1.0, 0.0, 210.0, "up to this bias the source probes for contact and nothing more", off=False
    )
    approach_hold_s: Threshold = _key(
        5.0, 0.1, 3600.0, "up to approach_V: longest time over short_A or in compliance"
    )
    overshoot_A: Threshold = _key(
        5e-9, 1e-12, 0.1, "current that stops the probe while it steps towards the fibre"
    )
    # Contact
    contact_A: Value = _key(
        1e-11, 1e-15, 0.1, "current over the leak that means contact", off=False
    )
    contact_lost_s: Threshold = _key(
        2.0, 0.1, 3600.0, "longest time without contact in a deposition that had it"
    )
    open_circuit_s: Threshold = _key(
        10.0, 0.1, 3600.0, "longest time without contact from the start of a deposition"
    )
    # Probe
    probe_look_s: Threshold = _key(
        1.0, 0.1, 60.0, "how often an axis at rest is looked at, for what it does unbidden"
    )
    # Readings and links
    wrong_readings: Threshold = _key(3.0, 1, 1000, "wrong readings in a row that are too many")
    mismatch_V: Threshold = _key(
        0.2, 1e-4, 210.0, "how far the voltage may be from its setpoint, not in compliance"
    )
    stale_s: Threshold = _key(3.0, 0.1, 600.0, "longest time without a reading, output on")
    link_timeouts: Threshold = _key(3.0, 1, 100, "readings in a row that timed out")
    # Camera
    camera_silent_s: Threshold = _key(
        4.0, 0.1, 600.0, "longest time without a frame, and at least ten periods"
    )
    lost_share: Threshold = _key(0.25, 0.001, 1.0, "share of the last 100 frames that were lost")
    # Computer
    disk_free_GB: Threshold = _key(  # noqa: N815
        0.2, 0.001, 1e6, "room that must be left on the disk while frames are taken"
    )
    disk_left_s: Threshold = _key(
        10.0, 0.1, 86_400.0, "seconds that this room must last at the present rate"
    )
    clock_jump_s: Threshold = _key(
        2.0, 0.01, 3600.0, "step of the computer's clock, or its sleep, that is too long"
    )

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for name, field in type(self).model_fields.items():
            value, bounds = getattr(self, name), field.json_schema_extra
            assert isinstance(bounds, dict)
            low, high, off = bounds["low"], bounds["high"], bounds["off"]
            or_off = f', or "{OFF}"' if off else ""
            if value == OFF:
                if not off:
                    raise ValueError(f"{name} cannot be off; give {low:g} to {high:g}")
            elif not low <= value <= high:  # NaN, too
                raise ValueError(f"{name} is {value:g}; give {low:g} to {high:g}{or_off}")
        return self

    def limit(self, key: str) -> float:
        """Return a threshold as a number; infinite when it is off."""
        value = getattr(self, key)
        return float("inf") if value == OFF else float(value)
