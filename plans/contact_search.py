"""Look for the contact with the fine offset, and stop at its first touch.

All of it runs inside a run, with readings in the stream "approach".
"""

import math
from typing import Any, NamedTuple

from bluesky import Msg

from stmtem_control.errors import ApproachError

from .approach_settings import ApproachSettings
from .current import Sample, read_level, steady_current, value_of
from .leakage import LEAST_GOHM, SETTLE_S, leak_of
from .notes import Fact, Notes
from .retraction import AWAY_STEPS, back_off, check_travel
from .roles import Plan, Probe, Source
from .stubs import carry_out, set_bias

WRONG = 0.1  # share of the bias by which a measured one may differ
BLIND = 5.0  # times the threshold; with more noise than that a contact may not be seen
QUICK = 8.0  # readings for which the least step is made; slower ones take longer steps
FINER = 5.0  # each finer sweep has steps so much smaller
LEAK_READINGS = 16
GROWS = 1.5  # in the gap the current grows by more than this with each least step
MOST_LEAST_STEPS = 200

STREAM = "approach"
STAGE = {
    "stage": Fact("leak", "", "What the approach is doing: leak, sweep, coarse, refine, ..."),
    "excess_A": Fact(0.0, "A", "Current over the leak."),
    "limit_A": Fact(0.0, "A", "From here on it is seen: threshold, or so many sigmas."),
    "seen": Fact(False, "", "Whether this reading is beyond it."),
}


class ShortError(ApproachError):
    """Metal on carbon; the probe must go back before this is told."""


class Stage(Notes):
    """What stands beside each reading of an approach; the excess is that of the reading itself."""

    def __init__(self, bias: Source) -> None:
        super().__init__(STREAM, STAGE)
        self._bias = bias
        self.leak_A = 0.0

    def read(self) -> dict[str, Any]:
        """Return the values; called after the source was triggered."""
        current = float(self._bias.current.get())
        excess = 0.0 if math.isnan(current) else current - self.leak_A
        self.write(excess_A=excess, seen=abs(excess) >= self.as_dict()["limit_A"] > 0.0)
        return super().read()


class Touch(NamedTuple):
    """A contact as it was met: fine offset (V), net coarse steps, and the current there."""

    fine_V: float
    coarse: int
    sample: Sample


class ContactSearch:
    """The senses and the hands of an approach.

    Parameters
    ----------
    probe, bias : device
        The piezo probe, the biasing source.
    settings : ApproachSettings
        How it is done.
    """

    def __init__(self, probe: Probe, bias: Source, settings: ApproachSettings) -> None:
        self.probe = probe
        self.bias = bias
        self.settings = settings
        self.stage = Stage(bias)
        self.leak_std_A = 0.0
        self.noise_A = 0.0
        self.leak_S = 0.0
        self.at_start = False  # in contact before anything moved
        self._each = 1

    # -- the leak -----------------------------------------------------------------------------

    def bias_on(self) -> Plan:
        """Apply the bias of the approach."""
        yield from set_bias(self.bias, self.settings.approach_V)
        yield from self.bias.clock.sleep(SETTLE_S)

    def away(self, steps: int = AWAY_STEPS) -> Plan:
        """Bias off, fine back, coarse back, and the bias on again."""
        yield Msg("stop", self.bias)
        yield from back_off(self.probe, steps)
        yield from self.bias_on()

    def learn_leak(self) -> Plan:
        """Find out what flows without a contact: from the baseline, or measured here."""
        self.stage.write(stage="leak")
        yield from carry_out("set", self.probe.z.fine, 0.0)
        yield from self.bias_on()
        here: Sample = yield from self._steady()
        known = leak_of(self.bias)
        if known is not None:
            volts = self.settings.approach_V
            noise = max(known.noise_A, here.noise_A)
            self._leak_is(known.current_A(volts), known.std_A(volts), noise)
            self.leak_S = known.conductance
            if not self.seen(here):
                return
        # Something flows, or nothing is known: what flows from further away is no contact.
        check_travel(self.probe, -AWAY_STEPS)
        yield from self.away()
        there: Sample = yield from self._steady()
        if known is not None and self.seen(there):
            raise ApproachError(
                f"approach: {there.current_A:.2e} A flow where the leak measured before says "
                f"{self.stage.leak_A:.2e} A, and going {AWAY_STEPS} coarse steps back did not "
                "change it: the slider does not move, or the insulation has changed; retract, look "
                "at the image, and run leakage_baseline again"
            )
        if known is None:
            if there.limited or abs(there.current_A) > self._most_leak_A:
                raise ApproachError(
                    f"approach: {there.current_A:.2e} A flow with the probe {AWAY_STEPS} coarse "
                    f"steps back, more than any sound holder leaks ({self._most_leak_A:.1e} A): "
                    "the slider does not move, or the insulation needs cleaning"
                )
            self._leak_is(there.current_A, there.std_A, max(here.noise_A, there.noise_A))
            self.leak_S = there.current_A / self.settings.approach_V
        self.at_start = abs(here.current_A - there.current_A) >= self.limit_A(here.readings)

    @property
    def _most_leak_A(self) -> float:
        return abs(self.settings.approach_V) / (1e9 * LEAST_GOHM)

    def _steady(self) -> Plan:
        return (
            yield from steady_current(
                self.bias, LEAK_READINGS, self.probe, self.stage, stream=STREAM
            )
        )

    def _leak_is(self, amperes: float, std_A: float, noise_A: float) -> None:
        self.stage.leak_A, self.leak_std_A, self.noise_A = amperes, std_A, noise_A
        self._each = self.settings.readings_for(noise_A)
        limit = self.limit_A(self._each)
        self.stage.write(limit_A=limit)
        if limit > BLIND * self.settings.threshold_A:
            raise ApproachError(
                f"approach: with a noise of {noise_A:.1e} A nothing below {limit:.1e} A can be "
                f"told from the leak, and a contact may be {self.settings.threshold_A:.1e} A; "
                "raise approach_V or threshold_A, or read with more NPLC or a smaller range"
            )

    # -- judging ------------------------------------------------------------------------------

    def limit_A(self, count: int) -> float:
        """Return the current over the leak (A) that is seen with so many readings."""
        known = math.hypot(1.2533 * self.noise_A / math.sqrt(count), self.leak_std_A)
        return max(self.settings.threshold_A, self.settings.sigmas * known)

    def excess_A(self, sample: Sample) -> float:
        """Return the current over the leak, in A."""
        return abs(sample.current_A - self.stage.leak_A)

    def seen(self, sample: Sample) -> bool:
        """Tell whether more flows than the leak and the noise explain."""
        return sample.limited or self.excess_A(sample) >= self.limit_A(sample.readings)

    def measure(self, count: int) -> Plan:
        """Read the current; a short is told at once.

        Raises
        ------
        ShortError
            So much flows, or the source is in compliance.
        ApproachError
            Another voltage is measured than was set.
        """
        sample: Sample
        sample, wanted, volts = yield from read_level(
            self.bias, count, self.probe, self.stage, stream=STREAM
        )
        self._check_bias(wanted, volts, sample)
        if count > 1 and (sample.limited or abs(sample.current_A) >= self.settings.short_A):
            raise ShortError(
                f"approach: {abs(sample.current_A):.2e} A at {self.settings.approach_V:g} V"
                f"{' (compliance)' if sample.limited else ''} is a short, not a contact through "
                "the oxide"
            )
        return sample

    @staticmethod
    def _check_bias(wanted: float, volts: float, sample: Sample) -> None:
        """Raise ApproachError when the bias is not there: nothing would ever flow."""
        if not sample.limited and abs(volts - wanted) > WRONG * abs(wanted):
            raise ApproachError(
                f"approach: the source was set to {wanted:g} V, but {volts:.3g} V are measured, so "
                "no current tells of a contact; look at the source and its cables"
            )

    def look(self) -> Plan:
        """Return a `Sample` when something flows, else None; one glitch is nothing.

        What the first reading shows must be shown by the median of the readings after it, too.
        """
        first: Sample = yield from self.measure(self._each)
        if not self.seen(first):
            return None
        again: Sample = yield from self.measure(max(self._each, self.settings.readings))
        return again if self.seen(again) else None

    # -- moving -------------------------------------------------------------------------------

    def fine_to(self, volts: float) -> Plan:
        """Move the fine offset."""
        yield Msg("checkpoint")
        yield Msg("set", self.probe.z.fine, round(volts, 6), group="fine")
        yield Msg("wait", None, group="fine")

    def sweep(self, start_V: float, end_V: float, step_V: float) -> Plan:
        """Go on from `start_V` until something flows; return that offset, None at the end."""
        fine = start_V
        while True:
            yield from self.fine_to(fine)
            if (yield from self.look()) is not None:
                return fine
            if fine >= end_V:
                return None
            fine = round(min(fine + step_V, end_V), 6)

    def part(self, fine_V: float, back_V: float) -> Plan:
        """Go back by `back_V` until nothing flows; return that offset, or None for never."""
        while fine_V > 0.0:
            fine_V = max(0.0, fine_V - back_V)
            yield from self.fine_to(fine_V)
            if (yield from self.look()) is None:
                return fine_V
        return None

    def refine(self, fine_V: float) -> Plan:
        """Part and meet again with smaller and smaller steps; return the offset, or None.

        Each time the probe goes back until nothing flows, so that it never goes deeper than the
        steps are long.
        """
        self.stage.write(stage="refine")
        step = self.settings.fine_step_V
        while step > self.least_V:
            free = yield from self.part(fine_V, 2.0 * step)
            if free is None:
                return None
            end = fine_V + 2.0 * self.settings.fine_step_V
            step = max(step / FINER, self.least_V)
            found = yield from self.sweep(free, min(end, self.highest_V), step)
            if found is None:
                return None  # it drifted away meanwhile
            fine_V = found
        return fine_V

    @property
    def least_V(self) -> float:
        """Step close to contact, in V: longer where it takes many readings, for the drift."""
        least = self.settings.least_step_V * max(1.0, self._each / QUICK)
        return min(least, self.settings.fine_step_V)

    @property
    def highest_V(self) -> float:
        """The highest fine offset that the station allows, in V."""
        return float(self.probe.z.fine.limits[1])

    def touch(self, fine_V: float) -> Plan:
        """From where something flows, go on in least steps until it is no gap any more.

        In the gap the current grows many times with each step, at a contact it stays.  Returns
        a `Touch`, or None when what flowed is gone.
        """
        self.stage.write(stage="touch")
        step, count = self.least_V, max(self._each, self.settings.readings)
        before: Sample = yield from self.measure(count)
        same = 0
        for _ in range(MOST_LEAST_STEPS):
            if fine_V + step > self.highest_V:
                return None
            fine_V = round(fine_V + step, 6)
            yield from self.fine_to(fine_V)
            now: Sample = yield from self.measure(count)
            if not self.seen(now):
                same = 0
            elif self.excess_A(now) < GROWS * self.excess_A(before):
                same += 1
            else:
                same = 0
            before = now
            # Twice: close to what skin and fibre let pass, the gap's share is small.
            if same == 2:
                return (yield from self._press(fine_V, now))
        return None

    def _press(self, fine_V: float, before: Sample) -> Plan:
        """Press a part of a fine step more, so that drift does not part them at once."""
        fine_V = round(min(fine_V + self.settings.fine_step_V / FINER, self.highest_V), 6)
        yield from self.fine_to(fine_V)
        now: Sample = yield from self.measure(before.readings)
        if not self.seen(now) or self.excess_A(now) > GROWS * self.excess_A(before):
            return None
        coarse = yield from value_of(self.probe.z.coarse)
        return Touch(fine_V, int(coarse), now)
