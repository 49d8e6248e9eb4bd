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

from stmtem_control.errors import SpecimenError

from . import _kinetics

__all__ = ["ReactionBox"]

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
        Binding radius: particles nearer than this fuse; 1e-9 ... 1/2 of the length, or 0: they
        never do.
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
    SpecimenError
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
            if not isinstance(value, (int, float, np.number)) or not isfinite(value):
                raise SpecimenError(f"{name} must be a finite number, not {value!r}")
        if search not in ("list", "every pair"):
            raise SpecimenError(f"search must be 'list' or 'every pair', not {search!r}")
        self._dimensions = int(dimensions)
        self._step_s = float(step_s)
        self._start_count, self._length = count, float(length)
        self._diffusivity, self._radius = float(diffusivity), float(radius)
        try:
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
        except (TypeError, ValueError) as error:
            raise SpecimenError(str(error)) from None

    def __repr__(self) -> str:
        """Particles left and time."""
        return f"<ReactionBox with {self.count} particles at {self.time:.6g} s>"

    def advance(self, steps: int) -> None:
        """Do a number of steps.

        Raises
        ------
        SpecimenError
            ``steps`` is not a whole number in 0 ... 2**63 - 1.
        MemoryError
            No room for the pairs; another call takes the step up again.
        """
        _whole("steps", steps, 0, 2**63 - 1)
        self._core.advance(steps)

    def expected_count(self, time_s: float, *, continuous: bool = False) -> float:
        """Mean number of particles that a cube holds after a time, by Smoluchowski's rate.

        ``count / (1 + c K)`` with ``c = count / length**3``, both at the start, and
        ``K = 4 pi D s (t + 2 s sqrt(t / (2 pi D))) + (2/3) pi s**3``: the flux of pairs (relative
        diffusivity 2 D, one of two particles lost) into a sphere of radius s, and the pairs that
        were in it from the start (M. v. Smoluchowski, Z. Phys. Chem. 92 (1917) 129).  Contacts are
        looked for only at the end of a step: ``s = radius - 0.5826 sqrt(4 D step_s)``.  Good as
        long as most particles are left and a step is short against the radius.

        Parameters
        ----------
        time_s
            Time since the start, s.
        continuous
            The limit of short steps and of a start without pairs: ``s = radius``, and no term in
            ``s**3``.

        Raises
        ------
        SpecimenError
            The box is a square, ``time_s`` is negative, or a step too long: ``s`` would not be
            above 0.
        """
        if self._dimensions != 3:
            raise SpecimenError("expected_count is for three dimensions")
        if not time_s >= 0.0:
            raise SpecimenError(f"time_s must be 0 or more, not {time_s!r}")
        d, s = self._diffusivity, self._radius
        if not continuous:
            s -= _STEP_SHIFT * sqrt(4.0 * d * self._step_s)
        if not s > 0.0:
            raise SpecimenError("expected_count is for steps that are short against the radius")
        lost = 4.0 * pi * s * (d * time_s + s * sqrt(2.0 * d * time_s / pi))
        if not continuous:
            lost += 2.0 / 3.0 * pi * s**3
        return self._start_count / (1.0 + self._start_count / self._length**3 * lost)

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


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpecimenError(f"{name} must be a whole number in {low} ... {high}, not {value!r}")
