"""What each parameter of the kinetic model means, and where its default comes from.

Defaults and ranges are in :data:`.presets.PARAMETERS`; :mod:`.parameter_table` writes both into one
table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

__all__ = ["PARAMETER_NOTES", "STANDINGS", "ParameterNote"]

Standing = Literal["literature", "paper", "fitted", "assumption", "setting"]

#: What the standing of a default means.
STANDINGS: Final[Mapping[Standing, str]] = MappingProxyType(
    {
        "literature": "measured or calculated by others, or a theory's own constant",
        "paper": "Wang et al. 2023 say it, or it follows from their equations",
        "fitted": "chosen so that runs do what the paper says",
        "assumption": "of known order or of a known sense; the number is a choice",
        "setting": "what is to be simulated, or how finely",
    }
)


class ParameterNote(NamedTuple):
    """One parameter in words."""

    group: str
    symbol: str
    unit: str  # empty: a number without unit
    meaning: str
    standing: Standing
    source: str


def _group(
    name: str, rows: Mapping[str, tuple[str, str, str, Standing, str]]
) -> dict[str, ParameterNote]:
    return {parameter: ParameterNote(name, *row) for parameter, row in rows.items()}


#: Every parameter by name, in the order of :data:`.presets.PARAMETERS` within each group.
PARAMETER_NOTES: Final[Mapping[str, ParameterNote]] = MappingProxyType(
    _group(
        "Time",
        {
            "tick_s": ("dt", "s", "step of the model", "setting", "see Numerics"),
        },
    )
    | _group(
        "Material",
        {
            "temperature_K": ("T", "K", "temperature", "assumption", "room temperature"),
            "metal": (
                "",
                "",
                "scattering of 0 Li, 1 Na, 2 K in pictures and patterns; nothing else",
                "setting",
                "",
            ),
            "atomic_volume_nm3": (
                "Ω",
                "nm³",
                "volume of an atom",
                "literature",
                "BCC with a = 3.51 Å: a³/2",
            ),
            "surface_energy_J_m2": (
                "γ",
                "J/m²",
                "surface energy, the same for all faces",
                "literature",
                "DFT: 0.46 (100), 0.50 (110), 0.54 (111); Tran et al. 2016",
            ),
            "kelvin": ("", "", "1 with the Gibbs-Thomson shift, 0 without", "setting", ""),
            "surface_diffusivity_nm2_s": (
                "D_s",
                "nm²/s",
                "diffusivity of atoms on the surface of a large particle",
                "literature",
                "correlation of Gjostein 1967: 0.7·10⁸ at 298 K, rounded",
            ),
            "premelting_radius_nm": (
                "R_D",
                "nm",
                "D_s rises as exp(R_D/R) in small particles",
                "fitted",
                "Fig. 4e: the sense, not the values",
            ),
        },
    )
    | _group(
        "Contact angle",
        {
            "advancing_angle_deg": (
                "θ_adv",
                "°",
                "contact angle while growing",
                "paper",
                "exact for h = r/2 of eqs 1-6",
            ),
            "receding_angle_deg": (
                "θ_rec",
                "°",
                "contact angle at which the line slides back",
                "paper",
                "about 30° in the last part of stripping (Fig. 3e, S12)",
            ),
        },
    )
    | _group(
        "Circuit",
        {
            "series_resistance_GOhm": (
                "R_s",
                "GΩ",
                "oxide and contact",
                "fitted",
                "5 GΩ for 50 nm of Li₂O at 10⁻⁷ S/cm over 1 µm²; with R_p it sets η",
            ),
            "parallel_resistance_GOhm": (
                "R_p",
                "GΩ",
                "cathodic path beside the particles: lithiation of the carbon",
                "fitted",
                "η = 0.16 V before there is lithium",
            ),
            "leak_resistance_GOhm": (
                "R_leak",
                "GΩ",
                "leak of the holder at the terminals",
                "assumption",
                "order of a good holder",
            ),
            "double_layer_pF": (
                "C_dl",
                "pF",
                "double layer of the fibre",
                "assumption",
                "10 µF/cm² on the fibre's area",
            ),
            "stray_pF": ("C_stray", "pF", "cable", "assumption", "a short cable"),
        },
    )
    | _group(
        "Charge transfer and transport",
        {
            "exchange_current_pA_nm2": (
                "j₀",
                "pA/nm²",
                "exchange current density; 1.5·10⁻⁵ is 1.5 mA/cm²",
                "assumption",
                "1-10 mA/cm² in liquid electrolytes (Boyle et al. 2020)",
            ),
            "transfer_coefficient": ("α", "", "transfer coefficient", "assumption", "symmetric"),
            "plating_limit_pA_nm": (
                "K_L",
                "pA/nm",
                "limiting current of deposition over R",
                "fitted",
                "Fig. 3e: 5000 nm²/s",
            ),
            "stripping_limit_pA_nm": (
                "K_A",
                "pA/nm",
                "limiting current of stripping over R",
                "fitted",
                "Fig. 3: stripping is faster than growth",
            ),
        },
    )
    | _group(
        "Nucleation",
        {
            "site_count": ("", "", "sites on each fibre", "assumption", "6·10⁻⁵ nm⁻² on `fig2`"),
            "nucleation_rate_Hz": (
                "k₀",
                "Hz",
                "median rate of a site at η = η_ref",
                "fitted",
                "Fig. 2f: burst within 0.2 s, steady at 0.8 s",
            ),
            "nucleation_overpotential_V": ("η_ref", "V", "see k₀", "fitted", "Fig. 2f"),
            "nucleation_barrier": (
                "B_n",
                "",
                "barrier at η_ref over kT",
                "fitted",
                "Fig. 2f; classical theory has 2 at θ = 28°",
            ),
            "site_scatter": (
                "σ",
                "",
                "standard deviation of the log rate of sites",
                "fitted",
                "Fig. 2f",
            ),
            "feed_scatter": (
                "σ_g",
                "",
                "standard deviation of the log feed g of sites",
                "fitted",
                "Fig. 2f: spread of sizes",
            ),
            "first_site_feed": (
                "",
                "",
                "0: drawn like the others; else the feed of one chosen site in mid-view",
                "setting",
                "",
            ),
            "exclusion_gap_nm": (
                "d_ex",
                "nm",
                "no site fires within (1 + f_ex) a + d_ex of a particle",
                "assumption",
                "",
            ),
            "exclusion_factor": ("f_ex", "", "see d_ex", "assumption", ""),
            "nucleus_atoms": (
                "n₀",
                "",
                "atoms of the smallest nucleus that is followed",
                "assumption",
                "embryos below the critical size are not followed",
            ),
        },
    )
    | _group(
        "Motion and fusion",
        {
            "migration_factor": (
                "c_m",
                "",
                "prefactor of the diffusivity of whole particles",
                "literature",
                "mean field of cluster diffusion by surface hops (Lai, Campbell, Evans 2023)",
            ),
            "pinning_energy_eV": (
                "E_pin",
                "eV",
                "functional groups hold particles: D_c falls by exp(-E_pin/kT)",
                "fitted",
                "Fig. 2f: the number is steady; with 0 eV nuclei would wander 300 nm in 50 ms",
            ),
            "touch_gap_nm": (
                "",
                "nm",
                "gap of two contact lines at which particles fuse",
                "assumption",
                "a few atoms",
            ),
            "adoption_ratio": (
                "",
                "",
                "a partner smaller than this (radii) takes over the other's lattice at once",
                "assumption",
                "Fig. 4b: the sense",
            ),
            "boundary_sweep_nm2_s": (
                "q",
                "nm²/s",
                "a grain boundary lives for R²/q",
                "fitted",
                "so that bicrystals can be seen; molecular dynamics have some 10⁶ times more",
            ),
        },
    )
    | _group(
        "Facets",
        {
            "rounding_factor": (
                "c_r",
                "",
                "rounding rate of a faceted particle over B/R⁴",
                "fitted",
                "Fig. 3: droplets < 100 nm, facets at a few hundred nm; isotropic theory has 360",
            ),
            "facet_flow_nm2_s": (
                "κ",
                "nm²/s",
                "facet development at rest, times R²",
                "fitted",
                "Fig. 3c: large crystals stay faceted",
            ),
            "local_facet_share": ("s", "", "most that local facets give to φ", "fitted", "Fig. 3b"),
            "local_facet_ratio": ("x_L", "", "x at which they give half", "fitted", "Fig. 3b"),
            "switch_ratio": ("x_G", "", "x of complete faceting", "fitted", "Fig. 3c"),
            "switch_feedback": ("b", "", "facets slow their own rounding", "fitted", "Fig. 3c"),
            "switch_sharpness": ("m", "", "exponent of the switch", "fitted", "Fig. 3c"),
            "switch_rate": (
                "M",
                "",
                "speed of φ over k_f + k_r",
                "fitted",
                "Fig. 3c: from one second to the next",
            ),
            "facet_growth_slowing": (
                "s_g",
                "",
                "growth of a faceted particle is slower by this share",
                "fitted",
                "Fig. 3e: slower after the transition",
            ),
            "facet_strip_slowing": (
                "s_s",
                "",
                "the same for stripping",
                "fitted",
                "Fig. 3e: the intermediate state",
            ),
            "facet_erosion": (
                "β",
                "",
                "edges dissolve first: loss of φ over |v|/R",
                "fitted",
                "Fig. 3d, e",
            ),
        },
    )
    | _group(
        "Specimen",
        {
            "fibre_count": ("", "", "carbon fibres side by side", "setting", ""),
            "fibre_radius_nm": (
                "R_f",
                "nm",
                "radius of a fibre",
                "assumption",
                "not in the main text",
            ),
            "fibre_length_nm": ("", "nm", "length of a fibre", "setting", ""),
            "fibre_spacing_nm": ("", "nm", "distance of their axes", "setting", ""),
            "fibre_feed_ratio": (
                "",
                "",
                "the feed of sites on fibre f is multiplied by its f-th power",
                "setting",
                "fibres further and further from the contact",
            ),
            "substrate": ("", "", "0 carbon, 1 Li₂O; darkens the picture only", "setting", ""),
        },
    )
    | _group(
        "Beam",
        {
            "beam_diffusion_nm2_s": (
                "b_D",
                "nm² s",
                "D_s times 1 + b_D J, J in e/(nm² s)",
                "paper",
                "none: S1 and S2, as the main text names them",
            ),
            "beam_conduction_nm2_s": ("b_R", "nm² s", "R_s over 1 + b_R J", "paper", "none: S1"),
            "beam_erosion_nm3": (
                "b_e",
                "nm³",
                "volume lost per electron on the covered area",
                "paper",
                "none: S1, S2",
            ),
        },
    )
)
