"""Point particles that walk in a periodic box and fuse when they meet, A + A -> A.

This is no part of the specimen.  Rates of diffusion-limited coalescence are known in closed form
and by other codes, so that the box checks the ways in which the core moves particles and finds
contacts: random numbers by identity and step, and a list of near pairs that is kept as long as it
is safe.  See ``kinetics/reaction_box.h``.
"""

from math import isfinite, pi, sqrt
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from . import _kinetics

__all__ = ["ReactionBox", "expected_count"]

#: A walker that is looked at only at the end of a step acts as one that is looked at all the time,
#: with the wall moved away by this part of its rms step: -zeta(1/2)/sqrt(2 pi).  M. Broadie,
#: P. Glasserman, S. Kou, Math. Finance 7 (1997) 325; for a plane wall, so for short steps here.
_STEP_SHIFT: Final = 0.5825971579390107


class ReactionBox:
    """Particles A with A + A -> A at contact, in a periodic square or cube.

    A step moves every particle by ``sqrt(2 * diffusivity * step_s)`` times a normal number along
    each axis.  Then all pairs nearer than ``radius`` (nearest periodic images) are fused, in rising
    order of the smaller, then the larger uid, each particle at most once; this is repeated until
    no such pair is left.  The fused particle sits in the middle of the two and keeps the smaller
    uid.  The same arguments give the same particles to the last bit, however calls of
    :meth:`advance` are cut and on whatever processor.  One object may be used by several threads.

    Parameters
    ----------
    count
        Particles at the start, at independent random places; 1 ... 1e8.
    length
        Edge of the box, in any unit of length.
    diffusivity
        Of every particle, length^2/s; 0 or more, and a step at most as wide as the box.
    radius
        Binding radius: particles nearer than this fuse; 0 ... length/2.  0: they never do.
    step_s
        Time step, s.
    dimensions
        2 or 3.
    seed
        0 ... 2**64 - 1; of places and motion.
    instructions
        ``"auto"``: the widest vectors of this processor; ``"baseline"``, ``"avx2"`` or
        ``"avx512"``: these.  They differ in speed alone.
    search
        ``"list"``: contacts from a list of near pairs.  ``"every pair"``: every pair is looked at
        in every step, the slow and certain way; gives the same.

    Raises
    ------
    ValueError
        A value out of its range, more than ten others within the radius on average, or an
        instruction set that this processor or build does not have.
    MemoryError
        Too many particles for this machine.
    """

    def __init__(
        self,
        count: int,
        length: float,
        diffusivity: float,
        radius: float,
        step_s: float,
        dimensions: Literal[2, 3] = 3,
        seed: int = 1,
        *,
        instructions: str = "auto",
        search: Literal["list", "every pair"] = "list",
    ) -> None:
        _whole("count", count, 1, 10**8)
        _whole("dimensions", dimensions, 2, 3)
        _whole("seed", seed, 0, 2**64 - 1)
        for name, value in (
            ("length", length),
            ("diffusivity", diffusivity),
            ("radius", radius),
            ("step_s", step_s),
        ):
            if not isfinite(value):
                raise ValueError(f"{name} must be a finite number, not {value!r}")
        if search not in ("list", "every pair"):
            raise ValueError(f"search must be 'list' or 'every pair', not {search!r}")
        self._dimensions = int(dimensions)
        self._step_s = float(step_s)
        self._core = _kinetics.Box(
            count,
            float(length),
            float(diffusivity),
            float(radius),
            float(step_s),
            dimensions,
            seed,
            instructions,
            search == "every pair",
        )

    def __repr__(self) -> str:
        """Particles left and time."""
        return f"<ReactionBox with {self.count} particles at {self.time:.6g} s>"

    def advance(self, steps: int) -> None:
        """Do a number of steps.

        Raises
        ------
        ValueError
            ``steps`` is not a whole number in 0 ... 2**63 - 1.
        MemoryError
            No room for the pairs; another call takes the step up again.
        """
        _whole("steps", steps, 0, 2**63 - 1)
        self._core.advance(steps)

    @property
    def count(self) -> int:
        """Particles left."""
        return self._core.status()[0]

    @property
    def steps(self) -> int:
        """Steps done."""
        return self._core.status()[1]

    @property
    def time(self) -> float:
        """Time since the start, s."""
        return self.steps * self._step_s

    @property
    def listings(self) -> int:
        """Times that the near pairs were listed so far."""
        return self._core.status()[2]

    @property
    def instructions(self) -> str:
        """Instruction set in use."""
        return self._core.status()[3]

    @property
    def positions(self) -> NDArray[np.float64]:
        """Places in the box, 0 ... length, by rising uid; shape (count, dimensions), a copy."""
        return self._particles(folded=True)[0]

    @property
    def unfolded_positions(self) -> NDArray[np.float64]:
        """As :attr:`positions`, but not taken back into the box when a walk leaves it."""
        return self._particles(folded=False)[0]

    @property
    def uids(self) -> NDArray[np.int64]:
        """Numbers of the particles left, rising; at the start 0 ... count - 1; a copy."""
        return self._particles(folded=False)[1]

    def _particles(self, *, folded: bool) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        rows, uids = self._core.particles(folded)
        places = np.frombuffer(rows, dtype=np.float64).reshape(-1, self._dimensions)
        return places, np.frombuffer(uids, dtype=np.int64)


def expected_count(
    count: int,
    length: float,
    diffusivity: float,
    radius: float,
    time: float,
    step_s: float = 0.0,
) -> float:
    """Mean number of particles that a 3-D box holds after a time, by Smoluchowski's rate.

    ``count / (1 + c K)`` with ``c = count / length**3`` and
    ``K = 4 pi D s (t + 2 s sqrt(t / (2 pi D)))``, the flux of pairs (relative diffusivity 2 D, two
    particles a pair, one of them lost) into a sphere of radius s (M. v. Smoluchowski, Z. Phys.
    Chem. 92 (1917) 129).

    With ``step_s`` the formula is that of a box which looks for contacts only at the end of a
    step: ``s = radius - 0.5826 sqrt(4 D step_s)``, and the pairs that are nearer than ``s`` at the
    start, ``(2/3) pi s**3`` in K, are lost at once.  Without it, time is continuous and there are
    no such pairs.  Good as long as most particles are left.

    Raises
    ------
    ValueError
        A step that is too wide for the correction: ``s`` would be 0 or less.
    """
    s = radius - _STEP_SHIFT * sqrt(4.0 * diffusivity * step_s)
    if not s > 0.0:
        raise ValueError(f"step_s is too long for a radius of {radius!r}: {step_s!r}")
    lost = 4.0 * pi * diffusivity * s * (time + 2.0 * s * sqrt(time / (2.0 * pi * diffusivity)))
    if step_s > 0.0:
        lost += 2.0 / 3.0 * pi * s**3
    return count / (1.0 + count / length**3 * lost)


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number in {low} ... {high}, not {value!r}")
