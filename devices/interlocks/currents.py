"""Judgements on readings of the source: short, compliance, contact, and readings that are wrong.

Each is fed with readings in the order of time and says what is wrong, or nothing.  None knows of
threads, devices or clocks.
"""

import math
from collections.abc import Callable
from typing import Protocol

from stmtem_control.interlock_table import InterlocksTable

from .bias_steps import BiasSteps, Hold, Lasting, Measured
from .trip import Finding

RISE_S = 0.02  # a rise is taken over this, at least: a cycle of the power line
LONGEST_RISE_S = 0.5  # readings further apart say nothing about a rise
AT_APPROACH = 8  # readings at the approach's bias: its plan needs four to judge, and some to act
WITHOUT_CONTACT = 20  # readings: on a simulated bench that runs fast, two seconds hold but a few
IMPOSSIBLE = 2.0  # times the compliance, or the largest bias, that no instrument can give


def is_short(amperes: float, short_A: float) -> bool:
    """Tell whether a current (A) means a short."""
    return abs(amperes) >= short_A


class Judgement(Protocol):
    """What judges a reading."""

    def see(self, found: Measured, hold: Hold) -> Finding | None:
        """Return what is wrong, or None.

        Parameters
        ----------
        found : Measured
        hold : Hold
            What was commanded then.
        """
        ...


class Short:
    """|I| over ``short_A``, or a rise of |I| faster than ``short_A_per_s``.

    A reading that is limited says so at once.  One that is not may be a glitch of the instrument:
    ``short_readings`` in a row must say so, and :attr:`suspects` asks for the next one now.  Up to
    ``approach_V`` only a short that lasts counts: there the approach reacts by itself.

    Attributes
    ----------
    suspects : bool
        Whether the last reading looked like a short that the next must confirm.
    """

    def __init__(self, table: InterlocksTable) -> None:
        self._short_A = table.limit("short_A")
        self._needed = int(table.limit("short_readings"))
        self._rise = table.limit("short_A_per_s")
        self._approach_V = table.limit("approach_V")
        self._at_approach = Lasting(table.limit("approach_hold_s"), AT_APPROACH)
        self._last: tuple[float, float] | None = None
        self._over = 0
        self._risen = 0
        self._before = 0.0  # the current from which it rose
        self._seen_rise = 0.0
        self.suspects = False

    def see(self, found: Measured, hold: Hold) -> Finding | None:
        """Return a short, or None."""
        level_V = hold.level_V
        over = is_short(found.amperes, self._short_A)
        probing = abs(level_V) <= self._approach_V
        lasted = self._at_approach.see(found.t, hold.quiet and probing and over, hold.since)
        if not hold.quiet or probing:
            self._over = self._risen = 0
            self._last, self.suspects = None, False
            return None if lasted is None else self._finding(found, level_V, lasted)
        self._over = self._over + 1 if over else 0
        self._note_rise(found, hold)
        self.suspects = bool(self._over or self._risen)
        needed = 1 if found.limited else self._needed
        if self._over >= needed:
            return self._finding(found, level_V)
        if self._risen >= needed:
            return Finding(
                "short",
                f"the current rose by {self._seen_rise:.2e} A/s to {found.amperes:.2e} A "
                f"at {level_V:g} V",
                f"{self._rise:g} A/s, [interlocks] short_A_per_s",
            )
        return None

    def _note_rise(self, found: Measured, hold: Hold) -> None:
        """Count the readings since a rise in which at least half of it is still there."""
        now, last = abs(found.amperes), self._last
        self._last = (found.t, now)
        if last is None or last[0] < hold.since or not 0.0 < found.t - last[0] < LONGEST_RISE_S:
            self._risen = 0
            return
        rise = (now - last[1]) / max(found.t - last[0], RISE_S)
        if rise >= self._rise:
            self._before = last[1] if not self._risen else self._before
            self._seen_rise = rise
            self._risen += 1
        elif self._risen and now - self._before >= 0.5 * (last[1] - self._before):
            self._risen += 1
        else:
            self._risen = 0

    def _finding(self, found: Measured, level_V: float, lasted: float = 0.0) -> Finding:
        how_long = f" for {lasted:.2g} s" if lasted else ""
        key = ", approach_hold_s" if lasted else ""
        return Finding(
            "short",
            f"{found.amperes:.2e} A at {level_V:g} V{how_long}",
            f"{self._short_A:g} A, [interlocks] short_A{key}",
        )


class InCompliance:
    """In compliance for longer than ``compliance_s``; at the approach, ``approach_hold_s``."""

    def __init__(self, table: InterlocksTable) -> None:
        self._approach_V = table.limit("approach_V")
        self._hold = Lasting(table.limit("compliance_s"))
        self._at_approach = Lasting(table.limit("approach_hold_s"), AT_APPROACH)

    def see(self, found: Measured, hold: Hold) -> Finding | None:
        """Return a compliance that lasts too long, or None."""
        true = found.limited and hold.quiet
        level_V, since = hold.level_V, hold.since
        probing = abs(level_V) <= self._approach_V
        lasted = self._at_approach.see(found.t, true and probing, since)
        limit, key = self._at_approach, "approach_hold_s"
        held = self._hold.see(found.t, true and not probing, since)
        if held is not None:
            lasted, limit, key = held, self._hold, "compliance_s"
        if lasted is None:
            return None
        return Finding(
            "compliance",
            f"in compliance for {lasted:.2g} s, {found.amperes:.2e} A and {found.volts:.3g} V "
            f"at a level of {level_V:g} V",
            f"{limit.seconds:g} s, [interlocks] {key}",
        )


class Contact:
    """Contact that was lost in a deposition, or was never there: an open circuit.

    Contact is a current that is ``contact_A`` over the holder's leak.  Only a bias below zero and
    beyond ``approach_V`` is judged: while stripping, the current may end because the lithium does.

    Parameters
    ----------
    leak_S : callable
        Returns the measured conductance of holder and cables, in S; 0 before it is measured.
    """

    def __init__(self, table: InterlocksTable, leak_S: Callable[[], float]) -> None:  # noqa: N803
        self._contact_A = table.limit("contact_A")
        self._approach_V = table.limit("approach_V")
        self._lost = Lasting(table.limit("contact_lost_s"), WITHOUT_CONTACT)
        self._never = Lasting(table.limit("open_circuit_s"), WITHOUT_CONTACT)
        self._leak_S = leak_S
        self._had = False
        self._since: float | None = None

    def see(self, found: Measured, hold: Hold) -> Finding | None:
        """Return a lost or missing contact, or None."""
        level_V, since = hold.level_V, hold.since
        if since != self._since:
            self._since, self._had = since, False
        if level_V >= -self._approach_V or not hold.quiet:
            return None
        leak = abs(level_V) * self._leak_S()
        contact = abs(found.amperes) >= leak + self._contact_A
        self._had = self._had or contact
        lost = self._lost.see(found.t, self._had and not contact, since)
        never = self._never.see(found.t, not self._had, since)
        if lost is None and never is None:
            return None
        what, key, limit, lasted = (
            ("contact lost", "contact_lost_s", self._lost.seconds, lost)
            if lost is not None
            else ("open circuit", "open_circuit_s", self._never.seconds, never)
        )
        return Finding(
            what,
            f"{found.amperes:.2e} A at {level_V:g} V for {lasted:.2g} s, the leak is {leak:.2e} A",
            f"{limit:g} s below {self._contact_A:g} A over the leak, [interlocks] {key}",
        )


class WrongReadings:
    """Readings that cannot be: overflow, beyond the instrument, or not at the setpoint.

    Parameters
    ----------
    max_bias_V : float
        Largest level of the station, in V.
    compliance_A : callable
        Returns the limit of the current, in A.
    """

    def __init__(
        self, table: InterlocksTable, max_bias_V: float, compliance_A: Callable[[], float]
    ) -> None:
        self._needed = table.limit("wrong_readings")
        self._mismatch_V = table.limit("mismatch_V")
        self._max_bias_V = max_bias_V
        self._compliance_A = compliance_A
        self._count = 0

    def see(self, found: Measured, hold: Hold) -> Finding | None:
        """Return what is wrong with the last readings, or None."""
        wrong = self._wrong(found, hold)
        self._count = self._count + 1 if wrong else 0
        if not wrong or self._count < self._needed:
            return None
        what, limit = wrong
        return Finding(
            "wrong readings",
            f"{self._count} readings in a row, the last of {what}",
            f"{limit}; {self._needed:g} in a row, [interlocks] wrong_readings",
        )

    def impossible(self, found: Measured) -> tuple[str, str] | None:
        """Return what no instrument can have measured, and what it can; such says nothing else."""
        volts, amperes = found.volts, found.amperes
        if not (math.isfinite(volts) and math.isfinite(amperes)):
            return f"{volts:.3g} V and {amperes:.3g} A", "finite numbers"
        most_A, most_V = IMPOSSIBLE * self._compliance_A(), IMPOSSIBLE * self._max_bias_V
        if abs(amperes) > most_A:
            return f"{amperes:.2e} A", f"{most_A:g} A, {IMPOSSIBLE:g} times the compliance"
        if abs(volts) > most_V:
            return f"{volts:.3g} V", f"{most_V:g} V, {IMPOSSIBLE:g} times the largest bias"
        return None

    def _wrong(self, found: Measured, hold: Hold) -> tuple[str, str] | None:
        impossible = self.impossible(found)
        if impossible is not None:
            return impossible
        volts, level_V = found.volts, hold.level_V
        # With a level far from zero the instrument's own accuracy counts, too.
        allowed = self._mismatch_V + 0.01 * abs(level_V)
        if hold.quiet and not found.limited and abs(volts - level_V) > allowed:
            return (
                f"{volts:.3g} V at a level of {level_V:g} V",
                f"{allowed:.2g} V apart, [interlocks] mismatch_V",
            )
        return None


class ReadingJudge:
    """All judgements on readings, fed with the entries of the timeline.

    Parameters
    ----------
    table : InterlocksTable
    max_bias_V : float
        Largest level of the station, in V.
    reading_s : float
        Station seconds that a reading takes.
    compliance_A, leak_S : callable
        Return the present limit of the current in A, and the holder's conductance in S.
    """

    def __init__(
        self,
        table: InterlocksTable,
        *,
        max_bias_V: float,
        reading_s: float,
        compliance_A: Callable[[], float],
        leak_S: Callable[[], float],  # noqa: N803
    ) -> None:
        self.steps = BiasSteps(table, reading_s)
        self.last: Measured | None = None
        self.quiet = False  # whether the last reading was judged by its current
        self._compliance_A = compliance_A
        self._wrong = WrongReadings(table, max_bias_V, compliance_A)
        self._short = Short(table)
        self._judgements: tuple[Judgement, ...] = (
            self._short,
            InCompliance(table),
            Contact(table, leak_S),
        )
        self._parts: dict[str, tuple[float, float]] = {}

    @property
    def suspects(self) -> bool:
        """Whether the next reading should come at once."""
        return self._short.suspects

    def hear(self, channel: str, t: float, value: float, uncertainty_s: float) -> Measured | None:
        """Take an entry; return a reading when it is complete: voltage, current, compliance."""
        if channel == "bias_set_V":
            self.steps.note(t, float(value), uncertainty_s)
            return None
        self._parts[channel] = (t, float(value))
        parts = [self._parts.get(name) for name in ("voltage_V", "current_A", "compliance")]
        if any(part is None or part[0] != t for part in parts):
            return None
        volts, amperes, limited = (part[1] for part in parts if part is not None)
        self._parts.clear()
        return Measured(t, volts, amperes, bool(limited))

    def judge(self, found: Measured) -> Finding | None:
        """Return the first thing that is wrong with a reading, or None."""
        hold = self.steps.hold(found.t, self._compliance_A())
        findings = [self._wrong.see(found, hold)]
        if self._wrong.impossible(found) is None:
            self.last, self.quiet = found, hold.quiet
            findings += [one.see(found, hold) for one in self._judgements]
        return next((finding for finding in findings if finding is not None), None)
