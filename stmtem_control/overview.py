"""What there is at a station, as text for a person: devices, plans, and where everything is."""

import inspect
import io
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .units import quantity

NARROWEST, WIDEST = 60, 140  # columns that a table has, whatever the terminal says


class DeviceList(Mapping[str, Any]):
    """The devices of a station by name; printed, a table with their live state.

    Nothing is asked of an instrument for it.
    """

    def __init__(self, devices: Mapping[str, Any]) -> None:
        self._devices = dict(devices)

    def __getitem__(self, name: str) -> Any:
        """Return a device."""
        return self._devices[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._devices)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._devices)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._devices)

    def __repr__(self) -> str:
        """Return name, meaning, state and unit of each device and of what it reads."""
        table = _table("name", "now", "unit", "what")
        for name, device in self._devices.items():
            table.add_row(name, Text(device.live_state()), "", summary(type(device)))
            for signal in signals(device):
                table.add_row(f"  {signal.dotted}", _value(signal), signal.unit, signal.about)
        return _text(table)


class PlanList(Mapping[str, Callable[..., Any]]):
    """The plans by name, as attributes too; printed, each with its signature and first sentence.

    Parameters
    ----------
    plans : mapping
        The plans by name.
    """

    def __init__(self, plans: Mapping[str, Callable[..., Any]]) -> None:
        self._plans = dict(plans)

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """Return a plan."""
        return self._plans[name]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a plan."""
        try:
            return self.__dict__["_plans"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(f"no plan {name!r}; there are {', '.join(self._plans)}") from None

    def __dir__(self) -> list[str]:
        """Return the plans' names."""
        return list(self._plans)

    def __iter__(self) -> Iterator[str]:
        """Yield the names."""
        return iter(self._plans)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._plans)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._plans)

    def __repr__(self) -> str:
        """Return signature and first sentence of each plan."""
        width, lines = _width(), []
        for name, plan in self._plans.items():
            call = f"{name}({', '.join(parameters(plan))})"
            lines += textwrap.wrap(call, width, subsequent_indent=" " * (len(name) + 1))
            sentence = summary(plan).split(". ")[0].rstrip(".") + "."
            lines += textwrap.wrap(sentence, width, initial_indent="    ", subsequent_indent="    ")
        return "\n".join(lines)


def summary(thing: Any) -> str:
    """Return the first paragraph of a docstring in one line; "" without one."""
    text = inspect.getdoc(thing) or ""
    return " ".join(text.split("\n\n", 1)[0].split())


def parameters(plan: Callable[..., Any]) -> Iterator[str]:
    """Yield a plan's parameters as they stand in a call, with their defaults."""
    keyword = False
    for name, parameter in inspect.signature(plan).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not keyword:
            keyword = True
            yield "*"
        default = parameter.default
        # A class, or a function, by its name, as it is written.
        text = getattr(default, "__name__", None) or repr(default)
        yield name if default is inspect.Parameter.empty else f"{name}={text}"


def signals(device: Any, *, settings: bool = False) -> Iterator[Any]:
    """Yield a device's own signals: what it reads, or with `settings` what can be set.

    Of the settings those that something is done for; others are only remembered.
    """
    for item in device.walk_signals():
        signal = item.item
        if settings:
            if getattr(signal, "apply", None) is not None:
                yield signal
        elif hasattr(signal, "about") and signal.attr_name in signal.parent.read_attrs:
            yield signal


def explain(device: Any) -> str:
    """Return a docstring for one device: what it is, and its signals with their units."""
    lines = [summary(type(device)), "", "Signals (unit: meaning)"]
    for item in device.walk_signals():
        signal = item.item
        if hasattr(signal, "about"):
            settable = ", settable" if signal.writable else ""
            lines.append(f"    {signal.dotted} ({signal.unit or '-'}{settable}): {signal.about}")
    return "\n".join(lines)


def where_all(devices: Iterable[Any], labels: Iterable[str] = ()) -> str:
    """Return where everything that can be set is, with limits and units, by label.

    Parameters
    ----------
    devices : iterable of ophyd devices
    labels : iterable of str
        Only these; by default all.
    """
    devices = list(devices)
    known = sorted({label for device in devices for label in device._ophyd_labels_})
    wanted = list(labels) or known
    parts = []
    for label in wanted:
        found = [device for device in devices if label in device._ophyd_labels_]
        if not found:
            parts.append(f"{label}: nothing has this label; there are {', '.join(known)}")
            continue
        table = _table(label, "now", "limits", "unit")
        for device in found:
            if hasattr(device, "locate"):
                unit = device.setpoint.unit if hasattr(device, "setpoint") else ""
                table.add_row(device.name, _located(device), _limits(device), unit)
            for signal in signals(device, settings=True):
                table.add_row(signal.dotted, _value(signal), _limits(signal), signal.unit)
        parts.append(_text(table))
    return "\n\n".join(parts)


def _located(device: Any) -> Text:
    at = device.locate()["setpoint"]
    if isinstance(at, bool):  # of the beam: a word says more
        return Text(device.live_state())
    return Text(quantity(at, device.setpoint.unit))


def _limits(thing: Any) -> str:
    low, high = getattr(thing, "limits", (0.0, 0.0))
    return "" if low == high else f"{low:g} to {high:g}"


def _value(signal: Any) -> Text:
    return Text(quantity(signal.get(), signal.unit))


def _table(*heads: str) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for head in heads:
        # Names stay whole, to be copied; what is long is the state of a device, or its meaning.
        table.add_column(
            head, no_wrap=head not in ("now", "what"), max_width=40 if head == "now" else None
        )
    return table


def _width() -> int:
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((120, 24)).columns)) - 1


def _text(table: Table) -> str:
    """Return a table as plain text: the same in a log, in Jupyter and on a dumb terminal."""
    file = io.StringIO()
    console = Console(
        file=file, width=_width(), force_terminal=False, force_jupyter=False, color_system=None
    )
    console.print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip().splitlines())
