"""The faults of the matrix: all that the bench can have, each at the next exchange or at once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from stmtem_control.simulators.fault_kinds import KINDS

__all__ = ["FAULTS", "REFUSED", "Injected", "injected"]

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
    "bias_source:reboot": _DEAF,
}

#: What the same is true of as soon as nobody is connected: who is stays so, and is heard.
REFUSED: Final = "bias_source:refuse"

#: They only make it slow, however often they strike.
_SLOW: Final = ("bias_source:delay", "bias_source:drip")


@dataclass(frozen=True)
class Injected:
    """A fault, as the bench takes it, and what it excuses.

    Attributes
    ----------
    names : tuple of str
        One of these must be in what the person is told, if the fault ends the run.
    repeats : bool
        Whether it may strike several times.
    beyond : tuple of str
        Parts of the bench's safe state that no order can bring about while it lasts.
    """

    names: tuple[str, ...]
    repeats: bool
    beyond: tuple[str, ...] = ()


#: By the name in the table.
FAULTS: Final[Mapping[str, Injected]] = MappingProxyType(
    {
        f"{where}:{kind.name}": Injected(
            () if kind.strikes == "reading" else _NAMES[where],
            kind.strikes != "state",
            _BEYOND.get(f"{where}:{kind.name}", ()),
        )
        for kind in KINDS.values()
        for where in kind.where
    }
)


def injected(text: str, *, alone: bool = False) -> Injected:
    """Return what a fault excuses, whenever it strikes and how often.

    `alone` tells whether nobody is connected to the source.
    """
    name, _, when = text.partition("@")
    found = FAULTS[name]
    if name == REFUSED and alone:
        return replace(found, beyond=_DEAF)
    if (
        name.startswith("bias_source:")
        and name not in _SLOW
        and found.repeats
        and "count=0" in when
        and found.names
    ):
        # No exchange with the source ends well any more.
        return replace(found, beyond=_DEAF)
    return found
