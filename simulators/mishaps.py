"""What has gone wrong with the specimen: extra paths of the current, jumps of the picture."""

import math
from dataclasses import dataclass

#: A whisker of lithium bridges so much and no more, in nm; pulled further apart it tears.
WHISKER_REACH_NM = 100.0
DECAYS = 5.0  # time constants after which a charged picture counts as at rest


@dataclass
class Mishaps:
    """All of them; the values here are those of a specimen with which nothing is wrong.

    Attributes
    ----------
    leak_ohm : float
        A path beside the specimen, in contact or not.
    bridge_ohm : float
        A path beside the specimen while the probe is within tunnelling distance.
    whisker_ohm : float
        A whisker from fibre to probe; it tears for good when it is pulled too long.
    series_ohm : float
        In series with the contact: a grown oxide, a bad wire.
    shift_nm : tuple of float
        By how much the stage has jumped, x and y.
    charged_nm, charged_at, charged_s : float
        Jump of the picture (along x, in nm) by charging, when it happened (s), and how long (s) it
        takes to decay.
    blanker_stuck : bool
        The beam stays as it is, whatever the blanking line says.
    """

    leak_ohm: float = math.inf
    bridge_ohm: float = math.inf
    whisker_ohm: float = math.inf
    series_ohm: float = 0.0
    shift_nm: tuple[float, float] = (0.0, 0.0)
    charged_nm: float = 0.0
    charged_at: float = 0.0
    charged_s: float = 1.0
    blanker_stuck: bool = False

    @property
    def paths(self) -> bool:
        """Whether there is any path beside the specimen."""
        return min(self.leak_ohm, self.bridge_ohm, self.whisker_ohm) < math.inf

    def siemens(self, gap_nm: float, in_circuit: bool) -> float:
        """Return the conductance (S) of all paths beside the specimen."""
        beside = 1.0 / self.leak_ohm
        if in_circuit:
            beside += 1.0 / self.bridge_ohm
        if gap_nm <= WHISKER_REACH_NM:
            beside += 1.0 / self.whisker_ohm
        return beside

    def pulled(self, gap_nm: float) -> None:
        """Take in that the probe is so far from the fibre now."""
        if gap_nm > WHISKER_REACH_NM:
            self.whisker_ohm = math.inf

    def displaced_nm(self, t: float) -> tuple[float, float]:
        """Return by how much (x, y; nm) the picture is displaced at the time `t` (s)."""
        x, y = self.shift_nm
        if self.charged_nm:
            x += self.charged_nm * math.exp(-DECAYS * (t - self.charged_at) / self.charged_s)
        return x, y
