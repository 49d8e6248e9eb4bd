"""Measure at the contact what a coarse step is worth."""

from collections.abc import Callable
from typing import Any

from bluesky import Msg

from stmtem_control.errors import ApproachError, LimitError

from .contact_search import ContactSearch, Touch
from .retraction import check_travel
from .roles import Plan
from .step_sizes import (
    ENOUGH,
    Direction,
    count_missed,
    keep_size,
    known_size,
)
from .stubs import carry_out

MOVES: tuple[Direction, ...] = ("down", "down", "up")  # ends further away than it began
STILL_V = 0.4  # a contact that shifts by less has not been moved; drift and hysteresis make this
MOST_STILL = 3


def learn_steps(search: ContactSearch, touch: Touch, meet: Callable[[float], Plan]) -> Plan:
    """Make coarse steps away and back, and see where the contact is after each.

    Nothing is done when both directions are known well, or when the probe may not go back.
    Returns the last `Touch`.

    Raises
    ------
    ApproachError
        The slider does not move.
    """
    probe: Any = search.probe
    if all(known_size(probe, direction).steps >= ENOUGH for direction in MOVES):
        return touch
    for direction in MOVES:
        for _ in range(MOST_STILL):
            if not _room(search, touch, direction):
                return touch
            before = touch
            search.stage.write(stage="learn")
            yield from search.fine_to(0.0)
            yield Msg("checkpoint")
            goal = before.coarse + (1 if direction == "up" else -1)
            yield from carry_out("set", probe.z.coarse, goal)
            touch = yield from meet(_below(search, before, direction))
            shift = touch.fine_V - before.fine_V
            if direction == "up":
                shift = -shift
            size = known_size(probe, direction)
            if touch.coarse != before.coarse + (1 if direction == "up" else -1):
                break  # other steps came in between: nothing to learn from
            if shift > STILL_V and (not size.known or size.moved(shift)):
                yield from keep_size(probe, direction, size.with_step(shift))
                break
            yield from count_missed(probe)
        else:
            raise ApproachError(
                f"approach: {MOST_STILL} coarse steps {direction} left the contact at "
                f"{touch.fine_V:.2f} V of fine offset: the slider is stuck; raise the step "
                "amplitude, or clean it"
            )
    return touch


def _below(search: ContactSearch, touch: Touch, direction: Direction) -> float:
    """Return a fine offset that is surely below the contact after a step from `touch`."""
    margin = 2.0 * search.settings.fine_step_V
    if direction == "down":
        return max(0.0, touch.fine_V - margin)
    up = known_size(search.probe, "up")
    return max(0.0, touch.fine_V - up.longest_V - margin) if up.known else 0.0


def _room(search: ContactSearch, touch: Touch, direction: Direction) -> bool:
    """Tell whether a step leaves the contact within the fine range."""
    probe: Any = search.probe
    if direction == "down":
        try:
            check_travel(probe, -1)
        except LimitError:
            return False
        longest = known_size(probe, "down").longest_V or search.settings.fine_range_V
        return touch.fine_V + longest < search.highest_V
    # A step up that is not known yet: hardly more than twice one down.
    longest = known_size(probe, "up").longest_V or 2.0 * known_size(probe, "down").volts
    return longest < touch.fine_V
