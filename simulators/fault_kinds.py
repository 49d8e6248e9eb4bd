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
    strikes : {"reply", "message", "connection", "reading", "state"}
        What it strikes: the next reply (on the camera's data port: the next frame), the message
        itself, the next connection, the next reading of the source, or a state of the bench.
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
    # -- readings of the source -------------------------------------------------------------
    Kind("overflow", ("bias_source",), "reading", "the current reads +9.9E37, with its status bit"),
    Kind("not_a_number", ("bias_source",), "reading", "the current reads +9.91E37, which stands "
         "for not a number"),
    Kind("spike", ("bias_source",), "reading", "the current reads too high or too low",
         amount="A that are added", default=1e-6, low=-1.0, high=1.0),
    Kind("range_glitch", ("bias_source",), "reading", "the current reads as it does while the "
         "range changes", amount="share of the range that is added", default=0.5, low=-1.0,
         high=1.0),
    Kind("stale_reading", ("bias_source",), "reading", "the reading before comes once more, with "
         "its old time stamp"),
    # -- the source -------------------------------------------------------------------------
    Kind("output_interlock", ("bias_source",), "state", "the output enable line opens: output "
         "off, bit 11 gone, +802", LASTS,
         amount="1: always; 0: only with :OUTP:ENAB ON, as a 2400", default=1, high=1),
    Kind("overheat", ("bias_source", "camera"), "state", "source: output off, bit 12, +810 for who "
         "wants it on; camera: acquisitions fail and end, the board is hot", LASTS,
         amount="Celsius of the camera's board", default=75, high=200),
    # -- the probe --------------------------------------------------------------------------
    Kind("missed_steps", ("probe",), "state", "a part of the steps is not made", LASTS,
         amount="share of them", default=0.5, high=1),
    Kind("stuck_steps", ("probe",), "state", "no step is made, on any axis", LASTS),
    Kind("disconnected", ("probe",), "state", "an axis hangs on nothing: no motion, and the "
         "capacitance is that of the cable", LASTS, amount="number of the axis", default=3, low=1,
         high=3),
    Kind("wrong_capacitance", ("probe",), "state", "the capacitances read wrong: a stack is "
         "cracked or wet", LASTS, amount="factor", default=0.5, high=1000),
    Kind("front_panel", ("probe",), "state", "somebody has taken the axes at the front panel",
         LASTS),
    # -- the camera -------------------------------------------------------------------------
    Kind("acquisition_error", ("camera",), "state", "the acquisition ends, and none can be started",
         LASTS),
    Kind("clock_jump", ("camera",), "state", "the clock that stamps the frames is set",
         amount="s that it is set on", default=3600, low=-1e8, high=1e8),
    # -- the specimen -----------------------------------------------------------------------
    Kind("compliance", ("specimen",), "state", "the specimen's resistance falls while there is "
         "contact, so that the compliance trips", LASTS, amount="ohm", default=1e6, low=1),
    Kind("short", ("specimen",), "state", "a whisker bridges the gap: the current jumps to the "
         "compliance; it tears when pulled by more than 100 nm", LASTS, amount="ohm",
         default=1e5, low=1),
    Kind("leak", ("specimen",), "state", "the insulation leaks, in contact or not", LASTS,
         amount="ohm", default=1e9, low=1),
    Kind("oxide", ("specimen",), "state", "the resistance of the contact has grown", LASTS,
         amount="ohm that are added", default=1e12, low=1),
    Kind("contact_lost", ("specimen",), "state", "the gap opens", LASTS,
         amount="nm", default=30, low=0.01, high=1e6),
    Kind("crash", ("specimen",), "state", "the probe is driven into the fibre", LASTS,
         amount="nm", default=300, low=0.01, high=1e6),
    Kind("stage_jump", ("specimen",), "state", "the stage moves what the camera sees", LASTS,
         amount="nm along x", default=100, low=-1e6, high=1e6),
    Kind("charging", ("specimen",), "state", "the picture jumps and comes back as the charge "
         "decays", "until it is at rest", 10.0, amount="nm along x", default=40, low=-1e4,
         high=1e4),
    # -- the beam ---------------------------------------------------------------------------
    Kind("blanker_stuck", ("beam",), "state", "the blanker no longer follows its line", LASTS,
         amount="0: beam on, 1: beam off (default: as it is)", high=1),
    Kind("beam_current", ("beam",), "state", "the beam current drops or jumps; 0 is a closed "
         "column valve", LASTS, amount="factor", default=0.3, high=1000),
    Kind("magnification", ("beam",), "state", "somebody changes the magnification", LASTS,
         amount="factor of the field of view", default=2, low=0.01, high=100),
)  # fmt: skip

KINDS = {kind.name: kind for kind in _TABLE}


def listing() -> str:
    """Return a line for each kind, as ``stmtem sim --list-faults`` prints them."""
    width = max(map(len, KINDS))
    lines = [
        f"{kind.name:{width}}  {', '.join(kind.where)}: {kind.text}{_extras(kind)}"
        for kind in KINDS.values()
    ]
    return "\n".join([*lines, "", *_FOOT])


_FOOT = (
    "where:kind[@key=value,...]   for example bias_source:drop@exchange=12,count=3",
    "  time=S       waits S seconds (bench clock)    exchange=N   strikes at the N-th message",
    "  count=N      N messages in a row, 0 for all   seconds=S    of the kind; see above",
    "  amount=X     of the kind; see above           when=TEXT    only messages with TEXT; last",
)


def _extras(kind: Kind) -> str:
    extras = []
    if kind.seconds == LASTS:
        extras.append("seconds: until cleared")
    elif kind.seconds:
        extras.append(f"seconds: {kind.seconds}, {kind.default_s:g}")
    if kind.amount:
        known = "" if kind.default is None else f", {kind.default:g}"
        extras.append(f"amount: {kind.amount}{known}")
    return f" [{'; '.join(extras)}]" if extras else ""


def table() -> str:
    """Return the kinds as a table in Markdown, for the reference."""
    lines = ["| kind | where | what happens | `seconds` | `amount` |", "|---|---|---|---|---|"]
    for kind in KINDS.values():
        seconds = "how long; else until cleared" if kind.seconds == LASTS else kind.seconds
        if kind.seconds not in ("", LASTS):
            seconds += f" ({kind.default_s:g})"
        known = "" if kind.default is None else f" ({kind.default:g})"
        places = ", ".join(kind.where)
        lines.append(
            f"| `{kind.name}` | {places} | {kind.text} | {seconds} | {kind.amount}{known} |"
        )
    return "\n".join(lines) + "\n"
