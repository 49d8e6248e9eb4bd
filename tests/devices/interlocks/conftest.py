"""Interlocks over the simplest instruments that answer."""

from collections.abc import Iterator
from typing import Any

import pytest

from stmtem_control.devices import (
    BeamBlanker,
    BiasSource,
    FrameCamera,
    Interlocks,
    PiezoProbe,
    SafeState,
)
from stmtem_control.interlock_table import InterlocksTable
from stmtem_control.timeline import Timeline

from .trips import Make, Told


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def make(
    bias: BiasSource,
    beam: BeamBlanker,
    probe: PiezoProbe,
    camera: FrameCamera,
    clock: Any,
    timeline: Timeline,
    told: Told,
) -> Iterator[Make]:
    """Make interlocks that watch; the station's clock stands still unless a test moves it."""
    made: list[Interlocks] = []

    def start(**keys: Any) -> Interlocks:
        data = keys.pop("data", None)
        interlocks = Interlocks(
            bias=bias,
            beam=beam,
            probe=probe,
            camera=camera,
            safe_state=keys.pop("safe_state", None) or SafeState(bias, beam, probe),
            clock=clock,
            timeline=timeline,
            # Nothing that depends on how busy the computer is, unless a test wants it.
            table=InterlocksTable(**{"watch_s": 10.0, "probe_look_s": "off", **keys}),
            reading_s=0.045,
            data=data,
        )
        interlocks.on_trip = told
        made.append(interlocks)
        interlocks.start()
        return interlocks

    yield start
    for interlocks in made:
        interlocks.close()
