"""The faults of the matrix: all that the bench can have, each at the next exchange or at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from stmtem_control.simulators.fault_kinds import KINDS

__all__ = ["FAULTS", "Injected"]

#: By what a person calls the part that has the fault.
_NAMES: Final = {
    "bias_source": ("bias",),
    "probe": ("probe",),
    "camera": ("camera",),
    "camera_data": ("camera",),
    "specimen": (),
    "beam": (),
}
#: What cannot be made safe while the fault lasts, whoever tries.
_BEYOND: Final = {"blanker_stuck": ("beam blanked",)}


@dataclass(frozen=True)
class Injected:
    """A fault, as the bench takes it, and what it excuses.

    Attributes
    ----------
    text : str
        Of the fault.
    names : tuple of str
        One of these must be in what the person is told, if the fault ends the run.
    beyond : tuple of str
        Parts of the bench's safe state that nobody can bring about while it lasts.
    """

    text: str
    names: tuple[str, ...]
    beyond: tuple[str, ...] = ()


#: By the name in the table.
FAULTS: Final[Mapping[str, Injected]] = MappingProxyType(
    {
        f"{where}:{kind.name}": Injected(
            f"{where}:{kind.name}", _NAMES[where], _BEYOND.get(kind.name, ())
        )
        for kind in KINDS.values()
        for where in kind.where
    }
)
