"""What a run's rows need of the dose beyond its rate: the site, the pixel and the calibration."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class SiteDose:
    """What holds for all frames of a run; NaN is unknown.

    Attributes
    ----------
    prior_e_per_A2 : float
        What the site had had when the run began, in e/A^2.
    pixel_size_nm : float
        On the specimen, in nm.
    calibrated_unix_s : float
        When the dose rate was measured, Unix time in s.
    """

    prior_e_per_A2: float = math.nan
    pixel_size_nm: float = math.nan
    calibrated_unix_s: float = math.nan

    def about(self) -> dict[str, float]:
        """Return it as it stands in messages and in the first line of a journal."""
        return asdict(self)

    @classmethod
    def from_about(cls, about: Mapping[str, Any]) -> Self:
        """Return what :meth:`about` made; what is missing, or null, is unknown."""
        known = ((field.name, about.get(field.name)) for field in fields(cls))
        return cls(**{name: float(value) for name, value in known if value is not None})

    @property
    def pixel_A2(self) -> float:
        """Area of a pixel on the specimen in A^2: 1 nm is 10 A."""
        return (10.0 * self.pixel_size_nm) ** 2
