"""How an approach is done: the defaults, and what each parameter may be, in one place."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from stmtem_control.errors import LimitError

from .limits import check_count, check_number

MOST_READINGS = 1000
LEAST_COMPLIANCE = 50.0  # times the threshold: beyond it only a short is limited
MOST_EACH = 16  # readings at each step, for noisy meters


@dataclass(frozen=True, kw_only=True)
class ApproachSettings:
    """Parameters of an approach, checked when they are made.

    Attributes
    ----------
    approach_V : float
        Bias while approaching, in V.  Positive: no lithium can be deposited.
    threshold_A : float
        Least current over the leak that can be a contact, in A.
    short_A : float
        Current that is a short, in A.
    sigmas : float
        A current is seen when it exceeds the leak by so many standard deviations.
    readings : int
        Readings that confirm each decision.
    oxide_GOhm : float
        A contact of less than so many GOhm is ohmic, one of more is through the oxide.
    fine_step_V, least_step_V : float
        Step of the fine offset while nothing is seen, and close to contact, in V of the piezo.
    fine_range_V : float
        How far the fine offset goes before coarse steps are taken, in V of the piezo.
    coarse_step : int
        Coarse steps between two fine sweeps, as long as their size is not known.
    max_coarse_steps : int
        Give up after so many.
    learn_steps : bool
        Measure the size of coarse steps at the contact while it is not well known.

    Raises
    ------
    LimitError
        A parameter that makes no sense; the message names it.
    """

    approach_V: float = 0.5
    threshold_A: float = 2e-12
    short_A: float = 5e-9
    sigmas: float = 5.0
    readings: int = 4
    oxide_GOhm: float = 10.0
    fine_step_V: float = 0.5
    least_step_V: float = 0.02
    fine_range_V: float = 20.0
    coarse_step: int = 3
    max_coarse_steps: int = 60
    learn_steps: bool = True

    def __post_init__(self) -> None:
        """Check every parameter."""
        for name, value in self.as_dict().items():
            if name not in ("readings", "coarse_step", "max_coarse_steps", "learn_steps"):
                check_number(f"approach: {name}", value)
        if self.approach_V == 0.0:
            raise LimitError("approach: approach_V is 0; without a bias no contact can be seen")
        if not 0.0 < self.threshold_A < self.short_A:
            raise LimitError(
                f"approach: threshold_A is {self.threshold_A:g} and short_A {self.short_A:g}; "
                "both must be positive, and the threshold the smaller one"
            )
        if self.sigmas < 1.0:
            raise LimitError(f"approach: sigmas is {self.sigmas:g}; give 1 or more")
        if self.oxide_GOhm <= 0.0:
            raise LimitError(f"approach: oxide_GOhm is {self.oxide_GOhm:g}; give a positive number")
        if not 0.0 < self.fine_step_V <= self.fine_range_V:
            raise LimitError(
                f"approach: fine_step_V is {self.fine_step_V:g} and fine_range_V "
                f"{self.fine_range_V:g}; give a positive step no larger than the range"
            )
        if not 0.0 < self.least_step_V <= self.fine_step_V:
            raise LimitError(
                f"approach: least_step_V is {self.least_step_V:g} and fine_step_V "
                f"{self.fine_step_V:g}; give a positive step no larger than the fine one"
            )
        check_count("approach: readings", self.readings, 2, MOST_READINGS)
        check_count("approach: coarse_step", self.coarse_step, 1)
        check_count("approach: max_coarse_steps", self.max_coarse_steps, 0)
        if not isinstance(self.learn_steps, bool):
            raise LimitError(f"approach: learn_steps is {self.learn_steps!r}; give true or false")

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters by name, as a queue takes them."""
        return asdict(self)

    def check_station(self, probe: Any, bias: Any) -> Self:
        """Return these settings if the station allows them.

        Raises
        ------
        LimitError
            A bias or a fine offset beyond the station's limits, or too small a compliance.
        """
        bias.check_value(self.approach_V)
        probe.z.fine.check_value(self.fine_range_V)
        compliance = float(bias.compliance.get())
        if compliance < LEAST_COMPLIANCE * self.threshold_A:
            raise LimitError(
                f"approach: the source's compliance is {compliance:g} A and threshold_A "
                f"{self.threshold_A:g}: a sound contact would look like a short; raise the "
                "compliance or lower threshold_A"
            )
        return self

    def readings_for(self, noise_A: float) -> int:
        """Return how many readings at each step show a current of the threshold in this noise."""
        if noise_A <= 0.0:
            return 1
        wanted = math.ceil((self.sigmas * noise_A / self.threshold_A) ** 2)
        return min(max(1, wanted), MOST_EACH)


#: What is used where nothing is said.
DEFAULTS = ApproachSettings()
