"""Named sets of parameters of the kinetic model.

The table of all parameters, with defaults for lithium and the range that each may have, is
:data:`PARAMETERS`; its single source is the C core.  A preset is what differs from it.
Experiment: Wang et al., ACS Energy Lett. 2023, 8, 1929.

What the parameters mean
------------------------
Numerics: ``tick_s`` is the step of the model.
Material: ``metal`` (0 Li, 1 Na, 2 K, for the picture), ``atomic_volume_nm3``,
``surface_energy_J_m2``, ``surface_diffusivity_nm2_s`` (Gjostein's correlation at 298 K) with
``premelting_radius_nm`` (it rises as exp(radius / R) for small particles), ``temperature_K``,
``kelvin`` (1: with the Gibbs-Thomson effect, 0: without).
Contact angle: ``advancing_angle_deg`` while growing (h = r/2 of the paper's eqs 1-6),
``receding_angle_deg`` while stripping.
Circuit: ``series_resistance_GOhm`` (oxide and contact), ``parallel_resistance_GOhm`` (lithiation of
the carbon), ``leak_resistance_GOhm`` and ``stray_pF`` at the terminals, ``double_layer_pF``.
Charge transfer: ``exchange_current_pA_nm2``, ``transfer_coefficient``; mass transport:
``plating_limit_pA_nm`` and ``stripping_limit_pA_nm`` (limiting current over radius of curvature).
Nucleation: ``site_count`` (per fibre), ``nucleation_rate_Hz`` at
``nucleation_overpotential_V``, ``nucleation_barrier``, ``site_scatter`` (of the log rate),
``feed_scatter`` (of the log feed), ``first_site_feed`` (0: drawn like the others, else a chosen
crystal in the middle of the view), ``exclusion_gap_nm``, ``exclusion_factor``, ``nucleus_atoms``.
Motion and fusion: ``migration_factor``, ``pinning_energy_eV``, ``touch_gap_nm``,
``adoption_ratio`` (below it the smaller partner takes over the lattice of the larger),
``boundary_sweep_nm2_s`` (a grain boundary lives for R^2 over it).
Facets: ``rounding_factor``, ``facet_flow_nm2_s``, ``local_facet_share``, ``local_facet_ratio``,
``switch_ratio``, ``switch_feedback``, ``switch_sharpness``, ``switch_rate``,
``facet_growth_slowing``, ``facet_strip_slowing``, ``facet_erosion``.
Specimen: ``fibre_count``, ``fibre_radius_nm``, ``fibre_length_nm``, ``fibre_spacing_nm``.
Beam, all zero by default: ``beam_diffusion_nm2_s`` and ``beam_conduction_nm2_s`` (relative rise of
diffusivity and conductance per e/(nm2 s)), ``beam_erosion_nm3`` (volume lost per electron on the
covered area).
"""

from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from types import MappingProxyType
from typing import Final, NamedTuple

from . import _kinetics

__all__ = ["PARAMETERS", "PRESETS", "Parameter", "resolve"]


class Parameter(NamedTuple):
    """Default and range of one parameter."""

    default: float
    low: float
    high: float


PARAMETERS: Final[Mapping[str, Parameter]] = MappingProxyType(
    {name: Parameter(value, low, high) for name, value, low, high in _kinetics.PARAMETERS}
)

PRESETS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        # One fibre, many sites: burst of nuclei, fusion, droplets below 100 nm in 1 s (Fig. 2).
        "fig2": MappingProxyType({}),
        # Three fibres fed slowly, far from the contact: local facets after some 15 s (Fig. 3b).
        "fig3b": MappingProxyType({"fibre_count": 3.0, "plating_limit_pA_nm": 0.0045}),
        # Few sites, so that one crystal grows to several hundred nm and switches (Fig. 3c, d).
        "fig3c": MappingProxyType(
            {
                "site_count": 5.0,
                "first_site_feed": 1.4,
                "fibre_radius_nm": 300.0,
                "fibre_length_nm": 3000.0,
            }
        ),
        # Other metals at the same circuit; a prediction, no data.
        "na": MappingProxyType(
            {
                "metal": 1.0,
                "atomic_volume_nm3": 0.0395,
                "surface_energy_J_m2": 0.24,
                "surface_diffusivity_nm2_s": 1.2e9,
            }
        ),
        "k": MappingProxyType(
            {
                "metal": 2.0,
                "atomic_volume_nm3": 0.0755,
                "surface_energy_J_m2": 0.13,
                "surface_diffusivity_nm2_s": 5e9,
            }
        ),
    }
)


def resolve(preset: str, changes: Mapping[str, float]) -> dict[str, float]:
    """Complete set of parameters for a preset and what is changed in it.

    Parameters
    ----------
    preset
        A name in :data:`PRESETS`.
    changes
        Values by parameter name.

    Returns
    -------
    dict
        Every parameter, in the order of the core.

    Raises
    ------
    ValueError
        Unknown preset or parameter, or a value that is not a number in its range.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}{_hint(preset, PRESETS)}")
    values = {name: row.default for name, row in PARAMETERS.items()} | dict(PRESETS[preset])
    for name, value in changes.items():
        if name not in PARAMETERS:
            raise ValueError(f"unknown parameter {name!r}{_hint(name, PARAMETERS)}")
        values[name] = _checked(name, value)
    for name in ("site_count", "fibre_count", "metal"):
        if values[name] != int(values[name]):
            raise ValueError(f"{name} must be a whole number, not {values[name]!r}")
    if values["receding_angle_deg"] > values["advancing_angle_deg"]:
        raise ValueError(
            f"receding_angle_deg ({values['receding_angle_deg']:g}) must not exceed "
            f"advancing_angle_deg ({values['advancing_angle_deg']:g})"
        )
    return values


def _checked(name: str, value: float) -> float:
    row = PARAMETERS[name]
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number, not {value!r}") from None
    if not isfinite(number) or not row.low <= number <= row.high:
        raise ValueError(f"{name} must lie in {row.low:g} ... {row.high:g}, not {value!r}")
    return number


def _hint(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
