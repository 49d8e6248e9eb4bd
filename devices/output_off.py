"""Why a source has switched its output off by itself: its measurement status registers.

Source: User's Manual 2400S-900-01, section 15 ("Measurement event status": bit 11, the output
enable line is asserted; bit 12, over temperature, with which the output goes off).
"""

from stmtem_control.errors import ProtocolError

LINE = ":STAT:MEAS:COND?"
WHY_OFF = ":STAT:MEAS:COND?;:STAT:MEAS?"  # what is now; and what was since it was asked last
ENABLE_LINE = 1 << 11
TOO_HOT = 1 << 12
UNKNOWN = "its interlock opened, it got too hot, somebody pressed the key, or the line was held up"


def line_closed(answer: str) -> bool:
    """Tell from an answer to :data:`LINE` whether the output enable line is asserted.

    Raises
    ------
    ProtocolError
        It is no number.
    """
    return bool(_register(answer) & ENABLE_LINE)


def why_off(answer: str, was_closed: bool) -> str:
    """Return, from an answer to :data:`WHY_OFF`, why the output is off and what to do.

    Parameters
    ----------
    answer : str
        Condition and event register.
    was_closed : bool
        Whether the output enable line was asserted when the output went on.  Where nothing is
        plugged in it never is, and says nothing.

    Raises
    ------
    ProtocolError
        It is not two numbers.
    """
    now, _, since = answer.partition(";")
    condition, event = _register(now), _register(since)
    if condition & TOO_HOT:
        return "it is too hot; let it cool down, and see that its fan and vents are free"
    if was_closed and not condition & ENABLE_LINE:
        return "its output interlock is open; close it"
    if event & TOO_HOT:
        return "it got too hot, and has cooled down since; see that its fan and vents are free"
    if was_closed and event & ENABLE_LINE:
        return "its output interlock was opened, and is closed again"
    return "somebody pressed the key, or the line was held up"


def _register(text: str) -> int:
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise ProtocolError(f"{WHY_OFF} was answered {text!r}, not a number") from None
