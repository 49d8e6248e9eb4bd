"""Named sets of parameters of the kinetic model.

The table of all parameters, with defaults for lithium and the range that each may have, is
:data:`PARAMETERS`; its single source is the C core.  A preset is what differs from it, and
:data:`PRESET_NOTES` says of each what it stands for and how far it can be trusted:

paper
    An experiment of Wang et al., ACS Energy Lett. 2023, 8, 1929, whose words its runs reproduce
    (``python -m stmtem_control.simulators.observations`` shows it).  Some constants are fitted to
    those words, see below.
assumption
    The paper names the experiment, in its Supporting Information, but gives no number for what
    differs; the difference is a choice.
prediction
    The model put where there is no experiment.

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
Specimen: ``fibre_count``, ``fibre_radius_nm``, ``fibre_length_nm``, ``fibre_spacing_nm``;
``fibre_feed_ratio`` (the feed of the sites of fibre number f is multiplied by its f-th power, for
fibres further and further from the contact); ``substrate`` (0 carbon, 1 lithium oxide: darkens the
picture of the fibre and does nothing else).
Beam, all zero by default: ``beam_diffusion_nm2_s`` and ``beam_conduction_nm2_s`` (relative rise of
diffusivity and conductance per e/(nm2 s)), ``beam_erosion_nm3`` (volume lost per electron on the
covered area).

Where the defaults come from
----------------------------
Measured or calculated elsewhere: the material constants and the temperature; the advancing angle
is exact for the paper's eqs 1-6, the receding one is the paper's Fig. S12.  Of known order, chosen
within it: the circuit (5 V give 0.13-0.16 V at the fibre), ``exchange_current_pA_nm2``.  Fitted so
that runs do what the paper says: both limits of transport (5000 nm2/s), the four nucleation
constants and ``feed_scatter`` (Fig. 2f), ``premelting_radius_nm`` (Fig. 4e), ``migration_factor``,
and all constants under "Facets" with ``boundary_sweep_nm2_s``.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from types import MappingProxyType
from typing import Final, NamedTuple

from stmtem_control.errors import SpecimenError

from . import _kinetics

__all__ = ["PARAMETERS", "PRESETS", "PRESET_NOTES", "Parameter", "resolve"]


class Parameter(NamedTuple):
    """Default and range of one parameter."""

    default: float
    low: float
    high: float


PARAMETERS: Final[Mapping[str, Parameter]] = MappingProxyType(
    {name: Parameter(value, low, high) for name, value, low, high in _kinetics.PARAMETERS}
)

_LARGE_CRYSTAL: Final[Mapping[str, float]] = {
    "site_count": 5.0,
    "first_site_feed": 1.4,
    "fibre_radius_nm": 300.0,
    "fibre_length_nm": 3000.0,
}

#: What differs from the defaults, by name of the preset.
PRESETS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        name: MappingProxyType(values)
        for name, values in {
            "fig2": {},
            # With more sites, stripping takes longer than in the paper: the contact limits it.
            "fig3b": {"fibre_count": 3.0, "site_count": 40.0, "plating_limit_pA_nm": 0.0045},
            "fig3c": {**_LARGE_CRYSTAL},
            "fibres": {"fibre_count": 3.0, "fibre_feed_ratio": 0.4},
            "li2o": {
                **_LARGE_CRYSTAL,
                "site_count": 3.0,
                "substrate": 1.0,
                "advancing_angle_deg": 70.0,
                "receding_angle_deg": 35.0,
            },
            # At 20 e/(A2 s) diffusion doubles, the contact conducts a fifth better, and a droplet
            # of 80 nm is gone within a minute at rest.
            "beam_sensitive": {
                "beam_diffusion_nm2_s": 5e-4,
                "beam_conduction_nm2_s": 1e-4,
                "beam_erosion_nm3": 2e-4,
            },
            "na": {
                "metal": 1.0,
                "atomic_volume_nm3": 0.0395,
                "surface_energy_J_m2": 0.24,
                "surface_diffusivity_nm2_s": 1.2e9,
            },
            "k": {
                "metal": 2.0,
                "atomic_volume_nm3": 0.0755,
                "surface_energy_J_m2": 0.13,
                "surface_diffusivity_nm2_s": 5e9,
            },
        }.items()
    }
)

#: One sentence on each preset: what it is, where it comes from, and in brackets its standing.
PRESET_NOTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fig2": (
            "One carbon fibre with many sites: a burst of nuclei, fusion, droplets below 100 nm "
            "within 1 s; also for cycles (Figs 2, 3a, S4, S5) [paper]"
        ),
        "fig3b": (
            "Three carbon fibres fed slowly, far from the contact: droplets at 2 s, local facets "
            "after some 15 s (Fig. 3b) [paper]"
        ),
        "fig3c": (
            "A thick fibre with few sites, so that one crystal reaches a few hundred nm and turns "
            "from droplet to facets at once (Figs 3c-e, S12) [paper]"
        ),
        "fibres": (
            "Three carbon fibres, each fed 0.4 times as well as the one before it (Figs S6-S8; "
            "the factor is a choice) [assumption]"
        ),
        "li2o": (
            "The large crystal on the lithium oxide of the anode, which it wets less than the "
            "fibre (Fig. S13; angles of 70 and 35 degrees are a choice) [assumption]"
        ),
        "beam_sensitive": (
            "The fibre of fig2 if the beam did help diffusion and conduction and eroded lithium, "
            "to see what the controls of Figs S1 and S2 would then show [assumption]"
        ),
        "na": (
            "Sodium at the circuit of fig2: stays a droplet up to larger sizes than lithium "
            "[prediction]"
        ),
        "k": (
            "Potassium at the circuit of fig2: stays a droplet up to larger sizes than sodium "
            "[prediction]"
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
    SpecimenError
        Unknown preset or parameter, or a value that is not a number in its range.
    """
    if not isinstance(preset, str) or preset not in PRESETS:
        raise SpecimenError(f"unknown preset {preset!r}{_hint(preset, PRESETS)}")
    values = {name: row.default for name, row in PARAMETERS.items()} | dict(PRESETS[preset])
    for name, value in changes.items():
        if name not in PARAMETERS:
            raise SpecimenError(f"unknown parameter {name!r}{_hint(name, PARAMETERS)}")
        values[name] = _checked(name, value)
    for name in ("site_count", "fibre_count", "metal", "substrate"):
        if values[name] != int(values[name]):
            raise SpecimenError(f"{name} must be a whole number, not {values[name]!r}")
    if values["receding_angle_deg"] > values["advancing_angle_deg"]:
        raise SpecimenError(
            f"receding_angle_deg ({values['receding_angle_deg']:g}) must not exceed "
            f"advancing_angle_deg ({values['advancing_angle_deg']:g})"
        )
    return values


def _checked(name: str, value: float) -> float:
    row = PARAMETERS[name]
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise SpecimenError(f"{name} must be a number, not {value!r}") from None
    if not isfinite(number) or not row.low <= number <= row.high:
        raise SpecimenError(f"{name} must lie in {row.low:g} ... {row.high:g}, not {value!r}")
    return number


def _hint(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
