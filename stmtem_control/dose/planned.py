"""Whether a planned exposure fits into what is left of the budget of a site."""

from stmtem_control.errors import InterlockError

from .budgets import Phase

#: The specimen that cannot be hurt: without budget.
VACUUM = "vacuum"
CURE = (
    "go to another site (session.dose.site = ...), or raise the limit ([dose] in the station file)"
)


def check_planned(
    open_s: float,
    dose_rate_e_per_A2_s: float,
    had_e_per_A2: float,
    hard: Phase,
    *,
    specimen: str,
    site: str,
) -> float:
    """Make sure that a site has so much dose left; return the dose in e/A^2.

    Parameters
    ----------
    open_s : float
        Seconds of open beam that are planned.
    dose_rate_e_per_A2_s, had_e_per_A2 : float
        Of the beam, and what the site has had.
    hard : Phase
        The phase that reaches its hard limit first.
    specimen, site : str
        Where.

    Raises
    ------
    InterlockError
        There is less left.
    """
    dose = open_s * dose_rate_e_per_A2_s
    left = hard.hard_e_per_A2 - had_e_per_A2
    if dose > left and open_s > 0.0:
        raise InterlockError(
            f"dose: the plan would give {dose:.4g} e/A^2 ({open_s:.4g} s of beam at "
            f"{dose_rate_e_per_A2_s:.4g} e/A^2/s), but site {site!r} of "
            f"{specimen!r} has {max(0.0, left):.4g} of {hard.hard_e_per_A2:.4g} left for "
            f"{hard.name}; {CURE}"
        )
    return dose
