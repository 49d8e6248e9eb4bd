"""What the axes of an ANC300 were set to, so that a loss can be noticed and put right."""

import logging
import math

from stmtem_control.errors import InstrumentError
from stmtem_control.transport import Transport

from .anc300_console import Console, parse_value

log = logging.getLogger(__name__)

# Letter of "set." and "get.": what it is, and the name in the answer.  In the order in which they
# are put back: nothing steps before frequency and amplitude are right.
SETTINGS = {
    "f": ("step frequency", "frequency"),
    "v": ("step amplitude", "voltage"),
    "m": ("mode", "mode"),
}
OFFSET = ("a", "voltage")
READ_BACK = {"f": "frequency", "v": "voltage", "a": "voltage"}  # when they are set
SLACK = 1e-3  # of a value read back, relative and in V
STEP_V = 5e-3  # an output of 16 bits over 150 V has steps of 2.3 mV, and may tell where it stands


class SettingsMemory:
    """Frequency, amplitude, mode and offset of each axis, as far as the controller confirmed them.

    A setting whose answer was lost may be the old or the new one; both are right then.

    Parameters
    ----------
    console : Console
        How the controller is spoken to; all of it runs in the worker of its link.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._known: dict[tuple[str, int], set[str]] = {}

    def forget(self) -> None:
        """Know nothing: everything will be set anew."""
        self._known.clear()

    def set(self, transport: Transport, letter: str, axis: int, value: str) -> list[str]:
        """Set, read back, and remember what came of it; return the lines of the answer.

        Raises
        ------
        InstrumentError
            The controller refused, and what was known before still is; or it took another value,
            which is known then; or what it reads back is no number, and either may be right.
        """
        key = (letter, axis)
        before = self._known.get(key)
        if before is not None:
            self._known[key] = {*before, value}
        try:
            lines = self._console.request(transport, f"set{letter} {axis} {value}")
        except InstrumentError:
            if before is not None:
                self._known[key] = before
            raise
        self._known[key] = {value}
        if letter in READ_BACK:
            found = self._read(transport, letter, axis, READ_BACK[letter])
            if not _same(found, value, STEP_V):
                # What is no number says nothing about the setting: the answer itself was damaged.
                self._known[key] = {found} if _is_number(found) else {*(before or ()), value}
                raise InstrumentError(
                    f"{self._console.name}: 'set{letter} {axis} {value}' was sent and answered "
                    f"OK, but it reads back {found}: the message was damaged on its way, or "
                    "somebody else uses the controller; look at the cable, then set it again"
                )
        if letter == "m" and value in ("gnd", "cap"):
            self._known.pop((OFFSET[0], axis), None)  # it may not outlive that
            if value == "cap":
                self._known.pop(key)  # it goes back to ground when it has measured
        return lines

    def restore(self, transport: Transport) -> None:
        """Put back what was lost, but no offset: where the probe is then is not known.

        Raises
        ------
        InstrumentError
            An offset is another than it was, or the controller refuses a setting.
        """
        for axis in sorted({axis for _, axis in self._known}):
            self._check_offset(transport, axis)
            for letter, (what, name) in SETTINGS.items():
                known = self._known.get((letter, axis))
                if known is None:
                    continue
                found = self._read(transport, letter, axis, name)
                if not any(_same(found, value) for value in known):
                    wanted = sorted(known)[0]
                    log.warning(
                        "%s: axis %d: %s was %s, now %s",
                        self._console.name, axis, what, wanted, found,
                    )  # fmt: skip
                    self.set(transport, letter, axis, wanted)

    def _check_offset(self, transport: Transport, axis: int) -> None:
        letter, name = OFFSET
        known = self._known.get((letter, axis))
        if known is None:
            return
        found = self._read(transport, letter, axis, name)
        if not any(_same(found, value) for value in known):
            was = " or ".join(f"{float(value):g}" for value in sorted(known))
            raise InstrumentError(
                f"{self._console.name}: the offset of axis {axis} was {was} V and is now {found} "
                "V: the controller was switched off, or somebody else used it, and the probe has "
                "moved; see where it is, then call probe.connect(): its offset is 0 V then"
            )

    def _read(self, transport: Transport, letter: str, axis: int, name: str) -> str:
        return parse_value(self._console.request(transport, f"get{letter} {axis}"), name)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _same(found: str, value: str, slack: float = SLACK) -> bool:
    try:
        return math.isclose(float(found), float(value), rel_tol=SLACK, abs_tol=slack)
    except ValueError:
        return found == value
