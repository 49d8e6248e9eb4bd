"""Ways of entering a setting into the command table: number, switch, word, action."""

from collections.abc import Callable, Sequence

from . import scpi
from .scpi import CommandTree, Deferred, Parameters, Reply, ScpiError
from .source_models import Scale, fitting
from .source_settings import Settings

After = Callable[[], None]


def nr3(value: float) -> str:
    """Return a number as a set-up query answers it; infinity is 9.9E37."""
    return f"{min(max(value, -9.9e37), 9.9e37):.6E}"


class CommandTable:
    """A command tree over a set of settings.

    Most commands of an instrument store one value and answer with it; `path` is the value's
    dotted name in the settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.tree = CommandTree()
        self._settings = settings

    def number(
        self,
        spec: str,
        path: str,
        low: float,
        high: float,
        default: float,
        *,
        integer: bool = False,
        put: Callable[[float], None] | None = None,
        after: After | None = None,
    ) -> None:
        """Enter a number from `low` to `high`; MIN, MAX and DEF are taken and answered."""

        def write(parameters: Parameters) -> None:
            value = scpi.numeric(scpi.one(parameters), low, high, default)
            value = float(round(value)) if integer else value
            if put is not None:
                put(value)
            else:
                self._settings.put(path, round(value) if integer else value)
            if after is not None:
                after()

        def ask(parameters: Parameters) -> Reply:
            value = self._settings.get(path)
            if parameters:
                value = _named(scpi.one(parameters), low, high, default)
            return str(round(value)) if integer and abs(value) < 1e37 else nr3(value)

        self.tree.add(spec, write, ask)

    def switch(
        self,
        spec: str,
        path: str,
        *,
        put: Callable[[bool], None] | None = None,
        after: After | None = None,
    ) -> None:
        """Enter a boolean."""

        def write(parameters: Parameters) -> None:
            state = scpi.boolean(scpi.one(parameters))
            if put is not None:
                put(state)
            else:
                self._settings.put(path, state)
            if after is not None:
                after()

        def ask(parameters: Parameters) -> Reply:
            scpi.none(parameters)
            return "1" if self._settings.get(path) else "0"

        self.tree.add(spec, write, ask)

    def word(
        self,
        spec: str,
        path: str,
        names: Sequence[str],
        *,
        put: Callable[[str], None] | None = None,
        after: After | None = None,
    ) -> None:
        """Enter a choice of names; the answer is the short form."""

        def write(parameters: Parameters) -> None:
            name = scpi.keyword(scpi.one(parameters), names)
            if put is not None:
                put(name)
            else:
                self._settings.put(path, name)
            if after is not None:
                after()

        def ask(parameters: Parameters) -> Reply:
            scpi.none(parameters)
            return str(self._settings.get(path))

        self.tree.add(spec, write, ask)

    def events(self, spec: str, path: str, names: Sequence[str]) -> None:
        """Enter a list of events, or NONE for none of them."""

        def write(parameters: Parameters) -> None:
            if not parameters:
                raise ScpiError(-109)
            chosen = [scpi.keyword(text, [*names, "NONE"]) for text in parameters]
            if "NONE" in chosen:
                chosen = []
            self._settings.put(
                path, [n for n in (scpi.mnemonics(x)[0] for x in names) if n in chosen]
            )

        def ask(parameters: Parameters) -> Reply:
            scpi.none(parameters)
            return ",".join(self._settings.get(path)) or "NONE"

        self.tree.add(spec, write, ask)

    def action(
        self,
        spec: str,
        do: Callable[[], None],
        immediate: Callable[[Parameters], bool] | None = None,
    ) -> None:
        """Enter a command without parameters and without a query."""

        def write(parameters: Parameters) -> None:
            scpi.none(parameters)
            do()

        self.tree.add(spec, write, None, immediate)

    def query(self, spec: str, answer: Callable[[], Reply | Deferred]) -> None:
        """Enter a query that has no command form."""

        def ask(parameters: Parameters) -> Reply | Deferred:
            scpi.none(parameters)
            return answer()

        self.tree.add(spec, None, ask)


def _named(text: str, low: float, high: float, default: float) -> float:
    """Return what ``? MIN``, ``? MAX`` or ``? DEF`` asks for."""
    if not text[0].isalpha():
        raise ScpiError(-108)
    return scpi.numeric(text, low, high, default)


def always(parameters: Parameters) -> bool:
    """Tell that a command is carried out even while an operation runs."""
    return True


def range_setter(
    scales: tuple[Scale, ...],
    present: Callable[[], Scale],
    put: Callable[[float], None],
    default: float,
    after: Callable[[], None],
) -> Callable[[Parameters], None]:
    """Return the command form of a range: a value, MIN, MAX, DEF, UP or DOWN."""

    def write(parameters: Parameters) -> None:
        text = scpi.one(parameters)
        top = scales[-1].limit
        if text.upper() in ("UP", "DOWN"):
            place = scales.index(present()) + (1 if text.upper() == "UP" else -1)
            value = scales[min(max(place, 0), len(scales) - 1)].full
        elif text.upper() in ("MIN", "MINIMUM"):
            value = scales[0].full
        else:
            value = scpi.numeric(text, -top, top, default)
        put(value)
        after()

    return write


def range_answer(
    parameters: Parameters, scales: tuple[Scale, ...], present: Scale, default: float
) -> Reply:
    """Return the query form of a range: 105 % of the present one, or of MIN, MAX or DEF."""
    if not parameters:
        return nr3(present.limit)
    value = scpi.numeric(scpi.one(parameters), scales[0].full, scales[-1].full, default)
    return nr3(fitting(scales, value).limit)


def in_base(value: int, name: str) -> str:
    """Return a register as ASCii, HEXadecimal, OCTal or BINary."""
    prefixes = {"HEX": ("#H", "X"), "OCT": ("#Q", "o"), "BIN": ("#B", "b")}
    if name == "ASC":
        return str(value)
    prefix, form = prefixes[name]
    return f"{prefix}{value:{form}}"


def whole(parameters: Parameters, low: int, high: int) -> int:
    """Return the only parameter, a whole number from `low` to `high`."""
    return round(scpi.numeric(scpi.one(parameters), low, high, low))
