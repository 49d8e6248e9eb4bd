"""The probe while a plan is walked through: a gap, steps of known size, and a contact at its end.

On a simulated bench it is the bench's own probe: the same gap, slider and skin, with the seed of
the station file.  At a real station nobody knows the gap before; that of the bench is assumed, and
said.
"""

import math
import random
from collections.abc import Callable
from typing import Any

from stmtem_control.config import Station
from stmtem_control.device_limits import check_fine, check_steps
from stmtem_control.errors import LimitError
from stmtem_control.simulators import (
    OPEN_OHM,
    PRESETS,
    SHORT_OHM,
    START_GAP_NM,
    Contact,
    Gait,
    Stack,
    fitting,
    model_named,
    resolve,
)

from .latencies import Latencies
from .stand_in import DeviceStandIn, SignalStandIn, signals
from .tally import Tally
from .walked_clock import WalkedClock

Z = 2


class Circuit:
    """What flows through probe, skin, fibre and insulation, without lithium.

    Parameters
    ----------
    station : Station
    gap_nm : float
        Of the probe at the start.
    """

    def __init__(self, station: Station, gap_nm: float = START_GAP_NM) -> None:
        bench, source = station.bench, station.bias_source
        preset = bench.preset if bench is not None and bench.preset in PRESETS else "fig2"
        parameters = resolve(preset, {})
        self.contact = Contact(gap_nm=gap_nm)
        self.leak_S = 1e-9 / parameters["leak_resistance_GOhm"]
        self.series_S = 1e-9 / parameters["series_resistance_GOhm"]
        self._path_ohm = 1e9 * (
            parameters["series_resistance_GOhm"] + parameters["parallel_resistance_GOhm"]
        )
        self._place: tuple[float, float, float] | None = None
        self._known_S: float = 0.0
        model = model_named(source.model or "6430")
        scale = fitting(model.amps, source.compliance_A)
        self.noise_A = scale.noise / math.sqrt(source.nplc)
        self._seed = 0 if bench is None else bench.seed
        self._draw = random.Random(self._seed)

    def begin_leg(self) -> None:
        """Draw the noise anew, so that a leg is the same whatever was before it."""
        self._draw.seed(self._seed)

    def currents_A(self, volts: float, count: int) -> list[float]:
        """Return readings of the current in A at a level."""
        flows, noise, draw = volts * self._siemens(), self.noise_A, self._draw.gauss
        return [flows + draw(0.0, noise) for _ in range(count)]

    def _siemens(self) -> float:
        """Return the conductance of all of it, which changes when the probe moves only."""
        contact = self.contact
        place = contact.probe_nm
        if place == self._place:
            return self._known_S
        siemens = self.leak_S
        if contact.shorted:
            siemens = 1.0 / SHORT_OHM
        elif (gap := contact.gap_ohm) < OPEN_OHM:
            siemens = 1.0 / (self._path_ohm + gap) + 1.0 / contact.film_ohm
        self._place, self._known_S = place, siemens
        return float(siemens)


class AxisStandIn(DeviceStandIn):
    """One axis of the probe.

    Parameters
    ----------
    name : str
    number : int
        0, 1, 2 for x, y, z.
    station : Station
    clock : WalkedClock
    latencies : Latencies
    contact : Contact
        That it moves.
    tally : Tally
        Told of what would be refused.
    """

    def __init__(
        self,
        name: str,
        number: int,
        station: Station,
        clock: WalkedClock,
        latencies: Latencies,
        contact: Contact,
        tally: Tally,
    ) -> None:
        super().__init__(name)
        table = station.probe
        self._tally = tally
        self._number = number
        self._contact = contact
        self._stack = Stack()
        self._gait = Gait(1 if station.bench is None else station.bench.seed, number)
        self._steps_made = 0
        self._amplitude_V = table.amplitude_V
        self._step_s = 1.0 / table.frequency_Hz
        self._fine_s = latencies.fine * clock.speed
        self._look_s = latencies.look * clock.speed
        coarse, fine = f"{name}_coarse", f"{name}_fine"
        self.coarse = SignalStandIn(
            coarse,
            0,
            check=lambda v: self._checked(check_steps, coarse, v, table.max_steps),
            apply=self._go,
        )
        self.fine = SignalStandIn(
            fine,
            0.0,
            check=lambda v: self._checked(check_fine, fine, v, table.max_fine_V),
            apply=self._bend,
        )
        self.fine.limits = (0.0, table.max_fine_V)
        self.coarse.limits = (-table.max_steps, table.max_steps)

    def state(self) -> dict[str, float]:
        """Return what it is like, as :meth:`restore` takes it."""
        return {
            "fine_V": self.fine.value,
            "coarse": self.coarse.value,
            "steps_made": self._steps_made,
            "lagging_V": self._stack.lagging_V,
        }

    def restore(self, state: dict[str, float]) -> None:
        """Be as it was once."""
        self.fine.value, self.coarse.value = state["fine_V"], int(state["coarse"])
        self._steps_made = int(state["steps_made"])
        self._stack.lagging_V = state["lagging_V"]

    def _checked(self, check: Callable[..., None], *arguments: Any) -> None:
        """Take note of what is refused before a run; in it, a plan is told and goes by it."""
        try:
            check(*arguments)
        except LimitError as error:
            if self._tally.runs:
                raise
            self._tally.refuse("probe", error)

    def _bend(self, volts: float) -> float:
        self.fine.check_value(volts)
        self._contact.bend(self._number, self._stack.bend_nm(float(volts)))
        return self._fine_s

    def _go(self, steps: int) -> float:
        self.coarse.check_value(steps)
        missing = int(steps) - int(self.coarse.value)
        if not missing:
            return 0.0
        count = abs(missing)
        lengths = self._gait.lengths_nm(self._steps_made, count, self._amplitude_V, missing > 0)
        self._steps_made += count
        for length in lengths:
            self._contact.step(self._number, float(length))
        return count * self._step_s + self._look_s


class ProbeStandIn(DeviceStandIn):
    """The probe with its three axes; z carries it to the fibre.

    Parameters
    ----------
    name : str
    station : Station
    clock : WalkedClock
    latencies : Latencies
    circuit : Circuit
        Whose contact it makes.
    tally : Tally
        Told of what would be refused.
    """

    def __init__(
        self,
        name: str,
        station: Station,
        clock: WalkedClock,
        latencies: Latencies,
        circuit: Circuit,
        tally: Tally,
    ) -> None:
        super().__init__(name)
        self.clock = clock
        self._stop_s = latencies.fine * clock.speed

        def made(number: int) -> AxisStandIn:
            return AxisStandIn(
                f"{name}_{'xyz'[number]}", number, station, clock, latencies, circuit.contact, tally
            )

        self.x, self.y, self.z = made(0), made(1), made(Z)
        self._made = circuit.contact
        self.contact = SignalStandIn(f"{name}_contact", "open")
        self.step_size = signals(
            f"{name}_step_size",
            up_V=0.0, up_std_V=0.0, up_count=0,
            down_V=0.0, down_std_V=0.0, down_count=0, missed=0,
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return what it is like, as :meth:`restore` takes it."""
        return {
            "axes": [axis.state() for axis in (self.x, self.y, self.z)],
            "kind": self.contact.value,
            "sizes": {key: signal.value for key, signal in vars(self.step_size).items()},
            "contact": self._made.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Be as it was once."""
        for axis, its in zip((self.x, self.y, self.z), state["axes"], strict=True):
            axis.restore(its)
        self.contact.value = state["kind"]
        for key, value in state["sizes"].items():
            getattr(self.step_size, key).value = value
        self._made.restore(state["contact"])

    def ground(self) -> None:
        """Take all outputs to ground."""

    def stop(self, *, success: bool = True) -> float:
        """Stop all axes; return the station seconds that takes."""
        return self._stop_s
