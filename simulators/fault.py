"""A fault of the bench: what, where, when and how often; and its text form."""

import math
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Self

from stmtem_control.errors import ConfigError

from .fault_kinds import KINDS, WHERE, Kind

_LIST = "'stmtem sim --list-faults' has them all"


@dataclass(frozen=True)
class Fault:
    """One fault of the simulated bench.

    Parameters
    ----------
    where : str
        What has it: "bias_source", "probe", "camera", "camera_data", "specimen" or "beam".
    kind : str
        What it is; :data:`.fault_kinds.KINDS` has them all.
    at_s : float, optional
        It waits so many seconds of the bench's clock after it was injected.
    at_exchange : int, optional
        It strikes at the n-th message (camera_data: frame; garbage_at_connect: connection) after
        it was injected; 1 is the next one.  Of the specimen and the beam, those of the bias
        source are counted.
    count : int
        How many messages in a row it strikes; 0: all, until it is cleared.
    seconds : float
        A time that the kind needs, in seconds of the bench's clock; 0 takes the kind's own.
    amount : float, optional
        A size that the kind needs, in the kind's unit; None takes the kind's own.
    when : str
        Only messages that contain this text count.

    Raises
    ------
    ConfigError
        No such place, no such kind, a kind that does not go there, or a number that cannot be.
    """

    where: str
    kind: str
    at_s: float | None = None
    at_exchange: int | None = None
    count: int = 1
    seconds: float = 0.0
    amount: float | None = None
    when: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.where not in WHERE:
            self._refuse(f"no place {self.where!r}; {_nearest(self.where, WHERE)}")
        if self.kind not in KINDS:
            self._refuse(f"no kind {self.kind!r}; {_nearest(self.kind, tuple(KINDS))}; {_LIST}")
        row = self.row
        if self.where not in row.where:
            self._refuse(f"{self.kind} is not for {self.where}; it is for {', '.join(row.where)}")
        if self.at_s is not None and not 0.0 <= self.at_s < math.inf:
            self._refuse(f"time is {self.at_s}; give seconds from 0 on")
        if self.at_exchange is not None and self.at_exchange < 1:
            self._refuse(f"exchange is {self.at_exchange}; 1 is the next one")
        if self.count < 0:
            self._refuse(f"count is {self.count}; give how many, or 0 for all until it is cleared")
        if self.count > 1 and row.strikes == "state":
            self._refuse(f"{self.kind} strikes once; leave count out")
        if not 0.0 <= self.seconds < math.inf:
            self._refuse(f"seconds is {self.seconds}; give a number from 0 on")
        if self.seconds and not row.seconds:
            self._refuse(f"{self.kind} knows no seconds; leave them out")
        if self.amount is not None:
            if not row.amount:
                self._refuse(f"{self.kind} knows no amount; leave it out")
            if not row.low <= self.amount <= row.high:
                self._refuse(
                    f"amount is {self.amount:g}; {row.amount}: from {row.low:g} to {row.high:g}"
                )

    def _refuse(self, why: str) -> None:
        raise ConfigError(f"fault {str(self)!r}: {why}")

    @property
    def row(self) -> Kind:
        """The row of its kind."""
        return KINDS[self.kind]

    @property
    def server(self) -> str:
        """Whose exchanges it counts."""
        return "bias_source" if self.where in ("specimen", "beam") else self.where

    @property
    def time_s(self) -> float:
        """The time that it needs, in s: its own or the kind's."""
        return self.seconds or self.row.default_s

    @property
    def size(self) -> float | None:
        """The size that it needs: its own or the kind's; None lets the kind choose."""
        return self.row.default if self.amount is None else self.amount

    def __str__(self) -> str:
        """Return the text that :meth:`parse` takes."""
        pairs = [
            f"{_KEYS[item.name]}={_plain(value)}"
            for item in fields(self)
            if item.name in _KEYS and (value := getattr(self, item.name)) != item.default
        ]
        return f"{self.where}:{self.kind}{'@' if pairs else ''}{','.join(pairs)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``where:kind[@key=value,...]``.

        Keys are time, exchange, count, seconds, amount and when; `when` must be the last and takes
        the rest of the text, commas too.

        Raises
        ------
        ConfigError
            It cannot be read, or cannot be.
        """
        head, _, tail = text.strip().partition("@")
        where, colon, kind = (part.strip() for part in head.partition(":"))
        if not colon or not kind:
            raise ConfigError(
                f"fault {text!r}: write where:kind[@key=value,...], for example "
                "bias_source:drop@exchange=12,count=3"
            )
        values: dict[str, float | int | str] = {}
        while tail:
            key, _, rest = tail.partition("=")
            key = key.strip()
            if key == "when":
                values["when"] = rest
                break
            word, _, tail = rest.partition(",")
            if key not in _NUMBERS:
                raise ConfigError(
                    f"fault {text!r}: no key {key!r}; {_nearest(key, (*_NUMBERS, 'when'))}"
                )
            name, number = _NUMBERS[key]
            try:
                values[name] = number(word)
            except ValueError:
                raise ConfigError(
                    f"fault {text!r}: {key} is {word!r}; give "
                    f"{'a whole number' if number is int else 'a number'}"
                ) from None
        return cls(where, kind, **values)  # type: ignore[arg-type]


_NUMBERS: dict[str, tuple[str, type[int] | type[float]]] = {
    "time": ("at_s", float),
    "exchange": ("at_exchange", int),
    "count": ("count", int),
    "seconds": ("seconds", float),
    "amount": ("amount", float),
}
_KEYS = {**{name: key for key, (name, _) in _NUMBERS.items()}, "when": "when"}


def _plain(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _nearest(word: str, choices: tuple[str, ...]) -> str:
    near = get_close_matches(word, choices, 1, 0.4)
    return f"the nearest is {near[0]!r}" if near else f"choose from {', '.join(choices)}"
