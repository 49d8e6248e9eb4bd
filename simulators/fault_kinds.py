"""The kinds of faults that the bench can have: one row each, for people and for the parser."""

from dataclasses import dataclass

#: What has a wire, and so exchanges that can be counted.
SERVERS = ("bias_source", "probe", "camera", "camera_data")
WHERE = (*SERVERS, "specimen", "beam")
_ANSWERING = ("bias_source", "probe", "camera")


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes
    ----------
    name : str
        As written in a fault.
    where : tuple of str
        What can have it.
    strikes : {"reply", "message", "connection", "state"}
        What it strikes: the next reply (on the camera's data port: the next frame), the message
        itself, the next connection, or a state of the bench.
    text : str
        One line for people.
    seconds : str
        What `seconds` of a fault means, empty if nothing.
    default_s : float
        What `seconds` = 0 stands for; 0 is "until cleared" where it is a duration.
    amount : str
        What `amount` of a fault means, empty if nothing.
    default : float, optional
        Its default; None lets the fault choose.
    low, high : float
        Between which an amount must be.
    """

    name: str
    where: tuple[str, ...]
    strikes: str
    text: str
    seconds: str = ""
    default_s: float = 0.0
    amount: str = ""
    default: float | None = None
    low: float = 0.0
    high: float = 1e18

    @property
    def lasts(self) -> bool:
        """True for a state, which lasts for some seconds, or until it is cleared."""
        return self.strikes == "state" and self.seconds == LASTS


LASTS = "how long it lasts (0: until cleared)"

_TABLE = (
    # -- replies ----------------------------------------------------------------------------
    Kind("drop", SERVERS, "reply", "the reply is never sent"),
    Kind("delay", SERVERS, "reply", "the reply comes late", "how late", 1.0),
    Kind(
        "truncate", SERVERS, "reply", "the end of the reply is missing, its terminator too",
        amount="bytes that are sent (default: half of them)",
    ),
    Kind("no_terminator", _ANSWERING, "reply", "the last bytes that end the reply are missing"),
    Kind("wrong_terminator", ("bias_source", "probe"), "reply", "the reply ends with the wrong "
         "bytes: CR for LF, LF CR for CR LF"),
    Kind(
        "wrong_length", ("camera", "camera_data"), "reply", "the length that stands before the "
        "message is wrong", amount="bytes too many that it promises", default=16, low=-4096,
        high=65536,
    ),
    Kind(
        "corrupt", SERVERS, "reply", "bits of the reply are flipped, not those of its terminator",
        amount="how many bits", default=1, low=1, high=4096,
    ),
    Kind(
        "non_ascii", SERVERS, "reply", "bytes of the reply are replaced by such above 0x7f",
        amount="how many bytes", default=1, low=1, high=4096,
    ),
    Kind("drip", SERVERS, "reply", "the reply comes byte by byte", "between two bytes", 0.05),
    Kind("duplicate", SERVERS, "reply", "the reply is sent twice"),
    Kind(
        "garbage", SERVERS, "reply", "bytes that mean nothing come before the reply",
        amount="how many bytes", default=32, low=1, high=65536,
    ),
    Kind(
        "close_during", SERVERS, "reply", "the connection closes in the middle of the reply "
        "(a serial line has none: the rest is missing)",
        amount="bytes that are sent before (default: half of them)",
    ),
    # -- messages and connections -----------------------------------------------------------
    Kind("lose", _ANSWERING, "message", "the message never reaches the instrument"),
    Kind(
        "close_before", _ANSWERING, "message", "the message is carried out, and the connection "
        "closes instead of the reply (a serial line has none: no reply)",
    ),
    Kind(
        "garbage_at_connect", SERVERS, "connection", "a new connection is greeted by bytes that "
        "mean nothing (a serial line: they come before the next reply)",
        amount="how many bytes", default=32, low=1, high=65536,
    ),
    Kind("close", SERVERS, "state", "all connections close at once"),
    Kind("refuse", SERVERS, "state", "new connections are refused", LASTS),
    Kind("silence", SERVERS, "state", "nothing is heard and nothing is sent, as with the cable "
         "pulled", LASTS),
    Kind("reboot", _ANSWERING, "state", "the instrument loses power: its settings are those of "
         "power-on, connections close", "until it answers again", 0.0),
    # -- frames -----------------------------------------------------------------------------
    Kind("lost_frames", ("camera_data",), "reply", "the frame was taken and is never sent"),
    Kind(
        "short_frames", ("camera_data",), "reply", "the frame's pixels are cut, and the length "
        "says so", amount="pixel bytes that are missing (default: half of them)", low=1,
    ),
    Kind("repeated_numbers", ("camera_data",), "reply", "the frame has the sequence number of the "
         "one before"),
    Kind("blank_frames", ("camera_data",), "reply", "all pixels of the frame are zero"),
    Kind("stall", ("camera_data",), "state", "no frame leaves the camera's queue; what it cannot "
         "hold is lost", LASTS),
)  # fmt: skip

KINDS = {kind.name: kind for kind in _TABLE}
