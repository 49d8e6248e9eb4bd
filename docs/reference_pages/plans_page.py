"""The plans, from their signatures and docstrings."""

import inspect

from stmtem_control import plans

from .docstrings import as_markdown, signature_text

PARTS = ("clapperboard", "covered", "make_safe", "safe")  # for who writes a plan


def section(name: str, level: str) -> str:
    """Return the section of one plan."""
    plan = getattr(plans, name)
    text = as_markdown(inspect.getdoc(plan) or "", inspect.signature(plan))
    return f"{level} {name}\n\n```python\n{signature_text(name, plan)}\n```\n\n{text}"


def plans_page() -> str:
    """Return all public plans, then the parts that plans are made of."""
    handed_out = [name for name in vars(plans)["__all__"] if name not in PARTS]
    names = [name for name in handed_out if inspect.isgeneratorfunction(getattr(plans, name))]
    return "\n\n".join(
        [
            *(section(name, "##") for name in sorted(names)),
            "## Parts of plans",
            *(section(name, "###") for name in PARTS),
        ]
    )
