"""Errors that a person can act on: one family, each also the builtin that it refines.

Every message says what is wrong, where, and what to do, in one line.
"""


class StmTemError(Exception):
    """Anything that this package raises on purpose."""


class ConfigError(StmTemError, ValueError):
    """A station file or an option that cannot be used as written."""


class ProtocolFileError(ConfigError):
    """A protocol file that cannot be run as written; nothing has moved.

    Attributes
    ----------
    file : str
        As it was given.
    line : int
        Counted from 1; 0 if it is not of one line.
    key : str
        Where in the file: "steps 3, deposit, bias".
    found, allowed, nearest : str
        What stands there, what may stand there, and what was probably meant; "" if unknown.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str,
        line: int = 0,
        key: str = "",
        found: str = "",
        allowed: str = "",
        nearest: str = "",
    ) -> None:
        self.file, self.line, self.key = file, line, key
        self.found, self.allowed, self.nearest = found, allowed, nearest
        place = f"{file}:{line}" if line else file
        super().__init__(": ".join(part for part in (place, key, problem) if part))


class TransportError(StmTemError, ConnectionError):
    """A link to an instrument that cannot be opened, or broke."""


class StationInUseError(TransportError):
    """Another session holds an instrument; the message names its process."""


class TransportTimeout(TransportError, TimeoutError):  # noqa: N818 - as the builtin's stem
    """An instrument did not answer within the deadline of an exchange."""


class ProtocolError(StmTemError, ValueError):
    """An answer that does not parse; the message quotes what was sent and received."""


class InstrumentError(StmTemError, RuntimeError):
    """An error that the instrument itself reported, from its own error queue."""


class IdentityError(TransportError):
    """The instrument at an address is not the one the station file names."""


class LimitError(StmTemError, ValueError):
    """A value outside the limits of the station or of the instrument."""


class SpecimenError(StmTemError, ValueError):
    """A parameter, state or request that the kinetic model cannot take."""


class ApproachError(StmTemError, RuntimeError):
    """The probe did not come to a usable contact; the message says why it gave up."""


class AlignmentError(StmTemError, RuntimeError):
    """Two clocks could not be brought together; the message says why."""


class NoPlanError(StmTemError, TypeError):
    """What was given to the RunEngine is no plan."""


class InterlockError(StmTemError, PermissionError):
    """The station refused or ended an action to protect the sample."""


class RecordingError(StmTemError, OSError):
    """Data that cannot be written or read back."""
