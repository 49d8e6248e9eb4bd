"""From an instrument's clock to the station's: offset and drift, and how well they are known.

An exchange bounds the offset strictly: whatever the delays were, the instrument stamped its answer
after the question was sent and before the answer was there.  The bounds of many exchanges leave
a convex set of offsets and drifts; no law of the delays is assumed, and a long round trip is
a loose bound that weighs nothing beside the short ones.  This is set-membership estimation, see
Marzullo and Owicki, "Maintaining the time in a distributed system", ACM SIGOPS Oper. Syst. Rev.
19 (3), 1985, here with the drift as a second unknown.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .errors import InstrumentError, LimitError, RecordingError
from .exchanges import Exchange

Z95 = 1.959963984540054  # half width of the central 95 % of a normal law, in standard deviations
LARGEST_DRIFT = 2e-4  # two cheap quartz clocks, each wrong by 100 ppm the other way
BEST = 3  # exchanges that a part of the window keeps
SMALLEST_S = 1e-9  # no bound is taken for sharper than this

Matrix = tuple[tuple[float, float], tuple[float, float]]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class StampedExchange(Exchange):
    """An exchange in which the instrument told its own time.

    Attributes
    ----------
    sent, answered : float
        Station time (s) before the stamp and after it.  ``-inf`` or ``inf`` where only one side
        is known, as for frames that come unasked.
    instrument_s : float
        The stamp, in s on the instrument's clock.
    resolution_s : float
        The instrument's time was within so much of the stamp, + or -: half the last digit where
        the instrument rounds, a whole one where it cuts off or where that is not known.
    """

    instrument_s: float
    resolution_s: float = 0.0


@dataclass(frozen=True)
class ClockModel:
    """The station time of an instrument's time stamps.

    station time = T + offset_s + drift * (T - reference_s), with T the instrument's time.

    Parameters
    ----------
    reference_s : float
        The instrument's time (s) for which the offset is given.
    offset_s : float
        Station time minus instrument time there, in s.
    drift : float
        Seconds that the offset grows in a second of the instrument.
    covariance : 2 x 2
        Of offset (s) and drift.
    source : str
        Which clock it is, and how the model was found; it goes into the files.

    Raises
    ------
    LimitError
        A number is not finite, or the covariance is not one.
    """

    reference_s: float
    offset_s: float
    drift: float
    covariance: Matrix
    source: str

    def __post_init__(self) -> None:
        """Refuse what cannot be a model."""
        (c00, c01), (c10, c11) = self.covariance
        numbers = (self.reference_s, self.offset_s, self.drift, c00, c01, c10, c11)
        scale = math.sqrt(abs(c00 * c11))
        if not all(map(math.isfinite, numbers)) or self.drift <= -1.0:
            raise LimitError(f"clock model of {self.source}: {numbers} are not all usable numbers")
        if min(c00, c11) < 0.0 or c01 != c10 or abs(c01) > scale * (1.0 + 1e-9):
            raise LimitError(
                f"clock model of {self.source}: {self.covariance} is not a covariance; give "
                "a symmetric, positive one of offset and drift"
            )

    def station_time(self, instrument_time_s: float) -> tuple[float, float]:
        """Return the station time (s) of a stamp and its uncertainty (s, 95 % half width)."""
        since = instrument_time_s - self.reference_s
        # In this order a stamp in Unix time loses nothing but what its own digits have lost.
        t = since + self.drift * since + (self.reference_s + self.offset_s)
        return t, self.uncertainty_s(instrument_time_s)

    def instrument_time(self, station_time_s: float) -> tuple[float, float]:
        """Return the instrument's time (s) at a station time, and its uncertainty (s, 95 %)."""
        rate = 1.0 + self.drift
        since = (station_time_s - (self.reference_s + self.offset_s)) / rate
        found = self.reference_s + since
        return found, self.uncertainty_s(found) / rate

    def uncertainty_s(self, instrument_time_s: float) -> float:
        """Return the 95 % half width (s) of the station time of a stamp."""
        since = instrument_time_s - self.reference_s
        (c00, c01), (_, c11) = self.covariance
        return Z95 * math.sqrt(max(0.0, c00 + 2.0 * c01 * since + c11 * since * since))

    def to_dict(self) -> dict[str, Any]:
        """Return the model as what JSON can hold."""
        return {
            "reference_s": self.reference_s,
            "offset_s": self.offset_s,
            "drift": self.drift,
            "covariance": [list(row) for row in self.covariance],
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ClockModel":
        """Return the model that :meth:`to_dict` wrote.

        Raises
        ------
        RecordingError
            It is not one.
        """
        try:
            (c00, c01), (c10, c11) = values["covariance"]
            return cls(
                float(values["reference_s"]),
                float(values["offset_s"]),
                float(values["drift"]),
                ((float(c00), float(c01)), (float(c10), float(c11))),
                str(values["source"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(
                f"{dict(values)!r} is not a clock model: {type(error).__name__} {error}"
            ) from error


def fit_clock(
    exchanges: Iterable[StampedExchange], *, source: str, max_drift: float = LARGEST_DRIFT
) -> ClockModel:
    """Find offset and drift of an instrument's clock from exchanges in which it told its time.

    Parameters
    ----------
    exchanges : iterable of StampedExchange
        At least one with both sides, or one of each side.
    source : str
        Goes into the model.
    max_drift : float
        The drift is known to be smaller than this, from the data sheets of both clocks.

    Returns
    -------
    ClockModel
        Its 95 % ellipse of offset and drift holds all that the exchanges allow: as long as the
        clocks run evenly, the truth lies in the interval always.

    Raises
    ------
    LimitError
        The exchanges do not bound the offset.
    InstrumentError
        They contradict each other: the clock was set or reset in between, or it runs wilder.
    """
    usable = sorted(exchanges, key=lambda one: one.uncertainty_s)
    reference = _middle(usable)
    span = max((abs(one.instrument_s - reference) for one in usable), default=0.0) or 1.0
    planes: list[tuple[float, float, float]] = []  # a0 * offset + a1 * drift * span <= b, all s
    lows, highs = [], []
    for one in usable:
        place = (one.instrument_s - reference) / span
        digits = 2.0 * (math.ulp(one.instrument_s) + math.ulp(reference))
        slack = one.resolution_s * (1.0 + max_drift) + digits + SMALLEST_S
        reach = max_drift * span * abs(place)
        if math.isfinite(one.sent):
            low = one.sent - one.instrument_s - slack
            planes.append((-1.0, -place, -low))
            lows.append(low - reach)
        if math.isfinite(one.answered):
            high = one.answered - one.instrument_s + slack
            planes.append((1.0, place, high))
            highs.append(high + reach)
    if not lows or not highs:
        raise LimitError(
            f"clock of {source}: {len(usable)} exchanges do not bound its offset on both sides; "
            "ask it for its time at least once"
        )
    low, high, most = max(lows), min(highs), max_drift * span
    # Offsets are counted from the middle: station and instrument may be decades apart.
    middle = 0.5 * (low + high)
    corners: Points = []
    if low <= high:
        corners = [
            (low - middle, -most), (high - middle, -most),
            (high - middle, most), (low - middle, most),
        ]  # fmt: skip
    for a0, a1, b in planes:
        corners = _cut(corners, a0, a1, b - a0 * middle)
    if not corners:
        raise InstrumentError(
            f"clock of {source}: its times contradict each other; it was set or reset in "
            f"between, or it drifts by more than {max_drift:g}"
        )
    (offset, turn), ((v00, v01), (_, v11)) = _ellipse_around(corners)
    covariance = ((v00, v01 / span), (v01 / span, v11 / span**2))
    return ClockModel(reference, middle + offset, turn / span, covariance, source)


class ClockFit:
    """Offset and drift of an instrument's clock, kept up to date as exchanges come.

    Parameters
    ----------
    source : str
        Goes into the models.
    max_drift : float
        See :func:`fit_clock`.
    window_s : float
        Exchanges older than this are forgotten: the drift itself drifts, with the temperature.
    bins : int
        Of each part of the window the shortest round trip and the sharpest bounds are kept, at
        least; the parts are as long as what is in the window is old.
    """

    def __init__(
        self,
        source: str,
        *,
        max_drift: float = LARGEST_DRIFT,
        window_s: float = 600.0,
        bins: int = 20,
    ) -> None:
        self.source = source
        self.resets = 0
        self._max_drift = max_drift
        self._window_s = window_s
        self._bins = bins
        self._kept: list[StampedExchange] = []
        self._model: ClockModel | None = None
        self._current = True

    def add(self, exchange: StampedExchange) -> None:
        """Take an exchange into account."""
        oldest = exchange.instrument_s - self._window_s
        self._kept = [one for one in self._kept if one.instrument_s >= oldest]
        self._kept.append(exchange)
        self._current = False
        if len(self._kept) > 2 * BEST * self._bins:
            self._thin_out()

    def reset(self) -> None:
        """Forget everything: the instrument's clock was set, or it is another one."""
        self._kept.clear()
        self._model, self._current = None, True
        self.resets += 1

    @property
    def model(self) -> ClockModel | None:
        """The present model; None as long as nothing bounds the offset.

        When the exchanges contradict each other, as after a reset of the instrument's timer that
        nobody told of, all but the newest are forgotten.
        """
        if not self._current:
            self._model = self._fit()
            self._current = True
        return self._model

    def _fit(self) -> ClockModel | None:
        try:
            return fit_clock(self._kept, source=self.source, max_drift=self._max_drift)
        except LimitError:
            return None
        except InstrumentError:
            self._kept = self._kept[-1:]
            self.resets += 1
            return fit_clock(self._kept, source=self.source, max_drift=self._max_drift)

    def _thin_out(self) -> None:
        model = self.model
        rate = 1.0 if model is None else 1.0 + model.drift
        times = [one.instrument_s for one in self._kept]
        first, length = min(times), (max(times) - min(times)) / self._bins or 1.0
        parts: dict[int, list[StampedExchange]] = {}
        for one in self._kept:
            number = min(self._bins - 1, int((one.instrument_s - first) / length))
            parts.setdefault(number, []).append(one)
        self._kept = []
        for part in parts.values():
            best = (
                min(part, key=lambda one: one.answered - one.sent),
                max(part, key=lambda one: one.sent - rate * one.instrument_s - one.resolution_s),
                min(part, key=lambda one: one.answered - rate * one.instrument_s
                    + one.resolution_s),
            )  # fmt: skip
            self._kept += [one for one in part if any(one is kept for kept in best)]


def _middle(exchanges: Sequence[StampedExchange]) -> float:
    """Return the instrument time in the middle of all exchanges."""
    if not exchanges:
        return 0.0
    times = [one.instrument_s for one in exchanges]
    return 0.5 * (min(times) + max(times))


def _cut(corners: Points, a0: float, a1: float, b: float) -> Points:
    """Return the part of a convex polygon where a0 * x + a1 * y <= b (Sutherland, Hodgman)."""
    over = [a0 * x + a1 * y - b for x, y in corners]
    if not over or max(over) <= 0.0:
        return corners
    left: Points = []
    for i, ((x, y), out) in enumerate(zip(corners, over, strict=True)):
        (before_x, before_y), before = corners[i - 1], over[i - 1]
        if (out > 0.0) != (before > 0.0):
            part = before / (before - out)
            left.append((before_x + part * (x - before_x), before_y + part * (y - before_y)))
        if out <= 0.0:
            left.append((x, y))
    return left


def _ellipse_around(corners: Points) -> tuple[tuple[float, float], Matrix]:
    """Return centre and covariance whose 95 % ellipse holds a convex polygon.

    Its shape is that of the polygon's second moments, so that it follows a long, thin one; it is
    blown up until the furthest corner lies on it.
    """
    x0, y0 = corners[0]
    area = sx = sy = xx = xy = yy = 0.0
    for (x1, y1), (x2, y2) in pairwise(corners[1:]):
        ux, uy, wx, wy = x1 - x0, y1 - y0, x2 - x0, y2 - y0
        part = 0.5 * abs(ux * wy - uy * wx)
        area += part
        sx += part * (ux + wx) / 3.0
        sy += part * (uy + wy) / 3.0
        # Second moments of a triangle with a corner at the origin.
        xx += part * (ux * ux + ux * wx + wx * wx) / 6.0
        yy += part * (uy * uy + uy * wy + wy * wy) / 6.0
        xy += part * (2.0 * ux * uy + ux * wy + wx * uy + 2.0 * wx * wy) / 12.0
    floor = SMALLEST_S**2
    if area > floor:
        mx, my = sx / area, sy / area
        vxx, vxy, vyy = xx / area - mx * mx, xy / area - mx * my, yy / area - my * my
    else:  # a point or a line, to all that can be told
        n = len(corners)
        mx = math.fsum(x - x0 for x, _ in corners) / n
        my = math.fsum(y - y0 for _, y in corners) / n
        vxx = vyy = vxy = 0.0
        for x, y in corners:
            vxx += (x - x0 - mx) ** 2 / n
            vyy += (y - y0 - my) ** 2 / n
            vxy += (x - x0 - mx) * (y - y0 - my) / n
    vxx, vyy = max(vxx, 0.0) + floor, max(vyy, 0.0) + floor
    determinant = max(vxx * vyy - vxy * vxy, floor * floor)
    furthest = max(
        (vyy * (x - x0 - mx) ** 2 - 2.0 * vxy * (x - x0 - mx) * (y - y0 - my)
         + vxx * (y - y0 - my) ** 2) / determinant
        for x, y in corners
    )  # fmt: skip
    grow = max(1.0, furthest) / Z95**2
    return (x0 + mx, y0 + my), ((grow * vxx, grow * vxy), (grow * vxy, grow * vyy))
