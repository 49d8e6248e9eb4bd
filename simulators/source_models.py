"""What the SourceMeters of one command language differ in: name, ranges, limits, noise."""

from dataclasses import dataclass

OVER_RANGE = 1.05  # a range is good to 105 % of its name
OVERFLOW = 9.9e37
NOT_A_NUMBER = 9.91e37

# The instrument's own numbers; from appendix B of the 2400 Series manual.
SOURCE_ERRORS = {
    100: "Measurement Limit 1 failed",
    701: "ASCII only with RS-232",
    800: "Illegal with storage active",
    801: "Insufficient vector data",
    802: "OUTPUT blocked by output enable",
    803: "Not permitted with OUTPUT off",
    806: "Expression not found",
    809: "Source memory location revised",
    810: "OUTPUT blocked by Over Temp",
    822: "Too small for sense range",
    823: "Invalid with source read-back on",
    824: "Cannot exceed compliance range",
    825: "Invalid with auto-ohms on",
    826: "Attempt to exceed power limit",
    828: "Invalid on 1 amp range",
    830: "Invalid with INF ARM:COUNT",
}


@dataclass(frozen=True)
class Scale:
    """One range of a quantity.

    Attributes
    ----------
    full : float
        Its name: full scale in V, A or Ohm.
    resolution : float
        The smallest step of a reading.
    noise : float
        The meter's own rms noise at one power line cycle.
    """

    full: float
    resolution: float
    noise: float

    @property
    def limit(self) -> float:
        """The largest value that the range takes."""
        return self.full * OVER_RANGE


@dataclass(frozen=True)
class Model:
    """One kind of SourceMeter.

    Attributes
    ----------
    volts, amps : tuple[Scale, ...]
        Ranges, smallest first, of source and meter alike.
    ohms : tuple[tuple[float, float], ...]
        Full scale (Ohm) and test current (A) of the auto ohms ranges.
    high_volts_amps : float
        The largest current (A) on the 200 V range.
    language : str
        What ``*LANG?`` answers; empty where the command does not exist.
    """

    name: str
    identity: str
    volts: tuple[Scale, ...]
    amps: tuple[Scale, ...]
    ohms: tuple[tuple[float, float], ...]
    high_volts_amps: float
    language: str

    def identification(self, serial_number: str) -> str:
        """Return the answer to ``*IDN?``."""
        return self.identity.format(serial=serial_number)

    @property
    def max_volts(self) -> float:
        """The largest voltage, V."""
        return self.volts[-1].limit

    @property
    def max_amps(self) -> float:
        """The largest current, A."""
        return self.amps[-1].limit

    def scales(self, function: str) -> tuple[Scale, ...]:
        """Return the ranges of ``VOLT`` or ``CURR``."""
        return self.volts if function == "VOLT" else self.amps


def fitting(scales: tuple[Scale, ...], value: float) -> Scale:
    """Return the smallest range that takes `value`; the largest if none does."""
    magnitude = abs(value)
    for scale in scales:
        if magnitude <= scale.limit * (1 + 1e-9):
            return scale
    return scales[-1]


def _scales(
    lowest: int, highest: int, digit: float, step: float, floor: float
) -> tuple[Scale, ...]:
    """Decades from ``digit * 10**lowest``; noise is half a step, and not below `floor`."""
    fulls = [float(f"{digit:g}e{decade}") for decade in range(lowest, highest + 1)]
    return tuple(Scale(full, full * step, max(0.5 * full * step, floor)) for full in fulls)


_OHMS = (
    (20.0, 0.1),
    (200.0, 1e-2),
    (2e3, 1e-3),
    (2e4, 1e-4),
    (2e5, 1e-5),
    (2e6, 1e-6),
    (2e7, 1e-6),
    (2e8, 1e-7),
)
_OHMS_6430 = ((2e9, 1e-8), (2e10, 1e-9), (2e11, 1e-10), (2e12, 1e-11), (2e13, 1e-12))

# Resolutions: 5 1/2 digits, 1 uV on 200 mV and 10 aA on 1 pA; a noise floor of 0.4 fA
# peak to peak at 10 power line cycles is what limits the lowest ranges of the 6430.
_MODELS = (
    Model(
        "2400",
        "KEITHLEY INSTRUMENTS INC.,MODEL 2400,{serial},C30   Mar 17 2006 09:29:29/A02  /K/J",
        _scales(-1, 2, 2, 5e-6, 0.5e-6),
        _scales(-6, 0, 1, 1e-5, 0.0),
        _OHMS,
        0.105,
        "",
    ),
    Model(
        "2450",
        "KEITHLEY INSTRUMENTS,MODEL 2450,{serial},1.6.7c",
        _scales(-2, 2, 2, 5e-6, 0.5e-6),
        _scales(-8, 0, 1, 1e-6, 20e-15),
        _OHMS,
        0.105,
        "SCPI2400",
    ),
    Model(
        "6430",
        "KEITHLEY INSTRUMENTS INC.,MODEL 6430,{serial},C27   Feb  4 2004 14:58:04/A02  /D/D",
        _scales(-1, 2, 2, 5e-6, 0.5e-6),
        _scales(-12, -1, 1, 1e-5, 0.2e-15),
        _OHMS + _OHMS_6430,
        0.105,
        "",
    ),
)


def model_named(name: str) -> Model:
    """Return the model of that name.

    Raises
    ------
    ValueError
        There is no such model.
    """
    for model in _MODELS:
        if model.name == name:
            return model
    names = ", ".join(model.name for model in _MODELS)
    raise ValueError(f"source model {name!r} is not simulated; choose one of {names}")
