"""The tick of the kinetic model once more, in plain Python: slow, obvious, independent.

Written from the equations of the model, not from the C core, to hold the core against it: scalar
arithmetic, closed forms, every pair of crystals and every site looked at.  Only the naming of
random numbers is the core's own definition, written again in ``oracle_crystals.py``.
Units inside: nm, s, V, pA, pC, pF and TOhm (V/pA).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations

from .oracle_crystals import (
    BIRTH,
    BOUNDARY_END,
    DEPIN,
    FACET_OFF,
    FACET_ON,
    GONE,
    LEVELS,
    MERGE,
    SITE_THRESHOLD,
    WALK,
    Crystal,
    Event,
    Place,
    Relaxation,
    Site,
    cap_factor,
    draw,
    lay_out,
    level_of,
    normals,
)
from .oracle_laws import Laws


class Oracle:
    """State of the specimen; advances in whole ticks.

    Parameters
    ----------
    parameters
        All parameters of the model by name.
    seed
        Of the random numbers.
    """

    def __init__(self, parameters: Mapping[str, float], seed: int) -> None:
        self.parameters = parameters
        self.seed = seed
        self.laws = Laws(parameters)
        self.dt = parameters["tick_s"]
        self.tick = 0
        self.eta = 0.0  # at the end of the tick
        self.mean_eta = 0.0  # over the tick
        self.trend = 0.0  # change of the currents by growth alone in the last tick
        self.bias = 0.0  # at the terminals
        self.stripped = False
        self.cycle = 0
        self.next_uid = 1
        self.current = self.charge = 0.0  # of the meter
        self.faradaic_current = 0.0  # + deposits
        self.placed = self.by_charge = self.deposited = self.dissolved = self.eroded = 0.0  # nm3
        self.crystals: list[Crystal] = []
        self.events: list[Event] = []
        self.sites = lay_out(parameters, seed)
        self.rearm()

    def rearm(self) -> None:
        """Give every site a new threshold, for a new half-cycle of deposition."""
        for i, site in enumerate(self.sites):
            uniform = draw(self.seed, SITE_THRESHOLD, i, self.cycle)[0]
            site.threshold, site.hazard, site.used = -math.log(uniform), 0.0, False

    def place(
        self,
        s_nm: float,
        y_nm: float,
        volume_nm3: float,
        *,
        fibre: int = 0,
        contact_angle_rad: float = math.nan,
        phi: float = 0.0,
        feed: float = 1.0,
    ) -> Crystal:
        """Put a crystal there, without charge."""
        y_nm %= self.laws.period
        crystal = Crystal(self.next_uid, fibre, s_nm, y_nm, volume_nm3, feed, phi)
        crystal.born, crystal.level = self.tick * self.dt, level_of(phi)
        if not math.isnan(contact_angle_rad):
            crystal.base = math.pow(volume_nm3 / cap_factor(contact_angle_rad), 1.0 / 3.0)
        self.fill(crystal, volume_nm3)
        self.next_uid += 1
        self.placed += volume_nm3
        self.crystals.append(crystal)
        return crystal

    # ---- time ------------------------------------------------------------------------------

    def run(
        self,
        ticks: int,
        bias: float | None,
        bias_end: float | None = None,
        series_GOhm: float = 0.0,
        beam_e_per_A2_s: float = 0.0,
    ) -> None:
        """Do ticks under the conditions of one call of ``KineticModel.advance``."""
        for k in range(1, ticks + 1):
            now = bias
            if bias is not None:
                ramp = 0.0 if bias_end is None else (bias_end - bias) * (k / ticks)
                now = round((bias + ramp) * 2**30) / 2**30
            self.one_tick(now, series_GOhm * 1e-3, beam_e_per_A2_s * 100.0)

    def one_tick(self, bias: float | None, extra: float, beam: float) -> None:
        """Do one tick: bias V (None: relay open), TOhm in series, e/(nm2 s)."""
        p = self.parameters
        opened = bias is None or math.isinf(extra)
        conduction = 1.0 + p["beam_conduction_nm2_s"] * beam
        mobility = 1.0 + p["beam_diffusion_nm2_s"] * beam
        drive, feed, shunt = 0.0, 0.0, 0.0
        if bias is not None and not opened:
            drive, shunt = -bias, 1e3 / p["parallel_resistance_GOhm"]
            feed = conduction / (p["series_resistance_GOhm"] * 1e-3 + extra)

        course = self.solve_circuit(drive, feed, shunt)
        self.eta, self.mean_eta = course.end, course.mean
        if self.mean_eta < -0.010:
            self.stripped = True
        elif self.stripped and self.mean_eta > 0.0:
            self.stripped = False
            self.cycle += 1
            self.rearm()
        grown = self.growth(beam)
        for crystal in self.crystals:
            self.shape(crystal, mobility)
            self.walk(crystal, mobility)
        grown += self.nucleation(course, beam)
        self.contacts()
        self.faradaic_current = grown / (self.laws.faraday * self.dt)
        self.measure(course, bias, opened, shunt)
        self.tick += 1

    def solve_circuit(self, drive: float, feed: float, shunt: float) -> Relaxation:
        """Course of the overpotential; once again if it is much stiffer where it comes to."""
        capacity = self.parameters["double_layer_pF"] / self.dt
        exchanges = [self.laws.exchange(crystal) for crystal in self.crystals]

        def stiffness_at(eta: float) -> float:
            slope = sum(self.laws.slope(exchange, eta) for exchange in exchanges)
            return min(max((feed + shunt + slope) / capacity, 1e-3), 100.0)

        def loop(eta: float) -> float:
            currents = sum(self.laws.current(exchange, eta) for exchange in exchanges)
            return eta * shunt - (drive - eta) * feed + currents + 0.5 * self.trend

        first = self.relax(loop, capacity, stiffness_at(self.eta))
        there = stiffness_at(first.mean)
        return first if there <= 2.0 * first.stiffness else self.relax(loop, capacity, there)

    def relax(
        self, loop: Callable[[float], float], capacity: float, stiffness: float
    ) -> Relaxation:
        """Relaxation of this stiffness; its mean over the tick by bisection to the last bit."""
        before, decay = self.eta, math.exp(-stiffness)
        share = (1.0 - decay) / stiffness
        lag = (1.0 - decay) / (1.0 - share)

        def residual(eta: float) -> float:
            return lag * capacity * (eta - before) + loop(eta)

        width = 1e-3
        while residual(before - width) > 0.0 or residual(before + width) < 0.0:
            width *= 2.0
        low, high = before - width, before + width
        while True:
            mean = 0.5 * (low + high)
            if not low < mean < high or high - low < 1e-18:
                break
            low, high = (low, mean) if residual(mean) > 0.0 else (mean, high)
        rest = (mean - share * before) / (1.0 - share)
        return Relaxation(before, rest, stiffness, mean, before + lag * (mean - before))

    def measure(self, course: Relaxation, bias: float | None, opened: bool, shunt: float) -> None:
        """Read the meter: means over the tick, sign of the instrument."""
        p, self.current = self.parameters, 0.0
        leak, stray = p["leak_resistance_GOhm"] * 1e-3, p["stray_pF"]
        if not opened:
            charging = p["double_layer_pF"] * (self.eta - course.before) / self.dt
            self.current = -(self.faradaic_current + course.mean * shunt + charging)
        if bias is not None:
            self.current += bias / leak + stray * (bias - self.bias) / self.dt
            self.bias = bias
        else:  # the cable keeps its charge, but for the leak
            self.bias *= math.exp(-self.dt / (leak * stray)) if stray else 0.0
        self.charge += self.current * self.dt

    def log(self, time: float, kind: int, crystal: Crystal, other: int = 0) -> None:
        """Note an event."""
        self.events.append(Event(time, kind, crystal.uid, other))

    # ---- growth ----------------------------------------------------------------------------

    def fill(self, crystal: Crystal, volume: float) -> None:
        """Change the volume and let the contact line follow."""
        crystal.fill(volume, self.laws.advancing, self.laws.receding)

    def growth(self, beam: float) -> float:
        """Grow all crystals over the tick and take away what dissolves; volume by charge."""
        total = self.trend = 0.0
        for crystal in self.crystals:
            crystal.before = crystal.place
            change, eroded = self.grow(crystal, self.tick * self.dt, self.dt, beam)
            crystal.current = change / (self.laws.faraday * self.dt)
            self.trend += crystal.turn
            total += self.book(change, eroded)
        self.crystals = [crystal for crystal in self.crystals if crystal.volume > 0.0]
        return total

    def book(self, change: float, eroded: float = 0.0) -> float:
        """Note a change of volume by charge, and what the beam took away; returns the change."""
        self.by_charge += change
        self.deposited += max(change, 0.0)
        self.dissolved += max(-change, 0.0)
        self.eroded += eroded
        return change

    def grow(
        self, crystal: Crystal, start: float, seconds: float, beam: float
    ) -> tuple[float, float]:
        """Heun's steps; volume by charge and eroded.  A dissolved crystal is left with none."""
        laws, eta = self.laws, self.mean_eta
        first, done, eroded, turn = crystal.volume, 0.0, 0.0, 0.0
        for _ in range(4000):
            if not done < seconds:
                break
            old = replace(crystal)
            gain, erosion = laws.rates(crystal, eta, beam)
            rate, step = gain - erosion, seconds - done
            whole = done == 0.0
            if abs(rate) * step > 0.15 * old.volume:
                step, whole = 0.15 * old.volume / abs(rate), False
            self.fill(crystal, old.volume + step * rate)
            gain_ahead, erosion_ahead = laws.rates(crystal, eta, beam)
            mean = 0.5 * (rate + gain_ahead - erosion_ahead)
            eroded += 0.5 * (erosion + erosion_ahead) * step
            volume = old.volume + step * mean
            if mean < 0.0 and volume < 0.1 * laws.nucleus:
                crystal.volume = turn = 0.0
                self.log(start + done + min(step, old.volume / -mean), GONE, crystal)
                break
            crystal.base = old.base
            self.fill(crystal, volume)
            if crystal.side == -1 and old.side != -1:
                part = (old.volume - cap_factor(laws.receding) * old.base**3) / -mean
                self.log(start + done + min(step, max(0.0, part)), DEPIN, crystal)
            one_step = whole and abs(mean) * step <= 0.25 * old.volume
            turn = (gain_ahead - gain) / laws.faraday if one_step else 0.0
            done = seconds if step == seconds - done else done + step
        crystal.turn = turn
        if crystal.volume > 0.0:
            free = laws.free_current(laws.exchange(crystal), eta) * laws.faraday
            crystal.free_growth = free * crystal.radius / (3.0 * crystal.volume)
        return crystal.volume - first + eroded, eroded

    # ---- shape and place -------------------------------------------------------------------

    def shape(self, crystal: Crystal, mobility: float) -> None:
        """Facets, neck and grain boundary over the tick."""
        start, old, dt = self.tick * self.dt, crystal.phi, self.dt
        goal, rate = self.laws.facet_course(crystal, self.mean_eta, mobility)
        crystal.phi = goal + (old - goal) * math.exp(-rate * dt)
        if goal == 0.0 and crystal.phi < 1e-12:
            crystal.phi = 0.0
        level, kept = level_of(crystal.phi), crystal.level
        if level != kept:
            passed = LEVELS[level - 1 if level > kept else level]
            wait = 0.0  # a fusion had brought it there before
            if min(old, crystal.phi) < passed < max(old, crystal.phi):
                wait = math.log((old - goal) / (passed - goal)) / rate
            self.log(start + wait, FACET_ON if level > kept else FACET_OFF, crystal, level)
            crystal.level = level

        radius = crystal.radius
        crystal.neck *= math.exp(-self.laws.rounding(radius, mobility) * dt / 0.89)
        if crystal.neck < 0.01 * radius:
            crystal.neck = crystal.neck_share = 0.0
        if crystal.boundary_life > 0.0:
            if crystal.boundary_life <= dt:
                self.log(start + crystal.boundary_life, BOUNDARY_END, crystal)
            crystal.boundary_life = max(0.0, crystal.boundary_life - dt)

    def walk(self, crystal: Crystal, mobility: float) -> None:
        """Thermal motion of the whole crystal, reflected at the ends of the fibre."""
        spread, turn = self.laws.spread(crystal, mobility, self.dt), 2.0 * self.laws.length
        if spread >= 1e-6:
            along, around = normals(draw(self.seed, WALK, crystal.uid, self.tick))
            s = (crystal.s + spread * along) % turn
            crystal.s = min(s, turn - s)
            crystal.y = (crystal.y + spread * around) % self.laws.period

    # ---- nucleation and fusion -------------------------------------------------------------

    def nucleation(self, course: Relaxation, beam: float) -> float:
        """Let sites fire; returns the volume by charge of the newborn at the end of the tick."""
        rate, total = self.laws.nucleation_rate(course), 0.0
        if not self.mean_eta > 0.0 or rate == 0.0:
            return 0.0
        volume, old = self.laws.nucleus_volume(self.mean_eta), list(self.crystals)
        # A critical nucleus that would take more than the charge of the double layer waits.
        if volume > self.laws.faraday * self.parameters["double_layer_pF"] * self.eta:
            return 0.0
        for site in self.sites:
            if site.used or any(self.blocks(crystal, site) for crystal in old):
                continue
            gain, missing = rate * site.rate * self.dt, site.threshold - site.hazard
            site.hazard += gain
            if gain >= missing:
                site.used = True
                total += self.birth(site, volume, self.dt * missing / gain, beam)
        self.eta -= total / (self.laws.faraday * self.parameters["double_layer_pF"])
        return total

    def blocks(self, crystal: Crystal, site: Site) -> bool:
        """Tell whether the site lies in the exclusion zone of the crystal."""
        p = self.parameters
        reach = (1.0 + p["exclusion_factor"]) * crystal.base + p["exclusion_gap_nm"]
        apart = math.hypot(site.s - crystal.s, self.laws.around(site.y - crystal.y))
        return crystal.fibre == site.fibre and apart < reach

    def birth(self, site: Site, volume: float, wait: float, beam: float) -> float:
        """A nucleus, grown over what is left of the tick; returns its volume by charge."""
        time = self.tick * self.dt + wait
        crystal = Crystal(self.next_uid, site.fibre, site.s, site.y, volume, site.feed, born=time)
        self.next_uid += 1
        self.fill(crystal, volume)
        self.log(time, BIRTH, crystal)
        grown, seen = replace(crystal), len(self.events)
        change, eroded = self.grow(grown, time, self.dt - wait, beam)
        layer = self.laws.faraday * self.parameters["double_layer_pF"] * abs(self.mean_eta)
        if grown.volume == 0.0 or abs(change) > 0.01 * layer:
            # The circuit did not count on it: what would strain the double layer waits.
            del self.events[seen:]
            grown, change, eroded = crystal, 0.0, 0.0
        self.crystals.append(grown)
        return self.book(volume) + self.book(change, eroded)

    def contacts(self) -> None:
        """Fuse what touches, pairs in order and each crystal once, until nothing touches."""
        chain = False
        while touching := self.touching():
            busy: set[int] = set()
            for one, other in touching:
                if not busy & {one.uid, other.uid}:
                    busy |= {one.uid, other.uid}
                    share = 1.0 if chain else self.meeting(one, other)
                    keep, gone = (one, other) if one.volume >= other.volume else (other, one)
                    self.fuse(keep, gone, (self.tick + share) * self.dt)
                    self.crystals.remove(gone)
            chain = True

    def touching(self) -> list[tuple[Crystal, Crystal]]:
        """Pairs of crystals whose lines touch, in the order of their uids."""
        ordered = sorted(self.crystals, key=lambda crystal: crystal.uid)
        placed = [(crystal.fibre, crystal.place, crystal) for crystal in ordered]
        return [
            (one, other)
            for (fibre, here, one), (fibre_2, there, other) in combinations(placed, 2)
            if fibre == fibre_2 and self.gap(here, there) < 0.0
        ]

    def gap(self, one: Place, other: Place) -> float:
        """How far two contact lines are from touching."""
        apart = math.hypot(one.s - other.s, self.laws.around(one.y - other.y))
        return apart - one.base - other.base - self.parameters["touch_gap_nm"]

    def meeting(self, one: Crystal, other: Crystal) -> float:
        """Share of the tick at which they met, the gap taken as a straight line."""
        if one.before is None or other.before is None:
            return 1.0
        before, after = self.gap(one.before, other.before), self.gap(one.place, other.place)
        return before / (before - after) if before > 0.0 else 0.0

    def fuse(self, keep: Crystal, gone: Crystal, time: float) -> None:
        """One crystal takes in the other."""
        share = gone.volume / (keep.volume + gone.volume)
        ds, dy = gone.s - keep.s, self.laws.around(gone.y - keep.y)
        distance, ratio = math.hypot(ds, dy), gone.radius / keep.radius
        theta = (1.0 - share) * keep.theta + share * gone.theta
        keep.s += share * ds
        keep.y = (keep.y + share * dy) % self.laws.period
        keep.phi = (1.0 - share) * keep.phi + share * gone.phi
        keep.feed = (1.0 - share) * keep.feed + share * gone.feed
        keep.current += gone.current
        volume = keep.volume + gone.volume
        keep.base = math.pow(volume / cap_factor(theta), 1.0 / 3.0)
        self.fill(keep, volume)
        if distance * share >= keep.neck * keep.neck_share:
            keep.neck, keep.neck_share = distance, share
            keep.neck_direction = math.atan2(dy, ds)
        if ratio >= self.parameters["adoption_ratio"]:
            keep.boundary_life = keep.radius**2 / self.parameters["boundary_sweep_nm2_s"]
        self.log(time, MERGE, keep, gone.uid)
