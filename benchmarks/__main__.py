"""Run the benchmarks and write what they found: ``python -m benchmarks [name ...]``."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from . import (
    approach,
    clapperboard,
    dead_man,
    dose_limit,
    estimate,
    fault_hooks,
    fault_runs,
    frame,
    guard_process,
    guard_thread,
    link,
    particle_step,
    reaction_box,
    streaming,
    timing,
    whole_experiment,
    writing,
)
from .side_by_side import RESULTS, Report, insert, machine, markdown, read_results, write

__all__ = ["main"]

BENCHMARKS: Final[Mapping[str, Callable[[int], Report]]] = {
    "particle_step": particle_step.run,
    "frame": frame.run,
    "whole_experiment": whole_experiment.run,
    "reaction_box": reaction_box.run,
    "writing": writing.run,
    "clapperboard": clapperboard.run,
    "timing": timing.run,
    "fault_hooks": fault_hooks.run,
    "link": link.run,
    "streaming": streaming.run,
    "fault_runs": fault_runs.run,
    "approach": approach.run,
    "guard_thread": guard_thread.run,
    "guard_process": guard_process.run,
    "dead_man": dead_man.run,
    "dose_limit": dose_limit.run,
    "estimate": estimate.run,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, default=7, help="times each case runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    parser.add_argument(
        "--document", type=Path, action="append", default=[], help="put the tables there too"
    )
    asked = parser.parse_args(arguments)
    unknown = set(asked.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    reports = []
    for name in asked.names or BENCHMARKS:
        where = machine()  # before, so that the load is that of others
        report = BENCHMARKS[name](asked.rounds)
        write(report, asked.results, where)
        print(f"{report.name}\n\n{report.table}")
        reports.append(report)
    print(summarise(reports))
    kept = read_results(asked.results, BENCHMARKS)
    (asked.results / "summary.md").write_text(
        f"{summarise(kept)}\n{_when_and_where(kept)}", "utf-8"
    )
    for document in asked.document:
        _update(document, kept)


def summarise(reports: Sequence[Report]) -> str:
    """Return the table of all targets."""
    rows = [
        [report.name, target.what, target.wanted, target.reached, target.met]
        for report in reports
        for target in report.targets
    ]
    return markdown(["benchmark", "what", "target", "reached", "met"], rows)


def _when_and_where(reports: Sequence[Report]) -> str:
    """Each benchmark is measured when something in it changes: say on what, and when."""
    heads = ["benchmark", "date", "revision", "load before", "processor", "cores", "python"]
    rows = []
    for report in reports:
        at = report.result["machine"]
        values = (at.get("date"), at.get("revision"), at.get("load_average"))
        rows.append([report.name, *values, at.get("processor"), at.get("cores"), at.get("python")])
    return markdown(heads, rows)


def _update(document: Path, reports: Sequence[Report]) -> None:
    """Put the tables between their markers; a summary there is of the document's own tables."""
    text = document.read_text("utf-8")
    held = [report for report in reports if f"<!-- benchmark:{report.name}:begin -->" in text]
    for report in held:
        text = insert(text, report.name, report.table)
    if "<!-- benchmark:summary:begin -->" in text:
        text = insert(text, "summary", summarise(held))
    document.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
