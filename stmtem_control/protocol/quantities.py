"""Quantities as people write them, "-5 V" or "5 e/A^2/s", and back.

The arithmetic is that of pint, on a small registry of the units that such an experiment knows: in
pint's own, "e" is a charge, "A" never an ångström, and "5 Vs" five volts.  Numbers are decimal all
the way, so that "0.1 nA" is 1e-10 and not 1.0000000000000001e-10.
"""

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from stmtem_control.errors import LimitError


@dataclass(frozen=True)
class Kind:
    """A kind of quantity.

    Attributes
    ----------
    name : str
        With its article: "a voltage".
    unit : str
        In which values of this kind are kept.
    example : str
        As it is written in a file.
    """

    name: str
    unit: str
    example: str


VOLTAGE = Kind("a voltage", "V", "-5 V")
CURRENT = Kind("a current", "A", "1 nA")
CHARGE = Kind("a charge", "C", "10 pC")
TIME = Kind("a time", "s", "17 s")
FREQUENCY = Kind("a rate", "Hz", "25 Hz")
RAMP = Kind("a rate of change of the bias", "V/s", "1 V/s")
LENGTH = Kind("a length", "m", "0.5 m")
RESISTANCE = Kind("a resistance", "ohm", "10 Gohm")
GIGAOHM = Kind("a resistance", "Gohm", "10 Gohm")
DOSE = Kind("a dose", "e/A^2", "500 e/A^2")
DOSE_RATE = Kind("a dose rate", "e/A^2/s", "20 e/A^2/s")
KINDS = (VOLTAGE, CURRENT, CHARGE, TIME, FREQUENCY, RAMP, LENGTH, RESISTANCE, DOSE, DOSE_RATE)

PREFIXES = {"f": -15, "p": -12, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12}
# Symbols, and the prefixes that are in use with them.
_SYMBOLS = {
    "V": "numk", "A": "fpnumk", "C": "fpnum", "s": "fpnum", "Hz": "mkMG", "S": "fpnum",
    "ohm": "mkMGT", "m": "pnumk", "W": "fpnumk", "F": "fpnum",
}  # fmt: skip
# Each defines a unit of the registry; the first one of a line is what the others are made of.
_DEFINITIONS = (
    "second = [time] = s",
    "minute = 60 * second = min",
    "hour = 3600 * second = h",
    "volt = [voltage] = V",
    "ampere = [current] = A",
    "coulomb = ampere * second = C",
    "hertz = 1 / second = Hz",
    "siemens = ampere / volt = S",
    "ohm = volt / ampere",
    "watt = volt * ampere = W",
    "farad = coulomb / volt = F",
    "meter = [length] = m",
    "angstrom = 1e-10 * meter",
    "electron = [electrons] = e",
)
# Written in full, in the plural, or as a habit.
_WORDS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "min", "mins": "min",
    "minute": "min", "minutes": "min", "h": "h", "hr": "h", "hour": "h", "hours": "h",
    "volt": "V", "volts": "V", "amp": "A", "amps": "A", "ampere": "A", "amperes": "A",
    "coulomb": "C", "coulombs": "C", "hertz": "Hz", "fps": "Hz", "metre": "m", "metres": "m",
    "meter": "m", "meters": "m", "angstrom": "angstrom", "electron": "e", "electrons": "e",
    "e": "e", "Ohm": "ohm", "kOhm": "kohm", "MOhm": "Mohm", "GOhm": "Gohm", "TOhm": "Tohm",
}  # fmt: skip

_NUMBER = re.compile(r"[+-]?(?:\d{1,25}(?:\.\d{0,25})?|\.\d{1,25})(?:[eE][+-]?\d{1,3})?")
_FACTOR = re.compile(r"(?P<name>[A-Za-z]+)(?:(?:\^|\*\*)?(?P<power>[+-]?\d))?")
_SIGNS = str.maketrans(
    {"−": "-", "µ": "u", "μ": "u", "Ω": "ohm", "Å": "angstrom", "·": "*", "⁻": "-"}
)
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


class QuantityError(LimitError):
    """Text that is not a quantity of the kind that is wanted.

    Attributes
    ----------
    found, allowed, nearest : str
        What it is, what it may be, and what was probably meant ("" if nobody can tell).
    """

    def __init__(self, found: str, allowed: str, nearest: str = "") -> None:
        self.found, self.allowed, self.nearest = found, allowed, nearest
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        super().__init__(f"found {found}; {allowed}{hint}")


def parse_quantity(text: str, kind: Kind) -> float:
    """Return a quantity in the unit of its kind.

    Parameters
    ----------
    text : str
        A number and a unit: ``"-5 V"``, ``"35ms"``, ``"20 e/A^2/s"``.
    kind : Kind
        What it must be.

    Raises
    ------
    QuantityError
        It is no number with a unit, or one of another kind.

    Examples
    --------
    >>> parse_quantity("0.1 nA", CURRENT), parse_quantity("100 e/nm^2", DOSE)
    (1e-10, 1.0)
    >>> parse_quantity("5 A", VOLTAGE)
    Traceback (most recent call last):
    stmtem_control.protocol.quantities.QuantityError: found '5 A', a current; give a voltage, \
for example '-5 V'
    """
    wanted = f"give {kind.name}, for example {kind.example!r}"
    plain = unicodedata.normalize("NFC", text).strip().translate(_SIGNS)
    number = _NUMBER.match(plain)
    if number is None:
        raise QuantityError(_quoted(text), wanted)
    digits, unit = number[0], plain[number.end() :].strip()
    if not unit:
        raise QuantityError(
            f"{_quoted(text)}, a number without a unit", wanted, f"{digits} {kind.unit}"
        )
    if unit[0] in ".,0123456789_'":
        raise QuantityError(_quoted(text), f"{wanted}; decimals are set off with a point")
    try:
        factor, dimension = _unit(_tidy(unit))
        target, target_dimension = _unit(kind.unit)
    except ValueError as unknown:
        near = _nearest(str(unknown), kind)
        raise QuantityError(
            f"{_quoted(text)}, whose unit {str(unknown)!r} is unknown",
            wanted,
            f"{digits} {near}" if near else "",
        ) from None
    if dimension != target_dimension:
        raise QuantityError(
            f"{_quoted(text)}, {_name_of(dimension)}", wanted, _meant(digits, unit, kind)
        )
    value = float(Decimal(digits) * factor / target)
    if not math.isfinite(value):
        raise QuantityError(f"{_quoted(text)}, which is no finite number", wanted)
    return value + 0.0  # -0 is 0


def write_quantity(value: float, kind: Kind) -> str:
    """Write a value so that :func:`parse_quantity` gives back the very same one.

    Examples
    --------
    >>> write_quantity(2e-12, CURRENT), write_quantity(0.035, TIME), write_quantity(-5.0, VOLTAGE)
    ('2 pA', '35 ms', '-5 V')
    """
    exact = Decimal(repr(float(value)))
    symbol, power = kind.unit, 0
    if kind.unit in _SYMBOLS and exact and exact.adjusted() < -1:
        steps = {0: "", **{PREFIXES[p]: p for p in _SYMBOLS[kind.unit] if PREFIXES[p] < 0}}
        fitting = [step for step in steps if step <= exact.adjusted()]
        power = max(fitting) if fitting else min(steps)
        symbol = steps[power] + kind.unit
    scaled = exact.scaleb(-power).normalize()
    digits = f"{scaled:f}" if -7 < scaled.adjusted() < 15 else f"{scaled:e}"
    return f"{digits} {symbol}"


def known_units(kind: Kind) -> tuple[str, ...]:
    """Return how units of this kind can be spelled, the usual ones first."""
    _, wanted = _unit(kind.unit)
    found = [name for name in _tokens() if _unit(name)[1] == wanted]
    return tuple(dict.fromkeys([kind.unit, *found]))


def quantity_pattern(kind: Kind) -> str:
    """Return the regular expression by which an editor checks a quantity of a kind."""
    number = r"\s*[-+\u2212]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*"
    if kind.unit not in _tokens():
        return f"^{number}[^\\s\\d.,].*$"  # of several parts, which can be written in many ways
    names = [name for name in known_units(kind) if name.isascii()]
    names += [mu + name[1:] for name in names if name[:1] == "u" for mu in "µμ"]
    names += [name.replace("ohm", "Ω") for name in names if name.endswith("ohm")]
    return f"^{number}({'|'.join(dict.fromkeys(names))})\\s*$"


def _quoted(text: str) -> str:
    shown = text if len(text) <= 40 else text[:37] + "..."
    return repr(shown)


def _tidy(unit: str) -> str:
    """Bring a unit into plain letters: "e⁻ Å⁻²s⁻¹" becomes "e A-2 s-1"."""
    plain = unit.translate(_SUPERSCRIPTS)
    plain = re.sub(r"\be-(?!\d)", "e ", plain)  # e- is an electron, e-1 is per electron
    return " ".join(plain.replace("e(-)", "e").split())


@lru_cache(maxsize=1)
def _registry() -> Any:
    # The import takes longer than all the rest.
    import pint

    settings: dict[str, Any] = {"filename": list(_DEFINITIONS), "non_int_type": Decimal}
    return pint.UnitRegistry(**settings)


@lru_cache(maxsize=1)
def _tokens() -> dict[str, tuple[str, int]]:
    """Return, by what may be written, a unit of the registry and a power of ten."""
    found: dict[str, tuple[str, int]] = {}
    for symbol, prefixes in _SYMBOLS.items():
        found[symbol] = (symbol, 0)
        found.update({prefix + symbol: (symbol, PREFIXES[prefix]) for prefix in prefixes})
    for word, meaning in _WORDS.items():
        found[word] = found.get(meaning, (meaning, 0))
    return found


@lru_cache(maxsize=512)
def _unit(text: str) -> tuple[Decimal, tuple[tuple[str, Decimal], ...]]:
    """Return size and dimension of a unit; ValueError names the part that is unknown."""
    parts = re.split(r"\s*([/*])\s*|\s+", text)
    quantity = _registry().Quantity(Decimal(1))
    sign, factors = 1, 0
    # With electrons, A is an ångström: nobody gives a dose per square ampere.
    dose = re.search(r"(?<![A-Za-z])(e|electrons?)(?![A-Za-z])", text) is not None
    for part in parts:
        if not part:
            continue
        if part in "/*":
            sign = -1 if part == "/" else 1
            continue
        factor = _FACTOR.fullmatch(part)
        if factor is None or factors == 6:
            if part == "1" and not factors:
                factors += 1
                continue
            raise ValueError(part)
        factors += 1
        name, power = factor["name"], int(factor["power"] or 1)
        if dose and name == "A":
            name = "angstrom"
        if name not in _tokens():
            raise ValueError(name)
        unit, ten = _tokens()[name]
        one = _registry().Quantity(Decimal(1).scaleb(ten), unit)
        quantity = quantity * one ** (sign * power)
        sign = 1
    if not factors:
        raise ValueError(text)
    root = quantity.to_root_units()
    dimension = tuple(sorted((str(k), Decimal(v)) for k, v in root.dimensionality.items()))
    return Decimal(root.magnitude), dimension


def _name_of(dimension: tuple[tuple[str, Decimal], ...]) -> str:
    names = {_unit(kind.unit)[1]: kind.name for kind in KINDS}
    others = {"S": "a conductance", "W": "a power", "F": "a capacitance"}
    names.update({_unit(unit)[1]: name for unit, name in others.items()})
    return names.get(dimension, "which is something else")


def _nearest(unknown: str, kind: Kind) -> str:
    """Return the unit of a kind that is spelled most nearly like something unknown."""
    return _closest(unknown, known_units(kind)) or _closest(unknown, _tokens())


def _closest(word: str, names: Iterable[str]) -> str:
    names = list(names)
    same = [name for name in names if name.lower() == word.lower()]
    return (same or difflib.get_close_matches(word, names, n=1, cutoff=0.6) or [""])[0]


def _meant(digits: str, unit: str, kind: Kind) -> str:
    """Return what was probably meant by a quantity of another kind."""
    number = Decimal(digits)
    if kind in (FREQUENCY, TIME) and number > 0:
        factor, dimension = _unit(_tidy(unit))
        other = TIME if kind is FREQUENCY else FREQUENCY
        if dimension == _unit(other.unit)[1]:  # 40 ms is 25 Hz
            value = float(1 / (number * factor))
            return write_quantity(float(f"{value:.6g}"), kind)
    alike = [name for name in known_units(kind) if name.lower() == unit.lower()]
    if kind is DOSE or kind is DOSE_RATE:
        alike.append(kind.unit)
    return f"{digits} {alike[0]}" if alike else ""
