"""Which page has what between its markers."""

import re
from collections.abc import Callable
from pathlib import Path

from stmtem_control.simulators.fault_kinds import table as faults

from .columns import bias_columns, frame_columns
from .command_line import command_line
from .devices_page import devices_page
from .documents_page import documents_page
from .plans_page import plans_page
from .protocol_page import protocol_page
from .python_page import python_page
from .station_keys import station_keys

FOLDER = Path(__file__).resolve().parents[1] / "reference"


def decisions() -> str:
    """Return a list of the decisions, by their headings."""
    folder = FOLDER.parent / "explanation" / "decisions"
    found = []
    for path in sorted(folder.glob("0*.md")):
        title = path.read_text("utf-8").partition("# ")[2].partition("\n")[0]
        found.append(f"- [{title}]({path.name})")
    return "\n".join(found)


# page -> what stands between its markers, by the markers' name
PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "columns.md": {"frames.csv": frame_columns, "bias.csv": bias_columns},
    "faults.md": {"faults": faults},
    "station-file.md": {"keys": station_keys},
    "protocol.md": {"keys": protocol_page},
    "command-line.md": {"commands": command_line},
    "plans.md": {"plans": plans_page},
    "devices.md": {"devices": devices_page},
    "documents.md": {"documents": documents_page},
    "python.md": {"python": python_page},
    "../explanation/decisions/README.md": {"decisions": decisions},
}


def filled(document: str, name: str, text: str) -> str:
    """Return a document with a text between the markers of that name.

    Raises
    ------
    ValueError
        The document does not have both markers, once each.
    """
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n"
    parts = re.split(re.escape(begin) + ".*?" + re.escape(end), document, flags=re.DOTALL)
    if len(parts) != 2:
        raise ValueError(f"the document needs the lines {begin.strip()} and {end.strip()}")
    return f"{parts[0]}{begin}\n{text.strip()}\n\n{end}{parts[1]}"


def made(page: str, document: str) -> str:
    """Return a page as the code says it must be, from the page as it is."""
    for name, text in PAGES[page].items():
        document = filled(document, name, text())
    return document
