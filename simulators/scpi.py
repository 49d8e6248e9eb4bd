"""SCPI program messages: a command tree, the rules for walking it, and its parameter types.

Nothing here knows an instrument.  The grammar is that of SCPI-1999 volume 1 (chapters 6 and 7)
and IEEE 488.2: long and short mnemonics only, optional nodes, numeric suffixes, compound
messages whose headers start where the one before ended, and typed parameters.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Parameters = tuple[str, ...]
Reply = str | bytes

_NODE = re.compile(r"(\[)?:([A-Za-z]+)(\d*)(\[1\])?(\])?")
_UNIT = re.compile(r"(:?\*?[A-Za-z][\w:]*)(\?)?(?:\s+(.*))?", re.DOTALL)
_HEADER = re.compile(r":?\*?[A-Za-z]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:\s*[eE]\s*[+-]?\d+)?")
_BASES = {"B": 2, "Q": 8, "H": 16}

STANDARD_ERRORS = {
    -101: "Invalid character",
    -102: "Syntax error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -111: "Header separator error",
    -113: "Undefined header",
    -120: "Numeric data error",
    -121: "Invalid character in number",
    -141: "Invalid character data",
    -151: "Invalid string data",
    -171: "Invalid expression",
    -211: "Trigger ignored",
    -213: "Init ignored",
    -214: "Trigger deadlock",
    -220: "Parameter error",
    -221: "Settings conflict",
    -222: "Parameter data out of range",
    -223: "Too much data",
    -230: "Data corrupt or stale",
    -350: "Queue overflow",
    -363: "Input buffer overrun",
    -410: "Query INTERRUPTED",
    -420: "Query UNTERMINATED",
}


class ScpiError(Exception):
    """What goes into the instrument's error queue.

    Parameters
    ----------
    code : int
        The number; negative ones are SCPI's, positive ones the instrument's own.
    """

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Deferred:
    """A reply that can be given only when the operation that was started has ended."""

    def __init__(self, answer: Callable[[], Reply | None]) -> None:
        self.answer = answer


@dataclass
class Command:
    """A leaf of the tree: what its command form and its query form do.

    `immediate` tells that the command form is carried out even while an operation runs.
    """

    name: str
    write: Callable[[Parameters], None] | None = None
    ask: Callable[[Parameters], Reply | Deferred | None] | None = None
    immediate: Callable[[Parameters], bool] | None = None


@dataclass(frozen=True)
class Unit:
    """One command or query of a program message, with its parameters."""

    command: Command
    query: bool
    parameters: Parameters

    @property
    def immediate(self) -> bool:
        """True if it is carried out even while an operation runs."""
        test = self.command.immediate
        return not self.query and test is not None and test(self.parameters)


@dataclass
class Program:
    """A program message: its good units in order, and the error that ended it, if any."""

    units: list[Unit]
    error: ScpiError | None = None


@dataclass
class _Node:
    children: dict[str, "_Node"] = field(default_factory=dict)
    command: Command | None = None


def mnemonics(name: str) -> tuple[str, str]:
    """Return the short and the long form, upper case, of a name such as ``SENSe``."""
    return "".join(c for c in name if not c.islower()).upper(), name.upper()


class CommandTree:
    """All commands of an instrument, found by header.

    A command is entered under the notation of the manuals, for example
    ``[:SENSe[1]]:CURRent[:DC]:RANGe[:UPPer]`` or ``*IDN``.
    """

    def __init__(self) -> None:
        self._root = _Node()

    def add(
        self,
        spec: str,
        write: Callable[[Parameters], None] | None = None,
        ask: Callable[[Parameters], Reply | Deferred | None] | None = None,
        immediate: Callable[[Parameters], bool] | None = None,
    ) -> Command:
        """Enter a command; `write` does its command form, `ask` answers its query form.

        Raises
        ------
        ValueError
            The notation cannot be read, or the header is there already.
        """
        command = Command(spec, write, ask, immediate)
        if spec.startswith("*"):
            self._put(self._root.children.setdefault(spec.upper(), _Node()), command)
            return command
        nodes = []
        position = 0
        while position < len(spec):
            match = _NODE.match(spec, position)
            if match is None or bool(match[1]) != bool(match[5]):
                raise ValueError(f"command notation {spec!r} cannot be read at {position}")
            nodes.append((match[2], match[3], bool(match[4]), bool(match[1])))
            position = match.end()
        self._grow(self._root, nodes, command)
        return command

    def _grow(
        self, node: _Node, rest: Sequence[tuple[str, str, bool, bool]], command: Command
    ) -> None:
        if not rest:
            self._put(node, command)
            return
        name, digits, one, optional = rest[0]
        if optional:
            self._grow(node, rest[1:], command)
        forms = [form + digits for form in mnemonics(name)]
        if one:
            forms += [form + "1" for form in forms]
        child = next((node.children[f] for f in forms if f in node.children), None)
        child = _Node() if child is None else child
        for form in forms:
            node.children.setdefault(form, child)
        self._grow(child, rest[1:], command)

    @staticmethod
    def _put(node: _Node, command: Command) -> None:
        if node.command is not None and node.command is not command:
            raise ValueError(f"{command.name} has the same header as {node.command.name}")
        node.command = command

    def parse(self, message: str) -> Program:
        """Take a program message apart; an error discards what follows it."""
        program = Program([])
        path = self._root
        try:
            for text in split(message, ";"):
                if not text:
                    continue
                unit, path = self._unit(text, path)
                program.units.append(unit)
        except ScpiError as error:
            program.error = error
        return program

    def _unit(self, text: str, path: _Node) -> tuple[Unit, _Node]:
        match = _UNIT.fullmatch(text)
        if match is None:
            raise ScpiError(-111 if _HEADER.match(text) else -102)
        header, query, rest = match[1], match[2] is not None, match[3]
        common = header.lstrip(":").startswith("*")
        node = self._root if common or header.startswith(":") else path
        parent = node
        for mnemonic in header.removeprefix(":").upper().split(":"):
            parent = node
            found = node.children.get(mnemonic)
            if found is None:
                raise ScpiError(-113)
            node = found
        command = node.command
        if command is None or (command.ask if query else command.write) is None:
            raise ScpiError(-113)
        parameters = tuple(split(rest, ",")) if rest and rest.strip() else ()
        if "" in parameters:
            raise ScpiError(-109)
        # A common command leaves the place in the tree as it was (SCPI-1999, 6.2.4).
        return Unit(command, query, parameters), (path if common else parent)


def split(text: str, separator: str) -> Iterator[str]:
    """Cut `text` at a separator that stands outside quotes and brackets; ends are trimmed.

    Raises
    ------
    ScpiError
        -151 for a quote, -171 for a bracket that is not closed.
    """
    start, quote, depth = 0, "", 0
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == separator and depth == 0:
            yield text[start:position].strip()
            start = position + 1
    if quote:
        raise ScpiError(-151)
    if depth:
        raise ScpiError(-171)
    yield text[start:].strip()


def none(parameters: Parameters) -> None:
    """Hold that there is no parameter."""
    if parameters:
        raise ScpiError(-108)


def one(parameters: Parameters) -> str:
    """Return the only parameter."""
    if not parameters:
        raise ScpiError(-109)
    text, *more = parameters
    if more:
        raise ScpiError(-108)
    return text


def number(text: str) -> float:
    """Return a number: NR1, NR2, NR3, ``#B``, ``#Q``, ``#H``, ``INFinity``, ``NINFinity``."""
    if _NUMBER.fullmatch(text):
        return float(re.sub(r"\s", "", text))
    if text.startswith("#") and len(text) > 2 and text[1].upper() in _BASES:
        try:
            return float(int(text[2:], _BASES[text[1].upper()]))
        except ValueError:
            raise ScpiError(-121) from None
    infinite = {"INF": float("inf"), "INFINITY": float("inf")}
    infinite |= {"NINF": float("-inf"), "NINFINITY": float("-inf")}
    if text.upper() in infinite:
        return infinite[text.upper()]
    raise ScpiError(-121 if text[0].isdigit() or text[0] in "+-.#" else -104)


def numeric(text: str, low: float, high: float, default: float) -> float:
    """Return a number from `low` to `high`, or what MIN, MAX or DEF stand for."""
    named = {"MIN": low, "MINIMUM": low, "MAX": high, "MAXIMUM": high}
    named |= {"DEF": default, "DEFAULT": default}
    if text.upper() in named:
        return named[text.upper()]
    value = number(text)
    # A limit that was written by a program as a decimal number must pass.
    slack = 1e-9 * max(abs(low), abs(high))
    if not low - slack <= value <= high + slack:
        raise ScpiError(-222)
    return min(max(value, low), high)


def boolean(text: str) -> bool:
    """Return the truth of ON, OFF or a number."""
    if text.upper() in ("ON", "OFF"):
        return text.upper() == "ON"
    if text[0].isalpha() or text[0] in "'\"":
        raise ScpiError(-141)
    return round(number(text)) != 0


def keyword(text: str, names: Sequence[str]) -> str:
    """Return the short form of the one of `names` that `text` is; ``SENSe[1]`` may end in 1."""
    for name in names:
        plain = name.removesuffix("[1]")
        short, full = mnemonics(plain)
        if text.upper() in (short, full) or (
            plain != name and text.upper() in (short + "1", full + "1")
        ):
            return short
    raise ScpiError(-141)


def string(text: str) -> str:
    """Return what stands between quotes of either kind; a doubled quote stands for itself."""
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
        raise ScpiError(-151)
    return text[1:-1].replace(text[0] * 2, text[0])


def intervals(text: str) -> list[tuple[int, int]]:
    """Return the ranges of a numlist such as ``(-110:-222, 100)``, each low end first."""
    if not text.startswith("(") or not text.endswith(")"):
        raise ScpiError(-171)
    found = []
    for part in split(text[1:-1], ","):
        ends = [round(number(end.strip())) for end in part.split(":") if end.strip()]
        if not ends or len(ends) > 2:
            raise ScpiError(-171)
        found.append((min(ends), max(ends)))
    return found
