"""What the dose ledger holds: who had what, where, and what it came to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """What is booked, and where: the columns that all bookings of a lease share.

    Attributes
    ----------
    lease : str
        Of its own for every exposure, or group of exposures, that is settled at once.
    specimen, site, run : str
        Where the beam was; uid of the run, empty outside of one.
    setting : str
        Beam setting.
    dose_rate_e_per_A2_s, relative_uncertainty : float
        Of the open beam, in e/A^2/s, and its 95 % half width over it.
    """

    lease: str
    specimen: str
    site: str
    run: str
    setting: str
    dose_rate_e_per_A2_s: float
    relative_uncertainty: float


@dataclass(frozen=True)
class Exposure:
    """What a lease came to.

    Attributes
    ----------
    account : Account
    dose_e_per_A2 : float
        At most what the site got from it at that dose rate, in e/A^2.
    uncertainty_e_per_A2 : float
        It may have been less by this, for the moments of opening and blanking are known only so
        well, in e/A^2.
    open_s : float
        Seconds with the beam open.
    openings : int
        How often it was opened.
    first_unix_s, last_unix_s : float
        From the first opening to the last blanking, Unix time in s.
    settled : bool
        False: whoever booked it ahead died, or is still at it; all that was booked counts.
    """

    account: Account
    dose_e_per_A2: float
    uncertainty_e_per_A2: float
    open_s: float
    openings: int
    first_unix_s: float
    last_unix_s: float
    settled: bool = True


@dataclass(frozen=True)
class SiteTotal:
    """What a site has had.

    Attributes
    ----------
    specimen, site : str
    dose_e_per_A2 : float
        At most, over all runs, in e/A^2.
    uncertainty_e_per_A2 : float
        95 % half width, of the calibrations and of the moments of opening and blanking.
    open_s : float
        Seconds of open beam that are settled.
    runs : int
        In how many runs.
    unsettled_e_per_A2 : float
        What of the dose is booked ahead only.
    last_unix_s : float
        The last booking, Unix time in s.
    """

    specimen: str
    site: str
    dose_e_per_A2: float
    uncertainty_e_per_A2: float
    open_s: float
    runs: int
    unsettled_e_per_A2: float
    last_unix_s: float
