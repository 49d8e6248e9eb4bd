"""What each phase of the specimen can take, and where the number comes from."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stmtem_control.errors import ConfigError


@dataclass(frozen=True)
class Phase:
    """A phase that may be present, and its budget on one site.

    Attributes
    ----------
    name : str
        As it stands in the station file, for example ``"Li2CO3"``.
    soft_e_per_A2, hard_e_per_A2 : float
        Dose (e/A^2) from which on a warning is told, and at which the beam is blanked.
    standing : {"measured", "calculated", "assumption"}
        How far the numbers can be trusted.
    source : str
        Where they come from, in one sentence.
    """

    name: str
    soft_e_per_A2: float
    hard_e_per_A2: float
    standing: str
    source: str


#: By name; the station file may override every number.
PHASES: Mapping[str, Phase] = {
    phase.name: phase
    for phase in (
        Phase(
            "Li",
            8e4,
            8e5,
            "calculated",
            "hard: one knock-on per surface atom at 200 kV (McKinley-Feshbach, 125 b, "
            "Ed = 5/3 Esub after Egerton, Ultramicroscopy 2010, 110, 991); soft: a tenth of it. "
            "Li takes 1000 e/A^2/s at room temperature without detectable damage (Bai et al., "
            "arXiv 2412.19376)",
        ),
        Phase(
            "Li2O",
            1000.0,
            5000.0,
            "assumption",
            "no critical dose found; between Li2CO3 and Li, and of the order of published doses "
            "on open-cell battery specimens",
        ),
        Phase(
            "Li2CO3",
            500.0,
            750.0,
            "measured",
            "hard: critical dose at 200 kV and 100 e/A^2/s (PMC4100024, Fig. 1); soft: the dose of "
            "one of its spectrum series",
        ),
        Phase(
            "carbon",
            1e5,
            1e6,
            "assumption",
            "fibres outlast every other phase; contamination, not knock-on, is what grows",
        ),
    )
}


@dataclass(frozen=True)
class Budget:
    """The budgets of the phases that are present; the most sensitive one decides.

    Attributes
    ----------
    phases : tuple of Phase
        At least one.
    """

    phases: tuple[Phase, ...]

    @property
    def hard(self) -> Phase:
        """The phase that reaches its hard limit first."""
        return min(self.phases, key=lambda phase: phase.hard_e_per_A2)

    @property
    def soft(self) -> Phase:
        """The phase that reaches its soft limit first."""
        return min(self.phases, key=lambda phase: phase.soft_e_per_A2)

    @property
    def hard_e_per_A2(self) -> float:
        """The dose (e/A^2) at which the beam is blanked."""
        return self.hard.hard_e_per_A2

    @property
    def soft_e_per_A2(self) -> float:
        """The dose (e/A^2) from which on a warning is told."""
        return self.soft.soft_e_per_A2

    def left_e_per_A2(self, dose_e_per_A2: float) -> dict[str, float]:
        """Return, by phase, what is left to its hard limit (e/A^2); below zero: exceeded."""
        return {phase.name: phase.hard_e_per_A2 - dose_e_per_A2 for phase in self.phases}


def make_budget(
    phases: Iterable[str],
    soft_e_per_A2: Mapping[str, float] | None = None,
    hard_e_per_A2: Mapping[str, float] | None = None,
) -> Budget:
    """Return the budget of the phases present, with what the station overrides.

    Parameters
    ----------
    phases : iterable of str
        Names in :data:`PHASES`.
    soft_e_per_A2, hard_e_per_A2 : mapping, optional
        Other limits, by phase, in e/A^2.

    Raises
    ------
    ConfigError
        No phase, an unknown one, or limits that are no limits.
    """
    soft, hard = dict(soft_e_per_A2 or {}), dict(hard_e_per_A2 or {})
    known = ", ".join(PHASES)
    names = list(dict.fromkeys(phases))
    if not names:
        raise ConfigError(f"[dose] phases: none; give at least one of {known}")
    for name in (*names, *soft, *hard):
        if name not in PHASES:
            raise ConfigError(f"[dose]: unknown phase {name!r}; known: {known}")
    found = []
    for name in names:
        phase = PHASES[name]
        low = float(soft.get(name, min(phase.soft_e_per_A2, hard.get(name, math.inf))))
        high = float(hard.get(name, max(phase.hard_e_per_A2, low)))
        if not 0.0 < low <= high < math.inf:
            raise ConfigError(
                f"[dose] {name}: soft limit {low:g} and hard limit {high:g} e/A^2; "
                "give positive numbers, the soft one not above the hard one"
            )
        changed = (low, high) != (phase.soft_e_per_A2, phase.hard_e_per_A2)
        found.append(Phase(name, low, high, "station file", "set in [dose]") if changed else phase)
    return Budget(tuple(found))
