"""Records in which the C core of the kinetic model tells its state."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from . import _kinetics

__all__ = ["EVENT", "EVENT_KINDS", "PARTICLE", "Status"]

#: Number of each kind of event in :attr:`KineticModel.events`.
EVENT_KINDS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "birth": 0,
        "merge": 1,
        "facet_on": 2,
        "facet_off": 3,
        "depin": 4,
        "gone": 5,
        "boundary_end": 6,
    }
)

#: One row of :attr:`.KineticModel.particles`.
PARTICLE: Final = np.dtype(list(_kinetics.PARTICLE_FIELDS))

#: One row of :attr:`.KineticModel.events`.
EVENT: Final = np.dtype(
    [
        ("time_s", "f8"),
        ("kind", "i8"),
        ("uid", "i8"),
        ("other", "i8"),
        ("volume_nm3", "f8"),
        ("fibre", "i8"),
    ]
)


class Status(NamedTuple):
    """What the core tells at once; units as the properties of the model say."""

    ticks: int
    time: float
    current: float
    charge: float
    faradaic_charge: float
    deposited_charge: float
    stripped_charge: float
    eroded_volume: float
    volume: float
    side_area: float
    overpotential: float
    kirchhoff_residual: float
    faradaic_current: float
    charge_per_nm3: float
    placed_volume: float
    particles: int
    cycle: int
    events: int
    events_lost: int
