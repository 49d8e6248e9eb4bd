"""Run the docstring examples under the names a user imports."""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ["stmtem_control", *(f"stmtem_control.{p}" for p in ("devices", "plans", "simulators"))]


def modules() -> list[str]:
    names = list(PACKAGES)
    for name in PACKAGES:
        found = pkgutil.iter_modules(importlib.import_module(name).__path__, f"{name}.")
        names += [m.name for m in found if not m.name.endswith("__main__")]
    # It opens a station when it is imported, which is what it is for.
    return sorted({*names} - {"stmtem_control.startup"})


@pytest.mark.parametrize("name", modules())
def test_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), verbose=False).failed == 0
