"""What stands in for signals and devices: state, limits, and how long an answer takes.

A message of a plan is carried out by a method of the same name, which changes the state and returns
for how many station seconds it goes on; :mod:`.walk` lets them pass.
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

Apply = Callable[[Any], float]


class SignalStandIn:
    """A value with a name, as a plan reads and sets it.

    Parameters
    ----------
    name : str
        As the real one has it.
    value : float, int, bool or str
    check : callable, optional
        Raises LimitError when a value may not be set.
    apply : callable, optional
        Takes the value that was set, and returns the station seconds that takes.
    """

    parent = None

    def __init__(
        self,
        name: str,
        value: Any = 0.0,
        *,
        check: Callable[[Any], None] | None = None,
        apply: Apply | None = None,
    ) -> None:
        self.name = name
        self.value = value
        self._check = check
        self._apply = apply
        self.limits = (0.0, 0.0)  # none, as ophyd has it

    def get(self) -> Any:
        """Return the value."""
        return self.value

    def publish(self, value: Any) -> None:
        """Take a value."""
        self.value = value

    def check_value(self, value: Any, **_: Any) -> None:
        """Raise LimitError when a value may not be set."""
        if self._check is not None:
            self._check(value)

    def set(self, value: Any, **_: Any) -> float:
        """Take a value; return the station seconds that takes."""
        seconds = 0.0 if self._apply is None else self._apply(value)
        self.value = value
        return seconds

    def reading(self) -> dict[str, Any]:
        """Return the value, with a time that says nothing."""
        return {"value": self.value, "timestamp": 0.0}

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the value, as Bluesky reads it."""
        return {self.name: {"value": self.value, "timestamp": 0.0}}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return what it is, as Bluesky describes it."""
        return {self.name: {"source": "estimate", "dtype": "number", "shape": []}}


class DeviceStandIn:
    """What all stand-ins of devices have in common: nothing happens, and takes no time."""

    parent = None
    unsafe: str | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self) -> Mapping[str, dict[str, Any]]:
        """Return nothing: no exchange with an instrument."""
        return {}

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return nothing."""
        return {}

    def stop(self, *, success: bool = True) -> float:
        """Come to rest; return the station seconds that takes."""
        return 0.0

    def stage(self) -> float:
        """Do nothing."""
        return 0.0

    def unstage(self) -> float:
        """Come to rest."""
        return self.stop()


def signals(name: str, **values: Any) -> Any:
    """Return some signals by attribute, as below a device: ``baseline``, ``step_size``."""
    return SimpleNamespace(
        **{key: SignalStandIn(f"{name}_{key}", value) for key, value in values.items()}
    )
