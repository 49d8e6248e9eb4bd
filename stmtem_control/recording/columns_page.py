"""The reference page of the tables' columns, made from the code.

``python -m stmtem_control.recording.columns_page --write docs/reference/columns.md`` puts the
tables between the markers of that page.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from .columns import BIAS_COLUMNS, BIAS_SCHEMA_VERSION, COLUMNS, SCHEMA_VERSION, Column

TABLES = {
    "frames.csv": (COLUMNS, SCHEMA_VERSION),
    "bias.csv": (BIAS_COLUMNS, BIAS_SCHEMA_VERSION),
}
KINDS = {float: "float", int: "integer", bool: "true, false", str: "text"}


def as_markdown(columns: Sequence[Column], version: int) -> str:
    """Return the columns of one table, one a line."""
    lines = [f"Schema version {version}.", "", "| column | type | unit | meaning |"]
    lines.append("|---|---|---|---|")
    lines += [f"| `{c.name}` | {KINDS[c.kind]} | {c.unit} | {c.about} |" for c in columns]
    return "\n".join(lines) + "\n"


def with_tables(document: str) -> str:
    """Return a document with each table between its markers.

    Raises
    ------
    ValueError
        The document does not have the two markers of each table, once each, in order.
    """
    for name, (columns, version) in TABLES.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n"
        table = f"{begin}\n{as_markdown(columns, version)}\n{end}"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        parts = pattern.split(document)
        if len(parts) != 2:
            raise ValueError(f"the document needs the lines {begin.strip()} and {end.strip()}")
        document = table.join(parts)
    return document


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables into a document; return 0, or 2 if it cannot take them."""
    options = argparse.ArgumentParser(prog="python -m stmtem_control.recording.columns_page")
    options.add_argument("--write", type=Path, metavar="PATH", required=True)
    path: Path = options.parse_args(arguments).write
    try:
        path.write_text(with_tables(path.read_text("utf-8")), "utf-8")
    except (OSError, ValueError) as error:
        print(f"columns_page: {path}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
