"""A run's report as a person reads it, in 80 columns."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .run_report import Range, RunReport, Stretch
from .units import megabytes, seconds, si

STYLES = {  # of states; others: red
    "done": "green",
    "recovered": "yellow",
    "no outcome": "yellow",
    "recording": "cyan",
}
TOLD = {"uid", "time", "versions", "station", "scan_id", "plan_type", "plan_name", "plan_args"}
PLACES = 5  # of lost frames that are shown
LEVELS = 3  # of the bias that are shown for a phase
NOTHING = "-"


def show_run(report: RunReport, console: Console) -> None:
    """Print what a run holds."""
    summary = report.summary
    style = STYLES.get(summary.state, "red")
    console.print(Text.assemble((summary.folder.name, "bold"), "  ", (summary.state, style)))
    lines = Table.grid(padding=(0, 2))
    lines.add_column(no_wrap=True, style="dim")
    lines.add_column()
    for name, text in _lines(report):
        lines.add_row(name, Text(text))
    console.print(lines)
    if report.stretches:
        console.print(_phases(report.stretches))
    for problem in report.problems:
        console.print(Text(f"! {problem}", style="yellow"), soft_wrap=True)


def _lines(report: RunReport) -> Iterator[tuple[str, str]]:
    summary, start, outcome = report.summary, report.summary.start, report.summary.outcome
    if summary.reason:
        yield "because", summary.reason
    yield "plan", summary.plan
    parameters = start.get("plan_args")
    if isinstance(parameters, dict) and parameters:
        yield "", ", ".join(f"{name}={_value(value)}" for name, value in parameters.items())
    for name, value in start.items():
        if name not in TOLD:
            yield name, _value(value)
    if "station" in start:
        yield "station", str(start["station"])
    lasted = "" if report.duration_s is None else f", {seconds(report.duration_s)}"
    yield "started", f"{summary.started:%F %T} UTC{lasted}"
    yield "frames", _frames(report)
    if report.gaps or report.lost_after:
        yield "lost", _lost(report)
    if report.shape is not None:
        yield "image", _image(report)
    files = _many(report.files, "file") + " of frames"
    yield "on disk", f"{megabytes(report.size_bytes)}, {files}"
    yield "readings", f"{summary.readings} of the source{_currents(report)}"
    if report.edges:
        yield "bias", _edges(report)
    if report.dose_e_per_A2 is not None:
        rate = report.dose_rate_e_per_A2_s
        at = "" if rate is None else f" at {rate:g} e/Å²/s"
        yield "dose", f"{report.dose_e_per_A2:.1f} e/Å²{at}"
    if report.time_sources:
        yield "times", _times(report)
    if "safe" in outcome:
        yield "safe", str(outcome["safe"])


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _frames(report: RunReport) -> str:
    text = f"{report.pages}"
    if report.span.low is not None and report.span.high is not None:
        text += f", from {report.span.low:.2f} to {report.span.high:.2f} s of run time"
    lost = report.lost + report.lost_after
    return text + (f"; {lost} LOST" if lost else "; none lost")


def _lost(report: RunReport) -> str:
    places = [
        f"{count} before frame {frame} ({t:.2f} s)" for frame, count, t in report.gaps[:PLACES]
    ]
    if len(report.gaps) > PLACES:
        places.append(f"and at {len(report.gaps) - PLACES} more places")
    if report.lost_after:
        places.append(f"{report.lost_after} after the last")
    return ", ".join(places)


def _image(report: RunReport) -> str:
    assert report.shape is not None
    height, width = report.shape
    text = f"{width} x {height} {report.dtype}"
    if report.period_s:
        text += f" at {1.0 / report.period_s:.4g} Hz"
    return text + f", exposure {_range(report.exposure_s, 's')}"


def _range(values: Range, unit: str) -> str:
    if values.low is None:
        return NOTHING
    low, high = si(values.low, unit), si(values.high, unit)
    return low if low == high else f"{low} to {high}"


def _currents(report: RunReport) -> str:
    current = Range()
    for stretch in report.stretches:
        current.add(stretch.current.low)
        current.add(stretch.current.high)
    if current.low is None:
        return ""
    charge = sum(stretch.charge_C for stretch in report.stretches)
    return f", {_range(current, 'A')}, net charge {si(charge, 'C')}"


def _edges(report: RunReport) -> str:
    sure, unsure = report.edges["edge"], report.edges["ambiguous"]
    text = f"changed in {_many(sure, 'frame')}"
    more = f"; ambiguous in {_many(unsure, 'frame')}: the times reach over a border"
    return text + (more if unsure else "")


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _times(report: RunReport) -> str:
    sources = ", ".join(f"{count} by {name}" for name, count in report.time_sources.most_common())
    worst = si(report.uncertainty_s.high, "s")
    text = f"{sources}; worst uncertainty {worst}"
    return text + (f", {report.guesses} are guesses" if report.guesses else "")


def _phases(stretches: list[Stretch]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("phase", no_wrap=True, max_width=14)
    for name in ("from s", "to s", "frames", "bias V", "current", "charge", "e/Å²"):
        table.add_column(name, justify="right", no_wrap=name != "bias V")
    for stretch in stretches:
        name = f"{stretch.phase or NOTHING} {stretch.cycle or ''}".rstrip()
        current = stretch.current
        largest = max((current.low or 0.0, current.high or 0.0), key=abs)
        table.add_row(
            name,
            _time(stretch.span.low),
            _time(stretch.span.high),
            f"{stretch.frames}",
            _levels(stretch.levels),
            NOTHING if current.low is None else si(largest, "A"),
            si(stretch.charge_C, "C") if stretch.readings > 1 else NOTHING,
            f"{stretch.dose_e_per_A2:.1f}" if stretch.frames else NOTHING,
        )
    return table


def _time(t: float | None) -> str:
    return NOTHING if t is None else f"{t:.2f}"


def _levels(levels: list[float]) -> str:
    shown = ", ".join(f"{level:g}" for level in levels[:LEVELS])
    return shown + (", ..." if len(levels) > LEVELS else "") or NOTHING
