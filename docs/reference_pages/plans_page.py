"""The plans, from their signatures and docstrings."""

import inspect

from stmtem_control import plans
from stmtem_control.public_plans import public_plans

from .docstrings import as_markdown, signature_text


def section(name: str, level: str) -> str:
    """Return the section of one plan."""
    plan = getattr(plans, name)
    text = as_markdown(inspect.getdoc(plan) or "", inspect.signature(plan))
    return f"{level} {name}\n\n```python\n{signature_text(name, plan)}\n```\n\n{text}"


def plans_page() -> str:
    """Return all public plans, then the parts that plans are made of."""
    return "\n\n".join(
        [
            *(section(name, "##") for name in public_plans()),
            "## Parts of plans",
            *(section(name, "###") for name in plans.PARTS),
        ]
    )
