"""Quantities as people read them."""

import math

_PREFIXES = ("f", "p", "n", "µ", "m", "", "k", "M", "G", "T")
_PREFIXED = {"V", "A", "S", "s", "Hz", "C"}  # units that take them


def si(value: float | None, unit: str, digits: int = 3) -> str:
    """Write a value with an SI prefix and `digits` significant digits.

    Examples
    --------
    >>> si(-2.4813e-10, "A")
    '-248 pA'
    >>> si(5, "V")
    '5.00 V'
    >>> si(None, "A")
    '-'
    """
    if value is None or math.isnan(value):
        return "-"
    if value == 0.0 or math.isinf(value):
        return f"{value:.0f} {unit}"
    power = math.floor(math.log10(abs(value)))
    # Rounding may carry into the next power: 999.96 is 1.00 k.
    if round(abs(value) / 10.0**power, digits - 1) >= 10.0:
        power += 1
    step = max(-5, min(4, power // 3))
    scaled = value / 10.0 ** (3 * step)
    decimals = max(0, digits - 1 - (power - 3 * step))
    return f"{scaled:.{decimals}f} {_PREFIXES[step + 5]}{unit}"


def seconds(value: float) -> str:
    """Write a duration.

    Examples
    --------
    >>> seconds(12.34), seconds(125)
    ('12.3 s', '2 min 5 s')
    """
    if value < 60.0:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def megabytes(count: int) -> str:
    """Write a number of bytes.

    Examples
    --------
    >>> megabytes(79_691_776)
    '79.7 MB'
    """
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def quantity(value: object, unit: str = "") -> str:
    """Return a value with its unit, short.

    Parameters
    ----------
    value : float, int, bool or str
    unit : str
        As in the documents; empty for none.

    Examples
    --------
    >>> quantity(-1.234e-9, "A"), quantity(3, "step"), quantity(True), quantity("open")
    ('-1.23 nA', '3 step', 'yes', 'open')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        dated = unit == "s" and abs(value) >= 1e6  # a Unix time; there are no megaseconds
        text = si(value, unit) if unit in _PREFIXED and not dated else f"{value:.10g} {unit}"
        return text.rstrip()
    return str(value)
