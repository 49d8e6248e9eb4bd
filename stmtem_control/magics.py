"""IPython magics of a session: ``%wa``, ``%mov``, ``%movr`` and ``%ct``, as Bluesky names them.

Bluesky's own work here too (``BlueskyMagics.RE = RE``).  These show units, take this session's
RunEngine without another being made, say the truth about where the data go, and leave the
RunEngine as they found it when a move is refused.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
from bluesky import RunEngine
from IPython.core.magic import Magics, line_magic, magics_class

from .errors import ConfigError
from .overview import where_all


@magics_class
class StationMagics(Magics):  # type: ignore[misc,unused-ignore]
    """Short commands for a station.

    Parameters
    ----------
    shell : InteractiveShell
    RE : RunEngine
    devices : mapping
        The devices by name.
    """

    def __init__(self, shell: Any, RE: RunEngine, devices: Mapping[str, Any]) -> None:  # noqa: N803
        super().__init__(shell)
        self._RE = RE
        self._devices = devices

    @line_magic
    def wa(self, line: str) -> None:
        """Say where all is that can be set, with limits and units.

        ``%wa`` shows everything, ``%wa motors`` what has that label.
        """
        print(where_all(self._devices.values(), line.split()))

    @line_magic
    def mov(self, line: str) -> None:
        """Move to a value: ``%mov probe.z.fine 12.5``, or several such pairs.

        A bias, and an open beam, last as long as a plan; after this one they are off again.
        """
        self._RE(bps.mv(*self._pairs("mov", line)))

    @line_magic
    def movr(self, line: str) -> None:
        """Move by a value: ``%movr probe.z.coarse -2``, or several such pairs."""
        self._RE(bps.mvr(*self._pairs("movr", line)))

    @line_magic
    def ct(self, line: str) -> None:
        """Take one reading of all that is labelled "detectors", or as said: ``%ct motors``."""
        labels = set(line.split() or ["detectors"])
        found = _labelled(self._devices.values(), labels)
        if not found:
            raise ConfigError(f"%ct: nothing is labelled {' or '.join(sorted(labels))}; see %wa")
        self._RE(bp.count(found))

    def _pairs(self, name: str, line: str) -> list[Any]:
        words = line.split()
        if not words or len(words) % 2:
            raise ConfigError(f"%{name}: give what to move and a value, for example probe.z.fine 5")
        names: Any = self.shell
        return [eval(word, names.user_ns) for word in words]


def _labelled(devices: Iterable[Any], labels: set[str]) -> list[Any]:
    return [device for device in devices if labels & device._ophyd_labels_]
