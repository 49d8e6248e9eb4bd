"""The faults of the matrix: how each is brought about on the bench, and taken away again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from .fault_lab import Lab

__all__ = ["FAULTS", "Injected"]


def _nothing(_lab: Lab) -> None:
    """Leave it as it is."""


@dataclass(frozen=True)
class Injected:
    """A fault.

    Attributes
    ----------
    begin, end : callable
        Bring it about, in the thread that carries out the message; take it away.
    names : tuple of str
        One of these must be in what the person is told, if the fault ends the run.
    """

    begin: Callable[[Lab], None]
    names: tuple[str, ...]
    end: Callable[[Lab], None] = _nothing


#: By the name in the table.
FAULTS: Final[Mapping[str, Injected]] = {
    "source: connection lost": Injected(lambda lab: lab.bench.source_tcp.drop_clients(), ("bias",)),
    "camera: connection lost": Injected(
        lambda lab: lab.bench.camera_control.drop_clients(), ("camera",)
    ),
    "camera data: connection lost": Injected(
        lambda lab: lab.bench.camera_data.drop_clients(), ("camera",)
    ),
}
