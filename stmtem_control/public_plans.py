"""The plans that the package hands out."""

import inspect
from collections.abc import Callable, Generator
from typing import Any

from stmtem_control import plans

PlanFunction = Callable[..., Generator[Any, Any, Any]]


def public_plans(*, parts: bool = False) -> dict[str, PlanFunction]:
    """Return the plans by name, sorted; with `parts` those too that only plans are made of."""
    return {
        name: getattr(plans, name)
        for name in sorted(vars(plans)["__all__"])
        if inspect.isgeneratorfunction(getattr(plans, name))
        if parts or name not in plans.PARTS
    }
