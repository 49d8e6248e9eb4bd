"""Follows a protocol: what is checked before anything moves, and what each step does."""

import logging
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import Msg

from stmtem_control.errors import InterlockError, LimitError
from stmtem_control.protocol import Biased, Protocol, waits_that_are_over
from stmtem_control.units import si

from .approach import check_approach, seek_contact
from .approach_settings import ApproachSettings
from .clapperboard import check_clapperboard, lit_s
from .coulombs import Coulombs
from .frames import declare_frames, snapshot, snapshot_s
from .leakage import BaselineSettings, check_baseline, leak_metadata, measure_leak
from .looks import DIFFRACTION, SURVEY, look_in
from .questions import Person, Question, ask_person
from .recorded_block import RECORDED, Block, Lab, run_block, stretches_of
from .retraction import back_off, check_travel
from .roles import Plan
from .step_record import StepRecord
from .step_sizes import step_metadata
from .step_words import words_of
from .stubs import mark, set_bias, watch
from .timetable import Timetable
from .until import check_detectors

log = logging.getLogger(__name__)

RATES_DIFFER = 0.05  # relative: a dose rate that differs by more is another one


class Follower:
    """Follows one protocol, once.

    Parameters
    ----------
    lab : Lab
        The devices.
    protocol : Protocol
    detectors : dict, optional
        What sees events, by name.
    ask : callable, optional
        Asks the person at the microscope.

    Attributes
    ----------
    endings : list of dict
        Number, kind and reason of the end of each step, as they end.
    """

    def __init__(
        self, lab: Lab, protocol: Protocol, detectors: dict[str, Any] | None, ask: Any
    ) -> None:
        self.endings: list[dict[str, Any]] = []
        self._lab = lab
        self._protocol = protocol
        self._detectors = detectors
        self._person = Person(ask) if ask is not None else None
        energy = getattr(lab.beam, "energy_keV", None)
        self._record = StepRecord(
            len(protocol.steps),
            site=protocol.site or "",
            beam_energy_keV=0.0 if energy is None else float(energy.get()),
        )
        self._coulombs = Coulombs(lab.bias)
        self._parts = self._sections()

    def _sections(self) -> list[Any]:
        """Return blocks, and single steps as (number, step), in order."""
        protocol = self._protocol
        parts: list[Any] = []
        for number, step in enumerate(protocol.steps, 1):
            block = parts[-1] if parts and isinstance(parts[-1], Block) else None
            if step.kind in RECORDED:
                if block is None:
                    block = Block(protocol.pre_roll_s, protocol.clapperboard)
                    parts.append(block)
                block.stretches.extend(stretches_of(number, step))
            elif step.kind == "comment" and block is not None:
                block.stretches.extend(stretches_of(number, step))
            else:
                if block is not None and step.kind == "blank" and step.bias_V:
                    block.keep_bias = not block.clapperboard
                parts.append((number, step))
        return parts

    # -- before anything moves ----------------------------------------------------------------

    def check(self) -> None:
        """Raise LimitError or InterlockError for what the station does not allow."""
        protocol, lab = self._protocol, self._lab
        camera = protocol.camera
        for biased in protocol.biased():
            for volts in biased.biases_V if isinstance(biased, Biased) else (biased.bias_V,):
                _told(biased, lab.bias.check_value, volts)
        lab.camera.check_timing(exposure_s=camera.exposure_s, frame_rate_Hz=camera.rate_Hz)
        if protocol.clapperboard:
            check_clapperboard(lab.bias, lab.camera)
        check_detectors(protocol.events, self._detectors)
        for wait in waits_that_are_over(protocol):
            if wait.certain:
                raise LimitError(wait.one_line())
        for step in protocol.steps:
            self._check_step(step)
        self._check_beam()

    def _check_step(self, step: Any) -> None:
        lab = self._lab
        if step.kind in ("approach", "retract") and lab.probe is None:
            raise LimitError(f"{_place(step)}{step.kind}: there is no probe")
        if step.kind in ("prompt", "site", SURVEY, DIFFRACTION) and self._person is None:
            raise LimitError(
                f"{_place(step)}{step.kind}: a person must be asked, and nobody can be; give the "
                "plan ask=, a function that takes the question and returns the answer"
            )
        if step.kind == "approach":
            _told(step, check_approach, lab.probe, lab.bias, _approach(step))
        elif step.kind == "retract":
            _told(step, check_travel, lab.probe, -step.steps)
        elif step.kind == "leakage_baseline":
            _told(step, check_baseline, lab.bias, lab.probe, _baseline(step))

    def _check_beam(self) -> None:
        wanted, rate = self._protocol.beam, float(self._lab.beam.dose_rate.get())
        said = wanted.dose_rate_e_per_A2_s
        if said is not None and abs(said - rate) > RATES_DIFFER * rate:
            raise LimitError(
                f"beam: dose_rate is {said:g} e/A^2/s in the protocol, and {rate:g} e/A^2/s as "
                "the station is calibrated; set the beam to the setting that is meant, or change "
                "the protocol"
            )
        dose, most = max(self.open_s().values()) * rate, wanted.budget_e_per_A2
        if most is not None and dose > most:
            raise InterlockError(
                f"beam: the protocol would give a site {dose:.4g} e/A^2, its own budget is "
                f"{most:.4g}; "
                "make it shorter, blank more, or raise the budget"
            )

    def open_s(self) -> dict[str, float]:
        """Return for how many seconds the beam is open, at most, by site; "" for no name."""
        camera, site = self._protocol.camera, self._protocol.site or ""
        open_s = {site: 0.0}
        for part in self._parts:
            if isinstance(part, Block):
                open_s[site] += part.longest_s
                if part.clapperboard:
                    lit = lit_s(self._lab.camera, camera.rate_Hz, camera.exposure_s)
                    open_s[site] += 2.0 * lit
            elif part[1].kind == "site":
                site = part[1].text.strip()
                open_s.setdefault(site, 0.0)
            else:
                for frames in _looks(part[1]):
                    open_s[site] += snapshot_s(frames, camera.rate_Hz)
        return open_s

    def metadata(self) -> dict[str, Any]:
        """Return what the start document has of the protocol."""
        protocol = self._protocol
        given = protocol.metadata.model_dump(exclude_none=True)
        if protocol.site is not None:
            given["site"] = protocol.site
        if protocol.shows is not None:
            given["shows"] = protocol.shows
        return {
            "protocol": protocol.name,
            "protocol_text": protocol.text or protocol.to_yaml(),
            "plan_args": {"protocol": protocol.to_json_dict()},
            **leak_metadata(self._lab.bias),
            **({} if self._lab.probe is None else step_metadata(self._lab.probe)),
            **given,
        }

    # -- the run ------------------------------------------------------------------------------

    def run(self, start: dict[str, Any]) -> Plan:
        """Set up the camera, and do everything in one run."""
        camera = self._protocol.camera
        timing = {"exposure_s": camera.exposure_s, "frame_rate_Hz": camera.rate_Hz}
        yield from bps.configure(self._lab.camera, timing)
        return (yield from bpp.run_wrapper(self._body(), md=start))

    def _body(self) -> Plan:
        if any(isinstance(part, Block) or _looks(part[1]) for part in self._parts):
            yield from declare_frames(self._lab.camera)
        for part in self._parts:
            if isinstance(part, Block):
                yield from self._block(part)
            else:
                yield from self._single(*part)

    def _block(self, block: Block) -> Plan:
        def ended(number: int, kind: str, reason: str) -> None:
            self.endings.append({"number": number, "kind": kind, "reason": reason})

        yield from run_block(
            block, self._lab, self._record, self._coulombs, self._detectors, ended=ended
        )
        if not block.keep_bias:
            self._coulombs.part()

    def _single(self, number: int, step: Any) -> Plan:
        lab, kind = self._lab, step.kind
        text = words_of(step)
        log.info("step %d: %s: %s", number, kind, text)
        more = {"where": step.where, "bias_V": float(getattr(step, "bias_V", None) or 0.0)}
        if kind == DIFFRACTION:
            more |= {"mode": kind, "camera_length_m": step.camera_length_m or 0.0}
        elif kind == SURVEY:
            more |= {"mode": kind}
        more["planned_frames"] = sum(_looks(step))
        yield from mark(lab.camera, kind, 0)
        yield from self._record.begin(number, kind, text, **more)
        if kind == "comment":
            return
        reason, answer = "done", ""
        if kind == "approach":
            found = yield from seek_contact(lab.probe, lab.bias, _approach(step))
            reason = f"{found['kind']} contact, {si(found['resistance_ohm'], 'ohm')}"
        elif kind == "leakage_baseline":
            found = yield from measure_leak(lab.bias, lab.probe, _baseline(step))
            self._coulombs.learn()
            reason = f"leak of {si(found['leak_S'], 'S')}"
        elif kind == "retract":
            yield Msg("stop", lab.bias)
            yield from back_off(lab.probe, step.steps)
        elif kind == "prompt":
            yield Msg("stop", lab.bias)
            answer = yield from ask_person(self._asked, Question(step.text))
            reason = "answered"
        elif kind == "site":
            yield Msg("stop", lab.bias)
            where = Question(
                f"Move the stage to {step.text!r}, and focus; the beam is blanked when you answer"
            )
            answer = yield from ask_person(self._asked, where)
            yield Msg("set", lab.beam.site, step.text.strip(), group="site")
            yield Msg("wait", None, group="site")
            self._record.always(site=step.text.strip())
        elif kind in (SURVEY, DIFFRACTION):
            answer = yield from look_in(
                lab.bias, lab.camera, lab.beam, self._asked, kind, step.frames,
                getattr(step, "camera_length_m", None) or 0.0,
            )  # fmt: skip
        elif kind == "blank":
            reason = yield from self._blanked(step)
        yield from self._record.end(reason, answer=answer, charge_C=self._coulombs.charge_C)
        self.endings.append({"number": number, "kind": kind, "reason": reason})

    @property
    def _asked(self) -> Person:
        assert self._person is not None  # check() has seen to it
        return self._person

    def _blanked(self, step: Any) -> Plan:
        """Hold a bias with the beam blanked, but for the snapshots."""
        lab, coulombs = self._lab, self._coulombs
        table = Timetable(lab.bias)

        def over() -> bool:
            coulombs.take()
            return False

        frames = 0
        yield from set_bias(lab.bias, step.bias_V)
        for moment, frames in _moments(step):
            table.extend(moment - table.due)
            yield from watch(
                lab.bias, lab.camera, table.left(), *lab.others, collect=False, over=over
            )
            if moment > step.duration_s - 1e-9:
                break
            if frames:
                yield from snapshot(lab.bias, lab.camera, lab.beam, "snapshot", frames)
                yield from mark(lab.camera, "blank", 0)
        yield from set_bias(lab.bias, 0.0)
        coulombs.part()
        if frames:  # what it came to
            yield from snapshot(lab.bias, lab.camera, lab.beam, "snapshot", frames)
        return "its time was over"


def _moments(step: Any) -> list[tuple[float, int]]:
    """Return when a blanked step takes how many frames, in s; it ends at the last moment."""
    moments: list[tuple[float, int]] = []
    if step.snapshots is not None:
        every, place = step.snapshots.every_s, 1
        while place * every <= step.duration_s + 1e-9:
            moments.append((place * every, step.snapshots.frames))
            place += 1
    if not moments or moments[-1][0] < step.duration_s - 1e-9:
        moments.append((step.duration_s, 0))
    return moments


def _looks(step: Any) -> list[int]:
    """Return the frames of each look that a step outside of blocks takes."""
    if step.kind in (SURVEY, DIFFRACTION):
        return [step.frames]
    if step.kind == "blank":
        return [frames for _, frames in _moments(step) if frames]
    return []


def _approach(step: Any) -> ApproachSettings:
    return ApproachSettings(**step.settings())


def _baseline(step: Any) -> BaselineSettings:
    return BaselineSettings(**step.settings())


def _place(step: Any) -> str:
    return f"{step.where}: " if step.where else ""


def _told(step: Any, check: Any, *arguments: Any) -> None:
    """Run a check; what it refuses is told with the place of the step."""
    try:
        check(*arguments)
    except (LimitError, InterlockError) as error:
        raise type(error)(f"{_place(step)}{error}") from None
