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
#: What nobody can make safe while the fault lasts.  A source that does not hear keeps its level and
#: its lines; that it switches the output off by itself is asked for all the same.
_DEAF: Final = ("bias 0 V", "output off", "beam blanked")
_BEYOND: Final = {
    "beam:blanker_stuck": ("beam blanked",),
    "bias_source:silence": _DEAF,
    "bias_source:refuse": _DEAF,
    "bias_source:reboot": _DEAF,
}


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
        Parts of the bench's safe state that no order can bring about while it lasts.
    """

    text: str
    names: tuple[str, ...]
    beyond: tuple[str, ...] = ()


#: By the name in the table.
FAULTS: Final[Mapping[str, Injected]] = MappingProxyType(
    {
        f"{where}:{kind.name}": Injected(
            f"{where}:{kind.name}",
            () if kind.strikes == "reading" else _NAMES[where],
            _BEYOND.get(f"{where}:{kind.name}", ()),
        )
        for kind in KINDS.values()
        for where in kind.where
    }
)
