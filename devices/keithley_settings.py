"""How a source is set up: its state after a reset, the compliance, and what it must remember."""

import math

from stmtem_control.errors import InstrumentError, LimitError
from stmtem_control.exchanges import Exchange
from stmtem_control.transport import Transport

from .keithley_answers import SourceState
from .scpi import Scpi, near

RANGES_V = (0.2, 2.0, 20.0, 200.0, 1000.0)  # of the source; not all models have all
AFTER_RESET = (
    ":OUTP:SMOD HIMP",  # a cell is a battery: "normal" would short it to 0 V
    ":SOUR:CLE:AUTO OFF",
    ":SOUR:FUNC VOLT",
    ":SOUR:VOLT:MODE FIX",
    ":SOUR:DEL 0",
    ":SENS:FUNC:CONC ON",
    ':SENS:FUNC "VOLT","CURR"',
    ":SENS:AVER OFF",
    ":SYST:AZER OFF",  # three times fewer conversions a reading
    ":FORM:DATA ASC",
    ":FORM:ELEM VOLT,CURR,TIME,STAT",
    ":ARM:COUN 1",
    ":TRIG:COUN 1",
)


LEVEL_AND_OUTPUT = (":SOUR:VOLT?", ":OUTP?")


def not_at_rest(level: str, output: str) -> str:
    """Return what is wrong with the answers of a source that should be off, at 0 V; "" if none."""
    if output not in ("0", "OFF"):
        return "the output is still on"
    return "" if near(0.0, 1e-9)(level) else f"the output is off, but still set to {level} V"


class SourceSettings:
    """Sets a source up and finds out whether it still is; runs in the worker of its link.

    Parameters
    ----------
    scpi : Scpi
        How it is spoken to.

    Attributes
    ----------
    nplc : float
        Integration time of a reading in power-line cycles, as set last.
    may_have_forgotten : bool
        True on a new connection: it may have been switched off in between.
    lost : bool
        True when it had, and was not set up anew since.
    """

    def __init__(self, scpi: Scpi) -> None:
        self.nplc = 1.0
        self.may_have_forgotten = self.lost = False
        self._scpi = scpi
        self._compliance_A: float | None = None
        self._step_V = 1e-3  # between two levels that read back alike; of the 20 V range

    def forget(self) -> None:
        """Know nothing, as after a reset: there is nothing that it could have lost."""
        self._compliance_A = None
        self.may_have_forgotten = self.lost = False

    def after_reset(self, transport: Transport) -> None:
        """Source voltage, measure voltage and current once for each ``:READ?``."""
        for command in AFTER_RESET:
            self._scpi.set(transport, command)

    def set_nplc(self, transport: Transport, nplc: float) -> None:
        """Set the integration time of a reading."""
        self._scpi.set(transport, f":SENS:CURR:NPLC {nplc:.6g}")
        self.nplc = nplc

    def set_voltage_range(self, transport: Transport, volts: float) -> None:
        """Fix the source range to the smallest that holds `volts`, and go to 0 V."""
        self._scpi.set(transport, f":SOUR:VOLT:RANG {volts:.6E}")
        if volts <= 20.0:
            self._scpi.set(transport, ":SOUR:VOLT:PROT 20")  # its lowest step
        self._scpi.set(transport, ":SOUR:VOLT 0")
        # A range has 20 000 steps at least, and the nearest to a level is read back.
        highest = next((volt for volt in RANGES_V if volts <= 1.05 * volt), RANGES_V[-1])
        self._step_V = highest / 20_000

    def set_level(self, transport: Transport, volts: float) -> Exchange:
        """Set the level and read it back; return the exchange.

        Raises
        ------
        InstrumentError
            It is refused, or the level is another one now.
        """
        command = f":SOUR:VOLT {volts:.7E}"
        return self._scpi.set(transport, command, near(volts, self._step_V))

    def check_compliance(self, amperes: float) -> None:
        """Raise LimitError unless it is a positive number of A."""
        if not (math.isfinite(amperes) and amperes > 0.0):
            raise LimitError(f"{self._scpi.name}: a compliance of {amperes} A; give a positive one")

    def set_compliance(
        self, transport: Transport, compliance_A: float, current_range_A: float | None
    ) -> None:
        """Walk to the compliance over the ranges between.

        The compliance may not be below 0.1 % of the measurement range, and the range not above
        the one that holds the compliance; so both go down in turns, and up compliance first.

        Raises
        ------
        InstrumentError
            It is refused, or reads back another.
        """
        name = self._scpi.name
        wanted_range = compliance_A if current_range_A is None else current_range_A
        for _ in range(20):
            present = self._scpi.number(transport, ":SENS:CURR:RANG?")
            step = max(compliance_A, 1.001e-3 * present)  # it reads back 105 %: the safe side
            self._scpi.set(transport, f":SENS:CURR:PROT {step:.6E}")
            if step == compliance_A:
                break
            self._scpi.set(transport, f":SENS:CURR:RANG {step:.6E}")
            if self._scpi.number(transport, ":SENS:CURR:RANG?") >= present:
                raise InstrumentError(
                    f"{name}: a compliance of {compliance_A:g} A is below what the "
                    f"smallest range ({present:g} A) allows"
                )
        self._scpi.set(transport, f":SENS:CURR:RANG {min(wanted_range, compliance_A):.6E}")
        found = self._scpi.number(transport, ":SENS:CURR:PROT?")
        if not math.isclose(found, compliance_A, rel_tol=0.01):
            raise InstrumentError(
                f"{name}: the compliance was set to {compliance_A:g} A but reads back {found:g} A"
            )
        self._compliance_A = found

    def check_memory(self, transport: Transport) -> None:
        """On a new connection: refuse to go on with a source that lost its settings.

        Raises
        ------
        InstrumentError
            It did.
        """
        if self.may_have_forgotten and self._compliance_A is not None:
            found = self._scpi.number(transport, ":SENS:CURR:PROT?")
            if not math.isclose(found, self._compliance_A, rel_tol=0.01):
                self.lost = True
                raise InstrumentError(
                    f"{self._scpi.name}: the compliance was {self._compliance_A:g} A and is now "
                    f"{found:g} A: the source was switched off, or somebody else used it; the "
                    "next plan sets it up again, and so does bias.connect()"
                )
        self.may_have_forgotten = False

    def restore(self, transport: Transport) -> None:
        """After a doubt: see that the source did not lose its settings; they are not put back.

        Its output is off then, and who sets a level next must set it up first.

        Raises
        ------
        InstrumentError
            It did.
        """
        self.may_have_forgotten = True
        self.check_memory(transport)

    def state(self, transport: Transport) -> SourceState:
        """Read back how it is set."""
        return SourceState(
            compliance_A=self._scpi.number(transport, ":SENS:CURR:PROT?"),
            current_range_A=self._scpi.number(transport, ":SENS:CURR:RANG?"),
            voltage_range_V=self._scpi.number(transport, ":SOUR:VOLT:RANG?"),
            nplc=self._scpi.number(transport, ":SENS:CURR:NPLC?"),
        )
