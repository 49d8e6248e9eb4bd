"""What a SourceMeter is like when its power comes back."""

from .source_core import SourceCore

_PON = 7  # of the standard event register: power on
_IDLE, _ENABLE_LINE = 10, 11


def power_on(core: SourceCore) -> None:
    """Put the instrument into its power-on state: ``*RST``, all registers and queues empty.

    Output off, digital port high; the buffer is empty, memory locations and set-ups are kept
    (they are non-volatile).  Manual, section 15 (status at power-on) and section 18 (``*RST``).
    """
    core.reset()
    status = core.status
    status.preset()
    status.clear()
    status.service_enable = 0
    for registers in (status.standard, status.measurement, status.operation, status.questionable):
        registers.enable = registers.condition = 0
    status.standard.strike(_PON)
    status.operation.hold(_IDLE, True)
    status.measurement.hold(_ENABLE_LINE, core.output.enable_line)
    core.trace.clear()
    core.trace.active, core.trace.size, core.trace.feed = False, 100, "SENS"
    core.line_hz, core.line_auto = 50, True
    core.timer.reset(core.clock.now())
