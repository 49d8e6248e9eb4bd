"""Tab at the prompt: after a device's name, its signals with their units and meanings."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from .overview import summary

DOTTED = re.compile(r"(?:^|[^\w.])((?:[A-Za-z_]\w*\.)+)(\w*)$")
# What ophyd gives every device, and a person uses; the rest of its eighty names is for programs.
VERBS = ("describe", "get", "read", "read_configuration", "set", "stop", "subscribe", "trigger")


def signal_matcher(devices: Mapping[str, Any]) -> Callable[[CompletionContext], dict[str, Any]]:
    """Return a matcher for IPython's completer; it asks nothing of an instrument.

    Where it knows something, nothing else is shown: IPython alone lists a hundred names, of which
    most are ophyd's own.  Any other name can be typed, and is completed when nothing here fits.

    Parameters
    ----------
    devices : mapping
        The devices by name.
    """

    @context_matcher(priority=100)  # type: ignore[untyped-decorator,unused-ignore]
    def matcher(context: CompletionContext) -> dict[str, Any]:
        found = DOTTED.search(context.text_until_cursor)
        if found is None:
            return {"completions": []}
        path, begun = found[1], found[2]
        completions = [
            SimpleCompletion(text=path + name, type=meaning)
            for name, meaning in _names(_walk(devices, path.rstrip(".").split(".")))
            if name.startswith(begun)
        ]
        return {
            "completions": completions,
            "matched_fragment": path + begun,
            "suppress": bool(completions),
            "ordered": True,
        }

    return matcher  # type: ignore[no-any-return,unused-ignore]


def _walk(devices: Mapping[str, Any], names: list[str]) -> Any:
    """Return the device or signal at the end of a path of component names, or None."""
    device: Any = devices.get(names[0])
    for name in names[1:]:
        device = getattr(device, name) if name in getattr(device, "component_names", ()) else None
    return device


def _names(device: Any) -> Iterator[tuple[str, str]]:
    """Yield names with what they mean: signals, then what this package gives, then the verbs."""
    if device is None:
        return
    told = set()
    for name in getattr(device, "component_names", ()):
        part = getattr(device, name)
        unit = getattr(part, "unit", "")
        about = getattr(part, "about", "") or summary(type(part))
        told.add(name)
        yield name, f"{unit}: {about}" if unit else about
    ours = [kind for kind in type(device).__mro__ if kind.__module__.startswith("stmtem_control")]
    names = [name for kind in ours for name in vars(kind)] + [
        name for name in VERBS if hasattr(type(device), name)
    ]
    for name in names:
        if not name.startswith("_") and name not in told and _is_told(getattr(type(device), name)):
            told.add(name)
            yield name, summary(getattr(type(device), name))


def _is_told(attribute: Any) -> bool:
    """Tell whether it is a method or a property, and not what ophyd keeps in a class."""
    return callable(attribute) or isinstance(attribute, property)
