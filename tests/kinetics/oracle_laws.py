"""Laws of the oracle: what a crystal does at an overpotential; see ``oracle.py``."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from .oracle_crystals import Crystal, Relaxation, bounded_exp, cap_factor


class Exchange(NamedTuple):
    """What a crystal brings into the Butler-Volmer equation, pA; the last two are its facets."""

    forward: float  # at eta = 0, as the next
    backward: float
    plating: float  # limits of transport
    stripping: float
    growing: float
    dissolving: float


class Laws:
    """Constants that follow from the parameters, and the equations without a state.

    Parameters
    ----------
    parameters
        All parameters of the model by name.
    """

    def __init__(self, parameters: Mapping[str, float]) -> None:
        p = self.parameters = parameters
        e0, kt = 1.602176634e-19, 1.380649e-23 * p["temperature_K"]
        omega, gamma = p["atomic_volume_nm3"], p["surface_energy_J_m2"] * 1e-18
        self.f = e0 / kt
        self.alpha = p["transfer_coefficient"]
        self.faraday = omega * 1e-12 / e0  # nm3 per pC
        self.critical = 2.0 * gamma * omega / e0  # V nm
        self.kelvin = self.critical * p["kelvin"]
        self.mullins = p["surface_diffusivity_nm2_s"] * gamma * math.pow(omega, 4.0 / 3.0) / kt
        self.hop = p["migration_factor"] * math.exp(-p["pinning_energy_eV"] * self.f)
        self.hop *= p["surface_diffusivity_nm2_s"] * math.pow(omega, 4.0 / 3.0)
        self.nucleus = p["nucleus_atoms"] * omega
        self.length = p["fibre_length_nm"]
        self.period = 2.0 * math.pi * p["fibre_radius_nm"]
        self.advancing = math.radians(p["advancing_angle_deg"])
        self.receding = math.radians(p["receding_angle_deg"])

    def exchange(self, crystal: Crystal) -> Exchange:
        """Exchange currents and limits of transport of a crystal as it is."""
        p, alpha, radius = self.parameters, self.alpha, crystal.radius
        k, shift = p["exchange_current_pA_nm2"] * crystal.free_area, self.f * self.kelvin / radius
        return Exchange(
            forward=k * bounded_exp(-alpha * shift),
            backward=k * bounded_exp((1.0 - alpha) * shift),
            plating=p["plating_limit_pA_nm"] * radius * crystal.feed,
            stripping=p["stripping_limit_pA_nm"] * radius * crystal.feed,
            growing=1.0 - p["facet_growth_slowing"] * crystal.phi,
            dissolving=1.0
            - p["facet_strip_slowing"] * crystal.phi * crystal.phi * (3.0 - 2.0 * crystal.phi),
        )

    def free_current(self, x: Exchange, eta: float) -> float:
        """Of an unfaceted crystal, pA, + deposits: Butler-Volmer with both limits."""
        forward = x.forward * bounded_exp(self.alpha * self.f * eta)
        backward = x.backward * bounded_exp((self.alpha - 1.0) * self.f * eta)
        return (forward - backward) / (1.0 + forward / x.plating + backward / x.stripping)

    def current(self, x: Exchange, eta: float) -> float:
        """Of a crystal, pA, + deposits."""
        free = self.free_current(x, eta)
        return free * (x.growing if free > 0.0 else x.dissolving)

    def slope(self, x: Exchange, eta: float) -> float:
        """d(current)/d(eta), pA/V, by the quotient rule."""
        up, down = self.alpha * self.f, (1.0 - self.alpha) * self.f
        forward, backward = x.forward * bounded_exp(up * eta), x.backward * bounded_exp(-down * eta)
        net, damping = forward - backward, 1.0 + forward / x.plating + backward / x.stripping
        net_slope = forward * up + backward * down
        damping_slope = forward * up / x.plating - backward * down / x.stripping
        free = (net_slope * damping - net * damping_slope) / damping**2
        return free * (x.growing if net > 0.0 else x.dissolving)

    def rates(self, crystal: Crystal, eta: float, beam: float) -> tuple[float, float]:
        """Volume per second by charge, and lost to the beam, nm3/s."""
        erosion = self.parameters["beam_erosion_nm3"] * beam * math.pi * crystal.base**2
        return self.faraday * self.current(self.exchange(crystal), eta), erosion

    def premelting(self, radius: float) -> float:
        """Factor of the surface diffusivity of a small crystal."""
        return math.exp(min(self.parameters["premelting_radius_nm"] / radius, 6.0))

    def rounding(self, radius: float, mobility: float) -> float:
        """Mullins' B over R^4, 1/s."""
        return mobility * self.mullins * self.premelting(radius) / radius**4

    def spread(self, crystal: Crystal, mobility: float, seconds: float) -> float:
        """Standard deviation of the thermal motion of the whole crystal, nm."""
        diffusivity = mobility * self.hop * self.premelting(crystal.radius) / crystal.radius**4
        return math.sqrt(2.0 * diffusivity * (1.0 - crystal.phi) ** 2 * seconds)

    def facet_goal(self, x: float, phi: float) -> float:
        """Order parameter that a crystal at phi tends to; x = development over rounding."""
        p = self.parameters
        local = p["local_facet_share"] * x**2 / (x**2 + p["local_facet_ratio"] ** 2)
        y = x * (1.0 + p["switch_feedback"] * phi) / p["switch_ratio"]
        power = math.pow(y if y < 1.0 else 1.0 / y, p["switch_sharpness"])
        switched = (power if y < 1.0 else 1.0) / (1.0 + power)
        return local + (1.0 - local) * switched

    def facet_course(self, crystal: Crystal, eta: float, mobility: float) -> tuple[float, float]:
        """Order parameter that the crystal relaxes to in this tick, and how fast, 1/s."""
        p, radius, speed = self.parameters, crystal.radius, crystal.free_growth
        rounding = p["rounding_factor"] * self.rounding(radius, mobility)
        if speed < 0.0 and eta < 0.0:  # stripping: the edges dissolve first
            return 0.0, rounding + p["facet_erosion"] * abs(speed) / radius
        develop = (p["facet_flow_nm2_s"] + radius * max(speed, 0.0)) / radius**2
        goal = self.facet_goal(develop / rounding, crystal.phi) if rounding else 1.0
        return goal, p["switch_rate"] * (develop + rounding)

    def nucleation_rate(self, course: Relaxation) -> float:
        """Of a site of strength 1, mean over the tick by eight midpoints, 1/s."""
        p, total = self.parameters, 0.0
        for k in range(8):
            eta = course.at((k + 0.5) / 8.0)
            if eta > 0.0:
                ratio = p["nucleation_overpotential_V"] / eta
                exponent = -p["nucleation_barrier"] * (ratio * ratio - 1.0)
                total += p["nucleation_rate_Hz"] * math.exp(exponent)
        return total / 8.0

    def nucleus_volume(self, eta: float) -> float:
        """Of n0 atoms, or of a cap ten per cent above the critical radius."""
        base = 1.1 * self.critical / eta * math.sin(self.advancing)
        return max(self.nucleus, cap_factor(self.advancing) * base * base * base)

    def around(self, dy: float) -> float:
        """Shortest way around the fibre, nm."""
        return math.remainder(dy, self.period)
