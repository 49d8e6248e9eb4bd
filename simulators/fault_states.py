"""Faults that are states of the bench: how each begins and how it ends."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from .fault_board import LiveFault, Undo
from .fault_tap import Tap

if TYPE_CHECKING:
    from .bench import Bench


def nothing() -> None:
    """Do nothing: what a state that is over at once leaves to undo."""


def begin(bench: "Bench", live: LiveFault) -> Undo:
    """Put the bench into the state of a fault; return how to end it."""
    return STATES[live.fault.kind](bench, live)


def _taps(bench: "Bench", live: LiveFault) -> list[Tap]:
    return bench.taps[live.fault.where]


def _close(bench: "Bench", live: LiveFault) -> Undo:
    for tap in _taps(bench, live):
        tap.close_connections()
    return nothing


def _refuse(bench: "Bench", live: LiveFault) -> Undo:
    return _refusing(_taps(bench, live))


def _refusing(taps: list[Tap]) -> Undo:
    endpoints = [tap.endpoint for tap in taps if tap.endpoint is not None]
    for endpoint in endpoints:
        endpoint.refuse()

    def accept() -> None:
        for endpoint in endpoints:
            endpoint.accept()

    return accept


def _silence(bench: "Bench", live: LiveFault) -> Undo:
    return _silencing(_taps(bench, live))


def _silencing(taps: list[Tap]) -> Undo:
    for tap in taps:
        tap.set_silent(True)

    def speak() -> None:
        for tap in taps:
            tap.set_silent(False)

    return speak


def _stall(bench: "Bench", live: LiveFault) -> Undo:
    taps = _taps(bench, live)
    for tap in taps:
        tap.set_stalled(True)

    def go_on() -> None:
        for tap in taps:
            tap.set_stalled(False)

    return go_on


STATES: dict[str, Callable[["Bench", LiveFault], Undo]] = {
    "close": _close,
    "refuse": _refuse,
    "silence": _silence,
    "stall": _stall,
}
