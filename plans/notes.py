"""What a plan has found out, as a readable thing: so that it stands in an event of its run."""

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

DTYPES: Final[Mapping[type, str]] = {
    float: "number",
    int: "integer",
    bool: "boolean",
    str: "string",
}


class Fact(NamedTuple):
    """What one value is: its first value (and with it the type), its unit, a sentence on it."""

    value: Any
    unit: str
    about: str


class Notes:
    """Named values that a plan writes and that Bluesky can read; their keys begin with the name.

    Parameters
    ----------
    name : str
        Of the whole.
    facts : mapping of str to Fact
        The values by name, in order.
    """

    parent = None

    def __init__(self, name: str, facts: Mapping[str, Fact]) -> None:
        self.name = name
        self._facts = facts
        self._values = {key: fact.value for key, fact in facts.items()}
        self._keys = {key: f"{name}_{key}" for key in facts}

    def write(self, **values: Any) -> None:
        """Take new values.

        Raises
        ------
        KeyError
            There is no value of this name.
        """
        for key, value in values.items():
            self._values[key] = type(self._facts[key].value)(value)

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(self._values)

    def read(self) -> dict[str, Any]:
        """Return the values, as Bluesky reads a device."""
        now = time.time()
        return {
            self._keys[key]: {"value": value, "timestamp": now}
            for key, value in self._values.items()
        }

    def describe(self) -> dict[str, Any]:
        """Return type, unit and meaning of each value, as Bluesky describes a device."""
        keys: dict[str, Any] = {}
        for key, fact in self._facts.items():
            described = {
                "source": f"plan:{self.name}.{key}",
                "dtype": DTYPES[type(fact.value)],
                "shape": [],
                "about": fact.about,
            }
            if fact.unit:
                described["units"] = fact.unit
            keys[f"{self.name}_{key}"] = described
        return keys
