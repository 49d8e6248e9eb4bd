"""To 0 V with the output off: confirmed, or in words that ask for no answer.

All of it runs in the worker of the source's link.

Source: User's Manual 2400S-900-01, section 18 (``:ABORt``, ``:OUTPut``).
"""

from collections.abc import Callable

from stmtem_control.errors import InstrumentError
from stmtem_control.exchanges import Exchange
from stmtem_control.transport import Transport

from .keithley_digital import since
from .keithley_hold import OFF, BiasHold
from .keithley_sequencer import Sequencer
from .keithley_settings import LEVEL_AND_OUTPUT, not_at_rest
from .scpi import Scpi

APART = (":SOUR:VOLT 0", ":OUTP OFF")  # while nothing is under way: if one is refused, one is not


class WayOff:
    """How a source is switched off, whatever it is doing.

    Parameters
    ----------
    scpi : Scpi
        How it is spoken to.
    hold, sequencer : BiasHold, Sequencer
        What it may be doing; it hears nothing but an abort then.
    known : callable
        Whether it has said who it is; before that nothing is written blindly.
    gone : callable
        Called when the output is off.
    """

    def __init__(
        self,
        scpi: Scpi,
        hold: BiasHold,
        sequencer: Sequencer,
        *,
        known: Callable[[], bool],
        gone: Callable[[], None],
    ) -> None:
        self._scpi = scpi
        self._hold = hold
        self._sequencer = sequencer
        self._known = known
        self._gone = gone

    def take(self, transport: Transport, said: list[float]) -> Exchange:
        """Go to 0 V and switch the output off; read back that it is.

        Both are tried even if one is refused.  The exchange begins with the first time (station s)
        in `said`, if it was said blindly before.

        Raises
        ------
        InstrumentError
            The output is not off, or something was refused.
        """
        self._hold.end()
        # In one message: an abort leaves the output on, and this host may die after it.
        at_work = self._hold.wanted or self._sequencer.running
        commands = (OFF,) if at_work else APART
        first = ":ABOR;:OUTP OFF" if at_work else ""  # or nothing is answered
        for last in (False, True):
            exchange, errors, found = self._scpi.carry_out(
                transport, commands, *LEVEL_AND_OUTPUT, first=first
            )
            wrong = not_at_rest(*found)
            if errors or not wrong or last:  # a message may be lost, and leave no error behind
                break
        if "still on" not in wrong:
            self._sequencer.running = False
            self._gone()
        if errors or wrong:
            what = "; ".join([wrong or "refused (the output is off)", *errors])
            raise InstrumentError(f"{self._scpi.name}: {what}")
        return since(said, exchange)

    def blind(self, *commands: str, said: list[float] | None = None) -> Callable[[Transport], None]:
        """Return what writes commands and reads nothing; to a source whose name is known only.

        `said` takes the time before that.  While a sequence runs the instrument leaves all but an
        abort for later; the abort would leave its output on.
        """

        def write(transport: Transport) -> None:
            if not self._known():
                return
            if said is not None:
                said.append(self._scpi.now())
            off = ":OUTP OFF" in commands[-1]
            if off:
                self._hold.end()
            if self._sequencer.running:
                self._scpi.write(transport, OFF if off else f":ABOR;{commands[0]};{OFF}")
            elif off:
                self._scpi.write(transport, *commands)
            else:
                self._scpi.say(transport, *commands)

        return write
