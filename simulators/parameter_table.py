"""The table of all parameters of the kinetic model, on standard output and in a document.

``python -m stmtem_control.simulators.parameter_table --write docs/explanation/kinetics.md`` puts
it between the markers of that page; defaults and ranges are read from the C core.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .parameter_notes import PARAMETER_NOTES, STANDINGS
from .presets import PARAMETERS

__all__ = ["as_markdown", "main", "with_table"]

BEGIN: Final = "<!-- parameters:begin -->"
END: Final = "<!-- parameters:end -->"


def as_markdown() -> str:
    """Return the table in the order of the core, one part a group, after what standings mean."""
    lines = [f"- *{standing}*: {meaning}" for standing, meaning in STANDINGS.items()]
    group = ""
    for name, note in PARAMETER_NOTES.items():
        if note.group != group:
            group = note.group
            lines += ["", f"**{group}**", "", "| Parameter | Symbol | Default | Range | Meaning |"]
            lines[-1] += " Standing | Source |"
            lines.append("|" + " --- |" * 7)
        row = PARAMETERS[name]
        default = f"{row.default:g} {note.unit}".strip()
        cells = (
            f"`{name}`",
            note.symbol,
            default,
            f"{row.low:g} - {row.high:g}",
            note.meaning.replace("|", "\\|"),
            note.standing,
            note.source.replace("|", "\\|"),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def with_table(document: str) -> str:
    """Return a document with the table between its markers.

    Raises
    ------
    ValueError
        The document does not have one line with each marker, in this order.
    """
    before, begin, rest = document.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"the document needs the lines {BEGIN} and {END}, once each, in order")
    return f"{before}{BEGIN}\n\n{as_markdown()}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print or write the table; return 0, or 2 for a document that cannot take it."""
    options = argparse.ArgumentParser(
        prog="python -m stmtem_control.simulators.parameter_table",
        description="The parameters of the kinetic model as a markdown table.",
    )
    options.add_argument(
        "--write", type=Path, metavar="PATH", help="put it between the markers of a document"
    )
    path: Path | None = options.parse_args(arguments).write
    if path is None:
        print(as_markdown(), end="")
        return 0
    try:
        path.write_text(with_table(path.read_text("utf-8")), "utf-8")
    except (OSError, ValueError) as error:
        print(f"parameter_table: {path}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
