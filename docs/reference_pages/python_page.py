"""Session, station, outcome, errors, and the pytest plugin: what a script or a test calls."""

import inspect
from typing import Any

from stmtem_control import config, errors, outcome, pytest_plugin, session
from stmtem_control.simulators import Bench, Fault

from .docstrings import as_markdown, inline, signature_text, table

CHECKS = (
    "assert_safe",
    "assert_untouched",
    "assert_bias_within",
    "assert_struck",
    "at_message",
)


def methods(owner: type[Any]) -> list[tuple[str, ...]]:
    """Return a row for each public method and property that is defined in a class."""
    found: list[tuple[str, ...]] = []
    for name, member in vars(owner).items():
        if name.startswith("_"):
            continue
        function = getattr(member, "__func__", member)
        text = (inspect.getdoc(member) or "").split("\n\n", 1)[0].replace("\n", " ")
        if isinstance(member, property):
            found.append((f"`{name}`", inline(text)))
        elif inspect.isfunction(function):
            call = signature_text(name, function, ("self", "cls")).replace("\n    ", " ")
            found.append((f"`{call}`".replace("( ", "(").replace(",\n)", ")"), inline(text)))
    return found


def about_class(owner: type[Any], *, bare: bool = False) -> list[str]:
    """Return heading, docstring and methods of a class."""
    text = as_markdown(inspect.getdoc(owner) or "", None if bare else inspect.signature(owner))
    listed = methods(owner)
    return [f"### {owner.__name__}", text, *([table(("", "what"), listed)] if listed else [])]


def about_function(function: Any) -> list[str]:
    """Return heading, call and docstring of a function."""
    name = function.__name__
    text = as_markdown(inspect.getdoc(function) or "", inspect.signature(function))
    return [f"### {name}", f"```python\n{signature_text(name, function)}\n```", text]


def python_page() -> str:
    """Return what is public in Python beside plans and devices."""
    family = [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.StmTemError)
    ]
    listed = [
        (
            f"`{kind.__name__}`",
            ", ".join(
                f"`{base.__name__}`"
                for base in kind.__mro__
                if base.__module__ == "builtins" and base not in (object, BaseException, Exception)
            ),
            inline((kind.__doc__ or "").split("\n\n", 1)[0]),
        )
        for kind in family
    ]
    parts = [
        "## Sessions",
        *about_class(session.Session),
        *about_class(outcome.Outcome, bare=True),
        "## Stations",
        *about_function(config.load_station),
        *about_function(config.packaged_stations),
        f"### Station\n\nA whole [station file](station-file.md).\n\n"
        f"{table(('', 'what'), methods(config.Station))}",
        "## Simulated bench",
        *about_class(Bench),
        *about_class(Fault),
        "## Errors",
        table(("error", "is also", "when"), listed),
        "## Checks for tests",
        "In `stmtem_control.pytest_plugin`; the fixtures are in "
        "[Test your lab's plans in CI](../how-to/test-your-labs-plans-in-ci.md).",
        *(part for name in CHECKS for part in about_function(getattr(pytest_plugin, name))),
    ]
    return "\n\n".join(parts)
