"""The table of observations: on the screen, as markdown, and in a document."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Row", "as_markdown", "put_into_document", "show", "summary"]

BEGIN = "<!-- observations:begin -->"
END = "<!-- observations:end -->"
HEADS = ("#", "Paper", "Figure", "Check", "Runs", "Value", "Verdict")
PIPED_WIDTH = 150  # characters of the table when it does not go to a screen


class Row(NamedTuple):
    """One observation and what the runs gave."""

    number: str
    paper: str  # what it says, in other words
    figure: str
    check: str
    runs: str  # presets and seeds
    value: str
    good: bool

    @property
    def verdict(self) -> str:
        """``pass`` or ``FAIL``."""
        return "pass" if self.good else "FAIL"


def summary(rows: Sequence[Row], seeds: str, changes: Mapping[str, float]) -> str:
    """Return one sentence: seeds, changed parameters, and how many observations hold."""
    changed = "".join(f", but {name} = {value:g}" for name, value in changes.items())
    passed = f"{sum(row.good for row in rows)} of {len(rows)} checks pass"
    return f"Seeds {seeds}, parameters of the presets{changed}: {passed}. Values: mean (5-95 %)."


def as_markdown(rows: Iterable[Row], summary_line: str) -> str:
    """Return the table as markdown, with its summary below."""
    lines = ["| " + " | ".join(HEADS) + " |", "|" + " --- |" * len(HEADS)]
    for row in rows:
        cells = (*row[:-1], row.verdict)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, "", summary_line]) + "\n"


def put_into_document(path: Path, text: str) -> None:
    """Replace what stands between the two markers of a document.

    Raises
    ------
    ValueError
        The document does not have one line with each marker, in this order.
    OSError
        The document cannot be read or written.
    """
    document = path.read_text("utf-8")
    before, begin, rest = document.partition(BEGIN + "\n")
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"{path} needs the lines {BEGIN} and {END}, once each, in this order")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", "utf-8")


def show(rows: Iterable[Row], summary_line: str) -> None:
    """Print the table on the screen."""
    # rich takes longer to load than the models to be made
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True, caption=summary_line, caption_justify="left")
    for head, share in zip(
        ("#", "Paper", "Check", "Value", "Runs", ""), (0, 4, 5, 5, 4, 0), strict=True
    ):
        table.add_column(head, ratio=share or None, no_wrap=not share, overflow="fold")
    for row in rows:
        paper = f"{row.paper} (Fig. {row.figure})" if row.figure else row.paper
        cells = (row.number, paper, row.check, row.value, row.runs)
        verdict = Text(row.verdict, style="green" if row.good else "bold red")
        table.add_row(*(Text(cell) for cell in cells), verdict)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPED_WIDTH)
    console.print(table)
