"""A probe, a source and a specimen in one thread, on simulated time: plans run in milliseconds.

The instruments are the bench's own simulators, spoken to in their own languages without a wire;
the messages of a plan are carried out one by one.  What the contact truly is, the specimen knows.
"""

import math
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from bluesky import Msg

from stmtem_control.simulators import HandClock, Specimen
from stmtem_control.simulators.bias_source import SourceMeter
from stmtem_control.simulators.contact import Contact, Insulation
from stmtem_control.simulators.probe import ProbeController
from stmtem_control.simulators.server import Channel

__all__ = ["Point", "Rig", "Trouble"]

Z = 3  # the controller's axis
MAX_V = 10.0


class Trouble(NamedTuple):
    """What a specimen and its instruments are like, for one approach.

    Attributes
    ----------
    gap_nm, drift_nm_per_s, snap_in_nm : float
        Start, drift of the gap, reach of adhesion.
    skin : str
        "whole", "cracked" or "bare": what the probe meets.
    model : str
        Of the source: how much it reads of its own noise.
    leak_GOhm, absorption_pF, absorption_s : float
        Of holder and cables.
    step_nm, down_ratio, scatter, wear_per_step, missed : float
        Of the coarse slider.
    stuck : bool
        It does not move at all.
    glitches : float
        Share of the readings that are nonsense.
    """

    gap_nm: float = 240.0
    drift_nm_per_s: float = 0.0
    snap_in_nm: float = 0.5
    skin: str = "whole"
    model: str = "6430"
    leak_GOhm: float = 1000.0
    absorption_pF: float = 0.0  # noqa: N815
    absorption_s: float = 0.5
    step_nm: float = 60.0
    down_ratio: float = 0.8
    scatter: float = 0.03
    wear_per_step: float = 0.0
    missed: float = 0.0
    stuck: bool = False
    glitches: float = 0.0


class Point(NamedTuple):
    """One reading, and what was true at its end."""

    t: float
    stage: str
    fine_V: float
    coarse: int
    current_A: float
    gap_nm: float
    kind: str


class _Wire(Channel):
    """A client in this thread that keeps what it is sent."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.got = b""

    def _write(self, data: bytes) -> None:
        self.got += data


class _Value:
    """A signal that only remembers."""

    parent = None

    def __init__(self, name: str, value: Any, unit: str = "") -> None:
        self.name = name
        self.value = value
        self.limits = (0.0, 0.0)
        self._unit = unit

    def get(self) -> Any:
        return self.value

    def set(self, value: Any) -> None:
        self.value = value

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.value, "timestamp": 0.0}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"source": "rig", "dtype": "number", "shape": []}}

    def check_value(self, value: Any) -> None:
        low, high = self.limits
        if high > low and not low <= value <= high:
            raise ValueError(f"{self.name}: {value}")


def _values(name: str, *names: str) -> Any:
    return SimpleNamespace(**{each: _Value(f"{name}_{each}", 0.0) for each in names})


class _Coarse(_Value):
    def __init__(self, rig: "Rig") -> None:
        super().__init__("probe_z_coarse", 0)
        self.limits = (-200.0, 200.0)
        self._rig = rig

    def set(self, value: Any) -> None:
        steps = int(value) - self.value
        if steps:
            self._rig.ask_probe(f"step{'u' if steps > 0 else 'd'} {Z} {abs(steps)}")
            self._rig.clock.advance(abs(steps) * 1e-3 + 0.01)
        self.value = int(value)


class _Fine(_Value):
    def __init__(self, rig: "Rig") -> None:
        super().__init__("probe_z_fine", 0.0)
        self.limits = (0.0, 150.0)
        self._rig = rig

    def set(self, value: Any) -> None:
        self._rig.ask_probe(f"seta {Z} {value:.6f}")
        self._rig.clock.advance(abs(value - self.value) * 1e-4 + 0.002)
        self.value = float(value)


class _Probe:
    name, parent, unsafe = "probe", None, None

    def __init__(self, rig: "Rig") -> None:
        self.z = SimpleNamespace(coarse=_Coarse(rig), fine=_Fine(rig))
        self.contact = _Value("probe_contact", "open")
        self.step_size = _values(
            "step_size",
            "up_V", "up_std_V", "up_count", "down_V", "down_std_V", "down_count", "missed",
        )  # fmt: skip

    def ground(self) -> None:
        """Belong to the role of a probe."""

    def stop(self, **_: Any) -> None:
        """Be at rest: every motion here is over when its message is."""

    def read(self) -> dict[str, Any]:
        return {**self.z.coarse.read(), **self.z.fine.read(), **self.contact.read()}


class _Bias:
    name, parent, unsafe = "bias", None, None
    paused_s = 0.0

    def __init__(self, rig: "Rig", compliance_A: float) -> None:
        self._rig = rig
        self.clock = SimpleNamespace(now=rig.clock.now, speed=1.0, sleep=_sleep)
        self.setpoint = _Value("bias_setpoint", 0.0)
        self.voltage = _Value("bias_voltage", 0.0)
        self.current = _Value("bias_current", 0.0)
        self.in_compliance = _Value("bias_in_compliance", False)
        self.output = _Value("bias_output", False)
        self.compliance = _Value("bias_compliance", compliance_A)
        self.leak = _Value("bias_leak", 0.0)
        self.baseline = _values(
            "baseline", "leak_std", "offset", "offset_std", "noise", "measured_at"
        )

    def set_compliance(self, amperes: float) -> None:
        """Belong to the role of a source."""

    def check_value(self, value: float) -> None:
        if abs(value) > MAX_V:
            raise ValueError(f"bias: {value}")

    def set(self, value: float) -> None:
        self._rig.ask_source(f":SOUR:VOLT {value:.6E};:OUTP ON")
        self.setpoint.value, self.output.value = value, True

    def trigger(self) -> None:
        answer = self._rig.ask_source(":READ?").split(",")
        volts, amps, status = float(answer[0]), float(answer[1]), int(float(answer[3]))
        self.voltage.value = volts
        self.current.value = self._rig.disturbed(amps)
        self.in_compliance.value = bool(status & (1 << 3 | 1 << 16))

    def stop(self, **_: Any) -> None:
        self._rig.ask_source(":OUTP OFF;:SOUR:VOLT 0")
        self.setpoint.value, self.output.value = 0.0, False

    def read(self) -> dict[str, Any]:
        return {**self.voltage.read(), **self.current.read()}


def _sleep(seconds: float) -> Generator[Msg, Any, None]:
    yield Msg("sleep", None, seconds)


class Rig:
    """Everything that an approach needs, around one specimen.

    Parameters
    ----------
    seed : int
        Of the meter's noise, the slider's scatter and the glitches.
    trouble : Trouble
        What they are like.
    """

    def __init__(self, seed: int, trouble: Trouble) -> None:
        self.trouble = trouble
        self.clock = HandClock()
        self.specimen = Specimen(
            self.clock,
            seed=seed,
            leak_GOhm=trouble.leak_GOhm,
            contact=Contact(
                gap_nm=trouble.gap_nm,
                drift_nm_per_s=trouble.drift_nm_per_s,
                snap_in_nm=trouble.snap_in_nm,
                snap_out_nm=trouble.snap_in_nm + 0.5,
                **{
                    "whole": {},
                    "cracked": {"crack_nm": -1.0},
                    "bare": {"crack_nm": -1.0, "pierce_nm": -1.0},
                }[trouble.skin],
            ),
            insulation=Insulation(
                absorption_pF=trouble.absorption_pF, absorption_s=trouble.absorption_s
            ),
        )
        self.meter = SourceMeter(self.clock, self.specimen, model=trouble.model, seed=seed)
        self.controller = ProbeController(self.clock, self.specimen, seed=seed)
        self.specimen.before_looking = self.controller.settle
        axis = self.controller.axes[Z - 1]
        axis.stuck = trouble.stuck
        gait = axis.gait
        gait.nm_per_V = trouble.step_nm / 20.0  # at 30 V, 10 V below which nothing moves
        gait.down_ratio, gait.scatter = trouble.down_ratio, trouble.scatter
        gait.wear_per_step, gait.missed = trouble.wear_per_step, trouble.missed
        self._random = np.random.default_rng(seed)
        self._source_wire, self._probe_wire = _Wire("tcp"), _Wire("rig")
        self.meter.opened(self._source_wire)
        self.controller.console.opened(self._probe_wire)
        self.ask_probe("echo off")
        self.ask_probe(f"setm {Z} stp+")
        self._set_up_source()
        self.probe: Any = _Probe(self)
        self.bias: Any = _Bias(self, 1e-8)
        self.beam: Any = SimpleNamespace(name="beam", parent=None, unsafe=None, blanked=True,
                                    stop=lambda **_: None)  # fmt: skip
        #: Every reading of the source, and what was true then.
        self.points: list[Point] = []
        #: What the contact truly was when the plan noted its judgement.
        self.truth = ""
        #: What the plan noted, by stream: data of its last event.
        self.noted: dict[str, dict[str, Any]] = {}

    def _set_up_source(self) -> None:
        lowest = {"6430": 1e-8, "2450": 1e-8, "2400": 1e-6}[self.trouble.model]
        for command in (
            "*RST", ":OUTP:SMOD HIMP", ":SYST:AZER OFF",
            ':SENS:FUNC:CONC ON;:SENS:FUNC "VOLT","CURR"',
            ":SOUR:DEL 0", ":FORM:ELEM VOLT,CURR,TIME,STAT", ":SOUR:VOLT:RANG 20",
        ):  # fmt: skip
            self.ask_source(command)
        for amperes in (1e-5, 1e-6, 1e-7, 1e-8):
            self.ask_source(f":SENS:CURR:PROT {amperes:g}")
            self.ask_source(f":SENS:CURR:RANG {max(amperes, lowest):g}")
        error = self.ask_source(":SYST:ERR?")
        if not error.startswith("0"):
            raise RuntimeError(f"the simulated source was not set up: {error}")

    def ask_source(self, message: str) -> str:
        """Send a message and return the answer."""
        self._source_wire.got = b""
        self.meter.received(self._source_wire, message.encode() + b"\n")
        return self._source_wire.got.decode().strip()

    def ask_probe(self, request: str) -> str:
        """Send a line to the controller's console and return the answer."""
        self._probe_wire.got = b""
        self.controller.console.received(self._probe_wire, request.encode() + b"\r\n")
        return self._probe_wire.got.decode()

    def disturbed(self, amperes: float) -> float:
        """Return what arrives of a reading."""
        if self._random.random() < self.trouble.glitches:
            return amperes + float(self._random.choice([-1, 1])) * 10 ** self._random.uniform(
                -11, -9
            )
        return amperes

    def run(self, plan: Generator[Msg, Any, Any]) -> Any:
        """Carry out a plan; return what it returns, raise what it raises."""
        answer: Any = None
        try:
            message = next(plan)
            while True:
                try:
                    answer = self._carry_out(message)
                except Exception as error:
                    message = plan.throw(error)
                else:
                    message = plan.send(answer)
        except StopIteration as end:
            return end.value

    def _carry_out(self, message: Msg) -> Any:
        device: Any = message.obj
        match message.command:
            case "set":
                device.set(*message.args)
            case "trigger":
                device.trigger()
            case "sleep":
                self.clock.advance(*message.args)
            case "stop":
                device.stop()
            case "create":
                self._event: dict[str, Any] = {}
                self._stream = message.kwargs["name"]
            case "read":
                found = device.read()
                self._event = {**getattr(self, "_event", {}), **found}
                return found
            case "save":
                self._saved()
        return None

    def _saved(self) -> None:
        data = {key: each["value"] for key, each in self._event.items()}
        self.noted[self._stream] = data
        self._event = {}
        kind = self.specimen.contact_kind()
        if self._stream == "contact":
            self.truth = kind
        if "bias_current" in data and not math.isnan(data["bias_current"]):
            self.points.append(
                Point(
                    self.clock.now(), data.get("approach_stage", self._stream),
                    float(self.probe.z.fine.get()), int(self.probe.z.coarse.get()),
                    float(data["bias_current"]), self.specimen.gap_nm, kind,
                )
            )  # fmt: skip

    def close(self) -> None:
        """End the instruments."""
        self.meter.close()
        self.controller.close()
