"""Bring the probe to contact, and no further."""

from typing import Any, NoReturn

import bluesky.preprocessors as bpp
from bluesky import Msg
from bluesky.protocols import Movable, Readable

from stmtem_control.errors import ApproachError, LimitError

from .approach_settings import DEFAULTS, ApproachSettings
from .contact_judgement import Judgement, judge
from .contact_search import ContactSearch, ShortError, Touch
from .current import value_of
from .leakage import leak_metadata
from .legs import leg
from .limits import check_roles
from .retraction import AWAY_STEPS, back_off, check_travel
from .roles import Plan, Probe, Source
from .safety import safe
from .step_learning import learn_steps
from .step_sizes import known_size, step_metadata
from .stubs import carry_out

USED = 0.8  # share of the fine range that coarse steps may take at once
MOST_OVERSHOOTS = 4
MOST_TRIES = 5  # to meet a contact again that was seen once
MOST_AWAY = 3  # times to go back from a short


class _Approach:
    """One approach, from wherever the probe is."""

    def __init__(self, probe: Probe, bias: Source, settings: ApproachSettings) -> None:
        self.probe = probe
        self.bias = bias
        self.settings = settings
        self.search = ContactSearch(probe, bias, settings)
        self.taken = 0
        self.overshoots = 0

    def run(self) -> Plan:
        """Approach; return what the contact is, as a `Judgement`."""
        try:
            yield from self.search.learn_leak()
            touch: Touch = yield from self.meet(0.0)
            if self.settings.learn_steps:
                touch = yield from learn_steps(self.search, touch, self.meet)
            judgement = yield from self._judged(touch)
        except ShortError as error:
            raise (yield from self._left(error)) from None
        except ApproachError:
            yield Msg("stop", self.bias)
            yield from carry_out("set", self.probe.z.fine, 0.0)
            raise
        yield from carry_out("set", self.probe.contact, judgement.kind)
        yield from self.bias_to_rest()
        return judgement

    def _judged(self, touch: Touch) -> Plan:
        """Return the `Judgement`; a contact that is lost meanwhile is met again."""
        for _ in range(MOST_TRIES):
            judgement: Judgement | None = yield from judge(self.search, touch, self.taken)
            if judgement is not None:
                return judgement
            margin = 2.0 * self.settings.fine_step_V
            yield from self.search.bias_on()
            touch = yield from self.meet(max(0.0, touch.fine_V - margin))
        raise ApproachError(
            f"approach: the contact was lost {MOST_TRIES} times while it was judged; the probe "
            "drifts or shakes: wait, and try again"
        )

    def bias_to_rest(self) -> Plan:
        """Go to 0 V; the contact stays."""
        yield Msg("checkpoint")
        yield from carry_out("set", self.bias, 0.0)

    def meet(self, start_V: float) -> Plan:
        """Find the contact from a fine offset on; return a `Touch`."""
        search, settings = self.search, self.settings
        tries = 0
        while True:
            search.stage.write(stage="sweep")
            end = max(settings.fine_range_V, min(start_V + settings.fine_range_V, search.highest_V))
            seen = yield from search.sweep(start_V, end, settings.fine_step_V)
            if seen is None:
                yield from self._come_nearer()
                start_V = 0.0
                continue
            if seen == start_V == 0.0:
                yield from self._overshot()
                continue
            fine = yield from search.refine(seen)
            touch = None if fine is None else (yield from search.touch(fine))
            if touch is not None:
                return touch
            tries += 1
            if tries == MOST_TRIES:
                raise ApproachError(
                    f"approach: a contact was seen {tries} times near {seen:.2f} V of fine offset "
                    "and lost again each time; the probe drifts or shakes: wait, and try again"
                )
            free = yield from value_of(self.probe.z.fine)
            start_V = max(0.0, min(float(free), seen) - 2.0 * settings.fine_step_V)
            if fine is None and float(free) == 0.0:
                yield from self._overshot()
                start_V = 0.0

    # -- coarse -------------------------------------------------------------------------------

    def _come_nearer(self) -> Plan:
        """Fine back, then coarse steps that are together shorter than the fine range."""
        settings, search = self.settings, self.search
        search.stage.write(stage="coarse")
        yield from search.fine_to(0.0)
        for _ in range(self._steps_at_once()):
            if self.taken >= settings.max_coarse_steps:
                self._give_up(
                    f"(threshold {settings.threshold_A:.1e} A over a leak of "
                    f"{search.stage.leak_A:.1e} A); look for the probe in the image, see that its "
                    "steps move it, or allow more with max_coarse_steps"
                )
            try:
                check_travel(self.probe, 1)
            except LimitError as error:
                self._give_up(f"; {error}")
            yield from self._step(1)
            self.taken += 1
            # One at a time, with a look after each: at worst one step too far.
            if (yield from search.look()) is not None:
                yield from self._overshot()
                return

    def _step(self, steps: int) -> Plan:
        yield Msg("checkpoint")
        here = yield from value_of(self.probe.z.coarse)
        yield from carry_out("set", self.probe.z.coarse, int(here) + steps)

    def _steps_at_once(self) -> int:
        settings, up = self.settings, known_size(self.probe, "up")
        if not up.known:
            return settings.coarse_step
        count = up.steps_within(USED * settings.fine_range_V)
        if count == 0:
            raise ApproachError(
                f"approach: one coarse step moves the probe by {up.volts:.1f} V of fine offset "
                f"(+- {up.std_V:.1f} V), too much for a fine_range_V of {settings.fine_range_V:g}; "
                "raise fine_range_V, or lower the step amplitude"
            )
        return count

    def _overshot(self) -> Plan:
        """Something flows with the fine offset at zero: go back, and come again."""
        self.search.stage.write(stage="overshoot")
        self.overshoots += 1
        if self.overshoots > MOST_OVERSHOOTS:
            yield Msg("stop", self.bias)
            yield from back_off(self.probe, AWAY_STEPS)
            raise ApproachError(
                f"approach: coarse steps ran into the contact {self.overshoots} times; the slider "
                "sticks and jumps: lower the step amplitude, or choose another step frequency"
            )
        yield from self.search.away()
        self.taken = max(0, self.taken - AWAY_STEPS)

    def _give_up(self, why: str) -> NoReturn:
        up = known_size(self.probe, "up")
        way = f" (about {self.taken * up.volts:.0f} V of fine offset)" if up.known else ""
        raise ApproachError(
            f"approach: no contact after {self.taken} coarse steps{way} and "
            f"{self.settings.fine_range_V:g} V of fine travel {why}"
        ) from None

    def _left(self, error: ShortError) -> Plan:
        """Go back from a short until it is gone; return the error that tells of it."""
        search = self.search
        search.stage.write(stage="retreat")
        steps = AWAY_STEPS
        for _ in range(MOST_AWAY):
            yield Msg("stop", self.bias)
            yield from back_off(self.probe, AWAY_STEPS)
            yield from search.bias_on()
            try:
                gone = (yield from search.look()) is None
            except ShortError:
                gone = False
            if gone:
                break
            steps += AWAY_STEPS
        else:
            yield from carry_out("set", self.probe.contact, "short")
            return ApproachError(
                f"{error}, and it is still there {steps - AWAY_STEPS} coarse steps back: the "
                "slider does not move; take the probe away by hand"
            )
        return ApproachError(f"{error}; the probe was taken back {steps} steps")


def seek_contact(probe: Probe, bias: Source, settings: ApproachSettings = DEFAULTS) -> Plan:
    """Inside a run: approach along z until the current says contact; see `approach_contact`.

    The bias is at 0 V at the end.

    Returns
    -------
    dict
        What stands in the event of stream "contact": `kind`, `resistance_ohm`, `fine_V`, ...
    """

    def course() -> Plan:
        judgement: Judgement = yield from _Approach(probe, bias, settings).run()
        return judgement.as_dict()

    return (yield from leg("approach", probe, settings.as_dict(), course))


def check_approach(probe: Any, bias: Any, settings: ApproachSettings = DEFAULTS) -> None:
    """Raise LimitError for what the station does not allow of an approach."""
    check_roles(probe=probe, bias=bias)
    settings.check_station(probe, bias)
    check_travel(probe, -AWAY_STEPS)


def approach_contact(
    probe: Readable,
    bias: Movable,
    beam: Movable,
    *,
    approach_V: float = DEFAULTS.approach_V,
    threshold_A: float = DEFAULTS.threshold_A,
    short_A: float = DEFAULTS.short_A,
    sigmas: float = DEFAULTS.sigmas,
    readings: int = DEFAULTS.readings,
    oxide_GOhm: float = DEFAULTS.oxide_GOhm,
    fine_step_V: float = DEFAULTS.fine_step_V,
    least_step_V: float = DEFAULTS.least_step_V,
    fine_range_V: float = DEFAULTS.fine_range_V,
    coarse_step: int = DEFAULTS.coarse_step,
    max_coarse_steps: int = DEFAULTS.max_coarse_steps,
    learn_steps: bool = DEFAULTS.learn_steps,
    md: dict[str, Any] | None = None,
) -> Plan:
    """Approach the probe to the fibre until it touches, beam blanked, then take the bias off.

    Fine travel first, a step at a time with a reading at each; when its range is used up without
    contact, fine back to zero, some coarse steps, and again.  Where something flows over the leak,
    the probe goes back and comes again in smaller steps, until the current no longer grows with
    each step as it does in a gap.  Size and direction of coarse steps are learned at the contact.
    The probe stays in contact at the end; the bias is at 0 V and the output off.

    Parameters
    ----------
    probe, bias, beam : device
        The piezo probe, the biasing source, the beam blanker.
    approach_V : float
        Bias while approaching, in V.  Positive: no lithium can be deposited.
    threshold_A : float
        Least current over the leak that can be a contact, in A.
    short_A : float
        Current that means a short through the oxide, in A: the probe is taken back.
    sigmas : float
        A current is seen when it exceeds the leak by so many standard deviations.
    readings : int
        Readings that confirm each decision.
    oxide_GOhm : float
        A contact of less than so many GOhm is ohmic, one of more is through the oxide.
    fine_step_V, least_step_V : float
        Step of the fine offset while nothing is seen, and close to contact, in V of the piezo.
    fine_range_V : float
        How far the fine offset goes before coarse steps are taken, in V of the piezo.
    coarse_step : int
        Coarse steps between two fine sweeps, as long as their size is not known; together shorter
        than the fine range.
    max_coarse_steps : int
        Give up after so many.
    learn_steps : bool
        Measure the size of coarse steps at the contact while it is not well known.
    md : dict, optional
        Metadata for the start document.

    Returns
    -------
    dict
        What stands in the event of stream "contact": `kind` (oxide or ohmic), `resistance_ohm`,
        `fine_V`, `coarse`, ...

    Raises
    ------
    ApproachError
        No contact within the travel allowed, or a short, or a slider that does not move.
    LimitError
        A parameter is outside what the station allows; nothing has moved.
    """
    settings = ApproachSettings(
        approach_V=approach_V,
        threshold_A=threshold_A,
        short_A=short_A,
        sigmas=sigmas,
        readings=readings,
        oxide_GOhm=oxide_GOhm,
        fine_step_V=fine_step_V,
        least_step_V=least_step_V,
        fine_range_V=fine_range_V,
        coarse_step=coarse_step,
        max_coarse_steps=max_coarse_steps,
        learn_steps=learn_steps,
    )
    check_approach(probe, bias, settings)
    start = {
        "plan_name": "approach_contact",
        "plan_args": settings.as_dict(),
        **leak_metadata(bias),
        **step_metadata(probe),
        **(md or {}),
    }
    found: dict[str, Any] = {}
    carried: Any = probe
    source: Any = bias

    def body() -> Plan:
        # Not all of Bluesky's wrappers hand on what a plan returns.
        found.update((yield from seek_contact(carried, source, settings)))

    staged = bpp.stage_wrapper(bpp.run_wrapper(body(), md=start), [bias, beam])
    yield from safe(staged, bias, beam, probe=probe)
    return found
